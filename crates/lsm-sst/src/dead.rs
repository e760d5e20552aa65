//! Reading a table some of whose rows are dead, as its delete vector says: they are passed over as if they were not there.
//!
//! A row is known by how many stored versions come before it in the order of the index, which counts the rows of each
//! block. What is dead in the block under a cursor is kept as one bit per row.

use alloc::{sync::Arc, vec::Vec};
use core::ops::Range;

use lsm_columnar::DeleteMap;
use lsm_types::{KeyHash, Result, SeqNo};

use crate::{BlockSource, FilterAnswer, Found, PointRows, TableLayout, index::IndexBlock};

/// The dead rows of a table, and those of the block that a cursor stands in.
#[derive(Debug)]
pub(crate) struct Mask {
    map: Arc<DeleteMap>,
    /// A bit for each row of the block, set for those that are dead; empty when none is.
    bits: Vec<u64>,
    rows: usize,
}

impl Mask {
    pub(crate) fn new(map: Arc<DeleteMap>) -> Self {
        Self { map, bits: Vec::new(), rows: 0 }
    }

    pub(crate) fn map(&self) -> &DeleteMap {
        &self.map
    }

    /// Goes over to a block of so many rows, the first one being row `first` of the table.
    pub(crate) fn enter(&mut self, first: u64, rows: usize) {
        self.rows = rows;
        self.map.copy_to(first, rows, &mut self.bits);
    }

    /// The first row from `row` on that is not dead.
    pub(crate) fn live_from(&self, row: usize) -> Option<usize> {
        if self.bits.is_empty() {
            return (row < self.rows).then_some(row);
        }
        self.forward(row, u64::MAX).filter(|row| *row < self.rows)
    }

    /// The last row up to `row` that is not dead.
    pub(crate) fn live_to(&self, row: usize) -> Option<usize> {
        if self.bits.is_empty() { Some(row) } else { self.backward(row, u64::MAX) }
    }

    /// Rows from `row` on, which is not dead, none of which is; without an end where none behind it is.
    pub(crate) fn live_behind(&self, row: usize) -> Range<usize> {
        row..self.forward(row, 0).unwrap_or(usize::MAX)
    }

    /// The same up to `row`; from 0 on where none before it is.
    pub(crate) fn live_before(&self, row: usize) -> Range<usize> {
        self.backward(row, 0).map_or(0, |dead| dead + 1)..row + 1
    }

    /// The first row from `row` on whose bit, turned as `flip` says, is set.
    fn forward(&self, row: usize, flip: u64) -> Option<usize> {
        let (mut at, mut wanted) = (row / 64, u64::MAX << (row % 64));
        loop {
            let found = (self.bits.get(at)? ^ flip) & wanted;
            if found != 0 {
                return Some(at * 64 + found.trailing_zeros() as usize);
            }
            (at, wanted) = (at + 1, u64::MAX);
        }
    }

    /// The last row up to `row` whose bit, turned as `flip` says, is set.
    fn backward(&self, row: usize, flip: u64) -> Option<usize> {
        let (mut at, mut wanted) = (row / 64, u64::MAX >> (63 - row % 64));
        loop {
            let found = (self.bits.get(at)? ^ flip) & wanted;
            if found != 0 {
                return Some(at * 64 + found.ilog2() as usize);
            }
            (at, wanted) = (at.checked_sub(1)?, u64::MAX);
        }
    }
}

impl TableLayout {
    /// As [`TableLayout::get_within`], as if the rows of `dead` were not there.
    pub fn get_live<S: BlockSource + ?Sized>(
        &self,
        source: &S,
        (hash, key, before): (KeyHash, &[u8], SeqNo),
        dead: &DeleteMap,
    ) -> Result<Option<Found>> {
        if self.local(before) == SeqNo::ZERO {
            return Ok(None);
        }
        let answer = self.ask_key(source, hash, key);
        let found = match answer {
            FilterAnswer::Absent => None,
            _ => self.find_live(source, (hash, key, before), dead)?,
        };
        source.note_get(answer, found.is_some());
        Ok(found)
    }

    fn find_live<S: BlockSource + ?Sized>(
        &self,
        source: &S,
        (hash, key, before): (KeyHash, &[u8], SeqNo),
        dead: &DeleteMap,
    ) -> Result<Option<Found>> {
        let Some((partition, entry)) = self.locate(source, key, self.local(before))? else { return Ok(None) };
        let rows = source.rows(entry.into())?;
        self.find_live_in((partition.as_deref(), &rows), (hash, key, before), dead)
    }

