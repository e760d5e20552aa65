//! Typed values of one column in memory: what a page is made from and decoded to.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{
    Bitmap, ColumnType, ColumnarError, Datum, Result,
    native::Native,
    types::{Cell, Physical},
};

/// Byte strings, one after another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ByteStrings {
    ends: Vec<u32>,
    heap: Vec<u8>,
}

impl ByteStrings {
    /// Number of strings.
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Where each string ends in the heap.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// All bytes.
    pub fn heap(&self) -> &[u8] {
        &self.heap
    }

    /// String `row`; one that is not there is empty.
    #[inline]
    pub fn get(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).and_then(|row| self.ends.get(row)).map_or(0, |&end| end as usize);
        let end = self.ends.get(row).map_or(start, |&end| end as usize);
        self.heap.get(start..end).unwrap_or_default()
    }

    /// Ends and heap by value.
    #[cfg(feature = "arrow")]
    pub(crate) fn into_parts(self) -> (Vec<u32>, Vec<u8>) {
        (self.ends, self.heap)
    }

    /// Adds a string; refused where the heap would pass 4 GiB.
    #[inline]
    pub(crate) fn push(&mut self, string: &[u8]) -> Result<()> {
        let bytes = self.heap.len() + string.len();
        let Ok(end) = u32::try_from(bytes) else {
            return Err(ColumnarError::PageTooLarge { rows: self.ends.len() + 1, bytes });
        };
        self.heap.extend_from_slice(string);
        self.ends.push(end);
        Ok(())
    }

    /// Adds the strings of `rows` of others.
    pub(crate) fn extend_run(&mut self, others: &Self, rows: Range<usize>) -> Result<()> {
        let ends = others.ends.get(rows.clone()).unwrap_or_default();
        let start = rows.start.checked_sub(1).and_then(|row| others.ends.get(row)).copied().unwrap_or(0);
        let end = ends.last().copied().unwrap_or(start);
        let heap = others.heap.get(start as usize..end as usize).unwrap_or_default();
        let bytes = self.heap.len() + heap.len();
        let base = self.heap.len() as u64;
        if u32::try_from(bytes).is_err() {
            return Err(ColumnarError::PageTooLarge { rows: self.ends.len() + ends.len(), bytes });
        }
        let moved = |end: &u32| base.wrapping_add(end.wrapping_sub(start).into());
        self.ends.extend(ends.iter().map(|end| u32::try_from(moved(end)).unwrap_or(u32::MAX)));
        self.heap.extend_from_slice(heap);
        Ok(())
    }

    /// Adds strings that lie one after another in `heap`, given their lengths.
    pub(crate) fn extend(&mut self, lens: &[u64], heap: &[u8]) -> Result<()> {
        let bytes = self.heap.len() + heap.len();
        if u32::try_from(bytes).is_err() {
            return Err(ColumnarError::PageTooLarge { rows: self.ends.len() + lens.len(), bytes });
        }
        let mut end = self.heap.len() as u64;
        self.ends.extend(lens.iter().map(|len| {
            end = end.wrapping_add(*len);
            u32::try_from(end).unwrap_or(u32::MAX)
        }));
        self.heap.extend_from_slice(heap);
        Ok(())
    }
}

/// Values of one column. What stands under a null is any value of the type.
#[non_exhaustive]
#[derive(Clone, PartialEq, Debug)]
pub enum Values {
    /// Of `Bool`.
    Bool(Bitmap),
    /// Of `U8`.
    U8(Vec<u8>),
    /// Of `U16`.
    U16(Vec<u16>),
    /// Of `U32`.
    U32(Vec<u32>),
    /// Of `U64`.
    U64(Vec<u64>),
    /// Of `I8`.
    I8(Vec<i8>),
    /// Of `I16`.
    I16(Vec<i16>),
    /// Of `I32`.
    I32(Vec<i32>),
    /// Of `I64`, timestamps and decimals up to 18 digits.
    I64(Vec<i64>),
    /// Of `F32`.
    F32(Vec<f32>),
    /// Of `F64`.
    F64(Vec<f64>),
    /// Of `Fixed`; and of sixteen-byte integers, as big-endian bytes, the highest bit of signed ones flipped.
    Fixed {
        /// Bytes per value.
        len: usize,
        /// The values, one after another.
        bytes: Vec<u8>,
    },
    /// Of text and bytes.
    Bytes(ByteStrings),
}

