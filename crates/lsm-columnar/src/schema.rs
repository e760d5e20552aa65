//! What columns a value is split into (`docs/format/columnar.md`, section 2).

use alloc::{string::String, vec::Vec};

use lsm_types::{MAX_NAME_LEN, varint};

use crate::{
    ColumnType, ColumnarError, Datum, Result, SchemaFault,
    cursor::Cursor,
    page::{read_cell, write_cell},
    types::Cell,
};

/// Most columns of a schema.
pub const COLUMNS_MAX: usize = 1024;

const WHAT: &str = "schema";
const VERSION: u8 = 1;
const FLAG_NULLABLE: u8 = 1;
const FLAG_DEFAULT: u8 = 2;

/// Permanent number of a column. Those below 16 are the engine's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ColumnId(u16);

impl ColumnId {
    /// User keys, in bundles.
    pub const KEY: Self = Self(0);
    /// Sequence numbers.
    pub const SEQNO: Self = Self(1);
    /// What each entry is.
    pub const KIND: Self = Self(2);
    /// Values that were not split, operands of merges, handles.
    pub const OPAQUE: Self = Self(3);
    /// Digests of rows.
    pub const ROW_DIGEST: Self = Self(6);
    /// First id of a column of the consumer.
    pub const FIRST: Self = Self(16);

    /// The column with this number.
    pub const fn new(id: u16) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Type of one of the engine's own columns.
    pub const fn intrinsic_type(self) -> Option<ColumnType> {
        match self {
            Self::KEY | Self::OPAQUE => Some(ColumnType::Bytes),
            Self::SEQNO | Self::ROW_DIGEST => Some(ColumnType::U64),
            Self::KIND => Some(ColumnType::U8),
            _ => None,
        }
    }
}

impl core::fmt::Display for ColumnId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// One column of a schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    id: ColumnId,
    name: String,
    ty: ColumnType,
    is_nullable: bool,
    /// The stored form of what older rows have.
    default: Option<Vec<u8>>,
}

impl Column {
    /// A column without nulls and without a default.
    pub fn new(id: ColumnId, name: impl Into<String>, ty: ColumnType) -> Self {
        Self { id, name: name.into(), ty, is_nullable: false, default: None }
    }

    /// The same column, but its cells may be null.
    pub fn nullable(mut self) -> Self {
        self.is_nullable = true;
        self
    }

    /// The same column, where rows written before it existed have `default`.
    ///
    /// # Errors
    /// [`SchemaFault::Default`] where that is null or not of the column's type.
    pub fn with_default(mut self, default: Datum<'_>) -> Result<Self> {
        let wrong = ColumnarError::Schema { column: self.id, fault: SchemaFault::Default };
        if default.is_null() || !self.ty.is_valid() {
            return Err(wrong);
        }
        let mut stored = Vec::new();
        write_cell(self.ty, default.cell(self.ty).map_err(|_| wrong)?, &mut stored);
        self.default = Some(stored);
        Ok(self)
    }

    /// Permanent number.
    pub const fn id(&self) -> ColumnId {
        self.id
    }

    /// Name, unique in its schema.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type of the values.
    pub const fn ty(&self) -> ColumnType {
        self.ty
    }

    /// Whether cells may be null.
    pub const fn is_nullable(&self) -> bool {
        self.is_nullable
    }

    /// What rows have that were written before the column existed: its default, or null.
    pub fn default(&self) -> Datum<'_> {
        match self.default_cell() {
            Cell::Word(image) => Datum::from_image(self.ty, image),
            Cell::Bytes(bytes) => Datum::from_bytes(self.ty, bytes),
            Cell::Wide(_) | Cell::Null => Datum::Null,
        }
    }

    pub(crate) fn default_cell(&self) -> Cell<'_> {
        self.default.as_deref().and_then(|stored| read_cell(self.ty, stored)).unwrap_or(Cell::Null)
    }

    fn check(&self) -> Result<()> {
        let fault = |fault| Err(ColumnarError::Schema { column: self.id, fault });
        if self.id < ColumnId::FIRST {
            return fault(SchemaFault::Id);
        }
        if self.name.is_empty() || self.name.len() > MAX_NAME_LEN {
            return fault(SchemaFault::Name);
        }
        if !self.ty.is_valid() {
            return fault(SchemaFault::Type);
        }
        let is_text = |stored: &[u8]| self.ty != ColumnType::Utf8 || core::str::from_utf8(stored).is_ok();
        if self
            .default
            .as_deref()
            .is_some_and(|stored| read_cell(self.ty, stored).is_none() || !is_text(stored))
        {
            return fault(SchemaFault::Default);
        }
        Ok(())
    }
}

/// The columns that values are split into. A schema that exists keeps the rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schema {
    id: u32,
    next_column: u16,
    columns: Vec<Column>,
}

impl Schema {
    /// The first schema of a tree, in order of ids.
    ///
    /// # Errors
    /// [`ColumnarError::Schema`] with the rule that is broken.
    pub fn new(columns: Vec<Column>) -> Result<Self> {
        let next_column = columns.iter().map(|column| column.id.get().saturating_add(1)).max();
        Self::checked(1, next_column.unwrap_or(ColumnId::FIRST.get()), columns)
    }

