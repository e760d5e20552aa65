//! The system of equations of one layer: eliminated as keys come, solved from the right.
//!
//! Each slot is an unknown word of bits and holds at most one equation, whose first coefficient is that slot's. A new
//! equation that finds its slot taken is combined with the one there, which moves its first coefficient to the right;
//! it ends at a free slot, or vanishes. Equations that stand are never changed, so undoing is forgetting.

use alloc::vec::Vec;

use crate::hash::{BAND, BUCKET, Mixed, THRESHOLD_BITS, low_bits};
use crate::place::{CLASSES, Item, Plan, place};

/// Slots that the equations of a bucket can reach, rounded up so that an offset of eight bits stays within.
const WINDOW: usize = 256;
const _: () = assert!(BUCKET + BAND <= WINDOW);

/// The system of equations, and the memory to build it.
#[derive(Default)]
pub(crate) struct Band {
    coefficients: Vec<u64>,
    results: Vec<u32>,
    ends: Vec<u32>,
}

/// What a layer did not take, and what cost it nothing.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    /// Items left over; they stand at the front of the placed ones.
    pub(crate) bumped: usize,
    /// Items whose equations followed from others.
    pub(crate) absorbed: usize,
}

/// What became of one equation.
enum Inserted {
    At(u8),
    Absorbed,
    Conflict,
}

impl Band {
    /// Fills a layer with `items`: appends its thresholds to `thresholds`, and leaves in `placed` the items that did
    /// not go in.
    pub(crate) fn fill<I: Item>(
        &mut self,
        items: &[I],
        plan: Plan,
        columns: usize,
        placed: &mut Vec<I>,
        thresholds: &mut Vec<u8>,
    ) -> Outcome {
        place(items, plan, placed, &mut self.ends);
        for_slots(&mut self.coefficients, plan.slots);
        for_slots(&mut self.results, plan.slots);

        let first_byte = thresholds.len();
        thresholds.resize(first_byte + threshold_bytes(plan.buckets()), 0);
        let mut outcome = Outcome { bumped: 0, absorbed: 0 };
        let mut begin = 0;
        for (bucket, ends) in self.ends.chunks_exact(CLASSES).enumerate() {
            let at = bucket * BUCKET;
            let (Some(coefficients), Some(results)) =
                (window(&mut self.coefficients, at), window(&mut self.results, at))
            else {
                debug_assert!(false, "slots are padded by a window");
                break;
            };
            let mut threshold = 0;
            for (class, &end) in ends.iter().enumerate() {
                let group = begin..end as usize;
                begin = group.end;
                if threshold == 0 {
                    let class_items = placed.get(group.clone()).unwrap_or_default();
                    match insert_class(class_items, plan, columns, at, coefficients, results) {
                        Some(absorbed) => {
                            outcome.absorbed += absorbed;
                            continue;
                        }
                        None => threshold = CLASSES - class,
                    }
                }
                let len = group.len();
                placed.copy_within(group, outcome.bumped);
                outcome.bumped += len;
            }
            set_threshold(thresholds.get_mut(first_byte..).unwrap_or_default(), bucket, threshold);
        }
        placed.truncate(outcome.bumped);
        outcome
    }

    /// Appends the solution of the layer filled last: for each block of 64 slots a word per column, `whole` of them
    /// and one more in the first `wide_blocks`.
    pub(crate) fn solve(&self, plan: Plan, whole: usize, wide_blocks: usize, out: &mut Vec<u8>) {
        let first = out.len();
        let blocks = plan.slots / BAND;
        let word_at = |block: usize| block * whole + block.min(wide_blocks);
        out.resize(first + word_at(blocks) * 8, 0);
        let out = out.get_mut(first..).unwrap_or_default();
        let columns = whole + usize::from(wide_blocks > 0);
        let mut column = 0;
        while column < columns {
            let mut emit = |block: usize, words: &[u64]| {
                let have = whole + usize::from(block < wide_blocks) - column;
                let at = (word_at(block) + column) * 8;
                let target = out.get_mut(at..).unwrap_or_default().chunks_exact_mut(8);
                for (bytes, word) in target.zip(words).take(have) {
                    bytes.copy_from_slice(&word.to_le_bytes());
                }
            };
            column += match columns - column {
                1 => solve_columns::<1>(self, blocks, column, &mut emit),
                2 => solve_columns::<2>(self, blocks, column, &mut emit),
                3 | 4 => solve_columns::<4>(self, blocks, column, &mut emit),
                _ => solve_columns::<8>(self, blocks, column, &mut emit),
            };
        }
    }

