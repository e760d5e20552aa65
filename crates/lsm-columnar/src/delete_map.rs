//! Dead rows of one table in the form that reads ask: a bit per row, where a [`DeleteSet`] is what is stored and counted.
//!
//! ```text
//! tiles   one number per 4096 rows, up to the last dead one: where the words of the tile begin
//! words   64 zeros | 64 times all ones | 64 words for each tile that has rows of both sorts
//! ```
//!
//! An answer takes two loads and no branch, however the dead rows lie. A tile with none of them, or with nothing else, costs
//! four bytes. A table so large that the rest would not stay small keeps the set.

use alloc::{vec, vec::Vec};
use core::ops::Range;

use crate::{Bitmap, DeleteSet};

/// Where the words of a tile without dead rows begin, and those of a tile that has no others.
const NONE: u32 = 0;
const ALL: u32 = 64;
const TILE_WORDS: usize = ALL as usize;
const TILE_ROWS: u64 = 64 * 64;
/// Words there may be: 4 MiB, which is a bit for each of 32 Mi rows. A few dead rows in each tile of a larger table would
/// take more than a hundred times the bytes that they have in a set.
const WORDS_MAX: usize = (4 << 20) / 8;

/// Ordinals of rows of a table. Rows are counted from 0 in the order of the table.
#[derive(Debug)]
pub struct DeleteMap {
    rows: u64,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Bits(Bits),
    Set(DeleteSet),
}

#[derive(Debug)]
struct Bits {
    tiles: Vec<u32>,
    words: Vec<u64>,
}

impl DeleteMap {
    /// The rows of `set`.
    pub fn new(set: DeleteSet) -> Self {
        Self::within(set, WORDS_MAX)
    }

    fn within(set: DeleteSet, words_max: usize) -> Self {
        let rows = set.rows();
        let form = match Bits::of(&set, words_max) {
            Some(bits) => Form::Bits(bits),
            None => Form::Set(set),
        };
        Self { rows, form }
    }

    /// The same as a set, which can grow and be written.
    pub fn to_set(&self) -> DeleteSet {
        match &self.form {
            Form::Bits(bits) => DeleteSet::of(self.rows, bits.ranges()),
            Form::Set(set) => set.clone(),
        }
    }

    /// Rows of the table.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether no row is in it.
    pub fn is_empty(&self) -> bool {
        match &self.form {
            Form::Bits(bits) => bits.tiles.is_empty(),
            Form::Set(set) => set.is_empty(),
        }
    }

    /// Whether `row` is in it.
    #[inline]
    pub fn contains(&self, row: u64) -> bool {
        match &self.form {
            Form::Bits(bits) => bits.word(row / 64) >> (row % 64) & 1 == 1,
            Form::Set(set) => set.contains(row),
        }
    }

    /// Whether all of these rows are in it.
    pub fn covers(&self, rows: Range<u64>) -> bool {
        match &self.form {
            Form::Bits(bits) => {
                let mut at = rows.start;
                while at < rows.end {
                    let wanted = low_bits(rows.end - at);
                    if bits.from(at) & wanted != wanted {
                        return false;
                    }
                    at = at.saturating_add(64);
                }
                true
            }
            Form::Set(set) => {
                let first = set.ranges(rows.start).next();
                rows.is_empty()
                    || first.is_some_and(|first| first.start <= rows.start && rows.end <= first.end)
            }
        }
    }

    /// Makes `bits` a bit for each of `rows` rows of the table, the first of them row `first`; empty where none is in the
    /// map.
    pub fn copy_to(&self, first: u64, rows: usize, bits: &mut Vec<u64>) {
        bits.clear();
        match &self.form {
            Form::Bits(map) => {
                let (mut left, mut any) = (rows as u64, 0);
                bits.extend((0..rows.div_ceil(64) as u64).map(|idx| {
                    let word = map.from(first.saturating_add(idx * 64)) & low_bits(left);
                    left = left.saturating_sub(64);
                    any |= word;
                    word
                }));
                if any == 0 {
                    bits.clear();
                }
            }
            Form::Set(set) => {
                let mut selection = Bitmap::all(rows);
                set.mask(first, &mut selection);
                if !selection.is_all() {
                    selection.not();
                    bits.extend_from_slice(selection.words());
                }
            }
        }
    }

