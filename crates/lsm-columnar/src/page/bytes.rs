//! Values that are bytes: text, fixed bytes, sixteen-byte integers.

use alloc::vec::Vec;

use super::{
    KeyPage,
    words::{run_end, run_of},
};
use crate::{
    packed::{BLOCK, Packed},
    strings::Strings,
};

/// How the values of a page are reached.
#[derive(Clone, Debug)]
pub(crate) enum BytesBody {
    /// Value of row `i` at `start + i * step`; a step of 0 is one value for all rows.
    Fixed {
        start: usize,
        len: usize,
        step: usize,
    },
    Runs {
        ends: Packed,
        values: Strings,
    },
    Dictionary {
        entries: Strings,
        codes: Packed,
    },
    Strings(Strings),
    Keys(KeyPage),
}

impl BytesBody {
    /// The value of `row`; only keys need `scratch`.
    #[inline]
    pub(crate) fn at<'p>(&self, payload: &'p [u8], row: usize, scratch: &'p mut Vec<u8>) -> &'p [u8] {
        match self {
            Self::Fixed { start, len, step } => {
                let at = start + row * step;
                payload.get(at..at + len).unwrap_or_default()
            }
            Self::Runs { ends, values } => values.at(payload, run_of(ends, payload, row)),
            Self::Dictionary { entries, codes } => {
                #[expect(clippy::cast_possible_truncation, reason = "codes are below the number of rows")]
                let code = codes.at(payload, row) as usize;
                entries.at(payload, code)
            }
            Self::Strings(strings) => strings.at(payload, row),
            Self::Keys(keys) => {
                keys.copy(payload, row, scratch);
                scratch
            }
        }
    }

    /// Where the values of the rows from `first`, a multiple of [`BLOCK`], start in the payload and how long they are,
    /// for as many rows as `out` has place, [`BLOCK`] at most. `false` for keys, which lie in pieces.
    ///
    /// * `entries`: the places of the entries of a dictionary, as far as they are known.
    pub(crate) fn places(
        &self,
        payload: &[u8],
        first: usize,
        entries: &[(usize, usize)],
        out: &mut [(usize, usize)],
    ) -> bool {
        match self {
            Self::Fixed { start, len, step } => {
                let rows = first..first + out.len();
                out.iter_mut().zip(rows).for_each(|(place, row)| *place = (start + row * step, *len));
            }
            Self::Runs { ends, values } => {
                let mut run = run_of(ends, payload, first);
                let mut at = 0;
                while at < out.len() {
                    let end = run_end(ends, payload, run).saturating_sub(first).min(out.len());
                    if let Some(places) = out.get_mut(at..end) {
                        places.fill(values.place(payload, run));
                    }
                    (at, run) = (end.max(at + 1), run + 1);
                }
            }
            Self::Dictionary { entries: strings, codes } => {
                let mut block = [0; BLOCK];
                let Some(block) = block.get_mut(..out.len()) else { return false };
                codes.unpack(payload, first, block);
                for (place, code) in out.iter_mut().zip(block) {
                    #[expect(clippy::cast_possible_truncation, reason = "codes are below the number of rows")]
                    let code = *code as usize;
                    *place = entries.get(code).copied().unwrap_or_else(|| strings.place(payload, code));
                }
            }
            Self::Strings(strings) => strings.places(payload, first, out),
            Self::Keys(_) => return false,
        }
        true
    }
}
