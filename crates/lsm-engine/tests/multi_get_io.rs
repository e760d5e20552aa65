//! What reads of many keys read: each block once, neighbours together, and nothing by themselves when somebody else
//! fetches; and what damage takes from them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{at, flush};
use lsm_engine::{
    BlockCache, BlockRead, CompactOptions, LevelFilter, MultiGet, Reader, TablePolicy, Tree, TreeOptions,
};
use lsm_fs::{Fs, FsFile, MemFs, OpenOptions};
use lsm_sst::{Table, TableOptions};
use lsm_testkit::{dice::Dice, operators::Join};
use lsm_types::{ErrorKind, FileKind, Result, Slice};
use wrap::{Control, ReadNote, WrapFs};

const TABLES: &str = "/db/tables";
const KEYS: u64 = 600;

fn key(number: u64) -> String {
    format!("key-{number:05}")
}

fn value(number: u64) -> Vec<u8> {
    format!("{number}-").repeat(9).into_bytes()
}

/// A file system that writes reads down.
fn noting() -> (Arc<MemFs>, Arc<Control>) {
    (Arc::default(), Arc::default())
}

fn options(fs: &Arc<MemFs>, control: &Arc<Control>, cache: u64, tables: TablePolicy) -> TreeOptions {
    let fs = WrapFs { inner: fs.clone(), control: control.clone() };
    TreeOptions::new("/db")
        .store(|store| store.fs(Arc::new(fs)).cache(BlockCache::new(cache)))
        .tables(tables)
        .table_target_bytes(6_000)
}

