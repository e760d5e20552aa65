//! Several writes that are applied together.

use std::ops::{Bound, RangeBounds};

use lsm_types::{
    Cut, Kind, Result, Slice,
    batch::{self, BatchOp, EncodedBatch},
    check_entry,
};

use crate::{
    EngineError,
    tree::{check_prefix, span},
};

/// Most bytes of keys and values in one batch, with 16 bytes of overhead for each operation.
pub const MAX_BATCH_BYTES: usize = u32::MAX as usize;

/// Writes applied together and in order: operation `i` gets the base number plus `i`, so later ones win.
///
/// Keys and values are copied once, into one buffer, and checked when they are added.
#[derive(Clone, Debug, Default)]
pub struct TreeBatch {
    bytes: Vec<u8>,
    operations: Vec<Operation>,
    /// Deletes of ranges; the other operations have the numbers that these leave free.
    ranges: Vec<RangeOperation>,
}

/// A delete of a range.
#[derive(Clone, Debug)]
pub(crate) struct RangeOperation {
    /// How many operations come before it.
    pub(crate) at: usize,
    pub(crate) keys: RangeKeys,
}

/// Which keys a delete of a range means.
#[derive(Clone, Debug)]
pub(crate) enum RangeKeys {
    /// Those between two cuts.
    Between(Cut, Cut),
    /// Those that start with this; which these are depends on the tree.
    Prefix(Slice),
}

impl RangeKeys {
    fn len(&self) -> usize {
        match self {
            Self::Between(start, end) => {
                [start, end].into_iter().filter_map(Cut::key).map(|key| key.len()).sum()
            }
            Self::Prefix(prefix) => prefix.len(),
        }
    }

    fn as_op(&self) -> BatchOp<'_> {
        match self {
            Self::Prefix(prefix) => BatchOp::RemovePrefix { prefix },
            Self::Between(start, end) => {
                let lower = match start {
                    Cut::Before(key) => Bound::Included(&**key),
                    Cut::After(key) => Bound::Excluded(&**key),
                    Cut::Start | Cut::End => Bound::Unbounded,
                };
                let upper = match end {
                    Cut::Before(key) => Bound::Excluded(&**key),
                    Cut::After(key) => Bound::Included(&**key),
                    Cut::Start | Cut::End => Bound::Unbounded,
                };
                BatchOp::RemoveRange { lower, upper }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    kind: Kind,
    start: usize,
    key_len: u32,
    value_len: u32,
}

/// One write of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry<'a> {
    /// What it does.
    pub kind: Kind,
    /// The key.
    pub key: &'a [u8],
    /// The value; empty for deletes.
    pub value: &'a [u8],
}

impl<'a> BatchEntry<'a> {
    fn as_op(&self) -> BatchOp<'a> {
        let Self { kind, key, value } = *self;
        match kind {
            Kind::Tombstone => BatchOp::Remove { key },
            Kind::WeakTombstone => BatchOp::RemoveWeak { key },
            Kind::MergeOperand => BatchOp::Merge { key, operand: value },
            _ => BatchOp::Put { key, value },
        }
    }
}

impl TreeBatch {
    /// A batch without operations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for `operations` more operations with `bytes` bytes of keys and values.
    pub fn reserve(&mut self, operations: usize, bytes: usize) {
        self.operations.reserve(operations);
        self.bytes.reserve(bytes);
    }

    /// Puts `value` under `key`.
    pub fn insert(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.push(Kind::Put, key.as_ref(), value.as_ref())
    }

