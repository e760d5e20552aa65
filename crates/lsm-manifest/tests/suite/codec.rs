//! Encodings: round trips, one encoding per value, hostile bytes.

use std::sync::Arc;

use crate::common::{Dice, table};
use lsm_manifest::{
    Census, Counts, DatabaseEdit, DirectoryHandle, ManifestError, Record, RecordHead, Restriction,
    SeqNoRange, Sizes, SnapshotBegin, StoredSchema, TableDescriptor, TreeEdit, TreeIdentity,
    VectorDescriptor, VersionEdit, VlogDescriptor, Watermark,
};
use lsm_types::{
    Cut, EditIndex, FileUuid, KeyRange, Level, RouteId, RunId, SeqNo, Slice, TableId, TreeId, UnixNanos,
    ValueHandle, ValueReferences, ValueUsage, VectorId, VlogId,
};
use proptest::prelude::*;

fn seqno() -> impl Strategy<Value = SeqNo> {
    prop_oneof![0..100_u64, 0..=SeqNo::LATEST.get()].prop_map(|raw| SeqNo::new(raw).unwrap())
}

fn seqnos() -> impl Strategy<Value = SeqNoRange> {
    (seqno(), seqno()).prop_map(|(a, b)| SeqNoRange { min: a.min(b), max: a.max(b) })
}

fn key() -> impl Strategy<Value = Slice> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 1..4),
        prop::collection::vec(any::<u8>(), 120..140),
        Just(vec![3; lsm_types::MAX_KEY_LEN]),
    ]
    .prop_map(Slice::from)
}

fn cut(like: Option<KeyRange>) -> impl Strategy<Value = Cut> {
    let like = like.unwrap_or(KeyRange { min: "k".into(), max: "l".into() });
    prop_oneof![
        Just(Cut::Start),
        Just(Cut::End),
        Just(Cut::Before(like.min.clone())),
        Just(Cut::After(like.min)),
        Just(Cut::Before(like.max.clone())),
        Just(Cut::After(like.max)),
        key().prop_map(Cut::Before),
        key().prop_map(Cut::After),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0_u64), 0..300_u64, any::<u64>()]
}

/// In half of the tables none.
fn references() -> impl Strategy<Value = ValueReferences> {
    let handle = (number(), 0..u64::from(u32::MAX), 1..=u32::MAX, 0_u32..300).prop_map(
        |(file, offset, stored_len, value_len)| ValueHandle {
            file: VlogId::new(file),
            offset,
            stored_len,
            value_len,
        },
    );
    let some = prop::collection::vec(handle, 1..8);
    prop_oneof![Just(Vec::new()), some].prop_map(|handles| {
        let mut references = ValueReferences::new();
        for handle in &handles {
            references.record(handle).unwrap();
        }
        references
    })
}

fn vlog() -> impl Strategy<Value = VlogDescriptor> {
    let ids = (number(), any::<[u8; 16]>(), number(), any::<u64>(), any::<(u16, u16)>());
    let rare = (number(), any::<u32>(), number(), number(), any::<u32>());
    (ids, rare, [number(), number(), number()], number(), any::<u32>()).prop_map(
        |(ids, rare, [entries, value_bytes, stored_bytes], offset, len)| VlogDescriptor {
            id: VlogId::new(ids.0),
            uuid: FileUuid::from_bytes(ids.1),
            file_len: ids.2,
            digest: ids.3,
            format: ids.4,
            features: rare.0,
            key_id: rare.1,
            created_at: UnixNanos::new(rare.2),
            created_edit: EditIndex::new(rare.3),
            total: ValueUsage { entries, value_bytes, stored_bytes },
            directory: DirectoryHandle { offset, len },
            tail_len: rare.4,
            is_ordered: rare.1.is_multiple_of(2),
        },
    )
}

