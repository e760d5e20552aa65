//! Walking the data blocks that may hold numbers of a window, and no others where the table says which those are.

use alloc::sync::Arc;
use core::cmp::Ordering;

use lsm_columnar::DeleteMap;
use lsm_types::{EntryRef, Result, SeqNo, Slice, columns::KeyBuf};

use crate::{
    BlockSource, TableLayout,
    data_block::DataBlock,
    index::IndexBlock,
    properties::SeqNoBounds,
    seqno_bounds::{BlockBounds, BoundsBlock},
};

/// Numbers from `since` on and below `before`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeqNoWindow {
    /// The smallest number in it.
    pub since: SeqNo,
    /// The smallest number above it.
    pub before: SeqNo,
}

impl SeqNoWindow {
    /// Whether `seqno` lies in it.
    #[inline]
    pub fn contains(&self, seqno: SeqNo) -> bool {
        self.since <= seqno && seqno < self.before
    }

    /// Whether a number between the bounds, both included, may lie in it.
    #[inline]
    pub fn reaches(&self, bounds: SeqNoBounds) -> bool {
        self.since <= bounds.max && bounds.min < self.before
    }
}

/// What a scan read and passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScanCounts {
    /// Data blocks read.
    pub read: u64,
    /// Bytes of them in the file.
    pub bytes: u64,
    /// Rows below the index partitions and data blocks that were passed unread.
    pub rows_skipped: u64,
}

/// Walks data blocks in key order. Made by [`TableLayout::change_scan`].
#[derive(Debug)]
pub struct ChangeScan<S> {
    layout: Arc<TableLayout>,
    source: S,
    bounds: Option<Arc<BlockBounds>>,
    /// Entry of the root; stays at 0 for an index of one block.
    root_idx: usize,
    /// The partition behind it, once it is loaded.
    partition: Option<Arc<IndexBlock>>,
    /// Entry of the index block whose entries are data blocks, to be looked at next.
    entry_idx: usize,
    /// The block in hand, and what its bounds should be.
    block: Option<(Arc<DataBlock>, Option<SeqNoBounds>)>,
    /// The row of the table that it begins with.
    first_row: u64,
    /// Rows that are passed over.
    dead: Option<Arc<DeleteMap>>,
    counts: ScanCounts,
    key: KeyBuf,
    /// Entries below this key are not there.
    floor: Option<Slice>,
}

impl TableLayout {
    /// A scan from the first block on.
    ///
    /// * `bounds`: from [`TableLayout::decode_bounds`]; without them every block is read.
    pub fn change_scan<S: BlockSource>(
        self: &Arc<Self>,
        source: S,
        bounds: Option<Arc<BlockBounds>>,
    ) -> ChangeScan<S> {
        ChangeScan {
            layout: Arc::clone(self),
            source,
            bounds: bounds.filter(|bounds| self.goes_with(bounds)),
            root_idx: 0,
            partition: None,
            entry_idx: 0,
            block: None,
            first_row: 0,
            dead: None,
            counts: ScanCounts::default(),
            key: KeyBuf::new(),
            floor: None,
        }
    }

    /// Whether there are as many parts of bounds as the index has.
    fn goes_with(&self, bounds: &BlockBounds) -> bool {
        if self.root.is_upper() {
            bounds.parts() == self.root.entries()
        } else {
            bounds.parts() == 1 && bounds.part(0).is_some_and(|part| part.entries() == self.root.entries())
        }
    }

    fn effective_bounds(&self, local: SeqNoBounds) -> SeqNoBounds {
        SeqNoBounds { min: self.effective(local.min), max: self.effective(local.max) }
    }
}

impl<S: BlockSource> ChangeScan<S> {
    /// The same scan over the entries from `floor` on, standing before the first block that may hold one. Blocks below it
    /// are not read; they may be gone.
    ///
    /// # Errors
    /// What reading an index partition finds.
    pub fn above(mut self, floor: &Slice) -> Result<Self> {
        self.floor = Some(floor.clone());
        self.seek(floor)?;
        Ok(self)
    }

    /// The same scan as if the rows of `dead` were not there.
    #[must_use]
    pub fn without(self, dead: Option<Arc<DeleteMap>>) -> Self {
        Self { dead, ..self }
    }

    /// Goes to the first block that may hold `key` or a larger one.
    ///
    /// # Errors
    /// What reading an index partition finds.
    pub fn seek(&mut self, key: &[u8]) -> Result<()> {
        let layout = Arc::clone(&self.layout);
        let floor = self.floor.clone();
        let key = match &floor {
            Some(floor) if layout.order.compare(key, floor).is_lt() => &floor[..],
            _ => key,
        };
        self.block = None;
        self.partition = None;
        self.entry_idx = 0;
        let root_idx = layout.root.find(&layout.order, key, SeqNo::LATEST);
        if !layout.root.is_upper() {
            self.entry_idx = root_idx;
            return Ok(());
        }
        self.root_idx = root_idx;
        if root_idx < layout.root.entries() {
            let partition = self.load_partition()?;
            self.entry_idx = partition.find(&layout.order, key, SeqNo::LATEST);
        }
        Ok(())
    }

