//! Values of up to eight bytes, by their images.

use crate::{
    packed::{BLOCK, Packed},
    strings::ANCHOR_ROWS,
};

/// How the images of a page are reached. Plain values, bits, offsets and a constant are all packed integers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WordBody {
    Packed(Packed),
    Runs { ends: Packed, values: Packed },
    Dictionary { entries: Packed, codes: Packed },
    Delta { anchors: Packed, deltas: Packed },
}

impl WordBody {
    /// Checks once what every access relies on: no image exceeds `max`, anchors agree with differences.
    pub(super) fn is_sound(&self, payload: &[u8], max: u64) -> bool {
        match self {
            Self::Packed(items)
            | Self::Runs { values: items, .. }
            | Self::Dictionary { entries: items, .. } => items.is_at_most(payload, max),
            Self::Delta { anchors, deltas } => {
                let mut image = anchors.at(payload, 0);
                let mut block = [0; BLOCK];
                (0..deltas.count).step_by(BLOCK).all(|first| {
                    let Some(items) = block.get_mut(..BLOCK.min(deltas.count - first)) else { return false };
                    deltas.unpack(payload, first, items);
                    items.chunks(ANCHOR_ROWS).enumerate().all(|(idx, items)| {
                        let agrees = anchors.at(payload, first / ANCHOR_ROWS + idx) == image;
                        // The largest type takes all images: only their sum matters.
                        let largest = if max == u64::MAX {
                            image = items.iter().fold(image, |image, delta| image.wrapping_add(*delta));
                            image
                        } else {
                            items.iter().fold(0, |largest, delta| {
                                image = image.wrapping_add(*delta);
                                image.max(largest)
                            })
                        };
                        agrees && largest <= max
                    })
                })
            }
        }
    }

    /// The image of `row`.
    #[inline]
    pub(crate) fn at(&self, payload: &[u8], row: usize) -> u64 {
        match self {
            Self::Packed(items) => items.at(payload, row),
            Self::Runs { ends, values } => values.at(payload, run_of(ends, payload, row)),
            Self::Dictionary { entries, codes } => {
                #[expect(clippy::cast_possible_truncation, reason = "codes are below the number of rows")]
                let code = codes.at(payload, row) as usize;
                entries.at(payload, code)
            }
            Self::Delta { anchors, deltas } => {
                let block = row / ANCHOR_ROWS;
                (block * ANCHOR_ROWS..=row).fold(anchors.at(payload, block), |image, idx| {
                    image.wrapping_add(deltas.at(payload, idx))
                })
            }
        }
    }

    /// The images from `first`, a multiple of [`BLOCK`], on until `out` is full; they have to be there.
    pub(crate) fn unpack(&self, payload: &[u8], first: usize, out: &mut [u64]) {
        match self {
            Self::Packed(items) => items.unpack(payload, first, out),
            Self::Runs { ends, values } => {
                let mut run = run_of(ends, payload, first);
                let mut at = 0;
                while at < out.len() {
                    let end = run_end(ends, payload, run).saturating_sub(first).min(out.len());
                    if let Some(slots) = out.get_mut(at..end) {
                        slots.fill(values.at(payload, run));
                    }
                    (at, run) = (end.max(at + 1), run + 1);
                }
            }
            Self::Dictionary { entries, codes } => {
                codes.unpack(payload, first, out);
                for item in out {
                    #[expect(clippy::cast_possible_truncation, reason = "codes are below the number of rows")]
                    let code = *item as usize;
                    *item = entries.at(payload, code);
                }
            }
            Self::Delta { anchors, deltas } => {
                deltas.unpack(payload, first, out);
                let mut image = anchors.at(payload, first / ANCHOR_ROWS);
                for item in out {
                    image = image.wrapping_add(*item);
                    *item = image;
                }
            }
        }
    }
}

/// End of run `run`, as a row.
#[expect(clippy::cast_possible_truncation, reason = "ends of runs are at most the number of rows")]
pub(crate) fn run_end(ends: &Packed, payload: &[u8], run: usize) -> usize {
    ends.at(payload, run) as usize
}

/// The run that `row` lies in: the first that ends after it.
pub(super) fn run_of(ends: &Packed, payload: &[u8], row: usize) -> usize {
    let (mut low, mut high) = (0, ends.count);
    while low < high {
        let middle = low + (high - low) / 2;
        if run_end(ends, payload, middle) <= row { low = middle + 1 } else { high = middle }
    }
    low.min(ends.count.saturating_sub(1))
}
