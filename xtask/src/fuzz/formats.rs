//! The decoders of the format crates, each behind the checks that a file puts in front of it.

use lsm_block::{
    BlockKind, Directory, FileIdentity, Footer, Superblock, Transforms,
    log::{LogEncoder, LogFormat, LogPosition, LogScanner},
};
use lsm_journal::Pointer;
use lsm_manifest::{Record, TableDescriptor, TreeEdit, TreeIdentity, VersionEdit};
use lsm_sst::{
    BuildOptions, Table, TableBuilder, TableOptions, data_block::DataBlock, index::IndexBlock,
    properties::Properties, range_tombstones,
};
use lsm_types::{
    Cut, EditIndex, EntryCursor, FileKind, FileUuid, KeyOrder, Kind, Level, Location, RangeTombstone, RunId,
    SeqNo, Slice, TreeId, UnixNanos,
};

use super::targets::{Target, seen};

/// Every decoder of a file's bytes.
pub(super) const TARGETS: [Target; 12] = [
    Target { name: "superblock", run: superblock, seeds: superblock_seeds },
    Target { name: "footer", run: footer, seeds: table_seeds },
    Target { name: "directory", run: directory, seeds: table_seeds },
    Target { name: "log", run: log, seeds: log_seeds },
    Target { name: "data_block", run: data_block, seeds: block_seeds },
    Target { name: "index_block", run: index_block, seeds: block_seeds },
    Target { name: "range_tombstones", run: tombstones, seeds: tombstone_seeds },
    Target { name: "properties", run: properties, seeds: table_seeds },
    Target { name: "table", run: table, seeds: table_seeds },
    Target { name: "manifest_record", run: record, seeds: record_seeds },
    Target { name: "version_edit", run: edit, seeds: record_seeds },
    Target { name: "pointer", run: pointer, seeds: pointer_seeds },
];

const AT: Location = Location { kind: FileKind::Table, id: 7, offset: 0 };

fn identity(kind: FileKind) -> FileIdentity {
    let uuid = FileUuid::from_bytes([1; 16]);
    FileIdentity { kind, file_id: 7, uuid, database: FileUuid::from_bytes([2; 16]), tree: TreeId::new(0) }
}

/// Which error, by its kind alone: texts hold numbers that would make every input look new.
fn outcome<T, E: std::fmt::Debug>(result: &Result<T, E>) -> String {
    match result {
        Ok(_) => String::new(),
        Err(error) => {
            let text = format!("{error:?}");
            text.chars().filter(|c| !c.is_ascii_digit()).take(80).collect()
        }
    }
}

fn superblock(bytes: &[u8]) -> u64 {
    seen(outcome(&Superblock::decode(AT, bytes)))
}

fn superblock_seeds() -> Vec<Vec<u8>> {
    vec![Superblock::new(identity(FileKind::Table), UnixNanos::new(3), EditIndex::new(4)).encode().to_vec()]
}

fn footer(bytes: &[u8]) -> u64 {
    let tail = bytes.len().saturating_sub(Footer::LEN);
    seen(outcome(&Footer::decode(AT, bytes.get(tail..).unwrap_or_default())))
}

fn directory(bytes: &[u8]) -> u64 {
    seen(outcome(&Directory::decode(AT, bytes, 1 << 20)))
}

fn log(bytes: &[u8]) -> u64 {
    let scanned = |format| {
        let transforms = Transforms::default();
        let start = Superblock::LEN as u64;
        let mut scanner = LogScanner::new(
            identity(FileKind::Manifest),
            transforms,
            format,
            bytes,
            start.min(bytes.len() as u64),
        );
        let records = scanner.by_ref().count();
        let tail = format!("{:?}", scanner.tail(0));
        (records, tail.chars().filter(char::is_ascii_alphabetic).take(60).collect::<String>())
    };
    seen((scanned(LogFormat::MANIFEST), scanned(LogFormat::WAL)))
}

fn log_seeds() -> Vec<Vec<u8>> {
    let mut bytes = vec![0; Superblock::LEN];
    let transforms = Transforms::default();
    let mut encoder =
        LogEncoder::new(identity(FileKind::Manifest), transforms, LogFormat::MANIFEST, LogPosition::START);
    for len in [3, 40, 5_000] {
        // A record of a few bytes is never too long.
        let _ = encoder.encode(0, &vec![9; len], &mut bytes);
    }
    vec![bytes]
}

fn data_block(bytes: &[u8]) -> u64 {
    let decoded = DataBlock::decode(Slice::from(bytes));
    if let Ok(block) = &decoded {
        let order = KeyOrder::bytewise();
        let mut cursor = block.cursor(&order);
        cursor.seek_first();
        let forward = std::iter::from_fn(|| cursor.entry().is_some().then(|| cursor.next())).count();
        assert_eq!(forward, block.rows(), "a walk meets every row");
        cursor.seek(b"key", SeqNo::LATEST);
        let _ = block.verify(&order);
    }
    seen(outcome(&decoded))
}

