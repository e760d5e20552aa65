//! An open table: what reads hold on to, and what gives the file up when nobody does any more.

use std::{
    ops::Bound,
    sync::{Arc, OnceLock},
};

use lsm_block::{ByteRange, FileIdentity, Handle};
use lsm_manifest::TableDescriptor;
use lsm_sst::{FilterAnswer, OpenOptions, OpenSst, Step, TableLayout, seqno_bounds::BlockBounds};
use lsm_types::{FileKind, KeyHash, Result, SeqNo, Slice, TableId, TombstoneIndex, columns::KeyBuf};

use crate::{
    FilterStats, ReadMode, TableEnv, TableError, Throttle,
    filter_stats::Event,
    filters::TableFilters,
    physical::PhysicalFile,
    source::{CachedSource, CursorSource},
    vector::VectorFile,
};

/// What a point read found: its number, kind and value.
pub use lsm_sst::Found;

/// Walks the entries of a table.
pub type TableCursor = lsm_sst::TableCursor<CursorSource>;

/// A table. Handles are cheap to clone and share it; it is opened when somebody first reads it.
///
/// A table is read through a view: what the manifest says is left of it. Views of one table share its file, whatever each
/// of them leaves out. When the last handle of a table that was marked obsolete goes, the file is given to the
/// environment's [`crate::Reclaim`].
#[derive(Clone)]
pub struct Table {
    pub(crate) inner: Arc<TableInner>,
}

pub(crate) struct TableInner {
    pub(crate) env: Arc<TableEnv>,
    pub(crate) descriptor: Arc<TableDescriptor>,
    /// The file's number in the block cache.
    pub(crate) cache_file: u64,
    /// What the views of the table share.
    pub(crate) file: Arc<PhysicalFile>,
    /// Entries below this key do not belong to the table any more.
    pub(crate) floor: Option<Slice>,
    /// The file that says which rows are dead.
    pub(crate) vector: Option<Arc<VectorFile>>,
    /// Whether bytes in front are given back although the view has not done with them.
    pub(crate) is_passing: bool,
    pub(crate) opened: OnceLock<Opened>,
    pub(crate) tombstones: OnceLock<Arc<TombstoneIndex>>,
    pub(crate) bounds: OnceLock<Option<Arc<BlockBounds>>>,
}

/// What is there once the table was opened.
pub(crate) struct Opened {
    pub(crate) layout: Arc<TableLayout>,
    pub(crate) filters: TableFilters,
}

impl Drop for TableInner {
    fn drop(&mut self) {
        if !self.is_passing {
            self.file.leave(self.descriptor.consumed_bytes());
        }
    }
}

impl Table {
    /// A handle of the table that `descriptor` describes. Reads nothing.
    pub fn new(env: &Arc<TableEnv>, descriptor: Arc<TableDescriptor>) -> Self {
        let file = PhysicalFile::new(env, &descriptor);
        let vector = VectorFile::of(env, &descriptor);
        Self { inner: Arc::new(TableInner::new(env, (file, vector), descriptor)) }
    }

    /// Its number.
    pub fn id(&self) -> TableId {
        self.inner.descriptor.id
    }

    /// What the manifest says about it.
    pub fn descriptor(&self) -> &Arc<TableDescriptor> {
        &self.inner.descriptor
    }

    /// Its smallest key.
    #[inline]
    pub fn min_key(&self) -> Option<&[u8]> {
        self.inner.descriptor.entries.as_ref().map(|range| range.min.as_ref())
    }

    /// Its largest key.
    #[inline]
    pub fn max_key(&self) -> Option<&[u8]> {
        self.inner.descriptor.entries.as_ref().map(|range| range.max.as_ref())
    }

    /// Whether every entry of the table is numbered below `seqno`.
    #[inline]
    pub fn is_older_than(&self, seqno: SeqNo) -> bool {
        self.inner.descriptor.point_seqnos.is_none_or(|numbers| numbers.max < seqno)
    }

    /// Its range tombstones, ready to be searched; `None` without any, which costs no look at the file.
    ///
    /// The first call opens the table; from then on they stay in memory as long as the table has handles.
    ///
    /// # Errors
    /// What opening the table finds: a damaged section of range tombstones is never taken for an empty one.
    #[inline]
    pub fn tombstones(&self) -> Result<Option<&Arc<TombstoneIndex>>> {
        if self.inner.descriptor.counts.range_tombstones == 0 {
            return Ok(None);
        }
        if let Some(index) = self.inner.tombstones.get() {
            return Ok(Some(index));
        }
        let layout = self.layout()?;
        let order = &self.inner.env.order;
        let build = || {
            let all = layout.range_tombstones().iter();
            let left = all.filter_map(|tombstone| self.inner.clip(tombstone, order)).collect();
            Arc::new(TombstoneIndex::new(left, order.clone()))
        };
        Ok(Some(self.inner.tombstones.get_or_init(build)))
    }

