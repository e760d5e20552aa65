//! What is asked, and what an answer is.

use std::path::Path;

use super::data::{COLUMNS, PRICE, PRICES, is_deleted, row};
use crate::{engine::Outcome, plan::Plan};

/// A scan of all rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query {
    /// In the table.
    pub(super) name: &'static str,
    /// Places of the columns wanted.
    pub(super) columns: &'static [usize],
    /// Only rows whose price is below this.
    pub(super) below: Option<u64>,
}

const ALL: [usize; COLUMNS] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const THREE: [usize; 3] = [1, PRICE, 5];

/// All of them, in the order of the table.
pub(super) const QUERIES: [Query; 6] = [
    Query { name: "1 of 10", columns: &[PRICE], below: None },
    Query { name: "3 of 10", columns: &THREE, below: None },
    Query { name: "10 of 10", columns: &ALL, below: None },
    Query { name: "3, 10 %", columns: &THREE, below: Some(PRICES / 10) },
    Query { name: "3, 1 %", columns: &THREE, below: Some(PRICES / 100) },
    Query { name: "3, 0.1 %", columns: &THREE, below: Some(PRICES / 1000) },
];

impl Query {
    /// Whether a row of this price is wanted.
    pub(super) fn wants(&self, price: u64) -> bool {
        self.below.is_none_or(|below| price < below)
    }
}

/// Rows found, and the sum of the bits of all their wanted columns; equal for all engines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Answer {
    pub(super) rows: u64,
    pub(super) sum: u64,
}

impl Answer {
    /// Counts rows.
    pub(super) fn count(&mut self, rows: usize) {
        self.rows += rows as u64;
    }

    /// Adds a column's values.
    pub(super) fn add(&mut self, values: impl Iterator<Item = u64>) {
        self.sum = values.fold(self.sum, u64::wrapping_add);
    }
}

/// What is to be found when `share` rows in a hundred are deleted.
pub(super) fn expected(plan: &Plan, query: &Query, share: u64) -> Answer {
    let mut answer = Answer::default();
    let rows = (0..u64::from(plan.key_count())).filter(|number| !is_deleted(*number, share));
    for row in rows.map(|number| row(number, plan.seed)).filter(|row| query.wants(row[PRICE])) {
        answer.count(1);
        answer.add(query.columns.iter().filter_map(|place| row.get(*place).copied()));
    }
    answer
}

/// Rows in a store that can be asked in columns.
pub(super) trait Table: Sized {
    /// How it is set up, in its own words.
    fn settings(plan: &Plan) -> Outcome<String>;

    /// Writes all rows into `dir`, which is empty, in the order of keys.
    fn fill(plan: &Plan, dir: &Path) -> Outcome<()>;

    /// Opens what was filled.
    fn open(plan: &Plan, dir: &Path) -> Outcome<Self>;

    /// Asks all rows.
    fn ask(&self, query: &Query) -> Outcome<Answer>;

    /// The columns of one row, if single rows can be had.
    fn get(&self, _number: u64) -> Option<Outcome<Option<[u64; COLUMNS]>>> {
        None
    }

    /// Deletes the first `share` in a hundred rows of each thousand, if rows can be deleted.
    fn delete(&self, _plan: &Plan, _share: u64) -> Option<Outcome<()>> {
        None
    }

    /// Marks what was deleted in the tables that hold it, if there is a way to.
    fn mark(&self) -> Option<Outcome<()>> {
        None
    }
}
