//! Checkpoints: what they hold, how their files come there, and that nothing that goes wrong leaves half of one.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::{collections::HashSet, path::Path, sync::Arc};

use common::{Pairs, Reverse, at, contents, flush, small_tables};
use lsm_engine::{
    CheckpointOptions, CompactOptions, CopyMethod, OpenMode, Reader, ReclaimOptions, StagingGc, Store,
    StoreOptions, Tree, TreeOptions, VlogPolicy, gc_staging,
};
use lsm_fs::{Fs, MemFs, OpenOptions};
use lsm_testkit::sim::{EventKind, FaultPlan, FaultRule, SimConfig, SimFs, Strategy};
use lsm_types::{ErrorKind, FileKind, IoKind, IoOp, SeqNo, TreeId};

const SOURCE: &str = "/data/db";
const TARGET: &str = "/data/copy";

fn options_at(fs: Arc<dyn Fs>, path: &str) -> TreeOptions {
    TreeOptions::new(path)
        .store(|store| store.fs(fs).file_id_block(16))
        .tables(small_tables())
        .table_target_bytes(1_500)
        .separation(VlogPolicy { thresholds: vec![80], ..VlogPolicy::default() })
}

fn options(fs: &SimFs, path: &str) -> TreeOptions {
    options_at(Arc::new(fs.clone()), path)
}

fn reopen(fs: &SimFs, path: &str) -> Tree {
    Tree::open(options(fs, path).store(|store| store.mode(OpenMode::MustExist))).unwrap()
}

/// Forty keys at numbers from `first` on; every fourth value is separated.
fn fill(tree: &Tree, first: u64) {
    for number in 0..40 {
        let value = vec![b'a' + (first % 26) as u8; if number % 4 == 0 { 100 } else { 60 }];
        tree.insert(format!("key-{number:03}"), value, at(first + number)).unwrap();
    }
}

/// A tree with two versions of each key in tables, and a third in memory.
fn source(fs: &SimFs) -> Tree {
    let tree = Tree::open(options(fs, SOURCE)).unwrap();
    fill(&tree, 100);
    flush(&tree);
    fill(&tree, 200);
    flush(&tree);
    fill(&tree, 300);
    tree
}

/// No name beside the source and the target.
fn leftovers(fs: &SimFs) -> Vec<String> {
    let names = fs.read_dir(Path::new("/data")).unwrap();
    let names = names.into_iter().map(|entry| entry.name.to_string_lossy().into_owned());
    names.filter(|name| name != "db" && name != "copy").collect()
}

#[track_caller]
fn check_copy(tree: &Tree, expected: &Pairs) {
    assert_eq!(&contents(tree).unwrap(), expected);
    assert!(tree.verify().unwrap().is_clean());
}

/// Proves E-141, D-94, D-99: everything written before is there, history included, and the copy goes its own way.
#[test]
fn a_checkpoint_opens_as_a_tree_of_its_own() {
    let fs = SimFs::new(SimConfig::default());
    let tree = source(&fs);
    let info = tree.checkpoint(TARGET, &CheckpointOptions::default()).unwrap();
    assert_eq!(info.seqno, at(340));
    let (stats, logs) = (tree.stats(), tree.stats().value_logs);
    assert_eq!(info.files.len(), stats.tables() + logs.files);
    assert_eq!(info.bytes(), stats.file_bytes() + logs.file_bytes);
    assert_eq!(info.files.iter().filter(|file| file.kind == FileKind::ValueLog).count(), 3);
    let expected = contents(&tree).unwrap();
    let copy = reopen(&fs, TARGET);
    assert!(copy.open_report().manifest.as_ref().unwrap().is_clean);
    check_copy(&copy, &expected);
    for before in [100, 140, 220, 300, 340] {
        let (original, copied) = (tree.view_at(at(before)).unwrap(), copy.view_at(at(before)).unwrap());
        assert_eq!(contents(&original).unwrap(), contents(&copied).unwrap(), "at {before}");
    }
}

