//! Merge operators that find out who folds in the wrong order, twice, or onto the wrong base.

use lsm_types::{MergeError, MergeOperator, Result, Slice};

/// An operand that [`Join`], unless told otherwise, and [`SetEdit`] refuse to fold.
pub const REFUSED: &[u8] = b"!";

/// Joins the parts of values and operands with `+`: every part, and the order of the parts, shows in the result.
#[derive(Clone, Copy, Debug)]
pub struct Join {
    composes: bool,
    refused: &'static [u8],
}

/// Edits a sorted set of letters: `+x` adds one, `-x` removes it. Does not compose, and takes an edit of a wrong base
/// for lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetEdit;

fn refused() -> MergeError {
    MergeError::Refused { problem: "told to".into() }
}

impl Join {
    /// Combines operands without a base if it `composes`; refuses [`REFUSED`].
    pub const fn new(composes: bool) -> Self {
        Self { composes, refused: REFUSED }
    }

    /// Refuses the part `refused` instead.
    #[must_use]
    pub const fn refusing(self, refused: &'static [u8]) -> Self {
        Self { refused, ..self }
    }

    fn join<'a>(&self, parts: impl Iterator<Item = &'a [u8]>) -> Result<Slice, MergeError> {
        let joined = parts.collect::<Vec<_>>().join(&b"+"[..]);
        if joined.split(|&byte| byte == b'+').any(|part| part == self.refused) {
            return Err(refused());
        }
        Ok(Slice::from(joined))
    }
}

impl MergeOperator for Join {
    fn name(&self) -> &'static str {
        "test.join"
    }

    fn full_merge(&self, _: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice> {
        Ok(self.join(base.into_iter().chain(operands.iter().copied()))?)
    }

    fn compose(&self, _: &[u8], operands: &[&[u8]]) -> Option<Slice> {
        self.join(operands.iter().copied()).ok().filter(|_| self.composes)
    }
}

impl MergeOperator for SetEdit {
    fn name(&self) -> &'static str {
        "test.set-edit"
    }

    fn full_merge(&self, _: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Slice> {
        let mut set = base.unwrap_or_default().to_vec();
        for operand in operands {
            match operand {
                [b'+', letter] => set.push(*letter),
                [b'-', letter] => set.retain(|other| other != letter),
                _ => return Err(refused().into()),
            }
            set.sort_unstable();
            set.dedup();
        }
        Ok(Slice::from(set))
    }
}
