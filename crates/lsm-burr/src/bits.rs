//! How many bits a key gets, whole or not.

use crate::BuildError;

/// Bits per key of a filter, from 1 to 32 in steps of 1/65536.
///
/// A filter of `r` bits answers "maybe" for one absent hash in 2^r. Fractions are a mixture: of 8.25 bits, a quarter
/// of the slots hold 9 bits and the rest 8, which gives a rate of 0.75 / 2^8 + 0.25 / 2^9.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Bits {
    whole: u8,
    /// In 1/65536 of a bit.
    fraction: u16,
}

impl Bits {
    /// The most bits a key can have.
    pub const MAX: u8 = 32;

    /// `bits` per key, rounded to the next smaller step.
    ///
    /// # Errors
    /// [`BuildError::Bits`] outside of 1 to 32.
    pub fn new(bits: f64) -> Result<Self, BuildError> {
        if !(1.0..=f64::from(Self::MAX)).contains(&bits) {
            return Err(BuildError::Bits { bits });
        }
        Ok(Self::from_steps(bits * 65_536.0))
    }

    /// The fewest bits that keep the share of absent hashes answered "maybe" at `rate`.
    ///
    /// # Errors
    /// [`BuildError::Rate`] outside of 2^-32 to 1/2.
    pub fn from_rate(rate: f64) -> Result<Self, BuildError> {
        if !(1.0 / 4_294_967_296.0..=0.5).contains(&rate) {
            return Err(BuildError::Rate { rate });
        }
        // The rate in units of that of `whole` bits: 1 for no fraction, 1/2 for one bit more.
        let mut scaled = rate * 2.0;
        let mut whole = 1.0;
        while scaled <= 0.5 {
            scaled *= 2.0;
            whole += 1.0;
        }
        let steps = (whole + 2.0 * (1.0 - scaled)) * 65_536.0;
        let bits = Self::from_steps(steps);
        // Rounded up, so that the rate is kept.
        let short = f64::from(bits.steps()) < steps;
        Ok(if short { Self::from_steps(f64::from(bits.steps()) + 1.0) } else { bits })
    }

    /// From fields of a header; `None` outside of 1 to 32.
    pub(crate) fn from_parts(whole: u8, fraction: u16) -> Option<Self> {
        let bits = Self { whole, fraction };
        (whole >= 1 && bits.columns() <= usize::from(Self::MAX)).then_some(bits)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "steps lie between 2^16 and 2^21, and their halves are split off"
    )]
    fn from_steps(steps: f64) -> Self {
        let steps = steps as u32;
        Self { whole: (steps >> 16) as u8, fraction: (steps & 0xFFFF) as u16 }
    }

    fn steps(self) -> u32 {
        u32::from(self.whole) << 16 | u32::from(self.fraction)
    }

    /// Bits that every key has.
    pub fn whole(self) -> u8 {
        self.whole
    }

    /// Share of the keys that have one bit more, in 1/65536.
    pub fn fraction(self) -> u16 {
        self.fraction
    }

    /// Expected share of absent hashes that are answered "maybe".
    pub fn rate(self) -> f64 {
        let mut rate = 1.0 - f64::from(self.fraction) / 131_072.0;
        for _ in 0..self.whole {
            rate /= 2.0;
        }
        rate
    }

    /// Bits of a key where there are most.
    pub(crate) fn columns(self) -> usize {
        usize::from(self.whole) + usize::from(self.fraction != 0)
    }

    /// How many of a layer's `blocks` hold one word more: the first ones.
    pub(crate) fn wide_blocks(self, blocks: u64) -> u64 {
        (blocks * u64::from(self.fraction)) >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_rate(rate: f64, whole: u8, fraction: u16) {
        let bits = Bits::from_rate(rate).expect("in range");
        assert_eq!((bits.whole(), bits.fraction()), (whole, fraction), "{rate}");
        assert!(bits.rate() <= rate * 1.000_001, "{} for {rate}", bits.rate());
    }

    /// A rate is kept with the fewest bits that do.
    #[test]
    fn rates_become_bits() {
        check_rate(0.5, 1, 0);
        check_rate(0.25, 2, 0);
        check_rate(1.0 / 256.0, 8, 0);
        check_rate(0.75 / 256.0, 8, 0x8000);
        check_rate(0.01, 6, 0xB852);
        check_rate(1.0 / 4_294_967_296.0, 32, 0);
        for rate in [0.0, -1.0, 0.51, 1e-10, f64::NAN, f64::INFINITY] {
            assert!(Bits::from_rate(rate).is_err(), "{rate}");
        }
    }

    #[test]
    fn bits_are_whole_or_not() {
        let bits = Bits::new(8.25).expect("in range");
        assert_eq!((bits.whole(), bits.fraction(), bits.columns()), (8, 0x4000, 9));
        assert_eq!(bits.wide_blocks(10), 2);
        for bits in [0.99, 32.01, -3.0, f64::NAN] {
            assert!(Bits::new(bits).is_err(), "{bits}");
        }
        assert!(Bits::from_parts(32, 1).is_none() && Bits::from_parts(0, 1).is_none());
    }
}
