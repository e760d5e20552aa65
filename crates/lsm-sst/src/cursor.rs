//! Walking a whole table in both directions.

use alloc::sync::Arc;
use core::ops::{Bound, Range};

use lsm_columnar::DeleteMap;
use lsm_types::{EntryCursor, EntryRef, Error, Result, SeqNo, Slice, columns::KeyBuf};

use crate::{
    BlockSource, Neighbours, TableLayout,
    data_block::{DataBlock, RowCursor},
    dead::Mask,
    index::IndexBlock,
};

/// No block lies there.
const NOT_LOADED: u64 = u64::MAX;

/// No row of a block is passed over.
const ALL_LIVE: Range<usize> = 0..usize::MAX;

/// Which end of a block a step enters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Front,
    Back,
}

/// A position in a table, or none.
///
/// Blocks are loaded as they are reached. A lazy cursor ([`TableCursor::lazy`]) that steps over the border of a block
/// loads the next one only when it is settled, and shows a bound until then.
#[derive(Debug)]
pub struct TableCursor<S> {
    layout: Arc<TableLayout>,
    source: S,
    lazy: bool,
    /// Which index partition is loaded, for a partitioned index.
    partition: Option<(usize, Arc<IndexBlock>)>,
    /// Entry of the index block below the root, or of the root itself.
    entry_idx: usize,
    rows: Option<RowCursor<Arc<DataBlock>>>,
    /// Where the block under `rows` lies, if it is one of this table, so that a seek nearby does not ask for it again.
    loaded_at: u64,
    state: State,
    bound: KeyBuf,
    /// Keys that the walk will not leave, as far as is known.
    bounds: (Bound<Slice>, Bound<Slice>),
    /// Entries below this key are not there, and blocks that hold only such entries are never read.
    floor: Option<Slice>,
    /// Rows that are passed over, where there are any.
    mask: Option<Mask>,
    /// Some rows around the one that `rows` stands on, none of which is to be passed over.
    live: Range<usize>,
}

#[derive(Clone, Debug)]
enum State {
    /// On no entry.
    Nowhere,
    /// On the row that `rows` stands on.
    OnRow,
    /// Before a block that is not loaded, to be entered from this side.
    Pending(Side),
    /// Failed; repeats its error until the next seek.
    Failed(Error),
}

impl<S: BlockSource> TableCursor<S> {
    /// A cursor on no entry.
    pub fn new(layout: Arc<TableLayout>, source: S) -> Self {
        Self {
            layout,
            source,
            lazy: false,
            partition: None,
            entry_idx: 0,
            rows: None,
            loaded_at: NOT_LOADED,
            state: State::Nowhere,
            bound: KeyBuf::new(),
            bounds: (Bound::Unbounded, Bound::Unbounded),
            floor: None,
            mask: None,
            live: ALL_LIVE,
        }
    }

    /// The same cursor, putting off the load of a block it steps into until it is settled.
    #[must_use]
    pub fn lazy(self) -> Self {
        Self { lazy: true, ..self }
    }

    /// The same cursor over the entries from `floor` on. Blocks below it are not read; they may be gone.
    #[must_use]
    pub fn above(self, floor: Option<Slice>) -> Self {
        Self { floor, ..self }
    }

    /// The same cursor, standing on no entry, as if the rows of `dead` were not there. Blocks of which all rows are dead
    /// are not read.
    #[must_use]
    pub fn without(mut self, dead: Option<Arc<DeleteMap>>) -> Self {
        self.pass_over(dead);
        self
    }

    /// As [`TableCursor::without`]; to be called again after [`TableCursor::replace`].
    pub fn pass_over(&mut self, dead: Option<Arc<DeleteMap>>) {
        self.mask = dead.filter(|dead| !dead.is_empty()).map(Mask::new);
        self.live = ALL_LIVE;
        self.loaded_at = NOT_LOADED;
        self.state = State::Nowhere;
    }

