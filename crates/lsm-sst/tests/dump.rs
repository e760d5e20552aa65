//! Reading a table file with the format crates alone, as a tool would; and what the index estimates.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{fmt::Write as _, path::Path};

use common::{Entry, build, put, seqno, small_options};
use lsm_codec::Compression;
use lsm_fs::DiskFile;
use lsm_sst::{BuildOptions, Table, TableOptions};
use lsm_types::{Bytewise, Cut, ErrorKind, KeyOrder, Kind, RangeTombstone};

/// The tool: no tree, no threads, no cache.
fn dump(path: &Path) -> Result<String, lsm_sst::Error> {
    let mut out = String::new();
    let table = Table::open(DiskFile::open(path)?, TableOptions::new().comparator(Bytewise))?;
    let meta = table.meta();
    writeln!(out, "{} entries, seqnos {:?}, codec {}", meta.entries(), meta.seqnos(), meta.codec().name())
        .unwrap();
    for block in table.blocks() {
        let block = block?.load()?;
        for e in block.entries() {
            if e.kind() == Kind::Put {
                let key = String::from_utf8_lossy(e.key()).into_owned();
                writeln!(out, "{key}@{} = {} bytes", e.seqno(), e.value().len()).unwrap();
            }
        }
    }
    for rt in table.range_tombstones() {
        writeln!(out, "delete [{:?}, {:?}) @{}", rt.start, rt.end, rt.seqno).unwrap();
    }
    Ok(out)
}

#[test]
fn a_tool_reads_a_table_from_its_file() {
    let order = KeyOrder::bytewise();
    let entries = [put("apples", 7, "97"), put("pears", 3, "120 crates")];
    let tombstone = RangeTombstone { start: Cut::Before("b".into()), end: Cut::End, seqno: seqno(9) };
    let options = BuildOptions { compression: Compression::Lz4, ..small_options(&order) };
    let (_, bytes) = build(options, &entries, &[tombstone]);
    let expected = "2 entries, seqnos Some(SeqNoBounds { min: @3, max: @9 }), codec lz4\n\
                    apples@7 = 2 bytes\npears@3 = 10 bytes\ndelete [Before(b\"b\"), End) @9\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("7.sst");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(dump(&path).unwrap(), expected);
    assert_eq!(dump(&dir.path().join("8.sst")).unwrap_err().kind(), ErrorKind::Io);
}

/// Proves F-82.
#[test]
fn estimates_are_exact_to_a_block() {
    let order = KeyOrder::bytewise();
    let entries: Vec<Entry> =
        (0..400).map(|n| put(&format!("key/{n:04}"), 1, "a value of some length")).collect();
    for spill in [0, 4 << 20] {
        let options = BuildOptions { index_spill_bytes: spill, ..small_options(&order) };
        let table = Table::open(build(options, &entries, &[]).1, TableOptions::new()).unwrap();
        let (meta, source) = (table.meta(), table.source());
        let mut rank = 0;
        for block in table.blocks() {
            let block = block.unwrap();
            for entry in block.load().unwrap().entries() {
                assert_eq!(meta.approximate_rank(source, entry.key()).unwrap(), rank);
                assert_eq!(meta.approximate_offset(source, entry.key()).unwrap(), block.at().handle.offset);
            }
            rank += block.rows();
        }
        assert_eq!(meta.approximate_rank(source, b"z").unwrap(), 400);
        let whole = meta.approximate_len(source, b"a", b"z").unwrap();
        let half = meta.approximate_len(source, b"key/0100", b"key/0300").unwrap();
        assert!((whole * 4 / 10..whole * 6 / 10).contains(&half), "{half} of {whole}");
        assert_eq!(meta.approximate_len(source, b"z", b"a").unwrap(), 0);

        let keys = meta.split_keys(source, 4).unwrap();
        assert_eq!(keys.len(), 3);
        for (n, key) in keys.iter().enumerate() {
            let at = entries.iter().position(|entry| entry.key.as_slice() > &key[..]).unwrap();
            assert!(at.abs_diff((n + 1) * 100) < 20, "part {n} ends at {at}");
        }
        assert!(meta.split_keys(source, 1).unwrap().is_empty());
    }
}