    /// No version names the table any more: the file goes with the last handle.
    pub fn mark_obsolete(&self) {
        self.inner.file.mark_obsolete();
        self.mark_vector_obsolete();
    }

    /// Reads bytes of the file as they are; what is returned may be short at its end. For copies.
    ///
    /// # Errors
    /// What opening or reading the file finds.
    pub fn read_raw(&self, offset: u64, len: usize) -> Result<Slice> {
        let left = self.inner.descriptor.file_len.saturating_sub(offset);
        self.inner.read(offset, len.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }

    /// The newest version of `key` numbered below `before`; `hash` is that of `key`.
    ///
    /// # Errors
    /// What reading and checking blocks finds, `Corruption` among it.
    #[inline]
    pub fn get(&self, key: &[u8], hash: KeyHash, before: SeqNo) -> Result<Option<Found>> {
        if self.inner.is_below_floor(key) {
            return Ok(None);
        }
        let Opened { layout, filters } = self.inner.opened()?;
        let source = CachedSource { table: &self.inner, layout, filters };
        match self.inner.dead()? {
            None => layout.get_within(&source, hash, key, before),
            Some(dead) => layout.get_live(&source, (hash, key, before), &dead),
        }
    }

    /// Whether an entry may have a key in a range that starts at `lower`; `prefix` is the hash of a prefix that all
    /// keys of the range have, and that the tree's extractor names for each of them.
    ///
    /// Says yes when in doubt; what stands in the way of the answer shows when the table is read.
    pub fn may_hold(&self, prefix: KeyHash, lower: Bound<&[u8]>) -> bool {
        let lower = self.inner.clamp(lower);
        let Ok(Opened { layout, filters }) = self.inner.opened() else { return true };
        let source = CachedSource { table: &self.inner, layout, filters };
        let answer = layout.ask_prefix(&source, prefix, lower);
        match answer {
            FilterAnswer::Absent => filters.counters.count(Event::PrefixNegative),
            FilterAnswer::Maybe => filters.counters.count(Event::PrefixMaybe),
            FilterAnswer::Unusable => {}
        }
        answer != FilterAnswer::Absent
    }

    /// How its filters did since it was opened; nothing for a table that nobody read.
    pub fn filter_stats(&self) -> FilterStats {
        self.inner.opened.get().map_or_else(FilterStats::default, |opened| opened.filters.stats())
    }

    /// A cursor over all entries, standing on none.
    ///
    /// # Errors
    /// What opening the table finds.
    pub fn cursor(&self, mode: ReadMode) -> Result<TableCursor> {
        self.throttled_cursor(mode, None)
    }

    /// A cursor over all entries that are stored, dead ones as well: for accounts of what the file refers to.
    ///
    /// # Errors
    /// What opening the table finds.
    pub fn stored_cursor(&self, mode: ReadMode) -> Result<TableCursor> {
        let source = self.source(mode, None)?;
        Ok(source.layout.clone().cursor(source).above(self.inner.floor.clone()).lazy())
    }

    /// As [`Table::cursor`]; `throttle` is asked before each block that is read past the cache.
    pub(crate) fn throttled_cursor(
        &self,
        mode: ReadMode,
        throttle: Option<Arc<dyn Throttle>>,
    ) -> Result<TableCursor> {
        let (source, dead) = (self.source(mode, throttle)?, self.inner.dead()?);
        Ok(source.layout.clone().cursor(source).above(self.inner.floor.clone()).without(dead).lazy())
    }

    /// Takes `cursor`, which walked another table of the tree, over to this one. It stands on nothing then, and makes no
    /// buffers anew.
    ///
    /// # Errors
    /// What opening the table finds; the cursor stays with the other one.
    pub fn take_over(&self, cursor: &mut TableCursor) -> Result<()> {
        let (mode, throttle) = (cursor.source().mode, cursor.source().throttle.clone());
        let (source, dead) = (self.source(mode, throttle)?, self.inner.dead()?);
        cursor.replace(source.layout.clone(), source, self.inner.floor.clone());
        if dead.is_some() {
            cursor.pass_over(dead);
        }
        Ok(())
    }

    pub(crate) fn source(&self, mode: ReadMode, throttle: Option<Arc<dyn Throttle>>) -> Result<CursorSource> {
        Ok(CursorSource::new(self.inner.clone(), self.layout()?.clone(), mode, throttle))
    }

    /// Keys of the index root, ascending, each with about as many bytes of the file as lie between it and the one before.
    ///
    /// # Errors
    /// What opening the table finds.
    pub fn samples(&self) -> Result<Vec<(Slice, u64)>> {
        let (layout, floor) = (self.layout()?, self.inner.floor.as_deref());
        let root = layout.root();
        let first = floor.map_or(0, |floor| root.find(layout.order(), floor, SeqNo::LATEST));
        let share = self.descriptor().file_len / root.entries().max(1) as u64;
        let mut key = KeyBuf::new();
        let keys = (first..root.entries()).map(|entry| {
            key.reset();
            root.separator(entry, &mut key);
            (Slice::copy_from(key.as_slice()), share)
        });
        Ok(keys.collect())
    }

    /// The opened table: its metadata, checked against what the manifest says.
    ///
    /// # Errors
    /// What reading and checking the metadata finds.
    #[inline]
    pub fn layout(&self) -> Result<&Arc<TableLayout>> {
        Ok(&self.inner.opened()?.layout)
    }
}

impl TableInner {
    /// A view that nobody has opened.
    pub(crate) fn new(
        env: &Arc<TableEnv>,
        (file, vector): (Arc<PhysicalFile>, Option<Arc<VectorFile>>),
        descriptor: Arc<TableDescriptor>,
    ) -> Self {
        file.enter(descriptor.consumed_bytes());
        Self {
            env: env.clone(),
            cache_file: file.cache_number,
            file,
            floor: descriptor.restriction.as_ref().map(|restriction| restriction.lower.clone()),
            vector,
            is_passing: false,
            descriptor,
            opened: OnceLock::new(),
            tombstones: OnceLock::new(),
            bounds: OnceLock::new(),
        }
    }

