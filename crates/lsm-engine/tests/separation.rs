//! Trees with separated values, case by case: what is read, what is not, and when a value log goes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{path::Path, sync::Arc};

use common::{Reverse, at, contents, flush, small_tables};
use lsm_codec::Compression;
use lsm_compaction_planner::Fifo;
use lsm_engine::{
    BlockRead, Changed, CheckpointOptions, CompactOptions, CopyMethod, DictionaryOptions, IngestOptions,
    Outcome, ReadAhead, Reader, RelocationOptions, StoreOptions, Tree, TreeOptions, VlogPicker, VlogPolicy,
};
use lsm_fs::{Fs, MemFs, OpenOptions};
use lsm_testkit::{filters::Recorded, operators::Join};
use lsm_types::{
    CompactionFilter, CompactionFilterFactory, Comparator, ErrorKind, FilterContext, FilterEntry, Kind,
    ReadAt, SeqNo, Slice, Verdict,
};

use wrap::{Control, WrapFs};

const BLOBS: &str = "/db/blobs";

fn policy(threshold: u32) -> VlogPolicy {
    VlogPolicy { thresholds: vec![threshold], ..VlogPolicy::default() }
}

fn options(fs: &Arc<MemFs>, threshold: u32) -> TreeOptions {
    let fs = fs.clone();
    // Value logs stay as they were written: what a compaction drops of them is what is looked at here.
    let relocation = RelocationOptions { picker: VlogPicker::NEVER, ..RelocationOptions::default() };
    let options = TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables());
    options.separation(policy(threshold)).relocation(relocation)
}

fn long(byte: u8) -> Vec<u8> {
    vec![byte; 2_000]
}

fn blobs(fs: &MemFs) -> Vec<std::path::PathBuf> {
    let names = fs.read_dir(Path::new(BLOBS)).unwrap();
    names.into_iter().map(|entry| Path::new(BLOBS).join(entry.name)).collect()
}

fn major(tree: &Tree) {
    tree.set_gc_watermark(SeqNo::new(tree.view().before().get()).unwrap());
    tree.major_compact(&CompactOptions::default()).unwrap();
}

/// What lies in the folder, once everything that is not needed any more is gone, is what the tree says it has.
#[track_caller]
fn check_files(tree: Tree, fs: &MemFs, files: usize) {
    assert_eq!(tree.stats().value_logs.files, files);
    tree.close().unwrap();
    assert_eq!(blobs(fs).len(), files, "after closing");
}

/// Proves D-69, E-190: values of the threshold's length and longer ones lie in value logs, shorter ones, operands and
/// deletes do not.
#[test]
fn long_values_lie_apart() {
    let fs = Arc::default();
    let tree = Tree::open(options(&fs, 100).merge_operator(Arc::new(Join::new(false)))).unwrap();
    tree.insert("a", [1; 99], at(1)).unwrap();
    tree.insert("b", [2; 100], at(2)).unwrap();
    tree.insert("c", [3; 101], at(3)).unwrap();
    tree.merge("d", [4; 500], at(4)).unwrap();
    tree.remove("e", at(5)).unwrap();
    flush(&tree);
    let stats = tree.stats().value_logs;
    assert_eq!((stats.files, stats.live.entries, stats.live.value_bytes), (1, 2, 201));
    assert_eq!((stats.total, stats.garbage_bytes()), (stats.live, 0));
    assert_eq!(tree.get("b").unwrap().unwrap(), [2; 100][..]);
    let mut expected = vec![];
    for (key, byte, len) in [("a", 1, 99), ("b", 2, 100), ("c", 3, 101), ("d", 4, 500)] {
        expected.push((key.as_bytes().to_vec(), vec![byte; len]));
    }
    assert_eq!(contents(&tree).unwrap(), expected);
    check_files(tree, &fs, 1);
}

