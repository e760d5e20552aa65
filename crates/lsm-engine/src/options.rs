//! What is chosen when a store or a tree is opened.

use std::{fmt, ops::RangeInclusive, path::PathBuf, sync::Arc};

use lsm_compaction_executor::{Cancel, CompactionFlavour, RateLimiter};
use lsm_compaction_planner::DeleteStrategy;
use lsm_crypto::Encryption;
use lsm_fs::{DiskFs, Fs, SyncLevel, SystemClock, SystemRandom};
use lsm_journal::RecoveryMode;
use lsm_table::{BlockCache, DescriptorCache, TablePolicy, VlogPolicy};
use lsm_types::{
    Bytewise, Clock, CompactionFilterFactory, Comparator, KeyDomains, MergeOperator, PrefixExtractor, Random,
    Result, Slice, Spawner, check_name,
};

use crate::{
    ColumnPolicy, EngineError, EventListener, ReclaimOptions, RelocationOptions, SpaceOptions,
    store::{LevelRoute, validate_routes},
};

/// Bytes of block cache when none is given.
pub const DEFAULT_CACHE_BYTES: u64 = 64 << 20;

/// Bytes of input per segment that make splitting a compaction worth while when none are given.
pub const DEFAULT_SEGMENT_MIN_BYTES: u64 = 64 << 20;

/// Half the processors, at least one.
fn default_compaction_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |count| (count.get() / 2).max(1))
}

/// What opening may find, and may do.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OpenMode {
    /// Opens a database, or creates one where there is nothing of ours.
    #[default]
    CreateIfMissing,
    /// Opens a database; `NotFound` where there is none.
    MustExist,
    /// Creates a database; `AlreadyExists` where there is one.
    MustNotExist,
    /// Opens what is there without a lock and without writing a byte.
    ReadOnly,
}

/// What becomes of files of ours that no version names.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OrphanPolicy {
    /// They are deleted, unless there are suspiciously many: then they are quarantined.
    #[default]
    Delete,
    /// They are moved to `quarantine/`.
    Quarantine,
    /// They stay.
    Keep,
}

/// How a directory is opened: shared by all its trees.
#[derive(Clone)]
pub struct StoreOptions {
    pub(crate) path: PathBuf,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) mode: OpenMode,
    pub(crate) directory_lock: bool,
    pub(crate) recovery_mode: RecoveryMode,
    pub(crate) orphans: OrphanPolicy,
    pub(crate) check_files: bool,
    pub(crate) cache: Option<BlockCache>,
    pub(crate) descriptors: Option<DescriptorCache>,
    pub(crate) sync: SyncPolicy,
    pub(crate) manifest_rotate_min: u64,
    pub(crate) manifest_keep_generations: u32,
    pub(crate) manifest_mirror: bool,
    pub(crate) file_id_block: u32,
    pub(crate) comparators: Vec<Arc<dyn Comparator>>,
    pub(crate) reclaim: ReclaimOptions,
    pub(crate) space: SpaceOptions,
    pub(crate) compaction_threads: usize,
    pub(crate) compaction_pool: Option<Arc<dyn Spawner>>,
    pub(crate) compaction_limiter: Option<Arc<RateLimiter>>,
    pub(crate) level_routes: Vec<LevelRoute>,
    pub(crate) listener: Option<Arc<dyn EventListener>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) encryption: Option<Encryption>,
}

/// A class of files with a sync level of its own.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileClass {
    /// Tables: synced before the manifest names them.
    Table,
    /// The manifest and `CURRENT`: what an acknowledgement depends on.
    Manifest,
    /// Directories: names of new files.
    Directory,
}

/// How durable each class of files is made before it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SyncPolicy {
    pub(crate) table: SyncLevel,
    pub(crate) directory: SyncLevel,
    pub(crate) manifest: SyncLevel,
    /// Whatever the levels say, nothing is synced.
    pub(crate) is_off: bool,
}

