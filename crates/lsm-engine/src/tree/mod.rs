//! One LSM tree with explicit sequence numbers: the caller numbers writes and decides what is visible.

mod changes;
mod clear;
mod compact;
mod durable;
mod filters;
mod flush;
mod hold;
mod ingest;
mod publish;
mod range_delete;
mod rekey;
mod replay;
mod restrict;
mod stats;
mod verify;
mod vlog_stats;
mod write;

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use lsm_compaction_executor::{BusyTables, Cancel};
use lsm_compaction_planner::{DeleteStrategy, OutputSpec, ValuesView};
use lsm_manifest::Version;
use lsm_table::{Table, TableEnv, ValueLog, VlogEnv};
use lsm_types::{
    CompactionFilterFactory, Comparator, KeyOrder, MergeOperator, Result, SeqNo, Slice, TableId,
    TombstoneIndex, TreeId,
};
use parking_lot::{Mutex, RwLock};

pub use changes::ChangeFollower;
pub(crate) use changes::WriteBar;
pub use durable::{Persisted, Unflushed};
pub use flush::FlushReport;
pub use hold::HoldGuard;
pub use ingest::{IngestOptions, IngestReport, Ingestion};
pub(crate) use range_delete::{check_prefix, span};
pub use rekey::RekeyReport;
pub use replay::Replayed;
pub use stats::{FilterLevelStats, LevelStats, TreeStats};
pub use vlog_stats::{ValueLogStats, VlogStats};
pub use write::WriteInfo;

use crate::{
    CloseHandle, ColumnPolicy, DeletionHold, EngineError, OpenReport, Token, TreeOptions, View, WeakDeletes,
    holders::Holders,
    holds::Holds,
    memtables::Position,
    operator::Contained,
    reader::{ReadPoint, Reader},
    relocation::Relocations,
    store::StoreInner,
    super_version::SuperVersion,
    tickets::Tickets,
};
use publish::Publisher;

/// One LSM tree. No log, no publishing: the caller assigns sequence numbers and decides what is visible.
///
/// Handles are cheap to clone and share the tree. Reads go through [`View`]s, or through [`Reader`] on the tree
/// itself, which reads the newest state.
#[derive(Clone)]
pub struct Tree {
    pub(crate) inner: Arc<TreeInner>,
}

pub(crate) struct TreeInner {
    pub(crate) id: TreeId,
    pub(crate) store: Arc<StoreInner>,
    /// Whether the store was opened for this tree and is closed with it.
    owns_store: bool,
    pub(crate) order: KeyOrder,
    pub(crate) comparator: Arc<dyn Comparator>,
    /// Folds merge operands; never panics.
    pub(crate) operator: Option<Arc<dyn MergeOperator>>,
    /// Looks at what is compacted.
    compaction_filter: Option<Arc<dyn CompactionFilterFactory>>,
    /// Weak deletes are written as ordinary ones.
    strict_weak_deletes: bool,
    pub(crate) env: Arc<TableEnv>,
    /// Where long values go; `None` for a tree that keeps them in tables.
    pub(crate) vlogs: Option<Arc<VlogEnv>>,
    pub(crate) relocations: Relocations,
    /// What becomes of rows that deletes of ranges have killed, by level.
    pub(crate) delete_strategies: Vec<DeleteStrategy>,
    /// What values are split into; `None` for a tree without columns.
    pub(crate) columns: Option<ColumnPolicy>,
    pub(crate) table_target_bytes: u64,
    /// What reads pin.
    pub(crate) current: ArcSwap<SuperVersion>,
    /// Serialises the makers of super versions; held for memory work only.
    publisher: Mutex<Publisher>,
    pub(crate) holds: Holds,
    /// Super versions of before that somebody still reads.
    pub(crate) holders: Holders,
    /// Numbers whose writes are on their way.
    pub(crate) tickets: Arc<Tickets>,
    /// Log positions of flushed memtables that the watermark has not reached yet, oldest first.
    positions: Mutex<Vec<Position>>,
    /// One above the highest number ever written; 0 for an empty tree.
    visible_end: AtomicU64,
    /// That of the newest super version, once it is published.
    pub(crate) overtaken_count: AtomicU64,
    pub(crate) busy: BusyTables,
    /// One flush at a time, in the order of sealing.
    flushing: Mutex<()>,
    /// The watermark, and the address of the version, when tables were last looked for that lie under range tombstones.
    /// An address that is used again costs a look that is put off to the next change, nothing else.
    looked_for_covered: Mutex<Option<(SeqNo, usize)>>,
    /// The range tombstones of these tables, those of all that held some when a compaction was last planned.
    deletes_of_tables: Mutex<Option<(Vec<PartOfTable>, Arc<TombstoneIndex>)>>,
    /// Compactions hold it shared, exclusive operations alone.
    compacting: RwLock<()>,
    /// Ingestions hold it shared while they become part of the tree, a clear alone.
    ingesting: RwLock<()>,
    /// Raised when the tree closes; every job is a child of it.
    pub(crate) stop: Cancel,
    pub(crate) counters: stats::Counters,
    last_level_reads: filters::LastLevelReads,
}

