//! What values weigh that are moved with the entries of a slice.
//!
//! An index says how long blocks are, not what their entries lead to, so the entries of tables that lead to moved values are
//! read ahead of the merge. Where much hangs on few of them, a slice may end between two keys of a block: what of the block
//! is left then stays until the next slice.

use std::{collections::BTreeSet, sync::Arc};

use lsm_table::{BlockEnd, ReadMode, Table, TableCursor, Throttle};
use lsm_types::{EntryCursor, EntryRef, KeyOrder, Kind, Result, Slice, ValueHandle, ValueReferences, VlogId};

/// Bytes of values, or those of one key, after which a slice may end inside a block.
const GRAIN: u64 = 64 << 10;

/// The value logs out of which values are moved.
#[derive(Clone)]
pub(crate) struct MovedValues {
    logs: Arc<BTreeSet<VlogId>>,
    throttle: Arc<dyn Throttle>,
}

impl MovedValues {
    /// * `throttle`: is asked for what is read.
    pub(crate) fn new(logs: BTreeSet<VlogId>, throttle: Arc<dyn Throttle>) -> Self {
        Self { logs: Arc::new(logs), throttle }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Stored bytes of those among `references`.
    pub(crate) fn bytes_of(&self, references: &ValueReferences) -> u64 {
        let moved = references.iter().filter(|(log, _)| self.logs.contains(log));
        moved.fold(0, |sum, (_, usage)| sum.saturating_add(usage.stored_bytes))
    }

    /// A walk over the handles of a table; `None` for one that leads to nothing that is moved.
    pub(super) fn handles(&self, table: &Table, order: &KeyOrder) -> Result<Option<Handles>> {
        if self.bytes_of(&table.descriptor().references) == 0 {
            return Ok(None);
        }
        let mut cursor = table.cursor(ReadMode::COMPACTION)?;
        cursor.seek_first()?;
        Ok(Some(Handles { cursor, moved: self.clone(), order: order.clone() }))
    }
}

/// Walks the entries of a table.
pub(super) struct Handles {
    cursor: TableCursor,
    moved: MovedValues,
    order: KeyOrder,
}

/// What values weigh.
#[derive(Default)]
pub(super) struct Weight {
    /// Their stored bytes.
    pub(super) bytes: u64,
    /// The key with which they end, when it is not the end that was asked for.
    pub(super) stops_after: Option<Slice>,
}

impl Handles {
    /// What the values of the entries up to `end` weigh, or of as many as weigh something.
    pub(super) fn up_to(&mut self, end: &BlockEnd) -> Result<Weight> {
        let mut weight = Weight::default();
        let (mut last, mut is_begun) = (Vec::new(), false);
        loop {
            self.cursor.settle()?;
            let Some(entry) = self.cursor.entry() else { break };
            if self.order.compare(entry.key, &end.key).is_gt() {
                break;
            }
            // Versions of a key are never parted.
            let begins_key = !is_begun || self.order.compare(&last, entry.key).is_lt();
            let moved = self.moved_bytes(&entry);
            if begins_key && weight.bytes > 0 && weight.bytes.saturating_add(moved) > GRAIN {
                weight.stops_after = Some(Slice::copy_from(&last));
                return Ok(weight);
            }
            weight.bytes = weight.bytes.saturating_add(moved);
            if begins_key {
                last.clear();
                last.extend_from_slice(entry.key);
                is_begun = true;
            }
            self.cursor.next()?;
        }
        self.moved.throttle.pass(end.stored_bytes)?;
        Ok(weight)
    }

    /// Stored bytes of the value that is moved with an entry; 0 for none.
    fn moved_bytes(&self, entry: &EntryRef<'_>) -> u64 {
        if entry.kind != Kind::Indirection {
            return 0;
        }
        // What is no handle is the business of whoever writes it.
        let handle = ValueHandle::decode(entry.value).ok();
        let moved = handle.filter(|handle| self.moved.logs.contains(&handle.file));
        moved.map_or(0, |handle| handle.stored_len.into())
    }
}
