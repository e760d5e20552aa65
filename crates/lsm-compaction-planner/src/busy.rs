//! Tables that belong to a running job.

use alloc::collections::BTreeMap;

use lsm_manifest::TableDescriptor;
use lsm_types::{Level, RunId, TableId};

use crate::Inputs;

/// The tables that running jobs own, copied once per planning round: no other job may take them.
///
/// Belongs to the levels of the same moment. Where the two are a little apart, plans stay valid: sizes of levels are
/// a little off, and the engine checks a plan again before it runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BusySet {
    tables: BTreeMap<TableId, Busy>,
    /// How many tables of a run are taken.
    runs: BTreeMap<RunId, usize>,
    filter: Filter,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Busy {
    pub(crate) level: Level,
    run: RunId,
    pub(crate) file_bytes: u64,
}

impl BusySet {
    /// Takes a table that stands in `run` of `level`; `false` when it was taken before.
    pub fn insert(&mut self, level: Level, run: RunId, table: &TableDescriptor) -> bool {
        self.filter.add(table.id);
        let before = self.tables.insert(table.id, Busy { level, run, file_bytes: table.live_bytes() });
        if let Some(before) = before {
            self.leave_run(before.run);
        }
        *self.runs.entry(run).or_default() += 1;
        before.is_none()
    }

    /// Takes all tables of a plan; `false`, taking none, when one of them was taken before.
    #[must_use]
    pub fn lease(&mut self, inputs: &Inputs) -> bool {
        if inputs.tables().any(|table| self.contains(table.id)) {
            return false;
        }
        for part in inputs.parts() {
            for table in &part.tables {
                self.insert(part.level, part.run, table);
            }
        }
        true
    }

    /// Gives a table back; `false` when it was not taken.
    pub fn remove(&mut self, table: TableId) -> bool {
        let was_taken = self.take_out(table);
        self.filter = Filter::of(self.tables.keys());
        was_taken
    }

    /// Gives back what [`BusySet::lease`] took.
    pub fn release(&mut self, inputs: &Inputs) {
        for table in inputs.tables() {
            self.take_out(table.id);
        }
        self.filter = Filter::of(self.tables.keys());
    }

    fn take_out(&mut self, table: TableId) -> bool {
        let Some(busy) = self.tables.remove(&table) else { return false };
        self.leave_run(busy.run);
        true
    }

    fn leave_run(&mut self, run: RunId) {
        if let Some(count) = self.runs.get_mut(&run) {
            *count -= 1;
            if *count == 0 {
                self.runs.remove(&run);
            }
        }
    }

    /// Whether a running job owns a table of the run.
    pub fn holds_of(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// Whether a running job owns the table.
    pub fn contains(&self, table: TableId) -> bool {
        self.filter.may_hold(table) && self.tables.contains_key(&table)
    }

    /// Whether no job owns a table.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Number of tables.
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Busy> {
        self.tables.values().copied()
    }
}

/// A bit for each number that may be in the set: a pick asks about a thousand tables, nearly all of them idle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Filter {
    words: [u64; Self::WORD_COUNT],
}

impl Filter {
    const WORD_COUNT: usize = 16;

    fn of<'a>(tables: impl Iterator<Item = &'a TableId>) -> Self {
        let mut filter = Self::default();
        for table in tables {
            filter.add(*table);
        }
        filter
    }

    fn add(&mut self, table: TableId) {
        let (word, bit) = Self::place(table);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    fn may_hold(&self, table: TableId) -> bool {
        let (word, bit) = Self::place(table);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    fn place(table: TableId) -> (usize, u64) {
        // Numbers are given out one after the other, so they spread by themselves.
        let word = usize::try_from(table.get() / 64).unwrap_or(0) % Self::WORD_COUNT;
        (word, 1 << (table.get() % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_idle() {
        let mut busy = BusySet::default();
        let taken = |busy: &BusySet| (0..5000).map(TableId::new).filter(|id| busy.contains(*id)).count();
        let ids = [0_u64, 1, 1024, 4999].map(TableId::new);
        for id in ids {
            busy.filter.add(id);
            let one = Busy { level: Level::new(1), run: RunId::new(id.get() % 2), file_bytes: 1 };
            busy.tables.insert(id, one);
            *busy.runs.entry(one.run).or_default() += 1;
        }
        assert_eq!((taken(&busy), busy.len()), (4, 4));
        assert!(busy.remove(TableId::new(1024)) && !busy.remove(TableId::new(1024)));
        assert_eq!(taken(&busy), 3);
        assert!(busy.holds_of(RunId::new(0)) && busy.holds_of(RunId::new(1)));
        for id in ids {
            busy.remove(id);
        }
        assert_eq!(busy, BusySet::default());
    }
}