impl SyncPolicy {
    /// Nothing acknowledged is lost in a power cut. On macOS a plain sync does not reach the medium: there tables are
    /// kept before the manifest that names them, and the manifest is taken down to it.
    const DEFAULT: Self = if cfg!(target_os = "macos") {
        Self {
            table: SyncLevel::Barrier,
            directory: SyncLevel::Device,
            manifest: SyncLevel::Device,
            is_off: false,
        }
    } else {
        Self { table: SyncLevel::Full, directory: SyncLevel::Full, manifest: SyncLevel::Full, is_off: false }
    };

    const NONE: Self =
        Self { table: SyncLevel::None, directory: SyncLevel::None, manifest: SyncLevel::None, is_off: true };

    fn has_none(self) -> bool {
        [self.table, self.directory, self.manifest].contains(&SyncLevel::None)
    }
}

impl StoreOptions {
    /// Defaults for the directory at `path` on disk.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            fs: Arc::new(DiskFs::new()),
            mode: OpenMode::default(),
            directory_lock: true,
            recovery_mode: RecoveryMode::default(),
            orphans: OrphanPolicy::default(),
            check_files: true,
            cache: None,
            descriptors: None,
            sync: SyncPolicy::DEFAULT,
            manifest_rotate_min: 1 << 20,
            manifest_keep_generations: 2,
            manifest_mirror: true,
            file_id_block: 1024,
            comparators: Vec::new(),
            reclaim: ReclaimOptions::default(),
            space: SpaceOptions::default(),
            compaction_threads: default_compaction_threads(),
            compaction_pool: None,
            compaction_limiter: None,
            level_routes: Vec::new(),
            listener: None,
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
            encryption: None,
        }
    }

    /// Where the files live. Default: the disk.
    pub fn fs(mut self, fs: Arc<dyn Fs>) -> Self {
        self.fs = fs;
        self
    }

    /// What opening may find, and may do. Default: [`OpenMode::CreateIfMissing`].
    pub fn mode(mut self, mode: OpenMode) -> Self {
        self.mode = mode;
        self
    }

    /// Whether to lock the directory against other writers. Default: yes. Without it the caller guarantees that
    /// nobody else writes.
    pub fn directory_lock(mut self, lock: bool) -> Self {
        self.directory_lock = lock;
        self
    }

    /// What damage to the manifest is lived with. Default: [`RecoveryMode::Strict`].
    pub fn recovery_mode(mut self, mode: RecoveryMode) -> Self {
        self.recovery_mode = mode;
        self
    }

    /// What becomes of files of ours that no version names. Default: [`OrphanPolicy::Delete`].
    pub fn orphans(mut self, policy: OrphanPolicy) -> Self {
        self.orphans = policy;
        self
    }

    /// Whether a read-only open refuses a database with table files that are missing or have another length than the
    /// manifest says. Default: yes. Without it the damage shows when such a table is read: for tools that look at
    /// damage. An open for writing always checks.
    pub fn check_files(mut self, check: bool) -> Self {
        self.check_files = check;
        self
    }

    /// A block cache to share. Default: one of [`DEFAULT_CACHE_BYTES`] for this store.
    pub fn cache(mut self, cache: BlockCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// The open files, to be shared with other stores or [kept open](DescriptorCache::pinned). Default: a table of
    /// 1,024 descriptors, or of a quarter of what the process may open.
    pub fn descriptors(mut self, descriptors: DescriptorCache) -> Self {
        self.descriptors = Some(descriptors);
        self
    }

    /// How far files of a class are synced before they count. [`SyncLevel::None`] is refused: see
    /// [`StoreOptions::unsafe_no_sync`]. Default: what survives a power cut.
    pub fn sync_level(mut self, class: FileClass, level: SyncLevel) -> Self {
        match class {
            FileClass::Table => self.sync.table = level,
            FileClass::Manifest => self.sync.manifest = level,
            FileClass::Directory => self.sync.directory = level,
        }
        self
    }

    /// Syncs nothing at all. After a power cut the database may be older than what was acknowledged, or refuse to
    /// open; it never holds anything else than what was written. Recorded in the manifest for good. Default: off.
    pub fn unsafe_no_sync(mut self, is_on: bool) -> Self {
        self.sync.is_off = is_on;
        self
    }

    /// The sync levels in force.
    pub(crate) fn with_sync_policy(mut self) -> Self {
        if self.sync.is_off {
            self.sync = SyncPolicy::NONE;
        }
        self
    }

    /// Appended bytes of the manifest above which it is written anew, when that is also twice its snapshot.
    /// Default 1 MiB.
    pub fn manifest_rotate_min(mut self, bytes: u64) -> Self {
        self.manifest_rotate_min = bytes;
        self
    }

    /// Complete older generations of the manifest to keep. Default 2.
    pub fn manifest_keep_generations(mut self, count: u32) -> Self {
        self.manifest_keep_generations = count;
        self
    }

    /// Whether the manifest is written twice. Default: yes.
    pub fn manifest_mirror(mut self, mirror: bool) -> Self {
        self.manifest_mirror = mirror;
        self
    }

    /// File numbers reserved with one manifest edit. Default 1,024.
    pub fn file_id_block(mut self, count: u32) -> Self {
        self.file_id_block = count;
        self
    }

    /// Orders that trees of the store may use besides byte order.
    pub fn comparator(mut self, comparator: Arc<dyn Comparator>) -> Self {
        self.comparators.push(comparator);
        self
    }

    /// How files that are not needed any more are removed. Default: see [`ReclaimOptions`].
    pub fn reclaim(mut self, options: ReclaimOptions) -> Self {
        self.reclaim = options;
        self
    }

    /// Whether compactions ask for room, and how much there may be. Default: see [`SpaceOptions`]. Can be changed later by
    /// [`Store::set_space`](crate::Store::set_space).
    pub fn space(mut self, options: SpaceOptions) -> Self {
        self.space = options;
        self
    }

    /// Most threads that work on one compaction, its own included: one for each segment, and one that compresses blocks
    /// while there are fewer of these. A flush may get that one, too. Default: half the processors, at least one.
    /// 0 counts as one.
    pub fn compaction_threads(mut self, threads: usize) -> Self {
        self.compaction_threads = threads;
        self
    }

    /// Threads that help compactions, shared with whoever else uses them. Default: a pool of the store's own, begun with
    /// the first compaction or flush of a mebibyte or more.
    pub fn compaction_pool(mut self, pool: Arc<dyn Spawner>) -> Self {
        self.compaction_pool = Some(pool);
        self
    }

    /// How fast compactions read and write, to be shared with other stores. Default: a limiter of the store's own that
    /// limits nothing until it is [told](RateLimiter::set_rate) to: see [`Store::compaction_limiter`].
    ///
    /// [`Store::compaction_limiter`]: crate::Store::compaction_limiter
    pub fn compaction_limiter(mut self, limiter: Arc<RateLimiter>) -> Self {
        self.compaction_limiter = Some(limiter);
        self
    }

    /// Another directory for the tables of these levels, of all trees, on a file system of its own. Default: none; all
    /// tables lie in the directory of the database.
    ///
    /// Which level goes where may be changed from open to open: a table stays where it is until it is rewritten, and
    /// going down to a level of another directory is a rewrite. A directory that holds tables has to be given at every
    /// open, under whatever path, and for whatever levels.
    pub fn level_route(
        mut self,
        levels: RangeInclusive<u8>,
        path: impl Into<PathBuf>,
        fs: Arc<dyn Fs>,
    ) -> Self {
        self.level_routes.push(LevelRoute { levels, path: path.into(), fs });
        self
    }

    /// Who is told what goes on in the background. Default: nobody.
    pub fn listener(mut self, listener: Arc<dyn EventListener>) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Where time comes from. Default: the system.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where identities come from. Default: the system.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// Seals every file of the database, and opens sealed ones. Default: none; a sealed database is then refused.
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let invalid = |option, problem| Err(EngineError::InvalidConfig { option, problem }.into());
        if self.path.as_os_str().is_empty() {
            return invalid("path", "is empty; give the directory of the database");
        }
        if self.sync.has_none() {
            return invalid("sync_level", "must not be `None`; `unsafe_no_sync` turns off all syncs");
        }
        if self.file_id_block == 0 {
            return invalid("file_id_block", "must be at least 1");
        }
        validate_routes(&self.level_routes)?;
        self.comparators.iter().try_for_each(|comparator| check_name(comparator.name()))
    }

    /// The comparator with this name, byte order included.
    pub(crate) fn comparator_named(&self, name: &str) -> Option<Arc<dyn Comparator>> {
        if name == Bytewise.name() {
            return Some(Arc::new(Bytewise));
        }
        self.comparators.iter().find(|comparator| comparator.name() == name).cloned()
    }
}

