//! Random lives in which a read once differed, as short as they could be made. A failure of `model` prints the next
//! one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::unnecessary_wraps,
    reason = "a test should fail where it fails"
)]

mod common;
#[path = "common/life.rs"]
mod life;
#[path = "common/read_forms.rs"]
mod read_forms;
#[path = "common/wrap.rs"]
mod wrap;

use std::sync::Arc;

use common::{at, flush, small_tables};
use life::Living;
use lsm_compaction_planner::PullDown;
use lsm_engine::{CompactOptions, Reader, Tree, TreeOptions};
use lsm_fs::MemFs;
use lsm_testkit::universe::{
    self, Axes, Folding, Keys,
    Op::{self, *},
    replay,
};
use lsm_types::Level;

#[track_caller]
fn check(axes: &Axes, ops: &[Op]) {
    if let Err(told) = replay::<Living>(axes, ops) {
        panic!("{told}");
    }
}

/// The judge itself was wrong here, about a number used twice.
#[test]
fn a_late_number_is_not_the_next_one() {
    let ops = [
        Delete { key: 8, late: 5 },
        TakeView { held: false },
        Batch { len: 5, shared: true, seed: 762_613_676 },
    ];
    check(&Axes { first: 0, ..Axes::PLAIN }, &ops);
}

/// Of two operations on a key in a batch with one number only the last one is written, and may be written again: the
/// judge repeated the other one.
#[test]
fn what_a_batch_left_out_is_not_repeated() {
    let ops = [
        Batch { len: 4, shared: true, seed: 2_709_374_251 },
        Delete { key: 15, late: 0 },
        Weak { key: 8, what: 4, late: 0 },
        Replay { back: 5 },
    ];
    check(&Axes::PLAIN, &ops);
}

/// Of a compaction in segments one may have no survivors, and range tombstones that have to stay: the job could not be
/// installed then.
#[test]
fn a_segment_of_range_tombstones_alone_is_installed() {
    let options = TreeOptions::new("/db")
        .store(|store| store.fs(Arc::new(MemFs::new())).compaction_threads(4))
        .tables(small_tables());
    let tree = Tree::open(options).unwrap();
    let key = |number: u64| format!("key-{number:03}");
    for number in 0..400 {
        if (20..380).contains(&number) {
            tree.remove(key(number), at(1 + number)).unwrap();
        } else {
            tree.insert(key(number), [b'v'; 40], at(1 + number)).unwrap();
        }
    }
    flush(&tree);
    tree.remove_range(key(10)..key(390), at(600)).unwrap();
    flush(&tree);
    // The deletes of single keys go, that of the range stays.
    tree.set_gc_watermark(at(500));
    let down = PullDown { from: Level::new(0), to: Level::new(1) };
    tree.compact(&down, &CompactOptions::default().segment_min_bytes(0)).unwrap();
    assert!(tree.stats().levels.iter().any(|level| level.range_tombstones > 0));
    assert_eq!(tree.count().unwrap(), 20);
    assert_eq!(tree.view_at(at(600)).unwrap().count().unwrap(), 40);
    tree.set_gc_watermark(at(700));
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!((tree.count().unwrap(), tree.verify().unwrap().is_clean()), (20, true));
}

/// The same, as a life met it.
#[test]
fn a_life_with_a_segment_of_range_tombstones() {
    let ops = [
        Merge { key: 13, late: 0, refused: false },
        DeleteRange { from: 2, to: 0, kinds: 1, late: 0 },
        DropRange { from: 6, to: 5 },
        DeleteRange { from: 3, to: 7, kinds: 6, late: 0 },
        Weak { key: 2, what: 11, late: 0 },
        DeleteRange { from: 10, to: 5, kinds: 6, late: 0 },
        Put { key: 15, len: 22, late: 0 },
        Compact { strategy: 250, seed: 1_109_175_866 },
        Put { key: 4, len: 1, late: 0 },
        Put { key: 7, len: 14, late: 0 },
        Put { key: 8, len: 17, late: 0 },
        Put { key: 14, len: 11, late: 0 },
        Reopen,
        Put { key: 14, len: 226, late: 0 },
        Weak { key: 13, what: 10, late: 0 },
        Seal,
        Hold { back: 13 },
        Flush,
        Watermark { back: 7 },
        Compact { strategy: 39, seed: 3_703_555_811 },
    ];
    check(&Axes { keys: Keys::Edges, ..Axes::PLAIN }, &ops);
}

/// A write was made again below the durable watermark and is in memory, while a filter takes its copy in a table.
#[test]
fn what_a_filter_takes_does_not_come_back_from_memory() {
    let ops = [
        Weak { key: 1, what: 8, late: 0 },
        Weak { key: 12, what: 7, late: 0 },
        Merge { key: 9, late: 0, refused: false },
        Merge { key: 5, late: 2, refused: false },
        Ingest { len: 8, seed: 1_222_636_321 },
        Crossed { key: 2, cut: 3 },
        Replay { back: 10 },
        Compact { strategy: 134, seed: 45_946_904 },
    ];
    let axes =
        Axes { keys: Keys::Slashes, folding: Folding::Off, weak: universe::Weak::Legal, ..Axes::PLAIN };
    check(
        &Axes { levels: 7, cache_bytes: 1 << 20, rotate_bytes: 1 << 20, variant: 2_077_599_819, ..axes },
        &ops,
    );
}

