//! Pages: the values of one column in some rows, encoded (`docs/format/columnar.md`, section 3).
//!
//! A [`Page`] is what opening a payload came to: positions, checked once. It holds no bytes; every access names the
//! payload again, so that a cache may keep both side by side. After that any row is reached without decoding its
//! neighbours, whole pages are decoded in typed loops, and predicates look at the encoded form.

mod bytes;
mod decode;
mod keys;
mod words;

pub use keys::KeyPage;

pub(crate) use bytes::BytesBody;
pub(crate) use keys::{KEYS_HEAD_LEN, write_keys_head};
pub(crate) use words::{WordBody, run_end};

use alloc::vec::Vec;

use crate::{
    Bitmap, ColumnId, ColumnType, ColumnarError, Datum, Result,
    cursor::Cursor,
    packed::Packed,
    strings::Strings,
    types::{Cell, Physical},
};

/// Bytes before a page's values.
pub const PAGE_HEAD_LEN: usize = 16;
/// Most rows of a page.
pub const PAGE_ROWS_MAX: usize = 1 << 16;
/// Most bytes the values of a page may decode to.
pub const PAGE_BYTES_MAX: usize = 256 << 20;

const WHAT: &str = "column page";
const FLAG_NULLABLE: u8 = 1;

/// The place a page belongs to. A page at another place is damage, however well it decodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageStamp {
    /// Ordinal of the row group's directory frame.
    pub group: u32,
    /// The column.
    pub column: ColumnId,
    /// Part of the row group.
    pub part: u16,
}

/// How a page's values are laid out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Encoding {
    /// One after another, each as wide as its type.
    Plain = 0,
    /// One value for all rows.
    Constant = 1,
    /// Ends of runs and the value of each.
    RunLength = 2,
    /// Sorted distinct values and a code per row.
    Dictionary = 3,
    /// Offsets from the smallest image, bit-packed.
    FrameOfReference = 4,
    /// Differences to the row before, bit-packed, and an anchor every 16 rows.
    Delta = 5,
    /// Lengths, bit-packed, and a heap.
    Lengths = 6,
    /// Sorted keys in bundles with common prefixes.
    BundledKeys = 7,
    /// A bit per row.
    Bits = 8,
}

impl Encoding {
    /// All of them, by number.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Constant,
        Self::RunLength,
        Self::Dictionary,
        Self::FrameOfReference,
        Self::Delta,
        Self::Lengths,
        Self::BundledKeys,
        Self::Bits,
    ];

    /// The encoding's number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The encoding with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// An opened page.
#[derive(Clone, Debug)]
pub struct Page {
    ty: ColumnType,
    rows: usize,
    encoding: Encoding,
    /// Where the validity bitmap starts, if there is one.
    validity: Option<usize>,
    pub(crate) body: Body,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Words(WordBody),
    Bytes(BytesBody),
}

impl Page {
    /// Opens the page of `expected` with `rows` rows of type `ty`.
    ///
    /// # Errors
    /// [`ColumnarError::Misplaced`] for a page of another place, [`ColumnarError::Unsupported`] for an unknown
    /// encoding, [`ColumnarError::Malformed`] for everything else that does not fit.
    pub fn open(expected: PageStamp, ty: ColumnType, rows: u32, payload: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(WHAT, payload);
        let head = PageHead::read(&mut cursor)?;
        if head.stamp != expected {
            return Err(ColumnarError::Misplaced { expected, found: head.stamp });
        }
        if head.rows != rows || rows == 0 || rows as usize > PAGE_ROWS_MAX {
            return Err(cursor.malformed("rows"));
        }
        let rows = rows as usize;
        let mut validity = None;
        if head.nullable {
            let at = cursor.at();
            let stored = cursor.take(Bitmap::stored_len(rows), "validity")?;
            if !Bitmap::is_trimmed(stored, rows) || Bitmap::read(stored, 0, rows).is_all() {
                return Err(cursor.malformed("validity"));
            }
            validity = Some(at);
        }
        let mut reader = BodyReader { cursor, payload, rows, encoding: head.encoding };
        let body = match ty.physical() {
            Physical::Word { width, max } => Body::Words(reader.words(width, max)?),
            Physical::Fixed(len) => Body::Bytes(reader.bytes(Some(len))?),
            Physical::Var => Body::Bytes(reader.bytes(None)?),
        };
        if matches!(body, Body::Bytes(BytesBody::Keys(_))) && validity.is_some() {
            return Err(cursor.malformed("flags"));
        }
        reader.cursor.finish()?;
        Ok(Self { ty, rows, encoding: head.encoding, validity, body })
    }

    /// Number of rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Type of the column.
    pub const fn ty(&self) -> ColumnType {
        self.ty
    }

