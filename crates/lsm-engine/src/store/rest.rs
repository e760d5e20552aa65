//! Reading what is left of tables whose lower part was taken over, and of the values that these lead to, in recoveries that
//! have no manifest to say so.

use std::collections::BTreeMap;

use lsm_journal::FileName;
use lsm_manifest::{Catalog, TableDescriptor, TreeEdit, VersionEdit};
use lsm_table::{FoundTable, RestOfTable, RestOfVlog};
use lsm_types::{Cut, Error, KeyOrder, Result, TableId, ValueHandle, VlogId};

use super::{LeftOut, Place, settle::Reading};
use crate::{EngineError, StoreOptions};

/// Where tables are looked at.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) options: &'a StoreOptions,
    pub(super) place: Place<'a>,
}

/// Bounds of tables, each with the table that tells it.
pub(super) type Floors = BTreeMap<TableId, (Cut, TableId)>;

impl Look<'_> {
    /// Bounds the tables, and leaves those aside of which bytes are gone that nothing accounts for: those that are left out,
    /// and why.
    ///
    /// # Errors
    /// What the system says, and what is wrong with a key. Damage is no error here.
    pub(super) fn bound(
        self,
        tables: &mut BTreeMap<TableId, FoundTable>,
        floors: &Floors,
    ) -> Result<Vec<(TableId, LeftOut)>> {
        let mut out = Vec::new();
        for (id, table) in tables {
            let floor = floors.get(id).map(|(below, _)| below);
            match self.bounded(table, floor) {
                Ok(Some(descriptor)) => table.descriptor = descriptor,
                Ok(None) => out.push((*id, LeftOut::Consumed)),
                Err(error) if error.is_corruption() => out.push((*id, LeftOut::Damaged(error))),
                Err(error) => return Err(error),
            }
        }
        Ok(out)
    }

    /// The table from `floor` on; `None` where there is none and bytes in front are gone.
    fn bounded(self, table: &FoundTable, floor: Option<&Cut>) -> Result<Option<TableDescriptor>> {
        match floor {
            Some(lower) => self.above(&table.descriptor, &table.comparator, lower).map(Some),
            None if self.open(table)?.is_front_gone()? => Ok(None),
            None if self.lost_values(table)? => Ok(None),
            None => Ok(Some(table.descriptor.clone())),
        }
    }

    /// What the bounded table is, for one that a manifest names.
    ///
    /// # Errors
    /// What reading finds; `Implausible` where the bound leaves nothing.
    pub(super) fn above(self, table: &TableDescriptor, name: &str, lower: &Cut) -> Result<TableDescriptor> {
        let wrong = || Error::from(EngineError::Implausible { table: table.id, what: "bound" });
        let Cut::Before(lower) = lower else { return Err(wrong()) };
        self.open_as(table, name)?.above(table, lower)?.ok_or_else(wrong)
    }

    /// Whether values that the table leads to were given back.
    fn lost_values(self, table: &FoundTable) -> Result<bool> {
        let logs = self.values_of(table);
        if !logs.values().flatten().any(RestOfVlog::is_front_empty) {
            return Ok(false);
        }
        // A value log that is not there as a whole is told elsewhere.
        let is_gone = |handle: &ValueHandle, key: &[u8]| {
            Ok(logs.get(&handle.file).and_then(Option::as_ref).is_some_and(|log| log.is_gone(handle, key)))
        };
        Ok(!self.open(table)?.is_whole(None, &Cut::End, is_gone)?)
    }

    /// The value logs that the table leads to; `None` for those that cannot be read.
    fn values_of(self, table: &FoundTable) -> BTreeMap<VlogId, Option<RestOfVlog>> {
        let logs = table.descriptor.references.iter().map(|(log, _)| log);
        logs.map(|log| (log, self.open_values(log).ok())).collect()
    }

    fn open_values(self, log: VlogId) -> Result<RestOfVlog> {
        let path = FileName::ValueLog(log).path(self.place.root);
        RestOfVlog::open(self.place.fs, &path, self.options.encryption.as_ref())
    }

    /// Says of value logs of which bytes in front are gone where the first value lies that a table leads to, unless
    /// `catalog` knows of more.
    ///
    /// # Errors
    /// What the system says, and what is wrong with a key. Damage is no error here: what is damaged says nothing.
    pub(super) fn tell_frontiers(self, catalog: &mut Catalog) -> Result<()> {
        let mut edit = VersionEdit::default();
        for (tree, version) in catalog.trees() {
            for log in version.vlogs.iter().filter(|log| !log.tables.is_empty()) {
                let id = log.vlog.id;
                if !self.open_values(id).is_ok_and(|found| found.is_front_empty()) {
                    continue;
                }
                let mut first = None;
                for table in log.tables.iter().filter_map(|table| catalog.table(*table)) {
                    let lower = table.restriction.as_ref().map(|restriction| &restriction.lower);
                    let rest = self.open_as(table, &version.identity.comparator);
                    let found = match rest.and_then(|rest| rest.first_value(id, lower)) {
                        Ok(found) => found,
                        Err(error) if error.is_corruption() => Some(0),
                        Err(error) => return Err(error),
                    };
                    first = first.into_iter().chain(found).min();
                }
                if let Some(frontier) = first.filter(|first| *first > log.frontier) {
                    edit.push(tree, TreeEdit::AdvanceVlog { id, frontier });
                }
            }
        }
        Ok(catalog.apply_in_place(&edit)?)
    }

    fn open(self, table: &FoundTable) -> Result<RestOfTable> {
        self.open_as(&table.descriptor, &table.comparator)
    }

    fn open_as(self, table: &TableDescriptor, name: &str) -> Result<RestOfTable> {
        let order = self.options.comparator_named(name).map(KeyOrder::new);
        let order = order.ok_or_else(|| EngineError::UnknownComparator { stored: name.to_owned() })?;
        let path = self.place.table(FileName::Table(table.id), table.route);
        RestOfTable::open(self.place.fs, &path, &order, self.options.encryption.as_ref())
    }
}

impl Reading for Look<'_> {
    fn order(&self, name: &str) -> Option<KeyOrder> {
        self.options.comparator_named(name).map(KeyOrder::new)
    }

    fn is_whole(&self, table: &FoundTable, from: Option<&Cut>, to: &Cut) -> bool {
        let (lower, logs) = (from.and_then(Cut::key), self.values_of(table));
        let is_gone = |handle: &ValueHandle, key: &[u8]| {
            Ok(logs.get(&handle.file).and_then(Option::as_ref).is_none_or(|log| log.is_gone(handle, key)))
        };
        self.open(table).and_then(|rest| rest.is_whole(lower, to, is_gone)).is_ok_and(|is_whole| is_whole)
    }
}
