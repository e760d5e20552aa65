//! What a run measures: the command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::{
    data::{KEY_BYTES, KeyShape},
    engine::{Codec, Settings},
};

/// Measures engines side by side: each in processes of its own, in turn, medians over repetitions.
#[derive(Parser, Clone, Debug)]
#[command(version)]
pub(crate) struct Plan {
    /// Number of keys.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) keys: u32,
    /// Two million keys.
    #[arg(long)]
    pub(crate) full: bool,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100)]
    pub(crate) value_bytes: u32,
    /// How keys look.
    #[arg(long, value_enum, default_value_t = KeyShape::Binary)]
    pub(crate) key_shape: KeyShape,
    /// Compression of data blocks.
    #[arg(long, value_enum, default_value_t = Codec::None)]
    pub(crate) codec: Codec,
    /// Block cache: one that holds everything, or 64 MiB.
    #[arg(long, value_enum, default_value_t = CacheSize::Big)]
    pub(crate) cache: CacheSize,
    /// Bits per key of membership filters, the same at all levels of all engines; 0 for no filters.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=20))]
    pub(crate) filter_bits: u8,
    /// Bytes of keys and values, in MiB, after which a memtable is sealed.
    #[arg(long, default_value_t = 64)]
    pub(crate) memtable_mib: u64,
    /// Bytes of a table, in MiB.
    #[arg(long, default_value_t = 64)]
    pub(crate) table_mib: u64,
    /// How many times as many writes as there are keys go over the first ones.
    #[arg(long, default_value_t = 1)]
    pub(crate) overwrites: u32,
    /// Lets compaction come to rest after each memtable, so that write amplification does not hang on who is faster.
    #[arg(long)]
    pub(crate) settle: bool,
    /// Repetitions of each engine.
    #[arg(long, default_value_t = 3)]
    pub(crate) repeat: u32,
    /// No repetition begins after this many minutes.
    #[arg(long, default_value_t = 15)]
    pub(crate) minutes: u64,
    /// What decides keys, values and their order.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Only these engines; all that are built in when not given.
    #[arg(long = "engine", value_name = "NAME")]
    pub(crate) engines: Vec<String>,
    /// Where databases are made, each in a directory that is removed afterwards.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    pub(crate) dir: PathBuf,
    /// Writes everything measured to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Measures one engine once and prints the figures for the parent process.
    #[arg(long, hide = true, value_name = "NAME")]
    pub(crate) child: Option<String>,
}

/// How much the block cache holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum CacheSize {
    /// All data, four times over.
    Big,
    /// 64 MiB.
    Small,
}

/// Runs that the read workloads find before everything is compacted into one.
pub(crate) const RUNS: u32 = 4;

impl Plan {
    /// Number of keys.
    pub(crate) fn key_count(&self) -> u32 {
        if self.full { 2_000_000 } else { self.keys.max(RUNS) }
    }

    /// Bytes of keys and values when each key is there once.
    pub(crate) fn user_bytes(&self) -> u64 {
        u64::from(self.key_count()) * self.entry_bytes()
    }

    /// Bytes of one key and its value.
    pub(crate) fn entry_bytes(&self) -> u64 {
        KEY_BYTES as u64 + u64::from(self.value_bytes)
    }

    /// What all engines are opened with.
    pub(crate) fn settings(&self) -> Settings {
        let cache_bytes = match self.cache {
            CacheSize::Big => (4 * self.user_bytes()).max(256 << 20),
            CacheSize::Small => 64 << 20,
        };
        Settings {
            cache_bytes,
            codec: self.codec,
            block_bytes: 4096,
            table_bytes: self.table_mib << 20,
            l0_runs: 4,
            filter_bits: self.filter_bits,
        }
    }
}
