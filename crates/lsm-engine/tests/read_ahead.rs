//! What scans read: alone at first, then ahead; never beyond their bounds, never twice, and nothing that the cache has.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{
    collections::BTreeMap,
    ops::{Bound, Range, RangeBounds},
    path::PathBuf,
    sync::Arc,
};

use common::{at, flush};
use lsm_engine::{BlockCache, LevelFilter, Reader, TablePolicy, Tree, TreeOptions};
use lsm_fs::{Fs, FsFile, MemFs, OpenOptions};
use lsm_sst::{Table, TableOptions};
use lsm_testkit::dice::Dice;
use lsm_types::Slice;
use wrap::{Control, WrapFs};

const TABLES: &str = "/db/tables";
/// A cache that keeps everything.
const ROOMY: u64 = 16 << 20;

fn key(number: u64) -> String {
    format!("key-{number:06}")
}

/// A value that does not compress.
fn value(number: u64) -> Vec<u8> {
    let mut dice = Dice::new(number + 1);
    (0..60).flat_map(|_| dice.roll().to_le_bytes()).collect()
}

/// A data block of the only table.
#[derive(Clone, Debug)]
struct Block {
    bytes: Range<u64>,
    keys: Range<u64>,
}

/// One table with keys `0..keys`.
struct World {
    fs: Arc<MemFs>,
    control: Arc<Control>,
    tables: TablePolicy,
    path: PathBuf,
    blocks: Vec<Block>,
}

impl World {
    fn new(keys: u64, tables: TablePolicy) -> Self {
        let (fs, control) = (Arc::default(), Arc::default());
        let mut world = Self { fs, control, tables, path: PathBuf::new(), blocks: Vec::new() };
        let tree = world.open(0);
        for number in 0..keys {
            tree.insert(key(number), value(number), at(number)).unwrap();
        }
        flush(&tree);
        tree.close().unwrap();
        let names = world.fs.read_dir(TABLES.as_ref()).unwrap();
        assert_eq!(names.len(), 1);
        world.path = PathBuf::from(TABLES).join(&names[0].name);
        let file = world.fs.open(&world.path, &OpenOptions::READ).unwrap();
        let mut bytes = vec![0; usize::try_from(FsFile::len(file.as_ref()).unwrap()).unwrap()];
        file.read_at(0, &mut bytes).unwrap();
        let mut first = 0;
        for block in Table::open(bytes, TableOptions::new()).unwrap().blocks() {
            let block = block.unwrap();
            let (handle, keys) = (block.at().handle, first..first + block.rows());
            first = keys.end;
            world.blocks.push(Block { bytes: handle.offset..handle.offset + u64::from(handle.len), keys });
        }
        assert_eq!(first, keys);
        world
    }

    /// The tree, with a cache of so many bytes.
    fn open(&self, cache: u64) -> Tree {
        let fs = WrapFs { inner: self.fs.clone(), control: self.control.clone() };
        let options = TreeOptions::new("/db")
            .store(|store| store.fs(Arc::new(fs)).cache(BlockCache::new(cache)))
            .tables(self.tables.clone())
            .table_target_bytes(64 << 20);
        Tree::open(options).unwrap()
    }

    /// The position of the block with this key; of the last one for keys beyond.
    fn block_of(&self, number: u64) -> usize {
        self.blocks.partition_point(|block| block.keys.end <= number).min(self.blocks.len() - 1)
    }

    /// Which blocks the reads since the last call brought, read by read. No read begins or ends within one.
    fn take_reads(&self) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for read in self.control.take_reads() {
            let bytes = read.offset..read.offset + read.len as u64;
            let first = self.blocks.iter().position(|block| block.bytes.start == bytes.start);
            if let (true, Some(first)) = (read.path == self.path, first) {
                let last = self.blocks.iter().position(|block| block.bytes.end == bytes.end);
                found.push(first..last.unwrap() + 1);
            }
        }
        found
    }

    fn bytes(&self, blocks: &Range<usize>) -> u64 {
        self.blocks[blocks.end - 1].bytes.end - self.blocks[blocks.start].bytes.start
    }

    /// The reads that a scan over so many blocks is expected to do.
    fn windows(&self, blocks: usize) -> Vec<Range<usize>> {
        let mut expected = vec![0..1, 1..2];
        let mut window = 32 << 10;
        while let Some(first) = expected.last().map(|read| read.end).filter(|first| *first < blocks) {
            let fits = |end: &usize| self.bytes(&(first..*end)) <= window;
            let end = (first + 1..=blocks).take_while(fits).last().unwrap();
            expected.push(first..end);
            window = (2 * window).min(1 << 20);
        }
        expected
    }
}

