//! Batches: their form, what a read sees of them, and what the tree tells of memtables and numbers.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::{ops::Bound, sync::Arc};

use common::{at, contents, flush};
use lsm_engine::{CompactOptions, FlushOptions, Reader, Token, Tree, TreeBatch, TreeOptions, Unflushed};
use lsm_fs::MemFs;
use lsm_types::{ErrorKind, SeqNo, batch::BatchOp};

fn options(fs: &Arc<MemFs>) -> TreeOptions {
    let fs = fs.clone();
    TreeOptions::new("/db").store(|store| store.fs(fs))
}

fn open() -> Tree {
    Tree::open(options(&Arc::default())).unwrap()
}

fn mixed() -> TreeBatch {
    let mut batch = TreeBatch::new();
    batch.remove_range::<&[u8]>((Bound::Excluded(&b"a"[..]), Bound::Unbounded)).unwrap();
    batch.insert("b", "1").unwrap().remove("c").unwrap().remove_weak("d").unwrap();
    batch.remove_prefix("e").unwrap().merge("e1", "x").unwrap();
    batch.remove_range("f"..="g").unwrap();
    batch
}

/// Proves E-21: all kinds of operations in any mix, counted, walked in order, and the same after a trip through bytes.
/// Fault: engine W-22.
#[test]
fn a_batch_goes_through_bytes_unchanged() {
    let batch = mixed();
    let operations: Vec<BatchOp<'_>> = batch.operations().collect();
    assert_eq!((batch.len(), operations.len()), (7, 7));
    assert_eq!(operations[0], BatchOp::RemoveRange { lower: Bound::Excluded(b"a"), upper: Bound::Unbounded });
    assert_eq!(operations[4], BatchOp::RemovePrefix { prefix: b"e" });
    assert_eq!(operations[5], BatchOp::Merge { key: b"e1", operand: b"x" });
    let upper = Bound::Included(&b"g"[..]);
    assert_eq!(operations[6], BatchOp::RemoveRange { lower: Bound::Included(b"f"), upper });
    let mut bytes = Vec::new();
    batch.encode(&mut bytes);
    let again = TreeBatch::decode(&bytes).unwrap();
    assert!(again.operations().eq(batch.operations()));
    assert_eq!(again.byte_size(), batch.byte_size());
    for cut in 0..bytes.len() {
        assert!(TreeBatch::decode(&bytes[..cut]).unwrap_err().is_corruption(), "{cut}");
    }
    let mut cleared = again;
    cleared.clear();
    cleared.reserve(3, 100);
    assert_eq!((cleared.len(), cleared.byte_size(), cleared.operations().len()), (0, 0, 0));
}

/// Proves E-25: a read at the base sees nothing of a batch, one past its end all of it, one in between what is numbered
/// below; in memory and in tables.
#[test]
fn a_batch_is_seen_by_its_numbers() {
    let tree = open();
    for (seqno, key) in (1..).zip(["a", "b", "c", "d", "e0", "e1", "f"]) {
        tree.insert(key, "old", at(seqno)).unwrap();
    }
    let before = contents(&tree).unwrap();
    assert_eq!(tree.apply(&mixed(), at(10)).unwrap(), at(10)..at(17));
    for _ in 0..2 {
        assert_eq!(contents(&tree.view_at(at(10)).unwrap()).unwrap(), before);
        let after = [("a", "old"), ("b", "1"), ("e1", "x")];
        let after = after.map(|(key, value)| (key.into(), value.into()));
        assert_eq!(contents(&tree.view_at(at(17)).unwrap()).unwrap(), after);
        assert_eq!(tree.view_at(at(12)).unwrap().count().unwrap(), 2, "the range delete and the first put");
        flush(&tree);
    }
}

/// Proves E-26: an empty batch takes no number and tells what the memtable takes.
#[test]
fn an_empty_batch_does_nothing() {
    let tree = open();
    tree.insert("a", "1", at(1)).unwrap();
    assert_eq!(tree.apply(&TreeBatch::new(), at(7)).unwrap(), at(7)..at(7));
    let info = tree.apply_shared(&TreeBatch::new(), at(7)).unwrap();
    assert_eq!((info.bytes_added, info.memtable_bytes), (0, tree.memtable_bytes()));
    assert_eq!((tree.highest_seqno(), tree.view().before()), (Some(at(1)), at(2)));
    assert_eq!(tree.seal(None).unwrap().max_seqno, at(1));
}

