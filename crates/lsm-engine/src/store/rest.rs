//! Reading what is left of tables whose lower part was taken over, in recoveries that have no manifest to say so.

use std::collections::BTreeMap;

use lsm_journal::FileName;
use lsm_manifest::TableDescriptor;
use lsm_table::{FoundTable, RestOfTable};
use lsm_types::{Cut, Error, KeyOrder, Result, TableId};

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
        let lower = from.and_then(Cut::key);
        self.open(table).and_then(|rest| rest.read(lower, to)).is_ok()
    }
}
