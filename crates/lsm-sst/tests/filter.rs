//! Filters only ever save reads: whatever happens to them, answers stay the same.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a test may panic"
)]

mod common;

use std::{
    collections::BTreeSet,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use common::{Entry, build, entries, orders, put, seqno, small_options, sort, superblock};
use lsm_block::{BlockKind, FrameHeader, FrameSpec, FrameWriter};
use lsm_codec::Compression;
use lsm_sst::{
    BuildOptions, FilterAnswer, FilterAudit, FilterBits, FilterId, FilterOptions, OpenOptions,
    PrefixFilterOptions, Table, TableBuilder, TableOptions, TableSummary,
};
use lsm_types::{
    Cut, DelimitedPrefix, IoError, KeyHash, KeyOrder, Kind, PrefixExtractor, RangeTombstone, ReadAt, SeqNo,
};
use proptest::prelude::*;

fn filter(bits: f64, partition_bytes: usize) -> FilterOptions {
    FilterOptions { bits: FilterBits::new(bits).unwrap(), partition_bytes }
}

fn filtered(order: &KeyOrder, bits: f64, partition_bytes: usize) -> BuildOptions {
    let filter = filter(bits, partition_bytes);
    let extractor = Arc::new(DelimitedPrefix::new(b'/', 2));
    let prefix_filter = Some(PrefixFilterOptions { filter, extractor });
    BuildOptions { filter: Some(filter), prefix_filter, ..small_options(order) }
}

fn some_entries() -> Vec<Entry> {
    (0..200).flat_map(|n| [5, 3].map(|seqno| put(&format!("key/{n:04}"), seqno, "some value"))).collect()
}

fn table() -> (Vec<Entry>, Vec<u8>) {
    let entries = some_entries();
    let options = BuildOptions { filter: Some(filter(16.0, 128)), ..small_options(&KeyOrder::bytewise()) };
    let (summary, bytes) = build(options, &entries, &[]);
    assert!(summary.properties.counters.filter_partitions > 4);
    (entries, bytes)
}

/// Counts reads of data blocks.
struct Counting(Vec<u8>, Arc<AtomicUsize>);

impl ReadAt for Counting {
    fn len(&self) -> Result<u64, IoError> {
        ReadAt::len(&self.0)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        self.0.read_exact_at(offset, out)?;
        self.1.fetch_add(usize::from(out[2] == BlockKind::DATA.code()), Relaxed);
        Ok(())
    }
}

#[track_caller]
fn check_reads(bytes: Vec<u8>, entries: &[Entry], options: TableOptions, reads_for_misses: usize) {
    let reads = Arc::new(AtomicUsize::new(0));
    let table = Table::open(Counting(bytes, Arc::clone(&reads)), options).unwrap();
    check_present(&table, entries);
    reads.store(0, Relaxed);
    for n in 0..100 {
        assert!(table.get(format!("key/{n:04}x").as_bytes(), SeqNo::LATEST).unwrap().is_none());
    }
    assert_eq!(reads.load(Relaxed), reads_for_misses);
}

#[track_caller]
fn check_present<R: ReadAt>(table: &Table<R>, entries: &[Entry]) {
    for entry in entries {
        let found = table.get(&entry.key, seqno(entry.seqno + 1)).unwrap().unwrap();
        assert_eq!((found.value.as_ref(), found.seqno.get()), (entry.value.as_slice(), entry.seqno));
    }
}

fn verify(bytes: Vec<u8>) -> u64 {
    let table = Table::open(bytes, TableOptions::new()).unwrap();
    table.verify(&mut |_| ()).unwrap().findings
}

/// Proves FI-4, F-93 in part, E-64 in part.
#[test]
fn a_filter_only_saves_reads() {
    let (entries, bytes) = table();
    check_reads(bytes.clone(), &entries, TableOptions::new(), 0);
    check_reads(bytes.clone(), &entries, TableOptions::new().filters(false), 100);
    assert_eq!(verify(bytes), 0);
}

/// Where the frames of a kind lie, headers included.
fn frames(bytes: &[u8], kind: BlockKind) -> Vec<std::ops::Range<usize>> {
    let table = Table::open(bytes.to_vec(), TableOptions::new()).unwrap();
    let reader_end = |at: usize| {
        let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        at + FrameHeader::LEN + usize::try_from(len).unwrap()
    };
    if let Some(section) = table.meta().directory().primary(kind)
        && section.frames == 1
    {
        let at = usize::try_from(section.offset).unwrap();
        if bytes[at + 2] == kind.code() {
            return std::iter::once(at..reader_end(at)).collect();
        }
    }
    let id = FilterId::ALL.into_iter().find(|id| id.partition_kind() == kind).unwrap();
    let refs = (0..table.meta().filter_partitions(id)).map(|part| table.meta().filter_ref(id, part).unwrap());
    refs.map(|at| usize::try_from(at.handle.offset).unwrap()).map(|at| at..reader_end(at)).collect()
}

/// Proves F-33 (filter part), F-159 (filters degrade).
#[test]
fn no_damaged_byte_of_a_filter_changes_an_answer_and_each_is_reported() {
    let entries: Vec<Entry> = (0..30).map(|n| put(&format!("key/{n:02}"), 5, "some value")).collect();
    let (_, bytes) = build(filtered(&KeyOrder::bytewise(), 6.0, 64), &entries, &[]);
    let keys = frames(&bytes, BlockKind::FILTER_PARTITION);
    assert!(keys.len() > 1);
    let prefixes = frames(&bytes, BlockKind::PREFIX_FILTER_PARTITION);
    let roots =
        [BlockKind::FILTER_ROOT, BlockKind::PREFIX_FILTER_ROOT].map(|kind| frames(&bytes, kind)).concat();
    for (place, at) in [keys, prefixes, roots].concat().into_iter().flat_map(|frame| {
        let len = frame.len();
        frame.enumerate().map(move |(n, at)| ((n, len), at))
    }) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let table = Table::open(damaged, TableOptions::new()).unwrap();
        check_present(&table, &entries);
        assert!(table.get(b"key/999", SeqNo::LATEST).unwrap().is_none());
        let prefix = KeyHash::of_prefix(b"key/");
        let answer = table.meta().ask_prefix(table.source(), prefix, Bound::Included(&b"key/"[..]));
        assert_ne!(answer, FilterAnswer::Absent, "{place:?}");
        let mut findings = 0;
        table.verify(&mut |_| findings += 1).unwrap();
        assert!(findings > 0, "byte {place:?}");
    }
}