/// Proves D-102: original and copy diverge, share no new file, and each survives the end of the other.
#[test]
fn original_and_copy_go_their_own_ways() {
    for remove_original in [true, false] {
        let fs = SimFs::new(SimConfig::default());
        let tree = source(&fs);
        tree.checkpoint(TARGET, &CheckpointOptions::default()).unwrap();
        let copy = reopen(&fs, TARGET);
        for (tree, key) in [(&tree, "original"), (&copy, "copy")] {
            tree.insert(key, "here", at(500)).unwrap();
            flush(tree);
            tree.set_gc_watermark(at(501));
            tree.major_compact(&CompactOptions::default()).unwrap();
        }
        let uuids = |tree: &Tree, to: &str| -> HashSet<_> {
            let info = tree.checkpoint(to, &CheckpointOptions::default()).unwrap();
            // Values stay where they are when tables are written anew.
            let tables = info.files.into_iter().filter(|file| file.kind == FileKind::Table);
            tables.map(|file| file.uuid).collect()
        };
        let (of_original, of_copy) = (uuids(&tree, "/data/one"), uuids(&copy, "/data/two"));
        assert!(!of_original.is_empty() && of_original.is_disjoint(&of_copy));
        tree.close().unwrap();
        copy.close().unwrap();
        let (gone, left, key) =
            if remove_original { (SOURCE, TARGET, "copy") } else { (TARGET, SOURCE, "original") };
        fs.remove_dir_all(Path::new(gone)).unwrap();
        let tree = reopen(&fs, left);
        assert_eq!(tree.get(key).unwrap().unwrap(), b"here");
        assert_eq!(tree.count().unwrap(), 41);
        assert!(tree.verify().unwrap().is_clean());
    }
}

/// Proves D-100: what readers of the source may see stays, though a flush of the caller would have dropped it.
#[test]
fn the_flush_of_a_checkpoint_drops_nothing() {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(&fs, SOURCE)).unwrap();
    fill(&tree, 100);
    fill(&tree, 200);
    tree.set_gc_watermark(at(300));
    let floor = tree.retention_floor();
    let old = contents(&tree.view_at(at(200)).unwrap()).unwrap();
    tree.checkpoint(TARGET, &CheckpointOptions::default()).unwrap();
    assert_eq!(tree.retention_floor(), floor);
    assert_eq!(contents(&tree.view_at(at(200)).unwrap()).unwrap(), old);
    assert_eq!(contents(&reopen(&fs, TARGET).view_at(at(200)).unwrap()).unwrap(), old);
}

/// Proves D-99: without a flush, the number lies below everything that is only in memory.
#[test]
fn a_checkpoint_of_tables_alone_says_what_it_lacks() {
    let fs = SimFs::new(SimConfig::default());
    let tree = source(&fs);
    let mut options = CheckpointOptions::default();
    options.flush = false;
    let info = tree.checkpoint(TARGET, &options).unwrap();
    assert_eq!(info.seqno, at(300));
    let old = contents(&tree.view_at(info.seqno).unwrap()).unwrap();
    check_copy(&reopen(&fs, TARGET), &old);
}

/// Proves D-99, E-143: a range delete that is in no table yet is no less a part of the cut, and of a pin.
#[test]
fn range_deletes_in_memory_count() {
    let fs = SimFs::new(SimConfig::default());
    let tree = Tree::open(options(&fs, SOURCE)).unwrap();
    fill(&tree, 100);
    flush(&tree);
    tree.remove_range("key-010".., at(200)).unwrap();
    fill(&tree, 300);
    let mut tables_only = CheckpointOptions::default();
    tables_only.flush = false;
    let info = tree.checkpoint(TARGET, &tables_only).unwrap();
    assert_eq!(info.seqno, at(200));
    check_copy(&reopen(&fs, TARGET), &contents(&tree.view_at(at(200)).unwrap()).unwrap());

    let deleted = contents(&tree.view_at(at(300)).unwrap()).unwrap();
    assert_eq!(deleted.len(), 10);
    let pin = tree.pin();
    let spans: Vec<_> =
        pin.memtables().flat_map(|one| one.range_tombstones().cloned().collect::<Vec<_>>()).collect();
    assert_eq!(spans.iter().map(|one| one.seqno).collect::<Vec<_>>(), [at(200)]);
    let seqnos = pin.memtables().filter_map(|one| one.seqnos()).map(|(min, _)| min).min();
    assert_eq!(seqnos, Some(at(200)));
    pin.restore_to("/data/restored", &CheckpointOptions::default()).unwrap();
    assert_eq!(contents(&reopen(&fs, "/data/restored").view_at(at(300)).unwrap()).unwrap(), deleted);
}

