//! Values of up to eight bytes as unsigned integers that sort the same way: their *images*.
//!
//! Everything behind the door (encodings, zones, predicates) works on images, so that one set of loops serves all
//! types. An image is a bijection on the bits of its width, so every value comes back bit by bit, a NaN with its
//! payload and the sign of a zero included.
//!
//! | values | image |
//! |---|---|
//! | unsigned, bool | the value |
//! | signed | the value with its highest bit flipped |
//! | floats | ordered bits, less the number of negative NaNs: minus infinity is 0, all NaNs lie above plus infinity |

/// A type of at most eight bytes.
pub(crate) trait Native: Copy {
    /// The image, as wide as the type, in the low bits.
    fn to_image(self) -> u64;
    /// The value of an image; bits above the width are ignored.
    fn from_image(image: u64) -> Self;
}

macro_rules! unsigned {
    ($($ty:ty),*) => {$(
        impl Native for $ty {
            #[inline]
            fn to_image(self) -> u64 {
                u64::from(self)
            }

            #[inline]
            #[expect(clippy::cast_possible_truncation, reason = "bits above the width are ignored")]
            #[allow(trivial_numeric_casts, clippy::allow_attributes, reason = "u64 is its own image")]
            fn from_image(image: u64) -> Self {
                image as Self
            }
        }
    )*};
}

macro_rules! signed {
    ($($ty:ty => $bits:ty),*) => {$(
        impl Native for $ty {
            #[inline]
            fn to_image(self) -> u64 {
                (self.cast_unsigned() ^ (1 << (<$bits>::BITS - 1))).to_image()
            }

            #[inline]
            fn from_image(image: u64) -> Self {
                (<$bits>::from_image(image) ^ (1 << (<$bits>::BITS - 1))).cast_signed()
            }
        }
    )*};
}

macro_rules! float {
    ($($ty:ty => $bits:ty, $negative_nans:expr);*) => {$(
        impl Native for $ty {
            #[inline]
            fn to_image(self) -> u64 {
                let bits = self.to_bits();
                let sign = 1 << (<$bits>::BITS - 1);
                let ordered = if bits & sign == 0 { bits | sign } else { !bits };
                ordered.wrapping_sub($negative_nans).to_image()
            }

            #[inline]
            fn from_image(image: u64) -> Self {
                let ordered = <$bits>::from_image(image).wrapping_add($negative_nans);
                let sign = 1 << (<$bits>::BITS - 1);
                Self::from_bits(if ordered & sign == 0 { !ordered } else { ordered ^ sign })
            }
        }
    )*};
}

impl Native for u64 {
    #[inline]
    fn to_image(self) -> u64 {
        self
    }

    #[inline]
    fn from_image(image: u64) -> Self {
        image
    }
}

unsigned!(u8, u16, u32);
signed!(i8 => u8, i16 => u16, i32 => u32, i64 => u64);
float!(f32 => u32, (1 << 23) - 1; f64 => u64, (1 << 52) - 1);

/// Smallest and largest image of what equals `value`: both zeros are one, and so are all NaNs.
pub(crate) fn float_images(value: f64) -> (u64, u64) {
    if value.is_nan() {
        return (f64::INFINITY.to_image() + 1, u64::MAX);
    }
    if value == 0.0 {
        return ((-0.0_f64).to_image(), 0.0_f64.to_image());
    }
    (value.to_image(), value.to_image())
}

/// The same for four-byte floats.
pub(crate) fn float32_images(value: f32) -> (u64, u64) {
    if value.is_nan() {
        return (f32::INFINITY.to_image() + 1, u32::MAX.into());
    }
    if value == 0.0 {
        return ((-0.0_f32).to_image(), 0.0_f32.to_image());
    }
    (value.to_image(), value.to_image())
}

/// Sixteen-byte integers as bytes that sort the same way.
pub(crate) const fn wide_unsigned(value: u128) -> [u8; 16] {
    value.to_be_bytes()
}

/// The same for signed ones.
pub(crate) const fn wide_signed(value: i128) -> [u8; 16] {
    (value.cast_unsigned() ^ (1 << 127)).to_be_bytes()
}

/// The value of ordered bytes.
pub(crate) const fn from_wide_signed(bytes: [u8; 16]) -> i128 {
    (u128::from_be_bytes(bytes) ^ (1 << 127)).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use core::cmp::Ordering;
    use proptest::prelude::*;

    /// The order that is promised for floats: NaN last, all NaNs equal, both zeros equal.
    fn order(a: f64, b: f64) -> Ordering {
        a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
    }

    fn float() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            prop::sample::select(vec![
                0.0,
                -0.0,
                1.0,
                -1.0,
                f64::INFINITY,
                f64::NEG_INFINITY,
                f64::NAN,
                -f64::NAN,
                f64::MIN,
                f64::MAX,
                f64::MIN_POSITIVE,
                -f64::MIN_POSITIVE,
                f64::from_bits(1),
                f64::from_bits(1 << 63 | 1),
                f64::from_bits(u64::MAX),
                f64::from_bits(0x7FF0_0000_0000_0001),
            ]),
        ]
    }

    proptest! {
        /// Proves F-127.
        #[test]
        fn images_of_floats_keep_bits_and_order(a in float(), b in float()) {
            prop_assert_eq!(f64::from_image(a.to_image()).to_bits(), a.to_bits());
            let (low_a, high_a) = float_images(a);
            let (low_b, high_b) = float_images(b);
            prop_assert!(low_a <= a.to_image() && a.to_image() <= high_a);
            match order(a, b) {
                Ordering::Less => prop_assert!(high_a < low_b),
                Ordering::Equal => prop_assert_eq!((low_a, high_a), (low_b, high_b)),
                Ordering::Greater => prop_assert!(low_a > high_b),
            }
        }

        #[test]
        fn images_of_short_floats_keep_bits_and_order(a in any::<u32>(), b in any::<u32>()) {
            let (a, b) = (f32::from_bits(a), f32::from_bits(b));
            prop_assert_eq!(f32::from_image(a.to_image()).to_bits(), a.to_bits());
            let (low_a, high_a) = float32_images(a);
            let (low_b, high_b) = float32_images(b);
            match order(a.into(), b.into()) {
                Ordering::Less => prop_assert!(high_a < low_b),
                Ordering::Equal => prop_assert_eq!((low_a, high_a), (low_b, high_b)),
                Ordering::Greater => prop_assert!(low_a > high_b),
            }
        }

        #[test]
        fn images_of_integers_keep_order(a in any::<i64>(), b in any::<i64>(), c in any::<i128>(), d in any::<i128>()) {
            prop_assert_eq!(i64::from_image(a.to_image()), a);
            prop_assert_eq!(a.cmp(&b), a.to_image().cmp(&b.to_image()));
            prop_assert_eq!(from_wide_signed(wide_signed(c)), c);
            prop_assert_eq!(c.cmp(&d), wide_signed(c).cmp(&wide_signed(d)));
        }
    }

    #[test]
    fn every_small_value_has_its_own_image() {
        for value in i8::MIN..=i8::MAX {
            assert_eq!(i8::from_image(value.to_image()), value);
            assert_eq!(value.to_image(), u64::from((i16::from(value) + 128).cast_unsigned()));
        }
        assert_eq!((f64::NEG_INFINITY.to_image(), f32::NEG_INFINITY.to_image()), (0, 0));
    }
}