    #[inline]
    pub(crate) fn opened(&self) -> Result<&Opened> {
        match self.opened.get() {
            Some(opened) => Ok(opened),
            None => self.open(),
        }
    }

    /// The same without opening it.
    #[inline]
    pub(crate) fn opened_already(&self) -> Option<&Opened> {
        self.opened.get()
    }

    #[cold]
    fn open(&self) -> Result<&Opened> {
        let (mut opening, mut range) = self.start_opening()?;
        loop {
            let bytes = self.read(range.offset, usize::try_from(range.len).unwrap_or(usize::MAX))?;
            match opening.feed(bytes)? {
                Step::Need(next) => range = next,
                Step::Done(layout) => return self.install(layout),
            }
        }
    }

    /// The machine that opens the table, and what it wants to read first. It asks only for what lies in the file, in
    /// pieces no longer than a section may be.
    pub(crate) fn start_opening(&self) -> Result<(OpenSst, ByteRange)> {
        let descriptor = &self.descriptor;
        let mut options = OpenOptions::new(self.env.order.clone());
        options.encryption.clone_from(&self.env.encryption);
        options.splitters = self.env.columns.scheme().splitters();
        options.hints.identity = Some(FileIdentity {
            kind: FileKind::Table,
            file_id: descriptor.id.get(),
            uuid: descriptor.uuid,
            database: self.env.database,
            tree: self.env.tree,
        });
        let directory = descriptor.directory;
        options.hints.directory = Some(Handle { offset: directory.offset, len: directory.len });
        if descriptor.tail_len > 0 {
            options.hints.tail_len = descriptor.tail_len.into();
        }
        OpenSst::start(descriptor.file_len, options)
    }

    /// Takes what the machine found.
    pub(crate) fn install(&self, layout: Box<TableLayout>) -> Result<&Opened> {
        self.compare(&layout)?;
        let layout: Arc<TableLayout> = Arc::from(layout);
        for detour in layout.detours() {
            let table = self.descriptor.id;
            tracing::warn!(%table, %detour, "metadata of a table is damaged; a copy was used, or none");
        }
        let filters = TableFilters::new(&layout, &self.env);
        Ok(self.opened.get_or_init(|| Opened { layout, filters }))
    }

    /// Holds what the table says about itself against the manifest.
    fn compare(&self, layout: &TableLayout) -> Result<(), TableError> {
        let descriptor = &self.descriptor;
        if layout.entries() != descriptor.counts.entries {
            return Err(self.disagrees("number of entries"));
        }
        if layout.range_tombstones().len() as u64 != descriptor.counts.range_tombstones {
            return Err(self.disagrees("number of range tombstones"));
        }
        if layout.properties().global_seqno != descriptor.global_seqno {
            return Err(self.disagrees("global number"));
        }
        let keys = layout.properties().keys.as_ref();
        let expected = descriptor.entries.as_ref().map(|range| (&range.min, &range.max));
        let is_same = match (&self.floor, keys, expected) {
            (None, keys, expected) => keys.map(|(min, max)| (min, max)) == expected,
            (Some(_), Some((_, max)), Some((_, expected))) => max == expected,
            (Some(_), _, expected) => expected.is_none(),
        };
        if !is_same {
            return Err(self.disagrees("key range"));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({})", self.id())
    }
}
