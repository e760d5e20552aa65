//! Why an entry is refused. Nothing has changed when one of these comes back.

use lsm_types::{ErrorKind, Fault, MAX_KEY_LEN, MAX_VALUE_LEN, SeqNo};

/// Why an insert was refused. The memtable is as it was before the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemtableError {
    /// The memtable takes no more entries.
    #[error("the memtable is frozen")]
    Frozen,
    /// Entries numbered so low are refused.
    #[error("number {seqno} is below {floor}, the lowest that the memtable takes")]
    BelowFloor {
        /// Number of the entry.
        seqno: SeqNo,
        /// Lowest number taken.
        floor: SeqNo,
    },
    /// A key of no or too many bytes.
    #[error("a key must have 1 to {MAX_KEY_LEN} bytes, this one has {len}")]
    KeyLen {
        /// Bytes of the key.
        len: usize,
    },
    /// A value of too many bytes.
    #[error("a value may have {MAX_VALUE_LEN} bytes, this one has {len}")]
    ValueLen {
        /// Bytes of the value.
        len: usize,
    },
    /// A sequence number no write may carry.
    #[error("{seqno} is a read bound, not the number of a write")]
    SeqNo {
        /// The number.
        seqno: SeqNo,
    },
    /// One entry, or one batch, that the memtable could not take even when empty.
    #[error("{need} bytes do not fit a memtable of at most {max} bytes")]
    EntryTooLarge {
        /// Bytes needed at most, bookkeeping included.
        need: u64,
        /// The hard cap, in bytes.
        max: u64,
    },
    /// The hard cap is reached: seal this memtable and go on with a fresh one.
    #[error("{need} more bytes would exceed the memtable's cap of {max} bytes, {used} are taken")]
    Full {
        /// Bytes needed at most, bookkeeping included.
        need: u64,
        /// Bytes allocated.
        used: u64,
        /// The hard cap, in bytes.
        max: u64,
    },
    /// The allocator has no memory.
    #[error("no memory for a block of {len} bytes")]
    OutOfMemory {
        /// Bytes asked for.
        len: u64,
    },
}

impl Fault for MemtableError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Frozen => ErrorKind::Closed,
            Self::BelowFloor { .. } => ErrorKind::BelowSnapshot,
            Self::KeyLen { .. } => ErrorKind::InvalidKey,
            Self::ValueLen { .. } => ErrorKind::ValueTooLarge,
            Self::SeqNo { .. } => ErrorKind::SeqNoOutOfRange,
            Self::EntryTooLarge { .. } => ErrorKind::EntryTooLarge,
            Self::Full { .. } | Self::OutOfMemory { .. } => ErrorKind::NoSpace,
        }
    }
}
