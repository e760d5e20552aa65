//! Scans in columns: what they find, what they must not, and how schemas change.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;
#[path = "common/wrap.rs"]
mod wrap;

use std::{ops::Bound, sync::Arc};

use common::{InPlace, at, flush};
use lsm_columnar::{
    Column, ColumnId, ColumnSplitter, ColumnType, Comparison, Datum, DelimitedText, Predicate, Schema,
};
use lsm_engine::{
    BATCH_ROWS_MAX, BlockCache, ColumnLayout, ColumnPolicy, ColumnScan, CompactOptions, DeleteStrategy,
    NameMismatch, OpenMode, Outcome, Reader, Tree, TreeOptions,
};
use lsm_fs::MemFs;
use lsm_testkit::{dice::Dice, operators::Join};
use lsm_types::{ErrorKind, Level};
use wrap::{Control, WrapFs};

const A: ColumnId = ColumnId::new(16);
const B: ColumnId = ColumnId::new(17);
const C: ColumnId = ColumnId::new(18);

const LAYOUTS: [ColumnLayout; 3] =
    [ColumnLayout::Row, ColumnLayout::Columnar, ColumnLayout::ColumnarFrom(Level::new(6))];

/// A number and a text: `7,seven`.
fn first_schema() -> Schema {
    let b = Column::new(B, "b", ColumnType::Utf8).nullable();
    Schema::new(vec![Column::new(A, "a", ColumnType::I64), b]).unwrap()
}

/// The text, and a number behind it: `seven,49`.
fn second_schema() -> Schema {
    let b = Column::new(B, "b", ColumnType::Utf8).nullable();
    let c = Column::new(C, "c", ColumnType::U32).with_default(Datum::U64(5)).unwrap();
    first_schema().evolve(vec![b, c]).unwrap()
}

fn comma(schema: Schema) -> Arc<dyn ColumnSplitter> {
    Arc::new(DelimitedText::new("test.comma", schema, b',').unwrap())
}

fn first() -> ColumnPolicy {
    ColumnPolicy::new(comma(first_schema()))
}

fn second() -> ColumnPolicy {
    ColumnPolicy::new(comma(second_schema())).older(comma(first_schema()))
}

fn options(memory: &Arc<MemFs>, policy: Option<ColumnPolicy>) -> TreeOptions {
    let options = TreeOptions::new("/db").store(|store| store.fs(memory.clone()));
    let options = options.merge_operator(Arc::new(Join::new(true)));
    match policy {
        Some(policy) => options.columns(policy),
        None => options,
    }
}

fn open(memory: &Arc<MemFs>, policy: ColumnPolicy) -> Tree {
    Tree::open(options(memory, Some(policy))).unwrap()
}

/// Every cell as it is shown, row by row.
fn rows(reader: &impl Reader, scan: &ColumnScan<'_>) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in reader.scan_columns(scan).unwrap() {
        let batch = batch.unwrap();
        for row in 0..batch.rows() {
            let cells = batch.columns().iter().map(|(_, vector)| match vector.get(row) {
                Datum::Null => "-".to_owned(),
                Datum::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Datum::I64(number) => number.to_string(),
                Datum::U64(number) => number.to_string(),
                other => panic!("no such column: {other:?}"),
            });
            rows.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    rows
}

/// What was done does not matter, only that it was.
fn done<T>(_: T) {}

fn all() -> ColumnScan<'static> {
    ColumnScan::new([ColumnId::KEY, A, B, ColumnId::OPAQUE])
}

fn a_over(number: i64) -> Predicate<'static> {
    Predicate::Compare(A, Comparison::Gt, Datum::I64(number))
}