    /// Deletes `key`.
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.push(Kind::Tombstone, key.as_ref(), &[])
    }

    /// Deletes `key` for good together with the one put below: see [`crate::Tree::remove_weak`].
    pub fn remove_weak(&mut self, key: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.push(Kind::WeakTombstone, key.as_ref(), &[])
    }

    /// Adds an operand for the merge operator to `key`.
    pub fn merge(&mut self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.push(Kind::MergeOperand, key.as_ref(), operand.as_ref())
    }

    /// Deletes every key within `range`: what lies there before the batch, and what earlier operations of the batch
    /// write there, not what later ones do. Inverted and empty bounds delete nothing, and use a number.
    ///
    /// # Errors
    /// As [`crate::Tree::remove_range`].
    pub fn remove_range<K: AsRef<[u8]>>(&mut self, range: impl RangeBounds<K>) -> Result<&mut Self> {
        let (start, end) = span(&range)?;
        self.push_range(RangeKeys::Between(start, end))
    }

    /// Deletes the keys that start with `prefix`; as [`TreeBatch::remove_range`].
    ///
    /// # Errors
    /// As [`crate::Tree::remove_prefix`]; what a tree's comparator does not support shows when the batch is applied.
    pub fn remove_prefix(&mut self, prefix: impl AsRef<[u8]>) -> Result<&mut Self> {
        check_prefix(prefix.as_ref())?;
        self.push_range(RangeKeys::Prefix(prefix.as_ref().into()))
    }

    fn push_range(&mut self, keys: RangeKeys) -> Result<&mut Self> {
        let bytes = self.byte_size() + keys.len() + 16;
        if bytes > MAX_BATCH_BYTES {
            return Err(EngineError::BatchTooLarge { bytes }.into());
        }
        self.ranges.push(RangeOperation { at: self.len(), keys });
        Ok(self)
    }

    fn push(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<&mut Self> {
        check_entry(key, value.len())?;
        let start = self.bytes.len();
        let added = key.len() + value.len() + 16;
        if self.byte_size() + added > MAX_BATCH_BYTES {
            return Err(EngineError::BatchTooLarge { bytes: self.byte_size() + added }.into());
        }
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        // The limits checked above are far below 2^32.
        let narrow = |len| u32::try_from(len).unwrap_or(u32::MAX);
        let (key_len, value_len) = (narrow(key.len()), narrow(value.len()));
        self.operations.push(Operation { kind, start, key_len, value_len });
        Ok(self)
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        self.operations.len() + self.ranges.len()
    }

    /// Whether there are no operations.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of keys and values, with 16 for each operation.
    pub fn byte_size(&self) -> usize {
        let ranges: usize = self.ranges.iter().map(|range| range.keys.len()).sum();
        self.bytes.len() + ranges + 16 * self.len()
    }

    /// Forgets all operations and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.operations.clear();
        self.ranges.clear();
    }

    /// Each write of one key with its place among all operations.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, BatchEntry<'_>)> + Clone {
        self.iter().scan((0, self.ranges.as_slice()), |(at, ranges), entry| {
            while let Some((_, rest)) = ranges.split_first().filter(|(range, _)| range.at == *at) {
                *ranges = rest;
                *at += 1;
            }
            *at += 1;
            Some((*at - 1, entry))
        })
    }

    /// The deletes of ranges, in order.
    pub(crate) fn ranges(&self) -> &[RangeOperation] {
        &self.ranges
    }

    /// All operations in order.
    pub fn operations(&self) -> impl ExactSizeIterator<Item = BatchOp<'_>> + Clone {
        let (mut entries, mut ranges) = (self.iter(), self.ranges.as_slice());
        (0..self.len()).map(move |at| match ranges.split_first().filter(|(range, _)| range.at == at) {
            Some((range, rest)) => {
                ranges = rest;
                range.keys.as_op()
            }
            None => entries.next().unwrap_or(BatchEntry { kind: Kind::Put, key: &[], value: &[] }).as_op(),
        })
    }

    /// Appends the stable binary form of the batch to `out`: see [`lsm_types::batch`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        batch::encode(self.operations(), out);
    }

    /// The batch that `bytes` are the stable binary form of.
    ///
    /// # Errors
    /// `Corruption` and `UnsupportedFormat` when they are not one; `BatchTooLarge` when they hold more than a batch may.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let encoded = EncodedBatch::decode(bytes)?;
        let mut batch = Self::new();
        for op in &encoded {
            batch.add(op)?;
        }
        Ok(batch)
    }

    /// Adds an operation.
    ///
    /// # Errors
    /// As the method of its kind.
    pub fn add(&mut self, op: BatchOp<'_>) -> Result<&mut Self> {
        match op {
            BatchOp::Put { key, value } => self.insert(key, value),
            BatchOp::Remove { key } => self.remove(key),
            BatchOp::RemoveWeak { key } => self.remove_weak(key),
            BatchOp::Merge { key, operand } => self.merge(key, operand),
            BatchOp::RemoveRange { lower, upper } => self.remove_range::<&[u8]>((lower, upper)),
            BatchOp::RemovePrefix { prefix } => self.remove_prefix(prefix),
            _ => Err(EngineError::Bug { invariant: "a batch knows every operation of its form" }.into()),
        }
    }

    /// The writes of single keys in order; deletes of ranges are not among them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = BatchEntry<'_>> + Clone {
        self.operations.iter().map(|operation| {
            let rest = self.bytes.get(operation.start..).unwrap_or_default();
            let (key, rest) = rest.split_at_checked(operation.key_len as usize).unwrap_or_default();
            let value = rest.get(..operation.value_len as usize).unwrap_or_default();
            BatchEntry { kind: operation.kind, key, value }
        })
    }

    /// The operations that have an effect when all carry one number, by key: of several on a key the last.
    ///
    /// # Errors
    /// `AmbiguousBatch` when one of several operations on a key is a merge.
    pub(crate) fn reduced(&self) -> Result<Vec<BatchEntry<'_>>> {
        let mut entries: Vec<BatchEntry<'_>> = self.iter().collect();
        entries.sort_by_key(|entry| entry.key); // stable: the last one stays the last
        let is_merge = |entry: &BatchEntry<'_>| entry.kind == Kind::MergeOperand;
        let mixed = |pair: &&[BatchEntry<'_>]| pair.iter().any(is_merge);
        let same_key = entries.chunk_by(|a, b| a.key == b.key).filter(|entries| entries.len() > 1);
        if let Some(entry) = same_key.filter(mixed).find_map(<[_]>::first) {
            return Err(EngineError::AmbiguousBatch { key: entry.key.into() }.into());
        }
        entries.reverse();
        entries.dedup_by_key(|entry| entry.key); // keeps the first of each, which was the last
        entries.reverse();
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves E-15.
    #[test]
    fn bad_keys_are_refused_when_added_and_change_nothing() {
        let mut batch = TreeBatch::new();
        batch.insert("a", "1").unwrap();
        assert!(batch.insert("", "1").is_err());
        assert!(batch.remove(vec![0; 65_536]).is_err());
        let entries: Vec<_> = batch.iter().collect();
        assert_eq!(entries, [BatchEntry { kind: Kind::Put, key: b"a", value: b"1" }]);
    }
}