/// Proves E-141: nothing at all, another order of keys, several trees.
#[test]
fn any_store_can_be_copied() {
    let fs = SimFs::new(SimConfig::default());
    let empty = Tree::open(options(&fs, SOURCE)).unwrap();
    let info = empty.checkpoint(TARGET, &CheckpointOptions::default()).unwrap();
    assert_eq!((info.seqno, info.files.len()), (SeqNo::ZERO, 0));
    check_copy(&reopen(&fs, TARGET), &Vec::new());

    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let store_options = |path: &str| StoreOptions::new(path).fs(shared.clone()).comparator(Arc::new(Reverse));
    let store = Store::open(store_options("/data/many")).unwrap();
    let plain = TreeOptions::in_store(store_options("/data/many")).tables(small_tables());
    let reverse = plain.clone().comparator(Arc::new(Reverse));
    let of = |store: &Store| {
        (store.tree(TreeId::new(1), &plain).unwrap(), store.tree(TreeId::new(2), &reverse).unwrap())
    };
    let (one, two) = of(&store);
    fill(&one, 100);
    fill(&two, 700);
    let info = store.checkpoint("/data/other", &CheckpointOptions::default()).unwrap();
    assert_eq!(info.seqno, at(740));
    let copied = Store::open(store_options("/data/other").mode(OpenMode::MustExist)).unwrap();
    let (one_copy, two_copy) = of(&copied);
    check_copy(&one_copy, &contents(&one).unwrap());
    check_copy(&two_copy, &contents(&two).unwrap());
    one.close().unwrap();
    two.insert("still", "open", at(800)).unwrap();
    flush(&two);
}

/// Takes a checkpoint and returns the method that brought every file there, and how many better ones failed.
#[track_caller]
fn method_of(fs: &SimFs, options: &CheckpointOptions) -> (CopyMethod, u64) {
    let tree = source(fs);
    let expected = contents(&tree).unwrap();
    let info = tree.checkpoint(TARGET, options).unwrap();
    let target = options.fs.clone().unwrap_or_else(|| Arc::new(fs.clone()));
    check_copy(&Tree::open(options_at(target, TARGET)).unwrap(), &expected);
    let method = info.files.first().unwrap().method;
    assert_eq!(info.bytes_by(method), info.bytes());
    (method, info.fallbacks / info.files.len() as u64)
}

/// Proves D-96, D-97.
#[test]
fn files_are_linked_where_that_is_possible_and_copied_where_not() {
    let fresh = || SimFs::new(SimConfig::default());
    assert_eq!(method_of(&fresh(), &CheckpointOptions::default()), (CopyMethod::Linked, 0));

    let mut no_links = CheckpointOptions::default();
    no_links.hard_link = false;
    assert_eq!(method_of(&fresh(), &no_links), (CopyMethod::Copied, 0));

    let elsewhere = Arc::new(MemFs::new());
    elsewhere.create_dir(Path::new("/data")).unwrap();
    let mut other_backend = CheckpointOptions::default();
    other_backend.fs = Some(elsewhere);
    let fs = fresh();
    // A link across backends would be an error here, and no fallback.
    fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::Other).on(IoOp::Link).from(0)));
    assert_eq!(method_of(&fs, &other_backend), (CopyMethod::Copied, 0));

    for kind in [IoKind::CrossesDevices, IoKind::Unsupported, IoKind::PermissionDenied] {
        let fs = fresh();
        fs.set_faults(FaultPlan::new().with(FaultRule::fail(kind).on(IoOp::Link).from(0)));
        assert_eq!(method_of(&fs, &CheckpointOptions::default()), (CopyMethod::Copied, 1));
    }
}

