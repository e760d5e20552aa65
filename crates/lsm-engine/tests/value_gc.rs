//! What old values cost: space that they take, and bytes that are written to get rid of them. Counted, not timed.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

mod common;

use std::sync::Arc;

use common::{at, flush};
use lsm_codec::Compression;
use lsm_compaction_planner::Leveled;
use lsm_engine::{CompactOptions, Tree, TreeOptions, VlogPolicy};
use lsm_fs::MemFs;
use lsm_testkit::dice::Dice;

const VALUES: u64 = 8_000;
const VALUE_LEN: usize = 4 << 10;
/// Keys between two flushes.
const FLUSH_EVERY: u64 = 500;

/// How the keys of an overwrite follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Sorted,
    Shuffled,
}

struct Run {
    tree: Tree,
    next: u64,
    copied: u64,
}

impl Run {
    fn compact(&mut self) {
        self.tree.set_gc_watermark(at(self.next));
        let strategy = Leveled { table_target_bytes: 4 << 20, ..Leveled::default() };
        loop {
            let report = self.tree.compact(&strategy, &CompactOptions::default()).unwrap();
            self.copied += report.value_bytes_relocated;
            if !report.did_work() {
                return;
            }
        }
    }

    fn put(&mut self, keys: impl Iterator<Item = u64>) {
        for number in keys {
            // Of no use to look at: the bytes are counted.
            let value = vec![self.next as u8; VALUE_LEN];
            self.tree.insert(format!("key-{number:08}"), value, at(self.next)).unwrap();
            self.next += 1;
            if self.next.is_multiple_of(FLUSH_EVERY) {
                flush(&self.tree);
                self.compact();
            }
        }
    }
}

/// Space in relation to what is live, and bytes that were copied in relation to those written.
fn overwrite(order: Order) -> (f64, f64) {
    let fs = Arc::new(MemFs::new());
    let policy =
        VlogPolicy { compression: Compression::None, target_bytes: 2 << 20, ..VlogPolicy::default() };
    let tree = TreeOptions::new("/db").store(|store| store.fs(fs)).separation(policy);
    let tree = Tree::open(tree.table_target_bytes(4 << 20)).unwrap();
    let mut run = Run { tree, next: 1, copied: 0 };
    run.put(0..VALUES);
    let before = run.copied;
    let mut dice = Dice::new(1);
    let mut keys: Vec<u64> = (0..VALUES).collect();
    if order == Order::Shuffled {
        for at in (1..keys.len()).rev() {
            keys.swap(at, dice.index(at + 1));
        }
    }
    run.put(keys.into_iter());
    flush(&run.tree);
    run.compact();
    let live = VALUES * (VALUE_LEN as u64 + "key-00000000".len() as u64);
    let stats = run.tree.stats();
    let space = (stats.file_bytes() + stats.value_logs.file_bytes) as f64 / live as f64;
    let written = (VALUES * VALUE_LEN as u64) as f64;
    let per_overwritten = (run.copied - before) as f64 / written;
    let copied = run.copied as f64 / (2.0 * written);
    println!(
        "{order:?}: space {space:.3}, copied {copied:.3} per byte written, {per_overwritten:.3} per byte overwritten; \
         {} value logs, garbage {:?}",
        stats.value_logs.files, stats.value_logs.garbage_tenths,
    );
    assert!(run.tree.verify().unwrap().is_clean());
    (space, copied)
}

/// Every value of 4 KiB is overwritten once; with default settings the space settles at 1.25 times what is live at most, and
/// half a byte is copied per byte written at most.
#[test]
fn one_full_overwrite() {
    for order in [Order::Sorted, Order::Shuffled] {
        let (space, copied) = overwrite(order);
        assert!(space <= 1.25, "{order:?}: space {space}");
        assert!(copied <= 0.5, "{order:?}: {copied} bytes copied per byte");
    }
}