/// What becomes of weak deletes.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WeakDeletes {
    /// They annihilate with the put below them.
    #[default]
    Weak,
    /// They are written as ordinary deletes: for callers who cannot keep to their contract.
    Strict,
}

/// What becomes of a tree whose operands were written for another merge operator than the one given, or whose values were
/// split by another splitter.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NameMismatch {
    /// It is not opened.
    #[default]
    Error,
    /// It is opened, with a warning. The stored name gives way to that of an operator, if one was given; what is stored
    /// about a splitter stays. Columnar tables cannot be read without the splitter they were written with.
    Warn,
}

/// How a tree is opened.
#[derive(Clone)]
pub struct TreeOptions {
    pub(crate) store: StoreOptions,
    pub(crate) comparator: Arc<dyn Comparator>,
    pub(crate) merge_operator: Option<Arc<dyn MergeOperator>>,
    pub(crate) on_name_mismatch: NameMismatch,
    pub(crate) weak_deletes: WeakDeletes,
    pub(crate) level_count: Option<u8>,
    pub(crate) tables: TablePolicy,
    pub(crate) table_target_bytes: u64,
    pub(crate) prefix_extractor: Option<Arc<dyn PrefixExtractor>>,
    pub(crate) key_domains: Option<Arc<dyn KeyDomains>>,
    pub(crate) compaction_filter: Option<Arc<dyn CompactionFilterFactory>>,
    pub(crate) separation: Option<VlogPolicy>,
    pub(crate) relocation: RelocationOptions,
    pub(crate) delete_strategies: Vec<DeleteStrategy>,
    pub(crate) columns: Option<ColumnPolicy>,
}

