//! Which tables replace which, by what each says it was made from (D-109).
//!
//! All outputs of a compaction name the same inputs, and no other table does. Files of inputs are removed only after
//! the outputs are in the manifest, and only a table that is in the manifest becomes an input. So a compaction had
//! certainly ended when one of its inputs is gone, or one of its outputs is an input itself; otherwise all its inputs
//! are there and hold everything.

use std::collections::{BTreeMap, BTreeSet};

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

/// Those of `groups` that had certainly ended, given which files are there.
pub(super) fn ended<'g, 'a>(
    groups: &'g Groups<'a>,
    is_there: impl Fn(TableId) -> bool,
) -> impl Iterator<Item = (&'a [TableId], &'g [&'a FoundTable])> {
    let used: BTreeSet<TableId> = groups.keys().flat_map(|inputs| inputs.iter().copied()).collect();
    groups.iter().filter_map(move |(inputs, outputs)| {
        let is_used = outputs.iter().any(|output| used.contains(&output.descriptor.id));
        let has_ended = is_used || inputs.iter().any(|input| !is_there(*input));
        has_ended.then_some((*inputs, outputs.as_slice()))
    })
}

/// What became of tables that are gone: the outputs that replace them, found among files that no version names.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    /// Tables that are gone, or are there and superseded.
    pub(super) inputs: BTreeSet<TableId>,
    /// Tables that take their place.
    pub(super) outputs: BTreeSet<TableId>,
}

/// Follows tables of `catalog` that are `gone` to the ones made from them, and puts these in their place. A table
/// between the two that is gone itself ends the trail: `RebuildFromFiles` needs none.
///
/// * `found`: tables that no version names.
/// * `logs`: value logs that no version names.
pub(super) fn replace(
    catalog: &mut Catalog,
    gone: &BTreeSet<TableId>,
    found: &BTreeMap<TableId, FoundTable>,
    logs: &FoundLogs,
) -> Result<Replaced> {
    let groups = groups(found.values());
    let mut replaced = Replaced::default();
    loop {
        let before = replaced.inputs.len();
        for inputs in groups.keys() {
            let is_next = inputs.iter().any(|input| {
                let was_output = replaced.inputs.contains(input) && !found.contains_key(input);
                gone.contains(input) || was_output
            });
            if is_next {
                replaced.inputs.extend(inputs.iter().copied());
            }
        }
        if replaced.inputs.len() == before {
            break;
        }
    }
    for (inputs, outputs) in &groups {
        if !inputs.iter().any(|input| replaced.inputs.contains(input)) {
            continue;
        }
        for output in outputs.iter().filter(|output| !replaced.inputs.contains(&output.descriptor.id)) {
            if adopt(catalog, output, logs)? {
                replaced.outputs.insert(output.descriptor.id);
            }
        }
    }
    // Only now: value logs that both refer to stay.
    catalog.forget(replaced.inputs.iter().copied())?;
    Ok(replaced)
}

/// Puts a table into a run of its own on top of the level it was written for; `false` where its tree is not known.
fn adopt(catalog: &mut Catalog, table: &FoundTable, logs: &FoundLogs) -> Result<bool> {
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
    edit.push(table.tree, TreeEdit::AddRun { level, run, age });
    let descriptor = std::sync::Arc::new(table.descriptor.clone());
    edit.push(table.tree, TreeEdit::AddTable { level, run, table: descriptor });
    catalog.apply_in_place(&edit)?;
    Ok(true)
}
