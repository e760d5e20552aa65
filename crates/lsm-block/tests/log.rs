//! Records of logs: round trips, damage at every byte, tears at every length, and the verdicts of D-48.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper's panic fails the test")]

mod common;

use std::{borrow::Cow, ops::Range};

use common::{Dice, identity, noise, text};
use lsm_block::{
    BlockError, Checksum, FileIdentity, FrameHeader, FrameReader, Superblock, Transforms, Walk, Walked,
    log::{LogEncoder, LogFormat, LogPosition, LogScanner, MAX_RECORD_LEN, RecordSpan, Tail},
};
use lsm_types::{EditIndex, ErrorKind, Fault, FileKind, UnixNanos};
use proptest::prelude::*;

fn manifest(uuid: u8) -> FileIdentity {
    FileIdentity { kind: FileKind::Manifest, ..identity(uuid) }
}

/// A log and what was written into it.
struct Log {
    format: LogFormat,
    bytes: Vec<u8>,
    bodies: Vec<Vec<u8>>,
    spans: Vec<RecordSpan>,
}

impl Log {
    /// * `lag`: how far the durable hint of a record lies behind its index.
    fn write(format: LogFormat, bodies: Vec<Vec<u8>>, lag: u64) -> Self {
        let head = Superblock::new(manifest(1), UnixNanos::new(1), EditIndex::new(1));
        let mut bytes = head.encode().to_vec();
        let mut encoder = LogEncoder::new(manifest(1), Transforms::default(), format, LogPosition::START);
        let mut spans = Vec::new();
        for body in &bodies {
            let durable = encoder.position().index.saturating_sub(lag);
            let span = encoder.encode(durable, body, &mut bytes).unwrap();
            assert_eq!(span.end, bytes.len() as u64);
            spans.push(span);
        }
        Self { format, bytes, bodies, spans }
    }

    fn scanner<'a>(&self, bytes: &'a [u8]) -> LogScanner<'a> {
        scanner(self.format, bytes).anchored(LogPosition::START)
    }

    /// The bodies read, which must be a prefix of those written, and the verdict.
    #[track_caller]
    fn read(&self, bytes: &[u8], frontier: u64) -> (usize, Tail) {
        let mut scanner = self.scanner(bytes);
        let mut count = 0;
        for record in scanner.by_ref() {
            assert_eq!(record.body, self.bodies[count]);
            assert_eq!((record.index, record.end), (self.spans[count].index, self.spans[count].end));
            count += 1;
        }
        (count, scanner.tail(frontier))
    }

    fn end_of(&self, count: usize) -> u64 {
        count.checked_sub(1).map_or(512, |last| self.spans[last].end)
    }
}

fn scanner(format: LogFormat, bytes: &[u8]) -> LogScanner<'_> {
    LogScanner::new(manifest(1), Transforms::default(), format, bytes, 512)
}

fn small_bodies(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| noise(20 + i * 7 % 90, i as u64)).collect()
}

fn start_of(log: &Log, record: usize) -> usize {
    usize::try_from(log.spans[record].start).unwrap()
}

#[test]
fn records_of_all_lengths_round_trip() {
    for format in [LogFormat::MANIFEST, LogFormat::WAL] {
        let block = usize::try_from(format.block_len()).unwrap();
        let mut lens = vec![0, 1, 3000, 0, block, 3 * block + 17, 1, 100_000];
        // Ends near a border, one byte further each time.
        lens.extend((0..200).map(|i| block - 32 - 28 - 150 + i));
        let log = Log::write(format, lens.iter().map(|&len| noise(len, len as u64)).collect(), 1);
        assert_eq!(log.read(&log.bytes, 0), (lens.len(), Tail::Clean { at: log.bytes.len() as u64 }));

        let mut preallocated = log.bytes.clone();
        preallocated.resize(log.bytes.len() + 70_000, 0);
        assert_eq!(log.read(&preallocated, 0), (lens.len(), Tail::Clean { at: log.bytes.len() as u64 }));

        // A whole record is not copied.
        let first = log.scanner(&log.bytes).nth(1).unwrap();
        assert!(matches!(first.body, Cow::Borrowed(_)));
    }
}

