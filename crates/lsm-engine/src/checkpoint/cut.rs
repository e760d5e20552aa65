//! One durable state of all trees, as the files that make it.

use std::ops::Range;

use lsm_journal::{FileName, Folder};
use lsm_manifest::Catalog;
use lsm_table::{consumed_range, consumed_values};
use lsm_types::{EditIndex, FileKind, FileUuid, RouteId, TableId, TreeId};

use super::{CheckpointFile, CopyMethod};

/// One durable state of all trees.
pub(super) struct CutState {
    pub(super) catalog: Catalog,
    pub(super) edit_index: EditIndex,
}

/// A file of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct CutFile {
    pub(super) name: FileName,
    /// Its number, which tables and value logs share.
    pub(super) id: TableId,
    pub(super) tree: TreeId,
    pub(super) uuid: FileUuid,
    pub(super) len: u64,
    pub(super) digest: u64,
    /// Bytes that no reader looks at, so that they may be gone.
    pub(super) consumed: Range<u64>,
}

impl CutState {
    /// All tables, delete vectors and value logs, and where they lie.
    pub(super) fn files(&self) -> impl Iterator<Item = (CutFile, RouteId)> + '_ {
        self.catalog.trees().flat_map(|(tree, version)| {
            let tables = version.levels.tables().map(move |(_, table)| {
                let (id, uuid, len, digest) = (table.id, table.uuid, table.file_len, table.digest);
                let name = FileName::Table(id);
                (CutFile { name, id, tree, uuid, len, digest, consumed: consumed_range(table) }, table.route)
            });
            let logs = version.vlogs.iter().map(move |live| {
                let (log, consumed) = (&live.vlog, consumed_values(live));
                let (id, name) = (TableId::new(log.id.get()), FileName::ValueLog(log.id));
                let (uuid, len, digest) = (log.uuid, log.file_len, log.digest);
                (CutFile { name, id, tree, uuid, len, digest, consumed }, RouteId::PRIMARY)
            });
            let vectors = version.levels.tables().filter_map(move |(_, table)| {
                let vector = table.vector.as_ref()?;
                let (id, name) = (TableId::new(vector.id.get()), FileName::DeleteVector(vector.id));
                let (uuid, len, digest) = (vector.uuid, vector.file_len, vector.digest);
                Some((CutFile { name, id, tree, uuid, len, digest, consumed: 0..0 }, table.route))
            });
            tables.chain(vectors).chain(logs)
        })
    }

    /// The folders they go to.
    pub(super) fn folders(&self) -> Vec<Folder> {
        let separates = self.catalog.trees().any(|(_, version)| version.separates);
        std::iter::once(Folder::Tables).chain(separates.then_some(Folder::Blobs)).collect()
    }
}

impl CutFile {
    /// Whether `wanted` is the very same file, of which no more is needed than this has.
    pub(super) fn holds(&self, wanted: &Self) -> bool {
        self.consumed.end <= wanted.consumed.end
            && *self == Self { consumed: self.consumed.clone(), ..wanted.clone() }
    }

    pub(super) fn into_info(self, method: CopyMethod) -> CheckpointFile {
        let Self { name, id, tree, uuid, len, digest, consumed: _ } = self;
        let kind = match name {
            FileName::ValueLog(_) => FileKind::ValueLog,
            FileName::DeleteVector(_) => FileKind::DeleteVector,
            _ => FileKind::Table,
        };
        CheckpointFile { kind, table: id, tree, uuid, len, digest, method }
    }
}
