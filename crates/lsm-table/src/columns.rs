//! Tables by columns: which ones are written so, and scans of their row groups.

use std::sync::Arc;

use lsm_block::{BlockKind, Handle};
use lsm_columnar::{ColumnSplitter, PageEntry};
use lsm_sst::{BlockRef, ColumnPage, ColumnarOptions, GroupScan, GroupSource, RowGroup, Splitters};
use lsm_types::{Level, Result, Slice};
use parking_lot::Mutex;

use crate::{ReadMode, Table, cache::CachedBlock, source::CursorSource, table::TableInner};

/// Which tables of a tree are written by columns, and what it takes to read them.
#[derive(Clone, Default)]
pub struct ColumnScheme {
    /// Tables placed in this level or a deeper one are written by columns; `None` for no table.
    pub from_level: Option<Level>,
    /// How they are written.
    pub columnar: ColumnarOptions,
    /// The splitters that tables were written with before.
    pub former: Vec<Arc<dyn ColumnSplitter>>,
}

impl ColumnScheme {
    /// How a table placed in `dest` is written, if that is by columns.
    pub(crate) fn options_at(&self, dest: Level) -> Option<ColumnarOptions> {
        self.from_level.is_some_and(|from| from <= dest).then(|| self.columnar.clone())
    }

    /// All splitters, today's first.
    pub(crate) fn splitters(&self) -> Splitters {
        Splitters::new(self.columnar.splitter.iter().chain(&self.former).cloned().collect())
    }
}

impl std::fmt::Debug for ColumnScheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ColumnScheme")
            .field("from_level", &self.from_level)
            .field("columnar", &self.columnar)
            .field("splitters", &self.splitters())
            .finish_non_exhaustive()
    }
}

/// Where the tree says how tables are laid out. The default writes rows.
#[derive(Debug, Default)]
pub struct ColumnDesk(Mutex<Arc<ColumnScheme>>);

impl ColumnDesk {
    /// The scheme for tables that are begun, or opened, from now on.
    pub fn set(&self, scheme: ColumnScheme) {
        *self.0.lock() = Arc::new(scheme);
    }

    /// The scheme as it is.
    pub fn scheme(&self) -> Arc<ColumnScheme> {
        self.0.lock().clone()
    }
}

/// Walks the row groups of a table.
pub type TableGroups = GroupScan<CursorSource>;

impl Table {
    /// Whether the table is laid out in columns, so that it can be scanned by groups.
    ///
    /// # Errors
    /// What opening the table finds.
    pub fn is_columnar(&self) -> Result<bool> {
        Ok(self.layout()?.is_columnar())
    }

    /// A scan of the row groups that belong to the view, those of which all rows are dead left out. Directories and pages come from the cache, and go there, where
    /// the mode fills it; nothing but them is read of the file.
    ///
    /// # Errors
    /// `Unsupported` for a table of rows; what opening the table and reading its index finds.
    pub fn groups(&self, mode: ReadMode) -> Result<TableGroups> {
        let (source, dead) = (self.source(mode, None)?, self.inner.dead()?);
        let groups = source.layout.clone().group_scan(source)?.without(dead);
        groups.above(self.inner.floor.clone())
    }

    /// A scan by groups went over so many rows; a walk over rows says so itself.
    pub fn note_walked(&self, rows: usize) {
        if let Some(vector) = &self.inner.vector {
            vector.note_walked(rows);
        }
    }
}

impl GroupSource for CursorSource {
    fn group(&self, at: BlockRef) -> Result<Arc<RowGroup>> {
        let (table, layout) = (&*self.table, &*self.layout);
        if !self.mode.fills_cache() {
            self.pass(self.directory_guess.get().min(at.handle.len))?;
            return table.read_group(layout, at, &self.directory_guess).map(Arc::new);
        }
        // The block of rows of the group has the place itself; a frame has more than one byte.
        let place = at.handle.offset.saturating_add(1);
        let load =
            || Ok(CachedBlock::Group(Arc::new(table.read_group(layout, at, &self.directory_guess)?)));
        match table.env.cache.get_or_load(table.cache_file, place, load)? {
            CachedBlock::Group(group) => Ok(group),
            _ => Err(table.disagrees("kind of a block").into()),
        }
    }