/// Proves F-106, F-116, F-118, F-119.
/// Fault: formats W-6.
#[test]
fn columns_come_out_of_memory_and_tables_alike() {
    for layout in LAYOUTS {
        let tree = open(&Arc::new(MemFs::new()), first().layout(layout));
        for (number, key) in (0..).zip(["a", "b", "c", "d", "e", "f"]) {
            tree.insert(key, format!("{number},{key}{key}"), at(number)).unwrap();
            match number {
                1 | 3 => flush(&tree),
                2 => done(tree.major_compact(&CompactOptions::default()).unwrap()),
                4 => done(tree.seal(None)),
                _ => {}
            }
        }
        tree.insert("cc", "3,", at(6)).unwrap();
        tree.insert("dd", "no row", at(7)).unwrap();
        let everything = [
            "a 0 aa -",
            "b 1 bb -",
            "c 2 cc -",
            "cc 3 - -",
            "d 3 dd -",
            "dd - - no row",
            "e 4 ee -",
            "f 5 ff -",
        ];
        assert_eq!(rows(&tree, &all()), everything, "{layout:?}");
        assert_eq!(rows(&tree, &all().batch_rows(3)), everything);
        let backwards: Vec<_> = everything.iter().rev().copied().collect();
        assert_eq!(rows(&tree, &all().reverse()), backwards);
        assert_eq!(rows(&tree, &all().limit(2)), everything[..2]);
        assert_eq!(rows(&tree, &all().reverse().limit(3)), backwards[..3]);
        assert_eq!(rows(&tree, &all().range("b".."d")), everything[1..4]);
        assert_eq!(rows(&tree, &ColumnScan::new([B]).filter(a_over(3))), ["ee", "ff"]);
        assert_eq!(rows(&tree, &all().filter(a_over(0)).limit(2)), everything[1..3]);
        assert_eq!(rows(&tree, &ColumnScan::new([ColumnId::KEY]).filter(Predicate::IsNull(B))), ["cc", "dd"]);
        assert_eq!(rows(&tree, &all().filter(a_over(9))), [""; 0]);
        let counted: usize =
            tree.scan_columns(&ColumnScan::new([])).unwrap().map(|batch| batch.unwrap().rows()).sum();
        assert_eq!(counted, 8);
        let before = tree.view_at(at(2)).unwrap();
        assert_eq!(rows(&before, &all()), everything[..2]);
    }
}

/// What a newer version is, over a value of `a` that the predicate would find.
#[track_caller]
fn check_hidden(what: &str, hide: impl Fn(&Tree), expected: &[&str]) {
    for layout in LAYOUTS {
        for place in ["memory", "sealed", "table above", "same table", "compacted"] {
            let memory = Arc::new(MemFs::new());
            let tree = open(&memory, first().layout(layout));
            for (number, key) in (0..).zip(["j", "k", "l"]) {
                tree.insert(key, format!("{},old", 10 + number), at(number)).unwrap();
            }
            if place != "same table" {
                flush(&tree);
                tree.major_compact(&CompactOptions::default()).unwrap();
            }
            hide(&tree);
            match place {
                "sealed" => done(tree.seal(None)),
                "table above" | "same table" => flush(&tree),
                "compacted" => {
                    flush(&tree);
                    tree.set_gc_watermark(at(6));
                    tree.major_compact(&CompactOptions::default()).unwrap();
                }
                _ => {}
            }
            let scan = ColumnScan::new([ColumnId::KEY, A]).filter(a_over(5));
            assert_eq!(rows(&tree, &scan), expected, "{what} in {place}, {layout:?}");
            // Elsewhere what was hidden is gone.
            if ["memory", "sealed", "table above"].contains(&place) {
                let before = tree.view_at(at(3)).unwrap();
                assert_eq!(
                    rows(&before, &scan),
                    ["j 10", "k 11", "l 12"],
                    "before {what} in {place}, {layout:?}"
                );
            }
        }
    }
}