/// Proves E-61, E-62, E-81: what can be told without the value is told without its file.
#[test]
fn keys_and_lengths_need_no_value() {
    let fs = Arc::default();
    let tree = Tree::open(options(&fs, 100)).unwrap();
    tree.insert("a", long(1), at(1)).unwrap();
    tree.insert("b", "short", at(2)).unwrap();
    tree.insert("c", long(3), at(3)).unwrap();
    flush(&tree);
    for path in blobs(&fs) {
        fs.remove_file(&path).unwrap();
    }
    assert!(tree.contains_key("a").unwrap());
    assert_eq!(tree.size_of("a").unwrap(), Some(2_000));
    assert_eq!(tree.entry_info("a").unwrap(), Some((Kind::Put, at(1))));
    assert_eq!(tree.iter().keys().count(), 3);
    assert_eq!(tree.count().unwrap(), 3);
    let entries: Vec<_> = tree.iter().map(|entry| entry.unwrap()).collect();
    let sizes: Vec<_> = entries.iter().map(|entry| entry.size().unwrap()).collect();
    assert_eq!(sizes, [2_000, 5, 2_000]);
    let mut cursor = tree.cursor::<&str>(..).unwrap();
    assert!(cursor.seek("c").unwrap());
    assert_eq!(cursor.size().unwrap(), Some(2_000));
    // With the value it is an error of this key, and of no other.
    assert!(tree.get("a").is_err() && cursor.value().is_err() && entries[0].value().is_err());
    assert_eq!(tree.get("b").unwrap().unwrap(), b"short"[..]);
    assert!(cursor.move_prev().unwrap());
    assert_eq!(cursor.value().unwrap(), Some(&b"short"[..]));
    let mut walk = tree.iter();
    assert!(walk.advance().is_err());
    assert_eq!(walk.advance().unwrap().unwrap().key, b"b");
    assert!(walk.advance().is_err());
    assert!(walk.advance().unwrap().is_none());
}

/// Proves E-191, D-80, E-57: values are fetched file by file in few reads, neighbours in one, where many are wanted at once.
#[test]
fn many_values_take_few_reads() {
    let control = Arc::new(Control::default());
    let fs: Arc<dyn Fs> = Arc::new(WrapFs { inner: Arc::new(MemFs::new()), control: control.clone() });
    let open = || {
        let fs = fs.clone();
        let store = |store: StoreOptions| store.fs(fs);
        Tree::open(TreeOptions::new("/db").store(store).separation(policy(100))).unwrap()
    };
    let tree = open();
    for (key, seqno) in (0..64_u8).zip(1..) {
        tree.insert([key], long(key), at(seqno)).unwrap();
    }
    flush(&tree);
    tree.close().unwrap();
    // Reads of the value log, after one that has opened it, and what they found.
    let reads = |read: &dyn Fn(&Tree) -> Vec<Slice>| {
        let tree = open();
        tree.get([63]).unwrap().unwrap();
        control.take_reads();
        let found = read(&tree);
        let reads = control.take_reads().into_iter().filter(|read| read.path.starts_with(BLOBS)).count();
        for (key, value) in found.iter().enumerate() {
            assert_eq!(*value, long(u8::try_from(key).unwrap())[..], "{key}");
        }
        (found.len(), reads)
    };
    let values = |pair: lsm_types::Result<(Slice, Slice)>| pair.unwrap().1;
    assert_eq!(reads(&|tree| tree.iter().pairs().take(60).map(values).collect()), (60, 60));
    // Windows of 4, 8, 16, 32 entries.
    let ahead = |tree: &Tree| tree.iter().value_readahead(ReadAhead::ENTRIES);
    assert_eq!(reads(&|tree| ahead(tree).pairs().take(60).map(values).collect()), (60, 4));
    assert_eq!(reads(&|tree| ahead(tree).pairs().take(3).map(values).collect()), (3, 1));
    let back = |tree: &Tree| {
        let mut found: Vec<_> = ahead(tree).pairs().rev().skip(4).map(values).collect();
        found.reverse();
        found
    };
    // From the back the first of these windows was passed over.
    assert_eq!(reads(&back), (60, 5));
    // What nobody looks at is not fetched.
    assert_eq!(
        reads(&|tree| {
            tree.iter().value_readahead(0).for_each(drop);
            vec![]
        }),
        (0, 0)
    );
    assert_eq!(
        reads(&|tree| {
            assert_eq!(tree.iter().keys().count(), 64);
            vec![]
        }),
        (0, 0)
    );
    let keys: Vec<[u8; 1]> = (0..60).map(|key| [key]).collect();
    let get = |tree: &Tree| tree.multi_get(&keys).unwrap().into_iter().map(Option::unwrap).collect();
    assert_eq!(reads(&get), (60, 1));
    // Keys in any order, some twice, some not there.
    let tree = open();
    let found = tree.multi_get(&[[9], [200], [3], [9]]).unwrap();
    assert_eq!(found, [Some(long(9).into()), None, Some(long(3).into()), Some(long(9).into())]);
}