/// Number of levels of a new tree when none is given.
pub(crate) const DEFAULT_LEVEL_COUNT: u8 = 7;

impl TreeOptions {
    /// Defaults for a tree that has the directory at `path` for itself.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::in_store(StoreOptions::new(path))
    }

    /// Defaults for a tree in a directory opened as `store` says.
    pub fn in_store(store: StoreOptions) -> Self {
        Self {
            store,
            comparator: Arc::new(Bytewise),
            merge_operator: None,
            on_name_mismatch: NameMismatch::default(),
            weak_deletes: WeakDeletes::default(),
            level_count: None,
            tables: TablePolicy::default(),
            table_target_bytes: 64 << 20,
            prefix_extractor: None,
            key_domains: None,
            compaction_filter: None,
            separation: None,
            relocation: RelocationOptions::default(),
            delete_strategies: Vec::new(),
            columns: None,
        }
    }

    /// Changes how the directory is opened.
    pub fn store(mut self, change: impl FnOnce(StoreOptions) -> StoreOptions) -> Self {
        self.store = change(self.store);
        self
    }

    /// The order of keys; its name is stored when the tree is created. Default: byte order.
    pub fn comparator(mut self, comparator: Arc<dyn Comparator>) -> Self {
        self.comparator = comparator;
        self
    }

    /// Folds merge operands. Its name is stored with the tree, and opening with another one, or with none, is refused
    /// from then on. Default: none; operands may be written all the same, and of each key the newest one is its value.
    pub fn merge_operator(mut self, operator: Arc<dyn MergeOperator>) -> Self {
        self.merge_operator = Some(operator);
        self
    }

    /// What becomes of a tree whose operands were written for another merge operator. Default:
    /// [`NameMismatch::Error`].
    pub fn on_name_mismatch(mut self, policy: NameMismatch) -> Self {
        self.on_name_mismatch = policy;
        self
    }

    /// What becomes of weak deletes. Default: [`WeakDeletes::Weak`].
    pub fn weak_deletes(mut self, weak: WeakDeletes) -> Self {
        self.weak_deletes = weak;
        self
    }

    /// Number of levels, 2 to 255, fixed when the tree is created. Default: what is stored, or 7.
    pub fn level_count(mut self, count: u8) -> Self {
        self.level_count = Some(count);
        self
    }

    /// How tables are written: block sizes, codecs and so on, by level.
    pub fn tables(mut self, policy: TablePolicy) -> Self {
        self.tables = policy;
        self
    }

    /// Bytes at which flush and compaction begin the next table. Default 64 MiB.
    pub fn table_target_bytes(mut self, bytes: u64) -> Self {
        self.table_target_bytes = bytes;
        self
    }

    /// Names the prefixes of keys that filters are to know, for scans over prefixes. Tables that were written with
    /// another extractor, or with none, are read as if they had no such filter. Default: none.
    pub fn prefix_extractor(mut self, extractor: Arc<dyn PrefixExtractor>) -> Self {
        self.prefix_extractor = Some(extractor);
        self
    }

    /// Domains of keys, such as days: from now on no table is written that holds keys of two of them, whoever writes it.
    /// Tables that are there stay as they are until they are compacted. Default: one domain.
    pub fn key_domains(mut self, domains: Arc<dyn KeyDomains>) -> Self {
        self.key_domains = Some(domains);
        self
    }

    /// Keeps long values apart from their keys, in value logs, so that compactions do not write them again and again.
    /// Whether a tree does so is fixed when it is created; how it does may change, and holds for new files. Reads, and
    /// everything else, answer as without. Default: all values lie beside their keys.
    pub fn separation(mut self, policy: VlogPolicy) -> Self {
        self.separation = Some(policy);
        self
    }

    /// When and how compactions rewrite value logs that hold garbage. Of no use to a tree that keeps values beside their
    /// keys. Default: see [`RelocationOptions`].
    pub fn relocation(mut self, options: RelocationOptions) -> Self {
        self.relocation = options;
        self
    }

    /// What compactions do about rows that deletes of ranges have killed, for each level; the last entry holds for deeper
    /// levels, too. Of use where nothing has to move down, and no compaction filter wants to see the rows: there a file
    /// that says which rows are dead may stand for writing tables anew. Default: tables are written anew.
    pub fn delete_strategies(mut self, by_level: impl Into<Vec<DeleteStrategy>>) -> Self {
        self.delete_strategies = by_level.into();
        self
    }

    /// Splits values into typed columns, for [`scan_columns`](crate::Reader::scan_columns). Schema and splitter are stored
    /// with the tree, and opening with another splitter, or with none, is refused from then on; a changed schema has to be
    /// made by `Schema::evolve`. Default: values have no columns.
    pub fn columns(mut self, policy: ColumnPolicy) -> Self {
        self.columns = Some(policy);
        self
    }

    /// Makes the filters that look at entries while they are compacted, and may change them. Default: none.
    pub fn compaction_filter_factory(mut self, factory: Arc<dyn CompactionFilterFactory>) -> Self {
        self.compaction_filter = Some(factory);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let invalid = |option, problem| Err(EngineError::InvalidConfig { option, problem }.into());
        check_name(self.comparator.name())?;
        self.merge_operator.as_ref().map_or(Ok(()), |operator| check_name(operator.name()))?;
        if let Some(extractor) = &self.prefix_extractor {
            check_name(extractor.name())?;
        }
        self.compaction_filter.as_ref().map_or(Ok(()), |factory| check_name(factory.name()))?;
        if self.level_count.is_some_and(|count| count < 2) {
            return invalid("level_count", "must be 2 to 255");
        }
        if self.table_target_bytes == 0 {
            return invalid("table_target_bytes", "must be at least 1");
        }
        if let Some(policy) = &self.separation {
            if policy.thresholds.is_empty() || policy.thresholds.contains(&0) {
                return invalid("separation.thresholds", "has to hold lengths of at least 1");
            }
            if policy.target_bytes == 0 {
                return invalid("separation.target_bytes", "must be at least 1");
            }
            if policy.directory_every == 0 {
                return invalid("separation.directory_every", "must be at least 1");
            }
            if policy.dictionary.and_then(|dictionary| dictionary.problem()).is_some() {
                return invalid(
                    "separation.dictionary",
                    "must be 256 bytes to 64 KiB, of at most 16 MiB of values",
                );
            }
        }
        if let Some(problem) = self.delete_strategies.iter().find_map(|strategy| strategy.problem()) {
            return invalid("delete_strategies", problem);
        }
        if let Some((option, problem)) = self.relocation.problem() {
            return invalid(option, problem);
        }
        self.columns.as_ref().map_or(Ok(()), ColumnPolicy::validate)?;
        self.tables.validate()
    }
}