/// Runs `$body` with `$vector` bound to the vector of a type of up to eight bytes, or one of the other arms.
macro_rules! each_word {
    ($values:expr, $vector:ident => $body:expr, $($rest:tt)*) => {
        match $values {
            $crate::Values::U8($vector) => $body,
            $crate::Values::U16($vector) => $body,
            $crate::Values::U32($vector) => $body,
            $crate::Values::U64($vector) => $body,
            $crate::Values::I8($vector) => $body,
            $crate::Values::I16($vector) => $body,
            $crate::Values::I32($vector) => $body,
            $crate::Values::I64($vector) => $body,
            $crate::Values::F32($vector) => $body,
            $crate::Values::F64($vector) => $body,
            $($rest)*
        }
    };
}
pub(crate) use each_word;

impl Values {
    fn new(ty: ColumnType) -> Self {
        use ColumnType as T;
        match ty {
            T::Bool => Self::Bool(Bitmap::new()),
            T::U8 => Self::U8(Vec::new()),
            T::U16 => Self::U16(Vec::new()),
            T::U32 => Self::U32(Vec::new()),
            T::U64 => Self::U64(Vec::new()),
            T::I8 => Self::I8(Vec::new()),
            T::I16 => Self::I16(Vec::new()),
            T::I32 => Self::I32(Vec::new()),
            T::F32 => Self::F32(Vec::new()),
            T::F64 => Self::F64(Vec::new()),
            T::Utf8 | T::Bytes => Self::Bytes(ByteStrings::default()),
            _ => match ty.physical() {
                Physical::Fixed(len) => Self::Fixed { len, bytes: Vec::new() },
                _ => Self::I64(Vec::new()),
            },
        }
    }

    fn len(&self) -> usize {
        each_word!(self, vector => vector.len(),
            Self::Bool(bits) => bits.len(),
            Self::Fixed { len, bytes } => bytes.len() / len,
            Self::Bytes(strings) => strings.len(),
        )
    }
}

/// The values of one column in consecutive rows, some of them perhaps null.
#[derive(Clone, PartialEq, Debug)]
pub struct ColumnVector {
    ty: ColumnType,
    /// Which rows have a value; absent when all have.
    validity: Option<Bitmap>,
    values: Values,
}

impl ColumnVector {
    /// No rows of type `ty`, which is valid.
    pub fn new(ty: ColumnType) -> Self {
        debug_assert!(ty.is_valid(), "a type of a schema");
        Self { ty, validity: None, values: Values::new(ty) }
    }

    /// The type.
    pub const fn ty(&self) -> ColumnType {
        self.ty
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values, those under nulls included.
    pub const fn values(&self) -> &Values {
        &self.values
    }

    /// Which rows have a value; `None` when all have.
    pub const fn validity(&self) -> Option<&Bitmap> {
        self.validity.as_ref()
    }

    /// Values and validity by value.
    #[cfg(feature = "arrow")]
    pub(crate) fn into_parts(self) -> (Values, Option<Bitmap>) {
        (self.values, self.validity)
    }

    /// Whether `row` has a value.
    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        self.validity.as_ref().is_none_or(|validity| validity.contains(row))
    }

    /// Number of nulls.
    pub fn null_count(&self) -> usize {
        self.validity.as_ref().map_or(0, |validity| validity.len() - validity.count())
    }

