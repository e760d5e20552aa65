//! The change feed, case by case.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lsm_engine::{
    Change, Changed, Changes, ChangesOptions, CheckpointOptions, CompactOptions, DeleteStrategy,
    IngestOptions, Outcome, Tree, TreeBatch, TreeOptions,
};
use lsm_fs::MemFs;
use lsm_testkit::operators::Join;
use lsm_types::{Cut, ErrorKind, SeqNo};

use crate::{
    common::{
        InPlace, at, flush,
        layouts::{Layout, texts},
        small_tables,
    },
    wrap::{Control, WrapFs},
};

fn options(fs: &Arc<MemFs>) -> TreeOptions {
    let fs = fs.clone();
    TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables())
}

fn open() -> Tree {
    Tree::open(options(&Arc::default())).unwrap()
}

fn major(tree: &Tree) {
    tree.major_compact(&CompactOptions::default()).unwrap();
}

/// A change in a few letters: `5+a=x` a put, `5*` an operand, `5-` a delete, `5~` a weak one, `5#a..c` a range.
fn brief(change: &Change) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let cut = |cut: &Cut| cut.key().map_or_else(String::new, |key| text(key));
    let n = change.seqno;
    match &change.what {
        Changed::Put { key, value } => format!("{n}+{}={}", text(key), text(value)),
        Changed::Merge { key, operand } => format!("{n}*{}={}", text(key), text(operand)),
        Changed::Remove { key } => format!("{n}-{}", text(key)),
        Changed::RemoveWeak { key } => format!("{n}~{}", text(key)),
        Changed::RemoveRange { start, end } => format!("{n}#{}..{}", cut(start), cut(end)),
        _ => unreachable!("there is no other kind"),
    }
}

fn all(changes: Changes) -> String {
    changes.map(|change| brief(&change.unwrap())).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(tree: &Tree, since: u64, expected: &str) {
    assert_eq!(all(tree.changes::<&str>(at(since), ..).unwrap()), expected);
}

#[track_caller]
fn check_refused(tree: &Tree, since: u64, earliest: u64) {
    let error = tree.changes::<&str>(at(since), ..).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HistoryCollected);
    assert!(error.to_string().contains(&format!("only from {earliest} on")), "{error}");
    assert_eq!(tree.changes_from(), at(earliest));
    tree.changes::<&str>(at(earliest), ..).unwrap();
}

/// Proves E-132, E-134, E-135: kinds are told apart; with one number a delete of a range comes before the put that it does
/// not hide. Fault: engine W-12.
#[test]
fn kinds_and_ties() {
    let tree = open();
    tree.insert("a", "x", at(1)).unwrap();
    let mut batch = TreeBatch::new();
    batch.remove_range("a".."c").unwrap().insert("b", "y").unwrap().insert("a", "z").unwrap();
    tree.apply_shared(&batch, at(2)).unwrap();
    tree.merge("m", "o", at(3)).unwrap();
    tree.remove("a", at(4)).unwrap();
    tree.remove_weak("b", at(5)).unwrap();
    for _ in 0..3 {
        check(&tree, 0, "1+a=x 2#a..c 2+a=z 2+b=y 3*m=o 4-a 5~b");
        check(&tree, 2, "2#a..c 2+a=z 2+b=y 3*m=o 4-a 5~b");
        check(&tree, 5, "5~b");
        check(&tree, 6, "");
        check(&tree, 99, "");
        assert_eq!(all(tree.changes(at(0), "b".."c").unwrap()), "2#a..c 2+b=y 5~b");
        assert_eq!(all(tree.changes(at(0), "c".."b").unwrap()), "");
        flush(&tree);
        major(&tree);
    }
}

/// Proves E-136: a delete of a range that compactions cut into pieces comes out whole, and once.
#[test]
fn a_delete_in_pieces_is_listed_once() {
    let tree = open();
    for n in 0..200_u64 {
        tree.insert(format!("{n:03}"), [b'v'; 100], at(n)).unwrap();
    }
    flush(&tree);
    tree.remove_range("010".."190", at(200)).unwrap();
    tree.remove_range("000".."005", at(201)).unwrap();
    flush(&tree);
    tree.major_compact(&CompactOptions::default().target_bytes(2 << 10)).unwrap();
    let deleting: u64 = tree.stats().levels.iter().map(|level| level.range_tombstones).sum();
    assert!(deleting > 4, "{deleting} pieces");
    check(&tree, 200, "200#010..190 201#000..005");
    assert_eq!(all(tree.changes(at(200), "100"..="100").unwrap()), "200#010..190");
}

