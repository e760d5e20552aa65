//! Tables that lie somewhere else and are taken over.
//!
//! A tree reads only files that say they are its own, so a table of another tree, or one that was written alone, becomes
//! a new file: everything it holds at the same place, its head and its metadata written anew. Never a second name of the
//! same file, and never a file of the same identity: what is bound to one cannot be taken for a part of the other.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_fs::{FsFile, OpenOptions};
use lsm_sst::{EndedTable, TableLayout, TableOptions};
use lsm_types::{Cut, Error, ErrorKind, Result};

use crate::{MultiWriter, SuspendedTable, TableEnv, TableError, staged::NewFile};

/// A plain table that lies somewhere else, open.
#[derive(Debug)]
pub struct ForeignTable {
    path: PathBuf,
    file: Arc<dyn FsFile>,
    table: lsm_sst::Table<Arc<dyn FsFile>>,
    extent: (Cut, Cut),
}

impl ForeignTable {
    /// Opens the table at `path`, in the file system of the tree and with its order. Reads the metadata alone.
    ///
    /// # Errors
    /// `Unsupported` when the table or the tree is sealed, and for an empty table; `NotOurs`, `UnsupportedFormat`,
    /// `ComparatorMismatch`, damage; what the system says.
    pub fn open(env: &TableEnv, path: &Path) -> Result<Self> {
        let refuse = |source: Error| {
            // A table whose key is not wanted here is no riddle.
            let is_sealed = source.kind() == ErrorKind::KeyRequired;
            let source = if is_sealed { TableError::Unfit { what: "it is sealed" }.into() } else { source };
            TableError::NotTakenOver { path: path.to_path_buf(), source }
        };
        if env.encryption.is_some() {
            return Err(refuse(TableError::Unfit { what: "the tree is sealed" }.into()).into());
        }
        let open = || env.fs.open(path, &OpenOptions::READ);
        let file = env.descriptors.make_room_for(open).map_err(|error| refuse(error.into()))?;
        let splitters = env.columns.scheme().splitters();
        let options = lsm_sst::OpenOptions { splitters, ..lsm_sst::OpenOptions::new(env.order.clone()) };
        let options = TableOptions::new().open(options);
        let table = lsm_sst::Table::open(file.clone(), options).map_err(refuse)?;
        let Some(extent) = extent(table.meta()) else {
            return Err(refuse(TableError::Unfit { what: "it holds nothing" }.into()).into());
        };
        Ok(Self { path: path.to_path_buf(), file, table, extent })
    }

    /// What its entries and range tombstones span together.
    pub fn extent(&self) -> &(Cut, Cut) {
        &self.extent
    }

    /// Its metadata.
    pub fn layout(&self) -> &Arc<TableLayout> {
        self.table.meta()
    }

    /// Reads everything and checks it: that nothing is damaged, that keys ascend and that the table says the truth about
    /// itself. And that the tree can hold it.
    ///
    /// # Errors
    /// The first thing found wrong; `Unsupported` for what can only be ingested entry by entry.
    pub fn verify(&self, env: &TableEnv) -> Result<()> {
        let properties = self.layout().properties();
        if properties.counters.indirections > 0 {
            return Err(self.unfit("its values lie in value logs, which do not come along"));
        }
        if let (Some(domains), Some((min, max))) = (&env.domains, &properties.keys)
            && let Some(end) = domains.end_of(min).filter(|end| env.order.compare(min, end).is_lt())
            && env.order.compare(&end, max).is_le()
        {
            return Err(self.unfit("it spans several domains of keys"));
        }
        self.layout().check_movable().map_err(|error| self.refuse(error))?;
        let mut first = None;
        self.table.verify(&mut |error| _ = first.get_or_insert(error)).map_err(|error| self.refuse(error))?;
        first.map_or(Ok(()), |error| Err(self.refuse(error)))
    }

    /// The refusal of a table that the tree cannot hold.
    pub fn unfit(&self, what: &'static str) -> Error {
        self.refuse(TableError::Unfit { what }.into())
    }

    fn refuse(&self, source: Error) -> Error {
        TableError::NotTakenOver { path: self.path.clone(), source }.into()
    }
}

impl MultiWriter {
    /// Copies a verified table into a new file of the tree, all but its last part; its local numbers are 0. No table is
    /// open.
    ///
    /// Index, filters and compression stay as they are, whatever the settings of the level say.
    ///
    /// * `proceed`: asked at every block; its error ends the copy.
    ///
    /// # Errors
    /// `Unsupported` for what can only be ingested entry by entry, local numbers other than 0 among it; `Corruption` when
    /// the file changed since it was verified; what the system says.
    pub fn take_over(
        &mut self,
        source: &ForeignTable,
        proceed: &mut dyn FnMut() -> Result<()>,
    ) -> Result<SuspendedTable> {
        debug_assert!(!self.is_open(), "the open table was ended");
        let (env, level, level_count) = self.target();
        let route = env.routes.of_level(level);
        let id = env.ids.next()?;
        let (mut superblock, _) = env.begin(id)?;
        let head = source.layout().superblock();
        superblock.checksum = head.checksum;
        superblock.features.compat = head.features.compat;
        let transforms = superblock.transforms(None)?;
        let options = env.policy.build_options(&env.order, level, level_count);
        let (file, output) = NewFile::create(&env, (id, route), None)?;
        let from = (&**source.layout(), &source.file);
        let ended = EndedTable::relocate(from, (superblock.clone(), transforms), options, output, proceed)
            .map_err(|error| source.refuse(error))?;
        let mut table = SuspendedTable { ended, file, superblock, env };
        table.sync_and_close()?;
        Ok(table)
    }
}

/// What keys and range tombstones span together; `None` for nothing. What the table says about it is not believed.
fn extent(layout: &TableLayout) -> Option<(Cut, Cut)> {
    let order = layout.order();
    let keys = layout.properties().keys.as_ref();
    let points = keys.map(|(min, max)| (Cut::Before(min.clone()), Cut::After(max.clone())));
    let deletes = layout.range_tombstones().iter().map(|one| (one.start.clone(), one.end.clone()));
    points.into_iter().chain(deletes).reduce(|(lower, upper), (start, end)| {
        let lower = if start.compare(&lower, order).is_lt() { start } else { lower };
        let upper = if end.compare(&upper, order).is_gt() { end } else { upper };
        (lower, upper)
    })
}
