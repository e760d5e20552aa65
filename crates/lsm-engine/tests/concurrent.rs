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

/// Proves E-17.
/// Fault: engine W-11.
#[test]
fn no_range_delete_is_lost_between_seals_and_flushes() {
    const WRITERS: u64 = 3;
    const EACH: u64 = 1_500;
    let tree = tree();
    let next = AtomicU64::new(1);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (tree, next) = (tree.clone(), &next);
                scope.spawn(move || {
                    for number in 0..EACH {
                        let key = format!("w{writer}-{number:05}");
                        let seqno = || at(next.fetch_add(1, Ordering::Relaxed));
                        tree.insert(&key, "old", seqno()).unwrap();
                        tree.remove_range(key.clone()..=key.clone(), seqno()).unwrap();
                        assert_eq!(
                            tree.get(&key).unwrap(),
                            None,
                            "deleted for everybody when the call returns"
                        );
                        if number % 2 == 0 {
                            tree.insert(&key, "new", seqno()).unwrap();
                            assert_eq!(tree.get(&key).unwrap().unwrap(), b"new");
                        }
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
    let left: Vec<_> = tree.iter().keys().map(|key| key.unwrap()).collect();
    assert_eq!(left.len() as u64, WRITERS * EACH / 2);
    for writer in 0..WRITERS {
        for number in 0..EACH {
            let found = tree.get(format!("w{writer}-{number:05}")).unwrap();
            assert_eq!(found.as_deref(), (number % 2 == 0).then_some(&b"new"[..]));
        }
    }
}

/// A reader never sees a newer write of a key together with what an older range delete has removed: views of keys that
/// are rewritten as a whole, after a delete of all, show one state or the other.
///
/// Proves E-16, E-96.
#[test]
fn a_range_delete_and_what_follows_it_are_seen_in_order() {
    let tree = tree();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut next = 1;
            for round in 0..1_500_u64 {
                tree.remove_range("a".."z", at(next)).unwrap();
                // Another key each time: what stood before the delete is gone, or the write is not there yet.
                tree.insert(format!("k{}", round % 7), round.to_le_bytes(), at(next + 1)).unwrap();
                next += 2;
                if round % 50 == 0 {
                    tree.seal(None);
                    tree.set_gc_watermark(at(next));
                    tree.flush(&FlushOptions::default()).unwrap();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let view = tree.view();
                let keys: Vec<_> = view.iter().keys().map(|key| key.unwrap()).collect();
                assert!(keys.len() <= 1, "{keys:?} below {}", view.before());
                let found = (0..7).filter(|number| view.contains_key(format!("k{number}")).unwrap()).count();
                assert_eq!(found, keys.len());
            }
        });
        writer.join().unwrap();
        reader.join().unwrap();
    });
}

/// Proves E-128.
#[test]
fn clears_race_with_writers_flushes_compactions_and_scans() {
    let tree = tree();
    let next = AtomicU64::new(1);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let clearer = scope.spawn(|| {
            let mut last = 0;
            for _ in 0..60 {
                for number in 0..50 {
                    tree.insert(format!("{number:03}"), [3; 90], at(next.fetch_add(1, Ordering::Relaxed)))
                        .unwrap();
                }
                last = next.fetch_add(1, Ordering::Relaxed);
                tree.clear(at(last)).unwrap();
                assert_eq!(tree.get("000").unwrap(), None);
            }
            done.store(true, Ordering::Relaxed);
            last
        });
        let flusher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                tree.seal(None);
                tree.flush(&FlushOptions::default()).unwrap();
            }
        });
        let compactor = scope.spawn(|| {
            let strategy = Leveled { l0_threshold: 2, table_target_bytes: 2_000, ..Leveled::default() };
            while !done.load(Ordering::Relaxed) {
                match tree.compact(&strategy, &CompactOptions::default()) {
                    Ok(_) => thread::yield_now(),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled, "inputs vanished: {error}"),
                }
            }
        });
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let view = tree.view();
                let count = view.count().unwrap();
                assert!(count <= 50);
                assert_eq!(view.count().unwrap(), count, "a view goes on");
            }
        });
        let last = clearer.join().unwrap();
        flusher.join().unwrap();
        compactor.join().unwrap();
        reader.join().unwrap();
        assert_eq!(tree.retention_floor(), at(last));
    });
    assert!(tree.is_empty().unwrap());
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
/// Fault: engine W-30.
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
