//! What scans yield.

use lsm_types::{Kind, Result, SeqNo, Slice};

use crate::{
    separated::{ValueLogs, value_len},
    walk::Walk,
};

/// An entry of a scan, whose value is fetched when it is asked for.
///
/// The key is at hand. So is a value that lies beside its key: then asking for it shares the block it lies in. A
/// separated value is fetched by asking for it, each time; until then the entry keeps its file.
///
/// Entries are equal when they are stored alike: of a value that was moved meanwhile they are not, nor when that of one
/// was [fetched in advance](crate::ReadAhead).
#[derive(Clone, Debug)]
pub struct Entry {
    key: Slice,
    /// As it is stored.
    value: Slice,
    seqno: SeqNo,
    /// Where a separated value lies.
    logs: Option<ValueLogs>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        let Self { key, value, seqno, logs } = self;
        (key, value, seqno, logs.is_some()) == (&other.key, &other.value, &other.seqno, other.logs.is_some())
    }
}

impl Eq for Entry {}

impl Entry {
    /// The entry on which `walk` stands.
    #[inline]
    pub(crate) fn of_walk(walk: &Walk, logs: &ValueLogs) -> Option<Self> {
        let entry = walk.entry()?;
        let logs = (entry.kind == Kind::Indirection).then(|| logs.clone());
        Some(Self { key: Slice::copy_from(entry.key), value: walk.value(), seqno: entry.seqno, logs })
    }

    /// Where the value is, when it is separated and was not fetched: its logs, the key, and the way there.
    pub(crate) fn separated(&self) -> Option<(&ValueLogs, &[u8], &[u8])> {
        self.logs.as_ref().map(|logs| (logs, &*self.key, &*self.value))
    }

    /// The same entry with its value at hand.
    pub(crate) fn supply(&mut self, value: Slice) {
        self.value = value;
        self.logs = None;
    }

    /// What kind of entry it is, as far as that matters for where its value is.
    fn kind(&self) -> Kind {
        if self.logs.is_some() { Kind::Indirection } else { Kind::Put }
    }

    /// The key.
    pub fn key(&self) -> &Slice {
        &self.key
    }

    /// The value, shared with its block where there is one.
    ///
    /// # Errors
    /// None for values that lie beside their key. For separated ones what fetching them finds: damage, what the system
    /// says, `DanglingValue`.
    pub fn value(&self) -> Result<Slice> {
        match &self.logs {
            Some(logs) => logs.resolve(&self.key, Kind::Indirection, self.value.clone()),
            None => Ok(self.value.clone()),
        }
    }

    /// Length of the value in bytes; tells it without fetching the value.
    ///
    /// # Errors
    /// As [`Entry::value`].
    pub fn size(&self) -> Result<usize> {
        value_len(&self.key, self.kind(), &self.value)
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
        let value = self.value()?;
        Ok((self.key, value))
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
