//! What scans yield.

use lsm_types::{Result, SeqNo, Slice};

use crate::walk::Walk;

/// An entry of a scan, whose value is fetched when it is asked for.
///
/// The key is at hand. So is a value that lies beside its key: then asking for it shares the block it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    key: Slice,
    value: Slice,
    seqno: SeqNo,
}

impl Entry {
    /// The entry on which `walk` stands.
    #[inline]
    pub(crate) fn of_walk(walk: &Walk) -> Option<Self> {
        let entry = walk.entry()?;
        Some(Self { key: Slice::copy_from(entry.key), value: walk.value(), seqno: entry.seqno })
    }

    /// The key.
    pub fn key(&self) -> &Slice {
        &self.key
    }

    /// The value, shared with its block where there is one.
    ///
    /// # Errors
    /// None for values that lie beside their key, as all do that are not separated.
    pub fn value(&self) -> Result<Slice> {
        Ok(self.value.clone())
    }

    /// Length of the value in bytes; tells it without fetching the value.
    ///
    /// # Errors
    /// As [`Entry::value`].
    pub fn size(&self) -> Result<usize> {
        Ok(self.value.len())
    }

    /// Number of the write.
    pub fn seqno(&self) -> SeqNo {
        self.seqno
    }

    /// Key and value.
    ///
    /// # Errors
    /// As [`Entry::value`].
    pub fn into_pair(self) -> Result<(Slice, Slice)> {
        Ok((self.key, self.value))
    }

    /// The key, and the value if `wanted` says so of the key.
    ///
    /// # Errors
    /// As [`Entry::value`], for keys that are wanted.
    pub fn into_pair_if(self, wanted: impl FnOnce(&[u8]) -> bool) -> Result<(Slice, Option<Slice>)> {
        if !wanted(&self.key) {
            return Ok((self.key, None));
        }
        self.into_pair().map(|(key, value)| (key, Some(value)))
    }
}