fn index_block(bytes: &[u8]) -> u64 {
    let decoded = IndexBlock::decode(Slice::from(bytes));
    if let Ok(block) = &decoded {
        let order = KeyOrder::bytewise();
        for at in 0..block.entries() {
            assert!(block.entry(at).is_some(), "every entry is there");
        }
        let _ = (block.find(&order, b"key", SeqNo::LATEST), block.verify(&order));
    }
    seen(outcome(&decoded))
}

fn properties(bytes: &[u8]) -> u64 {
    seen(outcome(&Properties::decode(bytes)))
}

/// Payloads of real blocks, cut out of a real table.
fn block_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for file in table_seeds() {
        let Ok(head) = Superblock::decode(AT, file.get(..Superblock::LEN).unwrap_or_default()) else {
            continue;
        };
        for walked in lsm_block::Walk::file(&file, &head).into_iter().flatten().flatten() {
            if let lsm_block::Walked::Frame { header, mark } = walked
                && [BlockKind::DATA, BlockKind::INDEX_ROOT, BlockKind::INDEX_PARTITION].contains(&header.kind)
            {
                let start = usize::try_from(mark.handle.offset).unwrap_or(0) + 32;
                let end = start + header.stored_len as usize;
                seeds.extend(file.get(start..end).map(<[u8]>::to_vec));
            }
        }
    }
    seeds
}

fn tombstones(bytes: &[u8]) -> u64 {
    seen(outcome(&range_tombstones::decode(bytes, &KeyOrder::bytewise())))
}

fn tombstone_seeds() -> Vec<Vec<u8>> {
    let cut = |key: &str| Cut::Before(key.into());
    let one = |start, end, raw| RangeTombstone { start, end, seqno: SeqNo::new(raw).unwrap_or_default() };
    let list = [one(Cut::Start, cut("b"), 9), one(cut("a"), cut("c"), 8), one(cut("x"), Cut::End, 7)];
    let mut bytes = Vec::new();
    range_tombstones::encode(&list, &mut bytes);
    vec![bytes]
}

/// A whole table: opened, walked, searched.
fn table(bytes: &[u8]) -> u64 {
    let opened = Table::open(bytes.to_vec(), TableOptions::new());
    let mut rows = 0_u32;
    let mut end = String::new();
    if let Ok(table) = &opened {
        let mut cursor = table.cursor();
        let mut step = cursor.seek_first();
        while step.is_ok() && cursor.entry().is_some() {
            rows += 1;
            step = cursor.next();
        }
        end = outcome(&step);
        let _ = table.get(b"key-17", SeqNo::LATEST);
    }
    seen((outcome(&opened), rows.min(50), end))
}

fn table_seeds() -> Vec<Vec<u8>> {
    let build = |rows: u32| -> lsm_types::Result<Vec<u8>> {
        let head = Superblock::new(identity(FileKind::Table), UnixNanos::new(3), EditIndex::new(4));
        let mut options = BuildOptions::new(KeyOrder::bytewise());
        options.data_block_bytes = 128;
        options.compression = lsm_codec::Compression::None;
        let mut builder = TableBuilder::new(head, options, Vec::new())?;
        for row in 0..rows {
            let seqno = SeqNo::new(row.into()).unwrap_or_default();
            builder.add(format!("key-{row:03}").as_bytes(), seqno, Kind::Put, b"value")?;
        }
        Ok(builder.finish()?.1)
    };
    [0, 1, 40].into_iter().filter_map(|rows| build(rows).ok()).collect()
}

/// What was accepted is encoded as something that says the same; fields that may be skipped are left out.
fn record(bytes: &[u8]) -> u64 {
    let decoded = Record::decode(bytes);
    if let Ok(record) = &decoded {
        let mut again = Vec::new();
        record.encode(&mut again);
        assert_eq!(Record::decode(&again).as_ref(), Ok(record), "a record does not survive its own encoding");
    }
    let _ = TableDescriptor::decode(bytes);
    seen(outcome(&decoded))
}

fn edit(bytes: &[u8]) -> u64 {
    seen(outcome(&VersionEdit::decode(bytes)))
}

fn record_seeds() -> Vec<Vec<u8>> {
    let mut edit = VersionEdit::default();
    edit.create_tree(TreeId::new(0), TreeIdentity::new("lsm.bytewise", 7));
    edit.push(TreeId::new(0), TreeEdit::AddRun { level: Level::new(0), run: RunId::new(1), age: 5 });
    edit.push(TreeId::new(0), TreeEdit::RaiseFloor(SeqNo::MAX_WRITE));
    let mut plain = Vec::new();
    edit.encode(&mut plain);
    let mut framed = Vec::new();
    Record::encode_edits(EditIndex::new(3), [&edit], &mut framed);
    let mut close = Vec::new();
    Record::CleanClose.encode(&mut close);
    vec![plain, framed, close]
}

fn pointer(bytes: &[u8]) -> u64 {
    seen(outcome(&Pointer::decode(bytes)))
}

fn pointer_seeds() -> Vec<Vec<u8>> {
    let pointer = Pointer {
        database: FileUuid::from_bytes([2; 16]),
        generation: lsm_journal::Generation::new(3),
        edit_min: EditIndex::new(4),
        snapshot_digest: 5,
    };
    vec![pointer.encode().to_vec()]
}
