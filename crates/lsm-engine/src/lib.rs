//! Trees with explicit sequence numbers over one directory.
//!
//! A [`Store`] owns a directory: its lock, its manifest, the numbers of its files, its caches. A [`Tree`] is one
//! ordered key space in it; the caller numbers writes and decides what is visible. [`Tree::open`] is a store with
//! one tree.
//!
//! ```
//! use lsm_engine::{FlushOptions, Reader, Tree, TreeOptions};
//! use lsm_types::SeqNo;
//! # use std::sync::Arc;
//!
//! # let memory = Arc::new(lsm_fs::MemFs::new());
//! let options = TreeOptions::new("/fruit").store(|store| store.fs(memory));
//! let tree = Tree::open(options)?;
//! tree.insert("apple", "red", SeqNo::ZERO)?;
//! let before = tree.view();
//! tree.insert("apple", "green", before.before())?;
//! assert_eq!(tree.get("apple")?.unwrap(), b"green");
//! assert_eq!(before.get("apple")?.unwrap(), b"red");
//!
//! tree.seal(None);
//! tree.flush(&FlushOptions::default())?;
//! for entry in tree.range("a".."b").rev() {
//!     let (key, value) = entry?.into_pair()?;
//!     assert_eq!((&key[..], &value[..]), (&b"apple"[..], &b"green"[..]));
//! }
//! tree.close()?;
//! # Ok::<(), lsm_types::Error>(())
//! ```

mod batch;
mod changes;
mod checkpoint;
mod columns;
mod coverage;
mod cursor;
mod deletes;
mod entry;
mod error;
mod events;
mod fold;
mod get;
mod holders;
mod holds;
mod keyring;
mod memtables;
mod multi_get;
mod operator;
mod options;
mod overlay;
mod pin;
mod prefix_scan;
mod pressure;
mod range;
mod ranges;
mod read_ahead;
mod reader;
mod relocation;
mod separated;
mod store;
mod super_version;
mod tickets;
mod tree;
mod versions;
mod view;
mod walk;

pub use batch::{BatchEntry, MAX_BATCH_BYTES, TreeBatch};
pub use changes::{Change, Changed, Changes, ChangesOptions, ChangesProgress};
pub use checkpoint::{CheckpointFile, CheckpointInfo, CheckpointOptions, CopyMethod, StagingGc, gc_staging};
pub use columns::{
    BATCH_ROWS_DEFAULT, BATCH_ROWS_MAX, ColumnBatch, ColumnBatches, ColumnLayout, ColumnPolicy, ColumnScan,
};
pub use cursor::Cursor;
pub use entry::Entry;
pub use error::EngineError;
pub use events::{CompactionJob, Event, EventListener, JobProgress};
pub use holders::SpaceHolder;
pub use keyring::Keyring;
pub use lsm_compaction_executor::{
    Cancel, CompactionReport, CompactionTotals, DropCounts, ExecutorError, Failpoints, FilterCounts,
    JobTotals, MASK_POINTS, OnCorruption, Outcome, POINTS, Pause, RELOCATION_POINTS, RateLimiter,
    SegmentDone, Sliced, StageNanos,
};
pub use lsm_compaction_planner::{DeleteStrategy, Purge, ReliefKind, VlogPicker};
pub use lsm_crypto::{
    CryptoError, Encryption, FileContext, FileKey, KeyChain, KeyFileError, KeyId, KeyProvider, NewFileKey,
    NonceAudit, PlainFiles, Secret, Suite, WrappedKey,
};
pub use lsm_journal::{Losses, RecoveryMode, RecoveryReport};
pub use lsm_manifest::StoredSchema;
pub use lsm_repair::{Depth as VerifyDepth, VerifyOptions, VerifyReport};
pub use lsm_table::{
    BlockCache, BlockRead, DescriptorCache, DictionaryOptions, ExpectHits, FilterBits, FilterStats,
    LevelFilter, TablePolicy, VlogPolicy,
};
pub use multi_get::MultiGet;
pub use options::{
    CompactOptions, DEFAULT_CACHE_BYTES, DEFAULT_SEGMENT_MIN_BYTES, FileClass, FlushOptions, NameMismatch,
    OpenMode, OrphanPolicy, StoreOptions, Token, TreeOptions, WeakDeletes,
};
pub use overlay::Overlaid;
pub use pin::{PinnedFiles, PinnedMemtable, PinnedTable};
pub use pressure::{Pressure, PressureFigures, PressureLimits, Ramp};
pub use range::Range;
pub use ranges::Ranges;
pub use read_ahead::ReadAhead;
pub use reader::{Pinned, ReadPoint, Reader};
pub use relocation::RelocationOptions;
pub use store::{
    CloseHandle, DeletionHold, FilesReport, KeyUsage, LeftOut, LostFile, OpenReport, RebuildReport,
    ReclaimOptions, ReclaimStats, RoomReport, RoomStep, SpaceOptions, SpacePlan, SpaceReport, SpaceStatus,
    SpaceStep, StorageStats, Store, TreeReport, TreeStorage, WeakStore,
};
pub use tickets::WriteTicket;
pub use tree::{
    ChangeFollower, FilterLevelStats, FlushReport, HoldGuard, IngestOptions, IngestReport, Ingestion,
    LevelStats, Persisted, RekeyReport, Replayed, Sealed, Tree, TreeStats, Unflushed, ValueLogStats,
    VlogStats, WeakTree, WriteInfo,
};
pub use versions::{RawEntry, Versions};
pub use view::View;
