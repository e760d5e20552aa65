//! Counts distinct values in one pass, and gives up as soon as a dictionary cannot win any more.

use alloc::vec::Vec;

/// Slots of the largest table; dictionaries stay below half of them.
const SLOTS_MAX: usize = 1 << 15;
/// Marks a slot without a value.
const FREE: u32 = u32::MAX;

/// Distinct values by the order of their first row, and the number of each row's value.
#[derive(Debug)]
pub(super) struct Distinct {
    slots: Vec<u32>,
    /// First row of each distinct value.
    firsts: Vec<u32>,
    /// Per row: which distinct value.
    numbers: Vec<u32>,
}

impl Distinct {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), firsts: Vec::new(), numbers: Vec::new() }
    }

    /// Looks at rows `0..rows` with these hashes; `same` compares two rows, `goes_on` is asked at every new value with
    /// the number of values and the new value's row. `false` if it gave up.
    pub(super) fn count(
        &mut self,
        rows: usize,
        hash: impl Fn(usize) -> u64,
        same: impl Fn(usize, usize) -> bool,
        mut goes_on: impl FnMut(usize, usize) -> bool,
    ) -> bool {
        let slots = (2 * rows).next_power_of_two().clamp(16, SLOTS_MAX);
        self.slots.clear();
        self.slots.resize(slots, FREE);
        self.firsts.clear();
        self.numbers.clear();
        for row in 0..rows {
            #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash do")]
            let mut at = hash(row) as usize & (slots - 1);
            loop {
                let Some(slot) = self.slots.get_mut(at) else { return false };
                let first = self.firsts.get(*slot as usize).copied();
                match first {
                    Some(first) if same(first as usize, row) => break self.numbers.push(*slot),
                    Some(_) => at = (at + 1) & (slots - 1),
                    None => {
                        let number = self.firsts.len();
                        if number >= slots / 2 || !goes_on(number + 1, row) {
                            return false;
                        }
                        *slot = u32::try_from(number).unwrap_or(FREE);
                        self.numbers.push(*slot);
                        self.firsts.push(u32::try_from(row).unwrap_or(FREE));
                        break;
                    }
                }
            }
        }
        true
    }

    /// Rows of the distinct values, sorted by `order`; and the codes of all rows, which count in that order.
    pub(super) fn sorted(
        &self,
        order: impl Fn(usize, usize) -> core::cmp::Ordering,
    ) -> (Vec<usize>, impl Iterator<Item = u64> + '_) {
        let mut by_value: Vec<usize> = (0..self.firsts.len()).collect();
        let first_row = |number: usize| self.firsts.get(number).map_or(0, |&row| row as usize);
        by_value.sort_unstable_by(|&a, &b| order(first_row(a), first_row(b)));
        let mut codes = alloc::vec![0_u64; by_value.len()];
        for (code, &number) in by_value.iter().enumerate() {
            if let Some(place) = codes.get_mut(number) {
                *place = code as u64;
            }
        }
        let rows = by_value.into_iter().map(first_row).collect();
        (rows, self.numbers.iter().map(move |&number| codes.get(number as usize).copied().unwrap_or(0)))
    }

    /// Number of distinct values found.
    pub(super) const fn len(&self) -> usize {
        self.firsts.len()
    }
}