/// Puts another payload into a frame, with all its checks in order.
fn reframe(bytes: &mut [u8], frame: &std::ops::Range<usize>, change: impl FnOnce(&mut Vec<u8>)) {
    let header = &bytes[frame.clone()][..FrameHeader::LEN];
    let spec = FrameSpec {
        kind: BlockKind::from_code(header[2]),
        encoding: header[13],
        compression: Compression::None,
        ordinal: u32::from_le_bytes(header[16..20].try_into().unwrap()),
    };
    let mut payload = bytes[frame.start + FrameHeader::LEN..frame.end].to_vec();
    change(&mut payload);
    let mut writer = FrameWriter::new(superblock().identity, superblock().transforms(None).unwrap());
    let mut out = Vec::new();
    writer.append(spec, &payload, frame.start as u64, &mut out).unwrap();
    assert_eq!(out.len(), frame.len());
    bytes[frame.clone()].copy_from_slice(&out);
}

/// Proves F-93: a structure from the future, and every other byte of a head that checks do not guard.
#[test]
fn a_filter_that_is_not_understood_says_nothing() {
    let (entries, bytes) = table();
    let frame = frames(&bytes, BlockKind::FILTER_PARTITION)[1].clone();
    let mut same = bytes.clone();
    reframe(&mut same, &frame, |_| ());
    assert_eq!(same, bytes, "the same payload makes the same frame");
    for at in 0..32 {
        for value in [0, 1, 2, 3, 4, 9, 0x7F, 0xFF] {
            let mut other = bytes.clone();
            reframe(&mut other, &frame, |payload| payload[at] = value);
            let table = Table::open(other, TableOptions::new()).unwrap();
            let part = lsm_sst::BlockSource::filter(table.source(), FilterId::Keys, 1);
            if at == 0 && value > 3 {
                assert_eq!(part.as_ref().unwrap_err().kind(), lsm_types::ErrorKind::UnsupportedFormat);
            }
            // A partition that opens may deny keys, for its bytes are not those that were written: then a check says so.
            if part.is_err() {
                check_present(&table, &entries);
            }
        }
    }
}