    /// Takes rows of the map out of `selection`, whose row 0 is row `first` of the table.
    pub fn mask(&self, first: u64, selection: &mut Bitmap) {
        match &self.form {
            Form::Bits(bits) => {
                for (idx, word) in selection.words_mut().iter_mut().enumerate() {
                    *word &= !bits.from(first.saturating_add(idx as u64 * 64));
                }
            }
            Form::Set(set) => set.mask(first, selection),
        }
    }

    /// Bytes of memory it takes.
    pub fn memory_len(&self) -> usize {
        size_of::<Self>() + self.form_len()
    }

    fn form_len(&self) -> usize {
        match &self.form {
            Form::Bits(bits) => {
                bits.tiles.capacity() * size_of::<u32>() + bits.words.capacity() * size_of::<u64>()
            }
            Form::Set(set) => set.heap_bytes(),
        }
    }
}

impl Bits {
    /// `None` where there would be more than `words_max` words.
    fn of(set: &DeleteSet, words_max: usize) -> Option<Self> {
        let mut words = vec![0; TILE_WORDS];
        words.resize(2 * TILE_WORDS, u64::MAX);
        let mut bits = Self { tiles: Vec::new(), words };
        for range in set.ranges(0) {
            let mut at = range.start;
            while at < range.end {
                let begin = at / TILE_ROWS * TILE_ROWS;
                let end = range.end.min(begin + TILE_ROWS);
                let tile = usize::try_from(begin / TILE_ROWS).ok()?;
                if bits.tiles.len() <= tile {
                    bits.tiles.resize(tile + 1, NONE);
                }
                bits.add(tile, at - begin..end - begin, words_max)?;
                at = end;
            }
        }
        bits.tiles.shrink_to_fit();
        bits.words.shrink_to_fit();
        Some(bits)
    }

    /// Adds rows of a tile, none of which it has.
    fn add(&mut self, tile: usize, rows: Range<u64>, words_max: usize) -> Option<()> {
        let place = self.tiles.get_mut(tile)?;
        if rows.end - rows.start == TILE_ROWS {
            *place = ALL;
            return Some(());
        }
        if *place == NONE {
            if self.words.len() + TILE_WORDS > words_max {
                return None;
            }
            *place = u32::try_from(self.words.len()).ok()?;
            self.words.resize(self.words.len() + TILE_WORDS, 0);
        }
        let words = self.words.get_mut(*place as usize..)?;
        let mut at = rows.start;
        while at < rows.end {
            let end = rows.end.min(at / 64 * 64 + 64);
            *words.get_mut(usize::try_from(at / 64).ok()?)? |= low_bits(end - at) << (at % 64);
            at = end;
        }
        Some(())
    }

    /// Bits of the rows from `64 * idx` on.
    #[inline]
    fn word(&self, idx: u64) -> u64 {
        let tile = usize::try_from(idx / (TILE_ROWS / 64)).ok().and_then(|tile| self.tiles.get(tile));
        let Some(&start) = tile else { return 0 };
        let at = start as usize + (idx % (TILE_ROWS / 64)) as usize;
        self.words.get(at).copied().unwrap_or(0)
    }

    /// Bits of the 64 rows from `row` on.
    #[inline]
    fn from(&self, row: u64) -> u64 {
        let (idx, shift) = (row / 64, row % 64);
        let low = self.word(idx) >> shift;
        if shift == 0 { low } else { low | self.word(idx + 1) << (64 - shift) }
    }

    /// The rows, as ranges; those of two words may touch.
    fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        (0..(self.tiles.len() * TILE_WORDS) as u64).flat_map(|idx| {
            let mut word = self.word(idx);
            core::iter::from_fn(move || {
                let start = word.trailing_zeros();
                let len = word.checked_shr(start)?.trailing_ones();
                word &= !(low_bits(len.into()) << start);
                let start = idx * 64 + u64::from(start);
                Some(start..start + u64::from(len))
            })
        })
    }
}

