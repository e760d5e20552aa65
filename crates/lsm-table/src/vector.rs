//! The delete vector of a table: a file beside it that says which of its rows are dead.
//!
//! It is read when the table is first read, lies in the block cache like a block, and is read again when it was driven
//! out. Views of a table may have different vectors: a reader keeps the one that its view came with. The file goes when
//! the last view of it goes and no version names it.
//!
//! A table is never read without its vector: what is wrong with the vector is wrong with the table.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use lsm_block::{FileIdentity, Handle, LocatorHints, Superblock};
use lsm_columnar::DeleteMap;
use lsm_fs::OpenOptions;
use lsm_manifest::{DirectoryHandle, TableDescriptor, VectorDescriptor};
use lsm_sst::{DeadRows, DeadStretch, DeleteVector, Output};
use lsm_types::{FileKind, FileUuid, Result, RouteId, SeqNo, TableId, VectorId};

use crate::{
    ObsoleteFile, ReadMode, Table, TableEnv, TableError, Throttle, cache::CachedBlock, source::CursorSource,
    staged::NewFile, table::TableInner,
};

impl TableEnv {
    /// The path of a delete vector: it has the name that a table of its number would have, but for the extension.
    pub fn vector_path(&self, vector: VectorId, route: RouteId) -> PathBuf {
        self.path(TableId::new(vector.get()), route).with_extension("dv")
    }

    fn vector_identity(&self, vector: VectorId, uuid: FileUuid) -> FileIdentity {
        let (database, tree) = (self.database, self.tree);
        FileIdentity { kind: FileKind::DeleteVector, file_id: vector.get(), uuid, database, tree }
    }
}

/// The file of a delete vector, which views of a table share.
pub(crate) struct VectorFile {
    env: Arc<TableEnv>,
    pub(crate) descriptor: Arc<VectorDescriptor>,
    table: TableId,
    table_uuid: FileUuid,
    rows: u64,
    route: RouteId,
    /// Its number in the block cache.
    cache_number: u64,
    is_obsolete: AtomicBool,
    /// Rows of the table that scans went over since it has dead ones.
    walked: AtomicU64,
}

impl VectorFile {
    /// The vector that `table` has.
    pub(crate) fn of(env: &Arc<TableEnv>, table: &TableDescriptor) -> Option<Arc<Self>> {
        let descriptor = table.vector.clone()?;
        Some(Arc::new(Self {
            env: env.clone(),
            descriptor,
            table: table.id,
            table_uuid: table.uuid,
            rows: table.counts.entries,
            route: table.route,
            cache_number: env.cache.new_file(),
            is_obsolete: AtomicBool::new(false),
            walked: AtomicU64::new(0),
        }))
    }

    /// That of the next view of a table of which an earlier view has `before`.
    pub(crate) fn after(
        before: Option<&Arc<Self>>,
        env: &Arc<TableEnv>,
        table: &TableDescriptor,
    ) -> Option<Arc<Self>> {
        match before {
            Some(before) if table.vector.as_ref() == Some(&before.descriptor) => Some(before.clone()),
            _ => {
                let new = Self::of(env, table)?;
                let walked = before.map_or(0, |before| before.walked.load(Ordering::Relaxed));
                new.walked.store(walked, Ordering::Relaxed);
                Some(new)
            }
        }
    }

    /// The rows of the vector, from the cache or from its file.
    pub(crate) fn load(&self) -> Result<Arc<DeleteMap>> {
        let cache = &self.env.cache;
        let block = match cache.get(self.cache_number, 0) {
            Some(block) => block,
            None => cache.get_or_load(self.cache_number, 0, || {
                let vector = self.read()?;
                Ok(CachedBlock::Vector(Arc::new(DeleteMap::new(vector.rows))))
            })?,
        };
        match block {
            CachedBlock::Vector(vector) => Ok(vector),
            _ => Err(self.disagrees("kind of a block").into()),
        }
    }

    /// Reads the file and holds it against what the manifest says.
    fn read(&self) -> Result<DeleteVector> {
        let (vector, digest) = self.read_file().map_err(|source| TableError::Vector {
            table: self.table,
            vector: self.descriptor.id,
            source,
        })?;
        if (vector.table, vector.table_uuid, vector.rows.rows()) != (self.table, self.table_uuid, self.rows) {
            return Err(self.disagrees("table of a delete vector").into());
        }
        let expected = (self.descriptor.digest, self.descriptor.cardinality, self.descriptor.watermark);
        if (digest, vector.rows.cardinality(), vector.watermark) != expected {
            return Err(self.disagrees("content of a delete vector").into());
        }
        Ok(vector)
    }

    fn read_file(&self) -> Result<(DeleteVector, u64)> {
        let (env, descriptor) = (&self.env, &self.descriptor);
        let path = env.vector_path(descriptor.id, self.route);
        let file = env.descriptors.make_room_for(|| env.fs.open(&path, &OpenOptions::READ))?;
        let directory = descriptor.directory;
        let hints = LocatorHints {
            identity: Some(env.vector_identity(descriptor.id, descriptor.uuid)),
            directory: Some(Handle { offset: directory.offset, len: directory.len }),
            tail_len: 4 << 10,
            ..LocatorHints::default()
        };
        DeleteVector::read_file(&file.as_ref(), hints, env.encryption.as_ref())
    }

    fn disagrees(&self, what: &'static str) -> TableError {
        TableError::Disagrees { table: self.table, what }
    }

