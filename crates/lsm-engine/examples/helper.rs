//! What a second thread brings to a merge in one segment: `cargo run --release -p lsm-engine --example helper [DIR] [MIB..]`.
//!
//! Four runs whose keys interleave are merged into one, by one thread and by one with a helper in turn, in memory or in the
//! directory DIR, which must not exist. Wall time, since that is what threads are for: run it on a machine that has nothing
//! else to do.

use std::{sync::Arc, time::Duration};

use lsm_codec::Compression;
use lsm_engine::{BlockCache, CompactOptions, FlushOptions, StoreOptions, TablePolicy, Tree, TreeOptions};
use lsm_fs::{MemFs, SystemClock};
use lsm_types::{Clock, Result, SeqNo};

const RUNS: u64 = 4;
const VALUE_BYTES: usize = 100;
const ENTRY_BYTES: u64 = VALUE_BYTES as u64 + 16;
const ROUNDS: usize = 7;

fn main() -> Result<()> {
    let arguments = || std::env::args().skip(1);
    let mut sizes: Vec<u64> = arguments().filter_map(|size| size.parse().ok()).collect();
    let dir = arguments().find(|argument| argument.parse::<u64>().is_err());
    if sizes.is_empty() {
        sizes = vec![1, 16, 64];
    }
    println!("| MiB merged | codec | what | one thread, s | with a helper, s | times as fast |");
    println!("|---|---|---|---|---|---|");
    let codecs = [
        ("none", Compression::None),
        ("lz4", Compression::Lz4),
        ("zstd 1", Compression::Zstd { level: 1 }),
        ("zstd 3", Compression::Zstd { level: 3 }),
    ];
    for mib in sizes {
        for (name, codec) in codecs {
            let (mut alone, mut helped) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                alone.push(merge(mib << 20, codec, 1, dir.as_deref())?);
                helped.push(merge(mib << 20, codec, 2, dir.as_deref())?);
            }
            for (what, idx) in [("flush", 0), ("merge", 1)] {
                let of =
                    |all: &[[f64; 2]]| median(all.iter().filter_map(|both| both.get(idx).copied()).collect());
                let (one, two) = (of(&alone), of(&helped));
                println!("| {mib} | {name} | {what} | {one:.3} | {two:.3} | {:.2} |", one / two);
            }
        }
    }
    Ok(())
}

/// Seconds of four flushes and of the major compaction of so many bytes.
fn merge(bytes: u64, codec: Compression, threads: usize, dir: Option<&str>) -> Result<[f64; 2]> {
    let store = match dir {
        Some(dir) => StoreOptions::new(dir),
        None => StoreOptions::new("/db").fs(Arc::new(MemFs::new())),
    };
    let store = store.cache(BlockCache::new(0)).unsafe_no_sync(true).compaction_threads(threads);
    let tables = TablePolicy { compression: vec![codec], ..TablePolicy::default() };
    let tree = Tree::open(TreeOptions::in_store(store).tables(tables))?;
    let clock = SystemClock::new();
    let seconds = |since: u64| Duration::from_nanos(clock.monotonic_nanos() - since).as_secs_f64();
    let (mut number, mut flushes) = (0_u64, 0.0);
    for run in 0..RUNS {
        for step in 0..bytes / ENTRY_BYTES / RUNS {
            let key = u128::from(step * RUNS + run).to_be_bytes();
            tree.insert(key, value(number), SeqNo::new(number).unwrap_or_default())?;
            number += 1;
        }
        tree.seal(None);
        let started = clock.monotonic_nanos();
        tree.flush(&FlushOptions::default())?;
        flushes += seconds(started);
    }
    let started = clock.monotonic_nanos();
    tree.major_compact(&CompactOptions::default().segment_min_bytes(u64::MAX))?;
    let merged = seconds(started);
    tree.close()?;
    if let Some(dir) = dir
        && let Err(error) = std::fs::remove_dir_all(dir)
    {
        eprintln!("{dir} stays: {error}");
    }
    Ok([flushes, merged])
}

/// Half noise, half a pattern: about half of it goes.
fn value(number: u64) -> [u8; VALUE_BYTES] {
    let mut value = [b'-'; VALUE_BYTES];
    for (at, piece) in (0_u64..).zip(value.chunks_mut(16)) {
        let noise = (number * 16 + at + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let noise = (noise ^ (noise >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).to_le_bytes();
        piece.iter_mut().zip(noise).for_each(|(byte, from)| *byte = from);
    }
    value
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}
