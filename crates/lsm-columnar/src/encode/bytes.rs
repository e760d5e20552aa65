//! Values that are bytes.

use alloc::vec::Vec;
use core::ops::Range;

use lsm_types::{KeyHash, MAX_KEY_LEN, columns::KeysWriter};

use super::{Candidate, Distinct, EncodingSet, choose};
use crate::{
    Bitmap, ColumnVector, ColumnarError, Encoding, Result, Values,
    packed::{self, bits_for},
    page::{KEYS_HEAD_LEN, write_keys_head},
    strings,
};

/// Rows per bundle of keys, as a power of two: what row blocks have.
const BUNDLE_SHIFT: u8 = 4;

/// The values to encode.
pub(super) struct Input<'a> {
    /// One per row; under a null, the value before it.
    pub(super) values: &'a [&'a [u8]],
    pub(super) validity: Option<&'a Bitmap>,
    /// Bytes per value, if all have the same by their type.
    pub(super) fixed: Option<usize>,
    /// Whether these are user keys, which are always stored as such.
    pub(super) is_key: bool,
}

/// The values of `rows`, those under nulls replaced by the one before them.
pub(super) fn slices<'v>(
    vector: &'v ColumnVector,
    rows: Range<usize>,
    validity: Option<&Bitmap>,
) -> Vec<&'v [u8]> {
    let value = |row: usize| match vector.values() {
        Values::Fixed { len, bytes } => bytes.get(row * len..row * len + len).unwrap_or_default(),
        Values::Bytes(strings) => strings.get(row),
        _ => &[],
    };
    let start = rows.start;
    let first = validity.and_then(|validity| validity.rows().next()).unwrap_or(0);
    let mut last = value(start + first);
    rows.map(|row| {
        if validity.is_none_or(|validity| validity.contains(row - start)) {
            last = value(row);
        }
        last
    })
    .collect()
}

/// What one pass over the values tells.
#[derive(Debug)]
pub(super) struct Stats<'a> {
    pub(super) min: &'a [u8],
    pub(super) max: &'a [u8],
    pub(super) is_sorted: bool,
    /// Bytes of the values that are there.
    pub(super) raw_len: usize,
    /// Bytes with those under nulls.
    filled_len: usize,
    runs: usize,
    runs_len: usize,
    len_min: usize,
    len_max: usize,
}

