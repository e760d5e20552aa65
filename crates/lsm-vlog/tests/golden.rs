//! The bytes of encoding 1, field by field. They stay as they are for ever: a change of the format is a new encoding
//! with its own golden bytes beside these.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

mod common;

use common::{build, entry, noise, open, options, seqno};
use lsm_types::{EditIndex, Slice, UnixNanos, ValueHandle, ValueReferences, VlogId};
use lsm_vlog::{
    ValuePayload,
    chunk_map::ChunkMap,
    frame_directory::FrameDirectory,
    properties::{CodecCensus, Properties},
};

const VALUE: &str = include_str!("golden/value.txt");
const HANDLE: &str = include_str!("golden/handle.txt");
const CHUNK_MAP: &str = include_str!("golden/chunk_map.txt");
const FRAME_DIRECTORY: &str = include_str!("golden/frame_directory.txt");
const PROPERTIES: &str = include_str!("golden/properties.txt");
const REFERENCES: &str = include_str!("golden/references.txt");

/// The bytes of an annotated dump: what stands before `|` on each line, in hex; `NN*COUNT` repeats a byte.
fn bytes_of(dump: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in dump.lines().filter_map(|line| line.split('|').next()).flat_map(str::split_whitespace) {
        let (hex, count) = word.split_once('*').unwrap_or((word, "1"));
        let byte = u8::from_str_radix(hex, 16).unwrap();
        bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), byte);
    }
    bytes
}

#[track_caller]
fn check(bytes: &[u8], dump: &str) {
    let hex = |bytes: &[u8]| bytes.chunks(16).map(|chunk| format!("{chunk:02X?}")).collect::<Vec<_>>();
    assert_eq!(hex(bytes), hex(&bytes_of(dump)));
}

/// The payload of the frame at `offset` of a plain file that is not compressed.
fn payload(file: &[u8], offset: u64, len: usize) -> &[u8] {
    let start = usize::try_from(offset).unwrap() + 32;
    &file[start..start + len]
}

#[test]
fn value_bytes() {
    let built = build(7, options(), false, &[entry("app/a1", 300, "four")]);
    check(payload(&built.bytes, 512, 20), VALUE);
    let value = ValuePayload::decode(&Slice::from(bytes_of(VALUE))).unwrap();
    let expected = ValuePayload { seqno: seqno(300), key: "app/a1".into(), value: "four".into() };
    assert_eq!(value, expected);
}

#[test]
fn handle_and_chunk_map_bytes() {
    let value = noise((1 << 20) + 16, 3);
    let built = build(7, options(), false, &[entry("app/a1", 300, value.clone())]);
    let handle = built.handles[0];
    check(&handle.encode(), HANDLE);
    assert_eq!(ValueHandle::decode(&bytes_of(HANDLE)), Ok(handle));
    check(payload(&built.bytes, handle.end().unwrap() - 56, 24), CHUNK_MAP);
    let map = ChunkMap::decode(&bytes_of(CHUNK_MAP)).unwrap();
    assert_eq!((map.value_len(), map.chunks(), map.part(1)), (0x10_0010, 2, 0x10_0000..0x10_0010));
    assert_eq!(open(built.bytes, false).unwrap().get(&handle, b"app/a1").unwrap(), value[..]);
}

#[test]
fn frame_directory_bytes() {
    let entries = [entry("a", 1, "four"), entry("b", 1, "16 bytes, 59 all"), entry("c", 1, "x")];
    let built = build(7, options(), false, &entries);
    let log = open(built.bytes, false).unwrap();
    let directory = log.meta().frame_directory(log.file()).unwrap();
    let mut encoded = Vec::new();
    directory.encode(&mut encoded);
    let listed = FrameDirectory::decode(&bytes_of(FRAME_DIRECTORY)).unwrap();
    assert_eq!((listed.every(), listed.values(), listed.offsets()), (2, 3, &[512, 612][..]));
    assert_eq!(directory.offsets(), [512, 512 + 47 + 59]);
    let mut again = Vec::new();
    listed.encode(&mut again);
    check(&again, FRAME_DIRECTORY);
}

#[test]
fn properties_bytes() {
    let properties = Properties {
        writer: "test 1".into(),
        created: UnixNanos::new(1_700_000_000_000_000_000),
        file: VlogId::new(7),
        comparator: "lsm.bytewise".into(),
        edit_index: EditIndex::new(5),
        values: 3,
        chunked_values: 1,
        key_bytes: 3,
        value_bytes: 1_048_640,
        stored_bytes: 1_048_832,
        codecs: CodecCensus { raw: 3, lz4: 1, zstd: 0 },
        keys: Some(("a".into(), "c".into())),
        seqnos: Some((seqno(2), seqno(9))),
    };
    let mut encoded = Vec::new();
    properties.encode(&mut encoded);
    check(&encoded, PROPERTIES);
    assert_eq!(Properties::decode(&bytes_of(PROPERTIES)), Ok(properties));
}

#[test]
fn references_bytes() {
    let mut references = ValueReferences::new();
    for (file, stored_len, value_len) in [(300, 1056, 1000), (301, 48, 5), (300, 48, 32)] {
        let handle = ValueHandle { file: VlogId::new(file), offset: 512, stored_len, value_len };
        references.record(&handle).unwrap();
    }
    let mut encoded = Vec::new();
    references.encode(&mut encoded);
    check(&encoded, REFERENCES);
    assert_eq!(ValueReferences::decode(&bytes_of(REFERENCES)), Ok(references));
}
