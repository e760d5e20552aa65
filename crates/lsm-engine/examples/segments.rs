//! What a second thread brings to a compaction: `cargo run --release --example segments [DIR] [MIB..]`.
//!
//! Four runs whose keys interleave are merged into one, by one thread and by two in turn, in memory or in the directory
//! DIR, which must not exist. Wall time, since
//! that is what threads are for: run it on a machine that has nothing else to do.

use std::{sync::Arc, time::Duration};

use lsm_engine::{BlockCache, CompactOptions, FlushOptions, StoreOptions, Tree, TreeOptions};
use lsm_fs::{MemFs, SystemClock};
use lsm_types::{Clock, Result, SeqNo};

const RUNS: u64 = 4;
const VALUE_BYTES: usize = 100;
const ENTRY_BYTES: u64 = VALUE_BYTES as u64 + 16;
const ROUNDS: usize = 5;
/// A merge is split into segments of at least this many bytes.
const SEGMENT_MIN_BYTES: u64 = 32 << 20;

fn main() -> Result<()> {
    let arguments = || std::env::args().skip(1);
    let mut sizes: Vec<u64> = arguments().filter_map(|size| size.parse().ok()).collect();
    let dir = arguments().find(|argument| argument.parse::<u64>().is_err());
    if sizes.is_empty() {
        sizes = vec![16, 48, 256];
    }
    println!(
        "| MiB merged | one thread, s | two threads, s | times as fast | segments |\n|---|---|---|---|---|"
    );
    for mib in sizes {
        let (mut one, mut two, mut segments) = (Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            one.push(merge(mib << 20, 1, dir.as_deref())?.0);
            let (seconds, split) = merge(mib << 20, 2, dir.as_deref())?;
            two.push(seconds);
            segments = split;
        }
        let (one, two) = (median(one), median(two));
        println!("| {mib} | {one:.3} | {two:.3} | {:.2} | {segments} |", one / two);
    }
    Ok(())
}

/// Seconds of a major compaction of so many bytes, and the segments it had.
fn merge(bytes: u64, threads: usize, dir: Option<&str>) -> Result<(f64, usize)> {
    let store = match dir {
        Some(dir) => StoreOptions::new(dir),
        None => StoreOptions::new("/db").fs(Arc::new(MemFs::new())),
    };
    let store = store.cache(BlockCache::new(0)).unsafe_no_sync(true);
    let tree = Tree::open(TreeOptions::in_store(store.compaction_threads(threads)))?;
    let mut value = [0; VALUE_BYTES];
    let mut number = 0_u64;
    for run in 0..RUNS {
        for step in 0..bytes / ENTRY_BYTES / RUNS {
            // Bytes that no codec makes shorter: the merge is as large as it says.
            for (at, piece) in (0_u64..).zip(value.chunks_mut(8)) {
                let noise = (number * 16 + at + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let noise = (noise ^ (noise >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).to_le_bytes();
                piece.iter_mut().zip(noise).for_each(|(byte, from)| *byte = from);
            }
            let key = u128::from(step * RUNS + run).to_be_bytes();
            tree.insert(key, value, SeqNo::new(number).unwrap_or_default())?;
            number += 1;
        }
        tree.seal(None);
        tree.flush(&FlushOptions::default())?;
    }
    let clock = SystemClock::new();
    let started = clock.monotonic_nanos();
    let report = tree.major_compact(&CompactOptions::default().segment_min_bytes(SEGMENT_MIN_BYTES))?;
    let seconds = Duration::from_nanos(clock.monotonic_nanos() - started).as_secs_f64();
    tree.close()?;
    if let Some(dir) = dir
        && let Err(error) = std::fs::remove_dir_all(dir)
    {
        eprintln!("{dir} stays: {error}");
    }
    Ok((seconds, report.segments))
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}
