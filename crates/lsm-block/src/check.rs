//! The one seam behind which checks are computed: CRC32C over headers, a choice of two over payloads, and the
//! context that binds both to a place.

use lsm_types::FileUuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::BlockKind;

/// Algorithm of payload checks; one per file, named in its superblock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Checksum {
    /// XXH3 with 64 bits, seed 0.
    #[default]
    Xxh3,
    /// CRC32C in the low half, zeros in the high half.
    Crc32c,
}

impl Checksum {
    /// All algorithms of this format version.
    pub const ALL: [Self; 2] = [Self::Xxh3, Self::Crc32c];

    /// The number that stands in a superblock.
    pub const fn tag(self) -> u8 {
        match self {
            Self::Xxh3 => 1,
            Self::Crc32c => 2,
        }
    }

    /// The algorithm with number `tag`.
    pub const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Xxh3),
            2 => Some(Self::Crc32c),
            _ => None,
        }
    }

    /// The check of `bytes`.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> u64 {
        match self {
            Self::Xxh3 => xxh3_64(bytes),
            Self::Crc32c => u64::from(crc32c(bytes)),
        }
    }
}

/// CRC32C of `bytes`.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// CRC32C of `bytes` that starts from `seed`: two seeds never give the same answer for the same bytes.
#[inline]
pub(crate) fn crc32c_seeded(seed: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(seed, bytes)
}

/// The number that stands for a place: this file, this offset, this kind of block. A block that was written to,
/// or read from, anywhere else fails its checks.
#[inline]
pub(crate) fn place_context(file: &FileUuid, offset: u64, kind: BlockKind) -> u64 {
    let mut place = [0; 25];
    let (uuid, rest) = place.split_at_mut(16);
    uuid.copy_from_slice(file.as_bytes());
    let (at, tag) = rest.split_at_mut(8);
    at.copy_from_slice(&offset.to_le_bytes());
    tag.fill(kind.code());
    xxh3_64(&place)
}

/// The half of a context that seeds header checks.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
pub(crate) const fn header_seed(context: u64) -> u32 {
    context as u32
}