    /// How the values are laid out.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether `row` has a value.
    #[inline]
    pub fn is_valid(&self, payload: &[u8], row: usize) -> bool {
        self.validity
            .is_none_or(|at| payload.get(at + row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1))
    }

    /// Which of the 64 rows from `first`, a multiple of 64, on have a value. Bits of rows that are not there mean nothing.
    pub(crate) fn valid_word(&self, payload: &[u8], first: usize) -> u64 {
        self.validity.map_or(u64::MAX, |at| crate::cursor::load_u64(payload, at + first / 8))
    }

    /// Which rows have a value; `None` when all have.
    pub fn validity(&self, payload: &[u8]) -> Option<Bitmap> {
        self.validity.map(|at| Bitmap::read(payload, at, self.rows))
    }

    /// The value of `row`, which has to be there. Bytes are borrowed from the payload; only keys in bundles, which
    /// lie there in pieces, are put together in `scratch`.
    #[inline]
    pub fn get<'p>(&self, payload: &'p [u8], row: usize, scratch: &'p mut Vec<u8>) -> Datum<'p> {
        debug_assert!(row < self.rows, "a row of the page");
        if row >= self.rows || !self.is_valid(payload, row) {
            return Datum::Null;
        }
        match &self.body {
            Body::Words(words) => Datum::from_image(self.ty, words.at(payload, row)),
            Body::Bytes(bytes) => Datum::from_bytes(self.ty, bytes.at(payload, row, scratch)),
        }
    }

    /// The page as sorted keys, if that is what it is.
    pub const fn as_keys(&self) -> Option<&KeyPage> {
        match &self.body {
            Body::Bytes(BytesBody::Keys(keys)) => Some(keys),
            _ => None,
        }
    }

    /// Bytes of memory besides the payload.
    pub fn heap_bytes(&self) -> usize {
        self.as_keys().map_or(0, KeyPage::heap_bytes)
    }
}

/// What stands before the values.
pub(crate) struct PageHead {
    pub(crate) stamp: PageStamp,
    pub(crate) rows: u32,
    pub(crate) encoding: Encoding,
    pub(crate) nullable: bool,
}

impl PageHead {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self> {
        let group = cursor.u32("group")?;
        let column = ColumnId::new(cursor.u16("column")?);
        let part = cursor.u16("part")?;
        let rows = cursor.u32("rows")?;
        let code = cursor.u8("encoding")?;
        let flags = cursor.u8("flags")?;
        let reserved = cursor.u16("reserved")?;
        let Some(encoding) = Encoding::from_code(code) else {
            return Err(cursor.unsupported("encoding", code.into()));
        };
        if flags & !FLAG_NULLABLE != 0 {
            return Err(cursor.unsupported("flags", flags.into()));
        }
        if reserved != 0 {
            return Err(cursor.unsupported("reserved", reserved.into()));
        }
        let stamp = PageStamp { group, column, part };
        Ok(Self { stamp, rows, encoding, nullable: flags & FLAG_NULLABLE != 0 })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stamp.group.to_le_bytes());
        out.extend_from_slice(&self.stamp.column.get().to_le_bytes());
        out.extend_from_slice(&self.stamp.part.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&[self.encoding.code(), if self.nullable { FLAG_NULLABLE } else { 0 }, 0, 0]);
    }
}

/// Takes the values of a page apart.
struct BodyReader<'p> {
    cursor: Cursor<'p>,
    payload: &'p [u8],
    rows: usize,
    encoding: Encoding,
}

