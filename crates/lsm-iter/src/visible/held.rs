//! A version kept while the cursor moves on.

use alloc::vec::Vec;

use lsm_types::{EntryCursor, Kind, SeqNo, Slice};

use crate::chain::COPY_MAX;

/// A version that the cursor has left.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) seqno: SeqNo,
    pub(super) kind: Kind,
    /// The value, unless it is shared.
    pub(super) copied: Vec<u8>,
    pub(super) shared: Option<Slice>,
}

impl Held {
    /// Holds nothing yet.
    pub(super) const fn nothing() -> Self {
        Self { seqno: SeqNo::ZERO, kind: Kind::Tombstone, copied: Vec::new(), shared: None }
    }

    /// Takes the entry under the cursor, its key apart.
    #[inline]
    pub(super) fn take(&mut self, cursor: &impl EntryCursor) {
        let Some(entry) = cursor.entry() else { return };
        (self.seqno, self.kind) = (entry.seqno, entry.kind);
        self.copied.clear();
        if entry.value.len() <= COPY_MAX {
            self.copied.extend_from_slice(entry.value);
            self.shared = None;
        } else {
            self.shared = Some(cursor.value());
        }
    }
}
