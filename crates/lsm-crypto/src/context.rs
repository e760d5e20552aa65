//! Which file a key belongs to.

use lsm_types::{FileUuid, TreeId};

/// An authenticated cipher.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Suite {
    /// AES-256 in Galois/counter mode (NIST SP 800-38D); the default.
    #[default]
    Aes256Gcm,
    /// `ChaCha20-Poly1305` (RFC 8439); the faster one on machines without AES instructions.
    ChaCha20Poly1305,
}

impl Suite {
    /// The suite's number in superblocks; 0 there means a file that is not sealed.
    pub const fn tag(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }

    /// The suite with this number.
    pub const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Aes256Gcm),
            2 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }
}

/// What a file's key is bound to. All of it stands in the file's superblock, in the clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileContext {
    /// The database.
    pub database: FileUuid,
    /// This life of the file.
    pub file: FileUuid,
    /// The tree; 0 for files of the whole database.
    pub tree: TreeId,
    /// Number of the file.
    pub file_id: u64,
    /// What the file holds, by its number in superblocks.
    pub kind: u16,
    /// The cipher.
    pub suite: Suite,
    /// Random bytes, fresh for each life of the file.
    pub salt: [u8; 32],
}