/// Proves D-96: a file that is not there although it is held is an error, not a reason to go on without it.
#[test]
fn a_missing_file_is_an_error() {
    let fs = SimFs::new(SimConfig::default());
    let tree = source(&fs);
    fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::NotFound).on(IoOp::Link).nth(1)));
    tree.checkpoint(TARGET, &CheckpointOptions::default()).unwrap_err();
    assert!(!fs.exists(Path::new(TARGET)).unwrap() && leftovers(&fs).is_empty());
    tree.checkpoint(TARGET, &CheckpointOptions::default()).unwrap();
}

/// Proves D-95: what is there stays as it is.
#[test]
fn a_target_that_exists_is_refused() {
    let fs = SimFs::new(SimConfig::default());
    let tree = source(&fs);
    tree.checkpoint(TARGET, &CheckpointOptions::default()).unwrap();
    fs.create_dir(Path::new("/data/empty")).unwrap();
    fs.open(Path::new("/data/file"), &OpenOptions::CREATE_NEW).unwrap();
    let before = fs.files().into_keys().filter(|path| !path.starts_with(SOURCE)).collect::<Vec<_>>();
    for target in [TARGET, "/data/empty", "/data/file"] {
        let refused = tree.checkpoint(target, &CheckpointOptions::default()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{target}");
    }
    let inside = tree.checkpoint("/data/db/copy", &CheckpointOptions::default()).unwrap_err();
    assert_eq!(inside.kind(), ErrorKind::InvalidArgument);
    let after = fs.files().into_keys().filter(|path| !path.starts_with(SOURCE)).collect::<Vec<_>>();
    assert_eq!(before, after);
}

/// Proves D-95: of several at once, one wins and the others are told.
#[test]
fn of_concurrent_checkpoints_to_one_target_one_wins() {
    for _ in 0..30 {
        let fs = SimFs::new(SimConfig::default());
        let tree = source(&fs);
        let take = || tree.checkpoint(TARGET, &CheckpointOptions::default());
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "{lost:?}");
        for lost in lost {
            let lost = lost.unwrap_err();
            assert_eq!(lost.kind(), ErrorKind::AlreadyExists, "{lost:?}");
        }
        assert!(leftovers(&fs).is_empty());
        check_copy(&reopen(&fs, TARGET), &contents(&tree).unwrap());
    }
}

/// Proves D-95, E-141: a crash at any moment leaves the source as it was, and no target or all of it; the next attempt
/// finds its way clear.
#[test]
fn a_crash_leaves_no_target_or_all_of_it() {
    for hard_link in [true, false] {
        let fs = SimFs::new(SimConfig::default());
        let tree = source(&fs);
        flush(&tree);
        let expected = contents(&tree).unwrap();
        let begun = fs.len();
        let mut how = CheckpointOptions::default();
        how.hard_link = hard_link;
        tree.checkpoint(TARGET, &how).unwrap();
        let done = fs.len();
        let (mut absent, mut complete) = (0_u32, 0_u32);
        let points = fs.crash_points().into_iter().filter(|point| *point >= begun);
        for point in points {
            for (id, image) in fs.images(point, &Strategy::GATE) {
                let source = reopen(&image, SOURCE);
                assert_eq!(contents(&source).unwrap(), expected, "image {id}");
                if image.exists(Path::new(TARGET)).unwrap() {
                    complete += 1;
                } else {
                    assert!(point < done, "image {id}: a checkpoint that returned is gone");
                    absent += 1;
                    let gone = gc_staging(&image, Path::new(TARGET)).unwrap();
                    assert_ne!(gone, StagingGc::InUse, "image {id}");
                    assert!(leftovers(&image).is_empty());
                    if !absent.is_multiple_of(8) {
                        continue;
                    }
                    source.checkpoint(TARGET, &how).unwrap();
                }
                check_copy(&reopen(&image, TARGET), &expected);
                check_copy(&source, &expected);
            }
        }
        assert!(absent > 20 && complete > 0, "{absent} without, {complete} with a target");
    }
}

