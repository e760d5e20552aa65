//! Values come back by their handles, whatever they are and however they are stored, and no handle yields another's.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

mod common;

use common::{
    Built, Entry, build, builder, check_all, encryption, entry, noise, open, options, seqno, superblock, text,
};
use lsm_codec::Compression;
use lsm_types::{ErrorKind, KeyOrder, MAX_KEY_LEN, MAX_VALUE_LEN, ReadAt, SeqNo, ValueHandle, VlogId};
use lsm_vlog::{LocatorHints, OpenVlog, Step, Vlog, VlogOptions};
use proptest::prelude::*;

const MIB: usize = 1 << 20;

fn samples() -> Vec<Entry> {
    vec![
        entry("a", 9, "one"),
        entry("a", 7, "two"),
        entry("b", 8, ""),
        entry("c", 1, text(5000)),
        entry("d", 1, noise(5000, 3)),
        entry(&"k".repeat(MAX_KEY_LEN), 2, text(300)),
        entry("z", SeqNo::MAX_WRITE.get(), "last"),
    ]
}

#[track_caller]
fn check(options: VlogOptions, sealed: bool, entries: &[Entry]) -> Built {
    let built = build(7, options, sealed, entries);
    assert_eq!(built.summary.file_len, built.bytes.len() as u64);
    let log = open(built.bytes.clone(), sealed).unwrap();
    assert!(log.meta().detours().is_empty());
    assert_eq!(log.meta().properties(), &built.summary.properties);
    assert_eq!(log.meta().directory().file_digest, built.summary.digest);
    check_all(&log, &built.handles, entries);
    built
}

/// Proves D-72, D-73.
#[test]
fn values_come_back_under_every_codec_plain_and_sealed() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd { level: 3 }] {
        for sealed in [false, true] {
            let built = check(VlogOptions { compression, ..options() }, sealed, &samples());
            let (first, properties) = (&built.handles[0], &built.summary.properties);
            assert_eq!((first.file, first.offset, first.value_len), (VlogId::new(7), 512, 3));
            assert_eq!(properties.values, samples().len() as u64);
            assert_eq!(
                properties.keys.as_ref().map(|(min, max)| (&min[..], &max[..])),
                Some((&b"a"[..], &b"z"[..]))
            );
            let stored: u64 = built.handles.iter().map(|handle| u64::from(handle.stored_len)).sum();
            assert_eq!(properties.stored_bytes, stored);
            // What does not get smaller is stored as it is.
            assert_eq!(properties.codecs.raw == properties.values, compression == Compression::None);
            assert!(properties.codecs.raw > 1);
        }
    }
}

#[test]
fn an_empty_file_is_one() {
    check(options(), false, &[]);
    check(options(), true, &[]);
}

/// Proves D-75.
#[test]
fn large_values_lie_in_chunks_and_are_read_in_parts() {
    for len in [MIB, MIB + 1, 2 * MIB, 2 * MIB + 77] {
        for (compression, sealed) in
            [(Compression::None, false), (Compression::Lz4, false), (Compression::Lz4, true)]
        {
            let value =
                if sealed { noise(len, 5) } else { [text(len - MIB / 3), noise(MIB / 3, 5)].concat() };
            let entries = [entry("before", 3, "x"), entry("large", 2, value.clone()), entry("next", 1, "y")];
            let built = check(VlogOptions { compression, ..options() }, sealed, &entries);
            let handle = &built.handles[1];
            assert_eq!(handle.is_chunked(), len > MIB);
            assert_eq!(built.summary.properties.chunked_values, u64::from(len > MIB));
            let log = open(built.bytes, sealed).unwrap();
            let end = u32::try_from(len).unwrap();
            for range in
                [0..0, 0..5, 17..end, end - 1..end, (1 << 20) - 3..(1 << 20) + 1, 5..u32::MAX, end..end + 9]
            {
                let found = log.get_range(handle, b"large", range.clone()).unwrap();
                let (start, end) = (range.start.min(end) as usize, range.end.min(end) as usize);
                assert_eq!(found, value[start..end], "{range:?}");
            }
            assert_eq!(log.get_range(handle, b"larga", 0..1).unwrap_err().kind(), ErrorKind::DanglingBlob);
        }
    }
}

/// Counts what is read of a file.
struct Counting {
    bytes: Vec<u8>,
    read: std::sync::atomic::AtomicUsize,
}

