//! Which tables replace which, by what each says it was made from (D-109).
//!
//! All outputs of a compaction that is installed as a whole name the same inputs, and no other table does. Files of inputs
//! are removed only after the outputs are in the manifest, and only a table that is in the manifest becomes an input. So a
//! compaction had certainly ended when one of its inputs is gone, or one of its outputs is an input itself; otherwise all
//! its inputs are there and hold everything. Slices have rules of their own, see `settle.rs`.

use std::collections::BTreeMap;

use lsm_manifest::{Catalog, TreeEdit, VersionEdit};
use lsm_table::FoundTable;
use lsm_types::{Level, Result, RunId, TableId};

use super::values::FoundLogs;

/// The outputs of compactions, by their inputs.
pub(super) type Groups<'a> = BTreeMap<&'a [TableId], Vec<&'a FoundTable>>;

pub(super) fn groups<'a>(tables: impl IntoIterator<Item = &'a FoundTable>) -> Groups<'a> {
    let mut groups = Groups::new();
    for table in tables.into_iter().filter(|table| !table.inputs.is_empty()) {
        groups.entry(&table.inputs).or_default().push(table);
    }
    groups
}

/// Those of `groups` that had certainly ended.
///
/// * `is_there`: whether the file of a table is there and had not left its tree.
/// * `was_installed`: whether a table was part of a version.
pub(super) fn ended<'g, 'a>(
    groups: &'g Groups<'a>,
    is_there: impl Fn(TableId) -> bool,
    was_installed: impl Fn(TableId) -> bool,
) -> impl Iterator<Item = (&'a [TableId], &'g [&'a FoundTable])> {
    groups.iter().filter_map(move |(inputs, outputs)| {
        let is_used = outputs.iter().any(|output| was_installed(output.descriptor.id));
        let has_ended = is_used || inputs.iter().any(|input| !is_there(*input));
        has_ended.then_some((*inputs, outputs.as_slice()))
    })
}

/// Puts a table into a run of its own on top of the level it was written for; `false` where its tree is not known.
///
/// History that it does not hold any more is not to be asked for.
pub(super) fn adopt(catalog: &mut Catalog, table: &FoundTable, logs: &FoundLogs) -> Result<bool> {
    let Some(version) = catalog.tree(table.tree) else { return Ok(false) };
    let wanted = table.descriptor.references.iter().map(|(log, _)| log);
    let new: Vec<_> = wanted.filter(|log| version.vlogs.get(*log).is_none()).collect();
    let new: Vec<_> = new.into_iter().filter_map(|log| logs.get(table.tree, log)).cloned().collect();
    let level = Level::new(table.level.get().min(version.identity.level_count.saturating_sub(1)));
    let runs = version.levels.iter().flat_map(|(_, level)| level.runs());
    let run = RunId::new(runs.map(|run| run.id.get()).max().map_or(0, |id| id.saturating_add(1)));
    let age = version.levels.level(level).runs().first().map_or(0, |run| run.age.saturating_add(1));
    let ids = new.iter().map(|log| log.id.get()).chain([table.descriptor.id.get()]);
    catalog.reserve(ids.max().unwrap_or(0).saturating_add(1));
    let mut edit = VersionEdit::default();
    edit.trees.extend(new.into_iter().map(|vlog| (table.tree, TreeEdit::AddVlog { vlog })));
    let newest = table.descriptor.seqnos.max;
    edit.push(table.tree, TreeEdit::RaiseFloor(newest));
    edit.push(table.tree, TreeEdit::ChangesFrom(newest.next()));
    edit.push(table.tree, TreeEdit::AddRun { level, run, age });
    let descriptor = std::sync::Arc::new(table.descriptor.clone());
    edit.push(table.tree, TreeEdit::AddTable { level, run, table: descriptor });
    catalog.apply_in_place(&edit)?;
    Ok(true)
}
