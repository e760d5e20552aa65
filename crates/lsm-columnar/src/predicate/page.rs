//! Predicates on encoded pages. A constant is tested once, a run once for all its rows, a dictionary once per entry;
//! bounds are moved into the frame of packed integers; only what is left is compared row by row, 64 rows to a word.

use alloc::{vec, vec::Vec};

use lsm_types::columns::KeyBuf;

use super::{Test, ValueSet, ranges::Ranges};
use crate::{
    Bitmap, Page,
    packed::{BLOCK, Packed},
    page::{Body, BytesBody, WordBody, run_end},
    strings::Strings,
};

/// The rows of `page` that pass `test`; nulls pass no test of values.
pub(super) fn select(test: &Test, page: &Page, payload: &[u8]) -> Bitmap {
    let validity = page.validity(payload);
    let set = match test {
        Test::IsNotNull => return validity.unwrap_or_else(|| Bitmap::all(page.rows())),
        Test::IsNull => {
            let mut nulls = validity.unwrap_or_else(|| Bitmap::all(page.rows()));
            nulls.not();
            return nulls;
        }
        Test::Values(set) => set,
    };
    let mut found = match (set, &page.body) {
        (ValueSet::Words { ranges }, Body::Words(body)) => words(ranges, body, page.rows(), payload),
        (ValueSet::Bytes(set), Body::Bytes(body)) => bytes(set, body, page.rows(), payload),
        _ => Bitmap::none(page.rows()),
    };
    if let Some(validity) = validity {
        found.and(&validity);
    }
    found
}

fn words(ranges: &[(u64, u64)], body: &WordBody, rows: usize, payload: &[u8]) -> Bitmap {
    match body {
        WordBody::Packed(items) => packed(ranges, items, payload),
        WordBody::Runs { ends, values } => spread(&packed(ranges, values, payload), ends, rows, payload),
        WordBody::Dictionary { entries, codes } => coded(&packed(ranges, entries, payload), codes, payload),
        WordBody::Delta { .. } => {
            let mut images = [0; BLOCK];
            fill(rows, |first, count| {
                let Some(images) = images.get_mut(..count) else { return 0 };
                body.unpack(payload, first, images);
                compare(ranges, images)
            })
        }
    }
}

/// Packed integers, compared as they are: the bounds move into their frame.
fn packed(ranges: &[(u64, u64)], items: &Packed, payload: &[u8]) -> Bitmap {
    let (low, span) = (items.base, items.span());
    // An item lies in `low ..= low + span`, and the sum does not wrap: opening the page made sure of what is there.
    let high = low.saturating_add(span);
    let moved: Vec<(u64, u64)> = ranges
        .iter()
        .filter(|(from, last)| *last >= low && *from <= high)
        .map(|(from, last)| (from.saturating_sub(low), (*last).min(high) - low))
        .collect();
    match moved[..] {
        [] => return Bitmap::none(items.count),
        [(0, last)] if last >= high - low => return Bitmap::all(items.count),
        _ => {}
    }
    if items.bits == 1 {
        let wants_ones = moved.first() == Some(&(1, 1));
        let mut bits = items.as_bits(payload);
        if !wants_ones {
            bits.not();
        }
        return bits;
    }
    let offsets = items.without_base();
    let mut block = [0; BLOCK];
    fill(items.count, |first, count| {
        let Some(block) = block.get_mut(..count) else { return 0 };
        offsets.unpack(payload, first, block);
        compare(&moved, block)
    })
}

/// Which of up to 64 items lie in one of `ranges`.
#[inline]
fn compare(ranges: &[(u64, u64)], items: &[u64]) -> u64 {
    match ranges {
        [] => 0,
        [one] => within(*one, items),
        [one, two] => within(*one, items) | within(*two, items),
        _ => mask(items, |item| {
            let at = ranges.partition_point(|(_, last)| *last < item);
            ranges.get(at).is_some_and(|(from, _)| *from <= item)
        }),
    }
}

#[inline]
fn within((from, last): (u64, u64), items: &[u64]) -> u64 {
    let span = last - from;
    mask(items, |item| item.wrapping_sub(from) <= span)
}

