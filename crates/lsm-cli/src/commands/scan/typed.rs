//! Scans in columns: `--columns` and `--where`.

use std::ops::Bound;

use lsm::{
    columnar::{ColumnId, ColumnType, Schema},
    tree::{ColumnBatch, ColumnScan, Reader, Tree},
};

use super::Scan;
use crate::{
    columns::{self, Condition},
    failure::{Ending, Failure},
    output::Output,
};

/// First and last key.
type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// A column that is printed.
struct Wanted {
    name: String,
    id: ColumnId,
    ty: ColumnType,
}

impl Scan {
    pub(super) fn is_typed(&self) -> bool {
        self.columns.is_some() || self.condition.is_some()
    }

    pub(super) fn run_typed(&self, tree: &Tree, output: &mut Output) -> Result<Ending, Failure> {
        let schema = columns::schema_of(tree)?.ok_or(Failure::NoColumns)?;
        let wanted = if self.count { Vec::new() } else { self.wanted(&schema)? };
        let text = self.condition.as_deref().unwrap_or_default();
        let wrong = |source| Failure::Condition { text: text.to_owned(), source };
        let condition = self.condition.as_deref().map(Condition::new).transpose().map_err(wrong)?;
        let predicate = condition.as_ref().map(|condition| condition.predicate(&schema));
        let mut scan = ColumnScan::new(wanted.iter().map(|column| column.id));
        if let Some(predicate) = predicate.transpose().map_err(wrong)? {
            scan = scan.filter(predicate);
        }
        if self.reverse {
            scan = scan.reverse();
        }
        let scan = scan.range::<Vec<u8>>(self.bounds()?).limit(self.limit.unwrap_or(u64::MAX));
        let mut batches = tree.scan_columns(&scan)?;
        let mut found = 0;
        while let Some(batch) = batches.advance()? {
            found += batch.rows() as u64;
            if !self.count {
                print(batch, &wanted, output)?;
            }
        }
        if self.count {
            Self::print_count(found, output)?;
        }
        Ok(Ending::Clean)
    }

    /// The columns that were asked for; all of them when none was. `key` is the key, unless a column has that name.
    fn wanted(&self, schema: &Schema) -> Result<Vec<Wanted>, Failure> {
        let all = || schema.columns().iter().map(|column| column.name().to_owned()).collect();
        let names = self.columns.clone().unwrap_or_else(all);
        let find = |name: String| match schema.by_name(&name) {
            Some(column) => Ok(Wanted { id: column.id(), ty: column.ty(), name }),
            None if name == "key" => Ok(Wanted { id: ColumnId::KEY, ty: ColumnType::Bytes, name }),
            None => {
                let known = schema.columns().iter().map(|column| format!("`{}`", column.name()));
                Err(Failure::NoSuchColumn { name, known: known.collect::<Vec<_>>().join(", ") })
            }
        };
        names.into_iter().map(find).collect()
    }

    fn bounds(&self) -> Result<Bounds, Failure> {
        if let Some(prefix) = self.parse("--prefix", self.prefix.as_deref())? {
            let end = successor(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
            return Ok((Bound::Included(prefix), end));
        }
        let lower = self.parse("--from", self.from.as_deref())?.map_or(Bound::Unbounded, Bound::Included);
        let upper = self.parse("--to", self.to.as_deref())?.map_or(Bound::Unbounded, Bound::Excluded);
        Ok((lower, upper))
    }
}

/// The smallest key above all that start with `prefix`; `None` where there is none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

fn print(batch: &ColumnBatch, wanted: &[Wanted], output: &mut Output) -> Result<(), Failure> {
    for row in 0..batch.rows() {
        let cells = wanted.iter().zip(batch.columns()).map(|(column, (_, cells))| (column, cells.get(row)));
        if output.is_json() {
            let object =
                cells.map(|(column, cell)| (column.name.clone(), columns::cell_json(column.ty, cell)));
            output.line(&object.collect::<serde_json::Map<_, _>>())?;
        } else {
            let line: Vec<String> = cells.map(|(column, cell)| columns::cell_text(column.ty, cell)).collect();
            output.write(format_args!("{}\n", line.join("\t")))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::successor;

    #[test]
    fn a_prefix_ends_where_other_keys_begin() {
        assert_eq!(successor(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(successor(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(successor(b"\xff"), None);
        assert_eq!(successor(b""), None);
    }
}