/// How a flush goes.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct FlushOptions {
    /// Stops the flush from outside.
    pub cancel: Cancel,
}

/// How a compaction goes.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct CompactOptions {
    /// Stops the job from outside.
    pub cancel: Cancel,
    /// Bytes at which the next output table begins. Default: the tree's.
    pub target_bytes: Option<u64>,
    /// Bytes of input per segment that make a split worth while. Default: [`DEFAULT_SEGMENT_MIN_BYTES`].
    pub segment_min_bytes: Option<u64>,
    /// Whether a merge that asks for room and finds none is done slice by slice. Default: what the store says,
    /// [`SpaceOptions::tight`].
    pub tight: Option<bool>,
    /// Whether tables are written anew even where marking dead rows would do. Default: no.
    pub rewrite: bool,
    pub(crate) flavours: Flavours,
}

/// Ways of carrying out a merge, named when they are shown.
#[derive(Clone, Default)]
pub(crate) struct Flavours(Vec<Arc<dyn CompactionFlavour>>);

impl Flavours {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn CompactionFlavour>> {
        self.0.iter()
    }
}

impl fmt::Debug for Flavours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|flavour| flavour.name())).finish()
    }
}

impl CompactOptions {
    /// Stops the job when `cancel` is raised.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// Bytes at which the next output table begins.
    pub fn target_bytes(mut self, bytes: u64) -> Self {
        self.target_bytes = Some(bytes);
        self
    }

