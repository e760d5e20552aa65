//! Keys: the right one is asked for before anything is changed, they can be changed while a store runs, and what is
//! sealed under one that was dropped is gone.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lsm_engine::{
    CheckpointOptions, CompactOptions, Encryption, KeyChain, KeyId, Keyring, PlainFiles, RecoveryMode,
    RelocationOptions, Store, Suite, Tree, TreeOptions, VlogPicker, VlogPolicy,
};
use lsm_fs::{Fs, MemFs};
use lsm_types::{Error, ErrorKind, TreeId};

use crate::{
    ROOT,
    common::{
        at, contents, flush,
        sealed::{chain, encryption, secret},
    },
    files, fill, mount, options, options_at,
};

fn ring() -> (Arc<Keyring>, Encryption) {
    let ring = Arc::new(Keyring::new(chain()));
    (ring.clone(), Encryption::new(ring))
}

fn key(number: u32) -> KeyId {
    KeyId::new(number)
}

/// A chain of one key with this number and the secret of another.
fn other_chain(number: u32, of: u8) -> Encryption {
    Encryption::new(Arc::new(KeyChain::new(key(number), secret(of))))
}

/// Keys that files of a store are sealed under.
fn used(store: &Store) -> Vec<Option<u32>> {
    let mut keys: Vec<_> =
        store.key_usage().unwrap().into_iter().map(|usage| usage.key.map(KeyId::get)).collect();
    keys.dedup();
    keys
}

/// Opens in every mode of recovery, and holds the directory against what it was.
#[track_caller]
pub(crate) fn check_refused(fs: &Arc<dyn Fs>, encryption: Option<&Encryption>, kind: ErrorKind) {
    let before = files(fs.as_ref(), Path::new(ROOT));
    for mode in [
        RecoveryMode::Strict,
        RecoveryMode::TolerateTail,
        RecoveryMode::PointInTime,
        RecoveryMode::SkipCorrupt,
        RecoveryMode::RebuildFromFiles,
    ] {
        let options = options(fs, encryption).store(|store| store.recovery_mode(mode));
        let refused = Tree::open(options).map(drop).map_err(|error: Error| error.kind());
        assert_eq!(refused, Err(kind), "{mode:?}");
        assert!(files(fs.as_ref(), Path::new(ROOT)) == before, "{mode:?}: a refused open changed something");
    }
}

/// Proves F-57. Fault: formats W-20.
#[test]
fn without_the_right_key_nothing_opens_and_nothing_changes() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let tree = Tree::open(options(&fs, Some(&encryption()))).unwrap();
    fill(&tree, 0);
    flush(&tree);
    tree.close().unwrap();
    check_refused(&fs, None, ErrorKind::KeyRequired);
    check_refused(&fs, Some(&other_chain(1, 2)), ErrorKind::WrongKey);
    check_refused(&fs, Some(&other_chain(2, 1)), ErrorKind::UnknownKey);
    let tree = Tree::open(options(&fs, Some(&encryption()))).unwrap();
    assert_eq!(contents(&tree).unwrap().len(), 40);
}

/// A plain database is refused where only sealed files are taken, opened where plain ones are, and goes under a key from
/// then on.
///
/// Proves F-57.
#[test]
fn a_plain_database_is_taken_only_when_that_is_said_and_can_be_sealed() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let tree = Tree::open(options(&fs, None)).unwrap();
    fill(&tree, 0);
    flush(&tree);
    tree.close().unwrap();
    check_refused(&fs, Some(&encryption()), ErrorKind::PlaintextRejected);

    let mut accepting = encryption();
    accepting.plain_files = PlainFiles::Accept;
    let tree = Tree::open(options(&fs, Some(&accepting))).unwrap();
    let store = tree.store();
    assert_eq!(used(&store), [None, Some(1)]);
    tree.rekey(&CompactOptions::default()).unwrap();
    store.renew_manifest().unwrap();
    drop(store);
    tree.close().unwrap();
    let tree = Tree::open(options(&fs, Some(&encryption()))).unwrap();
    assert_eq!(used(&tree.store()), [Some(1)]);
    assert_eq!(contents(&tree).unwrap().len(), 40);
}