/// Proves D-80, D-74: a damaged value ahead is an error of its entry, and of no other.
#[test]
fn damage_ahead_waits_for_its_entry() {
    let fs: Arc<MemFs> = Arc::default();
    let tree = Tree::open(options(&fs, 1)).unwrap();
    for (key, seqno) in (0..8_u8).zip(1..) {
        tree.insert([key], long(key), at(seqno)).unwrap();
    }
    flush(&tree);
    tree.close().unwrap();
    // The first value, which lies behind the superblock.
    fs.open(&blobs(&fs)[0], &OpenOptions::WRITE).unwrap().write_at(560, &[0xFF; 4]).unwrap();
    let tree = Tree::open(options(&fs, 1)).unwrap();
    let entries: Vec<_> = tree.iter().value_readahead(32).map(|entry| entry.unwrap()).collect();
    assert_eq!(entries.len(), 8);
    for (key, entry) in entries.iter().enumerate() {
        assert_eq!(entry.size().unwrap(), 2_000);
        match entry.value() {
            Ok(value) => assert_eq!(value, long(u8::try_from(key).unwrap())[..]),
            Err(error) => assert!(key == 0 && error.is_corruption(), "{key}: {error}"),
        }
    }
    assert!(entries[0].value().is_err());
    let mut read = tree.start_multi_get(&tree.view(), &[[0], [1]]);
    while !read.wanted().is_empty() {
        let outcomes: Vec<_> = read.wanted().iter().map(BlockRead::read).collect();
        read.supply(outcomes);
    }
    let each = read.finish_each();
    assert!(each[0].is_err());
    assert_eq!(each[1].as_ref().unwrap().as_ref().unwrap(), &long(1)[..]);
}

/// Proves E-193.
#[test]
fn a_tree_stays_what_it_was_created_as() {
    let fs: Arc<MemFs> = Arc::default();
    Tree::open(options(&fs, 1)).unwrap().close().unwrap();
    let plain = TreeOptions::new("/db").store(|store| store.fs(fs.clone()));
    let refused = Tree::open(plain).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OptionMismatch);
    assert_eq!(refused.to_string(), "the tree was created with separated values, but opened as one without");
    Tree::open(options(&fs, 500)).unwrap().close().unwrap();

    let fs: Arc<MemFs> = Arc::default();
    let plain = TreeOptions::new("/db").store(|store| store.fs(fs.clone()));
    Tree::open(plain).unwrap().close().unwrap();
    let refused = Tree::open(options(&fs, 1)).unwrap_err();
    assert_eq!(refused.to_string(), "the tree was created without separated values, but opened as one with");
}

/// Proves D-70, C-80: operands fold onto a separated value, in reads and in compactions, and the file of the value goes.
/// Fault: compaction W-31. Fault: durability W-10. Fault: engine 6.1 row 6.
#[test]
fn operands_fold_onto_separated_values() {
    let fs = Arc::default();
    let tree = Tree::open(options(&fs, 100).merge_operator(Arc::new(Join::new(false)))).unwrap();
    tree.insert("k", long(b'a'), at(1)).unwrap();
    flush(&tree);
    tree.merge("k", "x", at(2)).unwrap();
    tree.merge("k", long(b'y'), at(3)).unwrap();
    let folded = tree.get("k").unwrap().unwrap();
    assert!(folded.len() >= 4_001, "{}", folded.len());
    let check = |tree: &Tree| {
        assert_eq!(tree.get("k").unwrap().as_ref(), Some(&folded));
        assert_eq!(tree.size_of("k").unwrap(), Some(folded.len()));
        assert_eq!(tree.multi_get(&["k"]).unwrap(), [Some(folded.clone())]);
        for entry in [tree.iter().next(), tree.iter().next_back()] {
            assert_eq!(entry.unwrap().unwrap().value().unwrap(), folded);
        }
    };
    check(&tree);
    flush(&tree);
    check(&tree);
    let first = blobs(&fs);
    major(&tree);
    check(&tree);
    assert_eq!(tree.stats().levels.iter().map(|level| level.merge_operands).sum::<u64>(), 0);
    tree.close().unwrap();
    let last = blobs(&fs);
    assert_eq!((first.len(), last.len()), (1, 1));
    assert_ne!(first, last, "the result lies in a file of its own");
}