/// No frame crosses a border, borders are zero-filled, ordinals rise, and the general walker reads the file.
///
/// Proves D-37.
#[test]
fn frames_stay_within_physical_blocks() {
    let bodies = (0..300).map(|i| noise(i * 37 % 9000, i as u64)).collect();
    let log = Log::write(LogFormat::MANIFEST, bodies, 1);
    let reader = FrameReader::new(manifest(1), Transforms::default());
    let mut ordinals = 0..;
    for step in Walk::new(&log.bytes[..], reader, 512..log.bytes.len() as u64) {
        match step.unwrap() {
            Walked::Frame { header, mark } => {
                assert_eq!(header.ordinal, ordinals.next().unwrap());
                let last = mark.handle.end().unwrap() - 1;
                assert_eq!(mark.handle.offset / 4096, last / 4096);
            }
            Walked::Zeros { extent } => {
                assert!(extent.end - extent.start < 64 && extent.end % 4096 == 0);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(ordinals.next().unwrap() > 300);
}

/// Proves D-48 for manifests: each record is synced before the next, so damage before the last record is
/// corruption, in the last a torn tail; whatever the byte.
#[test]
fn every_flipped_byte_of_a_manifest_gets_its_verdict() {
    let mut bodies = small_bodies(40);
    bodies[7] = noise(9000, 7);
    bodies[30] = noise(5000, 30);
    // No record's hint says anything about the others: that records follow is proof enough.
    let log = Log::write(LogFormat::MANIFEST, bodies, 100);
    let last = log.spans.len() - 1;
    let fill = fill(&log);
    for (record, span) in log.spans.iter().enumerate() {
        for at in start_of(&log, record)..usize::try_from(span.end).unwrap() {
            let mut changed = log.bytes.clone();
            changed[at] ^= 0x04;
            let (count, tail) = log.read(&changed, 0);
            if fill.iter().any(|extent| extent.contains(&(at as u64))) {
                assert_eq!(count, log.bodies.len(), "zero-filling holds nothing");
                continue;
            }
            assert_eq!(count, record, "byte {at}");
            let (start, index) = (log.end_of(record), record as u64 + 1);
            match tail {
                Tail::Torn { at, index: i } => assert_eq!((record, at, i), (last, start, index)),
                Tail::Corrupt { at: found, index: i, why } => {
                    assert!(record < last && why.is_some(), "byte {at}");
                    assert_eq!((found, i), (start, index));
                }
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
}

/// The bytes that belong to no frame.
fn fill(log: &Log) -> Vec<Range<u64>> {
    let reader = FrameReader::new(manifest(1), Transforms::default());
    let zeros = |step| match step {
        Ok(Walked::Zeros { extent }) => Some(extent),
        _ => None,
    };
    Walk::new(&log.bytes[..], reader, 512..log.bytes.len() as u64).filter_map(zeros).collect()
}

/// Proves D-48 for write-ahead logs: a hole whose successors never said it was durable is an unsynced gap; one
/// they vouch for is corruption.
#[test]
fn hints_of_later_records_decide_over_a_gap() {
    for (lag, record, corrupt) in [
        (1, 10, true),   // the next record says that this one is durable
        (5, 10, true),   // record 15 says it
        (50, 10, false), // nobody says it
        (5, 35, false),  // the four records behind say nothing about it
        (4, 35, true),
    ] {
        let log = Log::write(LogFormat::WAL, small_bodies(40), lag);
        let start = start_of(&log, record);
        let mut changed = log.bytes.clone();
        changed[start..start + 20].fill(0);
        let (count, tail) = log.read(&changed, 0);
        assert_eq!(count, record);
        let (at, index) = (log.end_of(record), record as u64 + 1);
        if corrupt {
            assert!(matches!(tail, Tail::Corrupt { at: a, index: i, .. } if (a, i) == (at, index)), "{lag}");
        } else {
            assert_eq!(tail, Tail::UnsyncedGap { at, index }, "{lag}");
        }
        // What is known from elsewhere to be durable makes it corruption, from the record itself on.
        assert!(matches!(log.read(&changed, index).1, Tail::Corrupt { .. }));
        assert_eq!(log.read(&changed, index - 1).1, tail);
    }
}

/// A log that ends too early is only found out from outside.
///
/// Proves D-48 for independent frontiers.
#[test]
fn a_frontier_beyond_a_clean_end_is_corruption() {
    let log = Log::write(LogFormat::MANIFEST, small_bodies(5), 1);
    assert_eq!(log.read(&log.bytes, 5).1, Tail::Clean { at: log.bytes.len() as u64 });
    assert!(matches!(
        log.read(&log.bytes, 6).1,
        Tail::Corrupt { index: 6, why: None, .. } | Tail::Corrupt { index: 6, .. }
    ));
    let cut = usize::try_from(log.spans[3].end).unwrap();
    assert_eq!(log.read(&log.bytes[..cut], 4).1, Tail::Clean { at: cut as u64 });
    assert!(matches!(log.read(&log.bytes[..cut], 5).1, Tail::Corrupt { index: 5, .. }));
}

/// Proves D-48 for torn tails: cut at every byte, and cut into preallocated zeros, the records before the cut are
/// read and the rest is a torn tail, or nothing when the cut falls between records.
#[test]
fn a_log_cut_at_any_byte_is_a_clean_prefix() {
    let mut bodies = small_bodies(8);
    bodies[4] = noise(5000, 4);
    bodies[7] = text(2500);
    let log = Log::write(LogFormat::MANIFEST, bodies, 1);
    for cut in 512..=log.bytes.len() {
        let whole = log.spans.iter().filter(|span| span.end <= cut as u64).count();
        let at = log.end_of(whole);
        let zeros_only = log.bytes[usize::try_from(at).unwrap()..cut].iter().all(|&byte| byte == 0);
        let expected =
            if zeros_only { Tail::Clean { at } } else { Tail::Torn { at, index: whole as u64 + 1 } };
        assert_eq!(log.read(&log.bytes[..cut], 0), (whole, expected), "cut at {cut}");

        let mut zeroed = log.bytes.clone();
        zeroed[cut..].fill(0);
        zeroed.resize(log.bytes.len() + 5000, 0);
        // Zeros may be what stood there: then the record is whole.
        let (count, tail) = log.read(&zeroed, 0);
        assert!(count >= whole);
        if count == whole {
            assert_eq!(tail, expected, "cut at {cut}");
        }
    }
}

/// The later pieces of a torn record are no later record: it is torn, not damaged.
#[test]
fn pieces_of_the_torn_record_itself_prove_nothing() {
    let mut bodies = small_bodies(3);
    // Each piece of this body would pass for the head of a record.
    bodies[2] = vec![1; 20_000];
    let log = Log::write(LogFormat::MANIFEST, bodies, 1);
    let start = start_of(&log, 2);
    let mut changed = log.bytes.clone();
    changed[start..start + 40].fill(0);
    assert_eq!(log.read(&changed, 0), (2, Tail::Torn { at: start as u64, index: 3 }));
}

/// Duplicated, dropped, swapped and foreign records are refused with their index, even where every frame is good.
///
/// Proves D-38 as far as framing goes.
#[test]
fn records_out_of_order_are_refused() {
    // Re-encode records with chosen index and chain, as a splicer with all the checks would.
    let splice = |edits: &[(u64, u64, &[u8])]| {
        let mut bytes = vec![0; 512];
        let mut position = LogPosition::START;
        for &(index, chain, body) in edits {
            let chosen = LogPosition { index, chain, ..position };
            let mut encoder =
                LogEncoder::new(manifest(1), Transforms::default(), LogFormat::MANIFEST, chosen);
            encoder.encode(0, body, &mut bytes).unwrap();
            position = encoder.position();
        }
        (bytes, position)
    };
    let chain_after = |edits: &[(u64, u64, &[u8])]| splice(edits).1.chain;
    let first = (1, 0, &b"one"[..]);
    let second = (2, chain_after(&[first]), &b"two"[..]);
    let third = (3, chain_after(&[second]), &b"three"[..]);
    let cases: [(&[_], usize); 7] = [
        (&[first, second, third], 3),
        (&[first, first, second], 1),
        (&[first, third], 1),
        (&[second, first, third], 0),
        (&[first, second, (3, 77, b"foreign")], 2),
        (&[first, second, (4, third.1, b"three")], 2),
        (&[first, (2, second.1 ^ 1, b"two"), third], 1),
    ];
    for (edits, good) in cases {
        let (bytes, _) = splice(edits);
        let mut scanner = scanner(LogFormat::MANIFEST, &bytes).anchored(LogPosition::START);
        assert_eq!(scanner.by_ref().count(), good);
        match scanner.tail(0) {
            Tail::Clean { .. } => assert_eq!(good, edits.len()),
            Tail::Corrupt { index, why, .. } => {
                assert_eq!(index, good as u64 + 1);
                assert!(matches!(why, Some(BlockError::Corrupt { .. })));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Frames that verify but whose numbers do not rise were not written one after the other.
///
/// Proves D-37 for ordinals.
#[test]
fn numbers_of_frames_only_rise() {
    let log = Log::write(LogFormat::MANIFEST, vec![b"a".to_vec(), noise(6000, 1), b"c".to_vec()], 1);
    let reader = FrameReader::new(manifest(1), Transforms::default());
    let frames: Vec<_> = Walk::new(&log.bytes[..], reader, 512..log.bytes.len() as u64)
        .filter_map(|step| match step.unwrap() {
            Walked::Frame { header, mark } => Some((header, mark.handle.offset)),
            _ => None,
        })
        .collect();
    assert_eq!(frames.len(), 4);
    let with_ordinal = |frame: usize, ordinal: u32| {
        let (header, offset) = frames[frame];
        let mut bytes = log.bytes.clone();
        let at = usize::try_from(offset).unwrap();
        let header = FrameHeader { ordinal, ..header };
        bytes[at..at + 32].copy_from_slice(&header.encode(&manifest(1), offset));
        log.scanner(&bytes).count()
    };
    assert_eq!([0, 1, 2, 3].map(|frame| with_ordinal(frame, frame.try_into().unwrap())), [3; 4]);
    assert_eq!([(1, 0), (2, 1), (3, 2)].map(|(frame, ordinal)| with_ordinal(frame, ordinal)), [1, 1, 2]);
    assert_eq!(with_ordinal(3, 100), 3);
}

/// Without an anchor any first record is taken; the chain holds from there.
#[test]
fn a_log_may_begin_at_any_index() {
    let start = LogPosition { index: 1000, chain: 0xABCD, ..LogPosition::START };
    let mut bytes = vec![0; 512];
    let mut encoder = LogEncoder::new(manifest(1), Transforms::default(), LogFormat::WAL, start);
    encoder.encode(0, b"a", &mut bytes).unwrap();
    encoder.encode(0, b"b", &mut bytes).unwrap();
    let mut any = scanner(LogFormat::WAL, &bytes);
    let indexes: Vec<_> = any.by_ref().map(|record| (record.index, record.chain)).collect();
    assert_eq!((indexes.len(), indexes[0]), (2, (1000, 0xABCD)));
    assert_eq!(any.position(), encoder.position());
    assert_eq!(scanner(LogFormat::WAL, &bytes).anchored(LogPosition::START).count(), 0);
    assert_eq!(scanner(LogFormat::WAL, &bytes).anchored(start).count(), 2);
}

/// Bytes of an earlier life of the file, with another identity, never verify; nor does a log of the other kind.
///
/// Proves D-37 for stale bytes.
#[test]
fn bytes_of_an_earlier_life_never_verify() {
    let log = Log::write(LogFormat::WAL, small_bodies(30), 1);
    let mut stale = log.bytes.clone();
    let mut encoder = LogEncoder::new(manifest(2), Transforms::default(), LogFormat::WAL, LogPosition::START);
    let mut fresh = Vec::new();
    encoder.encode(0, b"first of the new life", &mut fresh).unwrap();
    stale[512..512 + fresh.len()].copy_from_slice(&fresh);
    let mut scanner = LogScanner::new(manifest(2), Transforms::default(), LogFormat::WAL, &stale, 512);
    assert_eq!(scanner.by_ref().count(), 1);
    assert_eq!(scanner.tail(0), Tail::Torn { at: 512 + fresh.len() as u64, index: 2 });

    let mut other = self::scanner(LogFormat::MANIFEST, &log.bytes);
    assert_eq!(other.by_ref().count(), 0);
}

/// After a failed append the file is cut back; numbers of frames are not used twice.
#[test]
fn cutting_back_skips_ordinals() {
    let mut bytes = vec![0; 512];
    let mut encoder =
        LogEncoder::new(manifest(1), Transforms::default(), LogFormat::MANIFEST, LogPosition::START);
    encoder.encode(0, b"kept", &mut bytes).unwrap();
    let (before, len) = (encoder.position(), bytes.len());
    encoder.encode(0, &noise(10_000, 1), &mut bytes).unwrap();
    let used = encoder.position().ordinal;
    encoder.cut_back(before);
    bytes.truncate(len);
    let span = encoder.encode(0, b"instead", &mut bytes).unwrap();
    assert_eq!((span.index, span.start), (2, before.offset));
    let header = FrameHeader::decode(
        &manifest(1),
        span.start,
        lsm_block::BlockKind::MANIFEST_WHOLE,
        &bytes[usize::try_from(span.start).unwrap()..],
    );
    assert_eq!(header.unwrap().ordinal, used);
    let bodies: Vec<_> =
        scanner(LogFormat::MANIFEST, &bytes).map(|record| record.body.into_owned()).collect();
    assert_eq!(bodies, [b"kept".to_vec(), b"instead".to_vec()]);
}

/// Salvage goes on at the next record behind damage and reads everything else.
#[test]
fn salvage_passes_over_one_damaged_record() {
    let mut bodies = small_bodies(30);
    bodies[9] = noise(10_000, 9);
    let log = Log::write(LogFormat::MANIFEST, bodies, 1);
    for (damaged, span) in log.spans.iter().enumerate() {
        let mut changed = log.bytes.clone();
        let last = usize::try_from(span.end).unwrap() - 1;
        changed[last] ^= 1;
        let mut scanner = log.scanner(&changed);
        let mut indexes: Vec<_> = scanner.by_ref().map(|record| record.index).collect();
        match scanner.resync() {
            Some(passed) => {
                assert_eq!(passed.start, log.end_of(damaged));
                indexes.extend(scanner.by_ref().map(|record| record.index));
            }
            None => assert_eq!(damaged, 29),
        }
        let expected: Vec<_> = (1..=30).filter(|&index| index != damaged as u64 + 1).collect();
        assert_eq!(indexes, expected);
        assert_eq!(scanner.resync(), None);
    }
}

#[test]
fn a_record_over_the_limit_is_refused_and_leaves_no_trace() {
    let mut encoder = LogEncoder::new(manifest(1), Transforms::default(), LogFormat::WAL, LogPosition::START);
    let mut out = Vec::new();
    let error = encoder.encode(0, &vec![0; MAX_RECORD_LEN + 1], &mut out).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EntryTooLarge);
    assert_eq!((out.len(), encoder.position()), (0, LogPosition::START));

    let full = LogPosition { ordinal: u32::MAX - 1, ..LogPosition::START };
    let mut encoder = LogEncoder::new(manifest(1), Transforms::default(), LogFormat::WAL, full);
    encoder.encode(0, b"x", &mut out).unwrap_err();
    assert_eq!((out.len(), encoder.position()), (0, full));
}

/// Lies behind good checks: a head that claims another length, a compressed or unknown frame.
#[test]
fn lies_behind_good_checks_are_refused() {
    let log = Log::write(LogFormat::MANIFEST, vec![b"body".to_vec(), b"next".to_vec()], 1);
    let honest =
        FrameHeader::decode(&manifest(1), 512, lsm_block::BlockKind::MANIFEST_WHOLE, &log.bytes[512..])
            .unwrap();
    let forge = |header: FrameHeader, payload: &[u8]| {
        let mut bytes = log.bytes.clone();
        let header = FrameHeader { check: Checksum::Xxh3.of(payload), ..header };
        bytes[512..544].copy_from_slice(&header.encode(&manifest(1), 512));
        bytes[544..544 + payload.len()].copy_from_slice(payload);
        log.read(&bytes, 0)
    };
    let payload = &log.bytes[544..576];
    assert_eq!(forge(honest, payload).0, 2);
    for body_len in [0_u32, 3, 5, u32::MAX] {
        let mut lie = payload.to_vec();
        lie[24..28].copy_from_slice(&body_len.to_le_bytes());
        let (count, tail) = forge(honest, &lie);
        assert!(count == 0 && matches!(tail, Tail::Corrupt { index: 1, .. }), "{body_len}");
    }
    let mut wrapped = payload.to_vec();
    wrapped[..8].fill(0xFF);
    assert_eq!(forge(honest, &wrapped).0, 0);
    for header in [
        FrameHeader { flags: 1, codec: 1, logical_len: 1000, ..honest },
        FrameHeader { flags: 4, ..honest },
        FrameHeader { encoding: 2, ..honest },
    ] {
        let (count, tail) = forge(header, payload);
        let Tail::Corrupt { why: Some(why), .. } = tail else { panic!("{tail:?}") };
        assert_eq!((count, why.kind()), (0, ErrorKind::UnsupportedFormat));
    }
    // Piece kinds that do not make a record.
    for kind in 41..44 {
        let header = FrameHeader { kind: lsm_block::BlockKind::from_code(kind), ..honest };
        assert_eq!(forge(header, payload).0, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_records_round_trip(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..12),
        wal in any::<bool>(),
    ) {
        let format = if wal { LogFormat::WAL } else { LogFormat::MANIFEST };
        let log = Log::write(format, bodies, 2);
        let at = log.bytes.len() as u64;
        prop_assert_eq!(log.read(&log.bytes, 0), (log.bodies.len(), Tail::Clean { at }));
    }

    /// Proves L-4 as far as one file goes: whatever happens to the bytes, what is read is a prefix of what was
    /// written.
    #[test]
    fn mutated_logs_give_a_prefix_and_a_verdict(seed in any::<u64>()) {
        let mut dice = Dice::new(seed);
        let format = if seed % 2 == 0 { LogFormat::WAL } else { LogFormat::MANIFEST };
        let mut bodies = small_bodies(20);
        bodies[5] = noise(9000, 5);
        let log = Log::write(format, bodies, 3);
        for _ in 0..20 {
            let mut changed = log.bytes.clone();
            dice.mutate(&mut changed);
            log.read(&changed, 0);
            let mut scanner = scanner(format, &changed);
            while scanner.resync().is_some() {}
        }
    }
}