impl<'a> Stats<'a> {
    pub(super) fn of(values: &[&'a [u8]], validity: Option<&Bitmap>) -> Self {
        let first = values.first().copied().unwrap_or_default();
        let mut stats = Self {
            min: first,
            max: first,
            is_sorted: true,
            raw_len: 0,
            filled_len: 0,
            runs: 0,
            runs_len: 0,
            len_min: first.len(),
            len_max: first.len(),
        };
        let mut last = None;
        for (row, &value) in values.iter().enumerate() {
            let valid = validity.is_none_or(|validity| validity.contains(row));
            stats.raw_len += if valid { value.len() } else { 0 };
            stats.filled_len += value.len();
            stats.len_min = stats.len_min.min(value.len());
            stats.len_max = stats.len_max.max(value.len());
            match last.map(|last: &[u8]| value.cmp(last)) {
                Some(core::cmp::Ordering::Equal) => continue,
                Some(core::cmp::Ordering::Less) => stats.is_sorted = false,
                _ => {}
            }
            stats.runs += 1;
            stats.runs_len += value.len();
            stats.min = stats.min.min(value);
            stats.max = stats.max.max(value);
            last = Some(value);
        }
        stats
    }

    /// The same where nulls are stored as empty.
    const fn len_span_with(&self, validity: Option<&Bitmap>) -> u64 {
        if validity.is_some() { self.len_max as u64 } else { self.len_span() }
    }

    /// Most that the packed lengths of any subset of the values span.
    const fn len_span(&self) -> u64 {
        (self.len_max - self.len_min) as u64
    }
}

/// Appends the values in the best form and answers which that is.
pub(super) fn encode(
    input: &Input<'_>,
    stats: &Stats<'_>,
    allowed: EncodingSet,
    distinct: &mut Distinct,
    out: &mut Vec<u8>,
) -> Result<Encoding> {
    let values = input.values;
    let rows = values.len();
    if input.is_key {
        if input.validity.is_some() || stats.len_max > MAX_KEY_LEN {
            return Err(ColumnarError::Null { column: crate::ColumnId::KEY });
        }
        Keys::of(values).write(out);
        return Ok(Encoding::BundledKeys);
    }
    let mut candidates = Vec::with_capacity(Encoding::ALL.len());
    let mut offer = |encoding: Encoding, len: usize| {
        if allowed.has(encoding) {
            candidates.push(Candidate { encoding, len });
        }
    };
    let fallback = match input.fixed {
        Some(len) => Candidate { encoding: Encoding::Plain, len: rows * len },
        None => Candidate {
            encoding: Encoding::Lengths,
            len: strings::stored_len(
                rows,
                stats.raw_len,
                stats.len_span_with(input.validity),
                stats.raw_len as u64,
            ),
        },
    };
    offer(fallback.encoding, fallback.len);
    // Values repeated under nulls must not let a page decode to many times its bytes.
    if stats.filled_len <= 2 * stats.raw_len + (64 << 10) {
        if stats.runs == 1 {
            offer(Encoding::Constant, stats.len_max);
        }
        let ends_len = 4 + packed::stored_len(stats.runs, rows as u64);
        let last = stats.runs_len as u64;
        offer(
            Encoding::RunLength,
            ends_len + strings::stored_len(stats.runs, stats.runs_len, stats.len_span(), last),
        );
        if allowed.has(Encoding::Dictionary) {
            let best = candidates.iter().map(|candidate| candidate.len).min().unwrap_or(usize::MAX);
            candidates.extend(dictionary(values, stats, distinct, best));
        }
    }
    let mut keys = None;
    let is_sorted = stats.is_sorted && input.validity.is_none() && stats.len_max <= MAX_KEY_LEN;
    if is_sorted && input.fixed.is_none() && allowed.has(Encoding::BundledKeys) {
        let built = Keys::of(values);
        candidates.push(Candidate { encoding: Encoding::BundledKeys, len: built.len() });
        keys = Some(built);
    }
    let encoding = choose(candidates.into_iter()).unwrap_or(fallback.encoding);
    match (encoding, keys) {
        (Encoding::BundledKeys, Some(keys)) => keys.write(out),
        (Encoding::Constant, _) => out.extend_from_slice(stats.min),
        (Encoding::RunLength, _) => write_runs(values, stats, out),
        (Encoding::Dictionary, _) => write_dictionary(values, distinct, out),
        (Encoding::Plain, _) => values.iter().for_each(|value| out.extend_from_slice(value)),
        _ => {
            let under_null = |row| input.validity.is_some_and(|validity| !validity.contains(row));
            let strings =
                values.iter().enumerate().map(|(row, &value)| if under_null(row) { &[][..] } else { value });
            strings::write(strings, stats.raw_len, out);
        }
    }
    Ok(encoding)
}

/// A dictionary, if it is smaller than `best`.
fn dictionary(
    values: &[&[u8]],
    stats: &Stats<'_>,
    distinct: &mut Distinct,
    best: usize,
) -> Option<Candidate> {
    let rows = values.len();
    let value = |row: usize| values.get(row).copied().unwrap_or_default();
    let mut heap_len = 0;
    let len = |entries: usize, heap_len: usize| {
        let code_bits = bits_for((entries - 1) as u64);
        4 + strings::stored_len(entries, heap_len, stats.len_span(), heap_len as u64)
            + 1
            + packed::items_len(rows, code_bits)
    };
    let counted = distinct.count(
        rows,
        |row| KeyHash::of(value(row)).get(),
        |a, b| value(a) == value(b),
        |entries, row| {
            heap_len += value(row).len();
            len(entries, heap_len) < best
        },
    );
    counted.then(|| Candidate { encoding: Encoding::Dictionary, len: len(distinct.len(), heap_len) })
}

fn write_runs(values: &[&[u8]], stats: &Stats<'_>, out: &mut Vec<u8>) {
    let runs = || values.chunk_by(|a, b| a == b);
    out.extend_from_slice(&u32::try_from(stats.runs).unwrap_or(u32::MAX).to_le_bytes());
    let ends = runs().scan(0, |end, run| {
        *end += run.len() as u64;
        Some(*end)
    });
    packed::write(ends, 0, values.len() as u64, out);
    strings::write(runs().filter_map(|run| run.first().copied()), stats.runs_len, out);
}

fn write_dictionary(values: &[&[u8]], distinct: &Distinct, out: &mut Vec<u8>) {
    let value = |row: usize| values.get(row).copied().unwrap_or_default();
    let (rows, codes) = distinct.sorted(|a, b| value(a).cmp(value(b)));
    out.extend_from_slice(&u32::try_from(rows.len()).unwrap_or(u32::MAX).to_le_bytes());
    let heap_len = rows.iter().map(|&row| value(row).len()).sum();
    strings::write(rows.iter().map(|&row| value(row)), heap_len, out);
    let bits = bits_for((rows.len() - 1) as u64);
    out.push(bits);
    packed::write_items(codes, bits, out);
}

/// Keys in bundles, and which rows repeat the key before them.
struct Keys {
    writer: KeysWriter,
    repeats: Bitmap,
    has_repeats: bool,
}

impl Keys {
    fn of(values: &[&[u8]]) -> Self {
        let mut keys =
            Self { writer: KeysWriter::new(BUNDLE_SHIFT), repeats: Bitmap::new(), has_repeats: false };
        let mut last = None;
        for &value in values {
            let repeats = last == Some(value) && !keys.writer.at_bundle_head();
            if repeats {
                keys.writer.repeat();
            } else {
                keys.writer.push(value);
            }
            keys.repeats.push(repeats);
            keys.has_repeats |= repeats;
            last = Some(value);
        }
        keys
    }

    fn len(&self) -> usize {
        let marks = if self.has_repeats { Bitmap::stored_len(self.repeats.len()) } else { 0 };
        KEYS_HEAD_LEN + self.writer.encoded_len() + marks
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_keys_head(self.writer.shape(), self.has_repeats, out);
        self.writer.write_columns(out);
        if self.has_repeats {
            self.repeats.write(out);
        }
        self.writer.write_heap(out);
    }
}