/// Proves F-117: a predicate never brings back what a newer version hides.
/// Fault: formats W-10.
#[test]
fn a_hidden_version_does_not_come_back() {
    let put = |value: &'static str| move |tree: &Tree| done(tree.insert("k", value, at(5)).unwrap());
    check_hidden("a value that does not match", put("1,new"), &["j 10", "l 12"]);
    check_hidden("a value that matches", put("99,new"), &["j 10", "k 99", "l 12"]);
    check_hidden("a value that is not split", put("new"), &["j 10", "l 12"]);
    check_hidden("a tombstone", |tree| done(tree.remove("k", at(5)).unwrap()), &["j 10", "l 12"]);
    check_hidden("a weak delete", |tree| done(tree.remove_weak("k", at(5)).unwrap()), &["j 10", "l 12"]);
    check_hidden(
        "a range delete",
        |tree| done(tree.remove_range("k".."l", at(5)).unwrap()),
        &["j 10", "l 12"],
    );
    // Operands are joined onto the value: what comes out is asked.
    check_hidden("an operand", |tree| done(tree.merge("k", "er", at(5)).unwrap()), &["j 10", "k 11", "l 12"]);
}

/// Proves F-117, F-119: whatever bounds lie in, on, between and behind groups that zones rule out, and rows of other sources among
/// them, nothing comes from beyond.
#[test]
fn bounds_hold_beside_groups_that_are_passed_over() {
    let policy = first().layout(ColumnLayout::Columnar).groups(40, 4);
    let tree = open(&Arc::new(MemFs::new()), policy);
    let keys: Vec<String> = (0..24).map(|n| format!("k{n:02}")).collect();
    for (n, key) in (0..).zip(&keys) {
        // Stretches of rows that are wanted, and of rows that are not.
        tree.insert(key, format!("{},x", if n / 4 % 2 == 0 { 9 } else { 1 }), at(n)).unwrap();
    }
    flush(&tree);
    for (n, key) in (30..).zip(keys.iter().step_by(8)) {
        tree.insert(key, "8,y", at(n)).unwrap();
        tree.insert(format!("{key}m"), "7,z", at(n + 10)).unwrap();
    }
    let every = rows(&tree, &ColumnScan::new([ColumnId::KEY, A]).filter(a_over(5)));
    assert!(every.len() > 12, "{every:?}");
    let bounds: Vec<&str> =
        keys.iter().flat_map(|key| [&key[..2], key]).chain(["k07m", "k08~", "l"]).collect();
    for from in &bounds {
        for to in &bounds {
            for (has_from, has_to) in [(false, false), (true, false), (false, true), (true, true)] {
                let lower = if has_from { Bound::Included(*from) } else { Bound::Excluded(*from) };
                let upper = if has_to { Bound::Included(*to) } else { Bound::Excluded(*to) };
                let inside = |row: &&String| {
                    let key = row.split(' ').next().unwrap();
                    (key > *from || has_from && key == *from) && (key < *to || has_to && key == *to)
                };
                let expected: Vec<String> = every.iter().filter(inside).cloned().collect();
                let scan =
                    ColumnScan::new([ColumnId::KEY, A]).filter(a_over(5)).range::<&str>((lower, upper));
                assert_eq!(rows(&tree, &scan), expected, "{lower:?} {upper:?}");
            }
        }
    }
}

/// Proves F-117: a key whose versions fill groups of their own comes once.
#[test]
fn a_key_with_groups_of_versions_comes_once() {
    let policy = first().layout(ColumnLayout::Columnar).groups(40, 2);
    let tree = open(&Arc::new(MemFs::new()), policy);
    tree.insert("a", "9,x", at(1)).unwrap();
    for n in 2..9 {
        tree.insert("k", format!("{},x", if n == 8 { 9 } else { 1 }), at(n)).unwrap();
    }
    flush(&tree);
    for (n, key) in (20..).zip(["b", "z"]) {
        tree.insert(key, "8,y", at(n)).unwrap();
    }
    let scan = ColumnScan::new([ColumnId::KEY, A]).filter(a_over(5));
    assert_eq!(rows(&tree, &scan), ["a 9", "b 8", "k 9", "z 8"]);
    let before = tree.view_at(at(8)).unwrap();
    assert_eq!(rows(&before, &scan), ["a 9"]);
}

#[track_caller]
fn check_refused(memory: &Arc<MemFs>, policy: Option<ColumnPolicy>, kind: ErrorKind, told: &str) {
    let error = Tree::open(options(memory, policy)).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(told), "{error}");
}

