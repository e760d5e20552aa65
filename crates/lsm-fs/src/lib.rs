//! The file system port of the `lsm` storage engine: everything that touches files goes through here.
//!
//! [`Fs`] is a namespace of names and directories, [`FsFile`] an open file that is read and written at positions.
//! Both are object-safe and used as `Arc<dyn Fs>` and `Arc<dyn FsFile>`. Two backends live here: [`DiskFs`], the
//! operating system's files, and [`MemFs`], files in memory with real inodes. A third one, which crashes on demand, is
//! in the test kit, together with the conformance suite that every backend has to pass.
//!
//! An open file is a [`lsm_types::ReadAt`], so the crates that know formats but no files can read from it.
//!
//! ```
//! use std::path::Path;
//! use lsm_fs::{Fs, MemFs, OpenOptions, SyncLevel};
//!
//! let fs = MemFs::new();
//! let file = fs.open(Path::new("/hello"), &OpenOptions::CREATE_NEW)?;
//! assert_eq!(file.append(b"hello")?, 0);
//! file.sync(SyncLevel::Full)?;
//! fs.sync_dir(Path::new("/"), SyncLevel::Full)?;
//!
//! let mut bytes = [0; 5];
//! assert_eq!(file.read_at(0, &mut bytes)?, 5);
//! # Ok::<(), lsm_types::Error>(())
//! ```

mod capabilities;
mod error;
mod file;
mod fs;
mod metadata;
mod options;
mod system;

#[cfg(unix)]
mod disk;
mod mem;

pub use capabilities::{Capabilities, Capability};
#[cfg(unix)]
pub use disk::{DiskFile, DiskFs, descriptor_limit};
pub use error::{MAX_FILE_LEN, WriteError, check_range, io_error};
pub use file::FsFile;
pub use fs::Fs;
pub use mem::MemFs;
pub use metadata::{DirEntry, EntryKind, InodeId, Metadata, NamespaceId, VolumeId};
pub use options::{AccessHint, AllocateMode, Creation, LockMode, OpenOptions, SyncLevel};
pub use system::{SystemClock, SystemRandom};