fn descriptor() -> BoxedStrategy<TableDescriptor> {
    let range = prop::option::of((key(), key()).prop_map(|(min, max)| KeyRange { min, max }));
    let head = range.prop_flat_map(|range| (Just(range.clone()), cut(range.clone()), cut(range)));
    let ids = (number(), any::<[u8; 16]>(), number(), any::<u64>(), any::<(u16, u16)>());
    let rare = (number(), any::<u32>(), number(), number(), any::<u8>());
    let numbers = (
        any::<[u64; 7]>(),
        any::<[u64; 5]>(),
        [number(), number(), number()],
        number(),
        any::<u32>(),
        references(),
    );
    (head, ids, rare, (seqnos(), prop::option::of(seqnos())), numbers)
        .prop_map(
            |(
                (entries, start, end),
                ids,
                rare,
                (seqnos, point_seqnos),
                (counts, sizes, census, offset, len, references),
            )| {
                TableDescriptor {
                    id: TableId::new(ids.0),
                    uuid: FileUuid::from_bytes(ids.1),
                    file_len: ids.2,
                    digest: ids.3,
                    format: ids.4,
                    features: rare.0,
                    key_id: rare.1,
                    created_at: UnixNanos::new(rare.2),
                    created_edit: EditIndex::new(rare.3),
                    filter_kind: rare.4,
                    tail_len: 0,
                    global_seqno: global_of(seqnos, rare.4),
                    references: references.clone(),
                    restriction: restriction_of(rare.4, counts[0], ids.2),
                    vector: vector_of(rare.4, counts[0], &ids.1),
                    route: RouteId::new(rare.1 % 3),
                    entries,
                    coverage_start: start,
                    coverage_end: end,
                    seqnos,
                    point_seqnos,
                    counts: Counts {
                        entries: counts[0],
                        tombstones: counts[1],
                        weak_tombstones: counts[2],
                        reclaimable_weak_tombstones: counts[3],
                        operands: counts[4],
                        indirections: references.total().unwrap().entries,
                        range_tombstones: counts[6],
                    },
                    sizes: Sizes {
                        data: sizes[0],
                        index: sizes[1],
                        filter: sizes[2],
                        raw_keys: sizes[3],
                        raw_values: sizes[4],
                    },
                    census: Census { raw: census[0], lz4: census[1], zstd: census[2] },
                    directory: DirectoryHandle { offset, len },
                }
            },
        )
        .boxed()
}

/// A number that all of `seqnos` may have been given, in half of the tables.
fn global_of(seqnos: SeqNoRange, dice: u8) -> SeqNo {
    if dice.is_multiple_of(2) && seqnos.min.is_write() { seqnos.min } else { SeqNo::ZERO }
}

/// Dead rows in a third of the tables.
fn vector_of(dice: u8, entries: u64, uuid: &[u8; 16]) -> Option<Arc<VectorDescriptor>> {
    (dice.is_multiple_of(3) && entries > 0).then(|| Arc::new(vector(entries, u64::from(dice), *uuid)))
}

fn vector(cardinality: u64, number: u64, uuid: [u8; 16]) -> VectorDescriptor {
    VectorDescriptor {
        id: VectorId::new(number),
        uuid: FileUuid::from_bytes(uuid),
        file_len: number.rotate_left(7),
        digest: number.reverse_bits(),
        key_id: u32::from_le_bytes([uuid[0], uuid[1], uuid[2], uuid[3]]),
        created_edit: EditIndex::new(number / 3),
        directory: DirectoryHandle { offset: number, len: 99 },
        cardinality,
        watermark: SeqNo::new(number / 2).unwrap_or(SeqNo::ZERO),
    }
}

