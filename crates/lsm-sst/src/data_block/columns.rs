//! A block of rows out of columns that were decoded: what reads of rows make of a row group.

use alloc::vec::Vec;

use lsm_columnar::{KeyPage, RowValues};
use lsm_types::{
    Kind, Slice,
    columns::{BundledKeys, Column, KeyBuf, KeysWriter, Layout, Width},
};

use super::{DataBlock, SAME_KEY, block::Parts};
use crate::payload::PayloadError;

/// Rows per bundle of keys that are bundled anew, as a power of two.
const BUNDLE_SHIFT: u8 = 4;

/// The rows of a group, column by column, but for their values.
pub(crate) struct RowColumns<'a> {
    /// Pages of keys, each with its payload.
    pub(crate) keys: &'a [(&'a KeyPage, &'a [u8])],
    pub(crate) seqnos: &'a [u64],
    pub(crate) kinds: &'a [u8],
}

/// A block that lacks its values.
pub(crate) struct BegunBlock {
    keys: Keys,
    kinds: Option<usize>,
    kind: Kind,
    seqnos: Column,
    value_ends: Column,
    /// Where the ends of values stand.
    ends_at: usize,
    has_runs: bool,
}

impl DataBlock {
    /// The rows as a block, and the payload that their values have to be added to. As sound as one that was decoded,
    /// whatever the columns hold.
    ///
    /// * `values_hint`: bytes to set aside for the values.
    ///
    /// # Errors
    /// [`PayloadError`] for columns that make no block.
    pub(crate) fn begin(
        columns: &RowColumns<'_>,
        values_hint: usize,
    ) -> Result<(BegunBlock, Vec<u8>), PayloadError> {
        let rows = columns.kinds.len();
        if rows == 0 || columns.seqnos.len() != rows {
            return Err(PayloadError::field("rows"));
        }
        let seqno_base = columns.seqnos.iter().copied().min().unwrap_or_default();
        let seqno_max = columns.seqnos.iter().copied().max().unwrap_or_default();
        let width = Width::of(seqno_max - seqno_base);
        let first_kind = columns.kinds.first().copied().unwrap_or_default();
        let all_kinds = columns.kinds.iter().all(|&kind| kind == first_kind);

        let key_bytes: usize = columns.keys.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut payload = Vec::with_capacity(key_bytes + rows * (1 + width.bytes() + 4) + values_hint);
        let keys = write_keys(columns, &mut payload)?;
        if keys.places.rows() != rows {
            return Err(PayloadError::field("rows"));
        }
        let has_runs = keys.repeats.iter().any(|&repeats| repeats);
        let kinds = (has_runs || !all_kinds).then_some(payload.len());
        let kind = Kind::from_tag(first_kind).ok_or(PayloadError::Item { field: "kind", item: 0 })?;
        if kinds.is_some() {
            let marks = keys.repeats.iter().copied().chain(core::iter::repeat(false));
            let bytes = columns.kinds.iter().zip(marks);
            payload.extend(bytes.map(|(kind, repeats)| kind | if repeats { SAME_KEY } else { 0 }));
            // A kind that is no kind must not pass for a mark.
            if let Some(item) = columns.kinds.iter().position(|kind| Kind::from_tag(*kind).is_none()) {
                return Err(PayloadError::Item { field: "kind", item });
            }
        }
        let seqnos_at = payload.len();
        if width != Width::Zero {
            columns.seqnos.iter().for_each(|seqno| width.put(seqno - seqno_base, &mut payload));
        }
        let ends_at = payload.len();
        payload.resize(ends_at + 4 * rows, 0);
        let values = payload.len();
        let seqnos = Layout::new(seqnos_at, ends_at).column(rows, width, seqno_base, "seqnos")?;
        let value_ends = Layout::new(ends_at, values).column(rows, Width::Four, 0, "value ends")?;
        Ok((BegunBlock { keys, kinds, kind, seqnos, value_ends, ends_at, has_runs }, payload))
    }
}

impl BegunBlock {
    /// The whole block, of the payload that values were added to, one for each row.
    ///
    /// # Errors
    /// [`PayloadError`] for values that do not fit the rows.
    pub(crate) fn finish(self, values: RowValues) -> Result<DataBlock, PayloadError> {
        let (mut payload, ends) = values.into_parts();
        let rows = self.keys.places.rows();
        if ends.len() != rows {
            return Err(PayloadError::field("rows"));
        }
        let places = payload.get_mut(self.ends_at..self.ends_at + 4 * rows).unwrap_or_default();
        for (place, end) in places.as_chunks_mut().0.iter_mut().zip(ends) {
            *place = end.to_le_bytes();
        }
        // A cache keeps the block, and counts the bytes that are in use.
        if payload.capacity() - payload.len() > payload.len() / 8 {
            payload.shrink_to_fit();
        }
        DataBlock::of_parts(Parts {
            payload: Slice::from(payload),
            keys: self.keys.places,
            heads: self.keys.heads,
            kinds: self.kinds,
            kind: self.kind,
            seqnos: self.seqnos,
            value_ends: self.value_ends,
            values: self.ends_at + 4 * rows,
            has_runs: self.has_runs,
        })
    }
}

/// Keys at the front of a payload.
struct Keys {
    places: BundledKeys,
    heads: Vec<u64>,
    /// Which rows repeat the key before, as far as that is marked; empty for none.
    repeats: Vec<bool>,
}

/// A single page of keys is taken as it is; several are bundled anew.
fn write_keys(columns: &RowColumns<'_>, payload: &mut Vec<u8>) -> Result<Keys, PayloadError> {
    if let [(page, bytes)] = columns.keys {
        payload.extend_from_slice(bytes);
        let mut repeats = Vec::new();
        if page.has_repeats() {
            repeats.extend((0..page.rows()).map(|row| page.is_repeat(bytes, row)));
        }
        return Ok(Keys { places: *page.bundled(), heads: page.heads().to_vec(), repeats });
    }
    let (mut writer, mut key, mut last) = (KeysWriter::new(BUNDLE_SHIFT), KeyBuf::new(), Vec::new());
    let mut repeats = Vec::new();
    for (page, bytes) in columns.keys {
        key.reset();
        for row in 0..page.rows() {
            page.key(bytes, row, &mut key);
            let is_again = !writer.at_bundle_head() && key.as_slice() == last.as_slice();
            repeats.push(is_again);
            if is_again {
                writer.repeat();
                continue;
            }
            writer.push(key.as_slice());
            last.clear();
            last.extend_from_slice(key.as_slice());
        }
    }
    writer.write_columns(payload);
    writer.write_heap(payload);
    let mut layout = Layout::new(0, payload.len());
    let mut keys = BundledKeys::place(writer.shape(), &mut layout)?;
    keys.place_heap(&mut layout)?;
    layout.finish()?;
    keys.check(payload)?;
    Ok(Keys { heads: keys.bundle_heads(payload), places: keys, repeats })
}