/// Proves D-95, E-141: whatever operation fails, there is no target or all of it, and the store goes on.
#[test]
fn an_operation_that_fails_leaves_no_half_target() {
    let failures = [
        |nth| FaultRule::fail(IoKind::Other).nth(nth),
        |nth| FaultRule::fail(IoKind::NoSpace).nth(nth),
        |nth| FaultRule::fail_after(IoKind::Other).nth(nth),
    ];
    for rule in failures {
        let mut struck = 0;
        for nth in 0.. {
            let fs = SimFs::new(SimConfig::default());
            let tree = source(&fs);
            flush(&tree);
            let expected = contents(&tree).unwrap();
            fs.set_faults(FaultPlan::new().with(rule(nth)));
            let mut how = CheckpointOptions::default();
            how.hard_link = nth % 2 == 0;
            let outcome = tree.checkpoint(TARGET, &how);
            let hit = fs.faults_struck() > 0;
            fs.set_faults(FaultPlan::new());
            let exists = fs.exists(Path::new(TARGET)).unwrap();
            assert_eq!(outcome.is_ok(), exists, "{nth}: {outcome:?}");
            check_copy(&tree, &expected);
            if !exists && tree.checkpoint(TARGET, &how).is_err() {
                // The edit that marks the tables may be on disk or not.
                tree.close().unwrap();
                reopen(&fs, SOURCE).checkpoint(TARGET, &how).unwrap();
            }
            check_copy(&reopen(&fs, TARGET), &expected);
            assert!(leftovers(&fs).is_empty(), "{nth}: {:?}", leftovers(&fs));
            if !hit {
                break;
            }
            struck += 1;
        }
        assert!(struck > 20, "only {struck}");
    }
}

/// Proves E-141: a disk that fills up at any byte takes the partial target along.
#[test]
fn a_full_disk_leaves_nothing_of_a_target() {
    let mut failed = 0;
    for budget in (0..).map(|step| step * 509) {
        let fs = SimFs::new(SimConfig::default());
        let tree = source(&fs);
        flush(&tree);
        let expected = contents(&tree).unwrap();
        let before: Vec<_> = fs.files().into_keys().collect();
        let mut how = CheckpointOptions::default();
        how.hard_link = false;
        fs.set_budget(Some(budget));
        let outcome = tree.checkpoint(TARGET, &how);
        fs.set_budget(None);
        check_copy(&tree, &expected);
        let Err(error) = outcome else { break };
        failed += 1;
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{budget}: {error:?}");
        assert_eq!(fs.files().into_keys().collect::<Vec<_>>(), before);
        assert!(leftovers(&fs).is_empty());
    }
    assert!(failed > 10, "only {failed}");
}

/// A tree whose large files are cut in steps of one byte less than nothing is too small for.
fn cutting(fs: &SimFs) -> Tree {
    let reclaim = ReclaimOptions { chunk_bytes: 300, ..ReclaimOptions::default() };
    let tree = Tree::open(options(fs, SOURCE).store(|store| store.reclaim(reclaim))).unwrap();
    fill(&tree, 100);
    flush(&tree);
    fill(&tree, 200);
    flush(&tree);
    tree
}

fn cuts(fs: &SimFs, from: usize) -> usize {
    cuts_of(fs, from, &["sst", "blob"])
}

fn cuts_of(fs: &SimFs, from: usize, extensions: &[&str]) -> usize {
    let cut = |event: &Arc<lsm_testkit::sim::Event>| {
        matches!(event.kind, EventKind::SetLen(_) | EventKind::Punch { .. })
            && event
                .path
                .extension()
                .is_some_and(|found| extensions.iter().any(|extension| found == *extension))
    };
    fs.trace().iter().skip(from).filter(|event| cut(event)).count()
}

fn drop_history(tree: &Tree) {
    tree.set_gc_watermark(at(1_000));
    tree.major_compact(&CompactOptions::default()).unwrap();
}

