//! What a column holds: its logical type, and single values of it.

use crate::{
    ColumnarError, Result,
    native::{self, Native},
};

/// Widest fixed-width type, in bytes.
pub const FIXED_LEN_MAX: u16 = 4096;

/// Logical type of a column. It never changes; another type is another column.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ColumnType {
    /// True or false.
    Bool,
    /// One byte, unsigned.
    U8,
    /// Two bytes, unsigned.
    U16,
    /// Four bytes, unsigned.
    U32,
    /// Eight bytes, unsigned.
    U64,
    /// Sixteen bytes, unsigned.
    U128,
    /// One byte, signed.
    I8,
    /// Two bytes, signed.
    I16,
    /// Four bytes, signed.
    I32,
    /// Eight bytes, signed.
    I64,
    /// Sixteen bytes, signed.
    I128,
    /// Four bytes, IEEE 754. All NaNs are equal and sort last; both zeros are equal.
    F32,
    /// Eight bytes, IEEE 754. All NaNs are equal and sort last; both zeros are equal.
    F64,
    /// Nanoseconds since the Unix epoch, signed.
    Timestamp,
    /// A signed integer of `precision` digits, `scale` of them after the point: eight bytes up to 18 digits, else
    /// sixteen.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// Text; sorts by its bytes.
    Utf8,
    /// Bytes of any length.
    Bytes,
    /// Bytes of one length, 1 to 4,096.
    Fixed(u16),
}

/// How values of a type are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Physical {
    /// Images of at most eight bytes: bytes per value, and the largest image.
    Word { width: usize, max: u64 },
    /// Bytes of one length that sort like the values.
    Fixed(usize),
    /// Bytes of any length.
    Var,
}

impl ColumnType {
    /// Number of the type and its two parameters, as schemas store them.
    pub(crate) const fn code(self) -> (u8, u16) {
        match self {
            Self::Bool => (0, 0),
            Self::U8 => (1, 0),
            Self::U16 => (2, 0),
            Self::U32 => (3, 0),
            Self::U64 => (4, 0),
            Self::U128 => (5, 0),
            Self::I8 => (6, 0),
            Self::I16 => (7, 0),
            Self::I32 => (8, 0),
            Self::I64 => (9, 0),
            Self::I128 => (10, 0),
            Self::F32 => (11, 0),
            Self::F64 => (12, 0),
            Self::Timestamp => (13, 0),
            Self::Decimal { precision, scale } => (14, u16::from_le_bytes([precision, scale])),
            Self::Utf8 => (15, 0),
            Self::Bytes => (16, 0),
            Self::Fixed(len) => (17, len),
        }
    }

    /// The type with this number and these parameters, if they make one.
    pub(crate) fn from_code(code: u8, parameter: u16) -> Option<Self> {
        let [low, high] = parameter.to_le_bytes();
        let plain = match code {
            0 => Self::Bool,
            1 => Self::U8,
            2 => Self::U16,
            3 => Self::U32,
            4 => Self::U64,
            5 => Self::U128,
            6 => Self::I8,
            7 => Self::I16,
            8 => Self::I32,
            9 => Self::I64,
            10 => Self::I128,
            11 => Self::F32,
            12 => Self::F64,
            13 => Self::Timestamp,
            14 => Self::Decimal { precision: low, scale: high },
            15 => Self::Utf8,
            16 => Self::Bytes,
            17 => Self::Fixed(parameter),
            _ => return None,
        };
        (plain.code().1 == parameter && plain.is_valid()).then_some(plain)
    }

    /// Whether width and digits are in bounds.
    pub const fn is_valid(self) -> bool {
        match self {
            Self::Decimal { precision, scale } => precision >= 1 && precision <= 38 && scale <= precision,
            Self::Fixed(len) => len >= 1 && len <= FIXED_LEN_MAX,
            _ => true,
        }
    }

    /// Bytes per value, where all values take the same.
    pub const fn fixed_len(self) -> Option<usize> {
        match self.physical() {
            Physical::Word { width, .. } => Some(width),
            Physical::Fixed(len) => Some(len),
            Physical::Var => None,
        }
    }

    /// Whether values are integers of sixteen bytes.
    pub(crate) const fn is_wide(self) -> bool {
        match self {
            Self::U128 | Self::I128 => true,
            Self::Decimal { precision, .. } => precision > 18,
            _ => false,
        }
    }

    pub(crate) const fn physical(self) -> Physical {
        match self {
            Self::Bool => Physical::Word { width: 1, max: 1 },
            Self::U8 | Self::I8 => Physical::Word { width: 1, max: u8::MAX as u64 },
            Self::U16 | Self::I16 => Physical::Word { width: 2, max: u16::MAX as u64 },
            Self::U32 | Self::I32 | Self::F32 => Physical::Word { width: 4, max: u32::MAX as u64 },
            Self::U64 | Self::I64 | Self::F64 | Self::Timestamp => Physical::Word { width: 8, max: u64::MAX },
            Self::Decimal { precision, .. } if precision <= 18 => Physical::Word { width: 8, max: u64::MAX },
            Self::U128 | Self::I128 | Self::Decimal { .. } => Physical::Fixed(16),
            Self::Fixed(len) => Physical::Fixed(len as usize),
            Self::Utf8 | Self::Bytes => Physical::Var,
        }
    }
}

