//! A file system that crashes on demand.
//!
//! [`SimFs`] behaves like a disk and writes down, in one global trace, every operation that changes anything. From the
//! trace it builds what a power loss at any moment may have left: an independent copy of the file system, holding what
//! a sync had made durable and any legal part of the rest. The run that is examined goes on undisturbed.
//!
//! What is legal is the weakest reading of POSIX, so that what passes here holds on every honest disk:
//!
//! * a successful sync of a file makes its contents and length durable, but not its name;
//! * a successful sync of a directory makes the names created, removed and renamed in it durable;
//! * everything else survives or not, in any combination, one sector at a time; a length survives apart from the
//!   bytes under it, which are zeros when they did not survive;
//! * a rename never loses both names, but both may be there;
//! * what a failed sync has dropped may be lost for good although reads show it and the next sync succeeds;
//! * a barrier makes nothing durable; it keeps what follows it from surviving without what preceded it.
//!
//! ```
//! use std::path::Path;
//! use lsm_fs::{Fs, OpenOptions, SyncLevel};
//! use lsm_testkit::sim::{SimConfig, SimFs, Strategy};
//!
//! let fs = SimFs::new(SimConfig::default());
//! let file = fs.open(Path::new("/a"), &OpenOptions::CREATE_NEW)?;
//! file.append(b"content")?;
//! file.sync(SyncLevel::Full)?;
//!
//! // The file is synced and its directory is not: the name may be lost, what it names may not.
//! let survived: Vec<bool> = fs
//!     .images(fs.len(), &Strategy::FULL)
//!     .map(|(_id, image)| image.exists(Path::new("/a")))
//!     .collect::<Result<_, _>>()?;
//! assert_eq!(survived, [false, true]);
//! # Ok::<(), lsm_types::Error>(())
//! ```

mod build;
mod bytes;
mod choice;
mod content;
mod damage;
mod faults;
mod file;
mod fs;
mod gate;
mod images;
mod labels;
mod names;
mod profile;
mod replay;
mod state;
mod syncs;
mod trace;
mod volume;

pub use choice::{Choice, ImageId, NotAnImageId, Strategy};
pub use damage::Foreign;
pub use faults::{FaultPlan, FaultRule};
pub(crate) use fs::Turns;
pub use fs::{SimConfig, SimFs};
pub use gate::Gate;
pub use images::Images;
pub use labels::Label;
pub use profile::Profile;
pub use trace::{Event, EventKind};
