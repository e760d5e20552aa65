//! Where an output table ends.

use lsm_types::{Cut, KeyOrder};

use crate::OutputSpec;

/// An output overlaps at most this many times its target in the level below, so that moving it on stays affordable.
const BELOW_TARGETS_MAX: u64 = 25;

/// Walks along the keys of a merge and says where a table ends.
///
/// A table ends where it must ([`OutputSpec::cuts`]), where it reaches its target, and a little earlier where a table
/// below it ends: from half of the target on, later the more tables it has passed, at nine tenths in any case. What
/// ends together goes down together without dragging along neighbours.
#[derive(Clone, Debug)]
pub struct Cutter<'a> {
    output: &'a OutputSpec,
    order: &'a KeyOrder,
    /// Cuts and tables below that lie to the left.
    cut_idx: usize,
    below_idx: usize,
    /// Of these tables, those passed since the current table began, and their bytes.
    passed_count: u64,
    passed_bytes: u64,
}

impl<'a> Cutter<'a> {
    /// At the start of a merge, before its first key.
    pub fn new(output: &'a OutputSpec, order: &'a KeyOrder) -> Self {
        Self { output, order, cut_idx: 0, below_idx: 0, passed_count: 0, passed_bytes: 0 }
    }

    /// Whether the current table, of `file_bytes` so far, ends before `key`.
    ///
    /// * `key`: the next user key, greater than any asked about before; versions of one key stay together.
    /// * `file_bytes`: what the table would come to if it ended here; 0 when no table is begun.
    pub fn ends_before(&mut self, key: &[u8], file_bytes: u64) -> bool {
        let limit = self.limit_before(key);
        let ends = file_bytes >= limit;
        if ends || file_bytes == 0 {
            self.begin_table();
        }
        ends
    }

    /// As [`Cutter::ends_before`], for a table whose length is costly to tell.
    ///
    /// * `is_begun`: whether there is a table.
    /// * `reaches`: whether the table would come to so many bytes, at least 1, if it ended here.
    ///
    /// # Errors
    /// Those of `reaches`.
    #[inline]
    pub fn ends_before_reaching<E>(
        &mut self,
        key: &[u8],
        is_begun: bool,
        reaches: impl FnOnce(u64) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let limit = self.limit_before(key);
        let ends = is_begun && reaches(limit)?;
        if ends || !is_begun {
            self.begin_table();
        }
        Ok(ends)
    }

    /// Bytes, at least 1, from which on the current table ends before `key`.
    fn limit_before(&mut self, key: &[u8]) -> u64 {
        let must = self.pass_cuts(key);
        let at_end_below = self.pass_below(key);
        let target = self.output.target_bytes.max(1);
        if must {
            return 1;
        }
        if !at_end_below {
            return target;
        }
        let covers_much = self.passed_bytes >= self.output.target_bytes.saturating_mul(BELOW_TARGETS_MAX);
        let percent = (50 + 5 * self.passed_count).min(90);
        let part = (u128::from(self.output.target_bytes) * u128::from(percent)).div_ceil(100);
        if covers_much { 1 } else { u64::try_from(part).unwrap_or(u64::MAX).clamp(1, target) }
    }

    fn begin_table(&mut self) {
        (self.passed_count, self.passed_bytes) = (0, 0);
    }

    /// Where a table that ends before `key` and after `last`, its largest key, meets the next one: at the place where
    /// it had to end, or just before `key`. What has no key of its own, such as a range tombstone, is parted there.
    pub fn border(&self, last: &[u8], key: &[u8]) -> Cut {
        let passed = self.cut_idx.checked_sub(1).and_then(|at| self.output.cuts.get(at));
        match passed {
            Some(cut) if !cut.is_left_of(last, self.order) => cut.clone(),
            _ => Cut::Before(key.into()),
        }
    }

    fn pass_cuts(&mut self, key: &[u8]) -> bool {
        let rest = self.output.cuts.iter().skip(self.cut_idx);
        let passed = rest.take_while(|cut| cut.is_left_of(key, self.order)).count();
        self.cut_idx += passed;
        passed > 0
    }

    fn pass_below(&mut self, key: &[u8]) -> bool {
        let before = self.below_idx;
        for table in self.output.below.iter().skip(before) {
            if self.order.compare(&table.max, key).is_ge() {
                break;
            }
            self.below_idx += 1;
            self.passed_count += 1;
            self.passed_bytes = self.passed_bytes.saturating_add(table.file_bytes);
        }
        self.below_idx > before
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec::Vec};

    use lsm_types::{Cut, Level};

    use super::*;
    use crate::BelowTable;

    /// Ten bytes a key, one key a letter; gives the tables.
    #[track_caller]
    fn check(target_bytes: u64, cuts: &str, below: &str, expected: &str) {
        let order = KeyOrder::bytewise();
        let key = |at: char| String::from(at).as_bytes().into();
        let output = OutputSpec {
            dest: Level::new(1),
            canonical: Level::new(1),
            target_bytes,
            cuts: cuts.chars().map(|at| Cut::After(key(at))).collect(),
            below: below.chars().map(|at| BelowTable { max: key(at), file_bytes: 500 }).collect(),
        };
        let mut cutter = Cutter::new(&output, &order);
        let mut tables: Vec<String> = Vec::new();
        let mut open = String::new();
        for letter in 'a'..='t' {
            if cutter.ends_before(key(letter).as_ref(), 10 * u64::try_from(open.len()).unwrap()) {
                tables.push(core::mem::take(&mut open));
            }
            open.push(letter);
        }
        tables.push(open);
        assert_eq!(tables.join(" "), expected);
    }

    /// Proves C-12.
    #[test]
    fn tables_end_at_the_target() {
        check(50, "", "", "abcde fghij klmno pqrst");
        check(u64::MAX, "", "", "abcdefghijklmnopqrst");
    }

    #[test]
    fn tables_end_where_they_must() {
        check(u64::MAX, "ckl", "", "abc defghijk l mnopqrst");
        check(50, "c", "", "abc defgh ijklm nopqr st");
    }

    #[test]
    fn tables_end_with_those_below() {
        // Half of 100, and 5 for the table passed: `f` makes 60.
        check(100, "", "fp", "abcdef ghijklmnop qrst");
        // Four tables passed ask for 70.
        check(100, "", "bdegq", "abcdefg hijklmnopq rst");
        // Too much below, though the table is small.
        check(100, "", "aaaaaa", "a bcdefghijk lmnopqrst");
        check(20, "", "aaaaaa", "a bc de fg hi jk lm no pq rs t");
    }
}
