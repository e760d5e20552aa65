//! Sets of rows as bits, 64 to a word: which values are there, which rows a predicate selects.

use alloc::{vec, vec::Vec};
use core::ops::Range;

use crate::cursor::load_u64;

/// One bit per row. Bits past the last row are zero.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// No rows at all; rows may be pushed.
    pub const fn new() -> Self {
        Self { words: Vec::new(), len: 0 }
    }

    /// `len` rows, none of them in the set.
    pub fn none(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// `len` rows, all of them in the set.
    pub fn all(len: usize) -> Self {
        let mut bitmap = Self { words: vec![u64::MAX; len.div_ceil(64)], len };
        bitmap.trim();
        bitmap
    }

    /// Number of rows, in the set or not.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row, in the set or not.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The words, row 0 in the lowest bit of the first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The words by value.
    #[cfg(feature = "arrow")]
    pub(crate) fn into_words(self) -> Vec<u64> {
        self.words
    }

    /// Whether `row` is in the set; a row that is not there is not.
    #[inline]
    pub fn contains(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Number of rows in the set.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no row is in the set.
    pub fn is_none(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Whether every row is in the set.
    pub fn is_all(&self) -> bool {
        self.count() == self.len
    }

    /// Adds a row at the end.
    #[inline]
    pub fn push(&mut self, in_set: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        if let Some(word) = self.words.last_mut() {
            *word |= u64::from(in_set) << (self.len % 64);
        }
        self.len += 1;
    }

    /// Puts `row`, which has to be there, into the set or takes it out.
    pub fn set(&mut self, row: usize, in_set: bool) {
        debug_assert!(row < self.len, "a row of the set");
        if let Some(word) = self.words.get_mut(row / 64) {
            let bit = 1 << (row % 64);
            *word = if in_set { *word | bit } else { *word & !bit };
        }
    }

    /// Puts `rows` into the set or takes them out, a word at a time.
    pub fn set_range(&mut self, rows: Range<usize>, in_set: bool) {
        debug_assert!(rows.end <= self.len, "rows of the set");
        let end = rows.end.min(self.len);
        let mut at = rows.start;
        while at < end {
            let upto = (at / 64 * 64 + 64).min(end);
            let mask = (u64::MAX >> (64 - (upto - at))) << (at % 64);
            if let Some(word) = self.words.get_mut(at / 64) {
                *word = if in_set { *word | mask } else { *word & !mask };
            }
            at = upto;
        }
    }

    /// Keeps rows that are in `other` too.
    pub fn and(&mut self, other: &Self) {
        self.combine(other, |a, b| a & b);
    }

    /// Adds the rows of `other`.
    pub fn or(&mut self, other: &Self) {
        self.combine(other, |a, b| a | b);
    }

    /// Takes out the rows of `other`.
    pub fn and_not(&mut self, other: &Self) {
        self.combine(other, |a, b| a & !b);
    }

    /// Exchanges what is in and what is not.
    pub fn not(&mut self) {
        for word in &mut self.words {
            *word = !*word;
        }
        self.trim();
    }

    /// The rows in the set, in order.
    pub fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(idx, &word)| {
            let mut rest = word;
            core::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(idx * 64 + bit)
            })
        })
    }

    /// The rows in the set as ranges, in order, none touching the next.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let start = self.next(at, true);
            if start >= self.len {
                return None;
            }
            at = self.next(start, false);
            Some(start..at)
        })
    }

    /// The bits of `rows` as a set of its own.
    pub fn slice(&self, rows: Range<usize>) -> Self {
        debug_assert!(rows.start <= rows.end && rows.end <= self.len, "rows of the set");
        let len = rows.end.min(self.len).saturating_sub(rows.start);
        let (skip, shift) = (rows.start / 64, rows.start % 64);
        let word = |idx: usize| self.words.get(idx).copied().unwrap_or(0);
        let words = (skip..skip + len.div_ceil(64))
            .map(
                |idx| if shift == 0 { word(idx) } else { word(idx) >> shift | word(idx + 1) << (64 - shift) },
            )
            .collect();
        let mut bitmap = Self { words, len };
        bitmap.trim();
        bitmap
    }

    /// Adds the rows of `other` at the end.
    pub fn append(&mut self, other: &Self) {
        let shift = self.len % 64;
        self.len += other.len;
        if shift == 0 {
            self.words.extend_from_slice(&other.words);
            return;
        }
        for &word in &other.words {
            if let Some(last) = self.words.last_mut() {
                *last |= word << shift;
            }
            self.words.push(word >> (64 - shift));
        }
        self.words.truncate(self.len.div_ceil(64));
    }

    /// First row at or after `at` whose membership is `in_set`; the number of rows if there is none.
    fn next(&self, at: usize, in_set: bool) -> usize {
        let flip = if in_set { 0 } else { u64::MAX };
        let mut idx = at / 64;
        let mut keep = u64::MAX << (at % 64);
        while let Some(&word) = self.words.get(idx) {
            let found = (word ^ flip) & keep;
            if found != 0 {
                return (idx * 64 + found.trailing_zeros() as usize).min(self.len);
            }
            keep = u64::MAX;
            idx += 1;
        }
        self.len
    }

    fn combine(&mut self, other: &Self, op: impl Fn(u64, u64) -> u64) {
        debug_assert_eq!(self.len, other.len, "sets of the same rows");
        for (word, &with) in self.words.iter_mut().zip(&other.words) {
            *word = op(*word, with);
        }
    }

    fn trim(&mut self) {
        if let Some(last) = self.words.last_mut() {
            *last &= u64::MAX >> (self.len.wrapping_neg() % 64);
        }
    }

    /// The words, to be filled by kernels that keep bits past the last row zero.
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// Bytes that `len` bits take on disk.
    pub(crate) const fn stored_len(len: usize) -> usize {
        len.div_ceil(8)
    }

    /// Appends the bits, lowest first, the last byte filled up with zeros.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let end = out.len() + Self::stored_len(self.len);
        for word in &self.words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.truncate(end);
    }

    /// The `len` bits that start at byte `at` of `payload`.
    pub(crate) fn read(payload: &[u8], at: usize, len: usize) -> Self {
        let words = (0..len.div_ceil(64)).map(|idx| load_u64(payload, at + idx * 8)).collect();
        let mut bitmap = Self { words, len };
        bitmap.trim();
        bitmap
    }

    /// Whether the bits past `len` in the last byte of `stored` are zero.
    pub(crate) fn is_trimmed(stored: &[u8], len: usize) -> bool {
        len.is_multiple_of(8) || stored.last().is_none_or(|byte| byte >> (len % 8) == 0)
    }
}

