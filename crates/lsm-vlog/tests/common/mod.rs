//! What the tests share: small value logs, plain and sealed, and the values that lie in them.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic; not every test uses all"
)]

use std::sync::Arc;

use lsm_block::{Encryption, FileIdentity, Superblock};
use lsm_codec::Compression;
use lsm_crypto::{KeyChain, KeyId, Secret};
use lsm_types::{EditIndex, FileKind, FileUuid, KeyOrder, SeqNo, TreeId, UnixNanos};
use lsm_vlog::{LocatorHints, Result, ValueHandle, Vlog, VlogBuilder, VlogOptions, VlogSummary};

/// A value with its key and number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub key: Vec<u8>,
    pub seqno: u64,
    pub value: Vec<u8>,
}

pub fn entry(key: &str, seqno: u64, value: impl Into<Vec<u8>>) -> Entry {
    Entry { key: key.into(), seqno, value: value.into() }
}

pub fn seqno(raw: u64) -> SeqNo {
    SeqNo::new(raw).unwrap()
}

pub fn superblock(id: u8) -> Superblock {
    let identity = FileIdentity {
        kind: FileKind::ValueLog,
        file_id: id.into(),
        uuid: FileUuid::from_bytes([id; 16]),
        database: FileUuid::from_bytes([0xDB; 16]),
        tree: TreeId::new(3),
    };
    Superblock::new(identity, UnixNanos::new(1_700_000_000_000_000_000), EditIndex::new(5))
}

pub fn encryption() -> Encryption {
    Encryption::new(Arc::new(KeyChain::new(KeyId::new(4), Secret::new([9; 32]))))
}

/// Few values per entry of the directory; no compression.
pub fn options() -> VlogOptions {
    VlogOptions {
        compression: Compression::None,
        directory_every: 2,
        writer: "test 1".into(),
        ..VlogOptions::new(KeyOrder::bytewise())
    }
}

/// A builder of file `id`.
pub fn builder(id: u8, options: VlogOptions, sealed: bool) -> VlogBuilder<Vec<u8>> {
    let encryption = encryption();
    let head = superblock(id).begin(sealed.then_some(&encryption), |salt| salt.fill(id)).unwrap();
    VlogBuilder::with_transforms(head, options, Vec::new()).unwrap()
}

pub struct Built {
    pub summary: VlogSummary,
    pub bytes: Vec<u8>,
    pub handles: Vec<ValueHandle>,
}

pub fn build(id: u8, options: VlogOptions, sealed: bool, entries: &[Entry]) -> Built {
    let mut builder = builder(id, options, sealed);
    let handles = entries
        .iter()
        .map(|entry| builder.add(&entry.key, seqno(entry.seqno), &entry.value).unwrap())
        .collect();
    let (summary, bytes) = builder.finish().unwrap();
    Built { summary, bytes, handles }
}

pub fn open(bytes: Vec<u8>, sealed: bool) -> Result<Vlog<Vec<u8>>> {
    Vlog::open(bytes, LocatorHints::default(), sealed.then(encryption))
}

/// Every value, by its handle.
#[track_caller]
pub fn check_values(log: &Vlog<Vec<u8>>, handles: &[ValueHandle], entries: &[Entry]) {
    assert_eq!(handles.len(), entries.len());
    for (handle, entry) in handles.iter().zip(entries) {
        assert_eq!(log.get(handle, &entry.key).unwrap(), entry.value[..], "{entry:?}");
    }
}

/// Everything in order: values, scan, check.
#[track_caller]
pub fn check_all(log: &Vlog<Vec<u8>>, handles: &[ValueHandle], entries: &[Entry]) {
    check_values(log, handles, entries);
    let scanned: Vec<_> = log.scan().map(|value| value.unwrap()).collect();
    let found: Vec<_> =
        scanned.iter().map(|value| (value.key.to_vec(), value.seqno.get(), value.handle)).collect();
    let expected: Vec<_> = entries
        .iter()
        .zip(handles)
        .map(|(entry, handle)| (entry.key.clone(), entry.seqno, *handle))
        .collect();
    assert_eq!(found, expected);
    let verified = log.verify(Some(&KeyOrder::bytewise()), &mut |error| panic!("{error:?}")).unwrap();
    assert_eq!((verified.values, verified.findings), (entries.len() as u64, 0));
}

/// Bytes that do not compress.
pub fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    (0..len)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()[3]
        })
        .collect()
}

/// Bytes that compress.
pub fn text(len: usize) -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog; ".iter().copied().cycle().take(len).collect()
}