/// A tree of several tables in one run; with every third key written anew in a second one.
fn filled(fs: &Arc<MemFs>, control: &Arc<Control>, tables: &TablePolicy) {
    let tree = Tree::open(options(fs, control, 1 << 20, tables.clone())).unwrap();
    for number in 0..KEYS {
        tree.insert(key(number), "old", at(number)).unwrap();
        tree.insert(key(number), value(number), at(KEYS + number)).unwrap();
    }
    tree.set_gc_watermark(at(2 * KEYS));
    flush(&tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
    tree.close().unwrap();
}

fn plain() -> TablePolicy {
    TablePolicy::default().data_block_bytes(512).filter(LevelFilter::Off)
}

/// The bytes of a file.
fn contents(fs: &MemFs, path: &Path) -> Vec<u8> {
    let file = fs.open(path, &OpenOptions::READ).unwrap();
    let mut bytes = vec![0; usize::try_from(FsFile::len(file.as_ref()).unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Where each key lies: file, first byte, and bytes of its block.
fn places(fs: &MemFs) -> BTreeMap<String, (PathBuf, u64, usize)> {
    let mut places = BTreeMap::new();
    for entry in fs.read_dir(TABLES.as_ref()).unwrap() {
        let path = PathBuf::from(TABLES).join(&entry.name);
        let bytes = contents(fs, &path);
        let table = Table::open(bytes, TableOptions::new()).unwrap();
        for block in table.blocks() {
            let block = block.unwrap();
            let handle = block.at().handle;
            for entry in block.load().unwrap().entries() {
                let key = String::from_utf8(entry.key().to_vec()).unwrap();
                places.insert(key, (path.clone(), handle.offset, handle.len as usize));
            }
        }
    }
    places
}

/// Blocks put together where they touch.
fn together(blocks: &BTreeSet<(PathBuf, u64, usize)>) -> Vec<(PathBuf, u64, usize)> {
    let mut all: Vec<(PathBuf, u64, usize)> = Vec::new();
    for (path, offset, len) in blocks.iter().cloned() {
        match all.last_mut() {
            Some((last, start, bytes)) if *last == path && *start + *bytes as u64 == offset => *bytes += len,
            _ => all.push((path, offset, len)),
        }
    }
    all
}

fn drive(mut read: MultiGet) -> Vec<Result<Option<Slice>>> {
    while !read.wanted().is_empty() {
        let outcomes: Vec<_> = read.wanted().iter().map(BlockRead::read).collect();
        read.supply(outcomes);
    }
    read.finish_each()
}

/// Has the metadata of all tables read, and no block.
fn open_all(tree: &Tree) {
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    let mut read = tree.start_multi_get(&tree.view(), &keys);
    let outcomes: Vec<_> = read.wanted().iter().map(BlockRead::read).collect();
    read.supply(outcomes);
}

/// Proves E-69: reads are the blocks that hold the keys, each once however many keys lie in it, and one read for those
/// that touch, in a cache that keeps them and in one that keeps nothing.
#[test]
fn each_block_is_read_once_and_neighbours_together() {
    let (fs, control) = noting();
    filled(&fs, &control, &plain());
    let places = places(&fs);
    assert!(places.values().map(|(path, ..)| path).collect::<BTreeSet<_>>().len() > 3, "several tables");
    for cache in [0, 1 << 20] {
        for step in [1, 2, 5, 23, 150] {
            let tree = Tree::open(options(&fs, &control, cache, plain())).unwrap();
            let asked: Vec<u64> = (0..KEYS).step_by(step).collect();
            open_all(&tree);
            control.take_reads();

            let mut keys: Vec<String> = asked.iter().rev().map(|number| key(*number)).collect();
            keys.extend(keys.clone());
            let found = tree.multi_get(&keys).unwrap();
            for (found, number) in found.iter().zip(asked.iter().rev().cycle()) {
                assert_eq!(found.as_deref(), Some(&value(*number)[..]));
            }
            let blocks: BTreeSet<_> = asked.iter().map(|number| places[&key(*number)].clone()).collect();
            let mut reads: Vec<_> = control
                .take_reads()
                .into_iter()
                .map(|ReadNote { path, offset, len }| (path, offset, len))
                .collect();
            reads.sort();
            assert_eq!(reads, together(&blocks), "every {step}th key");
            // What the cache took is not read again.
            tree.multi_get(&keys).unwrap();
            assert_eq!(control.take_reads().is_empty(), cache > 0);
        }
    }
}

/// Proves E-69: with filters and a partitioned index in small pieces, nothing is read twice either.
#[test]
fn no_piece_of_metadata_is_read_twice() {
    let mut tables = common::small_tables().filter(LevelFilter::bits(8.0).unwrap());
    tables.pin_filter = vec![false];
    let (fs, control) = noting();
    filled(&fs, &control, &tables);
    let tree = Tree::open(options(&fs, &control, 0, tables)).unwrap();
    open_all(&tree);
    control.take_reads();
    let keys: Vec<String> = (0..KEYS).flat_map(|number| [key(number), key(number) + "x"]).collect();
    let found = tree.multi_get(&keys).unwrap();
    assert_eq!(found.iter().flatten().count() as u64, KEYS);
    let mut reads = control.take_reads();
    reads.sort_by(|a, b| (&a.path, a.offset).cmp(&(&b.path, b.offset)));
    for pair in reads.windows(2) {
        let apart = pair[0].path != pair[1].path || pair[0].offset + pair[0].len as u64 <= pair[1].offset;
        assert!(apart, "{pair:?}");
    }
    let largest = reads.iter().map(|read| read.len).max().unwrap();
    assert!(largest > 2_000, "neighbours come together: {largest}");
}

/// Proves E-69: what is wanted at a time stays within a budget, though more is missing.
#[test]
fn what_is_wanted_is_bounded() {
    let (fs, control) = noting();
    let tables = TablePolicy::default().data_block_bytes(64 << 10).filter(LevelFilter::Off);
    let options = || options(&fs, &control, 0, tables.clone()).table_target_bytes(64 << 20);
    let tree = Tree::open(options()).unwrap();
    let mut dice = Dice::new(1);
    for number in 0..160 {
        let value: Vec<u8> = (0..60 << 7).flat_map(|_| dice.roll().to_le_bytes()).collect();
        tree.insert(key(number), value, at(number)).unwrap();
    }
    flush(&tree);
    tree.close().unwrap();
    let tree = Tree::open(options()).unwrap();
    let keys: Vec<String> = (0..160).map(key).collect();
    let mut read = tree.start_multi_get(&tree.view(), &keys);
    let mut most = 0;
    while !read.wanted().is_empty() {
        most = most.max(read.wanted().iter().map(BlockRead::len).sum());
        assert!(read.wanted().iter().all(|wanted| wanted.len() <= 1 << 20));
        let outcomes: Vec<_> = read.wanted().iter().map(BlockRead::read).collect();
        read.supply(outcomes);
    }
    assert!((3 << 20..=4 << 20).contains(&most), "{most}");
    assert!(
        read.finish()
            .unwrap()
            .iter()
            .all(|found| found.as_ref().is_some_and(|value| value.len() == 60 << 10))
    );
}

/// Proves E-69: one read of many keys fills half of the cache at most, and answers beyond that as well.
#[test]
fn a_huge_read_leaves_room_in_the_cache() {
    let (fs, control) = noting();
    filled(&fs, &control, &plain());
    let cache = 24 << 10;
    let tree = Tree::open(options(&fs, &control, cache, plain())).unwrap();
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    let found = tree.multi_get(&keys).unwrap();
    let expected = (0..KEYS).map(|number| Some(Slice::from(value(number)))).collect::<Vec<_>>();
    assert!(found == expected);
    let held = tree.store().cache().bytes();
    assert!(held > cache / 4 && held <= cache / 2, "{held} of {cache}");
}

/// Proves E-70: driven by somebody else the machine does no I/O of its own, from tables nobody opened yet on; it may be
/// dropped at every point, and goes on after the tree is closed.
#[test]
fn whoever_drives_does_all_reads() {
    fn may_move<T: Send + 'static>(_: &T) {}
    let mut tables = common::small_tables().filter(LevelFilter::bits(8.0).unwrap());
    tables.pin_filter = vec![true, false];
    let (fs, control) = noting();
    filled(&fs, &control, &tables);
    let open = || Tree::open(options(&fs, &control, 64 << 10, tables.clone())).unwrap();
    let tree = open();
    tree.remove_range(key(10)..key(20), at(2 * KEYS)).unwrap();
    flush(&tree);
    tree.close().unwrap();

    let keys: Vec<String> = (0..KEYS).step_by(3).map(key).collect();
    let expected = open().view().multi_get(&keys).unwrap();
    assert_eq!(expected.iter().flatten().count(), keys.len() - 3);
    let mut rounds = 0;
    for stop in 0.. {
        let tree = open();
        control.take_reads();
        let mut read = tree.start_multi_get(&tree.view(), &keys);
        may_move(&read);
        drop(tree);
        let mut round = 0;
        while !read.wanted().is_empty() && round < stop {
            let fetch = |wanted: &BlockRead| {
                let start = usize::try_from(wanted.offset()).unwrap();
                Ok(Slice::copy_from(&contents(&fs, &wanted.path())[start..start + wanted.len()]))
            };
            let outcomes: Vec<_> = read.wanted().iter().map(fetch).collect();
            read.supply(outcomes);
            round += 1;
        }
        assert_eq!(control.take_reads(), [], "all reads are the caller's");
        if read.wanted().is_empty() {
            assert_eq!(read.finish().unwrap(), expected);
            rounds = round;
            break;
        }
        if stop % 2 == 0 {
            assert_eq!(read.finish().unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }
    assert!(rounds > 3, "open, filters, index, blocks: {rounds}");
}

/// Proves E-70: bytes that are missing, or too few, are errors of the keys that need them, and never an answer.
#[test]
fn reads_that_fail_are_no_answers() {
    let (fs, control) = noting();
    filled(&fs, &control, &plain());
    let keys = [key(5), key(500), "nowhere".to_owned()];
    for bad in 0..3 {
        let tree = Tree::open(options(&fs, &control, 0, plain())).unwrap();
        let mut read = tree.start_multi_get(&tree.view(), &keys);
        while !read.wanted().is_empty() {
            let mut outcomes: Vec<_> = read.wanted().iter().map(BlockRead::read).collect();
            match bad {
                0 => outcomes.truncate(1),
                1 => outcomes.iter_mut().skip(1).for_each(|outcome| *outcome = Ok(Slice::empty())),
                _ => outcomes.iter_mut().for_each(|outcome| *outcome = Ok(Slice::empty())),
            }
            read.supply(outcomes);
        }
        let each = read.finish_each();
        let failed =
            |outcome: &Result<Option<Slice>>| outcome.as_ref().is_err_and(|error| error.location().is_some());
        assert_eq!(failed(&each[0]), bad == 2);
        assert!(failed(&each[1]));
        assert_eq!(each[2].as_ref().unwrap(), &None);
    }
}

/// Proves E-71: a flipped bit, and a byte that cannot be read, are errors that name file and offset; they hit the keys
/// of that block and no others, though blocks beside it are read with it.
#[test]
fn damage_hits_the_keys_of_its_block() {
    let (fs, control) = noting();
    filled(&fs, &control, &plain());
    let places = places(&fs);
    let bad = places[&key(300)].clone();
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    for flip in [true, false] {
        let file = fs.open(&bad.0, &OpenOptions::WRITE).unwrap();
        let byte = bad.1 + bad.2 as u64 / 2;
        let mut sound = [0];
        fs.open(&bad.0, &OpenOptions::READ).unwrap().read_at(byte, &mut sound).unwrap();
        if flip {
            file.write_at(byte, &[sound[0] ^ 4]).unwrap();
        } else {
            control.spoil(&bad.0, byte);
        }
        let tree = Tree::open(options(&fs, &control, 1 << 20, plain())).unwrap();
        let each = drive(tree.start_multi_get(&tree.view(), &keys));
        for (number, outcome) in (0..KEYS).zip(each) {
            let single = tree.get(key(number));
            if places[&key(number)] == bad {
                for error in [outcome.unwrap_err(), single.unwrap_err()] {
                    let place = error.location().unwrap();
                    assert_eq!((place.kind, place.offset), (FileKind::Table, bad.1), "{error}");
                    assert!(bad.0.to_string_lossy().contains(&place.id.to_string()), "{error}");
                    assert_eq!(error.is_corruption(), flip);
                }
            } else {
                assert_eq!(outcome.unwrap().as_deref(), Some(&value(number)[..]));
                assert_eq!(single.unwrap().as_deref(), Some(&value(number)[..]));
            }
        }
        assert!(tree.multi_get(&keys).is_err());
        let sound_keys: Vec<_> = keys.iter().filter(|key| places[*key] != bad).collect();
        assert!(tree.multi_get(&sound_keys).unwrap().iter().all(Option::is_some));
        // Nothing of the failure stays behind.
        file.write_at(byte, &sound).unwrap();
        control.heal();
        assert!(tree.multi_get(&keys).unwrap().iter().all(Option::is_some));
    }
}

/// Proves E-67: a pinned value outlives the eviction of its block, the table it lies in, its view and the tree; one
/// from a memtable, or made by an operator, is the caller's own.
#[test]
fn pinned_values_outlive_everything() {
    let (fs, control) = noting();
    filled(&fs, &control, &plain());
    let operator = Arc::new(Join::new(false));
    let tree = Tree::open(options(&fs, &control, 16 << 10, plain()).merge_operator(operator)).unwrap();
    let view = tree.view();
    let pinned: Vec<_> = (0..KEYS).map(|number| view.get_pinned(key(number)).unwrap().unwrap()).collect();
    assert!(pinned.iter().all(lsm_engine::Pinned::is_pinned));
    let many = view.multi_get(&(0..KEYS).map(key).collect::<Vec<_>>()).unwrap();
    tree.merge(key(0), "more", at(2 * KEYS)).unwrap();
    tree.insert(key(1), "other", at(2 * KEYS + 1)).unwrap();
    let own = [key(0), key(1)].map(|key| tree.get_pinned(key).unwrap().unwrap());
    assert!(own.iter().all(|value| !value.is_pinned()));

    drop(view);
    for number in 2..KEYS {
        tree.remove(key(number), at(3 * KEYS + number)).unwrap();
    }
    tree.set_gc_watermark(at(5 * KEYS));
    flush(&tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(tree.count().unwrap(), 2);
    tree.close().unwrap();
    drop(fs);
    for (number, (pinned, many)) in (0..KEYS).zip(pinned.into_iter().zip(many)) {
        assert_eq!(&pinned[..], &value(number)[..]);
        assert_eq!(pinned.into_slice(), many.unwrap());
    }
    assert_eq!(&own[0][..], &[&value(0)[..], b"+more"].concat()[..]);
    assert_eq!(&own[1][..], b"other");
}
