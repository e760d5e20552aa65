//! What the tests share: small tables, other orders, a model.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic; not every test uses all"
)]

use std::{cmp::Ordering, sync::Arc};

use lsm_block::{FileIdentity, Superblock};
use lsm_codec::Compression;
use lsm_sst::{BuildOptions, TableBuilder, TableSummary};
use lsm_types::{
    Bytewise, Comparator, EditIndex, EntryCursor, FileKind, FileUuid, KeyOrder, Kind, RangeTombstone, SeqNo,
    TreeId, UnixNanos,
};
use proptest::prelude::*;

/// Byte order from high to low.
pub struct Reverse;

impl Comparator for Reverse {
    fn name(&self) -> &'static str {
        "test.reverse"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        b.cmp(a)
    }
}

/// Shorter keys first, equal lengths in byte order.
pub struct LengthFirst;

impl Comparator for LengthFirst {
    fn name(&self) -> &'static str {
        "test.length-first"
    }

    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    }
}

pub fn orders() -> [KeyOrder; 3] {
    [
        KeyOrder::new(Arc::new(Bytewise)),
        KeyOrder::new(Arc::new(Reverse)),
        KeyOrder::new(Arc::new(LengthFirst)),
    ]
}

/// An entry that owns its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub key: Vec<u8>,
    pub seqno: u64,
    pub kind: Kind,
    pub value: Vec<u8>,
}

pub fn seqno(raw: u64) -> SeqNo {
    SeqNo::new(raw).unwrap()
}

pub fn sort(entries: &mut Vec<Entry>, order: &KeyOrder) {
    entries.sort_by(|a, b| order.compare(&a.key, &b.key).then(b.seqno.cmp(&a.seqno)));
    entries.dedup_by(|a, b| a.key == b.key && a.seqno == b.seqno);
}

/// First entry at or after the point `(key, before)`.
pub fn lower_bound(entries: &[Entry], order: &KeyOrder, key: &[u8], before: u64) -> usize {
    let is_before = |entry: &Entry| match order.compare(&entry.key, key) {
        Ordering::Less => true,
        Ordering::Equal => entry.seqno >= before,
        Ordering::Greater => false,
    };
    entries.iter().position(|entry| !is_before(entry)).unwrap_or(entries.len())
}

pub fn current(cursor: &impl EntryCursor) -> Option<Entry> {
    let entry = cursor.entry()?;
    assert_eq!(cursor.value(), entry.value);
    Some(Entry {
        key: entry.key.to_vec(),
        seqno: entry.seqno.get(),
        kind: entry.kind,
        value: entry.value.to_vec(),
    })
}

/// Keys that share a lot, differ late, and are prefixes of each other.
pub fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => Just(0_u8), 2 => Just(0xFF), 3 => b'a'..b'd'];
    let stem = prop_oneof![Just(&b""[..]), Just(&b"user/"[..]), Just(&b"user/0000/0000/0000"[..])];
    (stem, prop::collection::vec(byte, 1..12)).prop_map(|(stem, tail)| [stem, &tail[..]].concat())
}

pub fn entry() -> impl Strategy<Value = Entry> {
    let payload = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|value| (Kind::Put, value)),
        2 => Just((Kind::Tombstone, Vec::new())),
        1 => Just((Kind::WeakTombstone, Vec::new())),
        1 => prop::collection::vec(any::<u8>(), 0..9).prop_map(|value| (Kind::MergeOperand, value)),
        1 => (0_u64..4, 0_u32..5000).prop_map(|(file, value_len)| {
            let file = lsm_types::VlogId::new(file);
            let handle = lsm_types::ValueHandle { file, offset: 512, stored_len: value_len + 80, value_len };
            (Kind::Indirection, handle.encode().to_vec())
        }),
    ];
    (key(), 0_u64..6, payload).prop_map(|(key, seqno, (kind, value))| Entry { key, seqno, kind, value })
}

/// Entries in no order, some keys with many versions.
pub fn entries(max: usize) -> impl Strategy<Value = Vec<Entry>> {
    let group = (entry(), 1_u64..12).prop_map(|(entry, versions)| {
        (0..versions).map(|n| Entry { seqno: entry.seqno + n * 3, ..entry.clone() }).collect::<Vec<_>>()
    });
    prop::collection::vec(prop_oneof![3 => entry().prop_map(|entry| vec![entry]), 1 => group], 1..max)
        .prop_map(|groups| groups.concat())
}

pub fn superblock() -> Superblock {
    let identity = FileIdentity {
        kind: FileKind::Table,
        file_id: 7,
        uuid: FileUuid::from_bytes([0x11; 16]),
        database: FileUuid::from_bytes([0x22; 16]),
        tree: TreeId::new(3),
    };
    Superblock::new(identity, UnixNanos::new(1_700_000_000_000_000_000), EditIndex::new(5))
}

/// Small blocks, no compression: much structure in few bytes.
pub fn small_options(order: &KeyOrder) -> BuildOptions {
    BuildOptions {
        data_block_bytes: 256,
        compression: Compression::None,
        index_compression: Compression::None,
        index_partition_bytes: 160,
        writer: "test 1".into(),
        ..BuildOptions::new(order.clone())
    }
}

pub fn build(
    options: BuildOptions,
    entries: &[Entry],
    tombstones: &[RangeTombstone],
) -> (TableSummary, Vec<u8>) {
    let mut builder = TableBuilder::new(superblock(), options, Vec::new()).unwrap();
    for entry in entries {
        builder.add(&entry.key, seqno(entry.seqno), entry.kind, &entry.value).unwrap();
    }
    for tombstone in tombstones {
        builder.add_range_tombstone(tombstone.clone()).unwrap();
    }
    builder.finish().unwrap()
}

pub fn put(key: &str, seqno: u64, value: &str) -> Entry {
    Entry { key: key.into(), seqno, kind: Kind::Put, value: value.into() }
}