fn plain(block_bytes: u32) -> TablePolicy {
    TablePolicy::default().data_block_bytes(block_bytes).filter(LevelFilter::Off)
}

/// A cold scan reads two blocks alone, then windows that double from 32 KiB to 1 MiB, each block once; the same back.
#[test]
fn a_cold_scan_reads_windows() {
    let world = World::new(10_000, plain(4 << 10));
    let count = world.blocks.len();
    assert!(count > 1_000, "{count}");
    for cache in [0, ROOMY] {
        let tree = world.open(cache);
        assert_eq!(tree.iter().keys().map(Result::unwrap).count(), 10_000);
        let reads = world.take_reads();
        assert_eq!(reads, world.windows(count), "{cache}");
        assert!(reads.len() < 14, "{}", reads.len());
        assert!(reads.iter().any(|read| world.bytes(read) > 1_000_000));
        drop(tree);

        let tree = world.open(cache);
        assert_eq!(tree.iter().rev().map(Result::unwrap).count(), 10_000);
        let mut back = world.take_reads();
        assert_eq!(back.len(), reads.len());
        assert!(back.iter().all(|read| world.bytes(read) <= 1 << 20));
        back.reverse();
        assert_eq!(back.first().unwrap().start, 0);
        assert_eq!(back.last().unwrap().end, count);
        assert!(back.windows(2).all(|pair| pair[0].end == pair[1].start), "each block once: {back:?}");
    }
}

/// Index partitions among the data blocks break no row.
#[test]
fn a_scan_goes_on_over_index_partitions() {
    let mut tables = plain(1 << 10);
    (tables.index_spill_bytes, tables.index_partition_bytes) = (0, 1 << 10);
    let world = World::new(2_000, tables);
    let gaps = world.blocks.windows(2).filter(|pair| pair[0].bytes.end < pair[1].bytes.start).count();
    assert!(gaps > 5, "{gaps}");
    for back in [false, true] {
        let tree = world.open(0);
        let found = if back { tree.iter().rev().count() } else { tree.iter().count() };
        assert_eq!(found, 2_000);
        let reads = world.take_reads();
        assert!(reads.len() <= 8 + 2 * gaps, "{} reads over {gaps} gaps", reads.len());
        assert_eq!(reads.iter().map(Range::len).sum::<usize>(), world.blocks.len(), "each once");
    }
}

/// A scan that ends within two blocks reads those, from either end; seeks here and there read one block each.
#[test]
fn short_scans_and_seeks_read_what_they_need() {
    let world = World::new(2_000, plain(4 << 10));
    let last = world.blocks.len() - 1;
    let two = world.blocks[1].keys.end;
    let tree = world.open(0);
    tree.iter().take(usize::try_from(two).unwrap()).for_each(|entry| drop(entry.unwrap()));
    assert_eq!(world.take_reads(), [0..1, 1..2]);
    // Walking back, an entry is known when the one before it is.
    let two = 2_000 - world.blocks[last - 1].keys.start - 1;
    tree.iter().rev().take(usize::try_from(two).unwrap()).for_each(|entry| drop(entry.unwrap()));
    assert_eq!(world.take_reads(), [last..last + 1, last - 1..last]);

    let mut cursor = tree.cursor::<&[u8]>(..).unwrap();
    for block in [7, 3, 90, 92, 94, 96, 5] {
        assert!(cursor.seek(key(world.blocks[block].keys.start)).unwrap());
        let reads = world.take_reads();
        assert_eq!((reads.len(), &reads[0]), (1, &(block..block + 1)));
    }
    // After a long scan it starts anew elsewhere.
    cursor.seek_first().unwrap();
    while cursor.move_next().unwrap() {}
    world.take_reads();
    cursor.seek(key(world.blocks[40].keys.start)).unwrap();
    for _ in 0..world.blocks[40].keys.clone().count() {
        cursor.move_next().unwrap();
    }
    assert_eq!(world.take_reads(), [40..41, 41..42]);
}

