//! Where the slices of a merge end: at ends of data blocks of its inputs, weighed by what is stored up to there.

mod weight;

use std::collections::VecDeque;

use lsm_compaction_planner::SliceBudget;
use lsm_table::{BlockEnd, BlockEnds, Table};
use lsm_types::{KeyOrder, Result, Slice};

pub(crate) use self::weight::MovedValues;
use self::weight::{Handles, Weight};

/// The block ends of one run.
pub(crate) trait Ends: Send {
    /// The next end, and whether the table ends with it.
    fn next_end(&mut self) -> Result<Option<(BlockEnd, bool)>>;
}

/// The block ends of the tables of a run, one table after another.
pub(crate) struct RunEnds {
    tables: VecDeque<Table>,
    moved: MovedValues,
    order: KeyOrder,
    open: Option<OpenEnds>,
}

struct OpenEnds {
    ends: BlockEnds,
    ahead: Option<BlockEnd>,
    /// Weighs values of the table, where it leads to any that are moved.
    handles: Option<Handles>,
}

impl RunEnds {
    pub(crate) fn new(tables: Vec<Table>, moved: MovedValues, order: KeyOrder) -> Self {
        Self { tables: tables.into(), moved, order, open: None }
    }
}

impl Ends for RunEnds {
    fn next_end(&mut self) -> Result<Option<(BlockEnd, bool)>> {
        loop {
            if let Some(OpenEnds { ends, ahead, handles }) = &mut self.open
                && let Some(mut end) = ahead.take()
            {
                let weight = handles.as_mut().map_or(Ok(Weight::default()), |handles| handles.up_to(&end))?;
                if let Some(key) = weight.stops_after {
                    *ahead = Some(end);
                    return Ok(Some((BlockEnd { key, stored_bytes: weight.bytes }, false)));
                }
                end.stored_bytes = end.stored_bytes.saturating_add(weight.bytes);
                *ahead = ends.next_end()?;
                let is_last = ahead.is_none();
                return Ok(Some((end, is_last)));
            }
            // Let go of before the next one is opened.
            self.open = None;
            let Some(table) = self.tables.pop_front() else { return Ok(None) };
            let mut ends = table.block_ends()?;
            let ahead = ends.next_end()?;
            let handles = self.moved.handles(&table, &self.order)?;
            self.open = Some(OpenEnds { ends, ahead, handles });
        }
    }
}

/// Where slices may end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SliceEnds {
    /// At every block: what lies before it in the file is given back.
    Blocks,
    /// Where a table ends: only whole files are given back.
    Tables,
}

/// Where a slice ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SliceEnd {
    /// After this key.
    After(Slice),
    /// With the last input.
    Last,
}

/// Goes through the block ends of all inputs in key order.
pub(crate) struct Boundaries<E> {
    runs: Vec<(E, Option<(BlockEnd, bool)>)>,
    order: KeyOrder,
    ends: SliceEnds,
    /// No slice passes what there is room for, wherever it ends.
    is_bounded: bool,
    /// Places passed where a slice may end and none has, each with the bytes stored between it and the one before.
    passed: VecDeque<(Slice, u64)>,
    passed_bytes: u64,
    /// Bytes stored behind the last of these.
    open_bytes: u64,
    /// Bytes of all slices so far.
    cut_bytes: u64,
}

impl<E: Ends> Boundaries<E> {
    pub(crate) fn new(runs: Vec<E>, ends: SliceEnds, order: KeyOrder) -> Result<Self> {
        let with_head = |mut run: E| run.next_end().map(|head| (run, head));
        let runs = runs.into_iter().map(with_head).collect::<Result<_>>()?;
        let passed = VecDeque::new();
        let is_bounded = ends == SliceEnds::Tables;
        Ok(Self { runs, order, ends, is_bounded, passed, passed_bytes: 0, open_bytes: 0, cut_bytes: 0 })
    }

    /// The same; with `is_bounded`, what lies between two ends may be more than there is room for.
    pub(crate) fn bounded(self, is_bounded: bool) -> Self {
        Self { is_bounded: self.is_bounded || is_bounded, ..self }
    }

