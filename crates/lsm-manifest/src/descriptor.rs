//! What the manifest says about a table: all that planning and serving need, so that opening a tree opens no table.

use alloc::sync::Arc;

use lsm_types::{Cut, EditIndex, FileUuid, KeyRange, RouteId, SeqNo, TableId, UnixNanos, ValueReferences};

use crate::{Restriction, VectorDescriptor};

/// Smallest and largest sequence number, both included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SeqNoRange {
    /// Smallest.
    pub min: SeqNo,
    /// Largest.
    pub max: SeqNo,
}

/// How many entries of each kind a table holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Counts {
    /// All entries, range tombstones not among them.
    pub entries: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Weak tombstones.
    pub weak_tombstones: u64,
    /// Weak tombstones directly above a put of their key.
    pub reclaimable_weak_tombstones: u64,
    /// Merge operands.
    pub operands: u64,
    /// Entries whose value lies in a value log.
    pub indirections: u64,
    /// Range tombstones.
    pub range_tombstones: u64,
}

/// Bytes of a table by use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Sizes {
    /// Stored data blocks.
    pub data: u64,
    /// Stored index blocks.
    pub index: u64,
    /// Stored filter blocks.
    pub filter: u64,
    /// User keys before encoding.
    pub raw_keys: u64,
    /// Values before encoding.
    pub raw_values: u64,
}

/// How many data blocks are stored with each codec.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Census {
    /// Stored raw.
    pub raw: u64,
    /// LZ4.
    pub lz4: u64,
    /// zstd.
    pub zstd: u64,
}

/// Where the section directory of a table lies, so that one read opens the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct DirectoryHandle {
    /// First byte of its frame.
    pub offset: u64,
    /// Length of its frame.
    pub len: u32,
}

/// Everything the manifest stores about one table.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TableDescriptor {
    /// Number of the file; never reused.
    pub id: TableId,
    /// Random identity, repeated in the file.
    pub uuid: FileUuid,
    /// Length of the file in bytes.
    pub file_len: u64,
    /// Digest of the file's frames.
    pub digest: u64,
    /// Major and minor version of the file format.
    pub format: (u16, u16),
    /// Features a reader must know.
    pub features: u64,
    /// Key under which the file is sealed; 0 for none.
    pub key_id: u32,
    /// When the file was written.
    pub created_at: UnixNanos,
    /// Last edit when the file was begun.
    pub created_edit: EditIndex,
    /// Smallest and largest key of its entries; `None` for a table of range tombstones only. Of a restricted table those
    /// of the entries that are left, the smallest one being a bound that perhaps no entry has.
    pub entries: Option<KeyRange>,
    /// Left end of entries and range tombstones together, of a restricted table not left of its bound.
    pub coverage_start: Cut,
    /// Right end of entries and range tombstones together.
    pub coverage_end: Cut,
    /// Numbers of entries and range tombstones.
    pub seqnos: SeqNoRange,
    /// Numbers of entries; `None` where there are none.
    pub point_seqnos: Option<SeqNoRange>,
    /// What is in the file.
    pub counts: Counts,
    /// How large the parts of the file are.
    pub sizes: Sizes,
    /// Codecs of its data blocks.
    pub census: Census,
    /// Its section directory.
    pub directory: DirectoryHandle,
    /// Bytes of the file's tail that hold all it takes to open it; 0 where that is not known.
    pub tail_len: u32,
    /// Structure of its filter; 0 for none.
    pub filter_kind: u8,
    /// What is added to the numbers in the file; already in the numbers here. The file says the same.
    pub global_seqno: SeqNo,
    /// What of value logs its entries refer to, of a restricted table those that are left.
    pub references: ValueReferences,
    /// What of it is left; `None` for all of it.
    pub restriction: Option<Restriction>,
    /// Which of its rows are dead; `None` for none.
    pub vector: Option<Arc<VectorDescriptor>>,
    /// Where its file lies.
    pub route: RouteId,
}

impl TableDescriptor {
    /// Whether every entry is gone for reads anywhere, so that only range tombstones are left.
    pub fn is_range_tombstones_only(&self) -> bool {
        self.entries.is_none()
    }

    /// Bytes of its files that somebody may still read: what the table counts for.
    pub fn live_bytes(&self) -> u64 {
        let vector = self.vector.as_ref().map_or(0, |vector| vector.file_len);
        self.file_len.saturating_sub(self.consumed_bytes()).saturating_add(vector)
    }

    /// Bytes behind the head of the file that nobody reads any more.
    pub fn consumed_bytes(&self) -> u64 {
        self.restriction.as_ref().map_or(0, |restriction| restriction.consumed_bytes)
    }

    /// Entries that are left and not dead, about as many for a restricted table.
    pub fn live_entries(&self) -> u64 {
        self.stored_entries().saturating_sub(self.dead_entries())
    }

    /// Entries that are left, dead or not, about as many for a restricted table.
    pub fn stored_entries(&self) -> u64 {
        self.restriction.as_ref().map_or(self.counts.entries, |restriction| restriction.entries)
    }

    /// Whether it holds deletes of any kind.
    pub fn has_deletes(&self) -> bool {
        self.counts.tombstones > 0 || self.counts.weak_tombstones > 0 || self.counts.range_tombstones > 0
    }

    /// Tombstones, weak ones among them, in thousandths of its entries.
    pub fn delete_share(&self) -> u16 {
        let deletes = u128::from(self.counts.tombstones) + u128::from(self.counts.weak_tombstones);
        let share = deletes * 1000 / u128::from(self.counts.entries.max(1));
        u16::try_from(share.min(1000)).unwrap_or(1000)
    }
}
