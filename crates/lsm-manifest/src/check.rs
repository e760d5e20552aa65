//! What holds of every state, checked without looking at a file (D-50).

use core::cmp::Ordering;

use alloc::collections::{BTreeMap, BTreeSet};
use lsm_types::{KeyOrder, TableId, TreeId, ValueReferences, VlogId};

use crate::{Catalog, ManifestError, Run, TableDescriptor, Version};

impl Catalog {
    /// Checks what every state must satisfy: the tables of a run are disjoint and in order, numbers of tables and
    /// runs occur once, every number in use was reserved, and no table holds a sequence number above the tree's
    /// highest. Edits keep all of this, so an error means that another comparator than the tree's own is in use, or
    /// that the state was not made by edits.
    pub fn check(&self) -> Result<(), ManifestError> {
        let mut seen = 0;
        for (tree, version) in self.trees() {
            seen += check_tree(self, tree, version)?;
        }
        if seen != self.places.len() {
            let tree = self.trees.keys().next().copied().unwrap_or_default();
            return Err(ManifestError::Inconsistent { tree, rule: "a table is known that stands nowhere" });
        }
        let sum = self.places.values().fold(0_u64, |sum, place| sum.wrapping_add(place.table.live_bytes()));
        if sum != self.table_bytes {
            let tree = self.trees.keys().next().copied().unwrap_or_default();
            return Err(ManifestError::Inconsistent { tree, rule: "the lengths of tables have another sum" });
        }
        Ok(())
    }
}

/// Returns the number of tables.
fn check_tree(catalog: &Catalog, tree: TreeId, version: &Version) -> Result<usize, ManifestError> {
    let rule =
        |holds: bool, rule| if holds { Ok(()) } else { Err(ManifestError::Inconsistent { tree, rule }) };
    let order = catalog.order(tree);
    let count = version.levels.count();
    rule(count == version.identity.level_count, "it has another number of levels than its identity says")?;
    let mut tables = 0;
    for (level, runs) in version.levels.iter() {
        let mut ids = BTreeSet::new();
        rule(runs.runs().iter().all(|run| ids.insert(run.id)), "a run's number occurs twice in a level")?;
        rule(runs.runs().is_sorted_by(|a, b| a.age > b.age), "runs of a level are not in order of age")?;
        for run in runs.runs() {
            rule(is_in_order(run, &order), "tables of a run overlap or are out of order")?;
            for table in run.tables.iter() {
                let stands_here = catalog.place(table.id) == Some((tree, level, run.id));
                rule(stands_here, "a table's number occurs twice")?;
                rule(table.id.get() < catalog.reserved_ids, "a table's number was never reserved")?;
                rule(
                    table.fits_restriction(&order),
                    "a table reaches below the bound of what is left of it",
                )?;
                rule(Some(table.seqnos.max) <= version.max_seqno, "a table is newer than its tree")?;
                tables += 1;
            }
        }
    }
    check_vlogs(catalog, tree, version)?;
    Ok(tables)
}

/// Holds what is known to be live against a recount.
fn check_vlogs(catalog: &Catalog, tree: TreeId, version: &Version) -> Result<(), ManifestError> {
    let inconsistent = |rule| ManifestError::Inconsistent { tree, rule };
    version.vlogs.check().map_err(inconsistent)?;
    let mut counted = ValueReferences::new();
    let mut linked: BTreeMap<VlogId, BTreeSet<TableId>> = BTreeMap::new();
    for (_, table) in version.levels.tables() {
        counted.add(&table.references).map_err(|_| inconsistent("references pass 2^64"))?;
        table.references.iter().for_each(|(vlog, _)| {
            linked.entry(vlog).or_default().insert(table.id);
        });
    }
    if !version.vlogs.iter().map(|log| (&log.vlog.id, &*log.tables)).eq(&linked) {
        return Err(inconsistent("value logs know of other tables than refer to them"));
    }
    let known = version.vlogs.iter().map(|log| (log.vlog.id, log.live));
    if !known.eq(counted.iter()) {
        return Err(inconsistent("what is live of value logs is not what tables refer to"));
    }
    let reserved = version.vlogs.iter().all(|log| log.vlog.id.get() < catalog.reserved_ids);
    let is_table = |id: u64| catalog.place(TableId::new(id)).is_some();
    if !reserved || version.vlogs.iter().any(|log| is_table(log.vlog.id.get())) {
        return Err(inconsistent("a value log's number was never reserved, or is a table's"));
    }
    Ok(())
}

fn is_in_order(run: &Run, order: &KeyOrder) -> bool {
    let spans = |table: &TableDescriptor| {
        table.entries.as_ref().is_some_and(|range| order.compare(&range.min, &range.max).is_le())
    };
    let lone = run.tables.len() == 1 && run.tables.iter().all(|table| table.is_range_tombstones_only());
    lone || run.tables.iter().all(|table| spans(table))
        && run.tables.iter().zip(run.tables.iter().skip(1)).all(|(a, b)| {
            let ends = a.entries.as_ref().zip(b.entries.as_ref());
            ends.is_some_and(|(a, b)| order.compare(&a.max, &b.min) == Ordering::Less)
        })
}
