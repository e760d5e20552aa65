//! Sequence numbers: which version of a key is newer, and what a read may see.

use core::fmt;

/// Sequence number of a write, or the exclusive upper bound of a read.
///
/// A read at `R` sees entries numbered below `R`. Bit 63 is reserved for layers above and never reaches a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SeqNo(u64);

impl SeqNo {
    /// Sees nothing when used as a read bound.
    pub const ZERO: Self = Self(0);
    /// Largest number a write may carry.
    pub const MAX_WRITE: Self = Self((1 << 63) - 2);
    /// Read bound above every write; never a write's number.
    pub const LATEST: Self = Self((1 << 63) - 1);

    /// Checked constructor; refuses the reserved top bit.
    pub const fn new(raw: u64) -> Option<Self> {
        if raw <= Self::LATEST.0 { Some(Self(raw)) } else { None }
    }

    /// The raw number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether a write may carry this number.
    pub const fn is_write(self) -> bool {
        self.0 <= Self::MAX_WRITE.0
    }

    /// The number `n` later; `None` when that is no longer a legal write number or read bound.
    pub const fn checked_add(self, n: u64) -> Option<Self> {
        match self.0.checked_add(n) {
            Some(raw) => Self::new(raw),
            None => None,
        }
    }

    /// The read bound just above this write, so that a read there sees it.
    ///
    /// Saturates at [`SeqNo::LATEST`], which sees every write.
    pub const fn next(self) -> Self {
        if self.0 < Self::LATEST.0 { Self(self.0 + 1) } else { Self::LATEST }
    }

    /// The number one below; stays at zero.
    pub const fn saturating_prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Debug for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_exclusive_and_the_top_bit_is_refused() {
        assert_eq!(SeqNo::new(1 << 63), None);
        assert_eq!(SeqNo::new((1 << 63) - 1), Some(SeqNo::LATEST));
        assert!(SeqNo::MAX_WRITE.is_write() && !SeqNo::LATEST.is_write());
        assert_eq!(SeqNo::MAX_WRITE.next(), SeqNo::LATEST);
        assert_eq!(SeqNo::LATEST.next(), SeqNo::LATEST);
        assert_eq!(SeqNo::LATEST.checked_add(1), None);
    }
}
