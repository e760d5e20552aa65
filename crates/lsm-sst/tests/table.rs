//! Whole tables against a sorted vector.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{cmp::Ordering, sync::Arc};

use common::{
    Entry, build, current, entries, key, lower_bound, orders, put, seqno, small_options, sort, superblock,
};
use lsm_codec::Compression;
use lsm_sst::{BuildOptions, Table, TableBuilder, TableOptions, data_block::RowOptions};
use lsm_types::{
    Comparator, Cut, EntryCursor, ErrorKind, KeyOrder, Kind, RangeTombstone, SeqNo, ValueHandle,
    ValueReferences,
};
use proptest::prelude::*;

fn open(bytes: Vec<u8>, order: &KeyOrder) -> Table<Vec<u8>> {
    Table::open(bytes, options(order)).unwrap()
}

fn options(order: &KeyOrder) -> TableOptions {
    TableOptions::new().open(lsm_sst::OpenOptions::new(order.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Proves F-2, F-35, F-38, F-39, F-75, F-78, F-125.
    #[test]
    fn a_table_is_its_sorted_entries(
        mut entries in entries(120),
        probes in prop::collection::vec((key(), 0_u64..40), 1..20),
        spill in prop_oneof![Just(0_usize), Just(300), Just(4 << 20)],
        block_bytes in 64_usize..600,
        shift in 0_u8..5,
        tags in any::<bool>(),
        codec in prop_oneof![Just(Compression::None), Just(Compression::Lz4), Just(Compression::Zstd { level: 3 })],
        global in prop_oneof![Just(0_u64), Just(1000)],
        lazy in any::<bool>(),
    ) {
        for order in orders() {
            sort(&mut entries, &order);
            let options = BuildOptions {
                index_spill_bytes: spill,
                data_block_bytes: block_bytes,
                rows: RowOptions { bundle_shift: shift, tags },
                compression: codec,
                index_compression: codec,
                global_seqno: seqno(global),
                ..small_options(&order)
            };
            let (summary, bytes) = build(options, &entries, &[]);
            prop_assert_eq!(summary.file_len, bytes.len() as u64);
            let table = open(bytes, &order);
            prop_assert_eq!(table.meta().entries(), entries.len() as u64);
            prop_assert!(table.meta().detours().is_empty());
            let model: Vec<Entry> =
                entries.iter().map(|entry| Entry { seqno: entry.seqno + global, ..entry.clone() }).collect();

            // Forward and backward.
            let mut cursor = if lazy { table.cursor().lazy() } else { table.cursor() };
            let mut found = Vec::new();
            cursor.seek_first().unwrap();
            while let Some(entry) = current(&cursor) {
                found.push(entry);
                cursor.next().unwrap();
                check_bound(&mut cursor, &order, true);
            }
            prop_assert_eq!(&found, &model);
            found.clear();
            cursor.seek_last().unwrap();
            while let Some(entry) = current(&cursor) {
                found.push(entry);
                cursor.prev().unwrap();
                check_bound(&mut cursor, &order, false);
            }
            found.reverse();
            prop_assert_eq!(&found, &model);

            // Seeks and gets at keys that are there and at keys that are not, at every bound around each version.
            let mut points = probes.clone();
            for entry in model.iter().step_by(3) {
                points.extend([0, 1, entry.seqno, entry.seqno + 1, SeqNo::LATEST.get()].map(|r| (entry.key.clone(), r)));
            }
            for (key, before) in points {
                let at = lower_bound(&model, &order, &key, before);
                cursor.seek(&key, seqno(before)).unwrap();
                prop_assert_eq!(current(&cursor), model.get(at).cloned());
                cursor.prev().unwrap();
                cursor.settle().unwrap();
                if at < model.len() {
                    prop_assert_eq!(current(&cursor), at.checked_sub(1).map(|at| model[at].clone()));
                }
                cursor.seek_back(&key, seqno(before)).unwrap();
                prop_assert_eq!(current(&cursor), at.checked_sub(1).map(|at| model[at].clone()));
                cursor.next().unwrap();
                cursor.settle().unwrap();
                if at > 0 {
                    prop_assert_eq!(current(&cursor), model.get(at).cloned());
                }
                let expected = model.get(at).filter(|entry| entry.key == key);
                let found = table.get(&key, seqno(before)).unwrap();
                prop_assert_eq!(found.as_ref().map(|found| (found.seqno.get(), found.kind, found.value.to_vec())),
                    expected.map(|entry| (entry.seqno, entry.kind, entry.value.clone())));
            }

            // What it refers to is what its indirections refer to, counted anew.
            let mut references = ValueReferences::new();
            for entry in model.iter().filter(|entry| entry.kind == Kind::Indirection) {
                references.record(&ValueHandle::decode(&entry.value).unwrap()).unwrap();
            }
            prop_assert_eq!(table.meta().references(), &references);
            prop_assert_eq!(&summary.references, &references);

            let verified = table.verify(&mut |error| panic!("{error}")).unwrap();
            prop_assert_eq!((verified.entries, verified.findings), (model.len() as u64, 0));

            // Blocks, verified one by one.
            let mut rows = Vec::new();
            for block in table.blocks() {
                let block = block.unwrap().load().unwrap();
                block.rows().verify(&order).unwrap();
                rows.extend(block.entries().map(|entry| (entry.key().to_vec(), entry.seqno().get())));
            }
            prop_assert_eq!(rows, model.iter().map(|e| (e.key.clone(), e.seqno)).collect::<Vec<_>>());
            table.meta().root().verify(&order).unwrap();
        }
    }
}

/// The bound of a lazy cursor must not pass the entry that comes.
fn check_bound(cursor: &mut impl EntryCursor, order: &KeyOrder, forward: bool) {
    let Some(bound) = cursor.bound().map(<[u8]>::to_vec) else { return };
    assert!(cursor.entry().is_none());
    cursor.settle().unwrap();
    assert!(cursor.bound().is_none());
    let key = current(cursor).unwrap().key;
    let found = order.compare(&bound, &key);
    assert!(if forward { found.is_le() } else { found.is_ge() });
}

/// Proves F-12.
/// Fault: formats W-41.
#[test]
fn a_table_of_range_tombstones_alone_is_legal() {
    let order = KeyOrder::bytewise();
    let tombstones = [
        RangeTombstone { start: Cut::Start, end: Cut::After("m".into()), seqno: seqno(9) },
        RangeTombstone { start: Cut::Before("a".into()), end: Cut::End, seqno: seqno(4) },
    ];
    let (summary, bytes) = build(small_options(&order), &[], &tombstones);
    assert_eq!(summary.keys(), None);
    assert_eq!(summary.extent(), Some(&(Cut::Start, Cut::End)));
    let table = open(bytes, &order);
    assert_eq!(table.range_tombstones(), &tombstones);
    assert_eq!((table.meta().entries(), table.blocks().count()), (0, 0));
    let mut cursor = table.cursor();
    for seek in [EntryCursor::seek_first, EntryCursor::seek_last] {
        seek(&mut cursor).unwrap();
        assert!(cursor.entry().is_none());
    }
    cursor.seek(b"a", SeqNo::LATEST).unwrap();
    assert!(cursor.entry().is_none() && table.get(b"a", SeqNo::LATEST).unwrap().is_none());
}

/// Proves F-141.
#[test]
fn keys_out_of_order_are_refused_and_harm_nothing() {
    let order = KeyOrder::bytewise();
    let mut builder = TableBuilder::new(superblock(), small_options(&order), Vec::new()).unwrap();
    builder.add(b"b", seqno(5), Kind::Put, b"1").unwrap();
    for (key, number) in [(&b"a"[..], 9), (b"b", 5), (b"b", 6)] {
        let error = builder.add(key, seqno(number), Kind::Put, b"2").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfOrder);
        assert!(error.to_string().contains("@5"), "{error}");
    }
    assert_eq!(builder.add(b"", seqno(1), Kind::Put, b"").unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(
        builder.add(b"c", seqno(1), Kind::Tombstone, b"x").unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    assert_eq!(
        builder.add(b"c", SeqNo::LATEST, Kind::Put, b"").unwrap_err().kind(),
        ErrorKind::SeqNoOutOfRange
    );
    builder.add(b"b", seqno(4), Kind::Put, b"3").unwrap();
    let (_, bytes) = builder.finish().unwrap();
    let table = open(bytes, &order);
    assert_eq!(table.meta().entries(), 2);
}

/// Proves F-145.
#[test]
fn the_same_input_gives_the_same_bytes() {
    let order = KeyOrder::bytewise();
    let entries: Vec<Entry> = (0..500).map(|n| put(&format!("key{n:05}"), n, "value value value")).collect();
    let make = |buffer| {
        let options = BuildOptions { write_buffer_bytes: buffer, ..BuildOptions::new(order.clone()) };
        build(options, &entries, &[])
    };
    assert_eq!(make(1), make(1 << 20));
}

/// Offers separators that divide nothing.
struct Liar(Vec<u8>);

impl Comparator for Liar {
    fn name(&self) -> &'static str {
        "test.liar"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.cmp(b)
    }

    fn separator(&self, _: &[u8], _: &[u8], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.0);
        true
    }
}

/// Proves F-78.
#[test]
fn separators_that_do_not_divide_are_not_believed() {
    let entries: Vec<Entry> = (0..100).map(|n| put(&format!("key/{n:03}"), 1, "some value")).collect();
    for lie in [&b""[..], b"a", b"key/050", b"z"] {
        let order = KeyOrder::new(Arc::new(Liar(lie.to_vec())));
        let table = open(build(small_options(&order), &entries, &[]).1, &order);
        assert_eq!(table.verify(&mut |error| panic!("{error}")).unwrap().entries, 100);
        for entry in &entries {
            assert!(table.get(&entry.key, SeqNo::LATEST).unwrap().is_some());
        }
    }
}

#[test]
fn another_comparator_is_refused() {
    let [bytewise, reverse, _] = orders();
    let (_, bytes) = build(small_options(&reverse), &[put("a", 1, "x")], &[]);
    let error = Table::open(bytes, options(&bytewise)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ComparatorMismatch);
}

/// Byte order that counts how often it is asked.
struct Asked(std::sync::atomic::AtomicUsize);

impl Comparator for Asked {
    fn name(&self) -> &'static str {
        "test.asked"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        a.cmp(b)
    }
}

