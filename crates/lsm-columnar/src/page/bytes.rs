//! Values that are bytes: text, fixed bytes, sixteen-byte integers.

use alloc::vec::Vec;

use super::{KeyPage, words::run_of};
use crate::{packed::Packed, strings::Strings};

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
}
