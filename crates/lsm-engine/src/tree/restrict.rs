//! What is left of the inputs of a merge that is installed slice by slice.

use std::collections::BTreeMap;

use lsm_compaction_executor::{ExecutorError, InstallRequest};
use lsm_manifest::{Restriction, TreeEdit, Version};
use lsm_table::{ReadMode, Table};
use lsm_types::{EntryCursor, Kind, Result, TableId, ValueHandle, ValueReferences, VlogId};

use super::TreeInner;

/// What of a table stays.
pub(super) struct Left {
    pub(super) table: TableId,
    to: Restriction,
    references: ValueReferences,
}

impl Left {
    /// The step that says so.
    pub(super) fn edit(self) -> TreeEdit {
        TreeEdit::RestrictTable { id: self.table, to: self.to, references: self.references }
    }
}

/// What a slice took of the inputs of its merge.
#[derive(Default)]
pub(super) struct Taken {
    /// What of inputs stays.
    pub(super) left: Vec<Left>,
    /// Where in each value log the last value ends that an entry led to which the slice took.
    ends: BTreeMap<VlogId, u64>,
}

impl TreeInner {
    /// What is left of each of the tables that are restricted, from its key on, and how far in value logs what the slice
    /// took has reached.
    ///
    /// # Errors
    /// `InputVanished` for a table that no version names; what reading finds.
    pub(super) fn taken(&self, request: &InstallRequest) -> Result<Taken> {
        let mut taken = Taken::default();
        let table = |id: TableId| self.table(id).ok_or(ExecutorError::InputVanished { table: id });
        for (id, lower) in &request.restrict {
            let table = table(*id)?;
            let references = references_from(&table, lower, &mut taken.ends)?;
            taken.left.push(Left { table: *id, to: table.restriction(lower.clone())?, references });
        }
        if !request.rest.is_empty() {
            for id in &request.remove {
                pass_handles(&table(*id)?, None, &mut taken.ends)?;
            }
        }
        Ok(taken)
    }
}

impl Taken {
    /// The value logs whose first values no entry leads to any more once the slice is installed, each with its new frontier.
    ///
    /// Where values lie in the order of keys, those of the entries that the slice took come before those of all others of
    /// its inputs. So where nothing else leads to a value log, they come before everything that is left of it.
    pub(super) fn frontiers<'a>(
        &'a self,
        version: &'a Version,
        request: &'a InstallRequest,
    ) -> impl Iterator<Item = TreeEdit> + 'a {
        self.ends.iter().filter_map(move |(id, end)| {
            let log = version.vlogs.get(*id).filter(|log| log.vlog.is_ordered && log.frontier < *end)?;
            let leads = |references: &ValueReferences| references.get(*id).entries > 0;
            let lets_go = |left: &Left, table| left.table == table && !leads(&left.references);
            let is_gone =
                |table| request.remove.contains(&table) || self.left.iter().any(|left| lets_go(left, table));
            let mut tables = log.tables.iter().filter(|table| !is_gone(**table)).peekable();
            let is_last = tables.peek().is_none();
            let is_apart = tables.all(|table| request.rest.contains(table));
            let is_new = request.add.iter().any(|table| leads(&table.references));
            // Without any table it leaves as a whole.
            let advances = !is_last && is_apart && !is_new;
            advances.then_some(TreeEdit::AdvanceVlog { id: *id, frontier: (*end).min(log.vlog.file_len) })
        })
    }
}

/// What of value logs the entries of `table` from `lower` on refer to: what it refers to now without what those below do.
/// They are read again, which only a table with separated values has to pay, and whose values lie elsewhere.
fn references_from(table: &Table, lower: &[u8], ends: &mut BTreeMap<VlogId, u64>) -> Result<ValueReferences> {
    let mut left = table.descriptor().references.clone();
    left.subtract(&pass_handles(table, Some(lower), ends)?)?;
    Ok(left)
}

/// What the entries of `table` below `lower` refer to; notes in `ends` where the last value of each value log ends.
fn pass_handles(
    table: &Table,
    lower: Option<&[u8]>,
    ends: &mut BTreeMap<VlogId, u64>,
) -> Result<ValueReferences> {
    let mut gone = ValueReferences::new();
    if table.descriptor().references.is_empty() {
        return Ok(gone);
    }
    let order = table.layout()?.order().clone();
    let mut cursor = table.stored_cursor(ReadMode::COMPACTION)?;
    cursor.seek_first()?;
    loop {
        cursor.settle()?;
        let Some(entry) = cursor.entry() else { break };
        if lower.is_some_and(|lower| order.compare(entry.key, lower).is_ge()) {
            break;
        }
        if entry.kind == Kind::Indirection {
            let handle = ValueHandle::decode(entry.value)?;
            gone.record(&handle)?;
            let end = ends.entry(handle.file).or_default();
            *end = handle.end().map_or(*end, |handle| handle.max(*end));
        }
        cursor.next()?;
    }
    Ok(gone)
}

#[cfg(test)]
mod tests;