/// Proves D-65, D-101, E-144: files with a second name, or that ever had one, are unlinked and never cut; others are
/// cut in steps.
/// Fault: durability W-8.
#[test]
fn shared_files_are_never_cut() {
    let fs = SimFs::new(SimConfig::default());
    let tree = cutting(&fs);
    let from = fs.len();
    drop_history(&tree);
    assert!(cuts(&fs, from) > 0, "a file of our own is cut");

    // The copy is there when the original is compacted away.
    let fs = SimFs::new(SimConfig::default());
    let tree = cutting(&fs);
    let expected = contents(&tree).unwrap();
    tree.checkpoint(TARGET, &CheckpointOptions::default()).unwrap();
    let from = fs.len();
    drop_history(&tree);
    assert_eq!(cuts(&fs, from), 0);
    check_copy(&reopen(&fs, TARGET), &expected);
    // Nor when nothing at all is left of it, value logs included.
    tree.clear(at(2_000)).unwrap();
    assert_eq!((tree.stats().value_logs.files, cuts_of(&fs, from, &["blob"])), (0, 0));
    check_copy(&reopen(&fs, TARGET), &expected);

    // The copy was there once, before the original was opened again.
    let fs = SimFs::new(SimConfig::default());
    let tree = cutting(&fs);
    tree.checkpoint(TARGET, &CheckpointOptions::default()).unwrap();
    tree.close().unwrap();
    fs.remove_dir_all(Path::new(TARGET)).unwrap();
    let reclaim = ReclaimOptions { chunk_bytes: 300, ..ReclaimOptions::default() };
    let tree = Tree::open(options(&fs, SOURCE).store(|store| store.reclaim(reclaim))).unwrap();
    let from = fs.len();
    drop_history(&tree);
    assert_eq!(cuts(&fs, from), 0);

    // The copy cuts nothing of the original either.
    let fs = SimFs::new(SimConfig::default());
    let tree = cutting(&fs);
    let expected = contents(&tree).unwrap();
    tree.checkpoint(TARGET, &CheckpointOptions::default()).unwrap();
    let copy = Tree::open(options(&fs, TARGET).store(|store| store.reclaim(reclaim))).unwrap();
    let from = fs.len();
    drop_history(&copy);
    assert_eq!(cuts(&fs, from), 0);
    check_copy(&tree, &expected);

    // Somebody else linked a file, and nobody told us.
    let fs = SimFs::new(SimConfig::default());
    let tree = cutting(&fs);
    let mut files = Vec::new();
    for folder in ["/data/db/tables", "/data/db/blobs"].map(Path::new) {
        for entry in fs.read_dir(folder).unwrap() {
            fs.hard_link(&folder.join(&entry.name), &Path::new("/data").join(&entry.name)).unwrap();
            files.push(entry.name);
        }
    }
    let links = || -> Vec<_> {
        fs.files().into_iter().filter(|(path, _)| path.parent() == Some(Path::new("/data"))).collect()
    };
    let before = links();
    drop_history(&tree);
    assert!(before.len() == files.len() && links() == before);
}

/// Proves D-104: files that an earlier checkpoint has are linked from there, and only the very same ones.
#[test]
fn a_checkpoint_builds_on_an_earlier_one() {
    let fs = SimFs::new(SimConfig::default());
    let backups = Arc::new(MemFs::new());
    backups.create_dir(Path::new("/data")).unwrap();
    let tree = source(&fs);
    let mut how = CheckpointOptions::default();
    how.fs = Some(backups.clone());
    let first = tree.checkpoint("/data/first", &how).unwrap();
    assert_eq!(first.bytes_by(CopyMethod::Copied), first.bytes());
    fill(&tree, 400);
    how.since = Some("/data/first".into());
    let second = tree.checkpoint("/data/second", &how).unwrap();
    assert_eq!(second.bytes_by(CopyMethod::Reused), first.bytes());
    assert_eq!(second.bytes_by(CopyMethod::Copied), second.bytes() - first.bytes());
    let expected = contents(&tree).unwrap();
    backups.remove_dir_all(Path::new("/data/first")).unwrap();
    check_copy(&Tree::open(options_at(backups.clone(), "/data/second")).unwrap(), &expected);

    // A copy that went its own way has other files under the same numbers.
    let mut other = CheckpointOptions::default();
    let copied = tree.checkpoint(TARGET, &other).unwrap();
    let copy = reopen(&fs, TARGET);
    for tree in [&tree, &copy] {
        fill(tree, 500);
        flush(tree);
    }
    copy.close().unwrap();
    other.since = Some(TARGET.into());
    let third = tree.checkpoint("/data/third", &other).unwrap();
    assert_eq!(third.bytes_by(CopyMethod::Reused), copied.bytes());
    check_copy(&reopen(&fs, "/data/third"), &contents(&tree).unwrap());

    other.since = Some("/data/nowhere".into());
    let refused = tree.checkpoint("/data/fourth", &other).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    assert!(!fs.exists(Path::new("/data/fourth.staging")).unwrap());
}

