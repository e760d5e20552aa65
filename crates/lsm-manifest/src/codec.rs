//! Bytes of descriptors, edits and records (`docs/format/manifest.md`): one encoding per value, decoded within
//! bounds.

mod descriptor;
mod edit;
mod fields;
mod record;
mod vector;
mod vlog;

pub use record::{Record, RecordHead, SnapshotBegin};
