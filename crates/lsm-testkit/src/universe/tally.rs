//! What was done, how often, and what was never done.

use std::{collections::BTreeMap, fmt};

/// Counts of everything that happens in lives.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Lives.
    pub lives: u64,
    /// Operations.
    pub operations: u64,
    /// Keys and entries that were compared.
    pub comparisons: u64,
    /// By group and name.
    counts: BTreeMap<(&'static str, &'static str), u64>,
}

impl Tally {
    /// Counts once.
    pub fn add(&mut self, group: &'static str, name: &'static str) {
        self.add_many(group, name, 1);
    }

    pub(super) fn add_many(&mut self, group: &'static str, name: &'static str, count: u64) {
        *self.counts.entry((group, name)).or_default() += count;
    }

    /// Takes over what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        self.lives += other.lives;
        self.operations += other.operations;
        self.comparisons += other.comparisons;
        for (&(group, name), count) in &other.counts {
            self.add_many(group, name, *count);
        }
    }

    /// How often something happened.
    pub fn count(&self, group: &'static str, name: &'static str) -> u64 {
        self.counts.get(&(group, name)).copied().unwrap_or(0)
    }

    /// Everything that was noted to be possible, and never happened.
    pub fn missing(&self) -> Vec<String> {
        let never = self.counts.iter().filter(|(_, count)| **count == 0);
        never.map(|((group, name), _)| format!("{group}: {name}")).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lives, operations, comparisons, .. } = self;
        write!(f, "{lives} lives, {operations} operations, {comparisons} comparisons")?;
        let mut last = "";
        for ((group, name), count) in &self.counts {
            if std::mem::replace(&mut last, group) != *group {
                write!(f, "\n  {group}:")?;
            }
            write!(f, " {name} {count};")?;
        }
        Ok(())
    }
}