impl FromIterator<bool> for Bitmap {
    fn from_iter<I: IntoIterator<Item = bool>>(bits: I) -> Self {
        let mut bitmap = Self::new();
        for bit in bits {
            bitmap.push(bit);
        }
        bitmap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits() -> impl Strategy<Value = Vec<bool>> {
        prop_oneof![
            prop::collection::vec(any::<bool>(), 0..300),
            prop::collection::vec(prop::bool::weighted(0.02), 0..300),
            prop::collection::vec(prop::bool::weighted(0.98), 0..300),
        ]
    }

    proptest! {
        #[test]
        fn a_set_is_its_bits(a in bits(), b in bits(), cut in any::<[prop::sample::Index; 2]>()) {
            let set: Bitmap = a.iter().copied().collect();
            prop_assert_eq!(set.len(), a.len());
            prop_assert_eq!(set.count(), a.iter().filter(|&&bit| bit).count());
            let rows: Vec<usize> = (0..a.len()).filter(|&row| a[row]).collect();
            prop_assert_eq!(set.rows().collect::<Vec<_>>(), rows.clone());
            prop_assert_eq!(set.ranges().flatten().collect::<Vec<_>>(), rows);
            prop_assert!(set.ranges().zip(set.ranges().skip(1)).all(|(one, two)| one.end < two.start));

            let mut bytes = vec![7];
            set.write(&mut bytes);
            prop_assert_eq!(bytes.len(), 1 + Bitmap::stored_len(a.len()));
            prop_assert_eq!(&Bitmap::read(&bytes, 1, a.len()), &set);
            prop_assert!(Bitmap::is_trimmed(&bytes[1..], a.len()));

            let mut cut = cut.map(|cut| cut.index(a.len() + 1));
            cut.sort_unstable();
            let [from, to] = cut;
            let part: Bitmap = a[from..to].iter().copied().collect();
            prop_assert_eq!(set.slice(from..to), part.clone());
            let mut joined = set.slice(0..from);
            joined.append(&part);
            joined.append(&set.slice(to..a.len()));
            prop_assert_eq!(&joined, &set);

            for in_set in [false, true] {
                let mut set = set.clone();
                set.set_range(from..to, in_set);
                let mut plain = a.clone();
                plain[from..to].fill(in_set);
                prop_assert_eq!(set, plain.into_iter().collect::<Bitmap>());
            }

            let len = a.len().min(b.len());
            let check = |op: fn(&mut Bitmap, &Bitmap), plain: fn(bool, bool) -> bool| {
                let mut left: Bitmap = a[..len].iter().copied().collect();
                op(&mut left, &b[..len].iter().copied().collect());
                left == a.iter().zip(&b).map(|(&x, &y)| plain(x, y)).collect()
            };
            prop_assert!(check(Bitmap::and, |x, y| x && y));
            prop_assert!(check(Bitmap::or, |x, y| x || y));
            prop_assert!(check(Bitmap::and_not, |x, y| x && !y));
            prop_assert!(check(|x, _| x.not(), |x, _| !x));
        }
    }
}
