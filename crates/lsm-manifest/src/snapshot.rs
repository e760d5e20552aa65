//! A snapshot: edits that build a catalog from nothing.

use alloc::{sync::Arc, vec::Vec};

use lsm_types::{EditIndex, FileUuid, Level, SeqNo, TreeId};
use xxhash_rust::xxh3::Xxh3Default;

use crate::{
    Catalog, DatabaseEdit, LevelRuns, Record, SnapshotBegin, TableDescriptor, TreeEdit, Version, VersionEdit,
    Watermark,
};

/// Most bytes of a piece of a snapshot, encoded.
pub const SNAPSHOT_CHUNK_MAX: usize = 1 << 20;

impl Catalog {
    /// Edits that, applied in order to an empty catalog, make this one; each encodes to at most
    /// [`SNAPSHOT_CHUNK_MAX`] bytes. Takes time in the number of tables and memory for one edit.
    pub fn snapshot(&self) -> impl Iterator<Item = VersionEdit> + '_ {
        let mut steps = self.steps().peekable();
        core::iter::from_fn(move || {
            let mut edit = VersionEdit::default();
            let mut len = 0;
            while let Some(step) =
                steps.next_if(|step| len == 0 || len + step.len_max() <= SNAPSHOT_CHUNK_MAX)
            {
                len += step.len_max();
                match step {
                    Step::Database(step) => edit.database.push(step),
                    Step::Tree(tree, step) => edit.trees.push((tree, step)),
                }
            }
            (!edit.is_empty()).then_some(edit)
        })
    }

    /// Steps of the database first: they may share an edit with steps of trees only in this order.
    fn steps(&self) -> impl Iterator<Item = Step> + '_ {
        let reserved = (self.reserved_ids > 0).then_some(DatabaseEdit::ReserveIds(self.reserved_ids));
        let created = self.trees.iter().map(|(tree, version)| DatabaseEdit::CreateTree {
            tree: *tree,
            identity: version.identity.clone(),
        });
        let without_sync = self.without_sync.then_some(DatabaseEdit::WithoutSync);
        let routes = self.routes().map(|(route, uuid)| DatabaseEdit::AddRoute { route, uuid });
        let contents = self.trees.iter().flat_map(|(tree, version)| {
            numbers(version)
                .chain(version.schemas.iter().cloned().map(TreeEdit::AddSchema))
                .chain(vlogs(version))
                .chain(levels(version))
                .map(move |step| Step::Tree(*tree, step))
        });
        let exported = self.exported().filter_map(|id| {
            let (tree, _, _) = self.place(id)?;
            Some(Step::Tree(tree, TreeEdit::ExportTable { id }))
        });
        reserved
            .into_iter()
            .chain(without_sync)
            .chain(routes)
            .chain(created)
            .map(Step::Database)
            .chain(contents)
            .chain(exported)
    }
}

enum Step {
    Database(DatabaseEdit),
    Tree(TreeId, TreeEdit),
}

impl Step {
    /// At least the encoded length.
    fn len_max(&self) -> usize {
        /// Tag, length and the numbers of any step.
        const FIXED: usize = 64;
        /// All fields of a value log, each with id and length, numbers at their longest.
        const VLOG_MAX: usize = 256;
        FIXED
            + match self {
                Self::Database(DatabaseEdit::CreateTree { identity, .. }) => identity.comparator.len(),
                Self::Tree(_, TreeEdit::AddTable { table, .. }) => descriptor_len_max(table),
                Self::Tree(_, TreeEdit::AddVlog { .. }) => VLOG_MAX,
                Self::Tree(_, TreeEdit::MergeOperator(name)) => name.len(),
                Self::Tree(_, TreeEdit::AddSchema(schema)) => schema.splitter.len() + schema.schema.len(),
                Self::Tree(_, TreeEdit::Watermark(watermark)) => {
                    watermark.token.as_ref().map_or(0, |token| token.len())
                }
                _ => 0,
            }
    }
}

fn descriptor_len_max(table: &TableDescriptor) -> usize {
    /// All fields but the keys, each with id and length, numbers at their longest.
    const FIXED: usize = 512;
    let entries = table.entries.as_ref().map_or(0, |range| range.min.len() + range.max.len());
    let cut = |key: Option<&lsm_types::Slice>| key.map_or(0, |key| key.len());
    // A number and three sums for each value log.
    let references = table.references.files() * 4 * lsm_types::varint::MAX_LEN;
    let restriction = table.restriction.as_ref().map_or(0, |restriction| restriction.lower.len());
    FIXED
        + restriction
        + references
        + entries
        + cut(table.coverage_start.key())
        + cut(table.coverage_end.key())
}

