//! Damaged files: the same content or a typed error, and a full check that misses nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::{Built, Entry, build, entry, noise, open, options, text};
use lsm_block::BlockKind;
use lsm_codec::Compression;
use lsm_types::{
    CorruptionKind, Error, ErrorKind, IoError, IoKind, IoOp, KeyOrder, ReadAt, Slice, ValueHandle,
};
use lsm_vlog::{
    CheckDepth, LocatorHints, ValuePayload, Vlog, VlogOptions, chunk_map::ChunkMap,
    frame_directory::FrameDirectory, properties::Properties,
};
use proptest::prelude::*;

fn small() -> Vec<Entry> {
    vec![
        entry("a", 9, "one"),
        entry("a", 7, "two"),
        entry("b", 8, ""),
        entry("c", 1, text(300)),
        entry("d", 1, noise(100, 3)),
    ]
}

fn sample(sealed: bool) -> Built {
    build(7, VlogOptions { compression: Compression::Lz4, ..options() }, sealed, &small())
}

/// Two values, the second one in chunks.
fn large(sealed: bool) -> (Built, Vec<Entry>) {
    let entries = vec![entry("a", 9, "one"), entry("b", 1, noise((1 << 20) + 3000, 4))];
    (build(7, options(), sealed, &entries), entries)
}

/// Everything a reader can get out of a file.
fn content(
    bytes: Vec<u8>,
    sealed: bool,
    handles: &[ValueHandle],
    entries: &[Entry],
) -> Vec<Result<(), Error>> {
    let log = match open(bytes, sealed) {
        Ok(log) => log,
        Err(error) => return vec![Err(error)],
    };
    let mut found = Vec::new();
    for (handle, entry) in handles.iter().zip(entries) {
        found.push(log.get(handle, &entry.key).map(|value| assert_eq!(value, entry.value[..])));
    }
    let mut scanned = log.scan();
    for (handle, entry) in handles.iter().zip(entries) {
        match scanned.next() {
            Some(Ok(value)) => {
                assert_eq!((&value.key[..], value.seqno.get()), (&entry.key[..], entry.seqno));
                assert_eq!(value.handle, *handle);
            }
            Some(Err(error)) => {
                found.push(Err(error));
                assert!(scanned.next().is_none(), "a scan ends with its first error");
                return found;
            }
            None => panic!("a scan ends early without an error"),
        }
    }
    assert!(scanned.next().is_none());
    found
}

#[track_caller]
fn check_kinds(found: Vec<Result<(), Error>>, at: usize) {
    for error in found.into_iter().filter_map(Result::err) {
        let kind = error.kind();
        let is_typed = error.is_corruption()
            || matches!(kind, ErrorKind::UnsupportedFormat | ErrorKind::NotOurs | ErrorKind::WrongKey)
            || matches!(kind, ErrorKind::KeyRequired | ErrorKind::UnknownKey | ErrorKind::PlaintextRejected);
        assert!(is_typed, "byte {at}: {error:?}");
    }
}

/// Where the gap of zeros between the copies of the metadata begins.
fn gap(bytes: &[u8]) -> usize {
    bytes.windows(4096).position(|window| window.iter().all(|&byte| byte == 0)).unwrap()
}

/// Proves D-74, F-29.
#[test]
fn every_flipped_byte_gives_the_same_values_or_an_error() {
    for sealed in [false, true] {
        let built = sample(sealed);
        let gap = gap(&built.bytes);
        for at in (0..gap + 64).chain(gap + (64 << 10)..built.bytes.len()) {
            let mut damaged = built.bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let found = content(damaged, sealed, &built.handles, &small());
            let data = 512..usize::try_from(built.handles[4].end().unwrap()).unwrap();
            if data.contains(&at) {
                assert_eq!(
                    found.iter().filter(|result| result.is_err()).count(),
                    2,
                    "byte {at}: get and scan"
                );
            }
            check_kinds(found, at);
        }
    }
}

/// Proves D-74, D-75.
#[test]
fn flipped_bytes_of_large_values_are_found() {
    for sealed in [false, true] {
        let (built, entries) = large(sealed);
        let (start, end) = (built.handles[1].offset, built.handles[1].end().unwrap());
        let (start, end) = (usize::try_from(start).unwrap(), usize::try_from(end).unwrap());
        let second = start + (1 << 20) + 42;
        for at in (start..start + 60).chain(second..second + 60).chain(end - 80..end).chain([start + 70_000])
        {
            let mut damaged = built.bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let found = content(damaged, sealed, &built.handles, &entries);
            assert!(found[1].is_err(), "byte {at}");
            check_kinds(found, at);
        }
    }
}

