//! Verification of databases and of single files, without an engine around them.
//!
//! [`verify`] checks a directory, the tables and value logs of an open tree, or one file, down to a [`Depth`]; it goes on after
//! everything it finds and reports each thing with its file, its place and the keys it concerns. Nothing is ever
//! changed.
//!
//! ```
//! use std::{path::Path, sync::Arc};
//! use lsm_fs::{Fs, MemFs};
//! use lsm_repair::{Depth, Scope, VerifyOptions, verify};
//!
//! let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
//! let scope = Scope::Directory { fs: &fs, root: Path::new("/db") };
//! let refused = verify(&scope, Depth::Manifest, &VerifyOptions::default()).unwrap_err();
//! assert_eq!(refused.kind(), lsm_types::ErrorKind::NotFound);
//! ```
//!
//! | depth | what is held against what                                                                    |
//! |-------|----------------------------------------------------------------------------------------------|
//! | V0    | files against the manifest: presence, length, none newer than the manifest                     |
//! | V1    | heads and properties against their checks, their copies and the manifest                       |
//! | V2    | all bytes of a file against the digest of what was written; copies of the manifest to each other |
//! | V3    | every frame against its own check, so that damage has a place and a range of keys              |
//! | V4    | every entry: order, bounds, counts, sequence numbers                                           |
//! | V5    | what leads to blocks against the blocks; every separated value against the key that leads to it |
//! | V6    | the records of every manifest generation against the rules of edits; `CURRENT` against its generation |

mod depth;
mod directory;
mod error;
mod framed;
mod generation;
mod items;
mod manifest;
mod meter;
mod options;
mod place;
mod pool;
mod report;
mod table;
mod value_log;
mod values;
mod verify;

pub use depth::{Depth, UnknownDepth};
pub use error::RepairError;
pub use lsm_sst::Splitters;
pub use options::{Pace, Progress, Selection, VerifyOptions};
pub use report::{Cursor, Finding, Outcome, TablePlace, VerifyReport};
pub use verify::{LiveTable, LiveValues, Scope, verify};
