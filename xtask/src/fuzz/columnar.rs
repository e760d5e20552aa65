//! The decoders of columns: pages of every type and encoding, directories, schemas, row images, delete vectors.

use lsm_columnar::{
    Bitmap, Column, ColumnId, ColumnType, ColumnVector, ColumnarError, Comparison, Datum, DeleteSet,
    Encoding, EncodingSet, GroupDirectory, GroupEncoder, GroupHead, Page, PageEncoder, PageStamp, Predicate,
    RowCells, Schema, assemble_image, split_image,
};
use lsm_types::SeqNo;

use super::targets::{Target, seen};

/// Every decoder of column bytes.
pub(super) const TARGETS: [Target; 5] = [
    Target { name: "column_page", run: page, seeds: page_seeds },
    Target { name: "row_group_directory", run: group, seeds: group_seeds },
    Target { name: "schema", run: schema, seeds: schema_seeds },
    Target { name: "row_image", run: image, seeds: image_seeds },
    Target { name: "delete_vector", run: delete_vector, seeds: delete_vector_seeds },
];

const STAMP: PageStamp = PageStamp { group: 1, column: ColumnId::FIRST, part: 0 };
const TYPES: [ColumnType; 8] = [
    ColumnType::Bool,
    ColumnType::I16,
    ColumnType::U64,
    ColumnType::F32,
    ColumnType::I128,
    ColumnType::Utf8,
    ColumnType::Bytes,
    ColumnType::Fixed(3),
];
/// Rows of the table that delete vectors are held against.
const ROWS: u64 = 200_000;

/// The first byte says of which type the rest is a page.
fn page(bytes: &[u8]) -> u64 {
    let Some((&ty, payload)) = bytes.split_first() else { return 0 };
    let Some(&ty) = TYPES.get(usize::from(ty) % TYPES.len()) else { return 0 };
    let rows = payload.get(8..12).and_then(|rows| rows.try_into().ok()).map_or(0, u32::from_le_bytes);
    let opened = Page::open(STAMP, ty, rows, payload);
    let outcome = opened.as_ref().map(Page::encoding).map_err(|error| error.to_string().len());
    let mut decoded = ColumnVector::new(ty);
    if let Ok(page) = &opened
        && page.decode(payload, &mut decoded).is_ok()
    {
        walk(page, payload, &decoded);
    }
    seen((ty, outcome, decoded.len()))
}

/// One row, some rows and a predicate see what decoding the whole page saw.
fn walk(page: &Page, payload: &[u8], decoded: &ColumnVector) {
    assert_eq!(decoded.len(), page.rows(), "every row has a value or none");
    let some: Bitmap = (0..page.rows()).map(|row| row % 5 == 2).collect();
    let mut gathered = ColumnVector::new(page.ty());
    let selected = page.decode_selected(payload, &some, &mut gathered);
    let mut scratch = Vec::new();
    for (at, row) in some.rows().enumerate().take(100) {
        let alone = format!("{:?}", page.get(payload, row, &mut scratch));
        assert_eq!(alone, format!("{:?}", decoded.get(row)), "row {row} alone");
        assert!(selected.is_err() || alone == format!("{:?}", gathered.get(at)), "row {row} among some");
    }
    let wanted = (0..page.rows()).map(|row| decoded.get(row)).find(|datum| !datum.is_null());
    let schema = Schema::new(vec![Column::new(STAMP.column, "c", page.ty()).nullable()]);
    let bound = wanted.zip(schema.ok()).and_then(|(wanted, schema)| {
        Predicate::Compare(STAMP.column, Comparison::Eq, wanted).bind(&schema).ok()
    });
    if let Some(bound) = bound {
        let found = bound.select::<ColumnarError>(page.rows(), |_| Ok(Some((page, payload))));
        assert!(found.is_ok_and(|found| !found.is_none()), "a value that is there is found");
    }
}

/// Values that suit every encoding in turn.
fn vector(ty: ColumnType, shape: u64) -> ColumnVector {
    let mut vector = ColumnVector::new(ty);
    for row in 0..40_u64 {
        let number = match shape {
            0 => row / 9,
            1 => row.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 50,
            _ => row * 3,
        };
        let text = format!("key {number:03}");
        let signed = i64::try_from(number % 100).unwrap_or(0);
        let datum = match ty {
            _ if shape == 1 && row % 7 == 3 => Datum::Null,
            ColumnType::Bool => Datum::Bool(number % 2 == 0),
            ColumnType::I16 => Datum::I64(signed),
            ColumnType::U64 => Datum::U64(number),
            ColumnType::F32 => Datum::F32(f32::from_bits(u32::try_from(number).unwrap_or(0) << 20)),
            ColumnType::I128 => Datum::I128(i128::from(signed) - 50),
            ColumnType::Fixed(_) => Datum::Bytes(text.as_bytes().get(4..7).unwrap_or(b"xyz")),
            _ => text.as_str().into(),
        };
        // Each is a value of its type.
        let _ = vector.push(datum);
    }
    vector
}

