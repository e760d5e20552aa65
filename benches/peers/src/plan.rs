//! What a run measures: the command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::{
    apart::Place,
    data::{KEY_BYTES, KeyShape},
    engine::{Codec, Settings},
};

/// Measures engines side by side: each in processes of its own, in turn, medians over repetitions.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[derive(Parser, Clone, Debug)]
#[command(version)]
pub(crate) struct Plan {
    /// Measures long values beside their keys and apart from them, instead of everything else: a fill, one overwrite of
    /// all keys, what is left on disk, reads. Sets smaller defaults, given behind each option.
    #[arg(long)]
    pub(crate) values_apart: bool,
    /// Merges everything on a disk that is nearly full, instead of everything else. Needs the rights to mount a file system
    /// of its own. Sets smaller defaults, given behind each option.
    #[arg(long, conflicts_with = "values_apart")]
    pub(crate) near_full: bool,
    /// Measures rows of ten columns that are asked column by column, instead of everything else.
    #[arg(long, conflicts_with_all = ["values_apart", "near_full"])]
    pub(crate) columns: bool,
    /// With `--near-full`: what is left of the disk, in MiB.
    #[arg(long, default_value_t = 16, requires = "near_full")]
    pub(crate) free_mib: u64,
    /// With `--near-full`: half as many keys, each written twice, so that half of the database is garbage.
    #[arg(long, requires = "near_full")]
    pub(crate) garbage: bool,
    /// Number of keys. 100,000 with `--values-apart`, 160,000 with `--near-full`.
    #[arg(long, default_value_t = 1_000_000,
        default_value_ifs([("values_apart", "true", "100000"), ("near_full", "true", "160000")]))]
    pub(crate) keys: u32,
    /// Two million keys.
    #[arg(long, conflicts_with = "values_apart")]
    pub(crate) full: bool,
    /// Bytes of a value. 4096 with `--values-apart`, 1000 with `--near-full`.
    #[arg(long, default_value_t = 100,
        default_value_ifs([("values_apart", "true", "4096"), ("near_full", "true", "1000")]))]
    pub(crate) value_bytes: u32,
    /// How keys look.
    #[arg(long, value_enum, default_value_t = KeyShape::Binary)]
    pub(crate) key_shape: KeyShape,
    /// Compression of data blocks.
    #[arg(long, value_enum, default_value_t = Codec::None)]
    pub(crate) codec: Codec,
    /// With `--columns`: keys and values of a row group of ours, in KiB; its default where nothing is said.
    #[arg(long)]
    pub(crate) group_kib: Option<usize>,
    /// Block cache: one that holds everything, or 64 MiB.
    #[arg(long, value_enum, default_value_t = CacheSize::Big)]
    pub(crate) cache: CacheSize,
    /// Bits per key of membership filters, the same at all levels of all engines; 0 for no filters.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=20))]
    pub(crate) filter_bits: u8,
    /// Bytes of keys and values, in MiB, after which a memtable is sealed. 16 with `--values-apart`.
    #[arg(long, default_value_t = 64, default_value_if("values_apart", "true", "16"))]
    pub(crate) memtable_mib: u64,
    /// Bytes of a table, in MiB.
    #[arg(long, default_value_t = 64)]
    pub(crate) table_mib: u64,
    /// How many times as many writes as there are keys go over the first ones.
    #[arg(long, default_value_t = 1, conflicts_with = "values_apart")]
    pub(crate) overwrites: u32,
    /// Lets compaction come to rest after each memtable, so that write amplification does not hang on who is faster.
    #[arg(long)]
    pub(crate) settle: bool,
    /// Repetitions of each engine. 1 with `--values-apart` and `--near-full`.
    #[arg(long, default_value_t = 3,
        default_value_ifs([("values_apart", "true", "1"), ("near_full", "true", "1")]))]
    pub(crate) repeat: u32,
    /// No repetition begins after this many minutes.
    #[arg(long, default_value_t = 15)]
    pub(crate) minutes: u64,
    /// With `--values-apart`, `--near-full` and `--columns`: an engine that takes longer than so many minutes is ended, and
    /// its row says so.
    #[arg(long, default_value_t = 5)]
    pub(crate) row_minutes: u64,
    /// With `--values-apart`: how many keys of a hundred a round overwrites, drawn anew for each round.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100), requires = "values_apart")]
    pub(crate) overwrite_percent: u32,
    /// With `--values-apart`: rounds of overwriting.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=200), requires = "values_apart")]
    pub(crate) overwrite_rounds: u32,
    /// With `--values-apart`: seconds of rest after all is settled, before compaction is asked once more. Some garbage is
    /// only collected in trees that nobody writes to for a while.
    #[arg(long, default_value_t = 0, requires = "values_apart")]
    pub(crate) rest: u64,
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
    /// Where the child keeps long values.
    #[arg(long, hide = true, value_enum, requires = "child")]
    pub(crate) child_values: Option<Place>,
    /// Where the child makes its database; `dir` when not given.
    #[arg(long, hide = true, requires = "child", value_name = "DIR")]
    pub(crate) child_dir: Option<PathBuf>,
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
            apart: self.child_values == Some(Place::Apart),
            near_full: self.near_full,
        }
    }
}
