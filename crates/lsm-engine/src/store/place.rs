//! Into which run tables go.

use std::sync::Arc;

use lsm_manifest::{Levels, Run, TableDescriptor, TreeEdit, VersionEdit};
use lsm_types::{KeyOrder, Level, Result, RunId, TableId, TreeId};

use super::Draft;
use crate::EngineError;

/// Room between the ages of two runs, for outputs that have to go between them.
const AGE_GAP: u64 = 1 << 20;

/// The age of the run of `level` that holds a table.
pub(crate) fn run_age(levels: &Levels, level: Level, table: TableId) -> Option<u64> {
    let holds = |run: &&Run| run.tables.iter().any(|other| other.id == table);
    levels.level(level).runs().iter().find(holds).map(|run| run.age)
}

/// Adds to `edit`, which applies first, the tables of one output.
///
/// They join the newest run of the level that they do not overlap and that nothing newer overlaps; otherwise they
/// become a run of their own: at `age` when it is given, on top of the level when not. A table of range tombstones
/// alone, which a stretch of keys without survivors leaves, has no place among the keys of a run, and gets its own.
pub(crate) fn place_tables(
    draft: &mut Draft<'_>,
    edit: &mut VersionEdit,
    tree: TreeId,
    level: Level,
    age: Option<u64>,
    tables: &[Arc<TableDescriptor>],
    order: &KeyOrder,
) -> Result<()> {
    let (keyed, bare): (Vec<_>, Vec<_>) = tables.iter().cloned().partition(|table| table.entries.is_some());
    let groups = std::iter::once(keyed.as_slice()).chain(bare.chunks(1));
    for group in groups.filter(|group| !group.is_empty()) {
        let run = choose_run(draft, edit, tree, level, age, group, order)?;
        for table in group {
            edit.push(tree, TreeEdit::AddTable { level, run, table: table.clone() });
        }
    }
    Ok(())
}

/// Adds to `edit` the move of tables of one run to another level.
pub(crate) fn relocate_tables(
    draft: &mut Draft<'_>,
    edit: &mut VersionEdit,
    tree: TreeId,
    level: Level,
    ids: &[TableId],
    order: &KeyOrder,
) -> Result<()> {
    let mut tables = Vec::with_capacity(ids.len());
    for id in ids {
        let vanished = lsm_compaction_executor::ExecutorError::InputVanished { table: *id };
        tables.push(draft.table(*id).ok_or(vanished)?);
    }
    let run = choose_run(draft, edit, tree, level, None, &tables, order)?;
    for id in ids {
        edit.push(tree, TreeEdit::MoveTable { id: *id, level, run });
    }
    Ok(())
}

fn choose_run(
    draft: &mut Draft<'_>,
    edit: &mut VersionEdit,
    tree: TreeId,
    level: Level,
    age: Option<u64>,
    tables: &[Arc<TableDescriptor>],
    order: &KeyOrder,
) -> Result<RunId> {
    let after = draft.with(edit)?;
    let no_tree = EngineError::Bug { invariant: "an edit is built for a tree that exists" };
    let version = after.tree(tree).or_else(|| draft.version(tree)).ok_or(no_tree)?;
    let runs = version.levels.level(level).runs();
    if let Some(run) = runs.iter().find(|run| joins(run, age, tables, order))
        && nothing_newer_overlaps(runs, run, tables, order)
    {
        return Ok(run.id);
    }
    let age = free_age(runs, age);
    let run = draft.new_run();
    edit.push(tree, TreeEdit::AddRun { level, run, age });
    Ok(run)
}

/// Whether the tables may become part of `run`: in level 0, where age counts, only of the newest run or of that of
/// their own age.
fn joins(run: &Run, age: Option<u64>, tables: &[Arc<TableDescriptor>], order: &KeyOrder) -> bool {
    age.is_none_or(|age| run.age == age) && tables.iter().all(|table| fits(run, table, order))
}

fn nothing_newer_overlaps(
    runs: &[Run],
    run: &Run,
    tables: &[Arc<TableDescriptor>],
    order: &KeyOrder,
) -> bool {
    let newer = runs.iter().take_while(|other| other.age > run.age);
    newer.into_iter().all(|other| tables.iter().all(|table| fits(other, table, order)))
}

fn fits(run: &Run, table: &TableDescriptor, order: &KeyOrder) -> bool {
    let Some(range) = &table.entries else { return false };
    run.tables.key_range().is_some() && run.tables.overlapping(range, order).next().is_none()
}

/// An age that no run has: as wished, or just above it; on top of all runs without a wish.
fn free_age(runs: &[Run], wish: Option<u64>) -> u64 {
    let top = runs.first().map_or(0, |run| run.age) + AGE_GAP;
    let Some(mut age) = wish else { return top };
    while runs.iter().any(|run| run.age == age) {
        age += 1;
    }
    age
}
