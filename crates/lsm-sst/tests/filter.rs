//! The filter seam, with a filter that remembers every hash.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use common::{Entry, build, put, small_options};
use lsm_block::BlockKind;
use lsm_sst::{BuildOptions, FilterBuilder, FilterOpener, FilterProbe, Table, TableOptions};
use lsm_types::{IoError, KeyHash, KeyOrder, ReadAt, SeqNo, Slice};

/// Partitions of at most 25 keys, their hashes one after another.
#[derive(Default)]
struct Exact(Vec<u64>);

impl FilterBuilder for Exact {
    fn push(&mut self, hash: KeyHash) {
        self.0.push(hash.get());
    }

    fn is_full(&self) -> bool {
        self.0.len() >= 25
    }

    fn finish_partition(&mut self, out: &mut Vec<u8>) {
        out.extend(self.0.drain(..).flat_map(u64::to_le_bytes));
    }

    fn memory_len(&self) -> usize {
        self.0.len() * 8
    }
}

struct ExactProbe(Vec<u64>);

impl FilterProbe for ExactProbe {
    fn may_contain(&self, hash: KeyHash) -> bool {
        self.0.contains(&hash.get())
    }

    fn memory_len(&self) -> usize {
        self.0.len() * 8
    }
}

fn opener() -> FilterOpener {
    Arc::new(|payload: Slice| {
        let hashes = payload.as_chunks().0.iter().map(|hash| u64::from_le_bytes(*hash)).collect();
        Some(Arc::new(ExactProbe(hashes)) as Arc<dyn FilterProbe>)
    })
}

fn table() -> (Vec<Entry>, Vec<u8>) {
    let order = KeyOrder::bytewise();
    let entries: Vec<Entry> =
        (0..200).flat_map(|n| [5, 3].map(|seqno| put(&format!("key/{n:04}"), seqno, "some value"))).collect();
    let options = BuildOptions { filter: Some(Box::new(Exact::default())), ..small_options(&order) };
    let (summary, bytes) = build(options, &entries, &[]);
    assert!(summary.filter_bytes > 200 * 8 && summary.properties.counters.filter_partitions == 8);
    (entries, bytes)
}

/// Counts reads of data blocks: everything below `data_end` that is not the filter.
struct Counting(Vec<u8>, Arc<AtomicUsize>);

impl ReadAt for Counting {
    fn len(&self) -> Result<u64, IoError> {
        ReadAt::len(&self.0)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        self.0.read_exact_at(offset, out)?;
        self.1.fetch_add(usize::from(out[2] == BlockKind::DATA.code()), Relaxed);
        Ok(())
    }
}

#[track_caller]
fn check(bytes: Vec<u8>, entries: &[Entry], options: TableOptions, reads_per_miss: usize) {
    let reads = Arc::new(AtomicUsize::new(0));
    let table = Table::open(Counting(bytes, Arc::clone(&reads)), options).unwrap();
    for entry in entries {
        let found = table.get(&entry.key, SeqNo::LATEST).unwrap().unwrap();
        assert_eq!(found.value, entry.value.as_slice());
    }
    reads.store(0, Relaxed);
    for n in 0..100 {
        assert!(table.get(format!("key/{n:04}x").as_bytes(), SeqNo::LATEST).unwrap().is_none());
    }
    assert_eq!(reads.load(Relaxed), 100 * reads_per_miss);
}

/// Proves FI-4, F-93 in part.
#[test]
fn a_filter_only_saves_reads() {
    let (entries, bytes) = table();
    check(bytes.clone(), &entries, TableOptions::new().filter(opener()), 0);
    check(bytes.clone(), &entries, TableOptions::new(), 1);
    let blind: FilterOpener = Arc::new(|_| None);
    check(bytes, &entries, TableOptions::new().filter(blind), 1);
}

/// Proves F-33, F-159 (filters degrade).
#[test]
fn a_damaged_filter_is_no_filter() {
    let (entries, bytes) = table();
    let whole = Table::open(bytes.clone(), TableOptions::new()).unwrap();
    let root = *whole.meta().directory().primary(BlockKind::FILTER_ROOT).unwrap();
    let mut damaged = bytes.clone();
    damaged[usize::try_from(root.offset).unwrap() + 60] ^= 4;
    let table = Table::open(damaged.clone(), TableOptions::new()).unwrap();
    assert_eq!(table.meta().detours().len(), 1);
    check(damaged, &entries, TableOptions::new().filter(opener()), 1);

    // Every filter partition damaged in turn: the keys of the others still profit.
    let mut at = 512;
    let mut partitions = 0;
    while at + 32 < usize::try_from(root.offset).unwrap() {
        let len =
            32 + usize::try_from(u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap())).unwrap();
        if bytes[at + 2] == BlockKind::FILTER_PARTITION.code() {
            partitions += 1;
            let mut damaged = bytes.clone();
            damaged[at + 33] ^= 1;
            let table = Table::open(damaged, TableOptions::new().filter(opener())).unwrap();
            for entry in &entries {
                assert!(table.get(&entry.key, SeqNo::LATEST).unwrap().is_some());
            }
        }
        at += len;
    }
    assert_eq!(partitions, 8);
}
