//! Schemas on the command line: `id:u64,name:text,born:i32?`.

use lsm::columnar::{Column, ColumnId, ColumnType, ColumnarError, Schema};

/// What is wrong with a schema.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error("`{part}` is no `NAME:TYPE`")]
    NoType { part: String },
    #[error(
        "`{ty}` is no type; there are bool, u8 to u128, i8 to i128, f32, f64, timestamp, decimal(DIGITS.AFTER_THE_POINT), text and bytes, each with `?` where fields may be empty"
    )]
    UnknownType { ty: String },
    #[error(transparent)]
    Rule(#[from] ColumnarError),
}

/// The schema that `text` says. Columns are numbered in its order.
pub(crate) fn parse(text: &str) -> Result<Schema, SchemaError> {
    let columns = text.split(',').zip(ColumnId::FIRST.get()..).map(|(part, id)| {
        let no_type = || SchemaError::NoType { part: part.to_owned() };
        let (name, ty) = part.trim().rsplit_once(':').ok_or_else(no_type)?;
        let (ty, is_nullable) = ty.strip_suffix('?').map_or((ty, false), |ty| (ty, true));
        let ty = type_of(ty).ok_or_else(|| SchemaError::UnknownType { ty: ty.to_owned() })?;
        let column = Column::new(ColumnId::new(id), name, ty);
        Ok(if is_nullable { column.nullable() } else { column })
    });
    Ok(Schema::new(columns.collect::<Result<_, SchemaError>>()?)?)
}

fn type_of(name: &str) -> Option<ColumnType> {
    use ColumnType as T;
    Some(match name {
        "bool" => T::Bool,
        "u8" => T::U8,
        "u16" => T::U16,
        "u32" => T::U32,
        "u64" => T::U64,
        "u128" => T::U128,
        "i8" => T::I8,
        "i16" => T::I16,
        "i32" => T::I32,
        "i64" => T::I64,
        "i128" => T::I128,
        "f32" => T::F32,
        "f64" => T::F64,
        "timestamp" => T::Timestamp,
        "text" => T::Utf8,
        "bytes" => T::Bytes,
        _ => {
            let (precision, scale) = name.strip_prefix("decimal(")?.strip_suffix(')')?.split_once('.')?;
            let ty = T::Decimal { precision: precision.parse().ok()?, scale: scale.parse().ok()? };
            return ty.is_valid().then_some(ty);
        }
    })
}

/// The type as [`parse`] reads it.
pub(crate) fn type_name(ty: ColumnType) -> String {
    match ty {
        ColumnType::Utf8 => "text".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("decimal({precision}.{scale})"),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(text: &str, told: &str) {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }

    #[test]
    fn schemas_are_read_column_by_column() {
        let schema = parse("id:u64, at:timestamp?,price:decimal(12.2),a:b:text").unwrap();
        let columns: Vec<_> =
            schema.columns().iter().map(|c| (c.id().get(), c.name(), c.ty(), c.is_nullable())).collect();
        let price = ColumnType::Decimal { precision: 12, scale: 2 };
        let expected = [
            (16, "id", ColumnType::U64, false),
            (17, "at", ColumnType::Timestamp, true),
            (18, "price", price, false),
            (19, "a:b", ColumnType::Utf8, false),
        ];
        assert_eq!(columns, expected);
        for name in ["u8", "i128", "f32", "timestamp", "text", "bytes", "bool", "decimal(12.2)"] {
            assert_eq!(type_name(type_of(name).unwrap()), name);
        }
        check_refused("id", "`id` is no `NAME:TYPE`");
        check_refused("id:int", "`int` is no type");
        check_refused("id:decimal(2.3)", "is no type");
        check_refused("a:u8,a:u8", "taken");
        check_refused(":u8", "1 to 255 bytes");
    }
}