#[inline]
fn mask(items: &[u64], test: impl Fn(u64) -> bool) -> u64 {
    // Eight at a time: their answers are independent bytes, which the compiler keeps in a vector.
    let (groups, rest) = items.as_chunks::<8>();
    let mut word = 0;
    for (idx, group) in groups.iter().enumerate() {
        let bits = group.iter().enumerate().fold(0, |bits, (bit, &item)| bits | u64::from(test(item)) << bit);
        word |= bits << (8 * idx);
    }
    rest.iter()
        .enumerate()
        .fold(word, |word, (idx, &item)| word | u64::from(test(item)) << (8 * groups.len() + idx))
}

/// A set of `rows` rows, made 64 at a time.
fn fill(rows: usize, mut word_of: impl FnMut(usize, usize) -> u64) -> Bitmap {
    let mut found = Bitmap::none(rows);
    for (idx, word) in found.words_mut().iter_mut().enumerate() {
        *word = word_of(idx * BLOCK, BLOCK.min(rows - idx * BLOCK));
    }
    found
}

/// The rows of the runs that are in `runs`.
fn spread(runs: &Bitmap, ends: &Packed, rows: usize, payload: &[u8]) -> Bitmap {
    let mut found = Bitmap::none(rows);
    for range in runs.ranges() {
        let start = range.start.checked_sub(1).map_or(0, |run| run_end(ends, payload, run));
        found.set_range(start..run_end(ends, payload, range.end - 1), true);
    }
    found
}

/// The rows whose code is in `entries`. Entries are sorted, so most sets of values are one range of codes.
fn coded(entries: &Bitmap, codes: &Packed, payload: &[u8]) -> Bitmap {
    let mut ranges = vec![];
    for range in entries.ranges() {
        if ranges.len() == 2 {
            // Many ranges: look the code up.
            let mut block = [0; BLOCK];
            return fill(codes.count, |first, count| {
                let Some(block) = block.get_mut(..count) else { return 0 };
                codes.unpack(payload, first, block);
                mask(block, |code| entries.contains(usize::try_from(code).unwrap_or(usize::MAX)))
            });
        }
        ranges.push((range.start as u64, range.end as u64 - 1));
    }
    packed(&ranges, codes, payload)
}

fn bytes(set: &Ranges<Vec<u8>>, body: &BytesBody, rows: usize, payload: &[u8]) -> Bitmap {
    let contains = |value: &[u8]| set.contains(|border| border[..].cmp(value));
    let strings = |strings: &Strings| {
        (0..strings.count()).map(|idx| contains(strings.at(payload, idx))).collect::<Bitmap>()
    };
    match body {
        BytesBody::Fixed { start, len, step: 0 } => {
            let holds = contains(payload.get(*start..start + len).unwrap_or_default());
            if holds { Bitmap::all(rows) } else { Bitmap::none(rows) }
        }
        BytesBody::Fixed { start, len, step } => {
            let value = |row: usize| payload.get(start + row * step..start + row * step + len);
            (0..rows).map(|row| contains(value(row).unwrap_or_default())).collect()
        }
        BytesBody::Runs { ends, values } => spread(&strings(values), ends, rows, payload),
        BytesBody::Dictionary { entries, codes } => coded(&strings(entries), codes, payload),
        BytesBody::Strings(all) => {
            let mut lens = [0; BLOCK];
            let mut rest = all.heap(payload);
            fill(rows, |first, count| {
                let Some(lens) = lens.get_mut(..count) else { return 0 };
                all.lens(payload, first, lens);
                lens.iter().enumerate().fold(0, |word, (idx, len)| {
                    let len = usize::try_from(*len).unwrap_or(usize::MAX);
                    let (value, tail) = rest.split_at_checked(len).unwrap_or((rest, &[]));
                    rest = tail;
                    word | u64::from(contains(value)) << idx
                })
            })
        }
        BytesBody::Keys(keys) => {
            // Keys are sorted by the tree's comparator, which need not be that of bytes.
            let mut key = KeyBuf::new();
            (0..rows)
                .map(|row| {
                    keys.key(payload, row, &mut key);
                    contains(key.as_slice())
                })
                .collect()
        }
    }
}