    /// As [`TableLayout::find_in_rows`], as if the rows of `dead` were not there. Of a row group as it is stored a dead row is
    /// not put together.
    ///
    /// * `at`: the rows that the hops of the same read led to, and the partition that the first of two led to.
    ///
    /// # Errors
    /// Damage, where the index counts rows in two ways; what putting the row together finds.
    pub fn find_live_in(
        &self,
        (partition, rows): (Option<&IndexBlock>, &PointRows),
        (hash, key, before): (KeyHash, &[u8], SeqNo),
        dead: &DeleteMap,
    ) -> Result<Option<Found>> {
        let before = self.local(before);
        // Whatever hides a version hides all older ones of the key: there is none to be looked for behind a dead one.
        let is_dead = |row: usize, rows: usize| -> Result<bool> {
            let root_idx = self.root.find(&self.order, key, before);
            let leaf = partition.map(|partition| (partition, partition.find(&self.order, key, before)));
            self.check_counts(root_idx, leaf, rows)?;
            Ok(dead.contains(self.first_row(root_idx, leaf).saturating_add(row as u64)))
        };
        match rows {
            PointRows::Block(block) => match block.find(&self.order, hash, key, before) {
                Some(row) if !is_dead(row, block.rows())? => Ok(Some(self.found_in(block, row))),
                _ => Ok(None),
            },
            PointRows::Group(group) => match group.locate(self, key, before) {
                Some(at) if !is_dead(group.row_of(at), group.rows())? => group.found(self, at).map(Some),
                _ => Ok(None),
            },
        }
    }

    /// The row of the table that a block begins with: that of entry `root_idx` of the root, or of an entry of the partition
    /// behind it.
    pub(crate) fn first_row(&self, root_idx: usize, leaf: Option<(&IndexBlock, usize)>) -> u64 {
        let within = leaf.map_or(0, |(partition, entry_idx)| partition.rows_before(entry_idx));
        self.root.rows_before(root_idx).saturating_add(within)
    }

    /// Numbers of rows follow from the counts of the index, so these have to be right.
    fn check_counts(&self, root_idx: usize, leaf: Option<(&IndexBlock, usize)>, rows: usize) -> Result<()> {
        let root = self.root.entry(root_idx).map(|entry| entry.rows);
        let entry = match leaf {
            Some((partition, entry_idx)) => {
                if root != Some(partition.row_sum()) {
                    return Err(self.disagree("row count of an index partition"));
                }
                partition.entry(entry_idx).map(|entry| entry.rows)
            }
            None => root,
        };
        if entry == Some(rows as u64) { Ok(()) } else { Err(self.disagree("row count of a data block")) }
    }
}

#[cfg(test)]
mod tests {
    use lsm_columnar::DeleteSet;

    use super::*;

    /// Proves F-133: walks over the bits of a block find what a test of each row finds.
    #[test]
    fn bits_are_those_of_the_map() {
        for (step, width, rows, block) in [
            (7_u64, 3, 1000_u64, 100),
            (64, 64, 640, 64),
            (200, 130, 1000, 333),
            (1, 1, 300, 65),
            (500, 1, 600, 70),
        ] {
            let mut set = DeleteSet::new(rows).unwrap();
            for start in (0..rows).step_by(usize::try_from(step).unwrap()) {
                set.insert(start..(start + width).min(rows)).unwrap();
            }
            let mut mask = Mask::new(Arc::new(DeleteMap::new(set.clone())));
            for first in (0..rows).step_by(block) {
                let len = usize::try_from(rows - first).unwrap().min(block);
                mask.enter(first, len);
                let is_dead = |row: &usize| set.contains(first + *row as u64);
                for row in 0..len {
                    let live = (row..len).find(|row| !is_dead(row));
                    assert_eq!(mask.live_from(row), live, "{step} {first} {row}");
                    let live = (0..=row).rev().find(|row| !is_dead(row));
                    assert_eq!(mask.live_to(row), live, "{step} {first} {row}");
                    if !is_dead(&row) {
                        let start = (0..row).rev().find(is_dead).map_or(0, |dead| dead + 1);
                        let end = (row..len).find(is_dead).unwrap_or(usize::MAX);
                        assert_eq!(mask.live_behind(row), row..end, "{step} {first} {row}");
                        assert_eq!(mask.live_before(row), start..row + 1, "{step} {first} {row}");
                    }
                }
                assert_eq!(mask.live_from(len), None);
            }
        }
    }
}
