//! The system of equations of one layer: eliminated as keys come, solved from the right.
//!
//! Each slot is an unknown word of bits and holds at most one equation, whose first coefficient is that slot's. A new
//! equation that finds its slot taken is combined with the one there, which moves its first coefficient to the right;
//! it ends at a free slot, or vanishes. Equations that stand are never changed, so undoing is forgetting.

use alloc::vec::Vec;

use crate::hash::{BLOCK, Mixed, THRESHOLD_BITS, low_bits};
use crate::kernel::Kernel;
use crate::place::{CLASSES, Item, Plan, place};
use crate::solve::{Shape, System};
use crate::width::Coefficients;

/// Equations whose elimination has a window of a fixed size.
pub(crate) trait Eliminate: Coefficients {
    /// A slot of a window.
    type Offset: Copy + Default + Into<usize>;
    /// Slots that the equations of a bucket can reach, rounded up to a power of two.
    const WINDOW: usize;

    fn offset(slot: usize) -> Self::Offset;

    /// [`insert_class`] for a window of this size.
    fn insert_class<I: Item>(
        class: Class<'_, I>,
        coefficients: &mut [Self],
        results: &mut [u32],
    ) -> Option<usize>;
}

impl Eliminate for u64 {
    type Offset = u8;
    const WINDOW: usize = 256;

    #[expect(clippy::cast_possible_truncation, reason = "slots of a window fit in eight bits")]
    #[inline]
    fn offset(slot: usize) -> u8 {
        slot as u8
    }

    #[inline]
    fn insert_class<I: Item>(
        class: Class<'_, I>,
        coefficients: &mut [Self],
        results: &mut [u32],
    ) -> Option<usize> {
        insert_class::<I, Self, { Self::WINDOW }>(class, coefficients, results)
    }
}

impl Eliminate for u128 {
    type Offset = u16;
    const WINDOW: usize = 512;

    #[expect(clippy::cast_possible_truncation, reason = "slots of a window fit in nine bits")]
    #[inline]
    fn offset(slot: usize) -> u16 {
        slot as u16
    }

    #[inline]
    fn insert_class<I: Item>(
        class: Class<'_, I>,
        coefficients: &mut [Self],
        results: &mut [u32],
    ) -> Option<usize> {
        insert_class::<I, Self, { Self::WINDOW }>(class, coefficients, results)
    }
}

/// The system of equations, and the memory to build it.
#[derive(Default)]
pub(crate) struct Band<C> {
    coefficients: Vec<C>,
    results: Vec<u32>,
    ends: Vec<u32>,
}

/// What a layer did not take, and what cost it nothing.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    /// Items left over.
    pub(crate) bumped: usize,
    /// Items whose equations followed from others.
    pub(crate) absorbed: usize,
}

/// The keys of one class of a bucket.
#[derive(Clone, Copy)]
pub(crate) struct Class<'a, I> {
    items: &'a [I],
    plan: Plan,
    columns: usize,
    /// First slot of the bucket.
    start: usize,
}

impl<C: Eliminate> Band<C> {
    /// Fills a layer with `items`: appends its thresholds to `thresholds`, and leaves at the front of `placed`, which
    /// is as long as `items`, those that did not go in.
    pub(crate) fn fill<I: Item>(
        &mut self,
        items: &[I],
        plan: Plan,
        columns: usize,
        placed: &mut [I],
        thresholds: &mut Vec<u8>,
    ) -> Outcome {
        place::<I, C>(items, plan, placed, &mut self.ends);
        let padded = plan.slots + C::WINDOW;
        empty(&mut self.coefficients, padded);
        empty(&mut self.results, padded);

        let first_byte = thresholds.len();
        thresholds.resize(first_byte + threshold_bytes(plan.buckets::<C>()), 0);
        let mut outcome = Outcome { bumped: 0, absorbed: 0 };
        let mut begin = 0;
        for (bucket, ends) in self.ends.chunks_exact(CLASSES).enumerate() {
            let start = bucket * C::BUCKET;
            let (Some(coefficients), Some(results)) =
                (self.coefficients.get_mut(start..), self.results.get_mut(start..))
            else {
                debug_assert!(false, "slots are padded by a window");
                break;
            };
            let mut threshold = 0;
            for (number, &end) in ends.iter().enumerate() {
                let group = begin..end as usize;
                begin = group.end;
                if threshold == 0 {
                    let items = placed.get(group.clone()).unwrap_or_default();
                    let class = Class { items, plan, columns, start };
                    match C::insert_class(class, coefficients, results) {
                        Some(absorbed) => {
                            outcome.absorbed += absorbed;
                            continue;
                        }
                        None => threshold = CLASSES - number,
                    }
                }
                let len = group.len();
                placed.copy_within(group, outcome.bumped);
                outcome.bumped += len;
            }
            set_threshold(thresholds.get_mut(first_byte..).unwrap_or_default(), bucket, threshold);
        }
        outcome
    }

    /// Appends the solution of the layer filled last: for each block of 64 slots a word per column, `whole` of them
    /// and one more in the first `wide_blocks`.
    pub(crate) fn solve(&self, slots: usize, whole: usize, wide_blocks: usize, out: &mut Vec<u8>) {
        let first = out.len();
        let shape = Shape { whole, wide_blocks };
        out.resize(first + shape.word_at(slots / BLOCK) * 8, 0);
        let rows = (self.coefficients.get(..slots), self.results.get(..slots));
        let (Some(coefficients), Some(results)) = rows else { return };
        let out = out.get_mut(first..).unwrap_or_default();
        Kernel::best().solve(&System { coefficients, results, shape }, out);
    }

