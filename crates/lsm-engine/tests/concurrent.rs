//! Several threads on one tree: no write is lost, no read sees half of anything.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use common::{at, small_tables};
use lsm_compaction_planner::Leveled;
use lsm_engine::{CompactOptions, FlushOptions, Reader, Tree, TreeBatch, TreeOptions};
use lsm_fs::MemFs;
use lsm_types::{ErrorKind, SeqNo};

fn tree() -> Tree {
    let memory = Arc::new(MemFs::new());
    let options = TreeOptions::new("/db")
        .store(|store| store.fs(memory))
        .tables(small_tables())
        .table_target_bytes(20_000);
    Tree::open(options).unwrap()
}

/// Proves E-16, E-17, E-113.
#[test]
fn no_write_is_lost_between_seals_and_flushes() {
    const WRITERS: u64 = 3;
    const EACH: u64 = 4_000;
    let tree = tree();
    let next = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (tree, next) = (tree.clone(), &next);
                scope.spawn(move || {
                    for number in 0..EACH {
                        let key = format!("w{writer}-{number:05}");
                        if number % 7 == 0 {
                            let mut batch = TreeBatch::new();
                            batch.insert(&key, "old").unwrap().insert(&key, &key).unwrap();
                            tree.apply(&batch, at(next.fetch_add(2, Ordering::Relaxed))).unwrap();
                        } else {
                            tree.insert(&key, &key, at(next.fetch_add(1, Ordering::Relaxed))).unwrap();
                        }
                        // A write is there for everybody when its call returns.
                        assert_eq!(tree.get(&key).unwrap().unwrap(), key.as_bytes());
                    }
                })
            })
            .collect();
        let flusher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                tree.seal(None);
                tree.flush(&FlushOptions::default()).unwrap();
            }
        });
        let compactor = scope.spawn(|| {
            let strategy = Leveled { l0_threshold: 2, table_target_bytes: 20_000, ..Leveled::default() };
            while !done.load(Ordering::Relaxed) {
                tree.compact(&strategy, &CompactOptions::default()).unwrap();
                thread::yield_now();
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        flusher.join().unwrap();
        compactor.join().unwrap();
    });
    assert_eq!(tree.count().unwrap(), WRITERS * EACH);
    for writer in 0..WRITERS {
        for number in 0..EACH {
            let key = format!("w{writer}-{number:05}");
            assert_eq!(tree.get(&key).unwrap().unwrap(), key.as_bytes());
        }
    }
}

/// Proves E-76, D-64, I-7.
#[test]
fn views_and_scans_stay_the_same_while_everything_changes_under_them() {
    let tree = tree();
    for number in 0..500_u64 {
        tree.insert(format!("{number:04}"), number.to_le_bytes(), at(number)).unwrap();
    }
    let view = tree.view();
    let expected: Vec<_> = view.iter().pairs().collect::<Result<_, _>>().unwrap();
    let mut slow = view.iter();
    let mut seen = vec![slow.next().unwrap().unwrap().into_pair().unwrap()];
    let mut next = 500;
    for round in 0..6_u64 {
        for number in 0..500_u64 {
            let key = format!("{number:04}");
            if (number + round) % 3 == 0 {
                tree.remove(&key, at(next)).unwrap();
            } else {
                tree.insert(&key, round.to_le_bytes(), at(next)).unwrap();
            }
            next += 1;
        }
        tree.set_gc_watermark(at(next));
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
        tree.major_compact(&CompactOptions::default()).unwrap();
        seen.extend(slow.by_ref().take(40).map(|entry| entry.unwrap().into_pair().unwrap()));
        assert!(view.iter().pairs().map(Result::unwrap).eq(expected.iter().cloned()), "round {round}");
    }
    seen.extend(slow.map(|entry| entry.unwrap().into_pair().unwrap()));
    assert_eq!(seen, expected);
    // The history the view still shows is gone for everybody who comes now.
    assert_eq!(tree.view_at(at(400)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
    assert!(tree.retention_floor() >= at(499));
    // Once the view is gone, so are its files.
    let tables = tree.stats().tables();
    drop(view);
    assert_eq!(tree.stats().tables(), tables);
}

/// Proves E-3.
#[test]
fn of_many_openers_one_wins() {
    const OPENERS: usize = 16;
    let memory = Arc::new(MemFs::new());
    let start = Barrier::new(OPENERS);
    let opened = thread::scope(|scope| {
        let open = || {
            let options = TreeOptions::new("/db").store(|store| store.fs(memory.clone()));
            start.wait();
            Tree::open(options)
        };
        let openers: Vec<_> = (0..OPENERS).map(|_| scope.spawn(open)).collect();
        openers.into_iter().map(|opener| opener.join().unwrap()).collect::<Vec<_>>()
    });
    let (won, lost): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.into_iter().all(|outcome| outcome.is_err_and(|error| error.kind() == ErrorKind::Locked)));
}

/// Proves E-97, E-99, E-104.
#[test]
fn holds_keep_history_and_refuse_late_writes() {
    let tree = tree();
    tree.insert("k", "old", at(10)).unwrap();
    let hold = tree.hold(at(11)).unwrap();
    assert_eq!(tree.insert("k", "late", at(5)).unwrap_err().kind(), ErrorKind::BelowSnapshot);
    tree.insert("k", "new", at(20)).unwrap();
    tree.set_gc_watermark(at(30));
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(tree.view_at(at(11)).unwrap().get("k").unwrap().unwrap(), b"old");
    assert_eq!(tree.view_at(SeqNo::LATEST).unwrap().get("k").unwrap().unwrap(), b"new");
    drop(hold);
    tree.insert("other", "x", at(31)).unwrap();
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(tree.view_at(at(11)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
    assert_eq!(tree.hold(at(11)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
    assert_eq!(tree.get("k").unwrap().unwrap(), b"new");
    assert_eq!(tree.insert("k", "late", at(29)).unwrap_err().kind(), ErrorKind::BelowSnapshot);
}