    /// Bytes stored in what all slices so far have taken.
    pub(crate) fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// The end of the next slice: the last place up to which at most the target is stored, or else the first one there
    /// is. Versions of a key are never parted, and the place where the last block ends is the end of everything.
    ///
    /// `None` when slices end with tables or values are moved, and more is stored up to the first place than there is room
    /// for.
    pub(crate) fn next_slice(&mut self, budget: SliceBudget) -> Result<Option<SliceEnd>> {
        let target = budget.target_bytes;
        let mut is_more = true;
        while is_more && (self.passed.is_empty() || self.passed_bytes + self.open_bytes <= target) {
            is_more = self.pass()?;
        }
        let all_bytes = self.passed_bytes + self.open_bytes;
        let (mut bytes, mut count) = (0, 0);
        for (_, part) in &self.passed {
            if count > 0 && bytes + part > target {
                break;
            }
            (bytes, count) = (bytes + part, count + 1);
        }
        let takes_all = count == 0 || (!is_more && all_bytes <= target);
        if takes_all {
            (bytes, count) = (all_bytes, self.passed.len());
        }
        if bytes > budget.most_bytes && self.is_bounded {
            return Ok(None);
        }
        self.cut_bytes += bytes;
        let border = self.passed.drain(..count).next_back().map(|(key, _)| key);
        if takes_all {
            (self.passed_bytes, self.open_bytes) = (0, 0);
            return Ok(Some(SliceEnd::Last));
        }
        self.passed_bytes -= bytes;
        Ok(Some(border.map_or(SliceEnd::Last, SliceEnd::After)))
    }