impl ReadAt for Counting {
    fn len(&self) -> Result<u64, lsm_types::IoError> {
        ReadAt::len(&self.bytes)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> Result<(), lsm_types::IoError> {
        self.read.fetch_add(out.len(), std::sync::atomic::Ordering::Relaxed);
        self.bytes.read_exact_at(offset, out)
    }
}

/// Proves D-75.
#[test]
fn a_part_of_a_large_value_costs_its_chunks_alone() {
    let value = noise(5 * MIB, 5);
    let built = build(7, options(), false, &[entry("large", 2, value.clone())]);
    let file = Counting { bytes: built.bytes, read: 0.into() };
    let log = Vlog::open(file, LocatorHints::default(), None).unwrap();
    let before = log.file().read.load(std::sync::atomic::Ordering::Relaxed);
    let found = log.get_range(&built.handles[0], b"large", 3_200_000..3_200_010).unwrap();
    assert_eq!(found, value[3_200_000..3_200_010]);
    let read = log.file().read.load(std::sync::atomic::Ordering::Relaxed) - before;
    assert!(read < MIB + 1000, "{read}");
}

/// Proves D-74.
#[test]
fn a_handle_that_leads_elsewhere_dangles() {
    let entries =
        [entry("a", 9, "one"), entry("b", 8, "two"), entry("c", 8, "long value"), entry("a", 7, "1st")];
    for sealed in [false, true] {
        let built = build(7, options(), sealed, &entries);
        let log = open(built.bytes, sealed).unwrap();
        let handle = built.handles[0];
        let check = |handle: ValueHandle, key: &[u8], expected: &[ErrorKind]| {
            let found = log.get(&handle, key).map_err(|error| error.kind());
            assert!(found.as_ref().is_err_and(|kind| expected.contains(kind)), "{handle:?}: {found:?}");
        };
        let dangling = &[ErrorKind::DanglingBlob][..];
        check(handle, b"b", dangling);
        check(built.handles[1], b"a", dangling);
        check(ValueHandle { file: VlogId::new(8), ..handle }, b"a", dangling);
        check(ValueHandle { offset: 0, ..handle }, b"a", dangling);
        check(ValueHandle { offset: u64::MAX - 100, ..handle }, b"a", dangling);
        check(ValueHandle { offset: log.meta().values_extent().end, ..handle }, b"a", dangling);
        check(ValueHandle { value_len: 4, ..handle }, b"a", dangling);
        check(ValueHandle { stored_len: u32::MAX, ..handle }, b"a", dangling);
        check(ValueHandle { value_len: 2 << 20, ..handle }, b"a", dangling);
        let corrupt = |at: ErrorKind| matches!(at, ErrorKind::Corruption(_));
        for bad in [
            ValueHandle { offset: 513, ..handle },
            ValueHandle { stored_len: handle.stored_len + 1, ..handle },
            ValueHandle { stored_len: 0, ..handle },
            ValueHandle { stored_len: 31, ..handle },
        ] {
            let found = log.get(&bad, b"a").unwrap_err();
            assert!(corrupt(found.kind()), "{bad:?}: {found:?}");
        }
    }
}

/// Proves D-72. Two values of one key and one length, each at the other's place: checks and seals see it.
#[test]
fn frames_are_bound_to_their_place() {
    let entries = [entry("key", 9, "new!"), entry("key", 7, "old!")];
    for sealed in [false, true] {
        let built = build(7, options(), sealed, &entries);
        let [new, old] = [built.handles[0], built.handles[1]];
        let mut swapped = built.bytes.clone();
        let part = |handle: ValueHandle| {
            let start = usize::try_from(handle.offset).unwrap();
            start..start + handle.stored_len as usize
        };
        swapped[part(new)].copy_from_slice(&built.bytes[part(old)]);
        swapped[part(old)].copy_from_slice(&built.bytes[part(new)]);
        let log = open(swapped, sealed).unwrap();
        for handle in [new, old] {
            assert!(log.get(&handle, b"key").unwrap_err().is_corruption());
        }
    }
}

/// Proves D-72. What a forger without the key can do: recompute all checks. The number that a frame has under the seal
/// follows from its place, so a frame does not open anywhere else.
#[test]
fn a_forged_place_does_not_open() {
    use lsm_block::FrameHeader;
    let entries = [entry("key", 9, "new!"), entry("key", 7, "old!")];
    let built = build(7, options(), true, &entries);
    let [new, old] = [built.handles[0], built.handles[1]];
    let identity = superblock(7).identity;
    let at = |handle: ValueHandle| usize::try_from(handle.offset).unwrap();
    let head =
        FrameHeader::decode(&identity, old.offset, lsm_block::BlockKind::VALUE, &built.bytes[at(old)..])
            .unwrap();
    let forged =
        FrameHeader::decode(&identity, new.offset, lsm_block::BlockKind::VALUE, &built.bytes[at(new)..])
            .unwrap();
    for ordinal in [head.ordinal, forged.ordinal] {
        let mut bytes = built.bytes.clone();
        let old_frame = built.bytes[at(old)..at(old) + old.stored_len as usize].to_vec();
        bytes[at(new)..at(new) + old_frame.len()].copy_from_slice(&old_frame);
        let header = FrameHeader { ordinal, ..head }.encode(&identity, new.offset);
        bytes[at(new)..at(new) + header.len()].copy_from_slice(&header);
        let error = open(bytes, true).unwrap().get(&new, b"key").unwrap_err();
        assert!(error.is_corruption(), "{error:?}");
        if ordinal == forged.ordinal {
            assert_eq!(error.kind(), ErrorKind::Tampered);
        }
    }
}

/// Proves D-72, D-77.
#[test]
fn copies_keep_their_codec_and_can_be_read() {
    let large = [text(MIB), noise(MIB + 5, 8)].concat();
    let entries = [samples(), vec![entry("large", 4, large)]].concat();
    let codecs = [Compression::None, Compression::Lz4, Compression::Zstd { level: 3 }];
    for (from, to) in [(codecs[1], codecs[2]), (codecs[2], codecs[0]), (codecs[0], codecs[1])] {
        for (from_sealed, to_sealed) in [(false, false), (false, true), (true, false), (true, true)] {
            let source = build(7, VlogOptions { compression: from, ..options() }, from_sealed, &entries);
            let log = open(source.bytes, from_sealed).unwrap();
            let mut target = builder(8, VlogOptions { compression: to, ..options() }, to_sealed);
            let first = target.add(b"aa", seqno(1), &text(900)).unwrap();
            let copied: Vec<_> = source
                .handles
                .iter()
                .zip(&entries)
                .map(|(handle, entry)| target.copy((log.meta(), log.file()), handle, &entry.key).unwrap())
                .collect();
            let (summary, bytes) = target.finish().unwrap();
            let all = [vec![entry("aa", 1, text(900))], entries.clone()].concat();
            let handles = [vec![first], copied].concat();
            check_all(&open(bytes, to_sealed).unwrap(), &handles, &all);
            let (before, after) = (source.summary.properties.codecs, summary.properties.codecs);
            let added = if to == Compression::None {
                (1, 0, 0)
            } else if to == Compression::Lz4 {
                (0, 1, 0)
            } else {
                (0, 0, 1)
            };
            assert_eq!(
                (after.raw, after.lz4, after.zstd),
                (before.raw + added.0, before.lz4 + added.1, before.zstd + added.2)
            );
        }
    }
}

#[test]
fn a_wrong_or_damaged_value_is_not_copied() {
    let entries = [entry("a", 9, "one"), entry("b", 8, text(2 * MIB))];
    let built = build(7, options(), false, &entries);
    let mut bytes = built.bytes.clone();
    bytes[512 + 45] ^= 1;
    let at = usize::try_from(built.handles[1].offset).unwrap() + MIB + MIB / 2;
    bytes[at] ^= 1;
    let damaged = open(bytes, false).unwrap();
    let log = open(built.bytes, false).unwrap();
    let mut target = builder(8, options(), false);
    let wrong = target.copy((log.meta(), log.file()), &built.handles[0], b"b").unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::DanglingBlob);
    assert!(
        target.copy((damaged.meta(), damaged.file()), &built.handles[0], b"a").unwrap_err().is_corruption()
    );
    // Nothing was written, so the writer goes on.
    assert_eq!(target.written_len(), 512);
    target.copy((log.meta(), log.file()), &built.handles[0], b"a").unwrap();
    assert!(
        target.copy((damaged.meta(), damaged.file()), &built.handles[1], b"b").unwrap_err().is_corruption()
    );
    // The first chunk was: the file is given up.
    assert_eq!(target.add(b"c", seqno(1), b"x").unwrap_err().kind(), ErrorKind::Poisoned);
    assert_eq!(target.finish().unwrap_err().kind(), ErrorKind::Poisoned);
}

