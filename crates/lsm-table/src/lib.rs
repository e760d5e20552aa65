//! Tables on a file system: opening, caches, writers, release of files.
//!
//! A [`Table`] is a handle that opens its file at the first read and gives out entries through the [`BlockCache`];
//! when the last handle of an obsolete table goes, its file is given to whoever [`Reclaim`]s. A [`MultiWriter`] makes tables, and is the
//! only thing that does, also where it copies a [`ForeignTable`]. What the tables of a tree share is a [`TableEnv`].
//! Values that were moved out of tables lie in [`ValueLog`]s, which a [`VlogWriter`] makes.

mod ahead;
mod batch;
mod block_ends;
mod cache;
mod changes;
mod columns;
mod decoders;
mod describe;
mod descriptors;
mod env;
mod error;
mod filter_policy;
mod filter_stats;
mod filters;
mod foreign;
mod front;
mod head;
mod helper;
mod physical;
mod policy;
mod rest;
mod run;
mod source;
mod staged;
mod suspended;
mod table;
mod throttle;
mod value_log;
mod vector;
mod view;
mod writer;

pub use batch::{Answer, BatchLimits, BlockBatch, BlockRead, LookUp, Progress};
pub use block_ends::{BlockEnd, BlockEnds};
pub use cache::BlockCache;
pub use changes::TableChangeScan;
pub use columns::{ColumnDesk, ColumnScheme, TableGroups};
pub use decoders::DecoderPool;
pub use describe::{FoundTable, read_table};
pub use descriptors::DescriptorCache;
pub use env::{FileIds, FilterDesk, LineageDesk, ObsoleteFile, Reclaim, TableEnv, TableRoutes};
pub use error::TableError;
pub use filter_policy::{ExpectHits, FilterScene, LevelFilter, LevelLoad};
pub use filter_stats::FilterStats;
pub use foreign::ForeignTable;
pub use front::{ConsumedPrefix, ReleaseStats};
pub use head::{FileHead, check_key, read_head};
pub use lsm_sst::{
    ColumnPage, ColumnStats, ColumnarOptions, DeadRows, DeadStretch, DeleteVector, FilterBits, RowGroup,
    ScanCounts, SeqNoWindow, SlicePart, TakenOver, Versions,
};
pub use physical::consumed_range;
pub use policy::TablePolicy;
pub use rest::RestOfTable;
pub use run::{RunCursor, TableList};
pub use source::{CursorSource, ReadMode};
pub use staged::StagedTable;
pub use suspended::SuspendedTable;
pub use table::{Found, Table, TableCursor};
pub use throttle::Throttle;
pub use value_log::{
    CacheUse, DictionaryOptions, FoundVlog, Frames, RestOfVlog, StagedVlog, ValueLog, VlogEnv, VlogPolicy,
    VlogWriter, consumed_values, read_vlog,
};
pub use vector::StagedVector;
pub use writer::MultiWriter;
