//! The columns of a table: what each takes, and how its pages are encoded.

use std::collections::BTreeSet;

use lsm::columnar::{ColumnId, ColumnType};
use lsm_fs::DiskFile;
use lsm_sst::Table as Sst;
use serde::Serialize;

use crate::{
    columns::type_name,
    failure::Failure,
    grid::{Align, Grid},
    text,
};

/// One column in all row groups of a table.
#[derive(Debug, Serialize)]
pub(super) struct ColumnReport {
    id: u16,
    name: String,
    #[serde(rename = "type")]
    ty: String,
    pages: u64,
    nulls: u64,
    logical_bytes: u64,
    stored_bytes: u64,
    encodings: BTreeSet<String>,
}

/// The columns of `table`, keys and numbers first; none for a table of rows. Of each row group the directory is read.
pub(super) fn read(table: &Sst<DiskFile>) -> Result<Vec<ColumnReport>, Failure> {
    let mut reports: Vec<ColumnReport> = Vec::new();
    if !table.meta().is_columnar() {
        return Ok(reports);
    }
    let schema = table.meta().schema();
    let mut groups = table.groups()?;
    while groups.next_group(None)? {
        let Some(group) = groups.group() else { break };
        for page in group.directory().pages() {
            let found = reports.iter().position(|report| report.id == page.column.get());
            let at = found.unwrap_or_else(|| {
                let column = schema.and_then(|schema| schema.column(page.column));
                let name = column.map_or_else(|| own_name(page.column), |column| column.name().to_owned());
                let ty = column.map_or(page.column.intrinsic_type(), |column| Some(column.ty()));
                reports.push(ColumnReport::new(page.column, name, ty));
                reports.len() - 1
            });
            let Some(report) = reports.get_mut(at) else { break };
            report.pages += 1;
            report.nulls += u64::from(page.null_count);
            report.logical_bytes += u64::from(page.logical_len);
            report.stored_bytes += u64::from(page.stored_len);
            report.encodings.insert(words(&format!("{:?}", page.encoding)));
        }
    }
    reports.sort_by_key(|report| report.id);
    Ok(reports)
}

impl ColumnReport {
    fn new(column: ColumnId, name: String, ty: Option<ColumnType>) -> Self {
        let ty = ty.map_or_else(|| "?".to_owned(), type_name);
        let (id, encodings) = (column.get(), BTreeSet::new());
        Self { id, name, ty, pages: 0, nulls: 0, logical_bytes: 0, stored_bytes: 0, encodings }
    }
}

/// What columns are called that every table has.
fn own_name(column: ColumnId) -> String {
    match column {
        ColumnId::KEY => "(key)".to_owned(),
        ColumnId::SEQNO => "(seqno)".to_owned(),
        ColumnId::KIND => "(kind)".to_owned(),
        ColumnId::OPAQUE => "(whole value)".to_owned(),
        other => format!("({})", other.get()),
    }
}

/// `RunLength` as `run length`.
fn words(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

pub(super) fn grid(columns: &[ColumnReport]) -> Grid {
    let mut grid = Grid::new(&[
        ("column", Align::Left),
        ("type", Align::Left),
        ("nulls", Align::Right),
        ("encoded", Align::Right),
        ("stored", Align::Right),
        ("encodings", Align::Left),
    ]);
    for column in columns {
        let encodings: Vec<&str> = column.encodings.iter().map(String::as_str).collect();
        grid.row([
            column.name.clone(),
            column.ty.clone(),
            text::count(column.nulls),
            text::size(column.logical_bytes),
            text::size(column.stored_bytes),
            encodings.join(", "),
        ]);
    }
    grid
}