#[test]
fn what_cannot_be_written_is_refused_and_harms_nothing() {
    let mut builder = builder(7, options(), false);
    let kind = |result: lsm_vlog::Result<ValueHandle>| result.unwrap_err().kind();
    assert_eq!(kind(builder.add(b"", seqno(1), b"x")), ErrorKind::InvalidKey);
    assert_eq!(kind(builder.add(&vec![0; MAX_KEY_LEN + 1], seqno(1), b"x")), ErrorKind::InvalidKey);
    assert_eq!(kind(builder.add(b"k", SeqNo::LATEST, b"x")), ErrorKind::SeqNoOutOfRange);
    assert_eq!(kind(builder.add(b"k", seqno(1), &vec![0; MAX_VALUE_LEN + 1])), ErrorKind::ValueTooLarge);
    assert!(builder.is_empty());
    let handle = builder.add(b"k", seqno(1), b"x").unwrap();
    let (_, bytes) = builder.finish().unwrap();
    check_all(&open(bytes, false).unwrap(), &[handle], &[entry("k", 1, "x")]);
}

#[test]
fn one_read_of_the_tail_opens_a_file_that_says_how_much() {
    let entries: Vec<_> = (0..5000).map(|at| entry(&format!("key-{at:05}"), at, noise(20, at + 1))).collect();
    let built = build(7, VlogOptions { directory_every: 1, ..options() }, false, &entries);
    assert!(built.summary.tail_len < 2000, "{}", built.summary.tail_len);
    let hints = LocatorHints { tail_len: built.summary.tail_len, ..LocatorHints::default() };
    let (mut opening, range) = OpenVlog::start(built.summary.file_len, hints, None).unwrap();
    let start = usize::try_from(range.offset).unwrap();
    assert!(matches!(opening.feed(built.bytes[start..].to_vec()).unwrap(), Step::Done(_)));
    let log = open(built.bytes, false).unwrap();
    let listed = log.meta().frame_directory(log.file()).unwrap();
    assert_eq!(listed.offsets(), built.handles.iter().map(|handle| handle.offset).collect::<Vec<_>>());
}