/// Proves F-92: a table whose hashes have another seed is read as if it had no filter.
#[test]
fn hashes_with_another_seed_are_not_compared() {
    let (entries, mut bytes) = table();
    let directory = Table::open(bytes.clone(), TableOptions::new()).unwrap().meta().directory().clone();
    for section in [directory.primary(BlockKind::PROPERTIES), directory.mirror(BlockKind::PROPERTIES)] {
        let section = section.unwrap();
        let at = usize::try_from(section.offset).unwrap();
        reframe(&mut bytes, &(at..at + usize::try_from(section.len).unwrap()), |payload| {
            let seed = payload.windows(4).position(|window| window == [0x11, 0x04, 1, 8]).unwrap() + 4;
            payload[seed] = 1;
        });
    }
    let table = Table::open(bytes.clone(), TableOptions::new()).unwrap();
    assert_eq!(table.meta().properties().filters.keys.unwrap().seed, 1);
    assert_eq!(table.meta().filter_partitions(FilterId::Keys), 0);
    check_reads(bytes, &entries, TableOptions::new(), 100);
}

/// A filter that denies a key is found by a full check.
#[test]
fn a_check_finds_filters_that_deny_keys() {
    let (_, bytes) = table();
    let frames = frames(&bytes, BlockKind::FILTER_PARTITION);
    // Two partitions of the same length change places.
    let (a, b) = (frames[0].clone(), frames[1].clone());
    assert_eq!(a.len(), b.len());
    let mut swapped = bytes.clone();
    let payload = bytes[b.start + FrameHeader::LEN..b.end].to_vec();
    reframe(&mut swapped, &a, |out| *out = payload);
    let table = Table::open(swapped.clone(), TableOptions::new()).unwrap();
    let mut denied = 0;
    table.verify(&mut |error| denied += u32::from(error.to_string().contains("denies"))).unwrap();
    assert_eq!(denied, 1);
    let meta = table.meta();
    let mut audit = FilterAudit::new(meta, None);
    let mut found = Vec::new();
    for entry in some_entries() {
        audit.key(table.source(), &entry.key, &mut |error| found.push(error));
    }
    audit.finish(table.source(), &mut |error| found.push(error));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].location().unwrap().offset, a.start as u64);
}

/// Proves F-94, F-97 in part: partitions keep to their bytes, and prefixes on a border are in both.
/// Fault: formats W-4.
#[test]
fn partitions_are_cut_by_bytes_between_keys() {
    let order = KeyOrder::bytewise();
    let mut entries = Vec::new();
    for n in 0..12_000_u32 {
        // Groups of 1 to 40 keys, and many versions of some keys.
        let (group, versions) = (n / (1 + n % 40), if n % 97 == 0 { 30 } else { 1 });
        for version in (0..versions).rev() {
            entries.push(put(&format!("{group:05}/{n:05}"), version, "v"));
        }
    }
    sort(&mut entries, &order);
    let limit = 2048;
    let (summary, bytes) = build(filtered(&order, 8.0, limit), &entries, &[]);
    let table = Table::open(bytes, TableOptions::new()).unwrap();
    let meta = table.meta();
    for id in FilterId::ALL {
        let parts = meta.filter_partitions(id);
        assert!(parts > 1, "{id:?}: {parts}");
        let len = |part| meta.filter_ref(id, part).unwrap().handle.len as usize - FrameHeader::LEN;
        assert!((0..parts).all(|part| len(part) <= limit), "{id:?}");
        assert!((0..parts - 1).all(|part| len(part) * 10 > limit * 8), "{id:?} wastes room");
    }
    let keys: BTreeSet<_> = entries.iter().map(|entry| entry.key.clone()).collect();
    let ask = |key: &[u8]| meta.ask_key(table.source(), KeyHash::of(key), key);
    assert!(keys.iter().all(|key| ask(key) == FilterAnswer::Maybe));
    // Every group is found from its own start and from any of its keys on, wherever partitions end.
    for key in &keys {
        let prefix = &key[..6];
        let ask = |lower| meta.ask_prefix(table.source(), KeyHash::of_prefix(prefix), lower);
        assert_eq!(ask(Bound::Included(prefix)), FilterAnswer::Maybe);
        assert_eq!(ask(Bound::Included(key.as_slice())), FilterAnswer::Maybe);
        // The range that starts right behind a key has what the next key has, be it in the next partition.
        let behind = keys.range::<[u8], _>((Bound::Excluded(key.as_slice()), Bound::Unbounded)).next();
        if let Some(behind) = behind {
            let hash = KeyHash::of_prefix(&behind[..6]);
            let answer = meta.ask_prefix(table.source(), hash, Bound::Excluded(key.as_slice()));
            assert_eq!(answer, FilterAnswer::Maybe);
        }
    }
    assert_eq!(
        ask_absent_groups(&table),
        0,
        "8 bits, 100 groups: one false positive in two runs would be bad luck"
    );
    let filters = &summary.properties.filters;
    assert_eq!(filters.extractor.as_ref().unwrap().name, DelimitedPrefix::new(b'/', 2).name());
    assert!(filters.prefix_count >= keys.iter().map(|key| &key[..6]).collect::<BTreeSet<_>>().len() as u64);
}

