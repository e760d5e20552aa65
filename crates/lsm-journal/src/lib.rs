//! Where the manifest meets its files: generations, `CURRENT`, the mirror, appending, rotation and recovery.
//!
//! A database's state is a snapshot and the edits behind it, in one file: a *generation* (`MANIFEST-<number>`, with
//! a second copy `.m`). `CURRENT` names the one in use, and nothing depends on it: every generation says who it is,
//! and the one that reaches furthest is the truth. [`Recovery`] reads a directory without changing it; [`Journal`]
//! writes.
//!
//! ```text
//! Recovery::read -> check files -> Recovery::start -> Journal: append, append, ... rotate ... close
//!                                                        | outcome unknown: fenced
//!                                                        +-> reanchor (or recover again)
//! ```
//!
//! A file that was opened before is never written again: recovery begins a generation of its own, so that nothing
//! ever follows bytes whose fate is uncertain. The bytes are described in `docs/format/manifest.md`.
//!
//! ```
//! use std::{path::PathBuf, sync::Arc};
//! use lsm_fs::{Fs, MemFs, SystemClock, SystemRandom};
//! use lsm_journal::{Journal, JournalEnv, JournalOptions, RecoveryMode};
//! use lsm_manifest::{Catalog, TreeIdentity, VersionEdit};
//! use lsm_types::{KeyOrder, TreeId};
//!
//! let env = JournalEnv {
//!     fs: Arc::new(MemFs::new()),
//!     dir: PathBuf::from("/db"),
//!     clock: Arc::new(SystemClock::new()),
//!     random: Arc::new(SystemRandom),
//!     encryption: None,
//! };
//! env.fs.create_dir(&env.dir)?;
//! let options = JournalOptions::default();
//! let mut journal = Journal::create(env.clone(), options, env.new_uuid(), &Catalog::default())?;
//! let mut edit = VersionEdit::default();
//! edit.create_tree(TreeId::new(0), TreeIdentity::new("lsm.bytewise", 7));
//! journal.append(&[&edit])?;
//!
//! let orders = |_: TreeId, _: &TreeIdentity| Some(KeyOrder::bytewise());
//! let recovered = Journal::recover(env, options, RecoveryMode::Strict, &orders)?.unwrap();
//! assert_eq!(recovered.report.edits_replayed, 1);
//! # Ok::<(), lsm_types::Error>(())
//! ```

mod choose;
mod copies;
mod error;
mod generation;
mod inspect;
mod journal;
mod names;
mod options;
mod pointer;
mod recovery;
mod regression;
mod report;
mod route;
mod salvage;
mod scan;
mod survey;
mod sweep;

pub use error::{AppendError, JournalError, RotateError};
pub use journal::{Journal, JournalStatus};
pub use names::{FileName, Folder, Generation};
pub use options::{JournalEnv, JournalOptions, RecoveryMode};
pub use pointer::{Pointer, PointerError};
pub use recovery::{Recovered, Recovery};
pub use regression::{FoundFile, HighWater};
pub use report::{
    Copies, CopyState, DroppedTail, GenerationReport, Losses, PointerState, RecoveryReport, TailClass,
};
pub use route::RouteMarker;