/// Proves C-73, C-173, D-83: a weak delete and a separated value go together, and the value log in the same edit.
/// Fault: compaction W-29. Fault: compaction W-30.
#[test]
fn weak_deletes_take_separated_values_along() {
    let fs = Arc::default();
    let tree = Tree::open(options(&fs, 1)).unwrap();
    tree.insert("a", long(1), at(1)).unwrap();
    flush(&tree);
    tree.remove_weak("a", at(2)).unwrap();
    flush(&tree);
    let view = tree.view_at(at(2)).unwrap();
    major(&tree);
    assert_eq!(tree.stats().tables(), 0);
    assert_eq!(tree.stats().value_logs.files, 0);
    // A view keeps what it pins.
    assert_eq!(view.get("a").unwrap().unwrap(), long(1)[..]);
    assert_eq!(blobs(&fs).len(), 1);
    drop(view);
    check_files(tree, &fs, 0);
}

/// Proves D-81, C-171: what nothing leads to is known exactly after each merge, and a file goes with its last value.
#[test]
fn garbage_is_what_merges_drop() {
    let fs = Arc::default();
    let tree = Tree::open(options(&fs, 1)).unwrap();
    for (key, seqno) in (0..10_u8).zip(1..) {
        tree.insert([key], long(key), at(seqno)).unwrap();
    }
    flush(&tree);
    for (key, seqno) in (0..9_u8).zip(20..) {
        tree.insert([key], long(key + 100), at(seqno)).unwrap();
    }
    flush(&tree);
    assert_eq!(tree.stats().value_logs.live.entries, 19, "an overwrite is not known before a merge");
    major(&tree);
    let stats = tree.stats().value_logs;
    assert_eq!((stats.files, stats.total.entries, stats.live.entries), (2, 19, 10));
    tree.remove([9], at(40)).unwrap();
    flush(&tree);
    major(&tree);
    let stats = tree.stats().value_logs;
    assert_eq!((stats.files, stats.total, stats.live.entries), (1, stats.live, 9));
    tree.clear(at(50)).unwrap();
    check_files(tree, &fs, 0);
}

/// Proves D-79: value logs follow the order of the tree. Fault: compaction W-11.
#[test]
fn other_orders() {
    let fs = Arc::default();
    let order: Arc<dyn Comparator> = Arc::new(Reverse);
    let tree = Tree::open(options(&fs, 1).comparator(order.clone())).unwrap();
    for (key, seqno) in (0..50_u8).zip(1..) {
        tree.insert([key], long(key), at(seqno)).unwrap();
        if seqno % 20 == 0 {
            flush(&tree);
        }
    }
    tree.remove_weak([7], at(100)).unwrap();
    flush(&tree);
    major(&tree);
    let expected = (0..50_u8).rev().filter(|key| *key != 7).map(|key| (vec![key], long(key)));
    assert_eq!(contents(&tree).unwrap(), expected.collect::<Vec<_>>());
    tree.close().unwrap();
    let tree = Tree::open(options(&fs, 1).comparator(order)).unwrap();
    assert_eq!(contents(&tree).unwrap().len(), 49);
}

/// Proves C-85: a filter sees separated values, and what it puts in their place is separated by its own length.
#[test]
fn filters_see_separated_values() {
    let fs = Arc::default();
    let filter = Recorded::new(|entry| {
        let value = entry.value()?;
        Ok(match value[0] {
            1 => Verdict::Replace(long(9).into()),
            2 => Verdict::Replace("short".into()),
            3 => Verdict::Remove,
            _ => Verdict::Keep,
        })
    });
    let tree = Tree::open(options(&fs, 100).compaction_filter_factory(Arc::new(filter))).unwrap();
    for (key, seqno) in (1..5_u8).zip(1..) {
        tree.insert([key], long(key), at(seqno)).unwrap();
    }
    flush(&tree);
    major(&tree);
    let expected = [(vec![1], long(9)), (vec![2], b"short".to_vec()), (vec![4], long(4))];
    assert_eq!(contents(&tree).unwrap(), expected);
    let stats = tree.stats().value_logs;
    assert_eq!((stats.files, stats.live.entries), (2, 2));
}

