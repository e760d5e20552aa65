//! Tables that belong to a running job.

use alloc::collections::BTreeMap;

use lsm_manifest::TableDescriptor;
use lsm_types::{Level, TableId};

use crate::Inputs;

/// The tables that running jobs own, copied once per planning round: no other job may take them.
///
/// Belongs to the levels of the same moment. Where the two are a little apart, plans stay valid: sizes of levels are
/// a little off, and the engine checks a plan again before it runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BusySet {
    tables: BTreeMap<TableId, Busy>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Busy {
    pub(crate) level: Level,
    pub(crate) file_bytes: u64,
}

impl BusySet {
    /// Takes a table that stands at `level`; `false` when it was taken before.
    pub fn insert(&mut self, level: Level, table: &TableDescriptor) -> bool {
        self.tables.insert(table.id, Busy { level, file_bytes: table.file_len }).is_none()
    }

    /// Takes all tables of a plan; `false`, taking none, when one of them was taken before.
    #[must_use]
    pub fn lease(&mut self, inputs: &Inputs) -> bool {
        if inputs.tables().any(|table| self.contains(table.id)) {
            return false;
        }
        for part in inputs.parts() {
            for table in &part.tables {
                self.insert(part.level, table);
            }
        }
        true
    }

    /// Gives a table back; `false` when it was not taken.
    pub fn remove(&mut self, table: TableId) -> bool {
        self.tables.remove(&table).is_some()
    }

    /// Gives back what [`BusySet::lease`] took.
    pub fn release(&mut self, inputs: &Inputs) {
        for table in inputs.tables() {
            self.remove(table.id);
        }
    }

    /// Whether a running job owns the table.
    pub fn contains(&self, table: TableId) -> bool {
        !self.tables.is_empty() && self.tables.contains_key(&table)
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