fn ask_absent_groups(table: &Table<Vec<u8>>) -> usize {
    let absent = (0..100).map(|n| format!("{n:05}x/"));
    let maybe = absent.filter(|prefix| {
        let hash = KeyHash::of_prefix(prefix.as_bytes());
        let lower = Bound::Included(prefix.as_bytes());
        table.meta().ask_prefix(table.source(), hash, lower) != FilterAnswer::Absent
    });
    maybe.count()
}

/// Proves F-98: what covers a key that no entry has is there whatever the filter says.
#[test]
fn range_tombstones_do_not_hide_behind_filters() {
    let (entries, _) = table();
    let options = BuildOptions { filter: Some(filter(16.0, 128)), ..small_options(&KeyOrder::bytewise()) };
    let tombstone = RangeTombstone {
        start: Cut::Before("key/0100".into()),
        end: Cut::Before("key/0101".into()),
        seqno: seqno(9),
    };
    let (_, bytes) = build(options, &entries, &[tombstone]);
    let table = Table::open(bytes, TableOptions::new()).unwrap();
    let key = b"key/0100x";
    assert_eq!(table.meta().ask_key(table.source(), KeyHash::of(key), key), FilterAnswer::Absent);
    let covers = |tombstone: &&RangeTombstone| {
        let order = KeyOrder::bytewise();
        tombstone.start.compare(&Cut::Before(key.into()), &order).is_le()
            && Cut::After(key.into()).compare(&tombstone.end, &order).is_le()
    };
    assert_eq!(table.range_tombstones().iter().filter(covers).count(), 1);
}

fn many(count: u32, options: BuildOptions) -> (TableSummary, usize) {
    let mut builder = TableBuilder::new(superblock(), options, Vec::new()).unwrap();
    let mut peak = 0;
    for n in 0..count {
        builder.add(&n.to_be_bytes(), SeqNo::ZERO, Kind::Put, b"").unwrap();
        if n % 64 == 0 {
            peak = peak.max(builder.memory_usage());
        }
    }
    (builder.finish().unwrap().0, peak)
}

/// The size of filters on files: all bytes of the filter's frames in bits per key, beside 64 bytes for each partition
/// and 128 for the root.
/// Fault: formats W-1.
#[test]
fn filters_take_the_bytes_they_promise() {
    #[track_caller]
    fn check(count: u32, bits: f64, partition_bytes: usize, bound: f64) {
        let options = BuildOptions {
            filter: Some(filter(bits, partition_bytes)),
            ..BuildOptions::new(KeyOrder::bytewise())
        };
        let (summary, _) = many(count, options);
        let partitions = summary.properties.counters.filter_partitions;
        let spare = 64 * partitions + 128;
        let found = (summary.filter_bytes - spare) as f64 * 8.0 / f64::from(count);
        assert!(found <= bound, "{count} keys, {bits} bits, {partitions} partitions: {found}");
    }
    check(80_000, 8.0, 256 << 10, 8.04);
    check(80_000, 14.0, 256 << 10, 14.0 * 1.006);
    check(80_000, 1.0, 256 << 10, 1.04);
    // As many full partitions as there are; the last one is smaller.
    check(97_000, 8.0, 32 << 10, 8.0 * 1.015);
    check(8_192, 8.0, 32 << 10, 8.0 * 1.015);
    check(3_072, 8.0, 32 << 10, 8.0 * 1.04);
    check(1_024, 8.0, 32 << 10, 8.0 * 1.13);
    check(100, 8.0, 32 << 10, 16.0);
}