/// Proves E-137, F-133: a list reads through tables of columns; what is marked dead in one is gone from it, and a list that
/// would have to have it is refused, also after reopening and in a copy.
#[test]
fn marked_rows_are_not_listed() {
    let fs = Arc::default();
    let how = |path: &str| {
        let fs: Arc<MemFs> = Arc::clone(&fs);
        let options = TreeOptions::new(path).store(|store| store.fs(fs)).tables(small_tables());
        let options = options.delete_strategies([DeleteStrategy::MergeOnRead]);
        Layout::Columns.set(options, texts(), 0)
    };
    let tree = Tree::open(how("/db")).unwrap();
    for n in 1..=12 {
        tree.insert(format!("{n:02}"), format!("v{n}"), at(n)).unwrap();
    }
    flush(&tree);
    major(&tree);
    check(&tree, 10, "10+10=v10 11+11=v11 12+12=v12");
    tree.remove_range("03".."06", at(20)).unwrap();
    flush(&tree);
    tree.remove("12", at(25)).unwrap();
    tree.insert("13", "v26", at(26)).unwrap();
    flush(&tree);
    check(&tree, 9, "9+09=v9 10+10=v10 11+11=v11 12+12=v12 20#03..06 25-12 26+13=v26");
    tree.set_gc_watermark(at(21));
    let report = tree.compact(&InPlace(1 << 20), &CompactOptions::default()).unwrap();
    assert_eq!((report.outcome, report.dropped.range_deleted), (Outcome::Masked, 3));
    let check = |tree: &Tree| {
        check(tree, 21, "25-12 26+13=v26");
        check_refused(tree, 20, 21);
        assert!(tree.verify().unwrap().is_clean());
    };
    check(&tree);
    tree.checkpoint("/copy", &CheckpointOptions::default()).unwrap();
    check(&Tree::open(how("/copy")).unwrap());
    tree.close().unwrap();
    check(&Tree::open(how("/db")).unwrap());
}

/// Proves E-137: what collection takes away or sums up is refused from then on, also after reopening and in a copy; what it
/// does not touch is not.
#[test]
fn collected_history_is_refused() {
    let fs = Arc::default();
    let how = || options(&fs).merge_operator(Arc::new(Join::new(false)));
    let tree = Tree::open(how()).unwrap();
    tree.insert("a", "1", at(1)).unwrap();
    tree.insert("b", "2", at(2)).unwrap();
    tree.set_gc_watermark(at(3));
    flush(&tree);
    assert_eq!(tree.changes_from(), SeqNo::ZERO, "nothing was dropped");
    check(&tree, 0, "1+a=1 2+b=2");
    tree.insert("a", "3", at(3)).unwrap();
    tree.insert("a", "4", at(4)).unwrap();
    tree.set_gc_watermark(at(5));
    flush(&tree);
    check_refused(&tree, 4, 5);
    // A tombstone that goes with nothing below it is missed by no read, but by the list.
    tree.remove("none", at(7)).unwrap();
    tree.insert("z", "8", at(8)).unwrap();
    tree.set_gc_watermark(at(9));
    let floor = tree.retention_floor();
    flush(&tree);
    assert_eq!(tree.retention_floor(), floor);
    check_refused(&tree, 7, 8);
    // So is an operand that became a value.
    tree.merge("m", "x", at(10)).unwrap();
    tree.set_gc_watermark(at(11));
    flush(&tree);
    check_refused(&tree, 10, 11);
    tree.checkpoint("/copy", &CheckpointOptions::default()).unwrap();
    tree.close().unwrap();
    for path in ["/db", "/copy"] {
        let memory = fs.clone();
        let copy = TreeOptions::new(path).store(|store| store.fs(memory));
        let copy = Tree::open(copy.merge_operator(Arc::new(Join::new(false)))).unwrap();
        check_refused(&copy, 10, 11);
        copy.close().unwrap();
    }
    let tree = Tree::open(how()).unwrap();
    tree.clear(at(20)).unwrap();
    check_refused(&tree, 20, 21);
}

