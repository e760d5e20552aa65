//! Writers, readers and cursors at once: nothing is lost, seen twice, out of order or before its time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

mod twin;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use lsm_memtable::MemtableConfig;
use lsm_types::{EntryCursor, EntryRef, KeyOrder, Kind, SeqNo};
use twin::{Table, orders, seqno};

const WRITERS: u64 = 2;
const EACH: u64 = if cfg!(debug_assertions) { 8_000 } else { 200_000 };

/// The key of a writer's n-th entry. Writers share keys and differ in numbers; the pattern sets where nodes divide.
fn key(pattern: u64, n: u64) -> Vec<u8> {
    match pattern {
        0 => format!("user{n:012}").into_bytes(),
        1 => format!("user{:012}", EACH - n).into_bytes(),
        2 => n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes().to_vec(),
        _ => (n % 97).to_be_bytes().to_vec(), // long chains of versions
    }
}

fn number(writer: u64, n: u64) -> u64 {
    n * WRITERS + writer
}

fn write(table: &Table, pattern: u64, writer: u64, done: &AtomicU64) {
    let mut n = 0;
    while n < EACH {
        if n % 5 == 4 {
            let until = EACH.min(n + 10);
            let keys: Vec<_> = (n..until).map(|n| (key(pattern, n), number(writer, n))).collect();
            let batch = keys.iter().map(|(key, number)| EntryRef {
                key,
                seqno: seqno(*number),
                kind: Kind::Put,
                value: key,
            });
            table.insert_batch(batch).unwrap();
            n = until;
        } else {
            let key = key(pattern, n);
            table.insert(&key, seqno(number(writer, n)), Kind::Put, &key).unwrap();
            n += 1;
        }
        done.store(n, Ordering::Release);
    }
}

/// Gets find the newest of what was there before they began.
fn read(table: &Table, pattern: u64, done: &[AtomicU64], stop: &AtomicBool) {
    let mut seed = 1_u64;
    while !stop.load(Ordering::Acquire) {
        for (writer, done) in done.iter().enumerate() {
            let done = done.load(Ordering::Acquire);
            if done == 0 {
                continue;
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let n = (seed >> 33) % done;
            let (key, number) = (key(pattern, n), number(writer as u64, n));
            let found = table.get(&key, seqno(number + 1)).expect("it was inserted");
            assert_eq!((found.key, found.seqno.get(), found.value), (&key[..], number, &key[..]));
            let newest = table.get(&key, SeqNo::LATEST).expect("it was inserted");
            assert!(newest.seqno.get() >= number && newest.key == key);
            let (lowest, highest) = table.seqnos().expect("it is not empty");
            assert!(lowest.get() <= number && newest.seqno <= highest);
        }
    }
}

/// Walks are in order, see each entry once, and all that were there before the seek.
fn walk(table: &Arc<Table>, order: &KeyOrder, done: &[AtomicU64], stop: &AtomicBool, back: bool) {
    let mut cursor = table.cursor();
    let mut last_round = false;
    loop {
        let finished = stop.load(Ordering::Acquire);
        let at_least: u64 = done.iter().map(|done| done.load(Ordering::Acquire)).sum();
        if back { cursor.seek_last() } else { cursor.seek_first() }.unwrap();
        let (mut count, mut last): (u64, Option<(Vec<u8>, SeqNo)>) = (0, None);
        while let Some(entry) = cursor.entry() {
            assert_eq!(entry.key, entry.value);
            if let Some((key, number)) = &last {
                let ascends = order.compare(key, entry.key).then(entry.seqno.cmp(number));
                assert!(if back { ascends.is_gt() } else { ascends.is_lt() }, "{key:?} {number} {entry:?}");
            }
            last = Some((entry.key.to_vec(), entry.seqno));
            count += 1;
            if back { cursor.prev() } else { cursor.next() }.unwrap();
        }
        assert!(count >= at_least, "{count} seen, {at_least} were there");
        if last_round {
            assert_eq!(count, WRITERS * EACH);
            return;
        }
        last_round = finished;
    }
}

/// Turns round at random places: a step back from a step ahead is never beyond where it came from.
fn wander(table: &Arc<Table>, order: &KeyOrder, pattern: u64, stop: &AtomicBool) {
    let mut cursor = table.cursor();
    let mut n = 0;
    while !stop.load(Ordering::Acquire) {
        n = (n + 7919) % EACH;
        let key = key(pattern, n);
        cursor.seek(&key, SeqNo::LATEST).unwrap();
        let Some(from) = cursor.entry().map(|entry| (entry.key.to_vec(), entry.seqno)) else { continue };
        assert!(order.compare(&key, &from.0).is_le());
        for _ in 0..n % 40 {
            cursor.next().unwrap();
        }
        let mut previous: Option<(Vec<u8>, SeqNo)> = None;
        while let Some(entry) = cursor.entry() {
            let at = (entry.key.to_vec(), entry.seqno);
            if let Some((key, number)) = &previous {
                assert!(order.compare(&at.0, key).then(number.cmp(&at.1)).is_lt());
            }
            if order.compare(&at.0, &from.0).then(from.1.cmp(&at.1)).is_le() {
                break; // back where it began, or before
            }
            previous = Some(at);
            cursor.prev().unwrap();
        }
    }
}

fn check(order: &KeyOrder, pattern: u64) {
    let table = Arc::new(Table::new(order.clone(), MemtableConfig::default()));
    let done: [AtomicU64; WRITERS as usize] = [const { AtomicU64::new(0) }; WRITERS as usize];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (table, done, stop) = (&table, &done, &stop);
        scope.spawn(move || read(table, pattern, done, stop));
        scope.spawn(move || walk(table, order, done, stop, false));
        scope.spawn(move || walk(table, order, done, stop, true));
        scope.spawn(move || wander(table, order, pattern, stop));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    write(table, pattern, writer, done.get(writer as usize).expect("one each"));
                })
            })
            .collect();
        let finished: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Release);
        assert!(finished.iter().all(Result::is_ok), "a writer failed");
    });
    assert_eq!(table.len() as u64, WRITERS * EACH);
    for writer in 0..WRITERS {
        for n in 0..EACH {
            let number = number(writer, n);
            let found = table.get(&key(pattern, n), seqno(number + 1)).map(|entry| entry.seqno.get());
            assert_eq!(found, Some(number));
        }
    }
}

/// Proves E-16, E-108.
#[test]
fn readers_and_cursors_agree_with_writers() {
    let [bytewise, reverse, _] = orders();
    for pattern in 0..4 {
        check(&bytewise, pattern);
    }
    check(&reverse, 2);
}
