//! Old value logs are rewritten: what is live in them gets another place, and nobody notices.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use common::{Rest, Reverse, at, contents, flush, sealed::encryption, small_tables};
use lsm_codec::Compression;
use lsm_compaction_planner::{Fallback, Heal, Leveled, Reason, ValueGc};
use lsm_engine::{
    BlockCache, CompactOptions, CompactionReport, OnCorruption, Outcome, Reader, RelocationOptions,
    SpaceOptions, Tree, TreeOptions, ValueLogStats, VlogPicker, VlogPolicy,
};
use lsm_fs::{Fs, MemFs, OpenOptions};
use lsm_testkit::{dice::Dice, ports::TestClock};
use lsm_types::{ErrorKind, ReadAt, SeqNo, TableId, VlogId};
use wrap::{Control, WrapFs};

const BLOBS: &str = "/db/blobs";

fn options(fs: &Arc<MemFs>, picker: VlogPicker) -> TreeOptions {
    let fs = fs.clone();
    TreeOptions::new("/db")
        .store(|store| store.fs(fs))
        .tables(small_tables())
        .separation(VlogPolicy { thresholds: vec![100], ..VlogPolicy::default() })
        .relocation(RelocationOptions { picker, ..RelocationOptions::default() })
}

/// A value that differs in every byte from its neighbours', so that compressing it gains something but not everything.
fn value(number: u64) -> Vec<u8> {
    let mut dice = Dice::new(number);
    let half: Vec<u8> = (0..1_000).map(|_| dice.roll().to_le_bytes()[0]).collect();
    [&half[..], &half[..]].concat()
}

fn key(number: u64) -> Vec<u8> {
    format!("key-{number:03}").into_bytes()
}

type Model = BTreeMap<u64, u64>;

/// A tree, what it holds, and the next number.
struct World {
    tree: Tree,
    model: Model,
    next: u64,
}

impl World {
    fn open(options: TreeOptions) -> Self {
        Self { tree: Tree::open(options).unwrap(), model: Model::new(), next: 1 }
    }

    fn reopen(self, options: TreeOptions) -> Self {
        self.tree.close().unwrap();
        Self { tree: Tree::open(options).unwrap(), ..self }
    }

    /// Writes a new value of each key, and flushes.
    fn put(&mut self, keys: impl IntoIterator<Item = u64>) {
        for number in keys {
            self.tree.insert(key(number), value(self.next), at(self.next)).unwrap();
            self.model.insert(number, self.next);
            self.next += 1;
        }
        flush(&self.tree);
    }

    fn major(&self) -> CompactionReport {
        self.tree.set_gc_watermark(at(self.next));
        self.tree.major_compact(&CompactOptions::default()).unwrap()
    }

    /// Until there is nothing to do.
    fn settle(&self) -> Vec<CompactionReport> {
        self.tree.set_gc_watermark(at(self.next));
        let step = || self.tree.compact(&Leveled::default(), &CompactOptions::default()).unwrap();
        let reports: Vec<_> =
            std::iter::repeat_with(step).take_while(CompactionReport::did_work).take(50).collect();
        assert!(reports.len() < 50, "it comes to an end");
        reports
    }

    fn stats(&self) -> ValueLogStats {
        self.tree.stats().value_logs
    }

    fn logs(&self) -> Vec<VlogId> {
        self.tree.value_logs().into_iter().map(|log| log.id).collect()
    }

    /// Rewrites one table where it stands.
    fn rewrite(&self, table: TableId) -> CompactionReport {
        self.tree.set_gc_watermark(at(self.next));
        let heal = Heal { tables: vec![table], table_target_bytes: 1 << 20 };
        self.tree.compact(&heal, &CompactOptions::default()).unwrap()
    }

