//! Whole pages, or selected rows of them, into typed vectors: one decision per page, tight loops below it.

use alloc::vec::Vec;

use lsm_types::columns::KeyBuf;

use super::{Body, BytesBody, PAGE_BYTES_MAX, Page, WordBody, words::run_end};
use crate::{
    Bitmap, ColumnVector, ColumnarError, Result, Values,
    native::Native,
    packed::BLOCK,
    vector::{ByteStrings, each_word},
};

/// Images unpacked in one go: few enough to stay in the nearest cache.
const BATCH: usize = 4 * BLOCK;

/// Whether so many rows are wanted that unpacking all of them is cheaper than finding each.
const fn is_dense(selected: usize, rows: usize) -> bool {
    selected * 8 >= rows
}

impl Page {
    /// Adds all rows to `out`.
    ///
    /// # Errors
    /// [`ColumnarError::Type`] where `out` is of another type, [`ColumnarError::PageTooLarge`] where the values come
    /// to more than 256 MiB. What `out` holds then is unspecified.
    pub fn decode(&self, payload: &[u8], out: &mut ColumnVector) -> Result<()> {
        self.check_type(out)?;
        match &self.body {
            Body::Words(words) => each_word!(out.values_mut(), vector => self.words(words, payload, vector),
                Values::Bool(bits) => self.bits(words, payload, bits),
                Values::Fixed { .. } | Values::Bytes(_) => {}
            ),
            Body::Bytes(body) => match out.values_mut() {
                Values::Fixed { len, bytes } => self.fixed(body, payload, *len, bytes)?,
                Values::Bytes(strings) => self.strings(body, payload, strings)?,
                _ => {}
            },
        }
        out.extend_validity(self.rows, self.validity(payload));
        Ok(())
    }

    /// Adds the rows that are in `selection`, a set of the page's rows, to `out`. Errors as for [`Page::decode`].
    pub fn decode_selected(&self, payload: &[u8], selection: &Bitmap, out: &mut ColumnVector) -> Result<()> {
        self.check_type(out)?;
        debug_assert_eq!(selection.len(), self.rows, "a set of the page's rows");
        let selected = selection.count();
        if selected == self.rows {
            return self.decode(payload, out);
        }
        match &self.body {
            Body::Words(words) => each_word!(out.values_mut(),
                vector => self.gather(words, payload, (selection, selected), vector),
                Values::Bool(bits) => {
                    let mut found = Vec::new();
                    self.gather::<u8>(words, payload, (selection, selected), &mut found);
                    for image in found {
                        bits.push(image != 0);
                    }
                }
                Values::Fixed { .. } | Values::Bytes(_) => {}
            ),
            Body::Bytes(body) if selected * 2 >= self.rows => {
                self.bytes_of_runs(body, payload, selection, out.values_mut())?;
            }
            Body::Bytes(body) => {
                let (mut scratch, mut total) = (Vec::new(), 0);
                for row in selection.rows() {
                    let value = body.at(payload, row, &mut scratch);
                    total = self.check_total(total, value.len())?;
                    match out.values_mut() {
                        Values::Fixed { bytes, .. } => bytes.extend_from_slice(value),
                        Values::Bytes(strings) => strings.push(value)?,
                        _ => {}
                    }
                }
            }
        }
        let validity = self
            .validity(payload)
            .map(|validity| selection.rows().map(|row| validity.contains(row)).collect::<Bitmap>());
        out.extend_validity(selected, validity.filter(|validity| !validity.is_all()));
        Ok(())
    }

    fn check_type(&self, out: &ColumnVector) -> Result<()> {
        if out.ty() == self.ty { Ok(()) } else { Err(ColumnarError::Type { ty: self.ty }) }
    }

    /// The sum of bytes decoded, while it is in bounds.
    fn check_total(&self, total: usize, more: usize) -> Result<usize> {
        let bytes = total.saturating_add(more);
        if bytes <= PAGE_BYTES_MAX {
            Ok(bytes)
        } else {
            Err(ColumnarError::PageTooLarge { rows: self.rows, bytes })
        }
    }

    fn words<N: Native>(&self, words: &WordBody, payload: &[u8], out: &mut Vec<N>) {
        out.reserve(self.rows);
        let mut images = [0; BATCH];
        for first in (0..self.rows).step_by(BATCH) {
            let Some(images) = images.get_mut(..BATCH.min(self.rows - first)) else { continue };
            words.unpack(payload, first, images);
            out.extend(images.iter().map(|&image| N::from_image(image)));
        }
    }

    fn bits(&self, words: &WordBody, payload: &[u8], out: &mut Bitmap) {
        let mut images = [0; BLOCK];
        let mut found = Bitmap::none(self.rows);
        for (idx, word) in found.words_mut().iter_mut().enumerate() {
            let first = idx * BLOCK;
            let Some(images) = images.get_mut(..BLOCK.min(self.rows - first)) else { continue };
            words.unpack(payload, first, images);
            *word = images.iter().rev().fold(0, |word, image| word << 1 | (image & 1));
        }
        out.append(&found);
    }