/// A table, and the key from which on it is left.
type PartOfTable = (TableId, Option<Slice>);

/// A frozen memtable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// Its number; grows by one with each memtable.
    pub id: u64,
    /// Bytes it takes in memory.
    pub bytes: u64,
    /// Smallest number in it.
    pub min_seqno: SeqNo,
    /// Largest number in it.
    pub max_seqno: SeqNo,
    /// The log position that the caller gave, or has replayed.
    pub token: Option<Token>,
}

impl Tree {
    /// Opens or creates a tree that has its directory for itself.
    ///
    /// # Errors
    /// `Locked` when somebody else has it open; `ComparatorMismatch` and `OptionMismatch` when it was created
    /// otherwise; `NotFound` and `AlreadyExists` as the mode says; everything recovery may find (see
    /// [`crate::Store::open`]). An open that fails changes nothing.
    #[expect(clippy::needless_pass_by_value, reason = "options are made for one open")]
    pub fn open(options: TreeOptions) -> Result<Self> {
        let store = crate::Store::open_for(options.store.clone(), &options)?;
        store.start_tree(TreeId::new(0), &options, true)
    }

    pub(crate) fn start(
        id: TreeId,
        store: Arc<StoreInner>,
        owns_store: bool,
        options: &TreeOptions,
        (env, vlogs): (Arc<TableEnv>, Option<Arc<VlogEnv>>),
        version: &Version,
    ) -> Self {
        let order = KeyOrder::new(options.comparator.clone());
        let contain = |operator: &Arc<_>| Arc::new(Contained(Arc::clone(operator))) as Arc<dyn MergeOperator>;
        let operator = options.merge_operator.as_ref().map(contain);
        let (publisher, current) = Publisher::start(version, &env, vlogs.as_ref(), &order);
        // A crash may have come before this was done.
        current.restricted().for_each(Table::release_consumed);
        current.vlogs.iter().for_each(ValueLog::release_consumed);
        env.lineage.set_restricted(current.restricted().map(Table::descriptor).map(AsRef::as_ref));
        let end = version.max_seqno.map_or(SeqNo::ZERO, SeqNo::next);
        let tickets = Arc::new(Tickets::after_recovery(version.watermark.seqno, end));
        // A number below the watermark would not be replayed: none is given out again.
        // One at or below the floor was there when a filter changed what reads up to it see.
        let floor = version.retention_floor;
        let past_floor = if floor > SeqNo::ZERO { floor.next() } else { floor };
        let visible_end = end.max(version.watermark.seqno).max(past_floor).get();
        Self {
            inner: Arc::new(TreeInner {
                id,
                store,
                owns_store,
                order,
                comparator: options.comparator.clone(),
                operator,
                compaction_filter: options.compaction_filter.clone(),
                strict_weak_deletes: options.weak_deletes == WeakDeletes::Strict,
                env,
                vlogs,
                relocations: Relocations::new(options.relocation),
                delete_strategies: options.delete_strategies.clone(),
                columns: options.columns.clone(),
                table_target_bytes: options.table_target_bytes,
                current: ArcSwap::from_pointee(current),
                publisher: Mutex::new(publisher),
                holds: Holds::default(),
                holders: Holders::default(),
                tickets,
                positions: Mutex::default(),
                visible_end: AtomicU64::new(visible_end),
                overtaken_count: AtomicU64::new(0),
                busy: BusyTables::default(),
                flushing: Mutex::new(()),
                looked_for_covered: Mutex::new(None),
                deletes_of_tables: Mutex::new(None),
                compacting: RwLock::new(()),
                ingesting: RwLock::new(()),
                stop: Cancel::new(),
                counters: stats::Counters::default(),
                last_level_reads: filters::LastLevelReads::default(),
            }),
        }
    }

