//! Cells of a batch as text, column by column, before they are lined up row by row.
//!
//! Text of a number is made in a loop over one column, where the type is decided once and no number waits for the one
//! before it; a row is then a walk over slots of one size, each copied whole and cut off by what follows it. Only what is
//! too long for a slot is written where it ends up.

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    RowValues,
    rows::{RowBatch, Source},
    text::{Line, Out, write_bool, write_decimal_word, write_i64, write_u64},
};
use crate::{ColumnType, Datum, Result, native::Native};

/// Bytes of a slot; the last one is the length.
const SLOT: usize = 32;
/// Longest text in a slot.
const TEXT: usize = SLOT - 1;
/// Stands in place of the length where the text has no room.
const LONG: u8 = u8::MAX;
/// Slots that are filled before they are lined up: they and the rows they make stay in the nearest cache.
const SLOTS: usize = 640;

/// How cells are written as text.
pub(super) trait CellText {
    /// What stands before each cell of the column of this number, one byte at most.
    fn lead(&self, column: usize) -> Option<u8>;

    /// Text of a null, in a slot.
    fn null(&self, out: &mut SlotText<'_>);

    /// Text of a string, in a slot.
    fn string(&self, bytes: &[u8], place: (usize, usize), out: &mut SlotText<'_>);

    /// Whatever has to stand before the slot of the column of this number.
    fn before(&self, column: usize, line: &mut Line<'_>);

    /// Text of a cell of any type, its lead not included.
    fn long(&self, column: &Source<'_>, row: usize, line: &mut Line<'_>);

    /// What stands behind the last cell.
    fn after(&self, line: &mut Line<'_>);
}

/// Text of a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot([u8; SLOT]);

/// Writes to a slot.
pub(super) struct SlotText<'s> {
    bytes: &'s mut [u8; SLOT],
    len: usize,
}

impl SlotText<'_> {
    /// Gives up on the slot.
    pub(super) const fn overflow(&mut self) {
        self.len = SLOT;
    }
}

impl Out for SlotText<'_> {
    #[inline]
    fn piece<const N: usize>(&mut self, piece: [u8; N], len: usize) {
        if let Some(place) = self.bytes.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut) {
            *place = piece;
            self.len += len;
        } else {
            self.overflow();
        }
    }

    #[inline]
    fn whole(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        } else {
            self.overflow();
        }
    }
}

/// Adds the values of a batch.
pub(super) fn write_rows(rows: &RowBatch<'_>, text: &impl CellText, values: &mut RowValues) -> Result<()> {
    let columns = rows.columns();
    let mut slots = values.take_slots();
    let strip = (SLOTS / columns.len().max(1)).max(1);
    let Range { mut start, end } = rows.rows();
    let mut written = Ok(());
    while start < end && written.is_ok() {
        let strip = start..end.min(start + strip);
        slots.resize(columns.len() * strip.len(), Slot([0; SLOT]));
        for (idx, column) in columns.iter().enumerate() {
            fill(idx, column, strip.clone(), text, slots.iter_mut().skip(idx).step_by(columns.len()));
        }
        start = strip.end;
        written = line_up(columns, strip, text, &slots, values);
    }
    values.give_slots(slots);
    written
}

/// Lines slots up row by row.
fn line_up(
    columns: &[Source<'_>],
    mut rows: Range<usize>,
    text: &impl CellText,
    slots: &[Slot],
    values: &mut RowValues,
) -> Result<()> {
    let mut slots = slots.chunks_exact(columns.len().max(1));
    rows.try_for_each(|row| {
        let slots = slots.next().unwrap_or_default();
        values.line(|line| {
            for (idx, (Slot(bytes), column)) in slots.iter().zip(columns).enumerate() {
                text.before(idx, line);
                let [.., len] = *bytes;
                if len == LONG {
                    line.whole(text.lead(idx).as_slice());
                    text.long(column, row, line);
                } else {
                    line.piece(*bytes, len.into());
                }
            }
            text.after(line);
        })
    })
}

/// Fills the slots of a column.
fn fill<'s>(
    idx: usize,
    column: &Source<'_>,
    rows: Range<usize>,
    text: &impl CellText,
    slots: impl Iterator<Item = &'s mut Slot>,
) {
    use ColumnType as T;
    let (lead, ty) = (text.lead(idx), column.ty());
    let Some(images) = column.images() else {
        let is_wide = ty.is_wide();
        return each(column, rows.zip(slots), lead, text, |row, out| {
            if is_wide {
                return out.overflow();
            }
            let (bytes, place) = column.place(row);
            text.string(bytes, place, out);
        });
    };
    let image = |row: usize| images.get(row).copied().unwrap_or_default();
    let cells = rows.zip(slots);
    match ty {
        T::U8 | T::U16 | T::U32 | T::U64 => {
            each(column, cells, lead, text, |row, out| write_u64(image(row), out));
        }
        T::Bool => each(column, cells, lead, text, |row, out| write_bool(image(row) != 0, out)),
        T::I8 => {
            each(column, cells, lead, text, |row, out| write_i64(i8::from_image(image(row)).into(), out));
        }
        T::I16 => {
            each(column, cells, lead, text, |row, out| write_i64(i16::from_image(image(row)).into(), out));
        }
        T::I32 => {
            each(column, cells, lead, text, |row, out| write_i64(i32::from_image(image(row)).into(), out));
        }
        T::Decimal { scale: scale @ 1.., .. } => each(column, cells, lead, text, |row, out| {
            write_decimal_word(i64::from_image(image(row)), scale, out);
        }),
        T::F32 | T::F64 => each(column, cells, lead, text, |_, out| out.overflow()),
        _ => each(column, cells, lead, text, |row, out| match Datum::from_image(ty, image(row)) {
            Datum::I64(value) => write_i64(value, out),
            _ => out.overflow(),
        }),
    }
}

/// Fills slots, one for each row, in a loop of its own for each way to write cells.
#[inline]
fn each<'s>(
    column: &Source<'_>,
    cells: impl Iterator<Item = (usize, &'s mut Slot)>,
    lead: Option<u8>,
    text: &impl CellText,
    write: impl Fn(usize, &mut SlotText<'_>),
) {
    let first = lead.unwrap_or_default();
    for (row, Slot(bytes)) in cells {
        let [to, ..] = bytes;
        *to = first;
        let mut out = SlotText { bytes, len: usize::from(lead.is_some()) };
        if column.is_valid(row) {
            write(row, &mut out);
        } else {
            text.null(&mut out);
        }
        let len = if out.len <= TEXT { u8::try_from(out.len).unwrap_or(LONG) } else { LONG };
        let [.., to] = bytes;
        *to = len;
    }
}

/// Slots that are kept for the next batch.
pub(super) type Slots = Vec<Slot>;
