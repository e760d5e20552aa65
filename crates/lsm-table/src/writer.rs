//! The one way in which tables come to be: flush, compaction and ingestion write through here.

use std::sync::Arc;

use lsm_block::Superblock;
use lsm_columnar::RowCells;
use lsm_sst::{FileLen, PrefixFilterOptions, SlicePart, TableBuilder};
use lsm_types::{Cut, EntryRef, KeyOrder, Kind, Level, RangeTombstone, Result, Slice, Spawner, TableId};

use crate::{
    StagedTable, StagedVlog, SuspendedTable, TableEnv, Throttle, VlogEnv, VlogWriter,
    helper::Help,
    staged::{FileOutput, NewFile},
    suspended::complete,
};

/// Writes entries, in internal order, into tables, one after another; the caller says where a table ends. Where the
/// tree has key domains, a table ends with its domain, too.
///
/// Where the tree separates values, long ones go to value logs on the way, and the tables get the way there.
///
/// Dropping the writer removes what it wrote.
pub struct MultiWriter {
    env: Arc<TableEnv>,
    level: Level,
    dest: Level,
    level_count: u8,
    inputs: Vec<TableId>,
    slice: Option<SliceInputs>,
    syncs_later: bool,
    throttle: Option<Arc<dyn Throttle>>,
    separator: Option<Separator>,
    help: Option<Help>,
    open: Option<OpenTable>,
    done: Vec<StagedTable>,
}

struct OpenTable {
    builder: TableBuilder<FileOutput>,
    file: NewFile,
    superblock: Superblock,
    /// Length of the file as it was estimated last; exact, or what is known of it while blocks are compressed elsewhere.
    file_len: FileLen,
    /// Bytes of keys and values after which it is estimated again.
    until_estimate: u64,
    /// First key after the domain of the table's keys; `None` before the first key, and in the last domain.
    domain_end: Option<Slice>,
}

impl OpenTable {
    #[cold]
    fn exact_file_len(&mut self) -> Result<u64> {
        let exact = self.builder.noted_file_len()?;
        self.file_len = FileLen { least: exact, most: exact };
        Ok(exact)
    }
}

/// Where long values go.
struct Separator {
    env: Arc<VlogEnv>,
    logs: VlogWriter,
}

impl Separator {
    #[inline]
    fn takes(&self, value: &[u8], dest: Level) -> bool {
        self.env.policy.threshold(dest).is_some_and(|threshold| threshold <= value.len())
    }
}

/// What the tables of a slice take the place of.
struct SliceInputs {
    /// Each with the place where it begins.
    inputs: Vec<(TableId, Cut)>,
    /// Returns when the slice before it is durable.
    before: Arc<dyn Fn() -> Result<()> + Send + Sync>,
    /// Where the slice ends, once that is known.
    border: Option<Cut>,
}

impl SliceInputs {
    /// What is noted in a table that ends now, after `last_key`: an input that begins further right is as it was.
    fn part(&self, before: Vec<TableId>, last_key: Option<&[u8]>, order: &KeyOrder) -> SlicePart {
        let is_reached = |start: &Cut| match (&self.border, last_key) {
            (Some(border), _) => start.compare(border, order).is_lt(),
            (None, Some(last)) => start.is_left_of(last, order),
            (None, None) => false,
        };
        let reached = self.inputs.iter().filter(|(_, start)| is_reached(start));
        let mut inputs: Vec<TableId> = reached.map(|(id, _)| *id).collect();
        inputs.sort_unstable();
        SlicePart { inputs, before, border: self.border.clone() }
    }
}

/// Bytes of keys and values between two estimates of the length of a file: about a block.
const ESTIMATE_EVERY: u64 = 4 << 10;

impl MultiWriter {
    /// A writer of tables as the settings for `level`, of `level_count` levels, say.
    pub fn new(env: &Arc<TableEnv>, level: Level, level_count: u8) -> Self {
        let (inputs, done) = (Vec::new(), Vec::new());
        Self {
            env: env.clone(),
            level,
            dest: level,
            level_count,
            inputs,
            slice: None,
            syncs_later: false,
            throttle: None,
            separator: None,
            help: None,
            open: None,
            done,
        }
    }

