//! Row groups as a table reads them: any payload, in a frame that is good.

use std::sync::{Arc, LazyLock};

use lsm_block::{
    BlockKind, Checksum, FileIdentity, FrameHeader, FrameSpec, FrameWriter, Superblock, Transforms,
};
use lsm_codec::{Compression, Decoder};
use lsm_columnar::{Column, ColumnId, ColumnSplitter, ColumnType, DelimitedText, Schema};
use lsm_sst::{
    BlockRef, BuildOptions, ColumnarOptions, OpenOptions, Splitters, Table, TableBuilder, TableLayout,
    TableOptions,
};
use lsm_types::{
    EditIndex, FileKind, FileUuid, KeyHash, KeyOrder, Kind, SeqNo, Slice, TreeId, UnixNanos, columns::KeyBuf,
};

use super::targets::{Target, seen};

/// Groups, behind their frame.
pub(super) const TARGET: Target = Target { name: "row_group", run, seeds };

const ROWS: u32 = 40;

fn identity() -> FileIdentity {
    FileIdentity {
        kind: FileKind::Table,
        file_id: 7,
        uuid: FileUuid::from_bytes([1; 16]),
        database: FileUuid::from_bytes([2; 16]),
        tree: TreeId::new(0),
    }
}

fn splitter() -> Option<Arc<dyn ColumnSplitter>> {
    let columns = [ColumnType::I32, ColumnType::Utf8, ColumnType::Bool].into_iter().zip(16..);
    let columns = columns.map(|(ty, id)| Column::new(ColumnId::new(id), format!("c{id}"), ty).nullable());
    let schema = Schema::new(columns.collect()).ok()?;
    Some(Arc::new(DelimitedText::new("fuzz.csv", schema, b',').ok()?))
}

/// A table of one group of one frame, with rows of all kinds in it: its bytes and what opening it came to.
fn sample(part_rows: u16) -> Option<(Vec<u8>, Arc<TableLayout>)> {
    let head = Superblock::new(identity(), UnixNanos::new(3), EditIndex::new(4));
    let mut options = BuildOptions::new(KeyOrder::bytewise());
    options.compression = Compression::None;
    options.columnar =
        Some(ColumnarOptions { splitter: splitter(), part_rows, ..ColumnarOptions::default() });
    let mut builder = TableBuilder::new(head, options, Vec::new()).ok()?;
    for row in 0..ROWS {
        let key = format!("key-{:02}", row / 2);
        let (kind, value) = match row % 7 {
            0 => (Kind::Tombstone, String::new()),
            1 => (Kind::MergeOperand, "+1".into()),
            2 => (Kind::Put, "whole".into()),
            _ => (Kind::Put, format!("{row},text {},{}", row % 4, row % 3 == 0)),
        };
        let seqno = SeqNo::new(u64::from(ROWS - row)).unwrap_or_default();
        builder.add(key.as_bytes(), seqno, kind, value.as_bytes()).ok()?;
    }
    let bytes = builder.finish().ok()?.1;
    let splitters = Splitters::new(splitter().into_iter().collect());
    let open = OpenOptions { splitters, ..OpenOptions::new(KeyOrder::bytewise()) };
    let table = Table::open(bytes.clone(), TableOptions::new().open(open)).ok()?;
    Some((bytes, table.meta().clone()))
}

/// The payload is put into a good frame at the place of the table's first group.
fn run(payload: &[u8]) -> u64 {
    static LAYOUT: LazyLock<Option<Arc<TableLayout>>> =
        LazyLock::new(|| sample(1000).map(|(_, layout)| layout));
    let Some(layout) = &*LAYOUT else { return 0 };
    let mut frame = Vec::new();
    let spec =
        FrameSpec { kind: BlockKind::ROW_GROUP, encoding: 1, compression: Compression::None, ordinal: 0 };
    let mut writer = FrameWriter::new(identity(), Transforms::new(Checksum::default()));
    let Ok(mark) = writer.append(spec, payload, Superblock::LEN as u64, &mut frame) else { return 0 };
    let (at, frame) = (BlockRef { handle: mark.handle, ordinal: 0 }, Slice::from(frame));
    let rows = layout.decode_data(at, &frame, &mut Decoder::new());
    let point = layout.decode_point(at, &frame, &mut Decoder::new());
    assert!(point.is_ok() || rows.is_err(), "pages that make a block can be looked into");
    let mut key = KeyBuf::new();
    let mut values = 0;
    if let Ok(block) = &rows {
        for row in 0..block.rows() {
            block.key(row, &mut key);
            assert!(!key.as_slice().is_empty() && block.seqno(row).is_write(), "row {row} is one");
            assert!(!block.kind(row).is_tombstone() || block.value(row).is_empty(), "row {row} is dead");
            values += block.value(row).len();
        }
        if block.verify(layout.order()).is_ok()
            && let Ok(point) = &point
        {
            for row in 0..block.rows() {
                block.key(row, &mut key);
                let (key, before) =
                    (key.as_slice(), block.seqno(row).checked_add(1).unwrap_or(SeqNo::LATEST));
                let found = layout.find_in_rows(point, KeyHash::of(key), key, before);
                let is_same = matches!(found, Ok(Some(found)) if found.seqno == block.seqno(row)
                    && found.kind == block.kind(row)
                    && found.value[..] == *block.value(row));
                assert!(is_same, "row {row} alone is what it is in the block");
            }
        }
        if let Ok(point) = &point {
            let _ = layout.find_in_rows(point, KeyHash::of(b"key-07"), b"key-07", SeqNo::LATEST);
        }
        let _ = block.find(layout.order(), KeyHash::of(b"key-07"), b"key-07", SeqNo::LATEST);
    }
    let rows = rows.map(|block| block.rows()).map_err(|error| error.kind());
    seen((format!("{rows:?}"), values.min(500) / 10))
}

fn seeds() -> Vec<Vec<u8>> {
    let payload = |part_rows| {
        let (bytes, layout) = sample(part_rows)?;
        let entry = layout.root().entry(0)?;
        let start = usize::try_from(entry.handle.offset).ok()?;
        Some(bytes.get(start + FrameHeader::LEN..start + entry.handle.len as usize)?.to_vec())
    };
    [1000, 9].into_iter().filter_map(payload).collect()
}