/// Proves D-77, F-57.
#[test]
fn a_sealed_file_needs_its_key_and_shows_nothing() {
    let entries = [entry("secret key", 9, text(2000)), entry("secret kez", 8, [text(MIB), text(9)].concat())];
    for compression in [Compression::None, Compression::Lz4] {
        let built = build(7, VlogOptions { compression, ..options() }, true, &entries);
        for plain in [&b"secret"[..], b"quick brown"] {
            assert!(!built.bytes.windows(plain.len()).any(|window| window == plain));
        }
        assert_eq!(open(built.bytes, false).unwrap_err().kind(), ErrorKind::KeyRequired);
    }
    let plain = build(7, options(), false, &entries);
    let error = Vlog::open(plain.bytes, LocatorHints::default(), Some(encryption())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PlaintextRejected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_values_come_back(
        entries in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 1..20), 0_u64..99, prop::collection::vec(0_u8..4, 0..600)),
            0..40,
        ),
        sealed in any::<bool>(), compress in any::<bool>(), every in 1_u32..5, buffer in 1_usize..3000,
    ) {
        let entries: Vec<_> = entries.into_iter().map(|(key, seqno, value)| Entry { key, seqno, value }).collect();
        let compression = if compress { Compression::Lz4 } else { Compression::None };
        let options = VlogOptions { compression, directory_every: every, write_buffer_bytes: buffer, ..options() };
        check(options, sealed, &entries);
    }
}

#[test]
fn the_ends_of_the_keys_follow_the_order() {
    struct Reverse;
    impl lsm_types::Comparator for Reverse {
        fn name(&self) -> &'static str {
            "test.reverse"
        }
        fn compare(&self, a: &[u8], b: &[u8]) -> std::cmp::Ordering {
            b.cmp(a)
        }
    }
    let order = KeyOrder::new(std::sync::Arc::new(Reverse));
    let entries = [entry("b", 1, "x"), entry("c", 1, "x"), entry("a", 1, "x")];
    let built = build(7, VlogOptions { order: order.clone(), ..options() }, false, &entries);
    let keys = built.summary.properties.keys.clone().unwrap();
    assert_eq!((&keys.0[..], &keys.1[..]), (&b"c"[..], &b"a"[..]));
    let log = open(built.bytes, false).unwrap();
    assert_eq!(log.verify(Some(&order), &mut |error| panic!("{error:?}")).unwrap().values, 3);
}