    /// The same writer; `throttle` is asked before each piece that is written.
    pub fn throttled(mut self, throttle: Arc<dyn Throttle>) -> Self {
        let ask = |separator: Separator| Separator {
            logs: separator.logs.throttled(throttle.clone()),
            ..separator
        };
        self.separator = self.separator.map(ask);
        self.throttle = Some(throttle);
        self
    }

    /// The same writer; values go to value logs from the length on that their policy says for the level the tables are
    /// placed in. Without an environment all stay in tables.
    pub fn separating(mut self, env: Option<&Arc<VlogEnv>>) -> Self {
        self.separator = env.map(|env| Separator {
            env: env.clone(),
            logs: match &self.throttle {
                Some(throttle) => VlogWriter::new(env).throttled(throttle.clone()),
                None => VlogWriter::new(env),
            },
        });
        self
    }

    /// The same writer; a thread of `threads`, when one comes, compresses blocks for it. The tables are the same.
    pub fn helped_by(mut self, threads: Option<Arc<dyn Spawner>>) -> Self {
        self.help = threads.map(Help::new);
        self
    }

    /// Notes in every table which ones all of them together replace.
    pub fn replacing(mut self, inputs: Vec<TableId>) -> Self {
        self.inputs = inputs;
        self
    }

    /// Notes in every table that all of them together take the place of what these tables hold up to the border with which
    /// [`MultiWriter::finish_slice`] ends; each with the place where it begins.
    ///
    /// * `before`: called before a table is ended, and returns when the slice before this one is durable: the table says
    ///   so, and until it does nobody can take its file for a table. An error ends the writer.
    pub fn slicing(
        mut self,
        inputs: Vec<(TableId, Cut)>,
        before: Arc<dyn Fn() -> Result<()> + Send + Sync>,
    ) -> Self {
        self.slice = Some(SliceInputs { inputs, before, border: None });
        self
    }

    /// The same writer; the table and the value log that it ends last are left to the caller to be synced
    /// ([`StagedTable::sync`], [`StagedVlog::sync`]).
    pub fn syncing_later(mut self) -> Self {
        self.syncs_later = true;
        self
    }

    /// The same writer, for tables that are placed in `dest`: decides about filters. Default: the level.
    pub fn dest(mut self, dest: Level) -> Self {
        self.dest = dest;
        self
    }

    /// Adds an entry to the open table, which it begins where there is none.
    ///
    /// # Errors
    /// `OutOfOrder`, limits, and what the file system says; after that the writer can only be dropped.
    #[inline]
    pub fn add(&mut self, entry: EntryRef<'_>) -> Result<()> {
        self.add_with(entry, None)
    }

    /// Adds a put whose value is taken apart already: `cells` are what the splitter of the tree makes of it.
    ///
    /// # Errors
    /// As [`MultiWriter::add`].
    pub fn add_split(&mut self, entry: EntryRef<'_>, cells: &RowCells) -> Result<()> {
        debug_assert!(entry.kind == Kind::Put, "only values have cells");
        self.add_with(entry, Some(cells))
    }

    #[inline]
    fn add_with(&mut self, entry: EntryRef<'_>, cells: Option<&RowCells>) -> Result<()> {
        if self.env.domains.is_some() {
            self.enter_domain(entry.key)?;
        }
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        let handle;
        let entry = match &mut self.separator {
            Some(separator) if entry.kind == Kind::Put && separator.takes(entry.value, self.dest) => {
                handle = separator.logs.add(entry.key, entry.seqno, entry.value)?.encode();
                EntryRef { kind: Kind::Indirection, value: &handle, ..entry }
            }
            _ => entry,
        };
        let Some(open) = &mut self.open else { return Ok(()) };
        match cells.filter(|_| entry.kind == Kind::Put) {
            Some(cells) => open.builder.add_split(entry.key, entry.seqno, entry.value, cells)?,
            None => open.builder.add(entry.key, entry.seqno, entry.kind, entry.value)?,
        }
        let bytes = (entry.key.len() + entry.value.len()) as u64;
        open.until_estimate = open.until_estimate.saturating_sub(bytes);
        if open.until_estimate == 0 {
            open.until_estimate = ESTIMATE_EVERY;
            open.file_len = open.builder.note_file_len();
        }
        Ok(())
    }

