//! How many slots an equation covers, and what follows from that.
//!
//! The width is chosen once for a structure: as a number where bytes are checked, as a type where keys are handled, so
//! that no key pays for the choice.

use core::ops::{BitXorAssign, ShrAssign};

use crate::hash::{BLOCK, Mixed};

/// Slots that one equation covers.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum BandWidth {
    /// 64 slots: the fastest to build and to probe. The default.
    #[default]
    Slots64,
    /// 128 slots: fewer bytes for filters that are written once and seldom asked. A filter takes longer to build, and a
    /// probe has half as many words more to read and no vector instructions.
    Slots128,
}

impl BandWidth {
    /// The slots.
    pub const fn slots(self) -> usize {
        match self {
            Self::Slots64 => 64,
            Self::Slots128 => 128,
        }
    }

    /// Slots of a bucket, as a power of two.
    pub(crate) const fn bucket_log2(self) -> u8 {
        match self {
            Self::Slots64 => 7,
            Self::Slots128 => 8,
        }
    }

    /// What the head says.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Slots64 => 64,
            Self::Slots128 => 128,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Slots64, Self::Slots128].into_iter().find(|width| width.code() == code)
    }

    /// Buckets of a layer, which is no smaller than the band: all that an equation can start in.
    pub(crate) const fn buckets(self, slots: usize) -> usize {
        ((slots - self.slots()) >> self.bucket_log2()) + 1
    }
}

/// The coefficients of an equation: a bit for each slot that it covers, the lowest for the first.
pub(crate) trait Coefficients:
    Copy + Default + Eq + From<u64> + BitXorAssign + ShrAssign<u32>
{
    const WIDTH: BandWidth;
    /// What the two bits of a threshold mean: keys that start below this offset of their bucket live in a later layer.
    const THRESHOLDS: [u16; 4];
    /// A layer of no more keys than this takes all of them, so that the layers after it need not exist.
    const WHOLE_LAYER_KEYS: usize;

    const BAND: usize = Self::WIDTH.slots();
    const BUCKET_LOG2: u8 = Self::WIDTH.bucket_log2();
    const BUCKET: usize = 1 << Self::BUCKET_LOG2;
    /// The four thresholds in one word: no load, no branch.
    const THRESHOLD_WORD: u64 = {
        let [a, b, c, d] = Self::THRESHOLDS;
        a as u64 | (b as u64) << 16 | (c as u64) << 32 | (d as u64) << 48
    };

    /// Blocks of a layer that takes all of so many keys.
    fn whole_blocks(keys: usize) -> usize;
    /// Those of a hash; the first is always one.
    fn of(mixed: Mixed) -> Self;
    fn trailing_zeros(self) -> u32;
    /// One slot further, whose bit is then the lowest and zero.
    fn next(self) -> Self;
    fn with_lowest(self, bit: u64) -> Self;
    /// Ones that this and another have in common.
    fn common_ones(self, other: Self) -> u64;
    fn low_word(self) -> u64;
}

/// What both have in common. The forced inlining is for the reason that `solve` gives.
macro_rules! coefficients {
    ($word:ty) => {
        #[inline]
        fn trailing_zeros(self) -> u32 {
            <$word>::trailing_zeros(self)
        }

        #[inline(always)]
        fn next(self) -> Self {
            self << 1
        }

        #[inline(always)]
        fn with_lowest(self, bit: u64) -> Self {
            self | Self::from(bit)
        }

        #[inline(always)]
        fn common_ones(self, other: Self) -> u64 {
            u64::from((self & other).count_ones())
        }
    };
}

impl Coefficients for u64 {
    const WIDTH: BandWidth = BandWidth::Slots64;
    const THRESHOLDS: [u16; 4] = [0, 16, 42, 128];
    const WHOLE_LAYER_KEYS: usize = 1024;

    // One slot in 64 to spare: about every third seed succeeds at worst.
    fn whole_blocks(keys: usize) -> usize {
        keys.div_ceil(BLOCK - 1)
    }

    #[inline]
    fn of(mixed: Mixed) -> Self {
        mixed.coefficients()
    }

    coefficients!(u64);

    #[expect(clippy::inline_always, reason = "see `solve`")]
    #[inline(always)]
    fn low_word(self) -> u64 {
        self
    }
}

impl Coefficients for u128 {
    const WIDTH: BandWidth = BandWidth::Slots128;
    const THRESHOLDS: [u16; 4] = [0, 32, 85, 256];
    const WHOLE_LAYER_KEYS: usize = 2048;

    // Four slots to spare: random equations that are all this wide are hardly ever dependent.
    fn whole_blocks(keys: usize) -> usize {
        (keys + 4).div_ceil(BLOCK)
    }

    #[inline]
    fn of(mixed: Mixed) -> Self {
        Self::from(mixed.coefficients()) | Self::from(mixed.more_coefficients()) << 64
    }

    coefficients!(u128);

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
    #[expect(clippy::inline_always, reason = "see `solve`")]
    #[inline(always)]
    fn low_word(self) -> u64 {
        self as u64
    }
}