/// Proves E-137: a follower keeps what it has yet to read, until it stays behind further than it may.
#[test]
fn followers_keep_what_they_have_yet_to_read() {
    let tree = open();
    let overwrite = |n: u64| {
        tree.insert("a", n.to_string(), at(n)).unwrap();
        tree.set_gc_watermark(at(n + 1));
        flush(&tree);
        major(&tree);
    };
    let follower = tree.follow_changes(at(1), Some(4)).unwrap();
    overwrite(1);
    overwrite(2);
    overwrite(3);
    let list = |expected: &str| {
        let changes = follower.changes::<&str>(.., &ChangesOptions::default()).unwrap();
        let before = changes.before();
        assert_eq!(all(changes), expected);
        before
    };
    let before = list("1+a=1 2+a=2 3+a=3");
    assert_eq!((before, follower.lag(), tree.stats().change_lag), (at(4), 3, 3));
    follower.advance(before);
    assert_eq!(tree.insert("b", "late", at(3)).unwrap_err().kind(), ErrorKind::BelowSnapshot);
    overwrite(4);
    overwrite(5);
    list("4+a=4 5+a=5");
    assert_eq!(tree.changes_from(), at(4));
    assert_eq!(tree.stats().change_followers, 1);
    overwrite(6);
    overwrite(7);
    assert!(!follower.is_left_behind());
    overwrite(8);
    assert!(follower.is_left_behind());
    assert_eq!(tree.stats().change_followers, 0);
    let error = follower.changes::<&str>(.., &ChangesOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HistoryCollected);
    let error = tree.follow_changes(at(4), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HistoryCollected);
    tree.follow_changes(tree.changes_from(), None).unwrap();
}

/// Proves E-138: a list takes the memory it was given, goes on from where another one stopped, and nothing is added to it
/// meanwhile.
/// Fault: formats W-40. Fault: engine W-32.
#[test]
fn lists_stream_and_resume() {
    let tree = open();
    for n in 0..2000_u64 {
        tree.insert(format!("{:04}", (n * 7919) % 2000), [b'v'; 20], at(n)).unwrap();
        if n.is_multiple_of(300) {
            flush(&tree);
        }
    }
    let options = ChangesOptions::default().memory_bytes(8 << 10);
    let mut position = SeqNo::ZERO;
    let (mut found, mut passes) = (Vec::new(), 0);
    while position < at(2000) {
        let mut changes = tree.changes_with::<&str>(position, .., &options).unwrap();
        assert_eq!(tree.insert("x", "late", at(1999)).unwrap_err().kind(), ErrorKind::BelowSnapshot);
        tree.insert("x", "later", at(3000 + position.get())).unwrap();
        for _ in 0..150 {
            let Some(change) = changes.advance().unwrap().map(|change| change.to_owned()) else { break };
            found.push(change.seqno.get());
        }
        assert_eq!(changes.position().get(), found.last().unwrap() + 1);
        position = changes.position();
        passes += changes.progress().passes;
    }
    found.retain(|seqno| *seqno < 2000);
    assert_eq!(found, (0..2000).collect::<Vec<_>>());
    assert!(passes > 10, "{passes}");
    let later = tree.changes::<&str>(at(3000), ..).unwrap().count();
    assert_eq!(tree.changes_with::<&str>(at(0), .., &options).unwrap().count(), 2000 + later);
}

