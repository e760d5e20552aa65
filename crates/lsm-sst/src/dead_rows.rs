//! Finding the rows that deletes of ranges have killed: keys and numbers are looked at, values are not, and of the blocks
//! only those of which the index and the bounds of the table do not tell. Of a row group nothing but these two is read.

use alloc::{sync::Arc, vec::Vec};
use core::{cmp::Ordering, ops::Range};

use lsm_columnar::{DeleteMap, DeleteSet};
use lsm_types::{Cut, Result, SeqNo, columns::KeyBuf};

use crate::{
    BlockRef, GroupSource, TableLayout,
    data_block::DataBlock,
    index::{IndexBlock, IndexEntry},
};

/// A stretch of keys, and the number below which its entries are dead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadStretch {
    /// Where it begins.
    pub start: Cut,
    /// Where it ends.
    pub end: Cut,
    /// Entries with effective numbers below this one are dead.
    pub before: SeqNo,
}

/// Rows that are dead, and what finding them cost.
#[derive(Clone, PartialEq, Debug)]
pub struct DeadRows {
    /// All of them, those that were known among them.
    pub rows: DeleteSet,
    /// How many were not known.
    pub fresh: u64,
    /// Data blocks and row groups read.
    pub blocks_read: u64,
}

impl TableLayout {
    /// The rows that lie in `stretches` with smaller numbers than these say, and those of `known`.
    ///
    /// * `stretches`: disjoint and ascending.
    /// * `floor`: entries below it are left alone, and blocks that hold only such entries are not read.
    /// * `step`: called before each block of the index; its error ends the search.
    ///
    /// Takes memory for the rows that are dead, one partition of the index and one block.
    ///
    /// `None` for a table of more rows than a vector can speak of, or whose index does not count them.
    ///
    /// # Errors
    /// What reading blocks finds; what `step` returns.
    pub fn dead_rows<S: GroupSource>(
        &self,
        source: &S,
        stretches: &[DeadStretch],
        known: Option<&DeleteMap>,
        floor: Option<&[u8]>,
        step: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Option<DeadRows>> {
        let Ok(empty) = DeleteSet::new(self.entries()) else { return Ok(None) };
        if self.root.row_sum() != self.entries() {
            return Ok(None);
        }
        let newest = self.properties.effective(self.properties.point_seqnos).map(|bounds| bounds.max);
        let mut search = Search {
            layout: self,
            stretches,
            known,
            floor,
            newest,
            rows: known.map_or(empty, DeleteMap::to_set),
            pending: 0..0,
            blocks_read: 0,
        };
        let before = search.rows.cardinality();
        search.root(source, step)?;
        search.flush()?;
        let fresh = search.rows.cardinality().saturating_sub(before);
        Ok(Some(DeadRows { rows: search.rows, fresh, blocks_read: search.blocks_read }))
    }
}

/// Which part of some keys is dead.
enum Share {
    None,
    All,
    Some,
}

struct Search<'a> {
    layout: &'a TableLayout,
    /// Those that end left of where the search stands are cut off.
    stretches: &'a [DeadStretch],
    known: Option<&'a DeleteMap>,
    floor: Option<&'a [u8]>,
    /// The largest number of an entry.
    newest: Option<SeqNo>,
    rows: DeleteSet,
    /// Rows found dead that are not in `rows` yet.
    pending: Range<u64>,
    blocks_read: u64,
}

