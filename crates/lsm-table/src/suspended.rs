//! Tables that are written but for the number that is added to their local ones (engine text, 2.2).
//!
//! An ingestion learns its number when it ends. The number stands in the metadata at the end of each file; everything
//! before is written, and durable, by then. Until the metadata is written nobody can take the file for a table.

use std::sync::Arc;

use lsm_block::Superblock;
use lsm_manifest::TableDescriptor;
use lsm_sst::{EndedTable, TableSummary};
use lsm_types::{Cut, Result, SeqNo};

use crate::{
    StagedTable, TableEnv,
    describe::describe,
    staged::{FileOutput, NewFile},
};

/// A table that waits for its number. Dropping it removes the file.
pub struct SuspendedTable {
    pub(crate) ended: EndedTable<FileOutput>,
    pub(crate) file: NewFile,
    pub(crate) superblock: Superblock,
    pub(crate) env: Arc<TableEnv>,
}

impl SuspendedTable {
    /// Makes the bytes so far durable and closes the file: more tables may wait than files can be open.
    pub(crate) fn sync_and_close(&mut self) -> Result<()> {
        self.file.sync_and_close()?;
        self.ended.output_mut().close();
        Ok(())
    }

    /// What its entries and range tombstones span together.
    pub fn extent(&self) -> (Cut, Cut) {
        self.ended.extent().unwrap_or((Cut::Start, Cut::End))
    }

    /// Completes the table, whose entries are numbered `global` above their local numbers, and syncs it.
    ///
    /// # Errors
    /// `SeqNoOutOfRange`, and what the file system says: the file is removed then.
    pub fn finish(self, global: SeqNo) -> Result<StagedTable> {
        let Self { mut ended, mut file, superblock, env } = self;
        ended.set_global_seqno(global)?;
        file.reopen(ended.output_mut())?;
        let mut table = complete(&env, file, &superblock, ended.finish()?);
        table.sync()?;
        Ok(table)
    }
}

impl std::fmt::Debug for SuspendedTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SuspendedTable({})", self.superblock.identity.file_id)
    }
}

/// Describes a table whose last byte is written. It is not synced.
pub(crate) fn complete(
    env: &TableEnv,
    file: NewFile,
    superblock: &Superblock,
    (summary, output): (TableSummary, FileOutput),
) -> StagedTable {
    drop(output);
    if summary.filters_given_up > 0 {
        env.filters.note_given_up(summary.filters_given_up);
        let table = superblock.identity.file_id;
        tracing::warn!(table, "a filter could not be built; the table is written without");
    }
    let descriptor = TableDescriptor { route: file.route, ..describe(superblock, &summary) };
    StagedTable::new(descriptor, file)
}