    /// No version names it any more.
    pub(crate) fn mark_obsolete(&self) {
        if !self.is_obsolete.swap(true, Ordering::AcqRel) {
            let file = TableId::new(self.descriptor.id.get());
            self.env.reclaim.note_obsolete(file, self.descriptor.file_len);
        }
    }

    /// A scan went over so many rows.
    pub(crate) fn note_walked(&self, rows: usize) {
        self.walked.fetch_add(rows as u64, Ordering::Relaxed);
    }
}

impl Drop for VectorFile {
    fn drop(&mut self) {
        if *self.is_obsolete.get_mut() {
            let path = self.env.vector_path(self.descriptor.id, self.route);
            let table = TableId::new(self.descriptor.id.get());
            let len = self.descriptor.file_len;
            self.env.reclaim.release(ObsoleteFile { table, path, len });
        }
    }
}

/// A finished and synced delete vector that no version knows yet. Dropping it removes the file.
pub struct StagedVector {
    table: TableId,
    descriptor: Arc<VectorDescriptor>,
    file: NewFile,
}

impl StagedVector {
    /// The table that it is of.
    pub fn table(&self) -> TableId {
        self.table
    }

    /// What the manifest will say about it.
    pub fn descriptor(&self) -> &Arc<VectorDescriptor> {
        &self.descriptor
    }

    /// Where it lies.
    pub fn route(&self) -> RouteId {
        self.file.route
    }

    /// The file stays.
    pub fn keep(self) {
        self.file.keep();
    }
}

impl std::fmt::Debug for StagedVector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StagedVector({} of {})", self.descriptor.id, self.table)
    }
}

impl Table {
    /// Which of its rows are dead, as its delete vector says; `None` for a table without one.
    ///
    /// # Errors
    /// What reading the vector finds: the table cannot be read then.
    pub fn dead(&self) -> Result<Option<Arc<DeleteMap>>> {
        self.inner.dead()
    }

    /// Its delete vector is not the one that a version names any more: its file goes with the last view that has it.
    pub fn mark_vector_obsolete(&self) {
        if let Some(vector) = &self.inner.vector {
            vector.mark_obsolete();
        }
    }

    /// How often scans went over it since it has dead rows, in thousandths of its rows.
    pub fn scans_permille(&self) -> u64 {
        let walked = self.inner.vector.as_ref().map_or(0, |vector| vector.walked.load(Ordering::Relaxed));
        walked.saturating_mul(1000) / self.inner.descriptor.counts.entries.max(1)
    }

    /// The rows that lie in `stretches` with smaller numbers than these say, and those that are dead already. Blocks come
    /// past the cache; `throttle` is asked before each.
    ///
    /// * `stretches`: disjoint and ascending.
    /// * `step`: called before each; its error ends the search.
    ///
    /// `None` for a table that can have no vector, for the number of its rows.
    ///
    /// # Errors
    /// What reading finds; what `throttle` and `step` return.
    pub fn dead_rows(
        &self,
        stretches: &[DeadStretch],
        throttle: Arc<dyn Throttle>,
        step: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Option<DeadRows>> {
        let layout = self.layout()?.clone();
        let known = self.dead()?;
        let source = CursorSource::new(self.inner.clone(), layout.clone(), ReadMode::PICK, Some(throttle));
        layout.dead_rows(&source, stretches, known.as_deref(), self.inner.floor.as_deref(), step)
    }

    /// Writes a delete vector for the table, and syncs it; its name is not durable yet.
    ///
    /// # Errors
    /// What keys and the file system say. Nothing is left of the file then.
    pub fn write_vector(
        &self,
        rows: DeadRows,
        watermark: SeqNo,
        throttle: Option<Arc<dyn Throttle>>,
    ) -> Result<StagedVector> {
        let (env, table) = (&self.inner.env, &self.inner.descriptor);
        let id = VectorId::new(env.ids.next()?.get());
        let mut uuid = [0; 16];
        env.random.fill(&mut uuid);
        let identity = env.vector_identity(id, FileUuid::from_bytes(uuid));
        let created_edit = env.ids.last_edit();
        let superblock = Superblock::new(identity, env.clock.now(), created_edit);
        let head = superblock.begin(env.encryption.as_ref(), |salt| env.random.fill(salt))?;
        let key_id = head.0.sealing.as_ref().map_or(0, |sealing| sealing.key.get());
        let watermark = table.vector.as_ref().map_or(watermark, |before| before.watermark.max(watermark));
        let vector = DeleteVector { table: table.id, table_uuid: table.uuid, watermark, rows: rows.rows };
        let written = vector.encode_file(head)?;
        let path = env.vector_path(id, table.route);
        let place = (TableId::new(id.get()), table.route);
        let (mut file, mut output) = NewFile::create_at(env, place, path, throttle)?;
        output.write(&written.bytes)?;
        drop(output);
        file.sync_and_close()?;
        let descriptor = VectorDescriptor {
            id,
            uuid: identity.uuid,
            file_len: written.bytes.len() as u64,
            digest: written.digest,
            key_id,
            created_edit,
            directory: DirectoryHandle { offset: written.directory.offset, len: written.directory.len },
            cardinality: vector.rows.cardinality(),
            watermark,
        };
        Ok(StagedVector { table: table.id, descriptor: Arc::new(descriptor), file })
    }
}

impl TableInner {
    /// The rows that are dead; `None` where there is no vector.
    #[inline]
    pub(crate) fn dead(&self) -> Result<Option<Arc<DeleteMap>>> {
        match &self.vector {
            None => Ok(None),
            Some(vector) => vector.load().map(Some),
        }
    }
}