/// A key changes while readers read and a writer writes; the old one is dropped when nothing is left under it.
///
/// Proves F-58.
#[test]
fn keys_change_while_the_store_runs_and_old_ones_can_be_dropped() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let (ring, encryption) = ring();
    let tree = Tree::open(options(&fs, Some(&encryption))).unwrap();
    fill(&tree, 0);
    flush(&tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
    fill(&tree, 100);
    flush(&tree);
    let held = contents(&tree).unwrap();
    let stop = AtomicBool::new(false);
    let view = tree.view();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(contents(&view).unwrap(), held);
            }
        });
        ring.change(|chain| {
            chain.insert(key(2), secret(2));
            chain.make_current(key(2)).unwrap();
        });
        tree.insert("later", "later", at(500)).unwrap();
        flush(&tree);
        assert_eq!(used(&tree.store()), [Some(1), Some(2)]);
        let rekeyed = tree.rekey(&CompactOptions::default()).unwrap();
        assert!(rekeyed.tables >= 2 && rekeyed.bytes > 1_000, "{rekeyed:?}");
        assert_eq!(tree.rekey(&CompactOptions::default()).unwrap().tables, 0, "nothing is left to do");
        tree.store().renew_manifest().unwrap();
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    drop(view);
    assert_eq!(contents(&tree).unwrap().len(), held.len() + 1);
    tree.close().unwrap();

    // The old key is refused while it is in use, and gone afterwards.
    ring.change(|chain| chain.remove(key(2)).unwrap_err());
    ring.change(|chain| chain.remove(key(1))).unwrap();
    let tree = Tree::open(options(&fs, Some(&encryption))).unwrap();
    assert_eq!(used(&tree.store()), [Some(2)]);
    assert_eq!(contents(&tree).unwrap().len(), held.len() + 1);
    assert!(tree.verify().unwrap().is_clean());
}

/// Values go under the new key as well, though nothing of them is garbage and the tree moves none by itself; readers read on.
///
/// Proves F-58, D-77.
#[test]
fn separated_values_go_under_the_new_key() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let (ring, encryption) = ring();
    let relocation = RelocationOptions { picker: VlogPicker::NEVER, ..RelocationOptions::default() };
    let separating = || {
        let policy = VlogPolicy { thresholds: vec![20], ..VlogPolicy::default() };
        options(&fs, Some(&encryption)).separation(policy).relocation(relocation)
    };
    let tree = Tree::open(separating()).unwrap();
    for round in [0, 100, 200] {
        fill(&tree, round);
        flush(&tree);
    }
    let held = contents(&tree).unwrap();
    let view = tree.view();
    ring.change(|chain| {
        chain.insert(key(2), secret(2));
        chain.make_current(key(2)).unwrap();
    });
    let rekeyed = tree.rekey(&CompactOptions::default()).unwrap();
    // Nothing is dropped: reads at old numbers are allowed.
    assert_eq!((rekeyed.values, rekeyed.value_logs), (120, 3), "{rekeyed:?}");
    assert_eq!(contents(&view).unwrap(), held);
    drop(view);
    let again = tree.rekey(&CompactOptions::default()).unwrap();
    assert_eq!((again.tables, again.values), (0, 0), "nothing is left to do");
    tree.store().renew_manifest().unwrap();
    tree.close().unwrap();
    ring.change(|chain| chain.remove(key(1))).unwrap();
    let tree = Tree::open(separating()).unwrap();
    assert_eq!(used(&tree.store()), [Some(2)]);
    assert_eq!(contents(&tree).unwrap(), held);
    assert!(tree.verify().unwrap().is_clean());
}

/// The manifest is under a good key; a table needs one that was retired too early, or replaced under its number.
///
/// Proves F-57.
#[test]
fn a_key_that_only_a_table_needs_is_asked_for_at_open() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let (ring, encryption) = ring();
    let tree = Tree::open(options(&fs, Some(&encryption))).unwrap();
    fill(&tree, 0);
    flush(&tree);
    ring.change(|chain| {
        chain.insert(key(2), secret(2));
        chain.make_current(key(2)).unwrap();
    });
    tree.store().renew_manifest().unwrap();
    tree.close().unwrap();
    ring.change(|chain| chain.remove(key(1))).unwrap();
    let before = files(fs.as_ref(), Path::new(ROOT));
    let refused = |encryption: &Encryption| Tree::open(options(&fs, Some(encryption))).unwrap_err().kind();
    assert_eq!(refused(&encryption), ErrorKind::UnknownKey);
    ring.change(|chain| chain.insert(key(1), secret(9)));
    assert_eq!(refused(&encryption), ErrorKind::WrongKey);
    assert!(files(fs.as_ref(), Path::new(ROOT)) == before);
    ring.change(|chain| chain.insert(key(1), secret(1)));
    assert_eq!(contents(&Tree::open(options(&fs, Some(&encryption))).unwrap()).unwrap().len(), 40);
}