    /// The value of `row`; a row that is not there has none.
    pub fn get(&self, row: usize) -> Datum<'_> {
        if row >= self.len() || !self.is_valid(row) {
            return Datum::Null;
        }
        let image = each_word!(&self.values, vector => vector.get(row).map(|value| value.to_image()),
            Values::Bool(bits) => Some(bits.contains(row).into()),
            Values::Fixed { len, bytes } => {
                return Datum::from_bytes(self.ty, bytes.get(row * len..row * len + len).unwrap_or_default());
            }
            Values::Bytes(strings) => return Datum::from_bytes(self.ty, strings.get(row)),
        );
        image.map_or(Datum::Null, |image| Datum::from_image(self.ty, image))
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`ColumnarError::Type`] for a value that is not one of the column's type; then nothing was added.
    pub fn push(&mut self, datum: Datum<'_>) -> Result<()> {
        let cell = datum.cell(self.ty)?;
        self.push_cell(cell)
    }

    pub(crate) fn push_cell(&mut self, cell: Cell<'_>) -> Result<()> {
        let image = if let Cell::Word(image) = cell { image } else { 0 };
        each_word!(&mut self.values, vector => vector.push(Native::from_image(image)),
            Values::Bool(bits) => bits.push(image != 0),
            Values::Fixed { len, bytes } => {
                bytes.extend_from_slice(cell.bytes());
                bytes.resize(bytes.len().next_multiple_of(*len), 0);
                if cell == Cell::Null {
                    bytes.resize(bytes.len() + *len, 0);
                }
            }
            Values::Bytes(strings) => strings.push(cell.bytes())?,
        );
        self.push_validity(cell != Cell::Null);
        Ok(())
    }

    /// Adds rows without a value.
    pub fn push_nulls(&mut self, rows: usize) -> Result<()> {
        (0..rows).try_for_each(|_| self.push_cell(Cell::Null))
    }

    /// Forgets all rows, keeps the memory.
    pub fn clear(&mut self) {
        self.validity = None;
        each_word!(&mut self.values, vector => vector.clear(),
            Values::Bool(bits) => *bits = Bitmap::new(),
            Values::Fixed { bytes, .. } => bytes.clear(),
            Values::Bytes(strings) => {
                strings.ends.clear();
                strings.heap.clear();
            }
        );
    }

    /// Bytes that the values take in memory, about.
    pub fn heap_bytes(&self) -> usize {
        let values = each_word!(&self.values, vector => size_of_val(vector.as_slice()),
            Values::Bool(bits) => bits.len() / 8,
            Values::Fixed { bytes, .. } => bytes.len(),
            Values::Bytes(strings) => strings.heap.len() + 4 * strings.ends.len(),
        );
        values + self.validity.as_ref().map_or(0, |validity| validity.len() / 8)
    }

    /// The row's validity, after its value was added.
    fn push_validity(&mut self, valid: bool) {
        if let Some(validity) = &mut self.validity {
            validity.push(valid);
        } else if !valid {
            let mut validity = Bitmap::all(self.values.len() - 1);
            validity.push(false);
            self.validity = Some(validity);
        }
    }

    /// Validity of `added` rows whose values were added; `None` when all of them are valid.
    pub(crate) fn extend_validity(&mut self, added: usize, validity: Option<Bitmap>) {
        match (&mut self.validity, validity) {
            (None, None) => {}
            (Some(have), Some(more)) => have.append(&more),
            (Some(have), None) => have.append(&Bitmap::all(added)),
            (None, Some(more)) => {
                let mut have = Bitmap::all(self.values.len() - added);
                have.append(&more);
                self.validity = Some(have);
            }
        }
    }

    pub(crate) const fn values_mut(&mut self) -> &mut Values {
        &mut self.values
    }

    /// Validity of `rows`; `None` when all of them are valid.
    pub(crate) fn validity_of(&self, rows: Range<usize>) -> Option<Bitmap> {
        let validity = self.validity.as_ref()?.slice(rows);
        (!validity.is_all()).then_some(validity)
    }
}
