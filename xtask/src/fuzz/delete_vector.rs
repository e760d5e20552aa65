//! Delete vectors: their payload, and whole files.

use lsm_block::{FileIdentity, LocatorHints, Superblock};
use lsm_columnar::DeleteSet;
use lsm_sst::DeleteVector;
use lsm_types::{EditIndex, FileKind, FileUuid, SeqNo, TableId, TreeId, UnixNanos};

use super::targets::{Target, seen};

pub(super) const TARGETS: [Target; 2] = [
    Target { name: "delete_vector", run: payload, seeds: payloads },
    Target { name: "delete_vector_file", run: file, seeds: files },
];

/// Vectors without a row, with some here and there, and with long runs.
fn samples() -> Vec<DeleteVector> {
    let steps: [(u64, u64); 3] = [(1, 0), (70, 3), (9_000, 8_999)];
    let sample = |(step, width): (u64, u64)| {
        let mut rows = DeleteSet::new(70_000).ok()?;
        for start in (0..60_000).step_by(usize::try_from(step).ok()?) {
            rows.insert(start..start + width).ok()?;
        }
        let (table, table_uuid) = (TableId::new(7), FileUuid::from_bytes([1; 16]));
        Some(DeleteVector { table, table_uuid, watermark: SeqNo::new(9)?, rows })
    };
    steps.into_iter().filter_map(sample).collect()
}

/// What is taken is written the same, and has as many rows as it says.
fn payload(bytes: &[u8]) -> u64 {
    let decoded = DeleteVector::decode(bytes);
    if let Ok(vector) = &decoded {
        let mut again = Vec::new();
        vector.encode(&mut again);
        assert_eq!(again, bytes, "one vector has one writing");
        check(vector);
    }
    seen(decoded.map(|vector| vector.rows.cardinality().min(100)).map_err(|error| error.to_string()))
}

fn check(vector: &DeleteVector) {
    let rows = vector.rows.rows();
    let ranges = vector.rows.ranges(0).take(1000);
    assert!(
        ranges.into_iter().all(|range| range.start < range.end && range.end <= rows),
        "rows of the table"
    );
}

fn payloads() -> Vec<Vec<u8>> {
    let encode = |vector: &DeleteVector| {
        let mut bytes = Vec::new();
        vector.encode(&mut bytes);
        bytes
    };
    samples().iter().map(encode).collect()
}

fn file(bytes: &[u8]) -> u64 {
    let read = DeleteVector::read_file(&bytes.to_vec(), LocatorHints::default(), None);
    if let Ok((vector, _)) = &read {
        check(vector);
    }
    seen(read.map(|(vector, _)| vector.rows.cardinality().min(100)).map_err(|error| error.kind()))
}

fn files() -> Vec<Vec<u8>> {
    let identity = FileIdentity {
        kind: FileKind::DeleteVector,
        file_id: 9,
        uuid: FileUuid::from_bytes([3; 16]),
        database: FileUuid::from_bytes([2; 16]),
        tree: TreeId::new(0),
    };
    let encode = |vector: &DeleteVector| {
        let superblock = Superblock::new(identity, UnixNanos::new(3), EditIndex::new(4));
        let head = superblock.begin(None, |_| {}).ok()?;
        vector.encode_file(head).ok().map(|file| file.bytes)
    };
    samples().iter().take(2).filter_map(encode).collect()
}
