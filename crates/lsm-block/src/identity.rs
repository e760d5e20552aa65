//! Which file some bytes belong to.

use lsm_types::{FileKind, FileUuid, Location, TreeId};

/// Which file bytes belong to; the constant part of its superblock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FileIdentity {
    /// What the file holds.
    pub kind: FileKind,
    /// Number of the file; what it counts depends on the kind.
    pub file_id: u64,
    /// Random identity of this life of the file, never reused. It binds every check to the file.
    pub uuid: FileUuid,
    /// Identity of the database the file belongs to.
    pub database: FileUuid,
    /// The tree the file belongs to; 0 for files of the whole database.
    pub tree: TreeId,
}

impl FileIdentity {
    /// The byte at `offset` of this file, as errors name it.
    pub const fn at(&self, offset: u64) -> Location {
        Location { kind: self.kind, id: self.file_id, offset }
    }
}