    /// A view of everything written so far.
    pub fn view(&self) -> View {
        loop {
            let before = self.inner.visible_end();
            let pinned = self.inner.current.load_full();
            // While the bound stays, no write has returned in between: what lies below it is in what was pinned, range
            // tombstones included. What the watermark lets go lies below it, too.
            if before == self.inner.visible_end() {
                return View::new(self.inner.clone(), pinned, before);
            }
        }
    }

    /// A view of writes numbered below `before`.
    ///
    /// # Errors
    /// `SnapshotBelowRetention` when history such a read needs may be gone: `before` is not above
    /// [`Tree::retention_floor`], not zero, and not held.
    pub fn view_at(&self, before: SeqNo) -> Result<View> {
        let pinned = self.inner.current.load_full();
        self.inner.check_retained(before, &pinned)?;
        Ok(View::new(self.inner.clone(), pinned, before))
    }

    /// Reads at or below this bound are refused; zero when every read is possible.
    pub fn retention_floor(&self) -> SeqNo {
        self.inner.current.load().version.retention_floor
    }

    /// The store that the tree is in.
    pub fn store(&self) -> crate::Store {
        crate::Store::of(self.inner.store.clone())
    }

    /// How the directory was found when it was opened.
    pub fn open_report(&self) -> &OpenReport {
        self.inner.store.report()
    }

    /// Bytes of all memtables, sealed ones included.
    pub fn memtable_bytes(&self) -> u64 {
        self.inner.memtable_bytes()
    }

    /// Number of memtables waiting for their flush.
    pub fn sealed_count(&self) -> usize {
        self.inner.current.load().sealed.len()
    }

    /// Stops running jobs, waits for them, and ends the use of the tree. A tree that has its directory for itself closes
    /// the directory, too, once every view and iterator is gone: see [`Tree::close_handle`].
    ///
    /// What is not flushed is lost, as it would be in a crash: call [`Tree::flush`] before.
    ///
    /// # Errors
    /// What dropping the handle would swallow.
    pub fn close(self) -> Result<()> {
        self.inner.stop.cancel();
        self.inner.wait_for_jobs();
        if self.inner.owns_store { self.inner.store.close() } else { Ok(()) }
    }

    /// Tells when nothing can touch the directory any more.
    pub fn close_handle(&self) -> CloseHandle {
        self.inner.store.close_handle()
    }

    /// Looks for what a writer has installed since, when the store was opened for reading only; returns whether there
    /// was anything. Reads do so by themselves when a file they need is gone; views and iterators that were made before
    /// stay with what they pin, and fail then.
    ///
    /// # Errors
    /// What reading the manifest finds; the tree shows what it showed before.
    pub fn refresh(&self) -> Result<bool> {
        self.inner.store.refresh()
    }

    /// A handle that does not keep the tree open.
    pub fn downgrade(&self) -> WeakTree {
        WeakTree { inner: Arc::downgrade(&self.inner) }
    }

    /// Holds back the removal of files until the guard is dropped: for tools that copy the directory. Guards nest.
    pub fn hold_deletions(&self) -> DeletionHold {
        DeletionHold::new(self.inner.store.clone())
    }
}

/// A handle of a tree that does not keep it open.
#[derive(Clone)]
pub struct WeakTree {
    inner: Weak<TreeInner>,
}