/// Proves F-77 for filters, F-99 on a table: memory does not grow with the table.
/// Fault: formats W-29.
#[test]
fn memory_is_bounded_by_a_partition() {
    let options = |filter| BuildOptions {
        index_spill_bytes: 4 << 10,
        write_buffer_bytes: 16 << 10,
        filter,
        ..BuildOptions::new(KeyOrder::bytewise())
    };
    let (_, without) = many(20_000, options(None));
    for count in [20_000, 60_000] {
        let (summary, peak) = many(count, options(Some(filter(8.0, 8 << 10))));
        let per_partition = u64::from(count) / (summary.properties.counters.filter_partitions - 1);
        let bound = without + usize::try_from(28 * per_partition).unwrap() + (32 << 10);
        assert!(
            peak <= bound,
            "{count} keys: {peak} bytes, {without} without a filter, {per_partition} keys"
        );
    }
}

/// Proves C-101: a filter that cannot be finished is left out, and said so. Fault: compaction W-14.
#[test]
fn a_filter_that_cannot_be_built_does_not_fail_the_table() {
    // A partition for each key, and more of them than a root can list.
    let options = BuildOptions {
        filter: Some(filter(2.0, 1)),
        prefix_filter: None,
        ..BuildOptions::new(KeyOrder::bytewise())
    };
    let mut builder = TableBuilder::new(superblock(), options, Vec::new()).unwrap();
    for n in 0..70_000_u32 {
        builder.add(&n.to_be_bytes(), SeqNo::ZERO, Kind::Put, b"").unwrap();
    }
    let (summary, bytes) = builder.finish().unwrap();
    assert_eq!((summary.filters_given_up, summary.properties.filters.keys), (1, None));
    let table = Table::open(bytes, TableOptions::new()).unwrap();
    assert!(table.meta().detours().is_empty() && table.meta().filter_partitions(FilterId::Keys) == 0);
    for n in [0_u32, 12_345, 69_999] {
        assert!(table.get(&n.to_be_bytes(), SeqNo::LATEST).unwrap().is_some());
    }
    assert!(table.get(&70_001_u32.to_be_bytes(), SeqNo::LATEST).unwrap().is_none());
}

#[test]
fn partitions_of_absurd_size_are_refused() {
    let options = BuildOptions { filter: Some(filter(8.0, 5 << 20)), ..small_options(&KeyOrder::bytewise()) };
    let error = TableBuilder::new(superblock(), options, Vec::new()).unwrap_err();
    assert_eq!(error.kind(), lsm_types::ErrorKind::InvalidConfig);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Proves F-92, F-97 in part: no false negative, for keys and for prefixes, in any order of keys; and the table
    /// checks clean.
    #[test]
    fn filters_deny_nothing_that_is_there(
        mut all in entries(40),
        bits in prop_oneof![Just(1.0), Just(2.5), Just(8.0), Just(16.0), Just(32.0)],
        partition_bytes in prop_oneof![Just(1_usize), Just(64), Just(200), Just(32 << 10)],
        which in 0_usize..3,
    ) {
        let order = orders()[which].clone();
        sort(&mut all, &order);
        let (summary, bytes) = build(filtered(&order, bits, partition_bytes), &all, &[]);
        prop_assert_eq!(summary.filters_given_up, 0);
        let facts = summary.properties.filters.keys.unwrap();
        prop_assert_eq!((facts.nominal_bits(), facts.seed), (bits, KeyHash::SEED));
        let mut open = OpenOptions::new(order.clone());
        open.hints.tail_len = summary.tail_len;
        let table = Table::open(bytes, TableOptions::new().open(open)).unwrap();
        let (meta, source) = (table.meta(), table.source());
        let extractor = DelimitedPrefix::new(b'/', 2);
        let mut audit = FilterAudit::new(meta, Some(&extractor));
        let mut faults = 0;
        for entry in &all {
            prop_assert_eq!(meta.ask_key(source, KeyHash::of(&entry.key), &entry.key), FilterAnswer::Maybe);
            let found = table.get(&entry.key, seqno(entry.seqno + 1)).unwrap().unwrap();
            prop_assert_eq!(found.seqno.get(), entry.seqno);
            extractor.prefixes(&entry.key, &mut |prefix| {
                let lower = Bound::Included(entry.key.as_slice());
                let answer = meta.ask_prefix(source, KeyHash::of_prefix(prefix), lower);
                assert_eq!(answer, FilterAnswer::Maybe);
            });
            audit.key(source, &entry.key, &mut |_| faults += 1);
        }
        audit.finish(source, &mut |_| faults += 1);
        prop_assert_eq!(faults, 0);
        prop_assert_eq!(table.verify(&mut |error| panic!("{error}")).unwrap().findings, 0);
    }
}
