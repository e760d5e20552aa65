//! One durable state of all trees, as the files that make it.

use lsm_journal::{FileName, Folder};
use lsm_manifest::Catalog;
use lsm_types::{EditIndex, FileKind, FileUuid, RouteId, TableId, TreeId};

use super::{CheckpointFile, CopyMethod};

/// One durable state of all trees.
pub(super) struct CutState {
    pub(super) catalog: Catalog,
    pub(super) edit_index: EditIndex,
}

/// A file of it. Two are the same when all of it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct CutFile {
    pub(super) name: FileName,
    /// Its number, which tables and value logs share.
    pub(super) id: TableId,
    pub(super) tree: TreeId,
    pub(super) uuid: FileUuid,
    pub(super) len: u64,
    pub(super) digest: u64,
}

impl CutState {
    /// All tables and value logs, and where they lie.
    pub(super) fn files(&self) -> impl Iterator<Item = (CutFile, RouteId)> + '_ {
        self.catalog.trees().flat_map(|(tree, version)| {
            let tables = version.levels.tables().map(move |(_, table)| {
                let (id, uuid, len, digest) = (table.id, table.uuid, table.file_len, table.digest);
                (CutFile { name: FileName::Table(id), id, tree, uuid, len, digest }, table.route)
            });
            let logs = version.vlogs.iter().map(|log| &log.vlog).map(move |log| {
                let (id, name) = (TableId::new(log.id.get()), FileName::ValueLog(log.id));
                let (uuid, len, digest) = (log.uuid, log.file_len, log.digest);
                (CutFile { name, id, tree, uuid, len, digest }, RouteId::PRIMARY)
            });
            tables.chain(logs)
        })
    }

    /// The folders they go to.
    pub(super) fn folders(&self) -> Vec<Folder> {
        let separates = self.catalog.trees().any(|(_, version)| version.separates);
        std::iter::once(Folder::Tables).chain(separates.then_some(Folder::Blobs)).collect()
    }
}

impl CutFile {
    pub(super) fn into_info(self, method: CopyMethod) -> CheckpointFile {
        let Self { name, id, tree, uuid, len, digest } = self;
        let kind = match name {
            FileName::ValueLog(_) => FileKind::ValueLog,
            _ => FileKind::Table,
        };
        CheckpointFile { kind, table: id, tree, uuid, len, digest, method }
    }
}
