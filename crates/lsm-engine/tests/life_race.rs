//! Readers, writers, compactions, checkpoints, pins and the thread that removes files, all at once.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use common::{at, contents, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{
    CheckpointOptions, CompactOptions, DescriptorCache, FlushOptions, Reader, ReclaimOptions, Tree,
    TreeOptions,
};
use lsm_fs::{Fs, MemFs};
use lsm_testkit::oracle::History;
use lsm_types::{KeyOrder, SeqNo};
use parking_lot::Mutex;

const WRITES: u64 = 3_000;

fn options(fs: &Arc<MemFs>, path: &str) -> TreeOptions {
    let shared: Arc<dyn Fs> = fs.clone();
    let reclaim = ReclaimOptions { thread: Some(true), chunk_bytes: 500, ..ReclaimOptions::default() };
    TreeOptions::new(path)
        .store(|store| store.fs(shared).reclaim(reclaim).descriptors(DescriptorCache::new(2)))
        .tables(small_tables())
        .table_target_bytes(3_000)
}

/// Ends the work of all threads when one is done, or fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The copy holds what one thread had written up to some moment, which is no earlier than `least`.
fn check_prefix(copy: &Tree, least: SeqNo, history: &Mutex<History>) {
    let bound = copy.persisted().highest.map_or(SeqNo::ZERO, SeqNo::next);
    assert!(bound >= least, "{bound:?} is below {least:?}");
    let expected = history.lock().all(bound, &KeyOrder::bytewise());
    assert_eq!(contents(copy).unwrap(), expected);
    assert!(copy.verify().unwrap().is_clean());
}

/// Proves D-64, D-94, D-100, E-106, E-141, E-142, E-143.
#[test]
fn nothing_that_is_held_goes_and_nothing_else_stays() {
    let fs = Arc::new(MemFs::new());
    fs.create_dir(Path::new("/data")).unwrap();
    let tree = Tree::open(options(&fs, "/data/db")).unwrap();
    let history = Mutex::new(History::new());
    let done = AtomicBool::new(false);
    let copies = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let _over = Over(&done);
            for number in 1..=WRITES {
                let (key, value) = (format!("key-{:03}", number * 7 % 300), vec![b'v'; 40]);
                // Known before it is written: a copy may hold it before the call returns.
                history.lock().put(key.as_bytes(), at(number), &value);
                tree.insert(key, value, at(number)).unwrap();
                if number % 150 == 0 {
                    tree.seal(None);
                    tree.flush(&FlushOptions::default()).unwrap();
                    tree.set_gc_watermark(at(number));
                }
            }
        });
        scope.spawn(|| {
            let _over = Over(&done);
            let strategy = Leveled { l0_threshold: 2, table_target_bytes: 3_000, ..Leveled::default() };
            while !done.load(Ordering::Relaxed) {
                tree.compact(&strategy, &CompactOptions::default()).unwrap();
                thread::yield_now();
            }
        });
        scope.spawn(|| {
            let _over = Over(&done);
            while !done.load(Ordering::Relaxed) {
                let view = tree.view();
                let first = contents(&view).unwrap();
                let hold = tree.hold_deletions();
                thread::yield_now();
                drop(hold);
                assert_eq!(contents(&view).unwrap(), first);
            }
        });
        let checkpoints = scope.spawn(|| {
            let mut copies = Vec::new();
            while !done.load(Ordering::Relaxed) && copies.len() < 12 {
                let target = format!("/data/copy-{}", copies.len());
                let mut how = CheckpointOptions::default();
                how.hard_link = copies.len() % 2 == 0;
                if copies.len() % 3 == 2 {
                    let pin = tree.pin();
                    pin.restore_to(&target, &how).unwrap();
                    copies.push((target, pin.seqno()));
                } else {
                    let info = tree.checkpoint(&target, &how).unwrap();
                    copies.push((target, info.seqno));
                }
            }
            copies
        });
        writer.join().unwrap();
        checkpoints.join().unwrap()
    });
    assert!(!copies.is_empty());
    for (target, least) in &copies {
        check_prefix(&Tree::open(options(&fs, target)).unwrap(), *least, &history);
    }
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
    check_prefix(&tree, at(WRITES), &history);
    assert!(tree.first().unwrap().is_some());
    let closed = tree.close_handle();
    let live = tree.stats().tables();
    tree.close().unwrap();
    assert!(closed.wait_closed_for(Duration::from_mins(1)));
    assert_eq!(fs.read_dir(Path::new("/data/db/tables")).unwrap().len(), live);
}
