//! A block of rows out of columns that were decoded: what reads of rows make of a row group.

use alloc::vec::Vec;

use lsm_columnar::KeyPage;
use lsm_types::{
    Kind, Slice,
    columns::{BundledKeys, KeyBuf, KeysWriter, Layout, Width},
};

use super::{DataBlock, SAME_KEY, block::Parts};
use crate::payload::PayloadError;

/// Rows per bundle of keys that are bundled anew, as a power of two.
const BUNDLE_SHIFT: u8 = 4;

/// The rows of a group, column by column.
pub(crate) struct RowColumns<'a> {
    /// Pages of keys, each with its payload.
    pub(crate) keys: &'a [(&'a KeyPage, &'a [u8])],
    pub(crate) seqnos: &'a [u64],
    pub(crate) kinds: &'a [u8],
    /// Where the value of each row ends in `values`.
    pub(crate) value_ends: &'a [u32],
    pub(crate) values: &'a [u8],
}

impl DataBlock {
    /// The rows as a block. As sound as one that was decoded, whatever the columns hold.
    ///
    /// # Errors
    /// [`PayloadError`] for columns that make no block.
    pub(crate) fn of_columns(columns: &RowColumns<'_>) -> Result<Self, PayloadError> {
        let rows = columns.kinds.len();
        let counts = [columns.seqnos.len(), columns.value_ends.len()];
        if rows == 0 || counts.iter().any(|&count| count != rows) {
            return Err(PayloadError::field("rows"));
        }
        let seqno_base = columns.seqnos.iter().copied().min().unwrap_or_default();
        let seqno_max = columns.seqnos.iter().copied().max().unwrap_or_default();
        let width = Width::of(seqno_max - seqno_base);
        let first_kind = columns.kinds.first().copied().unwrap_or_default();
        let all_kinds = columns.kinds.iter().all(|&kind| kind == first_kind);

        let mut payload = Vec::new();
        let keys = write_keys(columns, &mut payload)?;
        let Keys { places: keys, heads, repeats } = keys;
        if keys.rows() != rows {
            return Err(PayloadError::field("rows"));
        }
        let has_runs = repeats.iter().any(|&repeats| repeats);
        payload.reserve(rows * (1 + width.bytes() + 4) + columns.values.len());
        let kinds = (has_runs || !all_kinds).then_some(payload.len());
        let kind = Kind::from_tag(first_kind).ok_or(PayloadError::Item { field: "kind", item: 0 })?;
        if kinds.is_some() {
            let marks = repeats.iter().copied().chain(core::iter::repeat(false));
            let bytes = columns.kinds.iter().zip(marks);
            payload.extend(bytes.map(|(kind, repeats)| kind | if repeats { SAME_KEY } else { 0 }));
            // A kind that is no kind must not pass for a mark.
            if let Some(item) = columns.kinds.iter().position(|kind| Kind::from_tag(*kind).is_none()) {
                return Err(PayloadError::Item { field: "kind", item });
            }
        }
        let seqnos_at = payload.len();
        columns.seqnos.iter().for_each(|seqno| width.put(seqno - seqno_base, &mut payload));
        let ends_at = payload.len();
        columns.value_ends.iter().for_each(|end| payload.extend_from_slice(&end.to_le_bytes()));
        let values = payload.len();
        payload.extend_from_slice(columns.values);
        let seqnos = Layout::new(seqnos_at, ends_at).column(rows, width, seqno_base, "seqnos")?;
        let value_ends = Layout::new(ends_at, values).column(rows, Width::Four, 0, "value ends")?;
        Self::of_parts(Parts {
            payload: Slice::from(payload),
            keys,
            heads,
            kinds,
            kind,
            seqnos,
            value_ends,
            values,
            has_runs,
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