    /// Bytes of memory held.
    pub(crate) fn memory_len(&self) -> usize {
        self.coefficients.capacity() * 8 + (self.results.capacity() + self.ends.capacity()) * 4
    }
}

/// Bytes that the thresholds of so many buckets take.
pub(crate) fn threshold_bytes(buckets: usize) -> usize {
    buckets.div_ceil(8 / usize::from(THRESHOLD_BITS))
}

fn set_threshold(bytes: &mut [u8], bucket: usize, threshold: usize) {
    if let Some(byte) = bytes.get_mut(bucket / 4) {
        *byte |= u8::try_from(threshold).unwrap_or(3) << (bucket % 4 * 2);
    }
}

/// Empties `column` and gives it a value for each slot, and for a window after them.
fn for_slots<T: Copy + Default>(column: &mut Vec<T>, slots: usize) {
    column.clear();
    column.reserve_exact(slots + WINDOW);
    column.resize(slots + WINDOW, T::default());
}

fn window<T>(column: &mut [T], at: usize) -> Option<&mut [T; WINDOW]> {
    column.get_mut(at..)?.first_chunk_mut()
}

/// Inserts all items of a class, or none: the number of equations that followed from others, `None` if one is
/// contradicted by them.
fn insert_class<I: Item>(
    items: &[I],
    plan: Plan,
    columns: usize,
    bucket_start: usize,
    coefficients: &mut [u64; WINDOW],
    results: &mut [u32; WINDOW],
) -> Option<usize> {
    let starts = plan.starts();
    let mask = low_bits(columns);
    // A class cannot stand in more slots than a window has.
    let mut taken = [0_u8; WINDOW];
    let mut taken_len = 0;
    let mut absorbed = 0;
    for &item in items {
        let mixed = Mixed::new(item.hash(), plan.seed);
        let offset = mixed.start(starts) - bucket_start;
        let result = item.result(mixed) & mask;
        match insert(offset, mixed.coefficients(), result, coefficients, results) {
            Inserted::At(slot) => {
                if let Some(entry) = taken.get_mut(taken_len) {
                    *entry = slot;
                }
                taken_len += 1;
            }
            Inserted::Absorbed => absorbed += 1,
            Inserted::Conflict => {
                for &slot in taken.iter().take(taken_len) {
                    let slot = usize::from(slot);
                    if let (Some(row), Some(result)) = (coefficients.get_mut(slot), results.get_mut(slot)) {
                        (*row, *result) = (0, 0);
                    }
                }
                return None;
            }
        }
    }
    Some(absorbed)
}

/// Inserts one equation whose first coefficient stands at `offset` of the window.
#[expect(clippy::cast_possible_truncation, reason = "offsets within a window fit in eight bits")]
#[inline]
fn insert(
    mut offset: usize,
    mut row: u64,
    mut result: u32,
    coefficients: &mut [u64; WINDOW],
    results: &mut [u32; WINDOW],
) -> Inserted {
    loop {
        // The mask never changes an offset; it spares the bounds check.
        let slot = offset % WINDOW;
        let (Some(standing), Some(standing_result)) = (coefficients.get_mut(slot), results.get_mut(slot))
        else {
            return Inserted::Conflict;
        };
        if *standing == 0 {
            (*standing, *standing_result) = (row, result);
            return Inserted::At(slot as u8);
        }
        row ^= *standing;
        result ^= *standing_result;
        if row == 0 {
            return if result == 0 { Inserted::Absorbed } else { Inserted::Conflict };
        }
        let free = row.trailing_zeros();
        row >>= free;
        offset += free as usize;
    }
}

/// Solves `C` columns from `first` on, block by block from the right, and hands each block's words to `emit`. Slots
/// without an equation are zero. Returns `C`.
fn solve_columns<const C: usize>(
    band: &Band,
    blocks: usize,
    first: usize,
    emit: &mut impl FnMut(usize, &[u64]),
) -> usize {
    // Bit i of a word is the solution of the i-th slot from the current one on.
    let mut words = [0_u64; C];
    let rows = band.coefficients.chunks_exact(BAND).zip(band.results.chunks_exact(BAND));
    let blocks = rows.take(blocks).enumerate();
    for (block, (coefficients, results)) in blocks.rev() {
        for (&row, &result) in coefficients.iter().zip(results).rev() {
            let result = u64::from(result >> first);
            for (column, word) in words.iter_mut().enumerate() {
                let known = *word << 1;
                let parity = u64::from((known & row).count_ones());
                *word = known | ((parity ^ result >> column) & 1);
            }
        }
        emit(block, &words);
    }
    C
}