/// Proves D-74.
#[test]
fn every_truncation_is_refused_or_loses_nothing() {
    let built = sample(false);
    for len in
        (0..built.bytes.len()).filter(|len| len % 97 == 0 || *len < 700 || built.bytes.len() - len < 700)
    {
        let found = content(built.bytes[..len].to_vec(), false, &built.handles, &small());
        check_kinds(found, len);
    }
    let found = content(built.bytes[..575].to_vec(), false, &built.handles, &small());
    assert_eq!(found[0].as_ref().unwrap_err().kind(), ErrorKind::Truncated);
}

/// Proves D-74, F-122. Two files of one database that changed names.
#[test]
fn another_file_under_this_name_is_refused() {
    let (one, other) = (build(7, options(), false, &small()), build(8, options(), false, &small()));
    let identity = common::superblock(7).identity;
    let hints = LocatorHints { identity: Some(identity), ..LocatorHints::default() };
    assert!(Vlog::open(one.bytes, hints, None).is_ok());
    let error = Vlog::open(other.bytes.clone(), hints, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileIdentityMismatch);
    // Opened as what it is, its values are not those of the other's handles.
    let log = open(other.bytes, false).unwrap();
    assert_eq!(log.get(&one.handles[0], b"a").unwrap_err().kind(), ErrorKind::DanglingBlob);
}

/// Proves F-10 for value logs.
#[test]
fn any_lost_sector_of_the_metadata_leaves_the_values_readable() {
    let built = sample(false);
    let start = gap(&built.bytes) & !4095;
    for sector in (start.max(4096)..built.bytes.len()).step_by(4096) {
        let mut damaged = built.bytes.clone();
        let end = (sector + 4096).min(built.bytes.len());
        let was_zero = damaged[sector..end].iter().all(|&byte| byte == 0);
        damaged[sector..end].fill(0xA5);
        let log = open(damaged, false).unwrap();
        assert!(was_zero || !log.meta().detours().is_empty(), "damage at {sector} goes unreported");
        common::check_values(&log, &built.handles, &small());
    }
}

#[test]
fn both_copies_of_the_properties_lost_refuse_the_file() {
    let built = sample(false);
    let log = open(built.bytes.clone(), false).unwrap();
    let directory = log.meta().directory();
    let kind = BlockKind::PROPERTIES;
    let (primary, mirror) = (directory.primary(kind).unwrap(), directory.mirror(kind).unwrap());
    assert!(primary.offset - mirror.offset >= 64 << 10);
    let mut damaged = built.bytes.clone();
    damaged[usize::try_from(primary.offset).unwrap() + 40] ^= 1;
    let mended = open(damaged.clone(), false).unwrap();
    assert_eq!(mended.meta().detours().len(), 1);
    common::check_values(&mended, &built.handles, &small());
    damaged[usize::try_from(mirror.offset).unwrap() + 40] ^= 1;
    let error = open(damaged, false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption(CorruptionKind::PayloadCheck));
    assert_eq!(error.location().unwrap().offset, primary.offset);
}

/// Proves F-21: a full check of a good file finds nothing, and of one with any byte flipped something.
#[test]
fn a_full_check_misses_no_flipped_byte() {
    for sealed in [false, true] {
        let built = sample(sealed);
        let gap = gap(&built.bytes);
        for at in (0..gap).chain(gap + (64 << 10)..built.bytes.len()).step_by(3) {
            let mut damaged = built.bytes.clone();
            damaged[at] ^= 0x10;
            let Ok(log) = open(damaged, sealed) else { continue };
            let mut findings = log.meta().detours().len() as u64;
            findings += log.verify(Some(&KeyOrder::bytewise()), &mut |_| ()).unwrap().findings;
            assert!(findings > 0, "byte {at} goes unnoticed");
        }
    }
    let (built, _) = large(false);
    let at = usize::try_from(built.handles[1].offset).unwrap();
    for at in [at + 3, at + 500, at + (1 << 20) + 700] {
        let mut damaged = built.bytes.clone();
        damaged[at] ^= 0x10;
        let log = open(damaged, false).unwrap();
        assert!(log.verify(None, &mut |_| ()).unwrap().findings > 0);
    }
}

/// Proves C-126, F-138: of a file whose values in front of a frontier are gone the rest is checked, and no byte of it flips
/// unnoticed; where a frame is named as the frontier and none begins there, that is told.
#[test]
fn what_is_left_behind_a_frontier_is_checked() {
    for sealed in [false, true] {
        let built = sample(sealed);
        let (gap, order) = (gap(&built.bytes), KeyOrder::bytewise());
        let check = |bytes: Vec<u8>, frontier: u64| {
            let log = open(bytes, sealed).ok()?;
            let checks = (CheckDepth::Values, Some(&order));
            let verified = log.verify_rest(frontier, checks, &mut |_, _| ()).unwrap();
            Some((verified.values, verified.findings + log.meta().detours().len() as u64))
        };
        for (nth, handle) in built.handles.iter().enumerate() {
            let mut bytes = built.bytes.clone();
            let start = usize::try_from(handle.offset).unwrap();
            bytes[512..start].fill(0);
            assert_eq!(check(bytes.clone(), handle.offset), Some(((built.handles.len() - nth) as u64, 0)));
            if nth > 0 {
                assert!(check(bytes.clone(), 512).unwrap().1 > 0, "without the frontier it is damage");
            }
            for at in (start..gap).chain(gap + (64 << 10)..bytes.len()).step_by(5) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x10;
                let found = check(damaged, handle.offset).is_none_or(|(_, findings)| findings > 0);
                assert!(found, "byte {at} goes unnoticed");
            }
        }
        assert!(check(built.bytes.clone(), built.handles[2].offset + 8).unwrap().1 > 0);
    }
}