/// The numbers and names of a tree that are not as in a new one.
fn numbers(version: &Version) -> impl Iterator<Item = TreeEdit> {
    let (floor, changes) = (version.retention_floor, version.changes_from);
    let implied = Version::changes_above(floor);
    let raises = if changes < implied { TreeEdit::RefuseReads } else { TreeEdit::RaiseFloor };
    let is_told = changes > implied || (SeqNo::ZERO < changes && changes < implied);
    let changes = is_told.then_some(TreeEdit::ChangesFrom(changes));
    let floor = (floor > SeqNo::ZERO).then(|| raises(floor));
    let watermark = &version.watermark;
    let watermark = (*watermark != Watermark::default()).then(|| TreeEdit::Watermark(watermark.clone()));
    let operator = version.merge_operator.clone().map(TreeEdit::MergeOperator);
    let separates = version.separates.then_some(TreeEdit::Separate);
    let floors = floor.into_iter().chain(changes);
    let numbers = floors.chain(version.max_seqno.map(TreeEdit::MaxSeqNo)).chain(watermark);
    numbers.chain(operator).chain(separates)
}

fn vlogs(version: &Version) -> impl Iterator<Item = TreeEdit> + '_ {
    let added = version.vlogs.iter().map(|log| TreeEdit::AddVlog { vlog: Arc::clone(&log.vlog) });
    let exported = version.vlogs.iter().filter(|log| log.is_exported);
    let consumed = version.vlogs.iter().filter(|log| log.frontier > 0);
    let consumed = consumed.map(|log| TreeEdit::AdvanceVlog { id: log.vlog.id, frontier: log.frontier });
    added.chain(exported.map(|log| TreeEdit::ExportVlog { id: log.vlog.id })).chain(consumed)
}

fn levels(version: &Version) -> impl Iterator<Item = TreeEdit> + '_ {
    version.levels.iter().flat_map(|(level, runs)| level_steps(level, runs))
}

fn level_steps(level: Level, runs: &LevelRuns) -> impl Iterator<Item = TreeEdit> + '_ {
    runs.runs().iter().flat_map(move |run| {
        let tables = run.tables.iter().map(move |table| TreeEdit::AddTable {
            level,
            run: run.id,
            table: Arc::clone(table),
        });
        core::iter::once(TreeEdit::AddRun { level, run: run.id, age: run.age }).chain(tables)
    })
}

/// Digest over the encoded pieces of a snapshot, in order.
#[derive(Clone, Default)]
pub struct SnapshotDigest {
    state: Xxh3Default,
    chunk_count: u64,
}

impl SnapshotDigest {
    /// Takes the bytes of the next [`crate::Record::SnapshotChunk`].
    pub fn update(&mut self, record: &[u8]) {
        self.state.update(record);
        self.chunk_count += 1;
    }

    /// Number of pieces so far.
    pub fn chunk_count(&self) -> u64 {
        self.chunk_count
    }

    /// The digest so far.
    pub fn value(&self) -> u64 {
        self.state.digest()
    }
}

impl core::fmt::Debug for SnapshotDigest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SnapshotDigest").field("chunk_count", &self.chunk_count).finish_non_exhaustive()
    }
}

/// Hands the encoded records of a snapshot of `catalog` to `emit`, in order, and returns the snapshot's digest.
///
/// * `edit_index`: the last edit that `catalog` includes.
///
/// Memory is for one record; stops at the first error of `emit`.
pub fn write_snapshot<E>(
    catalog: &Catalog,
    database: FileUuid,
    edit_index: EditIndex,
    mut emit: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let begin = SnapshotBegin {
        edit_index,
        database,
        tree_count: u32::try_from(catalog.trees.len()).unwrap_or(u32::MAX),
        table_count: catalog.table_count() as u64,
    };
    let mut digest = SnapshotDigest::default();
    let mut bytes = Vec::new();
    Record::SnapshotBegin(begin).encode(&mut bytes);
    emit(&bytes)?;
    for chunk in catalog.snapshot() {
        bytes.clear();
        Record::SnapshotChunk(chunk).encode(&mut bytes);
        digest.update(&bytes);
        emit(&bytes)?;
    }
    bytes.clear();
    let (chunk_count, digest) = (digest.chunk_count(), digest.value());
    Record::SnapshotEnd { chunk_count, digest }.encode(&mut bytes);
    emit(&bytes)?;
    Ok(digest)
}
