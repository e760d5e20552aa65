//! What is left of the inputs of a merge that is installed slice by slice.

use lsm_compaction_executor::ExecutorError;
use lsm_manifest::{Restriction, TreeEdit};
use lsm_table::{ReadMode, Table};
use lsm_types::{EntryCursor, Kind, Result, Slice, TableId, ValueHandle, ValueReferences};

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

impl TreeInner {
    /// What is left of each of these tables from its key on.
    ///
    /// # Errors
    /// `InputVanished` for a table that no version names; what reading finds.
    pub(super) fn restrictions(&self, wanted: &[(TableId, Slice)]) -> Result<Vec<Left>> {
        let left = wanted.iter().map(|(id, lower)| {
            let table = self.table(*id).ok_or(ExecutorError::InputVanished { table: *id })?;
            let references = references_from(&table, lower)?;
            Ok(Left { table: *id, to: table.restriction(lower.clone())?, references })
        });
        left.collect()
    }
}

/// What of value logs the entries of `table` from `lower` on refer to: what it refers to now without what those below do.
/// They are read again, which only a table with separated values has to pay, and whose values lie elsewhere.
fn references_from(table: &Table, lower: &[u8]) -> Result<ValueReferences> {
    let mut left = table.descriptor().references.clone();
    if left.is_empty() {
        return Ok(left);
    }
    let order = table.layout()?.order().clone();
    let mut gone = ValueReferences::new();
    let mut cursor = table.cursor(ReadMode::COMPACTION)?;
    cursor.seek_first()?;
    loop {
        cursor.settle()?;
        let Some(entry) = cursor.entry() else { break };
        if order.compare(entry.key, lower).is_ge() {
            break;
        }
        if entry.kind == Kind::Indirection {
            gone.record(&ValueHandle::decode(entry.value)?)?;
        }
        cursor.next()?;
    }
    left.subtract(&gone)?;
    Ok(left)
}

#[cfg(test)]
mod tests;
