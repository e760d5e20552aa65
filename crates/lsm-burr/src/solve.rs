//! Solves a layer's system of equations from the right, 64 slots at a time, and writes the solution interleaved.

use crate::hash::BLOCK;
use crate::width::Coefficients;

/// How many words the blocks of a solution have.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Words of each block.
    pub(crate) whole: usize,
    /// Blocks that have one word more: the first ones.
    pub(crate) wide_blocks: usize,
}

impl Shape {
    /// Words before a block.
    #[inline]
    pub(crate) fn word_at(self, block: usize) -> usize {
        block * self.whole + block.min(self.wide_blocks)
    }
}

/// A system in which each equation stands at its first coefficient; a slot without one has no coefficients.
pub(crate) struct System<'a, C> {
    pub(crate) coefficients: &'a [C],
    pub(crate) results: &'a [u32],
    pub(crate) shape: Shape,
}

/// Writes the solution; slots without an equation are zero.
///
/// Each pass solves a few columns at once, more of them than are left if that is cheaper: those are not written. It is
/// inlined into functions that are compiled for certain processors, which make vectors of the columns.
#[expect(clippy::inline_always, reason = "code that is not inlined does not get the caller's instructions")]
#[inline(always)]
pub(crate) fn solve<C: Coefficients>(system: &System<'_, C>, out: &mut [u8]) {
    let columns = system.shape.whole + usize::from(system.shape.wide_blocks > 0);
    let mut first = 0;
    while first < columns {
        first += match columns - first {
            1 => solve_columns::<_, 1>(system, first, out),
            2 => solve_columns::<_, 2>(system, first, out),
            3 | 4 => solve_columns::<_, 4>(system, first, out),
            _ => solve_columns::<_, 8>(system, first, out),
        };
    }
}

/// Solves `N` columns from `first` on. Returns `N`.
#[expect(clippy::inline_always, reason = "see `solve`")]
#[inline(always)]
fn solve_columns<C: Coefficients, const N: usize>(
    system: &System<'_, C>,
    first: usize,
    out: &mut [u8],
) -> usize {
    // Bit i of a word is the solution of the i-th slot from the current one on.
    let mut words = [C::default(); N];
    let blocks = system.coefficients.chunks_exact(BLOCK).zip(system.results.chunks_exact(BLOCK));
    for (block, (coefficients, results)) in blocks.enumerate().rev() {
        for (&row, &result) in coefficients.iter().zip(results).rev() {
            let result = u64::from(result >> first);
            for (column, word) in words.iter_mut().enumerate() {
                let known = word.next();
                let parity = known.common_ones(row);
                *word = known.with_lowest((parity ^ result >> column) & 1);
            }
        }
        let have = system.shape.whole + usize::from(block < system.shape.wide_blocks) - first;
        let at = (system.shape.word_at(block) + first) * 8;
        let target = out.get_mut(at..).unwrap_or_default().chunks_exact_mut(8);
        for (bytes, word) in target.zip(words).take(have) {
            bytes.copy_from_slice(&word.low_word().to_le_bytes());
        }
    }
    N
}
