//! Which files are checked: the tables that the caller selects, and the value logs they refer to.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use lsm_journal::FileName;
use lsm_types::{FileUuid, KeyOrder, TableId, TreeId, VlogId};

use crate::{
    LiveTable, LiveValues, VerifyOptions,
    pool::Item,
    report::TablePlace,
    table::{Expected, Subject},
    value_log::ValueLog,
    values::Values,
};

/// Gathers the files of a check.
pub(crate) struct Items<'a> {
    options: &'a VerifyOptions<'a>,
    trees: BTreeMap<TreeId, (Arc<Values>, KeyOrder)>,
    tables: Vec<Subject>,
    /// Value logs that selected tables refer to.
    wanted: BTreeSet<(TreeId, VlogId)>,
}

impl<'a> Items<'a> {
    pub(crate) fn new(options: &'a VerifyOptions<'a>) -> Self {
        Self { options, trees: BTreeMap::new(), tables: Vec::new(), wanted: BTreeSet::new() }
    }

    /// The value logs of a tree; to be told before its tables.
    pub(crate) fn tree(&mut self, live: &LiveValues, database: FileUuid) {
        let logs = live.logs.iter().map(|log| (log.vlog.id, log.clone())).collect();
        let values = Values { root: live.root.clone(), database, tree: live.tree, logs };
        self.trees.insert(live.tree, (Arc::new(values), live.order.clone()));
        let named = self.options.selection.tables.iter().flatten().map(|id| VlogId::new(id.get()));
        self.wanted.extend(named.map(|id| (live.tree, id)));
    }

    /// A table of the database, should it be one that the caller wants.
    pub(crate) fn table(&mut self, table: &LiveTable, database: FileUuid) {
        let LiveTable { tree, level, descriptor, order, prefix_extractor, root } = table;
        if !self.options.selection.has(*tree, *level, descriptor, order) {
            return;
        }
        self.wanted.extend(descriptor.references.iter().map(|(log, _)| (*tree, log)));
        let place = TablePlace { table: descriptor.id, tree: *tree, level: *level };
        let file = FileName::Table(descriptor.id);
        self.tables.push(Subject {
            id: descriptor.id,
            name: PathBuf::from(file.folder().name()).join(file.to_string()),
            path: file.path(root),
            expected: Some(Expected { place, database, descriptor: descriptor.clone() }),
            order: order.clone(),
            prefix_extractor: prefix_extractor.clone(),
            values: self.trees.get(tree).map(|(values, _)| values.clone()),
        });
    }

    /// All of them, ascending by number; those before the cursor were checked before.
    pub(crate) fn finish(self) -> Vec<Item> {
        let mut items: Vec<Item> = self.tables.into_iter().map(Item::Table).collect();
        for (tree, log) in self.wanted {
            let Some((values, order)) = self.trees.get(&tree) else { continue };
            let log = values.logs.get(&log).map(|log| values.subject(log, order.clone()));
            items.extend(log.map(Item::ValueLog));
        }
        items.retain(|item| self.options.resume.is_none_or(|cursor| item.id() >= cursor.table));
        items.sort_by_key(Item::id);
        items
    }
}

/// A table that no manifest tells of.
pub(crate) fn lone_table(id: TableId, name: PathBuf, path: PathBuf, order: KeyOrder) -> Subject {
    Subject { id, name, path, expected: None, order, prefix_extractor: None, values: None }
}

/// A value log that no manifest tells of.
pub(crate) fn lone_log(id: VlogId, name: PathBuf, path: PathBuf) -> ValueLog {
    // The ends of keys are checked where the order is the one that the file names.
    ValueLog { id, name, path, expected: None, order: KeyOrder::bytewise() }
}