type Bounds = (Bound<String>, Bound<String>);

/// Bounds from key `lower` to key `upper`.
fn bounds(lower: u64, upper: u64, dice: &mut Dice) -> Bounds {
    let mut bound =
        |number| if dice.coin() { Bound::Included(key(number)) } else { Bound::Excluded(key(number)) };
    (bound(lower), bound(upper))
}

/// A bounded scan reads each block with keys of its range once, and none beyond the one where it sees that it is over:
/// forward, back, and where a cursor goes from range to range.
#[test]
fn a_bounded_scan_reads_nothing_beyond() {
    let world = World::new(3_000, plain(2 << 10));
    let mut dice = Dice::new(7);
    let tree = world.open(0);
    tree.first().unwrap();
    let check = |lower: u64, upper: u64, bounds: &Bounds, what: &str| {
        let reads = world.take_reads();
        let mut read: Vec<usize> = reads.iter().cloned().flatten().collect();
        read.sort_unstable();
        assert!(read.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{what} {bounds:?}: {reads:?}");
        let within = |from: u64, to: u64| (world.block_of(from), world.block_of(to));
        let (first, last) = (*read.first().unwrap(), *read.last().unwrap());
        let (needed, allowed) = (within(lower + 1, upper - 1), within(lower.saturating_sub(1), upper + 1));
        assert!(first <= needed.0 && needed.1 <= last, "{what} {bounds:?}: {reads:?}");
        assert!(allowed.0 <= first && last <= allowed.1, "{what} {bounds:?}: {reads:?}, {allowed:?}");
        let most = 5 + (last - first) / 12;
        assert!(reads.len() <= most, "{what} {bounds:?}: {reads:?}");
    };
    world.take_reads();
    for _ in 0..60 {
        let lower = dice.below(2_990);
        let longest = if dice.coin() { 30 } else { 1_500 };
        let upper = (lower + 2 + dice.below(longest)).min(2_999);
        let bounds = bounds(lower, upper, &mut dice);
        let expected = (0..3_000).filter(|number| bounds.contains(&key(*number))).count();

        assert_eq!(tree.range(bounds.clone()).map(Result::unwrap).count(), expected);
        check(lower, upper, &bounds, "forward");
        assert_eq!(tree.range(bounds.clone()).rev().map(Result::unwrap).count(), expected);
        check(lower, upper, &bounds, "back");
        let raw = tree.view().versions(bounds.clone()).map(Result::unwrap).count();
        assert_eq!(raw, expected);
        check(lower, upper, &bounds, "versions");
        // The bounds are neither those that the cursor was made with nor those of its first range.
        let ranges = [(Bound::Included(key(lower)), Bound::Excluded(key(lower))), bounds.clone()];
        assert_eq!(tree.ranges(ranges).map(Result::unwrap).count(), expected);
        check(lower, upper, &bounds, "ranges");
    }
}

/// What the cache has is not read again, but for a block or two between others.
#[test]
fn cached_blocks_are_left_out() {
    let world = World::new(3_000, plain(4 << 10));
    let tree = world.open(ROOMY);
    let start = |block: usize| key(world.blocks[block].keys.start);
    for (from, to) in [(50, 60), (100, 101), (150, 300)] {
        assert!(tree.range(start(from)..start(to)).map(Result::unwrap).count() > 0);
    }
    let cached: Vec<usize> = world.take_reads().into_iter().flatten().collect();
    assert_eq!(tree.iter().map(Result::unwrap).count(), 3_000);
    let read: Vec<usize> = world.take_reads().into_iter().flatten().collect();
    let again: Vec<usize> = read.iter().copied().filter(|block| cached.contains(block)).collect();
    assert!(again.iter().all(|block| (100..=101).contains(block)), "{again:?}");
    assert_eq!(read.len() + cached.len() - again.len(), world.blocks.len(), "all others, once");
    assert_eq!(tree.iter().map(Result::unwrap).count(), 3_000);
    assert!(world.take_reads().is_empty());
}

/// A byte that cannot be read fails the scan where its block begins, not where it would have been read ahead; from
/// the other end likewise. A block that is damaged does the same.
#[test]
fn damage_ahead_shows_when_it_is_reached() {
    let world = World::new(2_000, plain(4 << 10));
    for (bad, flip) in [(2, false), (3, false), (77, false), (120, false), (77, true)] {
        let block = world.blocks[bad].clone();
        let byte = block.bytes.start + 100;
        let flip_it = || {
            let mut old = [0];
            world.fs.open(&world.path, &OpenOptions::READ).unwrap().read_at(byte, &mut old).unwrap();
            let file = world.fs.open(&world.path, &OpenOptions::WRITE).unwrap();
            file.write_at(byte, &[old[0] ^ 1]).unwrap();
        };
        if flip {
            flip_it();
        } else {
            world.control.spoil(&world.path, byte);
        }
        for cache in [0, ROOMY] {
            let tree = world.open(cache);
            let (before, behind) = (block.keys.start, 2_000 - block.keys.end);
            let mut scan = tree.iter();
            let good = scan.by_ref().take_while(Result::is_ok).count() as u64;
            assert_eq!(good, before, "block {bad}");
            assert!(scan.next().is_none(), "an error ends it");
            let good = tree.iter().rev().take_while(Result::is_ok).count() as u64;
            assert!(good == behind || good + 1 == behind, "block {bad}: {good} of {behind}");
        }
        if flip {
            flip_it();
        } else {
            world.control.heal();
        }
        world.take_reads();
    }
}

/// Scans answer as a map does, from both ends in turn and by a cursor that jumps, steps and turns: over several runs of
/// small tables, sealed or not, with caches of any size.
#[test]
fn answers_are_those_of_a_map() {
    for (case, cache) in [(0_u64, 0), (1, 8 << 10), (2, ROOMY), (3, 8 << 10)] {
        let mut dice = Dice::new(case);
        let mut tables = plain(512);
        if case == 1 {
            (tables.index_spill_bytes, tables.index_partition_bytes) = (256, 256);
        }
        let options = TreeOptions::new("/db")
            .store(|store| {
                let store = store.fs(Arc::<MemFs>::default()).cache(BlockCache::new(cache));
                if case == 3 { store.encryption(common::sealed::encryption()) } else { store }
            })
            .tables(tables)
            .table_target_bytes(40_000);
        let tree = Tree::open(options).unwrap();
        let mut map: BTreeMap<Slice, Slice> = BTreeMap::new();
        for write in 0..1_500 {
            let (key, value) = (key(dice.below(900)), value(write)[..60].to_vec());
            tree.insert(&key, &value, at(write)).unwrap();
            map.insert(Slice::from(key.as_bytes()), Slice::from(value));
            if write % 400 == 399 {
                flush(&tree);
            }
        }
        let pairs: Vec<_> = map.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(tree.iter().pairs().map(Result::unwrap).collect::<Vec<_>>(), pairs);
        for _ in 0..10 {
            let lower = dice.below(900);
            let bounds = bounds(lower, lower + 1 + dice.below(500), &mut dice);
            let mut scan = tree.range(bounds.clone()).pairs();
            let mut expected =
                pairs.iter().filter(|(key, _)| bounds.contains(&String::from_utf8(key.to_vec()).unwrap()));
            loop {
                let (found, expected) = if dice.one_in(3) {
                    (scan.next_back(), expected.next_back())
                } else {
                    (scan.next(), expected.next())
                };
                assert_eq!(found.map(Result::unwrap).as_ref(), expected);
                if expected.is_none() {
                    break;
                }
            }
        }
        let mut cursor = tree.cursor::<&[u8]>(..).unwrap();
        for _ in 0..30 {
            let target = Slice::from(key(dice.below(900)).as_bytes());
            let mut place = pairs.partition_point(|(key, _)| *key < target);
            assert_eq!(cursor.seek(&target).unwrap(), place < pairs.len());
            for _ in 0..dice.below(200) {
                let forward = dice.below(8) > 2;
                if place >= pairs.len() || (place == 0 && !forward) {
                    break;
                }
                place = if forward { place + 1 } else { place - 1 };
                let on_entry = if forward { cursor.move_next() } else { cursor.move_prev() };
                assert_eq!(on_entry.unwrap(), place < pairs.len());
                let expected = pairs.get(place);
                assert_eq!(cursor.key(), expected.map(|(key, _)| &key[..]));
                assert_eq!(cursor.value().unwrap(), expected.map(|(_, value)| &value[..]));
            }
        }
    }
}