/// As many ones as there are rows, at most 64.
#[inline]
const fn low_bits(rows: u64) -> u64 {
    if rows >= 64 { u64::MAX } else { (1 << rows) - 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROWS: u64 = 50_000;

    fn set(ranges: &[(u64, u64)]) -> DeleteSet {
        let mut set = DeleteSet::new(ROWS).unwrap();
        for &(start, len) in ranges {
            set.insert(start..(start + len).min(ROWS)).unwrap();
        }
        set
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Proves F-133: whichever form a map has, it answers as the set does.
        #[test]
        fn a_map_is_its_set(
            ranges in prop::collection::vec(
                (0..ROWS, prop_oneof![Just(1_u64), 1_u64..200, 3000_u64..12_000]),
                0..20,
            ),
            places in prop::collection::vec((0..ROWS + 5000, 0_usize..700), 20),
            words_max in prop_oneof![Just(WORDS_MAX), Just(3 * TILE_WORDS)],
        ) {
            let set = set(&ranges);
            let map = DeleteMap::within(set.clone(), words_max);
            prop_assert_eq!((map.rows(), map.is_empty()), (set.rows(), set.is_empty()));
            prop_assert_eq!(&map.to_set(), &set);
            let ends = ranges.iter().flat_map(|(start, len)| [*start, start + len]);
            let around = ends.flat_map(|row| row.saturating_sub(2)..row + 3).chain((0..ROWS).step_by(61));
            for row in around {
                prop_assert_eq!(map.contains(row), set.contains(row), "row {}", row);
            }
            for (first, rows) in places {
                let is_dead = |row: usize| set.contains(first + row as u64);
                let dead: Vec<usize> = (0..rows).filter(|row| is_dead(*row)).collect();
                let mut bits = vec![7];
                map.copy_to(first, rows, &mut bits);
                prop_assert_eq!(bits.is_empty(), dead.is_empty());
                let found = (0..bits.len() * 64).filter(|row| bits[row / 64] >> (row % 64) & 1 == 1);
                prop_assert_eq!(found.collect::<Vec<_>>(), dead.clone());
                let mut selection = Bitmap::all(rows);
                map.mask(first, &mut selection);
                let left: Vec<usize> = (0..rows).filter(|row| !is_dead(*row)).collect();
                prop_assert_eq!(selection.rows().collect::<Vec<_>>(), left);
                prop_assert_eq!(map.covers(first..first + rows as u64), dead.len() == rows);
            }
            for (start, len) in ranges {
                let end = (start + len).min(ROWS);
                prop_assert!(map.covers(start..end));
                prop_assert_eq!(map.covers(start..end + 1), set.contains(end));
            }
        }
    }

    /// Memory follows what is dead, not what a table says of its rows; what would take too much of it stays a set.
    #[test]
    fn memory_is_bounded() {
        let huge = DeleteSet::new(1 << 32).unwrap();
        assert!(DeleteMap::new(huge.clone()).memory_len() < 2 << 10);
        let mut whole = huge.clone();
        whole.insert(0..1 << 32).unwrap();
        let map = DeleteMap::new(whole);
        assert!(map.memory_len() < 5 << 20 && map.covers(0..1 << 20) && map.contains((1 << 32) - 1));
        assert!(!map.contains(1 << 32) && !map.contains(u64::MAX) && !map.covers(u64::MAX - 1..u64::MAX));
        let mut scattered = huge;
        for tile in 0..40_000_u64 {
            scattered.insert(tile * TILE_ROWS..tile * TILE_ROWS + 1).unwrap();
        }
        let map = DeleteMap::new(scattered);
        assert!(map.memory_len() < 1 << 20 && matches!(map.form, Form::Set(_)));
        assert!(map.contains(TILE_ROWS) && !map.contains(TILE_ROWS + 1));
    }
}
