//! Rebuilding the state of a database from its directory.

use std::{cell::RefCell, fmt};

use lsm_manifest::{Catalog, KeyOrders, ManifestError, Replay, Replayed, TreeIdentity};
use lsm_types::{EditIndex, FileUuid, KeyOrder, TreeId};

use crate::{
    Generation, GenerationReport, HighWater, Journal, JournalEnv, JournalError, JournalOptions, RecoveryMode,
    RecoveryReport,
    copies::Generations,
    generation::Statement,
    inspect::{Inspected, Inspection, inspect},
    salvage,
    scan::Verdict,
    sweep::Sweep,
};

/// The state of a database as its directory tells it; nothing was changed to learn it.
pub struct Recovery {
    pub(crate) inspected: Box<Inspected>,
    pub(crate) catalog: Catalog,
    pub(crate) report: RecoveryReport,
}

/// A database that can be written again.
#[derive(Debug)]
pub struct Recovered {
    /// Where edits go from now on.
    pub journal: Journal,
    /// The state.
    pub catalog: Catalog,
    /// How it was found.
    pub report: RecoveryReport,
}

impl Recovery {
    /// Reads the state of the database in the directory; `None` when there is none, or only the beginnings of one
    /// whose creation was cut short. Changes nothing, and may run beside a writer.
    ///
    /// * `orders`: finds the comparator of each tree.
    ///
    /// # Errors
    /// Refuses what the mode does not allow, with everything as it was: see [`JournalError`].
    pub fn read(
        env: &JournalEnv,
        mode: RecoveryMode,
        orders: &dyn KeyOrders,
    ) -> Result<Option<Self>, JournalError> {
        if mode.is_lossy() {
            return salvage::read(env, mode, orders);
        }
        let Inspection::Database(inspected) = inspect(env, mode)? else { return Ok(None) };
        let replayed = replay(&inspected.generation, orders)?;
        let generation = inspected.chosen.number;
        let state = |source| JournalError::State { generation, source };
        replayed.catalog.check().map_err(state)?;
        let Replayed { catalog, begin, last_edit, is_clean, .. } = &replayed;
        let report = RecoveryReport {
            edits_replayed: last_edit.get() - begin.edit_index.get(),
            last_edit: *last_edit,
            reserved_ids: catalog.reserved_ids(),
            is_clean: *is_clean,
            ..report(mode, &inspected)
        };
        Ok(Some(Self { inspected, catalog: replayed.catalog, report }))
    }

    /// The state.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// How it was found.
    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }

    /// The database.
    pub fn database(&self) -> FileUuid {
        self.inspected.database
    }

    /// The last edit.
    pub fn last_edit(&self) -> EditIndex {
        self.report.last_edit
    }

    /// How far the manifest has come, to check files against before anything is deleted.
    pub fn high_water(&self) -> HighWater {
        HighWater { reserved_ids: self.catalog.reserved_ids(), last_edit: self.last_edit() }
    }

    /// Notes in the state that the database is written without syncs from now on.
    pub fn mark_without_sync(&mut self) {
        self.catalog.mark_without_sync();
    }

    /// Gives up the state and the report, for a database that is only read.
    pub fn into_parts(self) -> (Catalog, RecoveryReport) {
        (self.catalog, self.report)
    }

    /// Begins to write: states what was found in a generation of its own, lets `CURRENT` name it, and removes what
    /// it makes superfluous. What was read stays as it is until then, torn bytes included.
    ///
    /// # Errors
    /// [`JournalError::ReadOnlyFormat`] for a generation of a later version that may be read but not written on.
    /// When a file cannot be written or a directory synced. The database is as good as before.
    pub fn start(self, env: JournalEnv, options: JournalOptions) -> Result<Recovered, JournalError> {
        let Self { inspected, catalog, report } = self;
        let header = &inspected.generation.header;
        if !header.features.may_modify() {
            let (generation, features) = (inspected.chosen.number, header.features.read_compat);
            return Err(JournalError::ReadOnlyFormat { generation, features });
        }
        if let Some(losses) = &report.losses {
            let journal = Journal::restate(env, options, inspected.database, losses.furthest, &catalog)?;
            return Ok(Recovered { journal, catalog, report });
        }
        let statement =
            Statement { database: inspected.database, last_edit: report.last_edit, catalog: &catalog };
        let sweep = Sweep::of(&inspected, options.keep_generations);
        let journal = Journal::begin(env, options, inspected.next, &statement, sweep)?;
        Ok(Recovered { journal, catalog, report })
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("report", &self.report).finish_non_exhaustive()
    }
}

pub(crate) fn replay(generation: &Generations, orders: &dyn KeyOrders) -> Result<Replayed, JournalError> {
    let number = generation.number;
    let orders = Named::new(orders);
    let mut replay = Replay::new(&orders);
    generation.walk(|record| {
        replay.feed(&record.body).map_err(|source| orders.error(number, record.index, source))
    })?;
    let cut_short = ManifestError::OutOfPlace { expected: "the end of a snapshot" };
    replay.finish().ok_or(JournalError::State { generation: number, source: cut_short })
}

/// Remembers the name of the comparator that is not at hand.
pub(crate) struct Named<'a> {
    orders: &'a dyn KeyOrders,
    missing: RefCell<Option<String>>,
}

impl<'a> Named<'a> {
    pub(crate) fn new(orders: &'a dyn KeyOrders) -> Self {
        Self { orders, missing: RefCell::new(None) }
    }

    /// What is wrong with a record that could not be applied.
    pub(crate) fn error(&self, generation: Generation, record: u64, source: ManifestError) -> JournalError {
        match (source, self.missing.take()) {
            (ManifestError::UnknownOrder { tree }, Some(stored)) => JournalError::Comparator { tree, stored },
            _ => JournalError::Record { generation, record, source },
        }
    }
}

impl KeyOrders for Named<'_> {
    fn order(&self, tree: TreeId, identity: &TreeIdentity) -> Option<KeyOrder> {
        let order = self.orders.order(tree, identity);
        if order.is_none() {
            *self.missing.borrow_mut() = Some(identity.comparator.clone());
        }
        order
    }
}

/// What can be said before anything is replayed.
pub(crate) fn report(mode: RecoveryMode, inspected: &Inspected) -> RecoveryReport {
    let chosen = &inspected.chosen;
    let generations = inspected.scans.iter().map(|scan| GenerationReport {
        generation: scan.number,
        last_edit: scan.reach.map(|reach| reach.last_edit),
        copies: scan.copies,
    });
    RecoveryReport {
        mode,
        generation: chosen.number,
        pointer: inspected.pointer,
        copies: chosen.copies,
        edits_replayed: 0,
        last_edit: EditIndex::new(0),
        reserved_ids: 0,
        is_clean: false,
        tail: match &chosen.verdict {
            Verdict::Good(tail) => *tail,
            Verdict::Incomplete | Verdict::Damaged(_) => None,
        },
        generations: generations.collect(),
        foreign: inspected.survey.foreign.clone(),
        losses: None,
    }
}