/// Proves F-107, F-108: schemas and splitters are remembered, and what breaks the rules is refused with advice.
#[test]
fn schemas_are_remembered() {
    let memory = Arc::new(MemFs::new());
    open(&memory, first()).close().unwrap();
    let named = |name: &str| {
        let splitter = DelimitedText::new(name, first_schema(), b',').unwrap();
        ColumnPolicy::new(Arc::new(splitter))
    };
    check_refused(&memory, None, ErrorKind::OptionMismatch, "`test.comma` version 1");
    check_refused(&memory, Some(named("test.other")), ErrorKind::OptionMismatch, "opened with `test.other`");
    let same_number = Schema::new(vec![Column::new(A, "a", ColumnType::U64)]).unwrap();
    check_refused(
        &memory,
        Some(ColumnPolicy::new(comma(same_number))),
        ErrorKind::InvalidConfig,
        "`Schema::evolve`",
    );
    let far = second_schema().evolve(vec![]).unwrap();
    check_refused(
        &memory,
        Some(ColumnPolicy::new(comma(far))),
        ErrorKind::InvalidConfig,
        "not one of the tree's",
    );
    let warned = options(&memory, Some(named("test.other"))).on_name_mismatch(NameMismatch::Warn);
    Tree::open(warned).unwrap().close().unwrap();
    let none = options(&memory, None).on_name_mismatch(NameMismatch::Warn);
    let tree = Tree::open(none).unwrap();
    let error = tree.scan_columns(&all()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("TreeOptions::columns"), "{error}");
    tree.close().unwrap();

    // The next schema is taken, and from then on the one before is too old.
    open(&memory, second()).close().unwrap();
    check_refused(&memory, Some(first()), ErrorKind::InvalidConfig, "the tree has a newer schema");
    open(&memory, ColumnPolicy::new(comma(second_schema()))).close().unwrap();
    // A column that was dropped does not come back as another one, whoever says that it may.
    let again = Schema::new(vec![Column::new(A, "a", ColumnType::U8).nullable()]).unwrap();
    let again = again.evolve(vec![]).unwrap().evolve(vec![]).unwrap();
    check_refused(
        &memory,
        Some(ColumnPolicy::new(comma(again))),
        ErrorKind::InvalidConfig,
        "`Schema::evolve`",
    );
    let reused = vec![Column::new(A, "a", ColumnType::U8).nullable()];
    assert!(second_schema().evolve(reused).is_err());
    let read = |store: lsm_engine::StoreOptions| store.mode(OpenMode::ReadOnly);
    Tree::open(options(&memory, Some(second())).store(read)).unwrap();
    let tree = open(&memory, second());
    tree.checkpoint("/copy", &lsm_engine::CheckpointOptions::default()).unwrap();
    tree.close().unwrap();
    let copy = TreeOptions::new("/copy").store(|store| store.fs(memory.clone())).columns(first());
    assert_eq!(Tree::open(copy).unwrap_err().kind(), ErrorKind::InvalidConfig, "a copy remembers, too");
}

/// Proves F-107: a missing column reads as its default, a dropped one is gone, and values stay what they were.
#[test]
fn values_of_an_older_schema_have_cells() {
    for layout in LAYOUTS {
        let memory = Arc::new(MemFs::new());
        let tree = open(&memory, first().layout(layout));
        tree.insert("k", "7,seven", at(0)).unwrap();
        tree.insert("l", "8,", at(1)).unwrap();
        tree.insert("m", "odd", at(2)).unwrap();
        flush(&tree);
        tree.close().unwrap();
        let tree = open(&memory, second().layout(layout));
        let scan = ColumnScan::new([ColumnId::KEY, B, C, ColumnId::OPAQUE]);
        // A text, then a number: "7,seven" is none of these.
        let old = ["k seven 5 -", "l - 5 -", "m - - odd"];
        assert_eq!(rows(&tree, &scan), old, "{layout:?}");
        tree.insert("n", "nine,81", at(3)).unwrap();
        flush(&tree);
        tree.major_compact(&CompactOptions::default()).unwrap();
        assert_eq!(rows(&tree, &scan), ["k seven 5 -", "l - 5 -", "m - - odd", "n nine 81 -"], "{layout:?}");
        let over = Predicate::Compare(C, Comparison::Le, Datum::U64(5));
        assert_eq!(rows(&tree, &ColumnScan::new([ColumnId::KEY]).filter(over)), ["k", "l"]);
        assert_eq!(tree.get("k").unwrap().unwrap(), b"7,seven");
        let dropped = tree.scan_columns(&ColumnScan::new([A])).unwrap_err();
        assert_eq!(dropped.kind(), ErrorKind::InvalidArgument);
    }
}