impl WeakTree {
    /// The tree, unless everything that kept it open is gone.
    pub fn upgrade(&self) -> Option<Tree> {
        self.inner.upgrade().map(|inner| Tree { inner })
    }
}

impl std::fmt::Debug for WeakTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakTree").finish_non_exhaustive()
    }
}

impl TreeInner {
    /// Bytes of the largest level, all runs of it.
    pub(crate) fn largest_level_bytes(&self) -> u64 {
        let pinned = self.current.load();
        pinned.version.levels.iter().map(|(_, level)| level.file_bytes()).max().unwrap_or_default()
    }

    /// Where tables of a job end, by the room there is now.
    fn table_bytes(&self, output: &OutputSpec) -> u64 {
        self.store.table_bytes(output.dest, output.target_bytes, self.largest_level_bytes())
    }

    /// Bytes of live values in value logs that are worth rewriting.
    pub(crate) fn relocatable_bytes(&self) -> u64 {
        let values = self.relocations.view(&self.current.load().version, self.store.clock().now());
        let candidates = values.iter().flat_map(ValuesView::candidates);
        candidates.fold(0, |sum, log| sum.saturating_add(log.live_bytes))
    }

    pub(crate) fn memtable_bytes(&self) -> u64 {
        let pinned = self.current.load();
        let sealed: u64 = pinned.sealed.iter().map(|sealed| sealed.bytes()).sum();
        pinned.active.bytes() + sealed
    }

    /// The bound above everything written so far.
    #[inline]
    pub(crate) fn visible_end(&self) -> SeqNo {
        SeqNo::new(self.visible_end.load(Ordering::Acquire)).unwrap_or(SeqNo::LATEST)
    }

    /// A write of this number is there to be read.
    pub(crate) fn note_written(&self, seqno: Option<SeqNo>) {
        let end = seqno.map_or(SeqNo::ZERO, SeqNo::next);
        self.visible_end.fetch_max(end.get(), Ordering::AcqRel);
    }

    /// Waits until no job runs. Jobs that begin afterwards find the tree stopped.
    pub(crate) fn wait_for_jobs(&self) {
        drop(self.flushing.lock());
        drop(self.compacting.write());
        drop(self.ingesting.write());
    }

    fn check_retained(&self, before: SeqNo, pinned: &SuperVersion) -> Result<()> {
        let floor = pinned.version.retention_floor;
        if before > floor || before == SeqNo::ZERO || self.holds.is_registered(before) {
            return Ok(());
        }
        Err(EngineError::SnapshotBelowRetention { requested: before, floor }.into())
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.stop.is_cancelled() {
            return Err(EngineError::Closed.into());
        }
        self.store.check_not_read_only()
    }

    /// As [`TreeInner::check_writable`], for what ends in an edit: while no edit is possible, nothing is written in
    /// vain. Writes into memory go on meanwhile; their log is the caller's.
    pub(crate) fn check_changeable(&self) -> Result<()> {
        self.check_writable()?;
        self.store.lift_fence()
    }
}

impl Tree {
    /// Reads of the newest state.
    fn newest<'a>(&'a self, pinned: &'a SuperVersion) -> ReadPoint<'a> {
        ReadPoint {
            view: pinned,
            before: SeqNo::LATEST,
            order: &self.inner.order,
            newest: Some(&*self.inner),
            operator: self.inner.operator.as_deref(),
            fetches: true,
        }
    }
}

impl Reader for Tree {
    fn with_read_point<T>(&self, mut read: impl FnMut(ReadPoint<'_>) -> Result<T>) -> Result<T> {
        let pinned = self.inner.current.load();
        match read(self.newest(&pinned)) {
            Err(error) if self.inner.store.is_read_only() => {
                drop(pinned);
                self.inner.store.look_again(error)?;
                read(self.newest(&self.inner.current.load()))
            }
            outcome => outcome,
        }
    }

    fn to_view(&self) -> View {
        self.view()
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pinned = self.inner.current.load();
        f.debug_struct("Tree")
            .field("id", &self.inner.id)
            .field("tables", &pinned.version.table_count())
            .field("sealed", &pinned.sealed.len())
            .finish_non_exhaustive()
    }
}