    fn page(&self, group: &RowGroup, page: &PageEntry) -> Result<Arc<ColumnPage>> {
        let (table, layout) = (&*self.table, &*self.layout);
        // The pages of a small group came with it.
        let Some(handle) = group.page_handle(page) else {
            return self.decode_page(group, page, &Slice::empty());
        };
        let read = || {
            layout.check_page(group, handle)?;
            self.decode_page(group, page, &table.read(handle.offset, handle.len as usize)?)
        };
        if !self.mode.fills_cache() {
            self.pass(handle.len)?;
            return read();
        }
        let cached = || Ok(CachedBlock::Page(read()?));
        match table.env.cache.get_or_load(table.cache_file, handle.offset, cached)? {
            CachedBlock::Page(page) => Ok(page),
            _ => Err(table.disagrees("kind of a block").into()),
        }
    }

    /// Pages side by side that are not in the cache are read at once.
    fn pages(&self, group: &RowGroup, pages: &[&PageEntry]) -> Result<Vec<Arc<ColumnPage>>> {
        let (table, cache) = (&*self.table, &self.table.env.cache);
        let mut found = Vec::with_capacity(pages.len());
        while let Some((page, behind)) = pages.get(found.len()..).and_then(<[_]>::split_first) {
            let handle = group.page_handle(page).filter(|_| self.mode.fills_cache());
            let Some(handle) = handle else {
                found.push(self.page(group, page)?);
                continue;
            };
            match cache.get(table.cache_file, handle.offset) {
                Some(CachedBlock::Page(page)) => found.push(page),
                Some(_) => return Err(table.disagrees("kind of a block").into()),
                None => self.read_run(group, (page, handle), behind, &mut found)?,
            }
        }
        Ok(found)
    }
}

/// Most bytes of pages that are read at once.
const RUN_BYTES_MAX: u32 = 1 << 20;

impl CursorSource {
    fn decode_page(&self, group: &RowGroup, page: &PageEntry, frame: &Slice) -> Result<Arc<ColumnPage>> {
        let decoders = &self.table.env.decoders;
        decoders.with(|decoder| self.layout.decode_page(group, page, frame, decoder)).map(Arc::new)
    }

    /// Adds a page that is missing from the cache to `found`, and with it those of `behind` that lie right behind it in the
    /// file and are missing, too.
    fn read_run(
        &self,
        group: &RowGroup,
        (page, first): (&PageEntry, Handle),
        behind: &[&PageEntry],
        found: &mut Vec<Arc<ColumnPage>>,
    ) -> Result<()> {
        let (table, layout) = (&*self.table, &*self.layout);
        layout.check_page(group, first)?;
        let mut run = vec![(page, first)];
        let mut len = first.len;
        for page in behind {
            let Some(handle) = group.page_handle(page) else { break };
            let is_next = handle.offset == first.offset.saturating_add(len.into());
            let grown = len.saturating_add(handle.len);
            if !is_next || grown > RUN_BYTES_MAX || table.env.cache.contains(table.cache_file, handle.offset)
            {
                break;
            }
            layout.check_page(group, handle)?;
            run.push((page, handle));
            len = grown;
        }
        let bytes = table.read(first.offset, len as usize)?;
        let mut start = 0;
        for (page, handle) in &run {
            let end = start + handle.len as usize;
            // A page that stays in the cache must not keep its neighbours.
            let frame = if run.len() == 1 {
                bytes.clone()
            } else {
                bytes.get(start..end).map(Slice::copy_from).unwrap_or_default()
            };
            let load = || Ok(CachedBlock::Page(self.decode_page(group, page, &frame)?));
            match table.env.cache.get_or_load(table.cache_file, handle.offset, load)? {
                CachedBlock::Page(page) => found.push(page),
                _ => return Err(table.disagrees("kind of a block").into()),
            }
            start = end;
        }
        Ok(())
    }
}

/// Bytes of a directory, as a first guess.
pub(crate) const DIRECTORY_GUESS: u32 = 1 << 10;

impl TableInner {
    /// The directory of a group. How long it is stands at its head: `guess` saves the second read where directories are
    /// alike.
    fn read_group(
        &self,
        layout: &lsm_sst::TableLayout,
        at: BlockRef,
        guess: &std::cell::Cell<u32>,
    ) -> Result<RowGroup> {
        layout.check_ref(BlockKind::DATA, at)?;
        let offset = at.handle.offset;
        let mut bytes = self.read(offset, at.handle.len.min(guess.get()) as usize)?;
        let len = layout.directory_len(at, &bytes)?;
        guess.set(len);
        if bytes.len() < len as usize {
            let rest = self.read(offset.saturating_add(bytes.len() as u64), len as usize - bytes.len())?;
            bytes = Slice::from([&bytes[..], &rest[..]].concat());
        }
        self.env.decoders.with(|decoder| layout.decode_group(at, &bytes, decoder))
    }
}
