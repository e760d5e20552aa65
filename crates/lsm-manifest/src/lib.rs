//! Which files make up a database, as pure values: no files, no threads, no clock.
//!
//! A [`Version`] says which tables a tree consists of, in which levels and runs. A [`VersionEdit`] says what
//! changes between two of them; its size follows the change, never the database. A [`Catalog`] holds the versions
//! of all trees of a database, and applying edits to it is all that recovery does.
//!
//! ```
//! use lsm_manifest::{Catalog, TreeIdentity, VersionEdit};
//! use lsm_types::TreeId;
//!
//! let mut edit = VersionEdit::default();
//! edit.create_tree(TreeId::new(0), TreeIdentity::new("lsm.bytewise", 7));
//! let catalog = Catalog::default().apply(&edit)?;
//! assert_eq!(catalog.tree(TreeId::new(0)).unwrap().table_count(), 0);
//! # Ok::<(), lsm_manifest::ManifestError>(())
//! ```
#![no_std]

extern crate alloc;

mod apply;
mod catalog;
mod check;
mod codec;
mod descriptor;
mod edit;
mod error;
mod levels;
mod replay;
mod restriction;
mod run;
mod salvage;
mod schemas;
mod snapshot;
mod vector;
mod version;
mod vlogs;

pub use catalog::{Catalog, Change};
pub use codec::{Record, RecordHead, SnapshotBegin};
pub use descriptor::{Census, Counts, DirectoryHandle, SeqNoRange, Sizes, TableDescriptor};
pub use edit::{DatabaseEdit, TreeEdit, VersionEdit};
pub use error::ManifestError;
pub use levels::{LevelRuns, Levels};
pub use replay::{KeyOrders, Replay, Replayed};
pub use restriction::Restriction;
pub use run::{Chunk, Run, Tables};
pub use salvage::{Lost, LostEdits, Salvage, Salvaged};
pub use schemas::{SCHEMA_LEN_MAX, Schemas, StoredSchema};
pub use snapshot::{SNAPSHOT_CHUNK_MAX, SnapshotDigest, write_snapshot};
pub use vector::VectorDescriptor;
pub use version::{TreeIdentity, Version, Watermark};
pub use vlogs::{LiveVlog, VlogDescriptor, Vlogs};
