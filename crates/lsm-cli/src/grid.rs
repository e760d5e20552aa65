//! Aligned columns.

use std::fmt;

/// How a column is aligned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of text under a heading, in columns as wide as their widest cell.
#[derive(Debug)]
pub(crate) struct Grid {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it has a cell for each column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        let heading = self.columns.get(column).map_or(0, |(heading, _)| heading.chars().count());
        cells.max().unwrap_or(0).max(heading)
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let heading = self.columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let has_heading = self.columns.iter().any(|(heading, _)| !heading.is_empty());
        for row in std::iter::once(&heading).filter(|_| has_heading).chain(&self.rows) {
            let cells =
                row.iter().zip(&widths).zip(&self.columns).map(|((cell, width), (_, align))| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                });
            writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let mut grid = Grid::new(&[("level", Align::Left), ("bytes", Align::Right)]);
        grid.row(["L0".to_owned(), "7".to_owned()]);
        grid.row(["L10".to_owned(), "1,000,000".to_owned()]);
        assert_eq!(grid.to_string(), "  level      bytes\n  L0             7\n  L10    1,000,000\n");
    }
}
