//! Typed columns: rows of text as values with a schema, and questions about them.
//!
//! A database that was loaded with `--schema` holds lines of fields between tabs. The schema stands in its manifest, so
//! every command that opens it finds the columns again.

mod condition;
mod schema;

use std::sync::Arc;

use lsm::{
    columnar::{ColumnSplitter, ColumnType, Datum, DelimitedText, Schema},
    tree::{ColumnLayout, ColumnPolicy, Tree},
};
use lsm_sst::{Splitters, TableLayout};

pub(crate) use condition::{Condition, ConditionError};
pub(crate) use schema::{SchemaError, parse as parse_schema, type_name};

use crate::text;

/// Name of the splitter of fields between tabs.
const SPLITTER: &str = "lsm.tsv";

pub(crate) fn splitter(schema: Schema) -> lsm::Result<Arc<dyn ColumnSplitter>> {
    Ok(Arc::new(DelimitedText::new(SPLITTER, schema, b'\t')?))
}

/// How values of a typed database are split. Its tables store columns.
pub(crate) fn policy(schema: Schema) -> lsm::Result<ColumnPolicy> {
    Ok(ColumnPolicy::new(splitter(schema)?).layout(ColumnLayout::Columnar))
}

/// The newest schema of this tree, if this program splits its values.
pub(crate) fn schema_of(tree: &Tree) -> lsm::Result<Option<Schema>> {
    let newest = tree.schemas().pop().filter(|stored| stored.splitter == SPLITTER);
    Ok(newest.map(|stored| Schema::decode(&stored.schema)).transpose()?)
}

/// What puts values of a table together, where this program took them apart.
pub(crate) fn splitters_of(table: &TableLayout) -> Splitters {
    let columns = table.properties().columns.as_ref();
    let is_ours = columns.and_then(|columns| columns.splitter.as_ref()).is_some_and(|id| id.name == SPLITTER);
    let schema = table.schema().filter(|_| is_ours).map(|schema| Schema::clone(schema));
    Splitters::new(schema.and_then(|schema| splitter(schema).ok()).into_iter().collect())
}

/// A cell as it is printed; nothing for a null.
pub(crate) fn cell_text(ty: ColumnType, datum: Datum<'_>) -> String {
    match (ty, datum) {
        (ColumnType::Decimal { scale, .. }, Datum::I64(value)) => decimal_text(value.into(), scale.into()),
        (ColumnType::Decimal { scale, .. }, Datum::I128(value)) => decimal_text(value, scale.into()),
        (_, Datum::Bool(value)) => value.to_string(),
        (_, Datum::U64(value)) => value.to_string(),
        (_, Datum::I64(value)) => value.to_string(),
        (_, Datum::U128(value)) => value.to_string(),
        (_, Datum::I128(value)) => value.to_string(),
        (_, Datum::F32(value)) => value.to_string(),
        (_, Datum::F64(value)) => value.to_string(),
        (_, Datum::Bytes(bytes)) => text::escape(bytes),
        _ => String::new(),
    }
}

fn decimal_text(value: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let (sign, point) = (if value < 0 { "-" } else { "" }, if scale > 0 { "." } else { "" });
    format!("{sign}{whole}{point}{fraction}")
}

/// A cell as JSON. Numbers that readers of JSON may round stand as text.
pub(crate) fn cell_json(ty: ColumnType, datum: Datum<'_>) -> serde_json::Value {
    match (ty, datum) {
        (ColumnType::Decimal { .. }, Datum::I64(_)) => cell_text(ty, datum).into(),
        (_, Datum::Null) => serde_json::Value::Null,
        (_, Datum::Bool(value)) => value.into(),
        (_, Datum::U64(value)) => value.into(),
        (_, Datum::I64(value)) => value.into(),
        (_, Datum::F32(value)) => f64::from(value).into(),
        (_, Datum::F64(value)) => value.into(),
        (_, Datum::Bytes(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => serde_json::json!({ "hex": text::hex(bytes) }),
        },
        _ => cell_text(ty, datum).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_have_their_point() {
        let cases = [(150, 2, "1.50"), (-5, 2, "-0.05"), (7, 0, "7"), (0, 3, "0.000"), (-1234, 1, "-123.4")];
        for (value, scale, expected) in cases {
            assert_eq!(cell_text(ColumnType::Decimal { precision: 9, scale }, Datum::I64(value)), expected);
        }
    }
}