fn page_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, ty) in (0_u8..).zip(TYPES) {
        for (shape, encoding) in (0..3).flat_map(|shape| Encoding::ALL.map(|encoding| (shape, encoding))) {
            let mut bytes = vec![number];
            let column = vector(ty, shape);
            let mut encoder = PageEncoder::new(EncodingSet::of(&[encoding]));
            let info = encoder.encode(STAMP, &column, 0..column.len(), &mut bytes);
            if info.is_ok_and(|info| info.encoding == encoding) {
                seeds.push(bytes);
            }
        }
    }
    seeds
}

fn table_schema() -> Option<Schema> {
    let columns = TYPES.into_iter().zip(16..).map(|(ty, number)| {
        let column = Column::new(ColumnId::new(number), format!("c{number}"), ty);
        column.nullable()
    });
    Schema::new(columns.collect()).ok()
}

fn group(bytes: &[u8]) -> u64 {
    let decoded = GroupDirectory::decode(bytes, table_schema().as_ref());
    if let Ok(directory) = &decoded {
        for entry in directory.pages() {
            let payload = directory.inline_page(bytes, entry);
            if let Ok(page) = directory.open_page(entry, payload) {
                let mut vector = ColumnVector::new(page.ty());
                let _ = page.decode(payload, &mut vector);
            }
        }
        for (column, _) in directory.columns() {
            let rows = u64::from(directory.head().rows);
            assert!(directory.zone(*column).is_none_or(|zone| zone.rows() == rows), "zones cover all rows");
        }
    }
    let pages = decoded.map(|directory| (directory.pages().len(), directory.is_inline()));
    seen(pages.map_err(|error| error.to_string()))
}

fn group_seeds() -> Vec<Vec<u8>> {
    let vectors: Vec<_> =
        TYPES.into_iter().zip(16..).map(|(ty, number)| (ColumnId::new(number), vector(ty, 1))).collect();
    let columns: Vec<_> = vectors.iter().map(|(id, vector)| (*id, vector)).collect();
    let head = GroupHead {
        ordinal: 1,
        rows: 40,
        schema_id: 1,
        seqno_min: SeqNo::ZERO,
        seqno_max: SeqNo::ZERO.next(),
    };
    let payload = |rows_per_part| {
        let group = GroupEncoder::new(rows_per_part, EncodingSet::ALL).encode(1, &columns).ok()?;
        let mut payload = Vec::new();
        group.write_inline(&head, &mut payload).ok()?;
        Some(payload)
    };
    [40, 16, 1].into_iter().filter_map(payload).collect()
}

fn schema(bytes: &[u8]) -> u64 {
    let decoded = Schema::decode(bytes);
    if let Ok(schema) = &decoded {
        let mut again = Vec::new();
        schema.encode(&mut again);
        assert_eq!(again, bytes, "two encodings of a schema");
    }
    seen(decoded.map(|schema| schema.columns().len()).map_err(|error| error.to_string().len()))
}

fn schema_seeds() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(schema) = table_schema() {
        schema.encode(&mut bytes);
    }
    vec![bytes]
}

fn image(bytes: &[u8]) -> u64 {
    let Some(schema) = table_schema() else { return 0 };
    let mut cells = RowCells::new();
    let split = split_image(&schema, bytes, &mut cells);
    if split.is_ok() {
        let mut again = Vec::new();
        assert!(assemble_image(&schema, &cells, &mut again).is_ok(), "what was split can be assembled");
        assert_eq!(again, bytes, "two images of a row");
    }
    seen(split.map_err(|error| error.to_string()))
}

fn image_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (row, shape) in [(0, 0), (3, 1), (5, 1)] {
        let Some(schema) = table_schema() else { continue };
        let mut cells = RowCells::new();
        cells.reset(&schema);
        for ty in TYPES {
            // Each is a value of its column.
            let _ = cells.push(vector(ty, shape).get(row));
        }
        let mut bytes = Vec::new();
        if assemble_image(&schema, &cells, &mut bytes).is_ok() {
            seeds.push(bytes);
        }
    }
    seeds
}

/// The first byte is the number of rows in the set, so that some inputs come as far as the rows.
fn delete_vector(bytes: &[u8]) -> u64 {
    let Some((&cardinality, payload)) = bytes.split_first() else { return 0 };
    let decoded = DeleteSet::decode(payload, ROWS, cardinality.into());
    if let Ok(set) = &decoded {
        let rows: u64 = set.ranges(0).map(|range| range.end - range.start).sum();
        assert_eq!((rows, set.rank(ROWS)), (set.cardinality(), set.cardinality()), "every row is met once");
        let mut again = Vec::new();
        set.encode(&mut again);
        assert_eq!(again, payload, "two encodings of a set");
    }
    seen(decoded.map(|set| set.cardinality()).map_err(|error| error.to_string().len()))
}

fn delete_vector_seeds() -> Vec<Vec<u8>> {
    let sets: [&[(u64, u64)]; 4] = [
        &[],
        &[(3, 4), (9, 10), (70_000, 70_001)],
        &[(10, 200)],
        &[(5, 60), (65_530, 65_600), (199_999, ROWS)],
    ];
    let encode = |ranges: &[(u64, u64)]| {
        let mut set = DeleteSet::new(ROWS).ok()?;
        for &(start, end) in ranges {
            set.insert(start..end).ok()?;
        }
        let mut bytes = vec![u8::try_from(set.cardinality()).ok()?];
        set.encode(&mut bytes);
        Some(bytes)
    };
    sets.into_iter().filter_map(encode).collect()
}
