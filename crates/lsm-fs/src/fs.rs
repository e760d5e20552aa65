//! A namespace of files.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lsm_types::{IoError, IoKind, IoOp};

use crate::{
    Capabilities, DirEntry, EntryKind, FsFile, Metadata, NamespaceId, OpenOptions, SyncLevel, VolumeId,
};

/// A namespace of files and directories.
///
/// Operations without a default are the duty of every backend; the others default to what is safe: refusing, not
/// knowing, or promising nothing.
pub trait Fs: Send + Sync + fmt::Debug + 'static {
    /// Opens or creates a regular file.
    ///
    /// # Errors
    /// `NotFound` when it, or its directory, does not exist; `AlreadyExists` for [`crate::Creation::New`].
    fn open(&self, path: &Path, options: &OpenOptions) -> Result<Arc<dyn FsFile>, IoError>;

    /// Creates a directory; its parent has to exist.
    fn create_dir(&self, path: &Path) -> Result<(), IoError>;

    /// Names in a directory, in no particular order. An odd name is an entry like any other.
    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>, IoError>;

    /// Removes the name of a file.
    fn remove_file(&self, path: &Path) -> Result<(), IoError>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> Result<(), IoError>;

    /// Renames a file or directory; a regular file under the new name is replaced in one step.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError>;

    /// What the path refers to.
    fn metadata(&self, path: &Path) -> Result<Metadata, IoError>;

    /// Makes the names created, removed and renamed in a directory durable.
    ///
    /// Where [`crate::Capability::DirSync`] is not promised, success proves nothing.
    fn sync_dir(&self, path: &Path, level: SyncLevel) -> Result<(), IoError>;

    /// Whether anything has this name.
    fn exists(&self, path: &Path) -> Result<bool, IoError> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind == IoKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a directory and those above it that are missing; one that exists is fine.
    fn create_dir_all(&self, path: &Path) -> Result<(), IoError> {
        match self.create_dir(path) {
            Err(error) if error.kind == IoKind::NotFound => {
                let Some(parent) = path.parent() else { return Err(error) };
                self.create_dir_all(parent)?;
                self.create_dir_all(path)
            }
            Err(error) if error.kind == IoKind::AlreadyExists => match self.metadata(path)?.kind {
                EntryKind::Dir => Ok(()),
                _ => Err(error),
            },
            other => other,
        }
    }

    /// Removes a directory and everything in it; symbolic links are removed, not followed.
    fn remove_dir_all(&self, path: &Path) -> Result<(), IoError> {
        for entry in self.read_dir(path)? {
            let inner = path.join(entry.name);
            match entry.kind {
                EntryKind::Dir => self.remove_dir_all(&inner)?,
                EntryKind::File | EntryKind::Other => self.remove_file(&inner)?,
            }
        }
        self.remove_dir(path)
    }

    /// Gives a file a second name, which must be free. Never copies.
    ///
    /// # Errors
    /// `CrossesDevices` between mounts, `Unsupported` unless the backend can.
    fn hard_link(&self, source: &Path, target: &Path) -> Result<(), IoError> {
        let _ = (source, target);
        Err(IoError::new(IoOp::Link, IoKind::Unsupported))
    }

    /// Creates `target`, whose name must be free, with the contents of `source`, sharing its blocks. Never copies.
    ///
    /// # Errors
    /// `CrossesDevices` between mounts, `Unsupported` unless the backend and the mount can.
    fn reflink(&self, source: &Path, target: &Path) -> Result<(), IoError> {
        let _ = (source, target);
        Err(IoError::new(IoOp::Link, IoKind::Unsupported))
    }

    /// Bytes that can still be written near `path`; `None` when unknown.
    fn available_space(&self, path: &Path) -> Result<Option<u64>, IoError> {
        let _ = path;
        Ok(None)
    }

    /// The pool of free space that `path` draws from; `None` when unknown, and then it may be shared with any other.
    fn volume_id(&self, path: &Path) -> Result<Option<VolumeId>, IoError> {
        let _ = path;
        Ok(None)
    }

    /// The namespace within which this backend links and renames; `None` when it shares none with any other.
    fn namespace_id(&self) -> Option<NamespaceId> {
        None
    }

    /// What the mount that holds `path` promises.
    fn capabilities(&self, path: &Path) -> Result<Capabilities, IoError> {
        let _ = path;
        Ok(Capabilities::NONE)
    }

    /// Called by a thread that has just waited for another one, before it touches what they share. Does nothing, except
    /// where a simulation decides which thread goes on.
    fn yield_point(&self) {}

    /// Asks that files created in a directory from now on be overwritten in place; `false` when nothing changed.
    fn try_disable_cow(&self, dir: &Path) -> Result<bool, IoError> {
        let _ = dir;
        Ok(false)
    }
}