/// Asks for the values of keys below its own, and removes every tenth entry.
struct Curious(u8);

impl CompactionFilterFactory for Curious {
    fn name(&self) -> &'static str {
        "test.curious"
    }

    fn make(&self, _: &FilterContext) -> Box<dyn CompactionFilter> {
        Box::new(Curious(self.0))
    }
}

impl CompactionFilter for Curious {
    fn filter(&mut self, entry: FilterEntry<'_>) -> lsm_types::Result<Verdict> {
        if entry.key()[0] < self.0 {
            assert_eq!(entry.value()?[..], long(entry.key()[0]));
        }
        Ok(if entry.key()[0].is_multiple_of(10) { Verdict::Remove } else { Verdict::Keep })
    }
}

/// Proves C-85: what a filter does not ask for is not read, nor what no filter sees; what it asks for is read once.
#[test]
fn a_filter_costs_the_values_it_asks_for() {
    for (asks, expected) in [(None, 0), (Some(0), 0), (Some(4), 4), (Some(30), 30)] {
        let control = Arc::new(Control::default());
        let fs: Arc<dyn Fs> = Arc::new(WrapFs { inner: Arc::new(MemFs::new()), control: control.clone() });
        let mut options = TreeOptions::new("/db").store(|store| store.fs(fs)).separation(policy(100));
        if let Some(asks) = asks {
            options = options.compaction_filter_factory(Arc::new(Curious(asks)));
        }
        let tree = Tree::open(options).unwrap();
        for (key, seqno) in (0..30_u8).zip(1..) {
            tree.insert([key], long(key), at(seqno)).unwrap();
        }
        flush(&tree);
        // Opened before, so that only values are counted.
        tree.get([29]).unwrap();
        control.take_reads();
        major(&tree);
        let reads = control.take_reads().into_iter().filter(|read| read.path.starts_with(BLOBS)).count();
        // The one that was read before is in the cache.
        let cached = usize::from(expected == 30);
        assert_eq!(reads, expected - cached, "{asks:?}");
        let left = if asks.is_some() { 27 } else { 30 };
        assert_eq!(tree.stats().value_logs.live.entries, left);
    }
}