impl Search<'_> {
    fn root<S: GroupSource>(&mut self, source: &S, step: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let root = Arc::clone(&self.layout.root);
        if !root.is_upper() {
            return self.leaf(source, &root, (0, None), step);
        }
        let mut lower: Option<Vec<u8>> = None;
        for idx in 0..root.entries() {
            let upper = separator(&root, idx);
            if !self.is_below_floor(&root, idx)
                && let Some(entry) = root.entry(idx)
                && !matches!(self.share(lower.as_deref(), &upper), Share::None)
            {
                step()?;
                let partition = source.index(entry.into())?;
                if partition.row_sum() != entry.rows {
                    return Err(self.layout.disagree("row count of an index partition"));
                }
                self.leaf(source, &partition, (root.rows_before(idx), lower), step)?;
            }
            lower = Some(upper);
        }
        Ok(())
    }

    fn leaf<S: GroupSource>(
        &mut self,
        source: &S,
        leaf: &IndexBlock,
        (mut first, mut lower): (u64, Option<Vec<u8>>),
        step: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        for idx in 0..leaf.entries() {
            let upper = separator(leaf, idx);
            let Some(entry) = leaf.entry(idx) else { break };
            let rows = first..first.saturating_add(entry.rows);
            first = rows.end;
            let is_settled =
                self.is_below_floor(leaf, idx) || self.known.is_some_and(|known| known.covers(rows.clone()));
            if !is_settled {
                match self.share(lower.as_deref(), &upper) {
                    Share::None => {}
                    Share::All => self.take(rows)?,
                    Share::Some => {
                        step()?;
                        self.read(source, entry, rows.start)?;
                    }
                }
            }
            lower = Some(upper);
        }
        Ok(())
    }

    /// Judges the rows behind an entry of the index one by one.
    fn read<S: GroupSource>(&mut self, source: &S, entry: IndexEntry, first: u64) -> Result<()> {
        self.blocks_read += 1;
        let at = BlockRef::from(entry);
        if self.layout.is_columnar() {
            return self.group(source, at, first..first.saturating_add(entry.rows));
        }
        let block = source.data(at)?;
        if block.rows() as u64 != entry.rows {
            return Err(self.layout.disagree("row count of a data block"));
        }
        self.block(&block, first)
    }

    fn block(&mut self, block: &DataBlock, first: u64) -> Result<()> {
        let (mut key, mut stretches) = (KeyBuf::new(), self.stretches);
        for row in 0..block.rows() {
            block.key(row, &mut key);
            if !self.row(
                &mut stretches,
                key.as_slice(),
                block.seqno(row),
                first.saturating_add(row as u64),
            )? {
                break;
            }
        }
        Ok(())
    }

    fn group<S: GroupSource>(&mut self, source: &S, at: BlockRef, rows: Range<u64>) -> Result<()> {
        let group = source.group(at)?;
        if group.rows() != rows.end - rows.start {
            return Err(self.layout.disagree("row count of a row group"));
        }
        let (mut stretches, mut at) = (self.stretches, rows.start);
        for part in 0..group.directory().part_count() {
            let keys = self.layout.keys_of(source, &group, part)?;
            let seqnos = self.layout.seqnos_of(source, &group, part)?;
            let Some(page) = keys.page().as_keys() else { break };
            let mut key = KeyBuf::new();
            for (row, seqno) in seqnos.into_iter().enumerate() {
                page.key(keys.payload(), row, &mut key);
                if !self.row(&mut stretches, key.as_slice(), seqno, at)? {
                    return Ok(());
                }
                at = at.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Judges row `at` of the table; `false` where it lies right of all stretches.
    ///
    /// * `stretches`: those that do not end left of the row before.
    #[inline]
    fn row(&mut self, stretches: &mut &[DeadStretch], key: &[u8], seqno: SeqNo, at: u64) -> Result<bool> {
        let order = &self.layout.order;
        while let Some((stretch, rest)) = stretches.split_first()
            && stretch.end.is_left_of(key, order)
        {
            *stretches = rest;
        }
        let Some(stretch) = stretches.first() else { return Ok(false) };
        let is_left = self.floor.is_none_or(|floor| order.compare(key, floor).is_ge());
        if is_left && stretch.start.is_left_of(key, order) && self.layout.effective(seqno) < stretch.before {
            self.take(at..at.saturating_add(1))?;
        }
        Ok(true)
    }

    /// What is dead of the entries above `lower`, further versions of it included, up to `upper`. Keys ascend from call to
    /// call.
    fn share(&mut self, lower: Option<&[u8]>, upper: &[u8]) -> Share {
        let order = &self.layout.order;
        if let Some(lower) = lower {
            while let Some((stretch, rest)) = self.stretches.split_first()
                && stretch.end.is_left_of(lower, order)
            {
                self.stretches = rest;
            }
        }
        let Some(stretch) = self.stretches.first() else { return Share::None };
        if stretch.start.compare(&Cut::After(upper.into()), order) != Ordering::Less {
            return Share::None;
        }
        // Without a lower bound it is the smallest key of the table that counts.
        let smallest = self.layout.properties.keys.as_ref().map(|(min, _)| &min[..]);
        let begins = lower.or(smallest).is_some_and(|lower| stretch.start.is_left_of(lower, order));
        let ends = !stretch.end.is_left_of(upper, order);
        let is_old = self.newest.is_some_and(|newest| newest < stretch.before);
        let is_whole =
            self.floor.is_none_or(|floor| lower.is_some_and(|lower| order.compare(lower, floor).is_ge()));
        if begins && ends && is_old && is_whole { Share::All } else { Share::Some }
    }

    fn is_below_floor(&self, index: &IndexBlock, idx: usize) -> bool {
        self.floor.is_some_and(|floor| {
            index.lies_before(&self.layout.order, idx, floor, self.layout.local(SeqNo::LATEST))
        })
    }

    /// Rows come in ascending order; neighbours are put in together.
    fn take(&mut self, rows: Range<u64>) -> Result<()> {
        if rows.start == self.pending.end {
            self.pending.end = rows.end;
            return Ok(());
        }
        self.flush()?;
        self.pending = rows;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let inserted = self.rows.insert(self.pending.clone());
        inserted.map(drop).map_err(|_| self.layout.disagree("number of rows"))
    }
}

fn separator(index: &IndexBlock, idx: usize) -> Vec<u8> {
    let mut key = KeyBuf::new();
    index.separator(idx, &mut key);
    key.as_slice().to_vec()
}