    #[track_caller]
    fn check(&self) {
        let expected: Vec<_> =
            self.model.iter().map(|(number, seqno)| (key(*number), value(*seqno))).collect();
        assert!(contents(&self.tree).unwrap() == expected, "what is read");
        for (number, seqno) in &self.model {
            assert!(self.tree.get(key(*number)).unwrap().unwrap() == value(*seqno)[..], "key {number}");
        }
        let verified = self.tree.verify().unwrap();
        assert!(verified.is_clean(), "{verified:?}");
    }
}

fn blobs(fs: &MemFs) -> Vec<PathBuf> {
    let names = fs.read_dir(Path::new(BLOBS)).unwrap();
    names.into_iter().map(|entry| Path::new(BLOBS).join(entry.name)).collect()
}

fn tables(tree: &Tree) -> Vec<TableId> {
    tree.pin().tables().map(|table| table.id()).collect()
}

/// Proves D-85, D-87, C-106, C-110: with default settings, a value log that is mostly garbage goes, though no merge
/// wants its tables. Fault: compaction W-23. Fault: durability W-27.
#[test]
fn one_stale_file_is_rewritten_in_the_end() {
    let fs: Arc<MemFs> = Arc::default();
    let mut world = World::open(options(&fs, VlogPicker::NEVER));
    world.put(0..20);
    world.put(0..19);
    world.major();
    let stale = world.logs()[0];
    assert_eq!(world.stats().garbage_tenths, [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert!(world.settle().is_empty(), "nothing else has anything to do");
    let world = world.reopen(options(&fs, VlogPicker::default()));
    let reports = world.settle();
    assert_eq!(reports.len(), 1);
    let report = &reports[0];
    assert_eq!((report.outcome, report.flavour), (Outcome::Merged, Some("relocating")));
    assert_eq!(report.reason, Some(Reason::ValueGarbage));
    assert_eq!((report.values_relocated, report.vlogs_removed), (1, 1));
    assert!(!world.logs().contains(&stale));
    assert_eq!((world.stats().total, world.stats().garbage_bytes()), (world.stats().live, 0));
    world.check();
    let totals = world.tree.stats().compactions;
    assert_eq!((totals.values_relocated, totals.vlogs_removed), (1, 1));
    assert_eq!(totals.value_bytes_relocated, report.value_bytes_relocated);
    // The same beside a strategy that does not do it by itself.
    let mut world = world.reopen(options(&fs, VlogPicker::NEVER));
    world.put(0..20);
    world.put(0..19);
    world.major();
    let world = world.reopen(options(&fs, VlogPicker::default()));
    let fallback = Fallback(Rest, ValueGc::default());
    world.tree.set_gc_watermark(at(world.next));
    let step = || world.tree.compact(&fallback, &CompactOptions::default()).unwrap();
    assert_eq!(step().vlogs_removed, 1);
    assert_eq!(step().outcome, Outcome::Idle);
    assert_eq!(world.stats().garbage_bytes(), 0);
    world.check();
    world.tree.close().unwrap();
    assert_eq!(blobs(&fs).len(), 2);
}

/// Proves D-85: with little garbage a value log waits for a quiet moment, or for somebody who asks for a merge.
#[test]
fn a_merge_that_is_asked_for_collects_what_waits_elsewhere() {
    let fs: Arc<MemFs> = Arc::default();
    let mut world = World::open(options(&fs, VlogPicker::default()));
    world.put(0..20);
    world.put(0..7);
    assert_eq!(world.major().values_relocated, 0, "what is garbage is known when this is done");
    assert!(world.settle().iter().all(|report| report.values_relocated == 0));
    assert!(world.stats().garbage_bytes() > 0);
    let report = world.major();
    assert_eq!((report.values_relocated, report.vlogs_removed), (13, 1));
    assert_eq!(world.stats().garbage_bytes(), 0);
    world.check();
}

/// Proves D-83, D-87, C-110, C-173: half of the tables that refer to a value log are rewritten: it stays until the others
/// are, and goes in that edit. Fault: compaction W-29. Fault: durability W-29.
#[test]
fn tables_outside_the_job_keep_the_old_file() {
    let fs: Arc<MemFs> = Arc::default();
    let mut world = World::open(options(&fs, VlogPicker::NEVER).table_target_bytes(1_000));
    world.put(0..400);
    world.put((0..400).filter(|number| number % 3 > 0));
    world.major();
    let stale = world.logs()[0];
    let world = world.reopen(options(&fs, VlogPicker { age_cutoff: 1.0, ..VlogPicker::default() }));
    let left = || world.tree.value_logs().iter().find(|log| log.id == stale).map_or(0, |log| log.tables);
    assert!(left() >= 2, "{}", left());
    for table in tables(&world.tree) {
        let before = left();
        let report = world.rewrite(table);
        assert_eq!(report.values_relocated > 0, left() < before, "{report:?}");
        assert_eq!(report.vlogs_removed, usize::from(left() == 0 && before > 0));
        assert_eq!(world.logs().contains(&stale), left() > 0);
        world.check();
    }
    assert_eq!(left(), 0);
    assert_eq!(world.stats().garbage_bytes(), 0);
}

/// Proves D-72, C-108: values keep the codec they were written with, whatever new ones get, through two relocations.
/// Fault: durability W-9.
#[test]
fn codecs_stay_with_the_values() {
    let codecs = [Compression::None, Compression::Lz4, Compression::Zstd { level: 3 }];
    for (seal, from) in [(false, 0), (false, 1), (false, 2), (true, 0), (true, 2)] {
        let fs: Arc<MemFs> = Arc::default();
        let with = |nth: usize, picker| {
            let options = options(&fs, picker).separation(VlogPolicy {
                thresholds: vec![100],
                compression: codecs[nth % 3],
                ..VlogPolicy::default()
            });
            if seal { options.store(|store| store.encryption(encryption())) } else { options }
        };
        let mut world = World::open(with(from, VlogPicker::NEVER));
        world.put(0..30);
        let first = world.stats().live;
        for step in 1..=3 {
            world = world.reopen(with(from + step, VlogPicker::ALWAYS));
            let report = world.major();
            assert_eq!((report.flavour, report.values_relocated), (Some("relocating"), 30));
            assert_eq!(world.stats().live, first, "no frame was packed anew");
            world.check();
        }
        let mut world = world.reopen(with(from, VlogPicker::ALWAYS));
        world.put(10..20);
        world.major();
        world.check();
        world.reopen(with(from + 1, VlogPicker::NEVER)).check();
    }
}

/// Proves C-108, C-112, D-79, D-86: in any order of keys, by several threads, into several files, values of every
/// length. Fault: compaction W-11. Fault: durability W-26.
#[test]
fn segments_orders_and_lengths() {
    for reverse in [false, true] {
        let fs: Arc<MemFs> = Arc::default();
        let policy = VlogPolicy { thresholds: vec![1], target_bytes: 1_000, ..VlogPolicy::default() };
        let mut options = options(&fs, VlogPicker::ALWAYS).separation(policy).table_target_bytes(2_000);
        options = options.store(|store| store.compaction_threads(3));
        if reverse {
            options = options.comparator(Arc::new(Reverse));
        }
        let tree = Tree::open(options.clone()).unwrap();
        let len = |number: u64| match number % 7 {
            0 => 1,
            1 => 5_000,
            _ => 300,
        };
        let value = |seqno: u64, number: u64| vec![seqno as u8; len(number)];
        let mut next = 1;
        for round in 0..3 {
            for number in (0..200).filter(|number| number % (round + 1) == 0) {
                tree.insert(key(number), value(next, number), at(next)).unwrap();
                next += 1;
            }
            if round == 1 {
                tree.insert("large", vec![7; 2_500_000], at(next)).unwrap();
                next += 1;
            }
            flush(&tree);
        }
        let before = contents(&tree).unwrap();
        tree.set_gc_watermark(at(next));
        let report = tree.major_compact(&CompactOptions::default().segment_min_bytes(1)).unwrap();
        assert!(report.segments > 1, "{report:?}");
        assert_eq!((report.flavour, report.values_relocated), (Some("relocating"), 201));
        assert!(contents(&tree).unwrap() == before);
        let stats = tree.stats().value_logs;
        assert_eq!((stats.live.entries, stats.garbage_bytes()), (201, 0));
        assert!(stats.files > report.segments, "they rotate");
        assert!(tree.verify().unwrap().is_clean());
        tree.close().unwrap();
        let tree = Tree::open(options).unwrap();
        assert!(contents(&tree).unwrap() == before);
        let mut sorted = before.clone();
        sorted.sort();
        sorted.reverse();
        assert_eq!(sorted == before, reverse);
    }
}

/// Proves D-89, C-171: nothing that a read may ask for goes; a view reads the old file until it is dropped.
#[test]
fn views_and_the_watermark_keep_values() {
    let fs: Arc<MemFs> = Arc::default();
    let mut world = World::open(options(&fs, VlogPicker::default()));
    for _ in 0..3 {
        world.put([7]);
    }
    // A watermark of zero certifies nothing: all versions live, so none is garbage.
    world.tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!((world.stats().live.entries, world.stats().garbage_bytes()), (3, 0));
    assert_eq!(world.tree.view_at(at(2)).unwrap().get(key(7)).unwrap().unwrap(), value(1)[..]);
    let view = world.tree.view_at(at(2)).unwrap();
    let report = world.major();
    assert_eq!((report.vlogs_removed, world.stats().live.entries), (2, 1));
    assert_eq!(view.get(key(7)).unwrap().unwrap(), value(1)[..]);
    assert_eq!(blobs(&fs).len(), 3, "the view keeps them");
    drop(view);
    world.check();
    // Relocated under a view of the very version.
    let world = world.reopen(options(&fs, VlogPicker::ALWAYS));
    let (view, old) = (world.tree.view(), world.logs());
    let report = world.major();
    assert_eq!((report.values_relocated, report.vlogs_removed), (1, 1));
    assert_ne!(world.logs(), old);
    assert_eq!(view.get(key(7)).unwrap().unwrap(), value(3)[..]);
    drop(view);
    world.check();
    world.tree.close().unwrap();
    assert_eq!(blobs(&fs).len(), 1);
}

/// Proves C-111, D-90: entries lose their numbers at the bottom, values keep theirs, and both go on being found.
#[test]
fn relocated_twice_after_numbers_became_zero() {
    let fs: Arc<MemFs> = Arc::default();
    let mut world = World::open(uncompressed(&fs, VlogPicker::ALWAYS, OnCorruption::Abort));
    world.put(0..10);
    world.put(3..6);
    for _ in 0..3 {
        let report = world.major();
        assert_eq!(report.values_relocated, 10);
        assert_eq!(world.tree.entry_info(key(1)).unwrap().unwrap().1, SeqNo::ZERO);
        world.check();
    }
    // Number of the write and length of the key stand before the key, and that before the value.
    let path = blobs(&fs).pop().unwrap();
    for (number, seqno) in [(0, 1), (4, 12), (9, 10)] {
        let at = place_of(&fs, &path, &value(seqno)) - (key(number).len() + 10) as u64;
        let mut found = [0; 8];
        fs.open(&path, &OpenOptions::READ).unwrap().read_exact_at(at, &mut found).unwrap();
        assert_eq!(u64::from_le_bytes(found), seqno);
    }
}

/// Where the frames of a value log lie that hold this value.
fn place_of(fs: &MemFs, path: &Path, value: &[u8]) -> u64 {
    let file = fs.open(path, &OpenOptions::READ).unwrap();
    let mut bytes = vec![0; ReadAt::len(&*file).unwrap() as usize];
    file.read_exact_at(0, &mut bytes).unwrap();
    bytes.windows(value.len()).position(|window| window == value).unwrap() as u64
}

fn uncompressed(fs: &Arc<MemFs>, picker: VlogPicker, on_corruption: OnCorruption) -> TreeOptions {
    let policy =
        VlogPolicy { thresholds: vec![100], compression: Compression::None, ..VlogPolicy::default() };
    let relocation = RelocationOptions { picker, on_corruption, ..RelocationOptions::default() };
    options(fs, picker).separation(policy).relocation(relocation)
}

fn flip(fs: &MemFs, path: &Path, offset: u64) {
    let mut byte = [0];
    fs.open(path, &OpenOptions::READ).unwrap().read_exact_at(offset, &mut byte).unwrap();
    fs.open(path, &OpenOptions::WRITE).unwrap().write_at(offset, &[!byte[0]]).unwrap();
}

/// Proves C-109, D-88: a damaged value ends the job with an error that names it, and nothing changes; or it stays where
/// it is, and everything else moves. Fault: compaction W-15.
#[test]
fn damaged_values_end_the_job_or_stay() {
    for large in [false, true] {
        let fs: Arc<MemFs> = Arc::default();
        let mut world = World::open(uncompressed(&fs, VlogPicker::ALWAYS, OnCorruption::Abort));
        world.put(0..10);
        let damaged = if large {
            // In the second of three chunks.
            let bytes: Vec<u8> =
                (0..2_500_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
            world.tree.insert("large", &bytes, at(world.next)).unwrap();
            world.next += 1;
            flush(&world.tree);
            place_of(&fs, &blobs(&fs)[1], &bytes[1_500_000..1_500_100])
        } else {
            place_of(&fs, &blobs(&fs)[0], &value(5))
        };
        world.tree.set_gc_watermark(at(world.next));
        let path = blobs(&fs)[usize::from(large)].clone();
        flip(&fs, &path, damaged);
        let (before, files) = (world.logs(), blobs(&fs));
        let error = world.tree.major_compact(&CompactOptions::default()).unwrap_err();
        assert!(error.is_corruption(), "{error}");
        assert_eq!(error.location().unwrap().id, before[usize::from(large)].get(), "{error}");
        assert_eq!((world.logs(), blobs(&fs)), (before.clone(), files));
        let world = world.reopen(uncompressed(&fs, VlogPicker::ALWAYS, OnCorruption::Carry));
        let report = world.major();
        assert_eq!((report.values_carried, report.values_relocated), (1, if large { 10 } else { 9 }));
        assert_eq!(report.vlogs_damaged, [before[usize::from(large)]]);
        assert!(world.logs().contains(&report.vlogs_damaged[0]));
        // It is left alone from now on.
        assert!(world.settle().is_empty());
        assert_eq!(world.major().values_carried, 0);
        for number in 0..10 {
            let found = world.tree.get(key(number));
            match number {
                4 if !large => assert!(found.unwrap_err().is_corruption()),
                _ => assert!(found.unwrap().unwrap() == value(number + 1)[..]),
            }
        }
        flip(&fs, &path, damaged);
        let reopened = world.reopen(uncompressed(&fs, VlogPicker::ALWAYS, OnCorruption::Abort));
        assert_eq!(reopened.major().flavour, Some("relocating"));
        assert_eq!((reopened.stats().files, reopened.stats().garbage_bytes()), (1, 0));
    }
}

/// Proves C-109: a frame with another key is an error of the job. Fault: compaction W-15.
#[test]
fn the_value_of_another_key_is_not_taken_over() {
    let fs: Arc<MemFs> = Arc::default();
    let mut world = World::open(uncompressed(&fs, VlogPicker::ALWAYS, OnCorruption::Abort));
    world.put(0..3);
    // The frames of two values of the same length change places.
    let path = blobs(&fs)[0].clone();
    let [a, b] = [1, 2].map(|seqno| place_of(&fs, &path, &value(seqno)));
    let frame = b - a;
    let start = 512;
    let file = fs.open(&path, &OpenOptions::READ).unwrap();
    let mut frames = [vec![0; frame as usize], vec![0; frame as usize]];
    file.read_exact_at(start, &mut frames[0]).unwrap();
    file.read_exact_at(start + frame, &mut frames[1]).unwrap();
    let file = fs.open(&path, &OpenOptions::WRITE).unwrap();
    file.write_at(start, &frames[1]).unwrap();
    file.write_at(start + frame, &frames[0]).unwrap();
    world.tree.set_gc_watermark(at(world.next));
    let error = world.tree.major_compact(&CompactOptions::default()).unwrap_err();
    assert!(error.is_corruption(), "{error}");
    assert_eq!(world.stats().live.entries, 3);
}

/// Proves D-88: a read that fails ends the job, and the old file is as it was; or the value stays where it is.
#[test]
fn reads_that_fail_end_the_job_or_leave_a_value() {
    let memory: Arc<MemFs> = Arc::default();
    let control = Arc::new(Control::default());
    let fs = Arc::new(WrapFs { inner: memory.clone(), control: control.clone() });
    let with = |on_corruption| {
        let fs = fs.clone();
        uncompressed(&memory, VlogPicker::ALWAYS, on_corruption).store(|store| store.fs(fs))
    };
    let mut world = World::open(with(OnCorruption::Abort));
    world.put(0..10);
    world.tree.set_gc_watermark(at(world.next));
    let path = blobs(&memory)[0].clone();
    control.spoil(&path, place_of(&memory, &path, &value(4)));
    let (before, files) = (world.logs(), blobs(&memory));
    let error = world.tree.major_compact(&CompactOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert_eq!((world.logs(), blobs(&memory)), (before.clone(), files));
    let world = world.reopen(with(OnCorruption::Carry));
    let report = world.major();
    assert_eq!((report.values_carried, report.values_relocated), (1, 9));
    assert_eq!(report.vlogs_damaged, before);
    control.heal();
    world.check();
    let world = world.reopen(with(OnCorruption::Abort));
    assert_eq!(world.major().vlogs_removed, 2);
    world.check();
}

/// Proves D-78, D-86, C-108: only what is live is read, neighbours at once, and the cache does not fill with it.
/// Fault: durability W-47.
#[test]
fn garbage_is_not_read() {
    let memory: Arc<MemFs> = Arc::default();
    let control = Arc::new(Control::default());
    let fs = Arc::new(WrapFs { inner: memory.clone(), control: control.clone() });
    let cache = BlockCache::new(1 << 20);
    let with = |picker| {
        let (fs, cache) = (fs.clone(), cache.clone());
        uncompressed(&memory, picker, OnCorruption::Abort).store(|store| store.fs(fs).cache(cache))
    };
    let mut world = World::open(with(VlogPicker::NEVER));
    world.put(0..100);
    let stale = blobs(&memory)[0].clone();
    // What is left lies in two stretches.
    world.put((0..100).filter(|number| !(10..20).contains(number) && !(50..60).contains(number)));
    world.major();
    let world = world.reopen(with(VlogPicker::default()));
    let live = world.tree.value_logs()[0].live.stored_bytes;
    control.take_reads();
    let before = cache.bytes();
    let report = world.major();
    assert_eq!((report.values_relocated, report.vlogs_removed), (20, 1));
    let all = control.take_reads();
    let reads: Vec<_> = all.iter().filter(|read| read.path == stale).collect();
    let values: Vec<_> = reads.iter().filter(|read| (read.len as u64).is_multiple_of(live / 20)).collect();
    assert_eq!(values.len(), 2, "{reads:?}");
    assert_eq!(values.iter().map(|read| read.len as u64).sum::<u64>(), live);
    let metadata = reads.iter().filter(|read| !(read.len as u64).is_multiple_of(live / 20));
    assert!(metadata.map(|read| read.len).sum::<usize>() < 4_096, "{reads:?}");
    assert!(cache.bytes() < before + live / 2, "what is cached is of tables");
    world.check();
}

/// Proves C-53, C-54, C-58: a merge takes room for copies of values, too; without it values stay where they are.
#[test]
fn copies_take_room() {
    let fs: Arc<MemFs> = Arc::default();
    let mut world = World::open(options(&fs, VlogPicker::NEVER));
    world.put(0..100);
    world.put(0..20);
    world.major();
    let world = world.reopen(options(&fs, VlogPicker::ALWAYS));
    let used = world.tree.store().space().used_bytes;
    let tables = world.tree.stats().file_bytes();
    let live = world.stats().live.stored_bytes;
    let limit = |bytes| SpaceOptions::default().admission(true).limit_bytes(Some(used + bytes));
    world.tree.store().set_space(limit(tables + live - 1));
    let report = world.major();
    assert_eq!((report.outcome, report.flavour), (Outcome::Merged, Some("standard")));
    let used = world.tree.store().space().used_bytes;
    let tables = world.tree.stats().file_bytes();
    world
        .tree
        .store()
        .set_space(SpaceOptions::default().admission(true).limit_bytes(Some(used + tables + live)));
    let report = world.major();
    assert_eq!((report.flavour, report.values_relocated), (Some("relocating"), 100));
    world.check();
    // What is for nothing else is put off.
    let fs: Arc<MemFs> = Arc::default();
    let mut world = World::open(options(&fs, VlogPicker::NEVER));
    world.put(0..20);
    world.put(0..19);
    world.major();
    let world = world.reopen(options(&fs, VlogPicker::default()));
    let used = world.tree.store().space().used_bytes;
    let tables = world.tree.stats().file_bytes();
    world.tree.store().set_space(SpaceOptions::default().admission(true).limit_bytes(Some(used + tables)));
    let report = world.tree.compact(&Leveled::default(), &CompactOptions::default()).unwrap();
    assert!(matches!(report.outcome, Outcome::Refused(_)), "{report:?}");
}

/// Proves the knobs of durability 9.3: what cannot hold is refused, by name.
#[test]
fn options_that_cannot_hold_are_refused() {
    let refused = |relocation: RelocationOptions| {
        let fs: Arc<MemFs> = Arc::default();
        let error = Tree::open(options(&fs, VlogPicker::NEVER).relocation(relocation)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        error.to_string()
    };
    let default = RelocationOptions::default();
    for bytes in [0, 4_095, (16 << 20) + 1] {
        let told = refused(RelocationOptions { readahead_bytes: bytes, ..default });
        assert!(told.contains("readahead_bytes"), "{told}");
    }
    let picker = VlogPicker { age_cutoff: 1.5, ..VlogPicker::default() };
    assert!(refused(RelocationOptions { picker, ..default }).contains("age_cutoff"));
}

/// Proves D-85: in a quiet tree one value log after the other goes that is garbage for a quarter, and what that writes does
/// not end the quiet.
#[test]
fn a_quiet_tree_collects_all_that_is_due() {
    let (fs, clock) = (Arc::<MemFs>::default(), Arc::new(TestClock::new()));
    let ticking = clock.clone();
    let options = options(&fs, VlogPicker::default());
    let mut world = World::open(options.store(|store| store.clock(ticking)));
    // Three of five values stay.
    for first in (0..50).step_by(5) {
        world.put(first..first + 5);
    }
    world.put((0..50).filter(|number| number % 5 < 2));
    world.settle();
    let garbage = world.stats().garbage_bytes();
    assert!(garbage > 0);
    clock.advance(Duration::from_secs(59));
    assert!(world.settle().is_empty());
    clock.advance(Duration::from_secs(2));
    let reports = world.settle();
    assert!(reports.len() > 1, "{} jobs", reports.len());
    assert!(world.stats().garbage_bytes() * 2 < garbage, "{} of {garbage}", world.stats().garbage_bytes());
    world.check();
}
