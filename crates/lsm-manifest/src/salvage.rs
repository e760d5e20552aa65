//! Rebuilding as much of the state as records that are not all there allow (D-49): what [`crate::Replay`] refuses
//! is counted here and passed over.
//!
//! Steps are applied one by one. One that does not fit the state, because an earlier one is lost, is bent until it
//! does, or left out: a table without its run gets one of its own, a table that is to leave and is not there has left.
//! What is never tolerated is a record that verifies and cannot be decoded, because that is no damage.

use alloc::vec::Vec;

use lsm_types::{EditIndex, Level, RunId, TableId, TreeId};

use crate::{Catalog, DatabaseEdit, KeyOrders, ManifestError, Record, TreeEdit, VersionEdit};

/// Edits that cannot be read any more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LostEdits {
    /// The last edit before them.
    pub after: EditIndex,
    /// The last one of them.
    pub last: EditIndex,
}

/// What is missing in a state that was rebuilt from what was left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lost {
    /// Edits that cannot be read.
    pub edits: Vec<LostEdits>,
    /// Whether parts of the snapshot cannot be read.
    pub snapshot: bool,
    /// Steps that could be read and did not fit.
    pub steps: u64,
}

impl Lost {
    /// Whether nothing is missing.
    pub fn is_nothing(&self) -> bool {
        self.edits.is_empty() && !self.snapshot && self.steps == 0
    }

    /// Notes that edits behind `after`, up to `last`, are given up.
    pub fn give_up(&mut self, after: EditIndex, last: EditIndex) {
        if last > after {
            self.edits.push(LostEdits { after, last });
        }
    }

    /// Edits that cannot be read, all ranges together.
    pub fn edit_count(&self) -> u64 {
        self.edits.iter().map(|lost| lost.last.get().saturating_sub(lost.after.get())).sum()
    }
}

/// What the records say that are left.
#[derive(Clone, Debug, Default)]
pub struct Salvaged {
    /// The state.
    pub catalog: Catalog,
    /// The last edit.
    pub last_edit: EditIndex,
    /// Edits applied on top of the state it began with.
    pub edits: u64,
    /// What is missing.
    pub lost: Lost,
}

/// Takes the records of one file that can be read, in order.
pub struct Salvage<'a> {
    orders: &'a dyn KeyOrders,
    done: Salvaged,
    /// Whether the snapshot is passed over, because a better state is there.
    has_base: bool,
    chunks: u64,
    is_complete: bool,
}

impl<'a> Salvage<'a> {
    /// Begins with nothing; the records bring a snapshot of the state after `begin`.
    pub fn new(orders: &'a dyn KeyOrders, begin: EditIndex) -> Self {
        Self::start(orders, Catalog::default(), begin, false)
    }

    /// Begins with a state from elsewhere, which must include the snapshot that the records bring.
    pub fn on(orders: &'a dyn KeyOrders, catalog: Catalog, last_edit: EditIndex) -> Self {
        Self::start(orders, catalog, last_edit, true)
    }

    fn start(orders: &'a dyn KeyOrders, catalog: Catalog, last_edit: EditIndex, has_base: bool) -> Self {
        let done = Salvaged { catalog, last_edit, edits: 0, lost: Lost::default() };
        Self { orders, done, has_base, chunks: 0, is_complete: has_base }
    }

    /// Takes the next record that can be read, as it was encoded.
    ///
    /// # Errors
    /// For a record that verifies and does not decode, and for a tree whose comparator is not at hand.
    pub fn feed(&mut self, record: &[u8]) -> Result<(), ManifestError> {
        match Record::decode(record)? {
            Record::SnapshotBegin(_) | Record::CleanClose => {}
            Record::SnapshotChunk(_) if self.has_base => {}
            Record::SnapshotChunk(edit) => {
                self.chunks += 1;
                self.edit(&edit)?;
            }
            Record::SnapshotEnd { chunk_count, .. } => {
                self.is_complete |= chunk_count == self.chunks;
            }
            Record::Edits { follows, edits } => self.edits(follows, &edits)?,
        }
        Ok(())
    }

    /// What was found. The end of the file was reached.
    pub fn finish(mut self) -> Salvaged {
        self.done.lost.snapshot |= !self.is_complete;
        self.remove_dead_vlogs();
        self.done
    }

    fn edits(&mut self, follows: EditIndex, edits: &[VersionEdit]) -> Result<(), ManifestError> {
        let last = self.done.last_edit;
        self.done.lost.give_up(last, follows);
        self.done.last_edit = last.max(follows);
        // What the state began with may include the first ones.
        let included = usize::try_from(last.get().saturating_sub(follows.get())).unwrap_or(usize::MAX);
        for edit in edits.iter().skip(included) {
            self.edit(edit)?;
            self.done.edits += 1;
            let next = self.done.last_edit.checked_add(1);
            self.done.last_edit = next.ok_or(ManifestError::Decode { field: "edit index" })?;
        }
        Ok(())
    }