/// A tree with a key of its own is erased by clearing it and dropping the key: copies of its files are garbage then, and
/// the rest of the store goes on.
#[test]
fn a_tree_is_erased_by_dropping_its_key() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let (ring, encryption) = ring();
    ring.change(|chain| {
        chain.insert(key(7), secret(7));
        chain.assign(TreeId::new(1), key(7)).unwrap();
    });
    let with = options(&fs, Some(&encryption));
    let open = |path: &str| {
        let store = lsm_engine::StoreOptions::new(path).fs(fs.clone()).encryption(encryption.clone());
        Store::open(store)
    };
    let tree_of =
        |store: &Store, id: u32, options: &TreeOptions| store.tree(TreeId::new(id), options).unwrap();
    let store = open(ROOT).unwrap();
    let (kept, erased) = (tree_of(&store, 0, &with), tree_of(&store, 1, &with));
    for tree in [&kept, &erased] {
        fill(tree, 0);
        flush(tree);
    }
    assert_eq!(used(&store), [Some(1), Some(7)]);
    store.checkpoint(Path::new("/copy"), &CheckpointOptions::default()).unwrap();
    erased.clear(at(1_000)).unwrap();
    store.renew_manifest().unwrap();
    drop((kept, erased));
    store.close().unwrap();
    drop(store);
    ring.change(|chain| {
        chain.unassign(TreeId::new(1));
        chain.remove(key(7)).unwrap();
    });

    let store = open(ROOT).unwrap();
    assert_eq!(used(&store), [Some(1)]);
    assert_eq!(contents(&tree_of(&store, 0, &with)).unwrap().len(), 40);
    let again = tree_of(&store, 1, &with);
    assert_eq!(contents(&again).unwrap().len(), 0);
    again.insert("anew", "anew", at(2_000)).unwrap();
    flush(&again);
    drop((again, store));
    // The copy needs the key, and has the data with it.
    assert_eq!(open("/copy").map(drop).unwrap_err().kind(), ErrorKind::UnknownKey);
    ring.change(|chain| chain.insert(key(7), secret(7)));
    let copy = open("/copy").unwrap();
    let with = options_at(&fs, Some(&encryption), "/copy");
    assert_eq!(contents(&tree_of(&copy, 1, &with)).unwrap().len(), 40);
}

/// Proves F-53 for the other suite; a database may have files of both.
#[test]
fn suites_can_be_mixed() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let mut encryption = encryption();
    for suite in [Suite::ChaCha20Poly1305, Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
        encryption.suite = suite;
        let tree = Tree::open(options(&fs, Some(&encryption))).unwrap();
        fill(&tree, tree.view().before().get());
        flush(&tree);
        assert_eq!(contents(&tree).unwrap().len(), 40);
        tree.close().unwrap();
    }
}

/// A restored copy and its original go on side by side and never share a key for what is new.
#[test]
fn a_restored_copy_goes_its_own_way() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let audit = Arc::new(crate::common::sealed::Audit::default());
    let encryption = audit.over(Arc::new(chain()));
    let tree = Tree::open(options(&fs, Some(&encryption))).unwrap();
    fill(&tree, 0);
    flush(&tree);
    let copy = mount(&files(fs.as_ref(), Path::new(ROOT)));
    tree.close().unwrap();
    for fs in [&fs, &copy] {
        let tree = Tree::open(options(fs, Some(&encryption))).unwrap();
        fill(&tree, 100);
        flush(&tree);
        tree.major_compact(&CompactOptions::default()).unwrap();
        tree.close().unwrap();
    }
    let (keys, nonces) = audit.counts();
    assert!(keys >= 8 && nonces > 100, "{keys} keys, {nonces} nonces");
}