impl BodyReader<'_> {
    fn words(&mut self, width: usize, max: u64) -> Result<WordBody> {
        let cursor = &mut self.cursor;
        #[expect(clippy::cast_possible_truncation, reason = "a word has at most eight bytes")]
        let full_bits = (8 * width) as u8;
        let body = match self.encoding {
            Encoding::Plain => WordBody::Packed(Packed::whole(cursor, self.rows, full_bits)?),
            Encoding::Bits if max == 1 => WordBody::Packed(Packed::whole(cursor, self.rows, 1)?),
            Encoding::Constant => {
                let bytes = cursor.take(width, "value")?;
                WordBody::Packed(Packed::constant(crate::cursor::load_u64(bytes, 0), self.rows))
            }
            Encoding::RunLength => {
                let ends = self.runs()?;
                let values = Packed::read(&mut self.cursor, ends.count, "values")?;
                WordBody::Runs { ends, values }
            }
            Encoding::Dictionary => {
                let entries = self.entry_count()?;
                let entries = Packed::read(&mut self.cursor, entries, "entries")?;
                let ascend = (1..entries.count)
                    .all(|idx| entries.at(self.payload, idx - 1) < entries.at(self.payload, idx));
                if !ascend {
                    return Err(self.cursor.malformed("entries"));
                }
                WordBody::Dictionary { entries, codes: self.codes(entries.count)? }
            }
            Encoding::FrameOfReference => WordBody::Packed(Packed::read(cursor, self.rows, "offsets")?),
            Encoding::Delta => {
                let anchor_count = self.rows.div_ceil(crate::strings::ANCHOR_ROWS);
                let anchors = Packed::read(cursor, anchor_count, "anchors")?;
                WordBody::Delta { anchors, deltas: Packed::read(cursor, self.rows, "differences")? }
            }
            Encoding::Lengths | Encoding::BundledKeys | Encoding::Bits => {
                return Err(cursor.malformed("encoding"));
            }
        };
        if !body.is_sound(self.payload, max) {
            return Err(self.cursor.malformed("values"));
        }
        Ok(body)
    }

    fn bytes(&mut self, fixed: Option<usize>) -> Result<BytesBody> {
        let cursor = &mut self.cursor;
        let body = match (self.encoding, fixed) {
            (Encoding::Plain, Some(len)) => {
                BytesBody::Fixed { start: cursor.skip(len * self.rows, "values")?, len, step: len }
            }
            (Encoding::Constant, _) => {
                let len = fixed.unwrap_or(cursor.remaining());
                BytesBody::Fixed { start: cursor.skip(len, "value")?, len, step: 0 }
            }
            (Encoding::RunLength, _) => {
                let ends = self.runs()?;
                BytesBody::Runs { ends, values: self.strings(ends.count, fixed)? }
            }
            (Encoding::Dictionary, _) => {
                let entries = self.entry_count()?;
                let entries = self.strings(entries, fixed)?;
                let ascend = (1..entries.count())
                    .all(|idx| entries.at(self.payload, idx - 1) < entries.at(self.payload, idx));
                if !ascend {
                    return Err(self.cursor.malformed("entries"));
                }
                BytesBody::Dictionary { entries, codes: self.codes(entries.count())? }
            }
            (Encoding::Lengths, None) => BytesBody::Strings(self.strings(self.rows, None)?),
            (Encoding::BundledKeys, None) => BytesBody::Keys(KeyPage::read(cursor, self.payload, self.rows)?),
            _ => return Err(cursor.malformed("encoding")),
        };
        Ok(body)
    }

    fn strings(&mut self, count: usize, fixed: Option<usize>) -> Result<Strings> {
        let strings = Strings::read(&mut self.cursor, self.payload, count)?;
        if fixed.is_some_and(|len| !strings.all_have(len)) {
            return Err(self.cursor.malformed("lengths"));
        }
        Ok(strings)
    }

    /// Ends of runs: they ascend, and the last is the number of rows.
    fn runs(&mut self) -> Result<Packed> {
        let count = self.cursor.u32("runs")? as usize;
        if count == 0 || count > self.rows {
            return Err(self.cursor.malformed("runs"));
        }
        let ends = Packed::read(&mut self.cursor, count, "ends")?;
        let mut last = 0;
        for run in 0..count {
            let end = ends.at(self.payload, run);
            if end <= last {
                return Err(self.cursor.malformed("ends"));
            }
            last = end;
        }
        if last == self.rows as u64 { Ok(ends) } else { Err(self.cursor.malformed("ends")) }
    }

    fn entry_count(&mut self) -> Result<usize> {
        let count = self.cursor.u32("entry count")? as usize;
        if count == 0 || count > self.rows { Err(self.cursor.malformed("entry count")) } else { Ok(count) }
    }

    /// A code per row, each of them one of `entries`.
    fn codes(&mut self, entries: usize) -> Result<Packed> {
        let codes = Packed::read_items(&mut self.cursor, self.rows, 0, "codes")?;
        let last = (entries - 1) as u64;
        if codes.is_at_most(self.payload, last) { Ok(codes) } else { Err(self.cursor.malformed("codes")) }
    }
}

/// The stored form of one value, as zones and defaults have it: images big-endian in their width, bytes as they are.
pub(crate) fn write_cell(ty: ColumnType, cell: Cell<'_>, out: &mut Vec<u8>) {
    match (ty.physical(), cell) {
        (Physical::Word { width, .. }, Cell::Word(image)) => {
            out.extend_from_slice(image.to_be_bytes().get(8 - width..).unwrap_or_default());
        }
        _ => out.extend_from_slice(cell.bytes()),
    }
}

/// The value with this stored form.
pub(crate) fn read_cell(ty: ColumnType, stored: &[u8]) -> Option<Cell<'_>> {
    match ty.physical() {
        Physical::Word { width, max } => {
            let image = stored.iter().fold(0, |image, &byte| image << 8 | u64::from(byte));
            (stored.len() == width && image <= max).then_some(Cell::Word(image))
        }
        Physical::Fixed(len) => (stored.len() == len).then_some(Cell::Bytes(stored)),
        Physical::Var => Some(Cell::Bytes(stored)),
    }
}