/// Proves E-90 in part: a seek within the block at hand, or into the next one, compares with two or three separators and
/// searches one block, however many blocks there are; the index is not searched.
#[test]
fn a_seek_nearby_does_not_search_the_index() {
    let asked = Arc::new(Asked(std::sync::atomic::AtomicUsize::new(0)));
    let order = KeyOrder::new(asked.clone());
    let key = |number: u32| format!("key-{number:06}");
    let most_asked = |count: u32, step: u32| {
        let entries: Vec<Entry> = (0..count).map(|n| put(&key(n), 1, "value")).collect();
        let options = BuildOptions { index_spill_bytes: 4 << 20, ..small_options(&order) };
        let (_, bytes) = build(options, &entries, &[]);
        let table = open(bytes, &order);
        let mut cursor = table.cursor();
        cursor.seek(key(7).as_bytes(), SeqNo::LATEST).unwrap();
        let mut most = 0;
        for number in (8..count).step_by(step as usize) {
            let before = asked.0.load(std::sync::atomic::Ordering::Relaxed);
            cursor.seek(key(number).as_bytes(), SeqNo::LATEST).unwrap();
            most = most.max(asked.0.load(std::sync::atomic::Ordering::Relaxed) - before);
            assert_eq!(cursor.entry().unwrap().key, key(number).as_bytes());
        }
        most
    };
    let (few, many) = (most_asked(200, 1), most_asked(20_000, 1));
    assert_eq!(few, many, "comparisons of a step ahead");
    assert!(many <= 8, "{many} comparisons for two separators and a block of few rows");
    assert!(most_asked(200, 67) < most_asked(20_000, 6_667), "jumps far ahead search the index");
}

/// An indirection must hold a handle of a value.
#[test]
fn what_is_no_handle_is_no_indirection() {
    let order = KeyOrder::bytewise();
    let mut builder = TableBuilder::new(superblock(), small_options(&order), Vec::new()).unwrap();
    for handle in [&[7_u8; 28][..], &[0; 27], b""] {
        let error = builder.add(b"a", seqno(1), Kind::Indirection, handle).unwrap_err();
        assert!(error.to_string().contains("handle"), "{error}");
    }
}