/// Proves C-173, D-83, D-81: whatever drops tables or entries, no value log stays that nothing leads to.
/// Fault: compaction W-29. Fault: durability W-28.
#[test]
fn no_way_of_dropping_leaves_a_file_behind() {
    type Way = (&'static str, fn(&Tree));
    let drops: [Way; 6] = [
        ("clear", |tree| tree.clear(at(100)).unwrap()),
        ("drop_range", |tree| {
            tree.drop_range::<&[u8]>(.., at(100)).unwrap();
            major(tree);
        }),
        ("fifo", |tree| {
            let report = tree.compact(&Fifo::new(0), &CompactOptions::default()).unwrap();
            assert_eq!(report.outcome, Outcome::Dropped);
        }),
        ("weak deletes", |tree| {
            for key in 0..30_u8 {
                tree.remove_weak([key], at(100)).unwrap();
            }
            flush(tree);
            major(tree);
        }),
        ("range delete", |tree| {
            tree.remove_range::<&[u8]>(.., at(100)).unwrap();
            flush(tree);
            major(tree);
        }),
        ("short values", |tree| {
            for key in 0..30_u8 {
                tree.insert([key], "short", at(100)).unwrap();
            }
            flush(tree);
            major(tree);
        }),
    ];
    for (name, drop_all) in drops {
        let fs = Arc::default();
        let tree = Tree::open(options(&fs, 100)).unwrap();
        for (key, seqno) in (0..30_u8).zip(1..) {
            tree.insert([key], long(key), at(seqno)).unwrap();
            if seqno % 10 == 0 {
                flush(&tree);
            }
        }
        assert_eq!((tree.stats().value_logs.files, blobs(&fs).len()), (3, 3), "{name}");
        drop_all(&tree);
        assert_eq!(tree.stats().value_logs.live.entries, 0, "{name}");
        assert!(tree.verify().unwrap().findings.is_empty());
        check_files(tree, &fs, 0);
        let tree = Tree::open(options(&fs, 100)).unwrap();
        assert!(tree.verify().unwrap().findings.is_empty(), "{name}");
    }
}

/// Proves E-190: by level, and for new files alone when it changes.
#[test]
fn thresholds_by_level() {
    let fs = Arc::default();
    let by_level = VlogPolicy { thresholds: vec![10_000, 100], ..VlogPolicy::default() };
    let tree = Tree::open(options(&fs, 1).separation(by_level)).unwrap();
    tree.insert("a", long(1), at(1)).unwrap();
    flush(&tree);
    assert_eq!(tree.stats().value_logs.files, 0);
    major(&tree);
    assert_eq!(tree.stats().value_logs.files, 1);
    assert_eq!(tree.get("a").unwrap().unwrap(), long(1)[..]);
    tree.close().unwrap();
    let tree = Tree::open(options(&fs, 1 << 20)).unwrap();
    tree.insert("b", long(2), at(2)).unwrap();
    flush(&tree);
    major(&tree);
    let stats = tree.stats().value_logs;
    assert_eq!((stats.files, stats.live.entries), (1, 1));
    assert_eq!(contents(&tree).unwrap(), [(b"a".to_vec(), long(1)), (b"b".to_vec(), long(2))]);
}

/// Proves D-69: what is ingested is separated, too.
#[test]
fn ingestions_separate() {
    let fs = Arc::default();
    let tree = Tree::open(options(&fs, 100)).unwrap();
    let mut ingestion = tree.ingest(IngestOptions::at(at(1))).unwrap();
    ingestion.put("a", long(1)).unwrap();
    ingestion.put("b", "short").unwrap();
    ingestion.put("c", long(3)).unwrap();
    ingestion.finish().unwrap();
    let mut dropped = tree.ingest(IngestOptions::at(at(2))).unwrap();
    dropped.put("a", long(7)).unwrap();
    drop(dropped);
    assert_eq!(blobs(&fs).len(), 1, "one that is dropped leaves nothing");
    assert_eq!(tree.stats().value_logs.live.entries, 2);
    let changes: Vec<_> = tree.changes::<&str>(at(0), ..).unwrap().map(Result::unwrap).collect();
    assert_eq!(changes.len(), 3);
    assert_eq!(changes[2].what, Changed::Put { key: "c".into(), value: long(3).into() });
    let versions: Vec<_> = tree.view().versions::<&str>(..).map(Result::unwrap).collect();
    assert_eq!((versions[0].kind, versions[0].value.as_ref()), (Kind::Put, &long(1)[..]));
}

/// Proves D-74: a damaged value is an error of its key, whatever byte it is.
#[test]
fn damaged_values_are_errors_of_their_keys() {
    let fs: Arc<MemFs> = Arc::default();
    let tree = Tree::open(options(&fs, 1)).unwrap();
    tree.insert("a", long(1), at(1)).unwrap();
    tree.insert("b", long(2), at(2)).unwrap();
    flush(&tree);
    tree.close().unwrap();
    let path = &blobs(&fs)[0];
    let file = fs.open(path, &OpenOptions::WRITE).unwrap();
    // Behind the superblock comes the frame of the first value.
    for offset in 512..560 {
        let mut byte = [0];
        fs.open(path, &OpenOptions::READ).unwrap().read_exact_at(offset, &mut byte).unwrap();
        file.write_at(offset, &[byte[0] ^ 0x10]).unwrap();
        let tree = Tree::open(options(&fs, 1)).unwrap();
        let error = tree.get("a").unwrap_err();
        assert!(error.is_corruption(), "byte {offset}: {error}");
        assert_eq!(tree.get("b").unwrap().unwrap(), long(2)[..], "byte {offset}");
        tree.close().unwrap();
        file.write_at(offset, &byte).unwrap();
    }
}

/// Proves D-43: a value log that is not there is found when the database is opened, and named.
#[test]
fn lost_value_logs_are_named() {
    let fs: Arc<MemFs> = Arc::default();
    let tree = Tree::open(options(&fs, 1)).unwrap();
    tree.insert("a", long(1), at(1)).unwrap();
    flush(&tree);
    tree.close().unwrap();
    let path = blobs(&fs)[0].clone();
    let aside = Path::new("/aside");
    fs.rename(&path, aside).unwrap();
    let error = Tree::open(options(&fs, 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingFiles);
    assert!(error.to_string().contains("value log"), "{error}");
    fs.rename(aside, &path).unwrap();
    let len = fs.metadata(&path).unwrap().len;
    fs.open(&path, &OpenOptions::WRITE).unwrap().set_len(len - 1).unwrap();
    assert_eq!(Tree::open(options(&fs, 1)).unwrap_err().kind(), ErrorKind::FileLengthMismatch);
}

/// Proves E-189, E-141: copies have the values, too.
#[test]
fn copies_are_whole() {
    let fs: Arc<MemFs> = Arc::default();
    let tree = Tree::open(options(&fs, 100)).unwrap();
    tree.insert("a", long(1), at(1)).unwrap();
    flush(&tree);
    tree.insert("b", long(2), at(2)).unwrap();
    let info = tree.checkpoint("/copy", &CheckpointOptions::default()).unwrap();
    assert_eq!(info.bytes_by(CopyMethod::Linked), info.bytes());
    let mut copied = CheckpointOptions::default();
    (copied.hard_link, copied.reflink) = (false, false);
    let info = tree.checkpoint("/copied", &copied).unwrap();
    assert_eq!(info.bytes_by(CopyMethod::Copied), info.bytes());
    tree.insert("c", long(3), at(3)).unwrap();
    tree.pin().restore_to("/pin", &CheckpointOptions::default()).unwrap();
    tree.clear(at(9)).unwrap();
    tree.close().unwrap();
    for (path, count) in [("/copy", 2), ("/copied", 2), ("/pin", 3)] {
        let options = TreeOptions::new(path).store(|store| store.fs(fs.clone())).separation(policy(100));
        let copy = Tree::open(options).unwrap();
        let expected = (1..=count).map(|byte| (vec![b'a' + byte - 1], long(byte)));
        assert_eq!(contents(&copy).unwrap(), expected.collect::<Vec<_>>(), "{path}");
    }
}

/// A record with words that all of them have in common.
fn record(number: u64) -> String {
    format!(
        "{{\"number\": {number}, \"state\": \"open\", \"customer\": \"{:x}\", \"note\": null}}",
        number * 0x9E37
    )
}

/// Proves D-76: values that were compressed with the dictionary of their file are read, overwritten, copied with it into
/// others, checkpointed and checked like all others, under whatever settings the tree is opened later.
#[test]
fn values_may_share_a_dictionary() {
    let fs: Arc<MemFs> = Arc::default();
    let dictionary = Some(DictionaryOptions { bytes: 512, sample_bytes: 4_000 });
    let compression = Compression::Zstd { level: 3 };
    let learning = |policy: VlogPolicy| VlogPolicy { compression, dictionary, ..policy };
    let open = |policy: VlogPolicy| {
        let relocation = RelocationOptions { picker: VlogPicker::ALWAYS, ..RelocationOptions::default() };
        Tree::open(options(&fs, 1).separation(policy).relocation(relocation)).unwrap()
    };
    let fill = |tree: &Tree, keys: std::ops::Range<u64>, first: u64| {
        for number in keys {
            tree.insert(format!("key-{number:04}"), record(number + first), at(first + number)).unwrap();
        }
        flush(tree);
    };
    let stored = |tree: &Tree| tree.stats().value_logs.live.stored_bytes;

    let tree = open(learning(policy(1)));
    fill(&tree, 0..300, 1);
    let with = stored(&tree);
    tree.close().unwrap();
    // The next values do without; the first ones are copied as they are, behind those.
    let tree = open(policy(1));
    fill(&tree, 300..600, 1);
    assert!(with * 10 < (stored(&tree) - with) * 9, "{with} of {}", stored(&tree));
    fill(&tree, 0..50, 1_001);
    major(&tree);
    let expected: Vec<_> = (0..600)
        .map(|number| {
            let first = if number < 50 { 1_001 } else { 1 };
            (format!("key-{number:04}").into_bytes(), record(number + first).into_bytes())
        })
        .collect();
    assert_eq!(contents(&tree).unwrap(), expected);
    assert!(tree.verify().unwrap().is_clean());
    tree.checkpoint("/copy", &CheckpointOptions::default()).unwrap();
    tree.close().unwrap();
    let copy = fs.clone();
    let copy = TreeOptions::new("/copy").store(|store| store.fs(copy)).separation(policy(1));
    let copy = Tree::open(copy).unwrap();
    assert_eq!(contents(&copy).unwrap(), expected);
    assert!(copy.verify().unwrap().is_clean());
}
