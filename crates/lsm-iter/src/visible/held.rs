//! A version kept while the cursor moves on.

use alloc::vec::Vec;

use lsm_types::{EntryCursor, EntryRef, Kind, SeqNo, Slice};

use crate::{chain::COPY_MAX, refill::refill};

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

    /// Takes `entry`, which is under the cursor, its key apart.
    #[inline]
    pub(super) fn take(&mut self, entry: EntryRef<'_>, cursor: &impl EntryCursor) {
        (self.seqno, self.kind) = (entry.seqno, entry.kind);
        if entry.value.len() <= COPY_MAX || !cursor.shares_value() {
            refill(&mut self.copied, entry.value);
            if self.shared.is_some() {
                self.shared = None;
            }
        } else {
            self.shared = Some(cursor.value());
        }
    }

    /// The same without the value.
    #[inline]
    pub(super) fn take_head(&mut self, entry: EntryRef<'_>) {
        (self.seqno, self.kind) = (entry.seqno, entry.kind);
    }
}
