//! What a file system tells about its entries and about itself.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an entry of a directory is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EntryKind {
    /// Regular file.
    File,
    /// Directory.
    Dir,
    /// Symbolic link, socket, device: nothing the engine writes.
    Other,
}

/// One entry of a directory. The name may hold any bytes that the system allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// Name within the directory.
    pub name: OsString,
    /// Kind of the entry itself: a symbolic link is not followed.
    pub kind: EntryKind,
}

/// What a path or an open file refers to; symbolic links are followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Length in bytes; without meaning for directories.
    pub len: u64,
    /// Kind of the object.
    pub kind: EntryKind,
    /// Number of names; `None` when the backend cannot tell, and then somebody else may hold a name.
    pub nlink: Option<u64>,
    /// Identity within the backend's namespace, for as long as the object exists; `None` when there is none.
    pub inode: Option<InodeId>,
}

/// Identity of a file or directory within one namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InodeId {
    /// The device or volume the number belongs to.
    pub device: u64,
    /// The number.
    pub number: u64,
}

/// A pool of free space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VolumeId(pub u64);

/// A namespace within which files can be linked and renamed. Two backends share one only if both say the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NamespaceId(u64);

impl NamespaceId {
    /// The operating system's own namespace.
    pub const SYSTEM: Self = Self(0);

    /// A namespace that no other backend of this process has.
    pub fn fresh() -> Self {
        /// Counts backends of this process; it names them and decides nothing else.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
