//! One LSM tree with explicit sequence numbers: the caller numbers writes and decides what is visible.

mod clear;
mod compact;
mod filters;
mod flush;
mod hold;
mod publish;
mod range_delete;
mod stats;
mod write;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use lsm_compaction_executor::{BusyTables, Cancel};
use lsm_manifest::Version;
use lsm_table::TableEnv;
use lsm_types::{KeyOrder, MergeOperator, Result, SeqNo, TreeId};
use parking_lot::{Mutex, RwLock};

pub use flush::FlushReport;
pub use hold::HoldGuard;
pub(crate) use range_delete::{check_prefix, span};
pub use stats::{FilterLevelStats, LevelStats, TreeStats, VerifyReport};
pub use write::WriteInfo;

use crate::{
    EngineError, OpenReport, Token, TreeOptions, View, WeakDeletes,
    holds::Holds,
    operator::Contained,
    reader::{ReadPoint, Reader},
    store::StoreInner,
    super_version::SuperVersion,
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
    pub(crate) order: KeyOrder,
    /// Folds merge operands; never panics.
    pub(crate) operator: Option<Arc<dyn MergeOperator>>,
    /// Weak deletes are written as ordinary ones.
    strict_weak_deletes: bool,
    pub(crate) env: Arc<TableEnv>,
    pub(crate) table_target_bytes: u64,
    /// What reads pin.
    pub(crate) current: ArcSwap<SuperVersion>,
    /// Serialises the makers of super versions; held for memory work only.
    publisher: Mutex<Publisher>,
    pub(crate) holds: Holds,
    /// One above the highest number ever written; 0 for an empty tree.
    visible_end: AtomicU64,
    /// That of the newest super version, once it is published.
    pub(crate) delete_count: AtomicU64,
    pub(crate) busy: BusyTables,
    /// One flush at a time, in the order of sealing.
    flushing: Mutex<()>,
    /// The watermark, and the address of the version, when tables were last looked for that lie under range tombstones.
    /// An address that is used again costs a look that is put off to the next change, nothing else.
    looked_for_covered: Mutex<Option<(SeqNo, usize)>>,
    /// Compactions hold it shared, exclusive operations alone.
    compacting: RwLock<()>,
    /// Raised when the tree closes; every job is a child of it.
    pub(crate) stop: Cancel,
    pub(crate) counters: stats::Counters,
    last_level_reads: filters::LastLevelReads,
}

/// Up to where writes are in durable tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Persisted {
    /// Highest number in durable tables.
    pub highest: Option<SeqNo>,
    /// Every write numbered below this whose call had returned when its memtable was sealed is in durable tables.
    pub watermark: SeqNo,
}

/// A frozen memtable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// Its number; grows by one with each memtable.
    pub id: u64,
    /// Bytes it takes in memory.
    pub bytes: u64,
    /// Smallest number in it.
    pub min_seqno: SeqNo,
    /// Largest number in it.
    pub max_seqno: SeqNo,
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
        store.tree(TreeId::new(0), &options)
    }

    pub(crate) fn start(
        id: TreeId,
        store: Arc<StoreInner>,
        options: &TreeOptions,
        env: Arc<TableEnv>,
        version: &Version,
    ) -> Self {
        let order = KeyOrder::new(options.comparator.clone());
        let contain = |operator: &Arc<_>| Arc::new(Contained(Arc::clone(operator))) as Arc<dyn MergeOperator>;
        let operator = options.merge_operator.as_ref().map(contain);
        let (publisher, current) = Publisher::start(version, &env, &order);
        let visible_end = version.max_seqno.map_or(0, |seqno| seqno.next().get());
        Self {
            inner: Arc::new(TreeInner {
                id,
                store,
                order,
                operator,
                strict_weak_deletes: options.weak_deletes == WeakDeletes::Strict,
                env,
                table_target_bytes: options.table_target_bytes,
                current: ArcSwap::from_pointee(current),
                publisher: Mutex::new(publisher),
                holds: Holds::default(),
                visible_end: AtomicU64::new(visible_end),
                delete_count: AtomicU64::new(0),
                busy: BusyTables::default(),
                flushing: Mutex::new(()),
                looked_for_covered: Mutex::new(None),
                compacting: RwLock::new(()),
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

    /// The caller's log position up to which everything is in durable tables.
    pub fn recovered_token(&self) -> Option<Token> {
        let pinned = self.inner.current.load();
        pinned.version.watermark.token.clone().and_then(|token| Token::new(token).ok())
    }

    /// Up to where writes are in durable tables.
    pub fn persisted(&self) -> Persisted {
        let pinned = self.inner.current.load();
        Persisted { highest: pinned.version.max_seqno, watermark: pinned.version.watermark.seqno }
    }

    /// How the directory was found when it was opened.
    pub fn open_report(&self) -> &OpenReport {
        self.inner.store.report()
    }

    /// Bytes of all memtables, sealed ones included.
    pub fn memtable_bytes(&self) -> u64 {
        let pinned = self.inner.current.load();
        let sealed: u64 = pinned.sealed.iter().map(|sealed| sealed.bytes()).sum();
        pinned.active.bytes() + sealed
    }

    /// Number of memtables waiting for their flush.
    pub fn sealed_count(&self) -> usize {
        self.inner.current.load().sealed.len()
    }

    /// Stops running jobs, waits for them, and ends the use of the tree. A tree that has its directory for itself
    /// closes the directory, too, once every view and iterator is gone.
    ///
    /// What is not flushed is lost, as it would be in a crash: call [`Tree::flush`] before.
    ///
    /// # Errors
    /// What dropping the handle would swallow.
    pub fn close(self) -> Result<()> {
        self.inner.stop.cancel();
        drop(self.inner.flushing.lock());
        drop(self.inner.compacting.write());
        self.inner.store.close()
    }
}

impl TreeInner {
    /// The bound above everything written so far.
    #[inline]
    pub(crate) fn visible_end(&self) -> SeqNo {
        SeqNo::new(self.visible_end.load(Ordering::Acquire)).unwrap_or(SeqNo::LATEST)
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
        if self.store.is_read_only() {
            return Err(EngineError::ReadOnly.into());
        }
        Ok(())
    }
}

impl Reader for Tree {
    fn with_read_point<T>(&self, read: impl FnOnce(ReadPoint<'_>) -> Result<T>) -> Result<T> {
        let pinned = self.inner.current.load();
        let newest = Some(&*self.inner);
        read(ReadPoint {
            view: &pinned,
            before: SeqNo::LATEST,
            order: &self.inner.order,
            newest,
            operator: self.inner.operator.as_deref(),
        })
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