    /// Reads the next block that may hold a number of `window`; `false` when there is none that begins at or left of
    /// `last`, the largest key of interest.
    ///
    /// # Errors
    /// What reading blocks finds.
    pub fn next_block(&mut self, window: SeqNoWindow, last: Option<&[u8]>) -> Result<bool> {
        self.block = None;
        let layout = Arc::clone(&self.layout);
        loop {
            if !layout.root.is_upper() {
                let root = Arc::clone(&layout.root);
                return self.next_in(&root, 0, window, last);
            }
            let Some(entry) = layout.root.entry(self.root_idx) else { return Ok(false) };
            let part = self.part(self.root_idx).and_then(BoundsBlock::all);
            let is_passed = part.is_some_and(|bounds| !window.reaches(layout.effective_bounds(bounds)));
            if is_passed && self.partition.is_none() {
                self.counts.rows_skipped += entry.rows;
            } else {
                let partition = match &self.partition {
                    Some(partition) => Arc::clone(partition),
                    None => self.load_partition()?,
                };
                if self.next_in(&partition, self.root_idx, window, last)? {
                    return Ok(true);
                }
            }
            if self.ends_behind(&layout.root, self.root_idx, last) {
                self.root_idx = layout.root.entries();
                return Ok(false);
            }
            (self.root_idx, self.entry_idx, self.partition) = (self.root_idx + 1, 0, None);
        }
    }

    /// Calls `visit` with every entry of the block in hand whose number lies in `window`, with effective numbers.
    ///
    /// # Errors
    /// What `visit` returns. With `check`, damage where a number lies outside of what the table says of the block.
    pub fn for_each(
        &mut self,
        window: SeqNoWindow,
        check: bool,
        mut visit: impl FnMut(EntryRef<'_>) -> Result<()>,
    ) -> Result<()> {
        let Some((block, bounds)) = &self.block else { return Ok(()) };
        self.key.reset();
        for row in 0..block.rows() {
            let local = block.seqno(row);
            if check && bounds.is_some_and(|bounds| local < bounds.min || bounds.max < local) {
                return Err(self.layout.disagree("bounds of the sequence numbers of a block"));
            }
            let seqno = self.layout.effective(local);
            if !window.contains(seqno) || self.is_dead(row) {
                continue;
            }
            block.key(row, &mut self.key);
            let (key, value) = (self.key.as_slice(), block.value(row));
            let is_gone = |floor: &Slice| self.layout.order.compare(key, floor).is_lt();
            if self.floor.as_ref().is_some_and(is_gone) {
                continue;
            }
            visit(EntryRef { key, seqno, kind: block.kind(row), value })?;
        }
        Ok(())
    }

    fn is_dead(&self, row: usize) -> bool {
        let at = self.first_row.saturating_add(row as u64);
        self.dead.as_ref().is_some_and(|dead| dead.contains(at))
    }

    /// What the scan read and passed so far.
    pub const fn counts(&self) -> ScanCounts {
        self.counts
    }

    fn part(&self, part: usize) -> Option<&BoundsBlock> {
        self.bounds.as_ref()?.part(part)
    }

    fn load_partition(&mut self) -> Result<Arc<IndexBlock>> {
        let Some(entry) = self.layout.root.entry(self.root_idx) else {
            return Err(self.layout.disagree("index root"));
        };
        let partition = self.source.index(entry.into())?;
        if partition.row_sum() != entry.rows {
            return Err(self.layout.disagree("row count of an index partition"));
        }
        self.partition = Some(Arc::clone(&partition));
        Ok(partition)
    }

    fn next_in(
        &mut self,
        leaf: &IndexBlock,
        part: usize,
        window: SeqNoWindow,
        last: Option<&[u8]>,
    ) -> Result<bool> {
        // Bounds that do not go with the index say nothing.
        let bounds = self.part(part).filter(|bounds| bounds.entries() == leaf.entries()).cloned();
        while let Some(entry) = leaf.entry(self.entry_idx) {
            let idx = self.entry_idx;
            if idx > 0 && self.ends_behind(leaf, idx - 1, last) {
                break;
            }
            self.entry_idx += 1;
            let local = bounds.as_ref().and_then(|bounds| bounds.get(idx));
            if local.is_some_and(|local| !window.reaches(self.layout.effective_bounds(local))) {
                self.counts.rows_skipped += entry.rows;
                continue;
            }
            let block = self.source.data(entry.into())?;
            if block.rows() as u64 != entry.rows {
                return Err(self.layout.disagree("row count of a data block"));
            }
            self.counts.read += 1;
            self.counts.bytes += u64::from(entry.handle.len);
            self.first_row = if self.layout.root.is_upper() {
                self.layout.first_row(self.root_idx, Some((leaf, idx)))
            } else {
                self.layout.first_row(idx, None)
            };
            self.block = Some((block, local));
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether what follows entry `idx` of an index block lies right of `last`: every key behind it is above its
    /// separator, but for further versions of the same key.
    fn ends_behind(&mut self, leaf: &IndexBlock, idx: usize, last: Option<&[u8]>) -> bool {
        let Some(last) = last else { return false };
        self.key.reset();
        leaf.separator(idx, &mut self.key);
        self.layout.order.compare(self.key.as_slice(), last) == Ordering::Greater
    }
}
