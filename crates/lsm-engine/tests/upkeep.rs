//! What compactions leave on the disk, and whom they keep waiting.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{path::Path, sync::Arc};

use common::{at, contents, flush, small_tables};
use lsm_compaction_planner::Major;
use lsm_engine::{CompactOptions, ExecutorError, Failpoints, Outcome, Reader, Tree, TreeOptions};
use lsm_fs::{Fs, MemFs};
use lsm_types::SeqNo;
use wrap::{Control, WrapFs};

fn open(fs: Arc<dyn Fs>) -> Tree {
    Tree::open(TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables())).unwrap()
}

/// Nobody says what may be forgotten, so no version of a key may go; files that were replaced go all the same, at once.
/// Fault: compaction W-22.
#[test]
fn files_that_nobody_reads_do_not_pile_up() {
    let memory = Arc::new(MemFs::new());
    let tree = open(memory.clone());
    let files = || memory.read_dir(Path::new("/db/tables")).unwrap().len();
    for round in 0..10 {
        for number in 0..20 {
            tree.insert(format!("{number:02}"), format!("{round}"), at(round * 20 + number)).unwrap();
        }
        flush(&tree);
        tree.major_compact(&CompactOptions::default()).unwrap();
        assert_eq!((files(), tree.stats().tables()), (1, 1), "round {round}");
        assert_eq!(tree.retention_floor(), SeqNo::ZERO);
        assert_eq!(tree.view_at(at(20)).unwrap().get("07").unwrap().unwrap(), b"0", "history is kept");
    }
    // While a view is open its files stay, and no longer.
    let view = tree.view();
    tree.insert("more", "", at(300)).unwrap();
    flush(&tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!((files(), tree.stats().tables()), (2, 1));
    drop(view);
    assert_eq!(files(), 1);
    assert_eq!(contents(&tree).unwrap().len(), 21);
}

/// Makes the next sync wait: that of the manifest.
struct HangsAtInstall(Arc<Control>);

impl Failpoints for HangsAtInstall {
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        if point == "install.before" {
            self.0.hang();
        }
        Ok(())
    }
}

/// Proves C-154: while the manifest is synced, reads go on, of the newest state and of older ones, and so do those who
/// begin to hold one.
/// Fault: compaction W-35.
#[test]
fn nobody_who_reads_waits_for_the_manifest() {
    let control = Arc::new(Control::default());
    let tree = open(Arc::new(WrapFs { inner: Arc::new(MemFs::new()), control: control.clone() }));
    for round in 0..2 {
        tree.insert("key", format!("{round}"), at(round)).unwrap();
        flush(&tree);
    }
    let failpoints: Arc<dyn Failpoints> = Arc::new(HangsAtInstall(control.clone()));
    let (how, strategy) = (CompactOptions::default(), Major { target_bytes: u64::MAX });
    std::thread::scope(|scope| {
        let job = scope.spawn(|| tree.compact_with(&strategy, &how, &failpoints).unwrap());
        control.wait_for_a_sync_while_hanging();
        assert_eq!(tree.stats().tables(), 2, "nothing is published yet");
        assert_eq!(tree.get("key").unwrap().unwrap(), b"1");
        let older = tree.view_at(at(1)).unwrap();
        assert_eq!(older.get("key").unwrap().unwrap(), b"0");
        let hold = tree.hold(at(1)).unwrap();
        assert_eq!(tree.view().iter().count(), 1);
        tree.insert("other", "", at(2)).unwrap();
        drop(hold);
        control.release();
        assert_eq!(job.join().unwrap().outcome, Outcome::Merged);
    });
    assert_eq!(tree.count().unwrap(), 2);
}