    /// Goes past the next key at which blocks end, and all blocks that end there; `false` when there is none.
    fn pass(&mut self) -> Result<bool> {
        let mut first: Option<&Slice> = None;
        for (_, head) in &self.runs {
            if let Some((end, _)) = head
                && first.is_none_or(|first| self.order.compare(&end.key, first).is_lt())
            {
                first = Some(&end.key);
            }
        }
        let Some(key) = first.cloned() else { return Ok(false) };
        let mut may_end = self.ends == SliceEnds::Blocks;
        let mut is_last = true;
        for (run, head) in &mut self.runs {
            while let Some((end, ends_table)) = head
                && self.order.compare(&end.key, &key).is_le()
            {
                self.open_bytes += end.stored_bytes;
                may_end |= *ends_table;
                *head = run.next_end()?;
            }
            is_last &= head.is_none();
        }
        if may_end && !is_last {
            let bytes = std::mem::take(&mut self.open_bytes);
            self.passed_bytes += bytes;
            self.passed.push_back((key, bytes));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use lsm_compaction_planner::Shortage;
    use lsm_testkit::comparators::Reverse;

    use super::*;

    /// Ends of blocks as (key, bytes, whether the table ends).
    struct Listed(VecDeque<(BlockEnd, bool)>);

    impl Ends for Listed {
        fn next_end(&mut self) -> Result<Option<(BlockEnd, bool)>> {
            Ok(self.0.pop_front())
        }
    }

    fn run(ends: &[(u8, u64, bool)]) -> Listed {
        let end = |&(key, stored_bytes, ends): &(u8, u64, bool)| {
            (BlockEnd { key: Slice::from([key].as_slice()), stored_bytes }, ends)
        };
        Listed(ends.iter().map(end).collect())
    }

    fn budget(target_bytes: u64, most_bytes: u64) -> SliceBudget {
        SliceBudget { target_bytes, most_bytes, binding: Shortage::Volume }
    }

    /// `a10 b10.` is a block of ten bytes up to `a`, and one up to `b` that ends its table; slices by their last keys.
    fn slices(runs: &[&str], ends: SliceEnds, budget: SliceBudget, order: &KeyOrder) -> String {
        let parse = |text: &&str| {
            let block = |word: &str| {
                let bytes = word[1..].trim_end_matches('.').parse().unwrap();
                (word.as_bytes()[0], bytes, word.ends_with('.'))
            };
            run(&text.split_whitespace().map(block).collect::<Vec<_>>())
        };
        let runs = runs.iter().map(parse).collect();
        let mut boundaries = Boundaries::new(runs, ends, order.clone()).unwrap();
        let mut out = Vec::new();
        loop {
            match boundaries.next_slice(budget).unwrap() {
                Some(SliceEnd::After(key)) => out.push(String::from_utf8(key.to_vec()).unwrap()),
                Some(SliceEnd::Last) => break out.push("end".to_owned()),
                None => break out.push("none".to_owned()),
            }
        }
        format!("{} {}", out.join(" "), boundaries.cut_bytes())
    }

    #[track_caller]
    fn check(runs: &[&str], target: u64, expected: &str) {
        let order = KeyOrder::bytewise();
        assert_eq!(slices(runs, SliceEnds::Blocks, budget(target, u64::MAX), &order), expected);
    }

    /// Proves C-122: ends of blocks of all inputs, weighed by what is stored; a key at which several end is passed once, and
    /// the last one is no border.
    #[test]
    fn slices_end_at_blocks_of_any_input() {
        check(&["a10 b10 c10 d10."], 20, "b end 40");
        check(&["a10 b10 c10 d10 e10."], 20, "b d end 50");
        check(&["a10 b10 c10 d10."], 1, "a b c end 40");
        check(&["a10 b10 c10 d10."], 40, "end 40");
        check(&["a10 b10 c10 d10."], 39, "c end 40");
        check(&["a10 c10 e10.", "b10 d10 f10."], 20, "b d end 60");
        check(&["a10 c10 e10.", "a10 c10 e10."], 20, "a c end 60");
        check(&["a10 c10 e10.", "a10 c10 e10."], 45, "c end 60");
        check(&["k10 k10 k10 k10."], 10, "end 40");
        check(&["a5 k10 k10 k10 z5."], 10, "a k end 40");
        check(&["a99 b10."], 10, "a end 109");
        check(&["a10."], 1, "end 10");
        check(&[], 1, "end 0");
        let backwards = KeyOrder::new(Arc::new(Reverse));
        assert_eq!(slices(&["d10 c10 b10 a10."], SliceEnds::Blocks, budget(20, 99), &backwards), "c end 40");
    }

    #[track_caller]
    fn check_tables(runs: &[&str], (target, most): (u64, u64), expected: &str) {
        let order = KeyOrder::bytewise();
        assert_eq!(slices(runs, SliceEnds::Tables, budget(target, most), &order), expected);
    }

    /// Proves C-121: where only whole files are given back a slice ends where a table does, if there is room for all that
    /// lies before it. Fault: compaction W-19.
    #[test]
    fn without_punching_slices_end_with_tables() {
        check_tables(&["a10 b10. c10 d10. e10."], (20, 20), "b d end 50");
        check_tables(&["a10 b10. c10 d10. e10."], (10, 20), "b d end 50");
        check_tables(&["a10 b10. c10 d10. e10."], (10, 19), "none 0");
        check_tables(&["b10 d10. f10 h10.", "a10 c10 e10 g10."], (40, 60), "d end 80");
        check_tables(&["b10 d10. f10 h10.", "a10 c10 e10 g10."], (40, 40), "d end 80");
        check_tables(&["b10 d10. f10 h10.", "a10 c10 e10 g10."], (39, 39), "none 0");
        check_tables(&["a10 b10."], (10, 15), "none 0");
    }

    proptest! {
        /// Proves C-122, C-123: slices ascend, take every block once, and none of them takes more than its target unless
        /// the blocks that end at its last key alone do.
        #[test]
        fn slices_hold_what_they_may(
            runs in prop::collection::vec(prop::collection::vec((0_u8..40, 1_u64..50), 0..30), 0..5),
            targets in prop::collection::vec(1_u64..200, 1..6),
        ) {
            let order = KeyOrder::bytewise();
            let mut all: Vec<(u8, u64)> = runs.iter().flatten().copied().collect();
            all.sort_unstable();
            let listed = runs.into_iter().map(|mut blocks| {
                blocks.sort_unstable();
                run(&blocks.into_iter().map(|(key, bytes)| (key, bytes, false)).collect::<Vec<_>>())
            });
            let mut boundaries = Boundaries::new(listed.collect(), SliceEnds::Blocks, order).unwrap();
            let (mut from, mut targets) = (None, targets.into_iter().cycle());
            loop {
                let target = targets.next().unwrap();
                let before = boundaries.cut_bytes();
                let end = boundaries.next_slice(budget(target, u64::MAX)).unwrap().unwrap();
                let to = match &end { SliceEnd::After(key) => key[0], SliceEnd::Last => u8::MAX };
                let within = all.iter().filter(|(key, _)| from.is_none_or(|from| *key > from) && *key <= to);
                let within: Vec<_> = within.collect();
                let bytes: u64 = within.iter().map(|(_, bytes)| bytes).sum();
                prop_assert_eq!(boundaries.cut_bytes() - before, bytes);
                let is_one_key = within.iter().all(|(key, _)| *key == within[0].0);
                prop_assert!(bytes <= target || is_one_key, "{} of {} in {:?}", bytes, target, within);
                if end == SliceEnd::Last {
                    prop_assert_eq!(boundaries.cut_bytes(), all.iter().map(|(_, bytes)| bytes).sum::<u64>());
                    break;
                }
                prop_assert!(!within.is_empty() && all.iter().any(|(key, _)| *key > to));
                from = Some(to);
            }
        }
    }
}
