//! Reading a table some of whose rows are dead, as its delete vector says: they are passed over as if they were not there.
//!
//! A row is known by how many stored versions come before it in the order of the index, which counts the rows of each
//! block. What is dead in the block under a cursor is kept as one bit per row.

use alloc::{sync::Arc, vec::Vec};
use core::ops::Range;

use lsm_types::{KeyHash, Result, SeqNo};

use crate::{
    BlockSource, DeleteVector, FilterAnswer, Found, TableLayout, data_block::DataBlock, index::IndexBlock,
};

/// The dead rows of a table, and those of the block that a cursor stands in.
#[derive(Debug)]
pub(crate) struct Mask {
    vector: Arc<DeleteVector>,
    /// A bit for each row of the block, set for those that are dead; empty when none is.
    bits: Vec<u64>,
    rows: usize,
}

impl Mask {
    pub(crate) fn new(vector: Arc<DeleteVector>) -> Self {
        Self { vector, bits: Vec::new(), rows: 0 }
    }

    pub(crate) fn vector(&self) -> &DeleteVector {
        &self.vector
    }

    /// Goes over to a block of so many rows, the first one being row `first` of the table.
    pub(crate) fn enter(&mut self, first: u64, rows: usize) {
        self.bits.clear();
        self.rows = rows;
        let end = first.saturating_add(rows as u64);
        for dead in self.vector.rows.ranges(first).take_while(|dead| dead.start < end) {
            self.bits.resize(rows.div_ceil(64), 0);
            let local = |row: u64| usize::try_from(row.min(end) - first).unwrap_or(rows);
            set(&mut self.bits, local(dead.start)..local(dead.end));
        }
    }

    /// Whether some row of the block is dead.
    pub(crate) fn has_dead(&self) -> bool {
        !self.bits.is_empty()
    }

    #[inline]
    pub(crate) fn is_dead(&self, row: usize) -> bool {
        self.bits.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// The first row from `row` on that is not dead; the number of rows when there is none.
    pub(crate) fn live_from(&self, mut row: usize) -> usize {
        while row < self.rows {
            let Some(word) = self.bits.get(row / 64) else { return row };
            let dead = (word >> (row % 64)).trailing_ones() as usize;
            // Past the bits of the word that were looked at there may be more of them in the next one.
            if dead < 64 - row % 64 {
                return (row + dead).min(self.rows);
            }
            row += dead;
        }
        self.rows
    }

    /// The last row up to `row` that is not dead.
    pub(crate) fn live_to(&self, mut row: usize) -> Option<usize> {
        loop {
            let Some(word) = self.bits.get(row / 64) else { return Some(row) };
            let dead = (word << (63 - row % 64)).leading_ones() as usize;
            if dead <= row % 64 {
                return Some(row - dead);
            }
            row = (row / 64 * 64).checked_sub(1)?;
        }
    }
}

fn set(bits: &mut [u64], rows: Range<usize>) {
    let (first, last) = (rows.start / 64, rows.end / 64);
    for (at, word) in bits.iter_mut().enumerate().take(last + 1).skip(first) {
        let from = if at == first { rows.start % 64 } else { 0 };
        let to = if at == last { rows.end % 64 } else { 64 };
        let below = |bit: usize| if bit == 64 { u64::MAX } else { (1 << bit) - 1 };
        *word |= below(to) & !below(from);
    }
}

impl TableLayout {
    /// As [`TableLayout::get_within`], as if the rows of `dead` were not there.
    pub fn get_live<S: BlockSource + ?Sized>(
        &self,
        source: &S,
        (hash, key, before): (KeyHash, &[u8], SeqNo),
        dead: &DeleteVector,
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
        dead: &DeleteVector,
    ) -> Result<Option<Found>> {
        let Some((partition, entry)) = self.locate(source, key, self.local(before))? else { return Ok(None) };
        let block = source.data(entry.into())?;
        self.find_live_in((partition.as_deref(), &block), (hash, key, before), dead)
    }

    /// As [`TableLayout::find_in`], as if the rows of `dead` were not there.
    ///
    /// * `at`: the block that the hops of the same read led to, and the partition that the first of two led to.
    ///
    /// # Errors
    /// Damage, where the index counts rows in two ways.
    pub fn find_live_in(
        &self,
        (partition, block): (Option<&IndexBlock>, &DataBlock),
        (hash, key, before): (KeyHash, &[u8], SeqNo),
        dead: &DeleteVector,
    ) -> Result<Option<Found>> {
        let before = self.local(before);
        let Some(row) = block.find(&self.order, hash, key, before) else { return Ok(None) };
        let root_idx = self.root.find(&self.order, key, before);
        let leaf = partition.map(|partition| (partition, partition.find(&self.order, key, before)));
        self.check_counts(root_idx, leaf, block.rows())?;
        // Whatever hides a version hides all older ones of the key: there is none to be looked for behind it.
        if dead.rows.contains(self.first_row(root_idx, leaf).saturating_add(row as u64)) {
            return Ok(None);
        }
        Ok(Some(Found {
            seqno: self.effective(block.seqno(row)),
            kind: block.kind(row),
            value: block.value_slice(row),
        }))
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
    use lsm_types::{FileUuid, TableId};

    use super::*;

    /// Proves F-133: the bits of a block are those of the vector, and walks over them find what a test of each row finds.
    #[test]
    fn bits_are_those_of_the_vector() {
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
            let (table, table_uuid) = (TableId::new(1), FileUuid::default());
            let vector = DeleteVector { table, table_uuid, watermark: SeqNo::ZERO, rows: set.clone() };
            let mut mask = Mask::new(Arc::new(vector));
            for first in (0..rows).step_by(block) {
                let len = usize::try_from(rows - first).unwrap().min(block);
                mask.enter(first, len);
                let is_dead = |row: usize| set.contains(first + row as u64);
                assert_eq!(mask.has_dead(), (0..len).any(is_dead));
                for row in 0..len {
                    assert_eq!(mask.is_dead(row), is_dead(row), "{step} {first} {row}");
                    let live = (row..len).find(|row| !is_dead(*row)).unwrap_or(len);
                    assert_eq!(mask.live_from(row), live, "{step} {first} {row}");
                    let live = (0..=row).rev().find(|row| !is_dead(*row));
                    assert_eq!(mask.live_to(row), live, "{step} {first} {row}");
                }
            }
        }
    }
}