    /// Selected rows: one by one where few are wanted, else by unpacking blocks that have any, and run by run.
    fn gather<N: Native>(
        &self,
        words: &WordBody,
        payload: &[u8],
        (selection, selected): (&Bitmap, usize),
        out: &mut Vec<N>,
    ) {
        out.reserve(selected);
        if !is_dense(selected, self.rows) {
            out.extend(selection.rows().map(|row| N::from_image(words.at(payload, row))));
            return;
        }
        let mut images = [0; BATCH];
        for (idx, wanted) in selection.words().chunks(BATCH / BLOCK).enumerate() {
            let first = idx * BATCH;
            let Some(images) = images.get_mut(..BATCH.min(self.rows - first)) else { continue };
            if wanted.iter().all(|word| *word == 0) {
                continue;
            }
            words.unpack(payload, first, images);
            for (images, &word) in images.chunks(BLOCK).zip(wanted) {
                let mut rest = word;
                while rest != 0 {
                    let start = rest.trailing_zeros();
                    let len = (rest >> start).trailing_ones();
                    let run = images.get(start as usize..(start + len) as usize).unwrap_or_default();
                    out.extend(run.iter().map(|&image| N::from_image(image)));
                    rest &= u64::MAX.checked_shl(start + len).unwrap_or(0);
                }
            }
        }
    }

    /// Selected rows of a page that is decoded as a whole first.
    fn bytes_of_runs(
        &self,
        body: &BytesBody,
        payload: &[u8],
        selection: &Bitmap,
        out: &mut Values,
    ) -> Result<()> {
        match out {
            Values::Fixed { len, bytes } => {
                let mut all = Vec::new();
                self.fixed(body, payload, *len, &mut all)?;
                for run in selection.ranges() {
                    bytes.extend_from_slice(all.get(run.start * *len..run.end * *len).unwrap_or_default());
                }
            }
            Values::Bytes(strings) => {
                let mut all = ByteStrings::default();
                self.strings(body, payload, &mut all)?;
                selection.ranges().try_for_each(|run| strings.extend_run(&all, run))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn fixed(&self, body: &BytesBody, payload: &[u8], len: usize, out: &mut Vec<u8>) -> Result<()> {
        self.check_total(0, len.saturating_mul(self.rows))?;
        if let BytesBody::Fixed { start, step, .. } = body
            && *step != 0
        {
            out.extend_from_slice(payload.get(*start..start + len * self.rows).unwrap_or_default());
            return Ok(());
        }
        self.for_runs(body, payload, |value, rows| {
            (0..rows).for_each(|_| out.extend_from_slice(value));
            Ok(())
        })
    }

    fn strings(&self, body: &BytesBody, payload: &[u8], out: &mut ByteStrings) -> Result<()> {
        if let BytesBody::Strings(strings) = body {
            let mut lens = [0; BATCH];
            let mut rest = strings.heap(payload);
            self.check_total(0, rest.len())?;
            for first in (0..self.rows).step_by(BATCH) {
                let Some(lens) = lens.get_mut(..BATCH.min(self.rows - first)) else { continue };
                strings.lens(payload, first, lens);
                let sum = usize::try_from(lens.iter().sum::<u64>()).unwrap_or(usize::MAX);
                let (heap, tail) = rest.split_at_checked(sum).unwrap_or((rest, &[]));
                out.extend(lens, heap)?;
                rest = tail;
            }
            return Ok(());
        }
        let mut total = 0;
        self.for_runs(body, payload, |value, rows| {
            total = self.check_total(total, value.len().saturating_mul(rows))?;
            (0..rows).try_for_each(|_| out.push(value))
        })
    }

    /// Calls `visit` with values and how many rows in a row have them.
    fn for_runs(
        &self,
        body: &BytesBody,
        payload: &[u8],
        mut visit: impl FnMut(&[u8], usize) -> Result<()>,
    ) -> Result<()> {
        match body {
            BytesBody::Fixed { start, len, .. } => {
                visit(payload.get(*start..start + len).unwrap_or_default(), self.rows)
            }
            BytesBody::Runs { ends, values } => {
                let mut start = 0;
                (0..ends.count).try_for_each(|run| {
                    let end = run_end(ends, payload, run);
                    let rows = end.saturating_sub(core::mem::replace(&mut start, end));
                    visit(values.at(payload, run), rows)
                })
            }
            BytesBody::Dictionary { entries, codes } => {
                // Each entry is looked up once, not once per row.
                let entries: Vec<&[u8]> = (0..entries.count()).map(|idx| entries.at(payload, idx)).collect();
                let mut block = [0; BLOCK];
                (0..self.rows).step_by(BLOCK).try_for_each(|first| {
                    let Some(block) = block.get_mut(..BLOCK.min(self.rows - first)) else { return Ok(()) };
                    codes.unpack(payload, first, block);
                    block.iter().try_for_each(|&code| {
                        let code = usize::try_from(code).unwrap_or(usize::MAX);
                        visit(entries.get(code).copied().unwrap_or_default(), 1)
                    })
                })
            }
            BytesBody::Strings(strings) => {
                (0..self.rows).try_for_each(|row| visit(strings.at(payload, row), 1))
            }
            BytesBody::Keys(keys) => {
                let mut key = KeyBuf::new();
                (0..self.rows).try_for_each(|row| {
                    keys.key(payload, row, &mut key);
                    visit(key.as_slice(), 1)
                })
            }
        }
    }
}