    /// Goes over to another table of the same order, standing on no entry. Buffers are used again, no row is dead.
    ///
    /// * `floor`: as for [`TableCursor::above`].
    pub fn replace(&mut self, layout: Arc<TableLayout>, source: S, floor: Option<Slice>) {
        self.floor = floor;
        self.mask = None;
        self.live = ALL_LIVE;
        self.layout = layout;
        self.source = source;
        self.partition = None;
        self.entry_idx = 0;
        self.loaded_at = NOT_LOADED;
        self.state = State::Nowhere;
    }

    /// Whether the walk is on its way back into a block that is not loaded.
    pub const fn is_pending_back(&self) -> bool {
        matches!(self.state, State::Pending(Side::Back))
    }

    /// Where blocks come from.
    pub const fn source(&self) -> &S {
        &self.source
    }

    /// Remembers the error of `step`.
    fn attempt(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let result = step(self);
        if let Err(error) = &result {
            self.state = State::Failed(error.clone());
        }
        result
    }

    /// The index block whose entries are data blocks.
    fn leaf(&self) -> &IndexBlock {
        match &self.partition {
            Some((_, partition)) => partition,
            None => &self.layout.root,
        }
    }

    /// Loads the partition behind entry `root_idx` of the root; nothing to do for an index of one block.
    fn load_partition(&mut self, root_idx: usize) -> Result<()> {
        if !self.layout.root.is_upper() || self.partition.as_ref().is_some_and(|(idx, _)| *idx == root_idx) {
            return Ok(());
        }
        let Some(entry) = self.layout.root.entry(root_idx) else {
            return Err(self.layout.disagree("index root"));
        };
        let partition = self.source.index(entry.into())?;
        if partition.row_sum() != entry.rows {
            return Err(self.layout.disagree("row count of an index partition"));
        }
        self.partition = Some((root_idx, partition));
        Ok(())
    }

    /// Finds the entry of the block to look in for the point; `false` when the point is behind all blocks.
    fn find_entry(&mut self, key: &[u8], before: SeqNo) -> Result<bool> {
        if self.find_near(key, before) {
            return Ok(true);
        }
        let root_idx = self.layout.root.find(&self.layout.order, key, before);
        if root_idx >= self.layout.root.entries() {
            return Ok(false);
        }
        if !self.layout.root.is_upper() {
            self.entry_idx = root_idx;
            return Ok(true);
        }
        self.load_partition(root_idx)?;
        self.entry_idx = self.leaf().find(&self.layout.order, key, before);
        if self.entry_idx >= self.leaf().entries() {
            return Err(self.layout.disagree("index root"));
        }
        Ok(true)
    }

    /// The same without a search, where the current entry or the one after it is the answer.
    #[inline]
    fn find_near(&mut self, key: &[u8], before: SeqNo) -> bool {
        let Self { layout, partition, entry_idx, .. } = self;
        let (root, order) = (&*layout.root, &layout.order);
        // With the last entry of the root that lies wholly before the leaf, if there is one.
        let (leaf, previous) = match partition {
            Some((root_idx, leaf)) => (&**leaf, root_idx.checked_sub(1)),
            None if root.is_upper() => return false,
            None => (root, None),
        };
        let at = *entry_idx;
        if at >= leaf.entries() {
            return false;
        }
        if leaf.lies_before(order, at, key, before) {
            let is_next = at + 1 < leaf.entries() && !leaf.lies_before(order, at + 1, key, before);
            *entry_idx += usize::from(is_next);
            return is_next;
        }
        match (at.checked_sub(1), previous) {
            (Some(at), _) => leaf.lies_before(order, at, key, before),
            (None, Some(previous)) => root.lies_before(order, previous, key, before),
            (None, None) => true,
        }
    }

    /// Goes to the first or last entry of the index; `false` when there is none.
    fn outer_entry(&mut self, side: Side) -> Result<bool> {
        let root_len = self.layout.root.entries();
        if root_len == 0 {
            return Ok(false);
        }
        let root_idx = if side == Side::Front { 0 } else { root_len - 1 };
        if self.is_below_floor(&self.layout.root, root_idx) {
            return Ok(false);
        }
        self.load_partition(root_idx)?;
        self.entry_idx = if side == Side::Front { 0 } else { self.leaf().entries() - 1 };
        Ok(!self.is_below_floor(self.leaf(), self.entry_idx))
    }