    fn edit(&mut self, edit: &VersionEdit) -> Result<(), ManifestError> {
        for step in &edit.database {
            if let DatabaseEdit::CreateTree { tree, identity } = step
                && self.done.catalog.tree(*tree).is_none()
            {
                let order = self.orders.order(*tree, identity);
                let order = order.ok_or(ManifestError::UnknownOrder { tree: *tree })?;
                self.done.catalog.set_order(*tree, order);
            }
            let single = VersionEdit { database: [step.clone()].into(), trees: Vec::new() };
            self.step(&single);
        }
        for (tree, step) in &edit.trees {
            match step {
                TreeEdit::AddTable { table, .. } => {
                    self.done.catalog.reserve(table.id.get().saturating_add(1));
                }
                TreeEdit::AddVlog { vlog } => self.done.catalog.reserve(vlog.id.get().saturating_add(1)),
                _ => {}
            }
            let single = VersionEdit { database: Vec::new(), trees: [(*tree, step.clone())].into() };
            if !self.applies(&single)
                && let Some(own) = self.on_its_own(*tree, step)
            {
                self.done.lost.steps += 1;
                self.step(&own);
            } else {
                self.step(&single);
            }
        }
        Ok(())
    }

    /// Takes out value logs that no table refers to: the step that did, or the table, is lost.
    fn remove_dead_vlogs(&mut self) {
        let mut edit = VersionEdit::default();
        for (tree, version) in self.done.catalog.trees() {
            let dead = version.vlogs.iter().filter(|log| log.live.entries == 0);
            dead.for_each(|log| edit.push(tree, TreeEdit::RemoveVlog { id: log.vlog.id }));
        }
        self.step(&edit);
    }

    fn applies(&self, edit: &VersionEdit) -> bool {
        self.done.catalog.preview(edit).is_ok()
    }

    fn step(&mut self, edit: &VersionEdit) {
        if self.done.catalog.apply_in_place(edit).is_err() {
            self.done.lost.steps += 1;
        }
    }

    /// A table that finds no place where it should go, in a run of its own on top of that level.
    fn on_its_own(&self, tree: TreeId, step: &TreeEdit) -> Option<VersionEdit> {
        let (level, again): (Level, fn(&TreeEdit, RunId) -> TreeEdit) = match step {
            TreeEdit::AddTable { level, .. } => (*level, |step, own| match step {
                TreeEdit::AddTable { level, table, .. } => {
                    TreeEdit::AddTable { level: *level, run: own, table: table.clone() }
                }
                other => other.clone(),
            }),
            TreeEdit::MoveTable { level, .. } => (*level, |step, own| match step {
                TreeEdit::MoveTable { id, level, .. } => {
                    TreeEdit::MoveTable { id: *id, level: *level, run: own }
                }
                other => other.clone(),
            }),
            _ => return None,
        };
        let mut edit = VersionEdit::default();
        let run = new_run(&self.done.catalog, &mut edit, tree, level)?;
        edit.push(tree, again(step, run));
        self.applies(&edit).then_some(edit)
    }
}

/// Adds to `edit` a new run on top of a level.
fn new_run(catalog: &Catalog, edit: &mut VersionEdit, tree: TreeId, level: Level) -> Option<RunId> {
    let version = catalog.tree(tree)?;
    let runs = version.levels.iter().flat_map(|(_, level)| level.runs());
    let run = RunId::new(runs.map(|run| run.id.get()).max().map_or(0, |id| id.saturating_add(1)));
    let top = version.levels.level(level).runs().iter().map(|run| run.age).max();
    edit.push(tree, TreeEdit::AddRun { level, run, age: top.map_or(0, |age| age.saturating_add(1)) });
    Some(run)
}

impl Catalog {
    /// Takes out tables whose files are gone, and the value logs that nothing refers to then. The highest numbers and
    /// watermarks of their trees stay: both were true.
    ///
    /// Tables may refer to more of a value log than it holds, before and after.
    pub fn forget(&mut self, tables: impl IntoIterator<Item = TableId>) -> Result<(), ManifestError> {
        let mut edit = VersionEdit::default();
        for table in tables {
            let Some((tree, ..)) = self.place(table) else { continue };
            // What it held is missing, or there as compactions left it: lists of changes begin above.
            if let Some(descriptor) = self.table(table) {
                edit.push(tree, TreeEdit::ChangesFrom(descriptor.seqnos.max.next()));
            }
            edit.push(tree, TreeEdit::RemoveTable { id: table });
        }
        let dead: Vec<_> = self.preview(&edit)?.dead_vlogs().collect();
        edit.trees.extend(dead.into_iter().map(|(tree, id)| (tree, TreeEdit::RemoveVlog { id })));
        self.apply_in_place(&edit)
    }

    /// Promises that no file number below `bound` is given out again.
    pub fn reserve(&mut self, bound: u64) {
        self.reserved_ids = self.reserved_ids.max(bound);
    }
}

impl core::fmt::Debug for Salvage<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Salvage").field("last_edit", &self.done.last_edit).finish_non_exhaustive()
    }
}
