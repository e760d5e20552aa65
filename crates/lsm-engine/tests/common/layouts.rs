//! Trees of rows, of columns, and of both.

use std::{path::Path, sync::Arc};

use lsm_block::{BlockKind, Superblock, Walk, Walked};
use lsm_columnar::{Column, ColumnId, ColumnSplitter, ColumnType, DelimitedText, Schema};
use lsm_engine::{ColumnLayout, ColumnPolicy, TreeOptions};
use lsm_fs::{Fs, OpenOptions};
use lsm_types::{FileKind, Location, ReadAt};

/// How the tables of a tree store rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    Rows,
    Columns,
    /// Tables of both kinds: it depends on when they were written.
    Mixed,
}

impl Layout {
    pub(crate) const ALL: [Self; 3] = [Self::Rows, Self::Columns, Self::Mixed];

    /// Options of a tree that is opened for the `nth` time: where both kinds are wanted, every other time writes rows.
    pub(crate) fn set(self, options: TreeOptions, policy: ColumnPolicy, nth: u32) -> TreeOptions {
        match self {
            Self::Rows => options,
            Self::Mixed if nth.is_multiple_of(2) => options.columns(policy.layout(ColumnLayout::Row)),
            Self::Columns | Self::Mixed => options.columns(policy.layout(ColumnLayout::Columnar)),
        }
    }

    /// Fails when the tables in a directory are not of the kinds that it promises.
    #[track_caller]
    pub(crate) fn check(self, fs: &dyn Fs, tables: &Path) {
        let names = fs.read_dir(tables).unwrap().into_iter().map(|entry| tables.join(entry.name));
        let names = names.filter(|path| path.extension().is_some_and(|found| found == "sst"));
        let found: Vec<bool> = names.map(|path| has_groups(fs, &path)).collect();
        let (rows, columns) = (found.contains(&false), found.contains(&true));
        assert_eq!((rows, columns), (self != Self::Columns, self != Self::Rows), "{self:?}");
    }
}

/// A value is one text.
pub(crate) fn texts() -> ColumnPolicy {
    ColumnPolicy::new(text_splitter()).groups(1 << 20, 10).page_rows(4)
}

/// The splitter of [`texts`].
pub(crate) fn text_splitter() -> Arc<dyn ColumnSplitter> {
    let columns = vec![Column::new(ColumnId::FIRST, "text", ColumnType::Utf8)];
    Arc::new(DelimitedText::new("test.text", Schema::new(columns).unwrap(), b'\t').unwrap())
}

fn has_groups(fs: &dyn Fs, path: &Path) -> bool {
    let file = fs.open(path, &OpenOptions::READ).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.as_ref().read_exact_at(0, &mut bytes).unwrap();
    let head = Superblock::decode(Location { kind: FileKind::Table, id: 0, offset: 0 }, &bytes).unwrap();
    let mut steps = Walk::file(&bytes[..], &head).unwrap();
    steps.any(
        |step| matches!(step.unwrap(), Walked::Frame { header, .. } if header.kind == BlockKind::ROW_GROUP),
    )
}