    /// Goes to the next entry of the index; `false` after the last one.
    fn next_entry(&mut self) -> Result<bool> {
        if self.entry_idx + 1 < self.leaf().entries() {
            self.entry_idx += 1;
            return Ok(true);
        }
        match &self.partition {
            Some((root_idx, _)) if root_idx + 1 < self.layout.root.entries() => {
                let root_idx = root_idx + 1;
                self.load_partition(root_idx)?;
                self.entry_idx = 0;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Whether all that entry `idx` of an index block leads to lies below the floor.
    #[inline]
    fn is_below_floor(&self, index: &IndexBlock, idx: usize) -> bool {
        self.floor.as_ref().is_some_and(|floor| {
            index.lies_before(&self.layout.order, idx, floor, self.layout.local(SeqNo::LATEST))
        })
    }

    /// Whether the row that `rows` stands on lies below the floor.
    #[inline]
    fn is_clipped(&self) -> bool {
        let Some(floor) = &self.floor else { return false };
        let entry = self.rows.as_ref().and_then(RowCursor::entry);
        entry.is_some_and(|entry| self.layout.order.compare(entry.key, floor).is_lt())
    }

    /// Goes to the previous entry of the index; `false` before the first one that is not below the floor.
    fn prev_entry(&mut self) -> Result<bool> {
        if self.entry_idx > 0 {
            if self.is_below_floor(self.leaf(), self.entry_idx - 1) {
                return Ok(false);
            }
            self.entry_idx -= 1;
            return Ok(true);
        }
        match &self.partition {
            Some((root_idx, _)) if *root_idx > 0 => {
                let root_idx = root_idx - 1;
                if self.is_below_floor(&self.layout.root, root_idx) {
                    return Ok(false);
                }
                self.load_partition(root_idx)?;
                self.entry_idx = self.leaf().entries() - 1;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Whether `rows` stands on one.
    #[inline]
    fn is_on_row(&self) -> bool {
        self.rows.as_ref().is_some_and(RowCursor::is_on_row)
    }

    /// Loads the block of the current index entry.
    fn load_block(&mut self) -> Result<&mut RowCursor<Arc<DataBlock>>> {
        let Some(entry) = self.leaf().entry(self.entry_idx) else {
            return Err(self.layout.disagree("index entry"));
        };
        let offset = entry.handle.offset;
        if self.rows.is_none() || self.loaded_at != offset {
            let (layout, entry_idx, bounds) = (&*self.layout, self.entry_idx, &self.bounds);
            let floor = self.floor.as_ref();
            let near = Neighbours { layout, leaf: self.leaf(), entry_idx, bounds, floor };
            let block = self.source.data_of_walk(entry.into(), &near)?;
            if block.rows() as u64 != entry.rows {
                return Err(self.layout.disagree("row count of a data block"));
            }
            match &mut self.rows {
                Some(rows) => rows.replace(block),
                None => self.rows = Some(RowCursor::new(block, self.layout.order.clone())),
            }
            self.loaded_at = offset;
            self.mask_block(entry.rows);
        }
        self.rows.as_mut().ok_or_else(|| self.layout.disagree("index entry"))
    }

    /// Enters the block of the current index entry from `side`, now; where none of its rows is to be shown, the one behind.
    fn enter(&mut self, side: Side) -> Result<()> {
        while self.is_block_dead() {
            if !self.beyond(side)? {
                self.state = State::Nowhere;
                return Ok(());
            }
        }
        let rows = self.load_block()?;
        match side {
            Side::Front => rows.seek_first(),
            Side::Back => rows.seek_last(),
        }
        self.pass_dead(side);
        self.state = if self.is_clipped() { State::Nowhere } else { State::OnRow };
        Ok(())
    }

    /// Goes to the entry of the index behind the current one, as seen from `side`; `false` when there is none.
    fn beyond(&mut self, side: Side) -> Result<bool> {
        match side {
            Side::Front => self.next_entry(),
            Side::Back => self.prev_entry(),
        }
    }

    /// The first row of the block of the current index entry.
    fn first_row(&self) -> u64 {
        match &self.partition {
            Some((root_idx, leaf)) => self.layout.first_row(*root_idx, Some((leaf, self.entry_idx))),
            None => self.layout.first_row(self.entry_idx, None),
        }
    }

    /// Whether all rows of the block of the current index entry are dead, so that it need not be read.
    fn is_block_dead(&self) -> bool {
        let Some(mask) = &self.mask else { return false };
        let rows = self.leaf().entry(self.entry_idx).map_or(0, |entry| entry.rows);
        let first = self.first_row();
        rows > 0 && mask.map().covers(first..first.saturating_add(rows))
    }

    /// Notes which rows are dead of the block that was just loaded.
    fn mask_block(&mut self, rows: u64) {
        if self.mask.is_none() {
            return;
        }
        let first = self.first_row();
        if let Some(mask) = &mut self.mask {
            mask.enter(first, usize::try_from(rows).unwrap_or(usize::MAX));
        }
    }

    /// Goes from the row that a seek came to, where it is dead, to the nearest one that is not, away from `side`; to none
    /// when there is none in the block.
    fn pass_dead(&mut self, side: Side) {
        let (Some(mask), Some(rows)) = (&self.mask, &mut self.rows) else { return };
        if !rows.is_on_row() {
            return;
        }
        let live = match side {
            Side::Front => mask.live_from(rows.row()),
            Side::Back => mask.live_to(rows.row()),
        };
        if live != Some(rows.row()) {
            rows.seek_row(live.unwrap_or(usize::MAX));
        }
        self.live = match side {
            Side::Front => mask.live_behind(rows.row()),
            Side::Back => mask.live_before(rows.row()),
        };
    }

    /// Steps over dead rows to the first one behind them; to none when there is none in the block.
    fn step_over_dead(&mut self) {
        let (Some(mask), Some(rows)) = (&self.mask, &mut self.rows) else { return };
        let live = mask.live_from(rows.row() + 1);
        rows.seek_row(live.unwrap_or(usize::MAX));
        self.live = mask.live_behind(rows.row());
    }

    /// The same on the way back.
    fn step_back_over_dead(&mut self) {
        let (Some(mask), Some(rows)) = (&self.mask, &mut self.rows) else { return };
        let live = rows.row().checked_sub(1).and_then(|row| mask.live_to(row));
        rows.seek_row(live.unwrap_or(usize::MAX));
        self.live = mask.live_before(rows.row());
    }

    #[cold]
    fn step_out_forward(&mut self) -> Result<()> {
        self.state = State::Nowhere;
        if self.lazy {
            // Every key of the next block lies above the separator of this one.
            let mut bound = core::mem::take(&mut self.bound);
            bound.reset();
            self.leaf().separator(self.entry_idx, &mut bound);
            self.bound = bound;
        }
        if !self.next_entry()? {
            return Ok(());
        }
        if self.lazy {
            self.state = State::Pending(Side::Front);
            return Ok(());
        }
        self.enter(Side::Front)
    }

    #[cold]
    fn step_out_backward(&mut self) -> Result<()> {
        self.state = State::Nowhere;
        if !self.prev_entry()? {
            return Ok(());
        }
        if self.lazy {
            // No key of a block lies above its separator.
            let mut bound = core::mem::take(&mut self.bound);
            bound.reset();
            self.leaf().separator(self.entry_idx, &mut bound);
            self.bound = bound;
            self.state = State::Pending(Side::Back);
            return Ok(());
        }
        self.enter(Side::Back)
    }
}

impl<S: BlockSource> EntryCursor for TableCursor<S> {
    fn seek_first(&mut self) -> Result<()> {
        if let Some(floor) = self.floor.clone() {
            return self.seek(&floor, SeqNo::LATEST);
        }
        self.state = State::Nowhere;
        self.attempt(|this| if this.outer_entry(Side::Front)? { this.enter(Side::Front) } else { Ok(()) })
    }

    fn seek_last(&mut self) -> Result<()> {
        self.state = State::Nowhere;
        self.attempt(|this| if this.outer_entry(Side::Back)? { this.enter(Side::Back) } else { Ok(()) })
    }

    fn seek(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        let floor = self.floor.clone();
        let (key, before) = match &floor {
            Some(floor) if self.layout.order.compare(key, floor).is_lt() => (&floor[..], SeqNo::LATEST),
            _ => (key, before),
        };
        self.state = State::Nowhere;
        let before = self.layout.local(before);
        self.attempt(|this| {
            if !this.find_entry(key, before)? {
                return Ok(());
            }
            this.load_block()?.seek(key, before);
            this.pass_dead(Side::Front);
            if this.is_on_row() {
                this.state = State::OnRow;
                return Ok(());
            }
            // The separator lies above the point, the rows below it: the next block starts behind the point.
            if this.next_entry()? { this.enter(Side::Front) } else { Ok(()) }
        })
    }

    fn seek_back(&mut self, key: &[u8], before: SeqNo) -> Result<()> {
        self.state = State::Nowhere;
        if self.floor.as_ref().is_some_and(|floor| self.layout.order.compare(key, floor).is_lt()) {
            return Ok(());
        }
        let before = self.layout.local(before);
        self.attempt(|this| {
            if !this.find_entry(key, before)? {
                return if this.outer_entry(Side::Back)? { this.enter(Side::Back) } else { Ok(()) };
            }
            this.load_block()?.seek_back(key, before);
            this.pass_dead(Side::Back);
            if this.is_on_row() {
                this.state = if this.is_clipped() { State::Nowhere } else { State::OnRow };
                return Ok(());
            }
            if this.prev_entry()? { this.enter(Side::Back) } else { Ok(()) }
        })
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        match (&self.state, &mut self.rows) {
            (State::OnRow, Some(rows)) => {
                if rows.row() + 1 < self.live.end {
                    rows.next();
                } else {
                    self.step_over_dead();
                }
                if self.is_on_row() { Ok(()) } else { self.attempt(Self::step_out_forward) }
            }
            (State::Failed(error), _) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        match (&self.state, &mut self.rows) {
            (State::OnRow, Some(rows)) => {
                if self.live.start == 0 || self.live.start < rows.row() {
                    rows.prev();
                } else {
                    self.step_back_over_dead();
                }
                if !self.is_on_row() {
                    return self.attempt(Self::step_out_backward);
                }
                if self.is_clipped() {
                    self.state = State::Nowhere;
                }
                Ok(())
            }
            (State::Failed(error), _) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    #[inline]
    fn entry(&self) -> Option<EntryRef<'_>> {
        match (&self.state, &self.rows) {
            (State::OnRow, Some(rows)) => {
                rows.entry().map(|entry| EntryRef { seqno: self.layout.effective(entry.seqno), ..entry })
            }
            _ => None,
        }
    }

    fn value(&self) -> Slice {
        match (&self.state, &self.rows) {
            (State::OnRow, Some(rows)) => rows.value(),
            _ => Slice::empty(),
        }
    }

    #[inline]
    fn is_newest(&self) -> bool {
        match (&self.state, &self.rows) {
            (State::OnRow, Some(rows)) => rows.is_newest(),
            _ => false,
        }
    }

    #[inline]
    fn shares_value(&self) -> bool {
        true
    }

    fn bound(&self) -> Option<&[u8]> {
        matches!(self.state, State::Pending(_)).then(|| self.bound.as_slice())
    }

    fn expect_within(&mut self, lower: &Bound<Slice>, upper: &Bound<Slice>) {
        self.bounds = (lower.clone(), upper.clone());
    }

    fn settle(&mut self) -> Result<()> {
        match self.state {
            State::Pending(side) => self.attempt(|this| this.enter(side)),
            State::Failed(ref error) => Err(error.clone()),
            _ => Ok(()),
        }
    }
}