/// Proves F-118: batches have the rows asked for at most, and what makes no sense is refused.
#[test]
fn batches_are_bounded() {
    let tree = open(&Arc::new(MemFs::new()), first());
    for number in 0..10 {
        tree.insert(format!("{number}"), format!("{number},"), at(number)).unwrap();
    }
    let sizes = |scan: &ColumnScan<'_>| -> Vec<usize> {
        tree.scan_columns(scan).unwrap().map(|batch| batch.unwrap().rows()).collect()
    };
    assert_eq!(sizes(&all().batch_rows(4)), [4, 4, 2]);
    assert_eq!(sizes(&all().batch_rows(4).limit(5)), [4, 1]);
    assert_eq!(sizes(&all().limit(0)), [0; 0]);
    assert_eq!(sizes(&all().batch_rows(BATCH_ROWS_MAX)), [10]);
    // Long values close a batch early.
    let long = format!("1,{}", "x".repeat(9 << 20));
    for key in ["w", "x", "y"] {
        tree.insert(key, &long, at(20)).unwrap();
    }
    assert_eq!(sizes(&ColumnScan::new([B]).range("w"..)), [2, 1]);
    for rows in [0, BATCH_ROWS_MAX + 1] {
        assert_eq!(
            tree.scan_columns(&all().batch_rows(rows)).unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
    }
    let wrong_type = all().filter(Predicate::Compare(A, Comparison::Eq, Datum::U64(1)));
    assert_eq!(tree.scan_columns(&wrong_type).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

/// A compacted tree of 20,000 rows in columns, three columns each, behind a file system that notes reads; no cache.
fn many_rows() -> (Tree, Arc<Control>) {
    many_rows_with(|options| options)
}

fn many_rows_with(configure: impl Fn(TreeOptions) -> TreeOptions) -> (Tree, Arc<Control>) {
    let columns = ["a", "b", "c"].into_iter().zip(16..).map(|(name, id)| {
        let ty = if name == "b" { ColumnType::Utf8 } else { ColumnType::U64 };
        Column::new(ColumnId::new(id), name, ty)
    });
    let splitter = comma(Schema::new(columns.collect()).unwrap());
    let control = Arc::new(Control::default());
    let fs = WrapFs { inner: Arc::new(MemFs::new()), control: control.clone() };
    let policy =
        ColumnPolicy::new(splitter).layout(ColumnLayout::Columnar).groups(1 << 20, 4_000).page_rows(1_000);
    let options = TreeOptions::new("/db").store(|store| store.fs(Arc::new(fs)).cache(BlockCache::new(0)));
    let tree = Tree::open(configure(options.columns(policy))).unwrap();
    let mut dice = Dice::new(7);
    for number in 0..20_000_u64 {
        let (long, last) =
            (format!("{:032x}", u128::from(dice.roll()) << 64 | u128::from(dice.roll())), dice.roll());
        tree.insert(format!("{number:08}"), format!("{number},{long},{last}"), at(number)).unwrap();
    }
    flush(&tree);
    tree.major_compact(&CompactOptions::default()).unwrap();
    // What opening the table takes is read once.
    assert_eq!(tree.scan_columns(&ColumnScan::new([A]).limit(1)).unwrap().count(), 1);
    control.take_reads();
    (tree, control)
}

/// Rows that a scan finds, and bytes that it reads.
fn read(tree: &Tree, control: &Control, scan: &ColumnScan<'_>) -> (usize, usize) {
    let rows = tree.scan_columns(scan).unwrap().map(|batch| batch.unwrap().rows()).sum();
    (rows, control.take_reads().iter().map(|read| read.len).sum())
}

/// Proves F-106, F-112, F-116, F-118: what is read of a table grows with the columns that are asked for, and shrinks with
/// the rows that zones rule out.
/// Fault: formats W-7, W-9.
#[test]
fn only_what_is_asked_for_is_read() {
    let (tree, control) = many_rows();
    let read = |scan: &ColumnScan<'_>| read(&tree, &control, scan);
    let over = |number: u64| Predicate::Compare(A, Comparison::Ge, Datum::U64(number));
    let none = read(&ColumnScan::new([]));
    let one = read(&ColumnScan::new([A]));
    let two = read(&ColumnScan::new([A, C]));
    let all = read(&ColumnScan::new([A, B, C]));
    assert_eq!([none.0, one.0, two.0, all.0], [20_000; 4]);
    assert!(none.1 < one.1 && one.1 < two.1 && two.1 < all.1, "{none:?} {one:?} {two:?} {all:?}");
    // Directories of five groups, of four parts each; separators say where keys lie.
    let keys = read(&ColumnScan::new([ColumnId::KEY]));
    assert!(
        none.1 < 20 << 10 && keys.1 > 2 * none.1,
        "keys are read where they are asked for: {none:?} {keys:?}"
    );
    // 160,000 bytes of numbers and 640,000 of text that do not compress.
    assert!(two.1 - one.1 >= 150_000 && all.1 - two.1 >= 300_000, "{one:?} {two:?} {all:?}");

    let few = read(&ColumnScan::new([A, B, C]).filter(over(19_990)));
    assert_eq!(few.0, 10);
    assert!(few.1 < all.1 / 4, "four groups of five are passed over: {few:?} of {all:?}");
    let no_row = read(&ColumnScan::new([A, B, C]).filter(over(20_000)));
    assert_eq!(no_row.0, 0);
    assert!(no_row.1 <= none.1, "nothing is read where zones tell enough: {no_row:?} {none:?}");

    // A write in one group sends only that group the way through rows, and the newer version is what is asked.
    tree.insert("00000005", "99999,new,1", at(30_000)).unwrap();
    let scan = ColumnScan::new([ColumnId::KEY, A]).filter(over(19_999));
    assert_eq!(rows(&tree, &scan), ["00000005 99999", "00019999 19999"]);
    let mixed = read(&scan);
    assert!(mixed.1 < all.1, "{mixed:?} of {all:?}");
    tree.remove_range("00019000".."00020000", at(30_001)).unwrap();
    assert_eq!(rows(&tree, &scan), ["00000005 99999"]);
    assert_eq!(read(&ColumnScan::new([])).0, 19_000);
}

/// Proves F-117, F-119: bounds, entries elsewhere and deletes that end on the keys around groups, right before or right behind
/// them, hide and show what they would hide and show among rows.
#[test]
fn what_lies_at_the_edges_of_groups_counts() {
    let columnar = first().layout(ColumnLayout::Columnar).groups(1 << 20, 10).page_rows(5);
    let key = |number: u64| format!("{number:03}");
    for edge in (7..=13).chain(27..=33) {
        let (by_groups, by_rows) =
            (open(&Arc::new(MemFs::new()), columnar.clone()), open(&Arc::new(MemFs::new()), first()));
        for tree in [&by_groups, &by_rows] {
            for number in 0..40 {
                tree.insert(key(2 * number), format!("{number},"), at(number)).unwrap();
            }
            flush(tree);
        }
        let same = |what: &str| {
            let scan = ColumnScan::new([ColumnId::KEY, A]);
            // Keys of the groups are even, those between them odd.
            for end in 2 * edge - 1..=2 * edge + 1 {
                for scan in [
                    scan.clone(),
                    scan.clone().range(key(end)..),
                    scan.clone().range(..key(end)),
                    scan.clone().range(..=key(end)),
                    scan.clone().range((Bound::Excluded(key(end)), Bound::Included(key(end + 20)))),
                    scan.clone().range(key(end)..key(end + 40)).filter(a_over(edge.cast_signed() + 2)),
                ] {
                    assert_eq!(rows(&by_groups, &scan), rows(&by_rows, &scan), "{what}, {edge}, {end}");
                }
            }
        };
        same("groups alone");
        for tree in [&by_groups, &by_rows] {
            tree.remove_range(key(2 * edge)..key(2 * edge + 1), at(100)).unwrap();
        }
        same("one row deleted");
        for tree in [&by_groups, &by_rows] {
            tree.insert(key(2 * edge + 1), "1000,", at(101)).unwrap();
        }
        same("one row between");
        for tree in [&by_groups, &by_rows] {
            tree.remove_range(key((2 * edge).saturating_sub(15))..=key(2 * edge), at(102)).unwrap();
            tree.insert(key(2 * edge - 2), "2000,", at(103)).unwrap();
        }
        same("a stretch deleted, one row again");
    }
}

/// Proves F-117, F-133, C-117: rows that deletes of ranges hide, and rows that are marked dead, are left out of groups that
/// are read by columns, at every share of them; what is asked for is all that is read, and groups without a row are not.
#[test]
fn dead_rows_are_left_out_of_groups() {
    for share in [0, 1, 5, 20, 50, 99, 100] {
        let vectors = |options: TreeOptions| options.delete_strategies([DeleteStrategy::MergeOnRead]);
        let (tree, control) = many_rows_with(vectors);
        let read = |scan: &ColumnScan<'_>| read(&tree, &control, scan);
        let whole = read(&ColumnScan::new([ColumnId::KEY, A, B, C]));
        let scan = ColumnScan::new([ColumnId::KEY, A]);
        let plain = read(&scan);
        let dead = 20_000 * share / 100;
        let from = (20_000 - dead) / 3;
        let key = |number: usize| format!("{number:08}");
        tree.remove_range(key(from)..key(from + dead), at(30_000)).unwrap();
        // A row in the middle lives again, and is newer than the delete.
        let again = from + dead / 2;
        let live = (0..20_000).filter(|number| !(from..from + dead).contains(number));
        let mut expected: Vec<String> = live.map(|number| format!("{number:08} {number}")).collect();
        assert_eq!(rows(&tree, &scan), expected, "a delete in memory, {share} %");
        control.take_reads();
        let hidden = read(&scan);
        assert!(hidden.1 < whole.1 / 2, "by columns: {hidden:?} of {whole:?}");
        flush(&tree);
        assert_eq!(rows(&tree, &scan), expected, "a delete in a table, {share} %");
        control.take_reads();
        assert_eq!(read(&scan), hidden, "tables of deletes are read once");
        tree.set_gc_watermark(at(30_001));
        let report = tree.compact(&InPlace(64 << 20), &CompactOptions::default()).unwrap();
        let expected_outcome = if share == 0 { Outcome::Merged } else { Outcome::Masked };
        assert!(report.outcome == expected_outcome || share == 100, "{share} %: {:?}", report.outcome);
        assert_eq!(rows(&tree, &scan), expected, "marked rows, {share} %");
        control.take_reads();
        let marked = read(&scan);
        assert!(marked.0 == expected.len() && marked.1 <= hidden.1 + 10_000, "{marked:?} {hidden:?}");
        // Three of five groups, at least.
        if share >= 99 {
            let most = hidden.1.max(marked.1);
            assert!(
                most < plain.1 * 3 / 4,
                "hidden and dead groups are not read: {marked:?} {hidden:?} {plain:?}"
            );
        }
        if dead > 0 {
            tree.insert(key(again), format!("{again},again,0"), at(30_002)).unwrap();
            expected.insert(from, format!("{again:08} {again}"));
        }
        assert_eq!(rows(&tree, &scan), expected, "one lives again, {share} %");
        let over = Predicate::Compare(A, Comparison::Ge, Datum::U64(10_000));
        let large: Vec<_> = expected.iter().filter(|row| row.as_str() >= "00010000").cloned().collect();
        assert_eq!(rows(&tree, &scan.filter(over)), large);
    }
}

/// Proves F-117: in a group some of whose rows are newer than a delete of a range, these are found, whatever came first.
#[test]
fn rows_newer_than_a_delete_are_found() {
    for layout in LAYOUTS {
        let tree = open(&Arc::new(MemFs::new()), first().layout(layout));
        for number in (0..40).step_by(2) {
            tree.insert(format!("{number:02}"), format!("{number},"), at(number)).unwrap();
        }
        tree.remove_range("05".."20", at(50)).unwrap();
        tree.remove_range("30".."32", at(51)).unwrap();
        for number in (1..40).step_by(2) {
            tree.insert(format!("{number:02}"), format!("{number},"), at(52 + number)).unwrap();
        }
        flush(&tree);
        tree.remove_range("33".."36", at(100)).unwrap();
        let live = |number: &u64| match number {
            33..36 => false,
            5..20 | 30 => number % 2 == 1,
            _ => true,
        };
        let expected: Vec<String> =
            (0..40).filter(live).map(|number| format!("{number:02} {number}")).collect();
        let scan = ColumnScan::new([ColumnId::KEY, A]);
        assert_eq!(rows(&tree, &scan), expected, "{layout:?}");
        let below: Vec<String> = expected.iter().filter(|row| row.as_str() < "12").cloned().collect();
        assert_eq!(rows(&tree, &scan.clone().range(.."12")), below, "{layout:?}");
        let before = tree.view_at(at(100)).unwrap();
        assert_eq!(rows(&before, &scan).len(), expected.len() + 3, "{layout:?}");
    }
}

/// Proves F-109, F-110 (in part): columns survive compactions, and change feeds, copies and checks of files work as ever.
/// Fault: formats W-8.
#[test]
fn a_columnar_tree_lives_as_any_other() {
    let memory = Arc::new(MemFs::new());
    let tree = open(&memory, first().layout(ColumnLayout::Columnar).groups(200, 4));
    for number in 0..50 {
        tree.insert(format!("{number:02}"), format!("{number},{number:x}"), at(number)).unwrap();
        if number % 10 == 9 {
            flush(&tree);
        }
    }
    tree.remove("07", at(50)).unwrap();
    flush(&tree);
    for _ in 0..2 {
        tree.major_compact(&CompactOptions::default()).unwrap();
        // Tables of columns: what is split stands in columns, and nothing is kept whole.
        let scan = ColumnScan::new([ColumnId::KEY, A, ColumnId::OPAQUE]).filter(a_over(46));
        assert_eq!(rows(&tree, &scan), ["47 47 -", "48 48 -", "49 49 -"]);
        assert!(tree.verify().unwrap().is_clean());
    }
    tree.checkpoint("/copy", &lsm_engine::CheckpointOptions::default()).unwrap();
    let copy = TreeOptions::new("/copy").store(|store| store.fs(memory.clone())).columns(first());
    let copy = Tree::open(copy.merge_operator(Arc::new(Join::new(true)))).unwrap();
    assert_eq!(rows(&copy, &all()), rows(&tree, &all()));
    let entries = |tree: &Tree| common::contents(tree).unwrap();
    assert_eq!(entries(&copy), entries(&tree));
    assert_eq!((entries(&tree).len(), tree.get("31").unwrap().unwrap().to_vec()), (49, b"31,1f".to_vec()));
    let changes = tree.changes::<&[u8]>(at(45), ..).unwrap();
    let numbers: Vec<_> = changes.map(|change| change.unwrap().seqno.get()).collect();
    assert_eq!(numbers, [45, 46, 47, 48, 49, 50]);
}
