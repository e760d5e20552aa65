//! Entries as they are stored.

use std::sync::Arc;

use lsm_engine::{CompactOptions, RawEntry, Reader, Tree, TreeBatch, TreeOptions};
use lsm_fs::MemFs;
use lsm_types::{Cut, Kind, RangeTombstone};

use crate::common::{at, flush, small_tables};

fn brief(entry: &RawEntry) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}@{} {:?} {}", text(&entry.key), entry.seqno, entry.kind, text(&entry.value))
}

/// All versions in key order, nothing resolved; deletes of ranges stand apart; the entry that decides a key as it is stored.
#[test]
fn versions_are_listed_as_they_are_stored() {
    let fs: Arc<MemFs> = Arc::default();
    let options = TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables());
    let tree = Tree::open(options).unwrap();
    tree.insert("a", "x", at(1)).unwrap();
    tree.insert("a", "y", at(2)).unwrap();
    flush(&tree);
    tree.merge("b", "o", at(3)).unwrap();
    tree.remove_range("a".."b", at(4)).unwrap();
    tree.remove_weak("c", at(5)).unwrap();
    flush(&tree);
    tree.remove("a", at(6)).unwrap();
    for _ in 0..2 {
        let view = tree.view();
        let list = |range: (std::ops::Bound<&str>, std::ops::Bound<&str>)| -> Vec<String> {
            view.versions::<&str>(range).map(|entry| brief(&entry.unwrap())).collect()
        };
        let everything =
            ["a@6 Tombstone ", "a@2 Put y", "a@1 Put x", "b@3 MergeOperand o", "c@5 WeakTombstone "];
        assert_eq!(list((std::ops::Bound::Unbounded, std::ops::Bound::Unbounded)), everything);
        assert_eq!(list((std::ops::Bound::Excluded("a"), std::ops::Bound::Excluded("c"))), everything[3..4]);
        assert_eq!(list((std::ops::Bound::Included("c"), std::ops::Bound::Excluded("a"))).len(), 0);
        let old = tree.view_at(at(5)).unwrap();
        let (start, end) = (Cut::Before("a".into()), Cut::Before("b".into()));
        let range = RangeTombstone { start, end, seqno: at(4) };
        assert_eq!(old.range_tombstones::<&str>(..).unwrap(), [range]);
        assert_eq!(old.range_tombstones("b"..).unwrap(), []);
        assert_eq!(old.versions::<&str>(..).count(), 3, "what is newer than the view is not in it");
        assert_eq!(old.get_entry("a").unwrap(), None, "hidden by the delete of a range");
        let kind = |key: &str| view.get_entry(key).unwrap().map(|entry| (entry.kind, entry.seqno));
        assert_eq!(kind("a"), Some((Kind::Tombstone, at(6))));
        assert_eq!(kind("b"), Some((Kind::MergeOperand, at(3))));
        assert_eq!((kind("c"), kind("d")), (Some((Kind::WeakTombstone, at(5))), None));
        flush(&tree);
        tree.major_compact(&CompactOptions::default()).unwrap();
    }
}

/// What a batch lies over is seen as far as the view saw it, also as it is stored.
#[test]
fn versions_under_a_batch() {
    let fs: Arc<MemFs> = Arc::default();
    let tree =
        Tree::open(TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables())).unwrap();
    tree.insert("a", "x", at(1)).unwrap();
    flush(&tree);
    let view = tree.view_at(at(2)).unwrap();
    tree.insert("a", "late", at(2)).unwrap();
    tree.remove_range("a".."c", at(3)).unwrap();
    let mut batch = TreeBatch::new();
    batch.insert("b", "own").unwrap();
    batch.remove_range("a".."b").unwrap();
    let overlaid = view.overlaid(&batch).unwrap().to_view();
    let listed: Vec<String> = overlaid.versions::<&str>(..).map(|entry| brief(&entry.unwrap())).collect();
    assert_eq!(listed, ["a@1 Put x", "b@2 Put own"]);
    let ranges = overlaid.range_tombstones::<&str>(..).unwrap();
    assert_eq!(ranges.iter().map(|one| one.seqno).collect::<Vec<_>>(), [at(3)]);
    assert_eq!(ranges[0].end, Cut::Before("b".into()));
    assert_eq!(overlaid.get_entry("a").unwrap(), None);
}
