//! Images of values of up to eight bytes.

use alloc::vec::Vec;

use super::{Candidate, Distinct, EncodingSet, choose};
use crate::{
    Encoding,
    packed::{self, bits_for},
    strings::ANCHOR_ROWS,
};

/// What one pass over the images tells.
#[derive(Debug)]
pub(super) struct Stats {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) is_sorted: bool,
    runs: usize,
    /// Smallest and largest difference to the row before, as signed numbers.
    delta_min: i64,
    delta_max: i64,
}

impl Stats {
    pub(super) fn of(images: &[u64]) -> Self {
        let first = images.first().copied().unwrap_or(0);
        let mut stats = Self {
            min: first,
            max: first,
            is_sorted: true,
            runs: 1,
            delta_min: i64::MAX,
            delta_max: i64::MIN,
        };
        let mut last = first;
        for &image in images.iter().skip(1) {
            let delta = image.wrapping_sub(last).cast_signed();
            stats.min = stats.min.min(image);
            stats.max = stats.max.max(image);
            stats.runs += usize::from(delta != 0);
            stats.is_sorted &= image >= last;
            stats.delta_min = stats.delta_min.min(delta);
            stats.delta_max = stats.delta_max.max(delta);
            last = image;
        }
        stats
    }

    const fn delta_span(&self) -> u64 {
        self.delta_max.wrapping_sub(self.delta_min).cast_unsigned()
    }
}

/// Appends the images in the best form and answers which that is.
pub(super) fn encode(
    images: &[u64],
    stats: &Stats,
    (width, max): (usize, u64),
    allowed: EncodingSet,
    distinct: &mut Distinct,
    out: &mut Vec<u8>,
) -> Encoding {
    let rows = images.len();
    let span = stats.max - stats.min;
    let plain = Candidate { encoding: Encoding::Plain, len: rows * width };
    let mut candidates = Vec::with_capacity(Encoding::ALL.len());
    let mut offer = |encoding: Encoding, len: usize| {
        if allowed.has(encoding) {
            candidates.push(Candidate { encoding, len });
        }
    };
    if stats.runs == 1 {
        offer(Encoding::Constant, width);
    }
    if max == 1 {
        offer(Encoding::Bits, rows.div_ceil(8));
    }
    offer(Encoding::Plain, plain.len);
    offer(Encoding::FrameOfReference, packed::stored_len(rows, span));
    if rows > 1 {
        let anchors = Anchors::of(images, stats);
        let anchors_len = packed::stored_len(rows.div_ceil(ANCHOR_ROWS), anchors.span());
        offer(Encoding::Delta, anchors_len + packed::stored_len(rows, stats.delta_span()));
    }
    offer(
        Encoding::RunLength,
        4 + packed::stored_len(stats.runs, rows as u64) + packed::stored_len(stats.runs, span),
    );
    if allowed.has(Encoding::Dictionary) && max != 1 {
        let best = candidates.iter().map(|candidate| candidate.len).min().unwrap_or(usize::MAX);
        let len = |entries: usize| dictionary_len(entries, span, rows);
        let hash = |row: usize| hash(image_at(images, row));
        let same = |a: usize, b: usize| image_at(images, a) == image_at(images, b);
        if distinct.count(rows, hash, same, |entries, _| len(entries) < best) {
            candidates.push(Candidate { encoding: Encoding::Dictionary, len: len(distinct.len()) });
        }
    }
    let encoding = choose(candidates.into_iter()).unwrap_or(plain.encoding);
    match encoding {
        Encoding::Constant => {
            out.extend_from_slice(stats.min.to_le_bytes().get(..width).unwrap_or_default());
        }
        Encoding::Bits => packed::write_items(images.iter().copied(), 1, out),
        Encoding::FrameOfReference => packed::write(images.iter().copied(), stats.min, span, out),
        Encoding::RunLength => write_runs(images, stats, out),
        Encoding::Dictionary => write_dictionary(images, stats, distinct, out),
        Encoding::Delta => write_deltas(images, stats, out),
        _ => packed::write_items(images.iter().copied(), plain_bits(width), out),
    }
    encoding
}

/// A dictionary's length: its entries span what the rows span.
fn dictionary_len(entries: usize, span: u64, rows: usize) -> usize {
    let code_bits = bits_for((entries - 1) as u64);
    4 + packed::stored_len(entries, span) + 1 + packed::items_len(rows, code_bits)
}

#[expect(clippy::cast_possible_truncation, reason = "a word has at most eight bytes")]
const fn plain_bits(width: usize) -> u8 {
    (8 * width) as u8
}

fn image_at(images: &[u64], row: usize) -> u64 {
    images.get(row).copied().unwrap_or(0)
}

const fn hash(image: u64) -> u64 {
    let mixed = image.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ mixed >> 32
}

fn write_runs(images: &[u64], stats: &Stats, out: &mut Vec<u8>) {
    let runs = || images.chunk_by(|a, b| a == b);
    out.extend_from_slice(&u32::try_from(stats.runs).unwrap_or(u32::MAX).to_le_bytes());
    let ends = runs().scan(0, |end, run| {
        *end += run.len() as u64;
        Some(*end)
    });
    packed::write(ends, 0, images.len() as u64, out);
    let values = runs().filter_map(|run| run.first().copied());
    packed::write(values, stats.min, stats.max - stats.min, out);
}

fn write_dictionary(images: &[u64], stats: &Stats, distinct: &Distinct, out: &mut Vec<u8>) {
    let (rows, codes) = distinct.sorted(|a, b| image_at(images, a).cmp(&image_at(images, b)));
    out.extend_from_slice(&u32::try_from(rows.len()).unwrap_or(u32::MAX).to_le_bytes());
    packed::write(rows.iter().map(|&row| image_at(images, row)), stats.min, stats.max - stats.min, out);
    let bits = bits_for((rows.len() - 1) as u64);
    out.push(bits);
    packed::write_items(codes, bits, out);
}

/// The image before every 16th row; before the first, what makes its difference the smallest.
struct Anchors<'a> {
    images: &'a [u64],
    first: u64,
    min: u64,
    max: u64,
}

impl<'a> Anchors<'a> {
    fn of(images: &'a [u64], stats: &Stats) -> Self {
        let first = image_at(images, 0).wrapping_sub(stats.delta_min.cast_unsigned());
        let mut anchors = Self { images, first, min: first, max: first };
        let (min, max) = anchors.iter().fold((first, first), |(min, max), at| (min.min(at), max.max(at)));
        (anchors.min, anchors.max) = (min, max);
        anchors
    }

    const fn span(&self) -> u64 {
        self.max - self.min
    }

    fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let rest = self.images.iter().copied().skip(ANCHOR_ROWS - 1).step_by(ANCHOR_ROWS);
        core::iter::once(self.first).chain(rest).take(self.images.len().div_ceil(ANCHOR_ROWS))
    }
}

fn write_deltas(images: &[u64], stats: &Stats, out: &mut Vec<u8>) {
    let anchors = Anchors::of(images, stats);
    packed::write(anchors.iter(), anchors.min, anchors.span(), out);
    let mut last = anchors.first;
    let deltas = images.iter().map(|&image| image.wrapping_sub(core::mem::replace(&mut last, image)));
    packed::write(deltas, stats.delta_min.cast_unsigned(), stats.delta_span(), out);
}