/// A source that counts reads and can be told to fail one.
struct Flaky {
    bytes: Vec<u8>,
    reads: AtomicUsize,
    fail_at: usize,
}

impl ReadAt for Flaky {
    fn len(&self) -> Result<u64, IoError> {
        ReadAt::len(&self.bytes)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        if self.reads.fetch_add(1, Relaxed) == self.fail_at {
            return Err(IoError::new(IoOp::Read, IoKind::Other));
        }
        self.bytes.read_exact_at(offset, out)
    }
}

#[test]
fn a_value_takes_one_read_and_a_failed_one_is_told() {
    let (built, entries) = large(false);
    let flaky = |fail_at| Flaky { bytes: built.bytes.clone(), reads: 0.into(), fail_at };
    let log = Vlog::open(flaky(usize::MAX), LocatorHints::default(), None).unwrap();
    let opened = log.file().reads.load(Relaxed);
    assert_eq!(opened, 1);
    log.get(&built.handles[0], b"a").unwrap();
    assert_eq!(log.file().reads.load(Relaxed), opened + 1);
    log.get(&built.handles[1], b"b").unwrap();
    assert_eq!(log.file().reads.load(Relaxed), opened + 1 + 3);
    for fail_at in opened..opened + 4 {
        let log = Vlog::open(flaky(fail_at), LocatorHints::default(), None).unwrap();
        let found = built.handles.iter().zip(&entries).map(|(handle, entry)| log.get(handle, &entry.key));
        let failed: Vec<_> = found.filter_map(Result::err).map(|error| error.kind()).collect();
        assert_eq!(failed, [ErrorKind::Io]);
    }
}

/// Without the key a sealed file can still be walked and checked, frame by frame.
#[test]
fn frames_of_a_sealed_file_are_checked_without_a_key() {
    let built = sample(true);
    let log = open(built.bytes.clone(), true).unwrap();
    let walk = |bytes: &Vec<u8>| {
        let steps = lsm_block::Walk::file(bytes, log.meta().superblock()).unwrap();
        steps.filter(|step| matches!(step, Ok(lsm_block::Walked::Frame { .. }))).count()
    };
    let frames = log.meta().directory().frames as usize;
    assert_eq!(walk(&built.bytes), frames);
    let mut damaged = built.bytes.clone();
    damaged[512 + 40] ^= 1;
    assert_eq!(walk(&damaged), frames - 1);
}

proptest! {
    /// Proves F-29, F-30: hostile payloads behind good checks.
    #[test]
    fn decoders_take_anything(bytes in prop::collection::vec(any::<u8>(), 0..200), small in any::<bool>()) {
        let bytes: Vec<u8> = if small { bytes.iter().map(|byte| byte % 5).collect() } else { bytes };
        let _ = Properties::decode(&bytes);
        let _ = ValueHandle::decode(&bytes);
        if let Ok(map) = ChunkMap::decode(&bytes) {
            let mut again = Vec::new();
            map.encode(&mut again);
            prop_assert_eq!(&again, &bytes);
        }
        if let Ok(directory) = FrameDirectory::decode(&bytes) {
            let mut again = Vec::new();
            directory.encode(&mut again);
            prop_assert_eq!(&again, &bytes);
        }
        if let Ok(value) = ValuePayload::decode(&Slice::from(bytes.clone())) {
            prop_assert_eq!(10 + value.key.len() + value.value.len(), bytes.len());
        }
    }
}

/// Proves F-30: counts and lengths that are not there.
#[test]
fn hostile_counts_are_refused() {
    let directory = |values: u64| [&[1, 0, 0, 0, 0, 0, 0, 0][..], &values.to_le_bytes()].concat();
    assert!(FrameDirectory::decode(&directory(0)).is_ok());
    assert!(FrameDirectory::decode(&directory(1)).is_err());
    assert!(FrameDirectory::decode(&directory(u64::MAX)).is_err());
    let map = |value_len: u32| [&value_len.to_le_bytes()[..], &[0; 12]].concat();
    assert!(ChunkMap::decode(&map(u32::MAX)).is_err());
    assert!(ChunkMap::decode(&map(1 << 20)).is_err());
    assert!(ChunkMap::decode(&map((1 << 20) + 1)).is_err());
}