fn tree_step() -> BoxedStrategy<TreeEdit> {
    let level = || any::<u8>().prop_map(Level::new);
    let run = || number().prop_map(RunId::new);
    let id = || number().prop_map(TableId::new);
    let token = prop::option::of(prop::collection::vec(any::<u8>(), 0..=64).prop_map(Slice::from));
    prop_oneof![
        (level(), run(), number()).prop_map(|(level, run, age)| TreeEdit::AddRun { level, run, age }),
        (level(), run(), descriptor().prop_map(Arc::new))
            .prop_map(|(level, run, table)| TreeEdit::AddTable { level, run, table }),
        id().prop_map(|id| TreeEdit::RemoveTable { id }),
        vlog().prop_map(Arc::new).prop_map(|vlog| TreeEdit::AddVlog { vlog }),
        number().prop_map(|id| TreeEdit::RemoveVlog { id: VlogId::new(id) }),
        number().prop_map(|id| TreeEdit::ExportVlog { id: VlogId::new(id) }),
        (number(), number())
            .prop_map(|(id, frontier)| TreeEdit::AdvanceVlog { id: VlogId::new(id), frontier }),
        (id(), level(), run()).prop_map(|(id, level, run)| TreeEdit::MoveTable { id, level, run }),
        seqno().prop_map(TreeEdit::RaiseFloor),
        seqno().prop_map(TreeEdit::ChangesFrom),
        seqno().prop_map(TreeEdit::RefuseReads),
        Just(TreeEdit::Separate),
        seqno().prop_map(TreeEdit::LowerFloor),
        id().prop_map(|id| TreeEdit::ExportTable { id }),
        (id(), restriction(), references()).prop_map(|(id, to, references)| TreeEdit::RestrictTable {
            id,
            to,
            references
        }),
        (id(), number(), number(), any::<[u8; 16]>()).prop_map(|(id, cardinality, number, uuid)| {
            TreeEdit::AttachVector { id, vector: Arc::new(vector(cardinality, number, uuid)) }
        }),
        seqno().prop_map(TreeEdit::MaxSeqNo),
        (seqno(), token).prop_map(|(seqno, token)| TreeEdit::Watermark(Watermark { seqno, token })),
        "[a-zü.]{1,40}".prop_map(TreeEdit::MergeOperator),
        (any::<u32>(), any::<u32>(), "[a-zü.]{1,40}", prop::collection::vec(any::<u8>(), 0..40)).prop_map(
            |(id, splitter_version, splitter, schema)| {
                TreeEdit::AddSchema(Arc::new(StoredSchema {
                    id,
                    splitter,
                    splitter_version,
                    schema: schema.into(),
                }))
            }
        ),
    ]
    .boxed()
}

fn restriction() -> BoxedStrategy<Restriction> {
    (prop::collection::vec(any::<u8>(), 0..40), number(), number())
        .prop_map(|(lower, entries, consumed_bytes)| Restriction {
            lower: lower.into(),
            entries,
            consumed_bytes,
        })
        .boxed()
}

/// One that a table with so many entries and bytes can have; none for most.
fn restriction_of(dice: u8, entries: u64, file_len: u64) -> Option<Restriction> {
    let consumed_bytes = file_len / u64::from(dice.max(1));
    dice.is_multiple_of(3).then(|| Restriction { lower: [dice].into(), entries: entries / 3, consumed_bytes })
}

fn database_step() -> BoxedStrategy<DatabaseEdit> {
    prop_oneof![
        number().prop_map(DatabaseEdit::ReserveIds),
        Just(DatabaseEdit::WithoutSync),
        (any::<u32>(), any::<[u8; 16]>()).prop_map(|(route, uuid)| DatabaseEdit::AddRoute {
            route: RouteId::new(route),
            uuid: FileUuid::from_bytes(uuid),
        }),
        (any::<u32>().prop_map(TreeId::new), "[a-zü.]{1,40}", 2_u8..=255).prop_map(
            |(tree, comparator, levels)| DatabaseEdit::CreateTree {
                tree,
                identity: TreeIdentity::new(comparator, levels)
            }
        ),
    ]
    .boxed()
}

fn edit() -> BoxedStrategy<VersionEdit> {
    let tree = prop_oneof![0_u32..3, any::<u32>()].prop_map(TreeId::new);
    (prop::collection::vec(database_step(), 0..3), prop::collection::vec((tree, tree_step()), 0..6))
        .prop_map(|(database, trees)| VersionEdit { database, trees })
        .boxed()
}

fn record() -> BoxedStrategy<Record> {
    prop_oneof![
        (number(), any::<[u8; 16]>(), any::<u32>(), number()).prop_map(|(index, database, trees, tables)| {
            Record::SnapshotBegin(SnapshotBegin {
                edit_index: EditIndex::new(index),
                database: FileUuid::from_bytes(database),
                tree_count: trees,
                table_count: tables,
            })
        }),
        edit().prop_map(Record::SnapshotChunk),
        (number(), any::<u64>())
            .prop_map(|(chunk_count, digest)| Record::SnapshotEnd { chunk_count, digest }),
        (number().prop_map(EditIndex::new), prop::collection::vec(edit(), 1..4))
            .prop_map(|(follows, edits)| Record::Edits { follows, edits }),
        Just(Record::CleanClose),
    ]
    .boxed()
}