    /// Whether a merge that asks for room and finds none is done slice by slice.
    pub fn tight(mut self, is_on: bool) -> Self {
        self.tight = Some(is_on);
        self
    }

    /// Writes tables anew even where marking dead rows would do.
    pub fn rewrite(mut self) -> Self {
        self.rewrite = true;
        self
    }

    /// A merge is carried out by `flavour`, when it applies: before those given later, and before the standard one.
    pub fn flavour(mut self, flavour: Arc<dyn CompactionFlavour>) -> Self {
        self.flavours.0.push(flavour);
        self
    }

    /// Bytes of input per segment that make a split worth while; 0 splits whatever can be split.
    pub fn segment_min_bytes(mut self, bytes: u64) -> Self {
        self.segment_min_bytes = Some(bytes);
        self
    }
}

/// The caller's own log position, at most 64 bytes; the engine stores it and gives it back.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Token(Slice);

impl Token {
    /// Longest token.
    pub const MAX_LEN: usize = 64;

    /// A token of these bytes; `InvalidArgument` over 64.
    pub fn new(bytes: impl Into<Slice>) -> Result<Self> {
        let bytes = bytes.into();
        if bytes.len() > Self::MAX_LEN {
            let problem = "has more than 64 bytes";
            return Err(EngineError::InvalidArgument { argument: "token", problem }.into());
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_slice(&self) -> &Slice {
        &self.0
    }
}
