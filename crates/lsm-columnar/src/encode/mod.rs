//! Pages from typed values: statistics in one pass, the exact size of every encoding that fits, the smallest wins.
//!
//! Ties and near ties go to what is read faster: a page is only run-length or difference coded when that is at least
//! an eighth smaller than the best form in which any row is one load away.

mod bytes;
mod distinct;
mod words;

use alloc::vec::Vec;
use core::ops::Range;

use crate::{
    Bitmap, ColumnVector, ColumnarError, Encoding, PAGE_BYTES_MAX, PAGE_ROWS_MAX, PageStamp, Result, Values,
    Zone, native::Native, page::PageHead, types::Physical, vector::each_word,
};
use distinct::Distinct;

/// What an encoder came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageInfo {
    /// How the values are laid out.
    pub encoding: Encoding,
    /// Whether the rows have a null.
    pub is_nullable: bool,
    /// Whether no value is below the one before it; never with nulls.
    pub is_sorted: bool,
    /// Rows, nulls and bounds.
    pub zone: Zone,
}

/// Which encodings an encoder may choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncodingSet(u16);

impl EncodingSet {
    /// All of them.
    pub const ALL: Self = Self(u16::MAX);

    /// These; where none of them fits the values, the encoder falls back to plain values, or to lengths and a heap.
    pub fn of(encodings: &[Encoding]) -> Self {
        Self(encodings.iter().fold(0, |set, encoding| set | 1 << encoding.code()))
    }

    /// Whether `encoding` is one of them.
    pub const fn has(self, encoding: Encoding) -> bool {
        self.0 >> encoding.code() & 1 == 1
    }
}

/// An encoding that fits, and the bytes it would take.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    encoding: Encoding,
    len: usize,
}

/// Encodes pages; kept for its memory.
#[derive(Debug)]
pub struct PageEncoder {
    allowed: EncodingSet,
    images: Vec<u64>,
    distinct: Distinct,
}

impl PageEncoder {
    /// An encoder that chooses among `allowed`.
    pub const fn new(allowed: EncodingSet) -> Self {
        Self { allowed, images: Vec::new(), distinct: Distinct::new() }
    }

    /// Appends the page of `rows` of `vector` to `out`.
    ///
    /// # Errors
    /// [`ColumnarError::PageTooLarge`] for no row, over 65,536 rows or over 256 MiB.
    pub fn encode(
        &mut self,
        stamp: PageStamp,
        vector: &ColumnVector,
        rows: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<PageInfo> {
        let count = rows.len();
        if count == 0 || count > PAGE_ROWS_MAX || rows.end > vector.len() {
            return Err(ColumnarError::PageTooLarge { rows: count, bytes: 0 });
        }
        let validity = vector.validity_of(rows.clone());
        // The head is written once the encoding is known; the bitmap follows it.
        let head_at = out.len();
        let mut head = PageHead {
            stamp,
            rows: u32::try_from(count).unwrap_or(u32::MAX),
            encoding: Encoding::Plain,
            nullable: validity.is_some(),
        };
        head.write(out);
        if let Some(validity) = &validity {
            validity.write(out);
        }
        let encoded = match vector.ty().physical() {
            Physical::Word { width, max } => {
                Ok(self.words(vector, rows, validity.as_ref(), (width, max), out))
            }
            Physical::Fixed(_) | Physical::Var => self.bytes(stamp, vector, rows, validity.as_ref(), out),
        };
        let (encoding, is_sorted, zone) = match encoded {
            Ok(encoded) => encoded,
            Err(error) => {
                out.truncate(head_at);
                return Err(error);
            }
        };
        head.encoding = encoding;
        let mut fixed = Vec::with_capacity(crate::PAGE_HEAD_LEN);
        head.write(&mut fixed);
        if let Some(place) = out.get_mut(head_at..head_at + fixed.len()) {
            place.copy_from_slice(&fixed);
        }
        Ok(PageInfo {
            encoding,
            is_nullable: validity.is_some(),
            is_sorted: is_sorted && validity.is_none(),
            zone,
        })
    }

    fn words(
        &mut self,
        vector: &ColumnVector,
        rows: Range<usize>,
        validity: Option<&Bitmap>,
        (width, max): (usize, u64),
        out: &mut Vec<u8>,
    ) -> (Encoding, bool, Zone) {
        let count = rows.len();
        self.images.clear();
        each_word!(vector.values(),
            vector => self.images.extend(vector.iter().skip(rows.start).take(count).map(|value| value.to_image())),
            Values::Bool(bits) => self.images.extend(rows.map(|row| u64::from(bits.contains(row)))),
            Values::Fixed { .. } | Values::Bytes(_) => {}
        );
        fill_nulls(&mut self.images, validity);
        let stats = words::Stats::of(&self.images);
        let encoding =
            words::encode(&self.images, &stats, (width, max), self.allowed, &mut self.distinct, out);
        let nulls = validity.map_or(0, |validity| count - validity.count());
        let ordered = |image: u64| image.to_be_bytes();
        let (min, max) = (ordered(stats.min), ordered(stats.max));
        let cut = |bytes: &'_ [u8; 8]| bytes.get(8 - width..).unwrap_or_default().to_vec();
        let (min, max) = (cut(&min), cut(&max));
        let bounds = (nulls < count).then_some((&min[..], &max[..]));
        (encoding, stats.is_sorted, Zone::of(count as u64, nulls as u64, bounds))
    }

    fn bytes(
        &mut self,
        stamp: PageStamp,
        vector: &ColumnVector,
        rows: Range<usize>,
        validity: Option<&Bitmap>,
        out: &mut Vec<u8>,
    ) -> Result<(Encoding, bool, Zone)> {
        let count = rows.len();
        let values = bytes::slices(vector, rows, validity);
        let stats = bytes::Stats::of(&values, validity);
        if stats.raw_len > PAGE_BYTES_MAX {
            return Err(ColumnarError::PageTooLarge { rows: count, bytes: stats.raw_len });
        }
        let fixed = vector.ty().fixed_len();
        let is_key = stamp.column == crate::ColumnId::KEY;
        let input = bytes::Input { values: &values, validity, fixed, is_key };
        let encoding = bytes::encode(&input, &stats, self.allowed, &mut self.distinct, out)?;
        let nulls = validity.map_or(0, |validity| count - validity.count());
        let bounds = (nulls < count).then_some((stats.min, stats.max));
        Ok((encoding, stats.is_sorted, Zone::of(count as u64, nulls as u64, bounds)))
    }
}

/// Puts the value before it under every null, and the first value under nulls before it: that costs least.
fn fill_nulls(images: &mut [u64], validity: Option<&Bitmap>) {
    let Some(validity) = validity else { return };
    let first = validity.rows().next().and_then(|row| images.get(row).copied());
    let mut last = first.unwrap_or(0);
    for (row, image) in images.iter_mut().enumerate() {
        if validity.contains(row) { last = *image } else { *image = last }
    }
}

/// The candidate to take: the smallest, where sequential forms have to be worth their slower reads.
fn choose(candidates: impl Iterator<Item = Candidate>) -> Option<Encoding> {
    let weight = |candidate: &Candidate| match candidate.encoding {
        Encoding::RunLength | Encoding::Delta => candidate.len + candidate.len / 7,
        _ => candidate.len,
    };
    candidates.min_by_key(weight).map(|candidate| candidate.encoding)
}