/// A purge takes a table with the base of a chain; a filter is shown what is left of the chain, and nobody reads it.
#[test]
fn a_filter_may_be_shown_what_a_purge_left() {
    let ops = [
        Ingest { len: 8, seed: 2_474_404_982 },
        Merge { key: 1, late: 0, refused: false },
        Delete { key: 2, late: 0 },
        Batch { len: 5, shared: false, seed: 2_427_737_762 },
        Weak { key: 9, what: 1, late: 0 },
        Put { key: 11, len: 21, late: 4 },
        Watermark { back: 11 },
        PurgeRange { from: 1, to: 11 },
        Compact { strategy: 222, seed: 1_276_664_406 },
    ];
    let axes =
        Axes { keys: Keys::Single, folding: Folding::SetEdit, weak: universe::Weak::Legal, ..Axes::PLAIN };
    check(&Axes { levels: 7, cache_bytes: 1 << 20, rotate_bytes: 1 << 20, variant: 0, ..axes }, &ops);
}

/// A replay has put a second copy of a value into another table; a filter that took one of them would leave the other to
/// be read.
#[test]
fn a_filter_leaves_what_another_table_holds_too() {
    let ops = [
        Merge { key: 5, late: 0, refused: false },
        Put { key: 12, len: 23, late: 0 },
        Seal,
        Flush,
        Weak { key: 6, what: 7, late: 0 },
        Delete { key: 10, late: 0 },
        Put { key: 7, len: 18, late: 0 },
        DeleteRange { from: 10, to: 7, kinds: 2, late: 2 },
        Put { key: 11, len: 20, late: 3 },
        Batch { len: 5, shared: false, seed: 1_815_812_267 },
        Batch { len: 1, shared: false, seed: 3_741_997_643 },
        Merge { key: 5, late: 0, refused: true },
        Delete { key: 15, late: 0 },
        Put { key: 13, len: 22, late: 0 },
        Put { key: 12, len: 11, late: 0 },
        Put { key: 6, len: 24, late: 0 },
        Seal,
        Flush,
        Delete { key: 7, late: 0 },
        Put { key: 2, len: 22, late: 0 },
        Merge { key: 6, late: 1, refused: false },
        Merge { key: 14, late: 0, refused: false },
        Put { key: 11, len: 18, late: 0 },
        Weak { key: 9, what: 11, late: 1 },
        Replay { back: 8 },
        Ingest { len: 6, seed: 3_598_043_144 },
        Ingest { len: 8, seed: 1_761_046_590 },
        Checkpoint { go_on: true },
        Compact { strategy: 48, seed: 3_268_384_933 },
    ];
    let axes =
        Axes { keys: Keys::Slashes, folding: Folding::Off, weak: universe::Weak::Legal, ..Axes::PLAIN };
    check(
        &Axes { levels: 7, cache_bytes: 1 << 20, rotate_bytes: 1 << 20, variant: 79_062_276, ..axes },
        &ops,
    );
}

/// A drop of a range has taken a table with the base of a chain unread; what is left of the chain is read by nobody.
#[test]
fn a_filter_may_be_shown_what_a_drop_left() {
    let ops = [
        Merge { key: 3, late: 3, refused: false },
        Put { key: 9, len: 17, late: 0 },
        Put { key: 6, len: 10, late: 4 },
        Weak { key: 1, what: 5, late: 0 },
        Put { key: 6, len: 17, late: 3 },
        Seal,
        Ingest { len: 2, seed: 1_596_328_865 },
        Put { key: 6, len: 14, late: 0 },
        Delete { key: 8, late: 0 },
        Flush,
        Put { key: 11, len: 0, late: 0 },
        Checkpoint { go_on: false },
        Put { key: 15, len: 5, late: 0 },
        Compact { strategy: 51, seed: 3_077_664_490 },
        Weak { key: 0, what: 6, late: 0 },
        Delete { key: 1, late: 0 },
        Compact { strategy: 85, seed: 3_234_691_043 },
        Merge { key: 8, late: 0, refused: false },
        Put { key: 3, len: 13, late: 0 },
        Compact { strategy: 120, seed: 3_769_710_127 },
        Weak { key: 11, what: 6, late: 0 },
        Put { key: 2, len: 11, late: 2 },
        Merge { key: 7, late: 0, refused: false },
        DropRange { from: 5, to: 12 },
        Put { key: 6, len: 396, late: 2 },
        DeleteRange { from: 0, to: 1, kinds: 0, late: 4 },
        Watermark { back: 1 },
        Compact { strategy: 15, seed: 4_241_726_538 },
    ];
    let axes = Axes { keys: Keys::Slashes, comparator: 4, folding: Folding::Compose, ..Axes::PLAIN };
    let axes = Axes { weak: universe::Weak::Legal, levels: 7, variant: 0, ..axes };
    check(&Axes { cache_bytes: 1 << 20, rotate_bytes: 1 << 20, ..axes }, &ops);
}