    /// The next schema of the tree, with `columns` in place of these. Columns that stay keep id, type and nullability;
    /// new ones have ids that no column ever had, and are nullable or have a default.
    ///
    /// # Errors
    /// [`ColumnarError::Schema`] with the rule that is broken.
    pub fn evolve(&self, columns: Vec<Column>) -> Result<Self> {
        for column in &columns {
            let fault = |fault| Err(ColumnarError::Schema { column: column.id, fault });
            match self.column(column.id) {
                Some(old) if old.ty != column.ty || old.is_nullable != column.is_nullable => {
                    return fault(SchemaFault::Reuse);
                }
                None if column.id.get() < self.next_column => return fault(SchemaFault::Reuse),
                None if !column.is_nullable && column.default.is_none() => {
                    return fault(SchemaFault::Default);
                }
                _ => {}
            }
        }
        let last = columns.iter().map(|column| column.id.get().saturating_add(1)).max().unwrap_or(0);
        let Some(id) = self.id.checked_add(1) else {
            return Err(ColumnarError::Schema { column: ColumnId::FIRST, fault: SchemaFault::Id });
        };
        Self::checked(id, self.next_column.max(last), columns)
    }

    fn checked(id: u32, next_column: u16, columns: Vec<Column>) -> Result<Self> {
        let schema = Self { id, next_column, columns };
        schema.check().map(|()| schema)
    }

    fn check(&self) -> Result<()> {
        let fault = |column: &Column, fault| Err(ColumnarError::Schema { column: column.id, fault });
        let mut names: Vec<&str> = Vec::with_capacity(self.columns.len());
        let mut last = None;
        for (idx, column) in self.columns.iter().enumerate() {
            if idx >= COLUMNS_MAX {
                return fault(column, SchemaFault::Count);
            }
            column.check()?;
            if last.is_some_and(|last| last >= column.id) {
                return fault(column, SchemaFault::Order);
            }
            if column.id.get() >= self.next_column {
                return fault(column, SchemaFault::Id);
            }
            last = Some(column.id);
            names.push(&column.name);
        }
        names.sort_unstable();
        let taken = names.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => self.by_name(a),
            _ => None,
        });
        taken.map_or(Ok(()), |column| fault(column, SchemaFault::NameTaken))
    }

    /// Number of the schema: 1, then one more with each change.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The columns, in order of their ids.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column with this id.
    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.position(id).and_then(|idx| self.columns.get(idx))
    }

    /// Where the column with this id stands.
    pub fn position(&self, id: ColumnId) -> Option<usize> {
        self.columns.binary_search_by_key(&id, Column::id).ok()
    }

    /// The column with this name.
    pub fn by_name(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Appends the schema to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.next_column.to_le_bytes());
        out.extend_from_slice(&u16::try_from(self.columns.len()).unwrap_or(u16::MAX).to_le_bytes());
        for column in &self.columns {
            let (code, parameter) = column.ty.code();
            let flags = u8::from(column.is_nullable) * FLAG_NULLABLE
                + u8::from(column.default.is_some()) * FLAG_DEFAULT;
            out.extend_from_slice(&column.id.get().to_le_bytes());
            out.push(code);
            out.extend_from_slice(&parameter.to_le_bytes());
            out.extend_from_slice(&[flags, 0]);
            varint::encode_prefixed(column.name.as_bytes(), out);
            if let Some(default) = &column.default {
                varint::encode_prefixed(default, out);
            }
        }
    }

    /// The schema that `bytes` are, all of them.
    ///
    /// # Errors
    /// [`ColumnarError::Unsupported`] for types, orders and flags this version does not know; for everything else that
    /// does not fit, [`ColumnarError::Malformed`], and [`ColumnarError::Schema`] where a rule is broken.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(WHAT, bytes);
        let version = cursor.u8("version")?;
        if version != VERSION {
            return Err(cursor.unsupported("version", version.into()));
        }
        let id = cursor.u32("schema id")?;
        let next_column = cursor.u16("next column")?;
        let count = usize::from(cursor.u16("columns")?);
        if id == 0 || count > COLUMNS_MAX {
            return Err(cursor.malformed("columns"));
        }
        let columns = (0..count).map(|_| decode_column(&mut cursor)).collect::<Result<Vec<_>>>()?;
        cursor.finish()?;
        Self::checked(id, next_column, columns)
    }
}

fn decode_column(cursor: &mut Cursor<'_>) -> Result<Column> {
    let id = ColumnId::new(cursor.u16("column id")?);
    let code = cursor.u8("type")?;
    let parameter = cursor.u16("type parameter")?;
    let Some(ty) = ColumnType::from_code(code, parameter) else {
        return Err(cursor.unsupported("type", code.into()));
    };
    let flags = cursor.u8("flags")?;
    if flags & !(FLAG_NULLABLE | FLAG_DEFAULT) != 0 {
        return Err(cursor.unsupported("flags", flags.into()));
    }
    let order = cursor.u8("order")?;
    if order != 0 {
        return Err(cursor.unsupported("order", order.into()));
    }
    let Ok(name) = core::str::from_utf8(cursor.prefixed("name")?) else {
        return Err(cursor.malformed("name"));
    };
    let default = if flags & FLAG_DEFAULT != 0 { Some(cursor.prefixed("default")?.to_vec()) } else { None };
    Ok(Column { id, name: name.into(), ty, is_nullable: flags & FLAG_NULLABLE != 0, default })
}
