//! What the driver asks of an engine. One adapter file per engine answers it; nothing else knows an engine's names.

use std::path::Path;

use clap::ValueEnum;

/// Whatever went wrong in an engine, for the person who started the driver.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Result of a call into an engine.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Length from which on values are kept apart from their keys, where they are; every engine's own default.
pub(crate) const APART_FROM_BYTES: u32 = 1 << 10;

/// Compression of data blocks, and of values apart from their keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Codec {
    /// Stored as they are.
    None,
    /// LZ4 at its fast level.
    Lz4,
    /// Zstandard at level 1; engines without it are left out.
    #[value(name = "zstd-1")]
    Zstd1,
}

/// What is equal for all engines of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Bytes of block cache.
    pub(crate) cache_bytes: u64,
    /// Compression of data blocks, at all levels.
    pub(crate) codec: Codec,
    /// Bytes of a data block, at all levels.
    pub(crate) block_bytes: u32,
    /// Bytes at which the next table begins.
    pub(crate) table_bytes: u64,
    /// Runs in level 0 at which it is merged down.
    pub(crate) l0_runs: u8,
    /// Bits per key of membership filters, the same at all levels; 0 for no filters.
    pub(crate) filter_bits: u8,
    /// Whether long values are kept apart from their keys.
    pub(crate) apart: bool,
    /// Whether compactions have to get on with little room.
    pub(crate) near_full: bool,
}

/// Which way a scan goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}

/// An engine, open in a directory.
///
/// Writes come from one thread; `flush` and `compact` from one other thread at the same time.
pub(crate) trait Engine: Sized + Sync {
    /// Name in the table.
    const NAME: &'static str;
    /// Whether it knows Zstandard.
    const HAS_ZSTD: bool;

    /// A value that owns or shares its bytes, as the engine hands it out.
    type Value: AsRef<[u8]>;

    /// Opens the directory, creating it when it is empty.
    fn open(dir: &Path, settings: &Settings) -> Outcome<Self>;

    /// How long values are kept apart from their keys, in the engine's own words.
    fn separation(settings: &Settings) -> Outcome<String>;

    /// What is switched on for a disk that is nearly full, in the engine's own words.
    fn near_full(settings: &Settings) -> String;

    /// Whether all tables are one run.
    fn is_one_run(&self) -> bool;

    /// Puts `value` under `key`.
    fn insert(&self, key: &[u8], value: &[u8]) -> Outcome<()>;

    /// Freezes the active memtable and begins another one.
    fn seal(&self) -> Outcome<()>;

    /// Writes all frozen memtables to tables that survive a crash.
    fn flush(&self) -> Outcome<()>;

    /// Does one step of leveled compaction; `false` when there was nothing to do.
    fn compact(&self) -> Outcome<bool>;

    /// Bytes of values that compactions moved so far to get rid of garbage; `None` where the engine does not tell.
    fn copied(&self) -> Option<u64> {
        None
    }

    /// Merges everything into the last level.
    fn major_compact(&self) -> Outcome<()>;

    /// The newest value of `key`.
    fn get(&self, key: &[u8]) -> Outcome<Option<Self::Value>>;

    /// Shows up to `take` entries to `each`, from `start` (inclusive; the end that `direction` begins at when `None`),
    /// and says how many there were. Keys and values are taken as the engine's owned slices.
    fn scan(
        &self,
        start: Option<&[u8]>,
        direction: Direction,
        take: usize,
        each: impl FnMut(&[u8], &[u8]),
    ) -> Outcome<usize>;

    /// Ends the use of the directory.
    fn close(self) -> Outcome<()>;
}