    /// Adds a range tombstone to the open table, which it begins where there is none; these come in any order.
    ///
    /// # Errors
    /// Limits, and what the file system says.
    pub fn add_tombstone(&mut self, tombstone: RangeTombstone) -> Result<()> {
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.builder.add_range_tombstone(tombstone)
    }

    /// The first key after the domain of the open table, when `key` lies beyond it: the table ends before `key`.
    #[inline]
    pub fn domain_ends_before(&self, key: &[u8]) -> Option<&Slice> {
        let end = self.open.as_ref()?.domain_end.as_ref()?;
        self.env.order.compare(end, key).is_le().then_some(end)
    }

    /// Ends the open table when `key` lies beyond its domain, and notes the domain of a table that `key` begins.
    fn enter_domain(&mut self, key: &[u8]) -> Result<()> {
        if self.domain_ends_before(key).is_some() {
            self.end_table()?;
        }
        let env = self.env.clone();
        let Some(domains) = &env.domains else { return Ok(()) };
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        if let Some(open) = &mut self.open
            && open.builder.last_key().is_none()
        {
            // A domain that ends before its own key is no domain.
            let end = domains.end_of(key).filter(|end| env.order.compare(key, end).is_lt());
            open.domain_end = end;
        }
        Ok(())
    }

    /// The user key added last to the open table; `None` when none is open.
    #[inline]
    pub fn last_key(&self) -> Option<&[u8]> {
        self.open.as_ref()?.builder.last_key()
    }

    /// Whether a table is open.
    #[inline]
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the open table's file would come to `len` bytes at least, as of a block or so ago: the same whether
    /// somebody helps or not. A table that is just begun has one byte, and none has nothing.
    ///
    /// # Errors
    /// What the file system says: blocks that a helper has may be written first.
    #[inline]
    pub fn open_reaches(&mut self, len: u64) -> Result<bool> {
        let Some(open) = &mut self.open else { return Ok(len == 0) };
        if open.file_len.most < len {
            return Ok(false);
        }
        Ok(open.file_len.least >= len || open.exact_file_len()? >= len)
    }

    /// What the files of all its tables and value logs come to, those open a block or so behind: the same whether
    /// somebody helps or not.
    ///
    /// # Errors
    /// What the file system says: blocks that a helper has may be written first.
    pub fn written_len(&mut self) -> Result<u64> {
        let open = match &mut self.open {
            Some(open) if open.file_len.least < open.file_len.most => open.exact_file_len()?,
            Some(open) => open.file_len.least,
            None => 0,
        };
        let done: u64 = self.done.iter().map(|table| table.descriptor().file_len).sum();
        Ok(open + done + self.separator.as_ref().map_or(0, |separator| separator.logs.written_len()))
    }

    /// Ends the open table: versions of one user key stay together when the caller does so between two of them.
    ///
    /// # Errors
    /// What the file system says.
    pub fn end_table(&mut self) -> Result<()> {
        self.end_unsynced()?.map_or(Ok(()), StagedTable::sync)
    }

    /// Ends the open table, and leaves it to the caller to sync it.
    fn end_unsynced(&mut self) -> Result<Option<&mut StagedTable>> {
        let Some(OpenTable { mut builder, file, superblock, .. }) = self.open.take() else { return Ok(None) };
        if builder.is_empty() {
            return Ok(None); // what was to come was refused: the file goes
        }
        if let Some(slice) = &self.slice {
            // The bounds that the slice before this one has set are durable by now, if they were not when the table began.
            (slice.before)()?;
            builder.set_taken_over(self.env.lineage.taken_over(self.env.reclaim.obsolete()));
            let before = self.done.iter().map(|table| table.descriptor().id).collect();
            builder.set_slice(slice.part(before, builder.last_key(), &self.env.order));
        }
        let finished = builder.finish()?;
        self.done.push(complete(&self.env, file, &superblock, finished));
        Ok(self.done.last_mut())
    }

