//! The memtable against its safe twin, under every kind of order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

mod twin;

use std::sync::Arc;

use lsm_memtable::MemtableConfig;
use lsm_types::{EntryCursor, EntryRef, KeyOrder, Kind};
use proptest::prelude::*;
use twin::{Table, Twin, orders, owned, seqno, walk, walk_back};

const LATEST: u64 = (1 << 63) - 1;

/// Keys that share prefixes, are prefixes of each other, and hold the bytes at both ends.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = || prop_oneof![Just(0_u8), Just(b'a'), Just(0xFF), any::<u8>()];
    prop_oneof![
        prop::collection::vec(byte(), 1..5),
        (0_u16..400).prop_map(|n| format!("user{n:012}").into_bytes()),
        (0_u16..400, byte()).prop_map(|(n, last)| {
            let mut key = b"a/rather/long/common/prefix/".to_vec();
            key.extend(n.to_be_bytes());
            key.push(last);
            key
        }),
        any::<u64>().prop_map(|n| n.to_be_bytes().to_vec()),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    (0_u8..5).prop_map(|tag| Kind::from_tag(tag).expect("a known tag"))
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (511_usize..515, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

/// What one step inserts: one entry, a run of keys, or a batch.
#[derive(Clone, Debug)]
enum Step {
    One(Vec<u8>, u64, Kind, Vec<u8>),
    Run { from: u32, count: u32, down: bool, every: u32 },
    Batch(Vec<(Vec<u8>, u64, Kind, Vec<u8>)>),
}

fn step() -> impl Strategy<Value = Step> {
    let entry = || (key(), 0_u64..6, kind(), value());
    prop_oneof![
        6 => entry().prop_map(|(key, seqno, kind, value)| Step::One(key, seqno, kind, value)),
        2 => (0_u32..3000, 1_u32..120, any::<bool>(), 1_u32..3)
            .prop_map(|(from, count, down, every)| Step::Run { from, count, down, every }),
        1 => prop::collection::vec(entry(), 0..40).prop_map(Step::Batch),
    ]
}

fn apply(table: &Table, twin: &mut Twin, step: &Step) {
    match step {
        Step::One(key, number, kind, value) => {
            table.insert(key, seqno(*number), *kind, value).expect("there is room");
            twin.insert(key, *number, *kind, value);
        }
        Step::Run { from, count, down, every } => {
            for n in 0..*count {
                let n = from + every * if *down { count - n } else { n };
                let key = format!("user{n:012}").into_bytes();
                table.insert(&key, seqno(7), Kind::Put, b"run").expect("there is room");
                twin.insert(&key, 7, Kind::Put, b"run");
            }
        }
        Step::Batch(batch) => {
            let entries = batch.iter().map(|(key, number, kind, value)| EntryRef {
                key,
                seqno: seqno(*number),
                kind: *kind,
                value,
            });
            table.insert_batch(entries).expect("there is room");
            for (key, number, kind, value) in batch {
                twin.insert(key, *number, *kind, value);
            }
        }
    }
}

fn check_whole(table: &Arc<Table>, twin: &Twin) {
    let mut cursor = table.cursor();
    cursor.seek_first().expect("memory does not fail");
    let mut all = twin.all();
    assert_eq!(walk(&mut cursor), all);
    cursor.seek_last().expect("memory does not fail");
    all.reverse();
    assert_eq!(walk_back(&mut cursor), all);
    assert_eq!(table.len(), twin.len());
    assert_eq!(table.is_empty(), twin.len() == 0);
    assert_eq!(table.seqnos(), twin.seqnos());
}

fn check_point(table: &Arc<Table>, twin: &Twin, key: &[u8], before: u64) {
    let (ahead, back) = twin.around(key, before);
    assert_eq!(table.get(key, seqno(before)).map(owned), twin.get(key, before));
    let mut cursor = table.cursor();
    cursor.seek(key, seqno(before)).expect("memory does not fail");
    assert_eq!(cursor.entry().map(owned), ahead.first().cloned());
    if cursor.entry().is_some() {
        cursor.prev().expect("memory does not fail");
        assert_eq!(cursor.entry().map(owned), back.first().cloned());
    }
    cursor.seek_back(key, seqno(before)).expect("memory does not fail");
    assert_eq!(cursor.entry().map(owned), back.first().cloned());
    if cursor.entry().is_some() {
        cursor.next().expect("memory does not fail");
        assert_eq!(cursor.entry().map(owned), ahead.first().cloned());
    }
}

fn check_steps(order: &KeyOrder, steps: &[Step], probes: &[(Vec<u8>, u64)]) {
    let table = Arc::new(Table::new(order.clone(), MemtableConfig::default()));
    let mut twin = Twin::new(order.clone());
    for step in steps {
        apply(&table, &mut twin, step);
    }
    check_whole(&table, &twin);
    for (key, before) in probes {
        check_point(&table, &twin, key, *before);
    }
    for (key, number, ..) in twin.all().iter().step_by(23) {
        for before in [0, *number, number + 1, LATEST] {
            check_point(&table, &twin, key, before);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Proves E-18, E-20, within one memtable.
    #[test]
    fn reads_agree_with_the_twin(
        steps in prop::collection::vec(step(), 0..60),
        probes in prop::collection::vec((key(), prop_oneof![0_u64..9, Just(LATEST)]), 0..20),
    ) {
        for order in orders() {
            check_steps(&order, &steps, &probes);
        }
    }
}

/// Enough entries for several levels, in each of the patterns that divide nodes differently.
#[test]
fn large_tables_agree_with_the_twin() {
    let count = 5_000_u64;
    let scatter = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let patterns: [&dyn Fn(u64) -> Vec<u8>; 7] = [
        &|n| format!("user{n:012}").into_bytes(),
        &|n| format!("user{:012}", count - n).into_bytes(),
        &|n| format!("user{:012}", scatter(n) % 100_000).into_bytes(),
        &|n| scatter(n).to_be_bytes().to_vec(),
        &|n| [[0; 8], n.to_be_bytes()].concat(),
        &|n| format!("tenant{}/{n:08}", n % 5).into_bytes(), // five interleaved ascending runs
        &|n| b"x".repeat(usize::try_from(scatter(n) % 300).expect("small") + 1),
    ];
    for order in orders() {
        for pattern in patterns {
            let table = Arc::new(Table::new(order.clone(), MemtableConfig::default()));
            let mut twin = Twin::new(order.clone());
            for n in 0..count / if order.is_bytewise() { 1 } else { 4 } {
                let (key, value) = (pattern(n), n.to_le_bytes());
                table.insert(&key, seqno(n), Kind::Put, &value).expect("there is room");
                twin.insert(&key, n, Kind::Put, &value);
            }
            check_whole(&table, &twin);
            for entry in twin.all() {
                let found = table.get(&entry.0, seqno(entry.1 + 1)).map(owned);
                assert_eq!(found.as_ref(), Some(&entry));
            }
        }
    }
}

/// Proves E-19, within one memtable, and E-28 as to the state: an order of arrival, and a second arrival, change nothing.
#[test]
fn sorted_shuffled_and_repeated_batches_give_the_same_state() {
    let mut keys: Vec<_> =
        (0..3000_u64).map(|n| (format!("key{:06}", n * 7919 % 2500).into_bytes(), n)).collect();
    let load = |batches: &[&[(Vec<u8>, u64)]]| {
        let table = Arc::new(Table::new(KeyOrder::bytewise(), MemtableConfig::default()));
        for batch in batches {
            let entries = batch.iter().map(|(key, n)| EntryRef {
                key,
                seqno: seqno(*n),
                kind: Kind::MergeOperand,
                value: key,
            });
            table.insert_batch(entries).expect("there is room");
        }
        let mut cursor = table.cursor();
        cursor.seek_first().expect("memory does not fail");
        (walk(&mut cursor), table.len(), table.seqnos())
    };
    let shuffled = load(&[&keys]);
    assert_eq!(load(&[&keys, &keys[1000..]]), shuffled);
    keys.sort_unstable();
    assert_eq!(load(&[&keys]), shuffled);
    assert_eq!(load(&[&keys[1500..], &keys[..1500], &keys]), shuffled);
}