/// Proves E-112: a seal hands out what it sealed, numbers memtables upwards, and never seals an empty one.
#[test]
fn a_seal_tells_what_it_sealed() {
    let tree = open();
    let token = Token::new("here".as_bytes().to_vec()).unwrap();
    assert_eq!(tree.seal(Some(token.clone())), None);
    tree.insert("a", "1", at(4)).unwrap();
    tree.insert("b", "1", at(2)).unwrap();
    let first = tree.seal(Some(token.clone())).unwrap();
    assert_eq!((first.min_seqno, first.max_seqno, first.token), (at(2), at(4), Some(token)));
    assert!(first.bytes > 0);
    assert_eq!(tree.seal(None), None);
    tree.remove_range("a".., at(5)).unwrap();
    let second = tree.seal(None).unwrap();
    assert!(second.id > first.id);
    assert_eq!((second.min_seqno, second.token), (at(5), None));
}

/// Proves E-118.
#[test]
fn numbers_and_memtables_can_be_asked() {
    let fs = Arc::default();
    let tree = Tree::open(options(&fs)).unwrap();
    assert_eq!(
        (tree.highest_seqno(), tree.unflushed(), tree.is_active_empty()),
        (None, Unflushed::default(), true)
    );
    tree.insert("a", "1", at(3)).unwrap();
    assert!(!tree.is_active_empty());
    tree.seal(None);
    assert!(tree.is_active_empty());
    tree.remove_range("b".., at(9)).unwrap();
    let unflushed = tree.unflushed();
    assert_eq!((unflushed.memtables, unflushed.seqnos), (2, Some((at(3), at(9)))));
    assert_eq!((tree.sealed_count(), tree.highest_seqno(), tree.persisted().highest), (1, Some(at(9)), None));
    assert!(0 < unflushed.bytes && unflushed.bytes <= tree.memtable_bytes());
    tree.flush(&FlushOptions::default()).unwrap();
    assert_eq!((tree.unflushed().seqnos, tree.persisted().highest), (Some((at(9), at(9))), Some(at(3))));
    assert_eq!((tree.sealed_count(), tree.highest_seqno()), (0, Some(at(9))));
    flush(&tree);
    assert_eq!((tree.unflushed(), tree.highest_seqno()), (Unflushed::default(), Some(at(9))));
    drop(tree);
    let tree = Tree::open(options(&fs)).unwrap();
    assert_eq!((tree.highest_seqno(), tree.persisted().highest), (Some(at(9)), Some(at(9))));
}

/// Proves E-104: the floor is lowered on request only, never raised that way, and stays so when the tree is opened again.
#[test]
fn the_retention_floor_can_be_lowered() {
    let fs = Arc::default();
    let tree = Tree::open(options(&fs)).unwrap();
    for seqno in 1..=6 {
        tree.insert("a", seqno.to_string(), at(seqno)).unwrap();
    }
    tree.set_gc_watermark(at(6));
    flush(&tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(tree.retention_floor(), at(5));
    assert_eq!(tree.view_at(at(4)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
    for refused in [at(6), at(7), SeqNo::LATEST] {
        assert_eq!(tree.lower_retention_floor(refused).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    drop(tree);
    // Opened anew, the tree takes back what the caller has kept.
    let tree = Tree::open(options(&fs)).unwrap();
    assert_eq!(tree.view_at(at(4)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
    for seqno in 3..=5 {
        tree.insert("a", seqno.to_string(), at(seqno)).unwrap();
    }
    flush(&tree);
    tree.lower_retention_floor(at(3)).unwrap();
    tree.lower_retention_floor(at(3)).unwrap();
    assert_eq!(tree.view_at(at(3)).unwrap_err().kind(), ErrorKind::SnapshotBelowRetention);
    drop(tree);
    let tree = Tree::open(options(&fs)).unwrap();
    assert_eq!(tree.retention_floor(), at(3));
    assert_eq!(tree.view_at(at(4)).unwrap().get("a").unwrap().unwrap(), b"3");
    assert_eq!(tree.view_at(at(5)).unwrap().get("a").unwrap().unwrap(), b"4");
}