fn encode(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Proves D-43: what is written is read back, and read only when whole.
    #[test]
    fn records_round_trip(record in record()) {
        let bytes = encode(&record);
        prop_assert_eq!(Record::decode(&bytes), Ok(record.clone()));
        let head = Record::head(&bytes).unwrap();
        let fits = match (&record, head) {
            (Record::SnapshotBegin(a), RecordHead::SnapshotBegin(b)) => *a == b,
            (Record::SnapshotEnd { digest: a, .. }, RecordHead::SnapshotEnd { digest: b }) => *a == b,
            (Record::Edits { follows: a, edits }, RecordHead::Edits { follows: b, count }) => {
                *a == b && edits.len() as u64 == count
            }
            (Record::SnapshotChunk(_), RecordHead::SnapshotChunk)
            | (Record::CleanClose, RecordHead::CleanClose) => true,
            _ => false,
        };
        prop_assert!(fits);
        if let Some(short) = bytes.len().checked_sub(1) {
            prop_assert!(Record::decode(&bytes[..short]) != Ok(record));
        }
    }

    /// Proves D-20, F-30: damaged records end in an error or in a value with exactly these bytes, save for
    /// skippable fields; never in a panic.
    #[test]
    fn mutated_records_do_no_harm(record in record(), seed in any::<u64>()) {
        let good = encode(&record);
        let dice = &mut Dice(seed);
        for _ in 0..20 {
            let bytes = mutate(&good, dice);
            let _ = Record::head(&bytes);
            if let Ok(read) = Record::decode(&bytes) {
                let again = encode(&read);
                prop_assert_eq!(Record::decode(&again), Ok(read));
                prop_assert!(again.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn descriptors_round_trip(table in descriptor()) {
        let mut bytes = Vec::new();
        table.encode(&mut bytes);
        prop_assert_eq!(TableDescriptor::decode(&bytes), Ok(table));
    }
}

fn mutate(good: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=dice.below(3) {
        let at = usize::try_from(dice.below(bytes.len() as u64 + 1)).unwrap();
        let byte = dice.next().to_le_bytes()[0];
        match dice.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
            1 if at < bytes.len() => bytes[at] = byte,
            2 => bytes.insert(at, byte),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[track_caller]
fn check_refused(bytes: &[u8], expect: ManifestError) {
    assert_eq!(VersionEdit::decode(bytes), Err(expect), "{bytes:?}");
}

/// Proves D-36: later steps are refused, or skipped when their writer says so.
#[test]
fn edits_have_one_encoding() {
    let decode = |field| ManifestError::Decode { field };
    check_refused(&[0xFF, 0], ManifestError::UnknownTag { what: "step", tag: 0xFF });
    assert_eq!(VersionEdit::decode(&[0x3F, 2, 1, 1]), Ok(VersionEdit::default()));
    check_refused(&[0x81, 2, 5, 5], decode("length of a step"));
    check_refused(&[0xA5, 2, 0, 9, 0x81, 1, 5], decode("order of steps"));
    check_refused(&[0x82, 3, 0, 1, b'x'], decode("level count"));
    check_refused(&[0x82, 2, 0, 7], decode("comparator"));
    check_refused(&[0x82, 3, 0, 7, 0xFF], decode("comparator"));
    check_refused(&[0xA8, 4, 0, 0, 0, 1], decode("token"));
    check_refused(&[0xA8, 3, 0, 0, 2], decode("token"));
    let mut long = vec![0xA8, 68, 0, 0, 1];
    long.resize(70, 9);
    check_refused(&long, decode("token"));
    check_refused(&[0xA3, 7, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0, 0], decode("tree"));
    assert!(VersionEdit::decode(&[0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]).is_err());
}

/// Proves D-36: fields of later versions, and fields written twice or against the rule of shortness.
#[test]
fn descriptors_have_one_encoding() {
    let mut good = Vec::new();
    table(7, b"a", b"c").encode(&mut good);
    let with = |tail: &[u8]| TableDescriptor::decode(&[&good[..], tail].concat());
    assert_eq!(with(&[0x7F, 1, 9]), Ok(table(7, b"a", b"c")));
    assert_eq!(with(&[0xFF, 0]), Err(ManifestError::UnknownTag { what: "table field", tag: 0xFF }));
    assert!(with(&[18, 1, 1]).is_err(), "a field twice");
    let plain = TableDescriptor { filter_kind: 0, ..table(7, b"a", b"c") };
    good.clear();
    plain.encode(&mut good);
    assert!(TableDescriptor::decode(&[&good[..], &[18, 1, 0]].concat()).is_err(), "a zero that is left out");
    assert_eq!(TableDescriptor::decode(&good), Ok(plain));
}