    /// Bytes of memory held.
    pub(crate) fn memory_len(&self) -> usize {
        self.coefficients.capacity() * size_of::<C>() + (self.results.capacity() + self.ends.capacity()) * 4
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

/// Empties `column` and gives it a value for each of `slots`.
fn empty<T: Copy + Default>(column: &mut Vec<T>, slots: usize) {
    column.clear();
    column.reserve_exact(slots);
    column.resize(slots, T::default());
}

/// Inserts all items of a class, or none: the number of equations that followed from others, `None` if one is
/// contradicted by them.
#[inline]
fn insert_class<I: Item, C: Eliminate, const WINDOW: usize>(
    class: Class<'_, I>,
    coefficients: &mut [C],
    results: &mut [u32],
) -> Option<usize> {
    const { assert!(C::BUCKET + C::BAND <= WINDOW, "a window is what equations of a bucket reach") };
    let Class { items, plan, columns, start } = class;
    let (Some(coefficients), Some(results)) = (coefficients.first_chunk_mut(), results.first_chunk_mut())
    else {
        debug_assert!(false, "slots are padded by a window");
        return None;
    };
    let taken = [C::Offset::default(); WINDOW];
    let mut window = Window { coefficients, results, taken, taken_len: 0, absorbed: 0 };
    let starts = plan.starts::<C>();
    let mask = low_bits(columns);
    let row_of = |&item: &I| {
        let mixed = Mixed::new(item.hash(), plan.seed);
        Row {
            coefficients: C::of(mixed),
            result: item.result(mixed) & mask,
            offset: mixed.start(starts) - start,
        }
    };
    let consistent = window.insert_all(items.iter().map(row_of));
    if !consistent {
        window.undo();
    }
    consistent.then_some(window.absorbed)
}

/// One equation on its way to a free slot.
#[derive(Clone, Copy, Default)]
struct Row<C> {
    coefficients: C,
    result: u32,
    /// Slot of the first coefficient, from the start of the window.
    offset: usize,
}

/// Equations that travel at the same time. Each waits for a load at every step, and they do not wait for each other:
/// those that stand never change, so it does not matter when one passes.
const LANES: usize = 3;

/// What a step did to an equation.
enum Step {
    Goes,
    Stands(usize),
    Vanishes,
    Contradicts,
}

/// The slots that one bucket reaches, and what a class did to them.
struct Window<'a, C: Eliminate, const WINDOW: usize> {
    coefficients: &'a mut [C; WINDOW],
    results: &'a mut [u32; WINDOW],
    /// Slots taken by this class; no more than there are.
    taken: [C::Offset; WINDOW],
    taken_len: usize,
    absorbed: usize,
}

impl<C: Eliminate, const WINDOW: usize> Window<'_, C, WINDOW> {
    /// Inserts rows up to the first that contradicts others; whether there was none.
    #[inline]
    fn insert_all(&mut self, mut rows: impl Iterator<Item = Row<C>>) -> bool {
        // A row without coefficients has arrived.
        let mut lanes = [Row::default(); LANES];
        for lane in &mut lanes {
            *lane = rows.next().unwrap_or_default();
        }
        let mut more = lanes.iter().all(|lane| lane.coefficients != C::default());
        while more {
            for lane in &mut lanes {
                match self.step(lane) {
                    Step::Goes => continue,
                    Step::Stands(slot) => self.take(slot),
                    Step::Vanishes => self.absorbed += 1,
                    Step::Contradicts => return false,
                }
                let Some(row) = rows.next() else {
                    lane.coefficients = C::default();
                    more = false;
                    break;
                };
                *lane = row;
            }
        }
        for mut lane in lanes {
            while lane.coefficients != C::default() {
                match self.step(&mut lane) {
                    Step::Goes => continue,
                    Step::Stands(slot) => self.take(slot),
                    Step::Vanishes => self.absorbed += 1,
                    Step::Contradicts => return false,
                }
                break;
            }
        }
        true
    }

    /// Puts the row into its slot, or takes away the equation that stands there.
    #[inline]
    fn step(&mut self, row: &mut Row<C>) -> Step {
        // The remainder never changes an offset; it spares the bounds check.
        let slot = row.offset % WINDOW;
        let (Some(standing), Some(standing_result)) =
            (self.coefficients.get_mut(slot), self.results.get_mut(slot))
        else {
            return Step::Contradicts;
        };
        if *standing == C::default() {
            (*standing, *standing_result) = (row.coefficients, row.result);
            return Step::Stands(slot);
        }
        row.result ^= *standing_result;
        row.coefficients ^= *standing;
        if row.coefficients == C::default() {
            return if row.result == 0 { Step::Vanishes } else { Step::Contradicts };
        }
        let gap = row.coefficients.trailing_zeros();
        row.coefficients >>= gap;
        row.offset += gap as usize;
        Step::Goes
    }

    #[inline]
    fn take(&mut self, slot: usize) {
        if let Some(entry) = self.taken.get_mut(self.taken_len) {
            *entry = C::offset(slot);
        }
        self.taken_len += 1;
    }

    /// Empties the slots taken.
    fn undo(&mut self) {
        for &slot in self.taken.iter().take(self.taken_len) {
            let slot: usize = slot.into();
            if let (Some(row), Some(result)) = (self.coefficients.get_mut(slot), self.results.get_mut(slot)) {
                (*row, *result) = (C::default(), 0);
            }
        }
    }
}