/// Proves D-95: a staging directory of an attempt that died goes, one that holds something foreign stays.
#[test]
fn only_what_is_ours_is_cleared_away() {
    let fs = SimFs::new(SimConfig::default());
    let tree = source(&fs);
    let staging = Path::new("/data/copy.staging");
    assert_eq!(gc_staging(&fs, Path::new(TARGET)).unwrap(), StagingGc::Nothing);
    fs.create_dir(staging).unwrap();
    fs.create_dir(&staging.join("tables")).unwrap();
    let half = staging.join("tables/00000000000000000001.sst");
    fs.open(&half, &OpenOptions::CREATE_NEW).unwrap();
    assert_eq!(gc_staging(&fs, Path::new(TARGET)).unwrap(), StagingGc::Removed);
    assert!(!fs.exists(staging).unwrap());

    for name in ["notes.txt", "tables/holiday.jpg"] {
        fs.create_dir_all(&staging.join("tables")).unwrap();
        let foreign = staging.join(name);
        fs.open(&foreign, &OpenOptions::CREATE_NEW).unwrap();
        let before = fs.state_hash();
        assert_eq!(gc_staging(&fs, Path::new(TARGET)).unwrap_err().kind(), ErrorKind::NotOurs);
        assert_eq!(fs.state_hash(), before);
        let refused = tree.checkpoint(TARGET, &CheckpointOptions::default()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotOurs);
        assert!(fs.exists(&foreign).unwrap());
        fs.remove_file(&foreign).unwrap();
    }
    tree.checkpoint(TARGET, &CheckpointOptions::default()).unwrap();
}

/// Proves E-106, E-142: while files are held, compactions remove nothing; afterwards each goes once.
#[test]
fn held_files_stay_until_the_last_guard_is_gone() {
    let fs = SimFs::new(SimConfig::default());
    let tree = source(&fs);
    flush(&tree);
    let files = || fs.read_dir(Path::new("/data/db/tables")).unwrap().len();
    let logs = || fs.read_dir(Path::new("/data/db/blobs")).unwrap().len();
    let (before, logs_before) = (files(), logs());
    let (outer, inner) = (tree.hold_deletions(), tree.hold_deletions());
    drop_history(&tree);
    let live = tree.stats().tables();
    assert_eq!(files(), before + live);
    let stats = tree.stats();
    let dead_logs = logs_before - stats.value_logs.files;
    assert_eq!((logs_before, dead_logs), (3, 2));
    assert_eq!((stats.reclaim.queued_files as usize, stats.reclaim.holds), (before + dead_logs, 2));
    let live_bytes = stats.file_bytes() + stats.value_logs.file_bytes;
    assert_eq!(stats.disk_bytes(), live_bytes + stats.reclaim.queued_bytes);
    drop(outer);
    assert_eq!((files(), logs()), (before + live, logs_before));
    drop(inner);
    assert_eq!((files(), logs(), tree.stats().reclaim.queued_files), (live, logs_before - dead_logs, 0));
    assert_eq!(tree.stats().reclaim.removed_files as usize, before + dead_logs);
}