/// Proves E-133: while batches come in, with low numbers among them, every list holds each of them wholly or not at all.
#[test]
fn batches_are_listed_wholly_or_not_at_all() {
    const LEN: u64 = 20;
    let tree = open();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2_u64)
            .map(|writer| {
                let tree = &tree;
                scope.spawn(move || {
                    for n in 0..300_u64 {
                        let mut batch = TreeBatch::new();
                        for k in 0..LEN {
                            batch.insert(format!("{writer}/{k}"), n.to_string()).unwrap();
                        }
                        if n % 50 == 7 {
                            batch.remove_range("x".."y").unwrap();
                        }
                        // The two writers take turns in numbers, so one is late whenever the other is ahead.
                        let outcome = tree.apply(&batch, at((2 * n + writer) * 100));
                        if let Err(error) = outcome {
                            assert_eq!(error.kind(), ErrorKind::BelowSnapshot);
                        }
                        if n.is_multiple_of(97) {
                            tree.seal(None);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut lists = 0;
            while !done.load(Ordering::Relaxed) || lists < 3 {
                let mut batches: std::collections::BTreeMap<u64, u64> = std::collections::BTreeMap::new();
                for change in tree.changes::<&str>(SeqNo::ZERO, ..).unwrap().map(Result::unwrap) {
                    *batches.entry(change.seqno.get() / 100).or_default() += 1;
                }
                for (batch, count) in batches {
                    let expected = if (batch / 2) % 50 == 7 { LEN + 1 } else { LEN };
                    assert_eq!(count, expected, "batch {batch}");
                }
                lists += 1;
            }
        });
        let outcomes: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(outcomes.iter().all(Result::is_ok), "a writer failed");
    });
}

/// Whether a range received a write since: in memtables, in tables, by deletes of ranges.
#[test]
fn a_range_says_whether_it_changed() {
    let tree = open();
    for n in 0..100_u64 {
        tree.insert(format!("{n:03}"), "v", at(n)).unwrap();
    }
    for _ in 0..2 {
        assert!(tree.changed_since("050"..="050", at(50)).unwrap());
        assert!(!tree.changed_since("050"..="050", at(51)).unwrap());
        assert!(!tree.changed_since("000".."050", at(50)).unwrap());
        assert!(tree.changed_since::<&str>(.., at(99)).unwrap());
        assert!(!tree.changed_since::<&str>(.., at(100)).unwrap());
        assert!(!tree.changed_since("060".."050", at(0)).unwrap());
        flush(&tree);
        major(&tree);
    }
    tree.remove_range("020".."030", at(100)).unwrap();
    assert!(tree.changed_since("025"..="025", at(100)).unwrap());
    assert!(!tree.changed_since("030".., at(100)).unwrap());
    tree.insert("025", "w", at(101)).unwrap();
    tree.set_gc_watermark(at(102));
    flush(&tree);
    major(&tree);
    assert_eq!(tree.changed_since("0".., at(50)).unwrap_err().kind(), ErrorKind::HistoryCollected);
    assert!(!tree.changed_since("0".., at(102)).unwrap());
}

/// Proves E-125, E-139: rows of an ingestion, and its deletes of ranges, are listed with the number they became visible at,
/// whether blocks record their numbers or not.
#[test]
fn ingestions_are_listed_with_their_number() {
    for bounds in [false, true] {
        let fs: Arc<MemFs> = Arc::default();
        let options = || options(&fs).tables(small_tables().seqno_bounds(bounds));
        let tree = Tree::open(options()).unwrap();
        tree.insert("b", "old", at(3)).unwrap();
        let mut ingestion = tree.ingest(IngestOptions::at(at(7))).unwrap();
        ingestion.put("a", "x").unwrap();
        ingestion.remove("c").unwrap();
        ingestion.remove_range("f".."h").unwrap();
        ingestion.finish().unwrap();
        tree.insert("d", "late", at(9)).unwrap();
        for _ in 0..2 {
            check(&tree, 0, "3+b=old 7#f..h 7+a=x 7-c 9+d=late");
            check(&tree, 7, "7#f..h 7+a=x 7-c 9+d=late");
            check(&tree, 8, "9+d=late");
            assert!(tree.changed_since("a"..="a", at(7)).unwrap());
            assert!(!tree.changed_since("a"..="a", at(8)).unwrap());
            flush(&tree);
            major(&tree);
        }
        drop(tree);
        check(&Tree::open(options()).unwrap(), 4, "7#f..h 7+a=x 7-c 9+d=late");
    }
}

/// Proves E-133: a list ends below an ingestion that has drawn its number and is not there yet, so that whoever goes on
/// from the end misses nothing of it.
#[test]
fn an_ingestion_under_way_ends_the_list() {
    let control: Arc<Control> = Arc::default();
    let fs = WrapFs { inner: Arc::<MemFs>::default(), control: control.clone() };
    let tree = Tree::open(TreeOptions::new("/db").store(|store| store.fs(Arc::new(fs)))).unwrap();
    tree.insert("b", "old", at(3)).unwrap();
    std::thread::scope(|scope| {
        let hanging = control.clone();
        let mut ingestion = tree
            .ingest(IngestOptions::draw(move || {
                hanging.hang(); // the tables are synced by now, the edit is not
                at(10)
            }))
            .unwrap();
        ingestion.put("a", "x").unwrap();
        let finished = scope.spawn(move || ingestion.finish());
        control.wait_for_a_sync();
        tree.insert("z", "later", at(20)).unwrap();
        let list = tree.changes::<&str>(SeqNo::ZERO, ..).unwrap();
        let end = list.before();
        let listed = all(list);
        control.release();
        finished.join().unwrap().unwrap();
        assert_eq!((listed.as_str(), end), ("3+b=old", at(10)));
        check(&tree, end.get(), "10+a=x 20+z=later");
    });
}
