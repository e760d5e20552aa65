//! A splitter for the values of lives, what it has to find in them, and batches of them.

use std::sync::Arc;

use lsm_columnar::{
    Column, ColumnId, ColumnSplitter, ColumnType, ColumnVector, ColumnarError, Datum, RowCells, Schema,
};
use lsm_engine::ColumnBatch;

/// The number a value starts with; null where it is empty.
pub(crate) const NUMBER: ColumnId = ColumnId::new(16);
/// How many dots follow.
pub(crate) const DOTS: ColumnId = ColumnId::new(17);
/// Whether a mark stands in front.
pub(crate) const MARKED: ColumnId = ColumnId::new(18);
/// `long` or `short` for values that have dots.
pub(crate) const SIZE: ColumnId = ColumnId::new(19);

/// Splits `~12.....`; declines everything else, and some of these, too.
pub(crate) struct Dotted {
    schema: Schema,
}

/// The cells of a value that is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cells {
    pub(crate) number: Option<u64>,
    pub(crate) dots: u32,
    pub(crate) marked: bool,
}

impl Cells {
    pub(crate) fn of(value: &[u8]) -> Option<Self> {
        let (marked, rest) = value.strip_prefix(b"~").map_or((false, value), |rest| (true, rest));
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, dots) = rest.split_at(digits);
        let number = match std::str::from_utf8(digits).ok()? {
            "" => None,
            text if text.len() > 1 && text.starts_with('0') => return None,
            text => Some(text.parse::<u64>().ok()?),
        };
        let is_taken = dots.iter().all(|byte| *byte == b'.') && number.is_none_or(|number| number % 7 != 3);
        is_taken.then_some(Self { number, dots: u32::try_from(dots.len()).ok()?, marked })
    }

    pub(crate) fn size(self) -> Option<&'static str> {
        match self.dots {
            0 => None,
            1..10 => Some("short"),
            _ => Some("long"),
        }
    }

    /// The cell of a column.
    pub(crate) fn datum(self, column: ColumnId) -> Datum<'static> {
        match column {
            NUMBER => self.number.map_or(Datum::Null, Datum::U64),
            DOTS => Datum::U64(self.dots.into()),
            MARKED => Datum::Bool(self.marked),
            SIZE => self.size().map_or(Datum::Null, Datum::from),
            _ => Datum::Null,
        }
    }
}

impl Dotted {
    pub(crate) fn new() -> Arc<Self> {
        let columns = vec![
            Column::new(NUMBER, "number", ColumnType::U64).nullable(),
            Column::new(DOTS, "dots", ColumnType::U32),
            Column::new(MARKED, "marked", ColumnType::Bool),
            Column::new(SIZE, "size", ColumnType::Utf8).nullable(),
        ];
        Arc::new(Self { schema: Schema::new(columns).unwrap() })
    }
}

impl ColumnSplitter for Dotted {
    fn name(&self) -> &'static str {
        "test.dotted"
    }

    fn version(&self) -> u32 {
        1
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn split(&self, value: &[u8], cells: &mut RowCells) -> Option<()> {
        let found = Cells::of(value)?;
        self.schema.columns().iter().try_for_each(|column| cells.push(found.datum(column.id())).ok())
    }

    fn assemble(&self, cells: &RowCells, value: &mut Vec<u8>) -> Result<(), ColumnarError> {
        if cells.get(2) == Datum::Bool(true) {
            value.push(b'~');
        }
        if let Datum::U64(number) = cells.get(0) {
            value.extend_from_slice(number.to_string().as_bytes());
        }
        let Datum::U64(dots) = cells.get(1) else { return Err(ColumnarError::Assemble) };
        value.resize(value.len() + usize::try_from(dots).map_err(|_| ColumnarError::Assemble)?, b'.');
        Ok(())
    }
}

/// Values taken apart by hand, as rows of a batch.
pub(crate) struct DottedRows {
    columns: Vec<(ColumnId, ColumnVector)>,
}

impl DottedRows {
    pub(crate) fn new() -> Self {
        let types = [
            (SIZE, ColumnType::Utf8),
            (ColumnId::OPAQUE, ColumnType::Bytes),
            (NUMBER, ColumnType::U64),
            (ColumnId::KEY, ColumnType::Bytes),
            (DOTS, ColumnType::U32),
            (MARKED, ColumnType::Bool),
        ];
        Self { columns: types.map(|(id, ty)| (id, ColumnVector::new(ty))).into() }
    }

    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        let cells = Cells::of(value);
        for (id, vector) in &mut self.columns {
            let datum = match *id {
                ColumnId::KEY => Datum::Bytes(key),
                ColumnId::OPAQUE if cells.is_none() => Datum::Bytes(value),
                id => cells.map_or(Datum::Null, |cells| cells.datum(id)),
            };
            vector.push(datum).unwrap();
        }
    }

    /// The rows so far; perhaps none.
    pub(crate) fn take(&mut self) -> ColumnBatch {
        let batch = ColumnBatch::from_columns(std::mem::take(&mut self.columns)).unwrap();
        *self = Self::new();
        batch
    }
}
