//! Several writes that are applied together.

use lsm_types::{Kind, Result, check_entry};

use crate::EngineError;

/// Most bytes of keys and values in one batch, with 16 bytes of overhead for each operation.
pub const MAX_BATCH_BYTES: usize = u32::MAX as usize;

/// Writes applied together and in order: operation `i` gets the base number plus `i`, so later ones win.
///
/// Keys and values are copied once, into one buffer, and checked when they are added.
#[derive(Clone, Debug, Default)]
pub struct TreeBatch {
    bytes: Vec<u8>,
    operations: Vec<Operation>,
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
        self.operations.len()
    }

    /// Whether there are no operations.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Bytes of keys and values, with 16 for each operation.
    pub fn byte_size(&self) -> usize {
        self.bytes.len() + 16 * self.operations.len()
    }

    /// Forgets all operations and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.operations.clear();
    }

    /// The operations in order.
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
