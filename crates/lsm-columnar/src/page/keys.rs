//! Sorted keys in bundles: the layout of row blocks, with a bit for each row that repeats the key before it.

use alloc::vec::Vec;

use lsm_types::{
    KeyOrder,
    columns::{BundledKeys, KeyBuf, KeyShape, Layout, Point, Width},
};

use crate::{Bitmap, Result, cursor::Cursor};

/// Flag: rows that repeat a key are marked.
const FLAG_REPEATS: u8 = 1;

/// An opened page of sorted keys. Holds no key bytes; every access names the payload again.
#[derive(Clone, Debug)]
pub struct KeyPage {
    keys: BundledKeys,
    /// Where the marks of repeated keys start, if there are any.
    repeats: Option<usize>,
    heads: Vec<u64>,
}

impl KeyPage {
    pub(super) fn read(cursor: &mut Cursor<'_>, payload: &[u8], rows: usize) -> Result<Self> {
        let shift = cursor.u8("bundle shift")?;
        let Some(end_width) = Width::from_code(cursor.u8("key end width")?) else {
            return Err(cursor.malformed("key end width"));
        };
        let flags = cursor.u8("key flags")?;
        if flags & !FLAG_REPEATS != 0 || cursor.u8("reserved")? != 0 {
            return Err(cursor.unsupported("key flags", flags.into()));
        }
        let prefix_len = usize::from(cursor.u16("prefix length")?);
        let heap_len = cursor.u32("heap length")? as usize;
        let shape = KeyShape { rows, shift, prefix_len, end_width, heap_len };
        let mut layout = Layout::new(cursor.at(), payload.len());
        let malformed = |found: lsm_types::columns::Malformed| cursor.malformed(found.field);
        let mut keys = BundledKeys::place(shape, &mut layout).map_err(malformed)?;
        let mut repeats = None;
        if flags & FLAG_REPEATS != 0 {
            repeats = Some(layout.take(Bitmap::stored_len(rows), 1, "repeats").map_err(malformed)?);
        }
        keys.place_heap(&mut layout).map_err(malformed)?;
        layout.finish().map_err(malformed)?;
        keys.check(payload).map_err(malformed)?;
        cursor.skip(cursor.remaining(), "keys")?;
        let page = Self { keys, repeats, heads: keys.bundle_heads(payload) };
        if let Some(at) = repeats {
            let stored = payload.get(at..at + Bitmap::stored_len(rows)).unwrap_or_default();
            let marks = Bitmap::read(stored, 0, rows);
            // A repetition has no suffix of its own, and every bundle starts with a key.
            let holds =
                marks.rows().all(|row| !keys.is_bundle_head(row) && keys.suffix(payload, row).is_empty());
            if !holds || marks.is_none() || !Bitmap::is_trimmed(stored, rows) {
                return Err(cursor.malformed("repeats"));
            }
        }
        Ok(page)
    }

    /// The row that stores the key of `row`: itself unless the key is a repetition.
    #[inline]
    fn owner(&self, payload: &[u8], mut row: usize) -> usize {
        let Some(at) = self.repeats else { return row };
        while row > 0 && payload.get(at + row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1) {
            row -= 1;
        }
        row
    }

    /// Where the keys lie in the payload.
    pub const fn bundled(&self) -> &BundledKeys {
        &self.keys
    }

    /// Heads of the bundles' first keys, for searches in [`KeyPage::bundled`].
    pub fn heads(&self) -> &[u64] {
        &self.heads
    }

    /// Whether some row is marked as a repetition of the key before it.
    pub const fn has_repeats(&self) -> bool {
        self.repeats.is_some()
    }

    /// Whether `row` has the key of the row before it, by the marks.
    pub fn is_repeat(&self, payload: &[u8], row: usize) -> bool {
        self.owner(payload, row) != row
    }

    /// First row at or after `key`, of whose own rows those for which `is_before` holds are passed over (they are the
    /// first of them); the number of rows if there is none.
    #[inline]
    pub fn lower_bound(
        &self,
        payload: &[u8],
        order: &KeyOrder,
        key: &[u8],
        is_before: impl Fn(usize) -> bool,
    ) -> usize {
        let point = Point { key, owner: |row| self.owner(payload, row), is_before };
        self.keys.lower_bound(payload, &self.heads, order, &point)
    }

    /// The row [`KeyPage::lower_bound`] answers, if it has this very key.
    #[inline]
    pub fn find(
        &self,
        payload: &[u8],
        order: &KeyOrder,
        key: &[u8],
        is_before: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let point = Point { key, owner: |row| self.owner(payload, row), is_before };
        self.keys.find(payload, &self.heads, order, &point)
    }

    /// The key of `row`, assembled in `out`, where neighbours share work.
    #[inline]
    pub fn key(&self, payload: &[u8], row: usize, out: &mut KeyBuf) {
        self.keys.key(payload, self.owner(payload, row), out);
    }

    /// The key of `row` in place of what `out` held.
    pub(super) fn copy(&self, payload: &[u8], row: usize, out: &mut Vec<u8>) {
        let row = self.owner(payload, row);
        out.clear();
        out.extend_from_slice(self.keys.block_prefix(payload));
        out.extend_from_slice(self.keys.bundle_prefix(payload, row));
        out.extend_from_slice(self.keys.suffix(payload, row));
    }

    /// Number of keys.
    pub const fn rows(&self) -> usize {
        self.keys.rows()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(self.heads.as_slice())
    }
}

/// Appends the head of a page's keys.
pub(crate) fn write_keys_head(shape: KeyShape, has_repeats: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&[shape.shift, shape.end_width.code(), u8::from(has_repeats), 0]);
    out.extend_from_slice(&u16::try_from(shape.prefix_len).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(&u32::try_from(shape.heap_len).unwrap_or(u32::MAX).to_le_bytes());
}

/// Bytes before the columns of keys.
pub(crate) const KEYS_HEAD_LEN: usize = 10;