/// One value, or none. Integers stand in the widest variant of their sign and must fit their column.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Datum<'a> {
    /// No value.
    Null,
    /// Of a `Bool`.
    Bool(bool),
    /// Of unsigned types up to eight bytes.
    U64(u64),
    /// Of signed types up to eight bytes, timestamps and decimals up to 18 digits.
    I64(i64),
    /// Of `U128`.
    U128(u128),
    /// Of `I128` and longer decimals.
    I128(i128),
    /// Of `F32`.
    F32(f32),
    /// Of `F64`.
    F64(f64),
    /// Of text, bytes and fixed bytes.
    Bytes(&'a [u8]),
}

impl<'a> From<&'a str> for Datum<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(text.as_bytes())
    }
}

/// A value as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cell<'a> {
    Null,
    Word(u64),
    Wide([u8; 16]),
    Bytes(&'a [u8]),
}

impl Cell<'_> {
    /// The bytes of what is no word.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Wide(bytes) => bytes,
            Self::Bytes(bytes) => bytes,
            Self::Null | Self::Word(_) => &[],
        }
    }
}

/// Largest number of `digits` digits, plus one.
const fn power_of_ten(digits: u8) -> i128 {
    10_i128.pow(digits as u32)
}

impl<'a> Datum<'a> {
    /// Whether it is no value.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// How a column of type `ty` stores it; refused where it is not one of the type's values.
    pub(crate) fn cell(self, ty: ColumnType) -> Result<Cell<'a>> {
        use ColumnType as T;
        let wrong = ColumnarError::Type { ty };
        let cell = match (ty, self) {
            (_, Self::Null) => Cell::Null,
            (T::Bool, Self::Bool(value)) => Cell::Word(value.into()),
            (T::U8, Self::U64(value)) => Cell::Word(u8::try_from(value).map_err(|_| wrong)?.to_image()),
            (T::U16, Self::U64(value)) => Cell::Word(u16::try_from(value).map_err(|_| wrong)?.to_image()),
            (T::U32, Self::U64(value)) => Cell::Word(u32::try_from(value).map_err(|_| wrong)?.to_image()),
            (T::U64, Self::U64(value)) => Cell::Word(value),
            (T::I8, Self::I64(value)) => Cell::Word(i8::try_from(value).map_err(|_| wrong)?.to_image()),
            (T::I16, Self::I64(value)) => Cell::Word(i16::try_from(value).map_err(|_| wrong)?.to_image()),
            (T::I32, Self::I64(value)) => Cell::Word(i32::try_from(value).map_err(|_| wrong)?.to_image()),
            (T::I64 | T::Timestamp, Self::I64(value)) => Cell::Word(value.to_image()),
            (T::Decimal { precision, .. }, Self::I64(value)) if precision <= 18 => {
                let fits = i128::from(value).abs() < power_of_ten(precision);
                if fits { Cell::Word(value.to_image()) } else { return Err(wrong) }
            }
            (T::Decimal { precision, .. }, Self::I128(value)) if precision > 18 => {
                let limit = power_of_ten(precision).unsigned_abs();
                if value.unsigned_abs() >= limit {
                    return Err(wrong);
                }
                Cell::Wide(native::wide_signed(value))
            }
            (T::F32, Self::F32(value)) => Cell::Word(value.to_image()),
            (T::F64, Self::F64(value)) => Cell::Word(value.to_image()),
            (T::U128, Self::U128(value)) => Cell::Wide(native::wide_unsigned(value)),
            (T::I128, Self::I128(value)) => Cell::Wide(native::wide_signed(value)),
            (T::Bytes, Self::Bytes(bytes)) => Cell::Bytes(bytes),
            (T::Utf8, Self::Bytes(bytes)) if core::str::from_utf8(bytes).is_ok() => Cell::Bytes(bytes),
            (T::Fixed(len), Self::Bytes(bytes)) if bytes.len() == usize::from(len) => Cell::Bytes(bytes),
            _ => return Err(wrong),
        };
        Ok(cell)
    }

    /// The value of type `ty` with this image.
    pub(crate) fn from_image(ty: ColumnType, image: u64) -> Self {
        use ColumnType as T;
        match ty {
            T::Bool => Self::Bool(image != 0),
            T::I8 => Self::I64(i8::from_image(image).into()),
            T::I16 => Self::I64(i16::from_image(image).into()),
            T::I32 => Self::I64(i32::from_image(image).into()),
            T::I64 | T::Timestamp | T::Decimal { .. } => Self::I64(i64::from_image(image)),
            T::F32 => Self::F32(f32::from_image(image)),
            T::F64 => Self::F64(f64::from_image(image)),
            _ => Self::U64(image),
        }
    }

    /// The value of type `ty` with these ordered bytes.
    pub(crate) fn from_bytes(ty: ColumnType, bytes: &'a [u8]) -> Self {
        match (ty, <[u8; 16]>::try_from(bytes)) {
            (ColumnType::U128, Ok(bytes)) => Self::U128(u128::from_be_bytes(bytes)),
            (ColumnType::I128 | ColumnType::Decimal { .. }, Ok(bytes)) => {
                Self::I128(native::from_wide_signed(bytes))
            }
            _ => Self::Bytes(bytes),
        }
    }
}