    /// Tables that are begun from now on are written for `level` and placed there.
    pub fn retarget(&mut self, level: Level) {
        (self.level, self.dest) = (level, level);
    }

    /// Where tables go, and the settings they are written with.
    pub(crate) fn target(&self) -> (Arc<TableEnv>, Level, u8) {
        (self.env.clone(), self.level, self.level_count)
    }

    /// Ends the open table but for the number that is added to its local ones; `None` when none is open.
    ///
    /// * `is_last`: more tables do not come; the file stays open, and is synced when the table is finished. Others are
    ///   synced and closed here.
    ///
    /// # Errors
    /// What the file system says.
    pub fn suspend_table(&mut self, is_last: bool) -> Result<Option<SuspendedTable>> {
        let Some(OpenTable { builder, file, superblock, .. }) = self.open.take() else { return Ok(None) };
        if builder.is_empty() {
            return Ok(None);
        }
        let mut table = SuspendedTable { ended: builder.end()?, file, superblock, env: self.env.clone() };
        if !is_last {
            table.sync_and_close()?;
        }
        Ok(Some(table))
    }

    /// Ends the last table; all tables in key order, and the value logs with what they lead to. The files are synced,
    /// unless the last are left for later; their names not yet.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(mut self) -> Result<(Vec<StagedTable>, Vec<StagedVlog>)> {
        if self.syncs_later {
            self.end_unsynced()?;
        } else {
            self.end_table()?;
        }
        let vlogs = self.end_vlogs()?;
        Ok((std::mem::take(&mut self.done), vlogs))
    }

    /// As [`MultiWriter::finish`], for a slice that ends just before a key, or at the end of everything.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish_slice(mut self, border: Cut) -> Result<(Vec<StagedTable>, Vec<StagedVlog>)> {
        if let Some(slice) = &mut self.slice {
            slice.border = Some(border);
        }
        self.finish()
    }

    /// Ends the value logs, synced, their names not yet. No entries come any more.
    ///
    /// # Errors
    /// What the file system says.
    pub fn end_vlogs(&mut self) -> Result<Vec<StagedVlog>> {
        let Some(Separator { logs, .. }) = self.separator.take() else { return Ok(Vec::new()) };
        if self.syncs_later { logs.finish_unsynced() } else { logs.finish() }
    }

    fn begin(&self) -> Result<OpenTable> {
        let env = &self.env;
        let id = env.ids.next()?;
        let (superblock, transforms) = env.begin(id)?;
        let (file, output) =
            NewFile::create(env, (id, env.routes.of_level(self.dest)), self.throttle.clone())?;
        let mut options = env.policy.build_options(&env.order, self.level, self.level_count);
        options.inputs.clone_from(&self.inputs);
        options.taken_over = Some(env.lineage.taken_over(env.reclaim.obsolete()));
        options.columnar = env.columns.scheme().options_at(self.dest);
        let scene = env.filters.scene();
        options.filter = env.policy.key_filter(&scene, self.dest, self.level_count);
        if let Some(extractor) = &env.prefix_extractor {
            let filter = env.policy.prefix_filter(&scene, self.dest, self.level_count);
            let extractor = extractor.clone();
            options.prefix_filter = filter.map(|filter| PrefixFilterOptions { filter, extractor });
        }
        let mut builder = TableBuilder::with_transforms((superblock.clone(), transforms), options, output)?;
        if let Some(help) = &self.help {
            builder.compress_through(help.queue());
        }
        // At least one byte: a table is begun.
        Ok(OpenTable {
            builder,
            file,
            superblock,
            file_len: FileLen { least: 1, most: 1 },
            until_estimate: ESTIMATE_EVERY,
            domain_end: None,
        })
    }
}
