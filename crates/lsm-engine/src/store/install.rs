//! Changing the manifest: one edit at a time, several callers per sync.
//!
//! A caller queues its proposal and then waits for the state. Whoever gets it finds everything that queued up
//! meanwhile, makes one edit of it, appends it with one write and one sync, and publishes the outcome in order.
//! No lock taken here is ever taken by a read or by a write into a memtable.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use lsm_compaction_executor::InstallError;
use lsm_journal::{AppendError, Journal, RotateError};
use lsm_manifest::{Catalog, Change, ManifestError, TableDescriptor, Version, VersionEdit};
use lsm_types::{EditIndex, Error, KeyOrder, Result, RunId, TableId, TreeId};
use parking_lot::Mutex;

use crate::EngineError;

/// A change that somebody wants, rebased on whatever is newest when its turn comes.
pub(crate) struct Proposal {
    /// Makes the edit; an error means that the change is no longer possible.
    pub(crate) build: Build,
    /// Makes the durable outcome visible.
    pub(crate) publish: Publish,
}

type Build = Box<dyn FnOnce(&mut Draft<'_>) -> Result<VersionEdit> + Send>;
type Publish = Box<dyn FnOnce(&Catalog) + Send>;

/// The newest state as a proposal sees it: the catalog and what earlier proposals of the same group change.
pub(crate) struct Draft<'a> {
    catalog: &'a Catalog,
    edit: &'a VersionEdit,
    change: Option<&'a Change>,
    next_run: &'a mut u64,
}

impl Draft<'_> {
    /// The newest version of a tree.
    pub(crate) fn version(&self, tree: TreeId) -> Option<&Version> {
        self.change.and_then(|change| change.tree(tree)).or_else(|| self.catalog.tree(tree))
    }

    /// File numbers below this one may have been used.
    pub(crate) fn reserved_ids(&self) -> u64 {
        self.change.map_or(self.catalog.reserved_ids(), Change::reserved_ids)
    }

    /// A table of the newest state.
    pub(crate) fn table(&self, table: TableId) -> Option<Arc<TableDescriptor>> {
        self.change
            .map_or_else(|| self.catalog.table(table), |change| change.table(self.catalog, table))
            .cloned()
    }

    /// Whether a tree holds a table.
    pub(crate) fn holds(&self, table: TableId) -> bool {
        self.table(table).is_some()
    }

    /// What the newest state becomes with `edit` on top.
    pub(crate) fn with(&self, edit: &VersionEdit) -> Result<Change, ManifestError> {
        self.catalog.preview(&joined(self.edit, edit))
    }

    /// A number for a new run.
    pub(crate) fn new_run(&mut self) -> RunId {
        let run = RunId::new(*self.next_run);
        *self.next_run += 1;
        run
    }
}

fn joined(first: &VersionEdit, second: &VersionEdit) -> VersionEdit {
    let mut edit = first.clone();
    edit.database.extend(second.database.iter().cloned());
    edit.trees.extend(second.trees.iter().cloned());
    edit
}

type Outcome = Result<(), InstallError>;

#[derive(Default)]
struct Ticket(Mutex<Option<Outcome>>);

impl Ticket {
    fn settle(&self, outcome: Outcome) {
        *self.0.lock() = Some(outcome);
    }
}

struct State {
    catalog: Catalog,
    journal: Journal,
    next_run: u64,
}

/// The manifest of an open store.
pub(crate) struct Installs {
    waiting: Mutex<Vec<(Proposal, Arc<Ticket>)>>,
    state: Mutex<State>,
    /// An edit may or may not have reached the disk.
    fenced: AtomicBool,
    /// Mirrors the journal's, so that it can be asked without waiting.
    last_edit: AtomicU64,
}

impl Installs {
    pub(crate) fn new(catalog: Catalog, journal: Journal) -> Self {
        let runs = catalog.trees().flat_map(|(_, version)| version.levels.iter());
        let newest = runs.flat_map(|(_, level)| level.runs()).map(|run| run.id.get()).max();
        let next_run = newest.map_or(0, |run| run + 1);
        Self {
            last_edit: AtomicU64::new(journal.last_edit().get()),
            waiting: Mutex::new(Vec::new()),
            state: Mutex::new(State { catalog, journal, next_run }),
            fenced: AtomicBool::new(false),
        }
    }

    /// Looks at the newest durable state. Waits for an install that is under way.
    pub(crate) fn with_catalog<T>(&self, read: impl FnOnce(&Catalog) -> T) -> T {
        read(&self.state.lock().catalog)
    }

    /// Tells the order of the keys of a tree that was created just now.
    pub(crate) fn set_order(&self, tree: TreeId, order: KeyOrder) {
        self.state.lock().catalog.set_order(tree, order);
    }

    /// The last durable edit.
    pub(crate) fn last_edit(&self) -> EditIndex {
        EditIndex::new(self.last_edit.load(Ordering::Acquire))
    }

    /// Whether changes are refused.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    /// Makes a change durable and then visible, together with whatever else is waiting.
    pub(crate) fn install(&self, proposal: Proposal) -> Outcome {
        let ticket = Arc::new(Ticket::default());
        self.waiting.lock().push((proposal, ticket.clone()));
        let mut state = self.state.lock();
        if let Some(outcome) = ticket.0.lock().take() {
            return outcome; // somebody who came earlier took it along
        }
        let group = std::mem::take(&mut *self.waiting.lock());
        self.install_group(&mut state, group);
        drop(state);
        let outcome = ticket.0.lock().take();
        outcome.unwrap_or_else(|| {
            let invariant = "an install settles every ticket of its group";
            Err(InstallError::Unknown(EngineError::Bug { invariant }.into()))
        })
    }

    fn install_group(&self, state: &mut State, group: Vec<(Proposal, Arc<Ticket>)>) {
        if self.is_fenced() {
            for (_, ticket) in group {
                ticket.settle(Err(InstallError::NotApplied(EngineError::Fenced.into())));
            }
            return;
        }
        let mut edit = VersionEdit::default();
        let mut change: Option<Change> = None;
        let mut accepted = Vec::new();
        for (proposal, ticket) in group {
            let mut draft = Draft {
                catalog: &state.catalog,
                edit: &edit,
                change: change.as_ref(),
                next_run: &mut state.next_run,
            };
            let step = (proposal.build)(&mut draft).and_then(|own| {
                if own.is_empty() {
                    return Ok(None);
                }
                let next = joined(&edit, &own);
                let change = state.catalog.preview(&next)?;
                Ok(Some((next, change)))
            });
            match step {
                Ok(None) => accepted.push((proposal.publish, ticket)),
                Ok(Some((next, next_change))) => {
                    edit = next;
                    change = Some(next_change);
                    accepted.push((proposal.publish, ticket));
                }
                Err(error) => ticket.settle(Err(InstallError::NotApplied(error))),
            }
        }
        if let Some(change) = change
            && let Err(error) = self.append(state, &edit, change)
        {
            for (_, ticket) in accepted {
                ticket.settle(Err(error.clone()));
            }
            return;
        }
        for (publish, ticket) in accepted {
            publish(&state.catalog);
            ticket.settle(Ok(()));
        }
        if state.journal.wants_rotation() {
            self.rotate(state);
        }
    }

    fn append(&self, state: &mut State, edit: &VersionEdit, change: Change) -> Outcome {
        match state.journal.append(&[edit]) {
            Ok(last) => {
                state.catalog.commit(change);
                self.last_edit.store(last.get(), Ordering::Release);
                Ok(())
            }
            Err(AppendError::NotApplied(error)) => Err(InstallError::NotApplied(error.into())),
            Err(error @ AppendError::Unknown(_)) => {
                self.fenced.store(true, Ordering::Release);
                Err(InstallError::Unknown(error.into()))
            }
        }
    }

    /// Writes the manifest anew. A failure leaves the generation in use as it is, and is not one of the install that
    /// made it due: the next attempt comes later.
    fn rotate(&self, state: &mut State) {
        if let Err(error) = state.journal.rotate(&state.catalog) {
            tracing::warn!(%error, "the manifest could not be written anew");
            if matches!(error, RotateError::Unknown(_)) {
                self.fenced.store(true, Ordering::Release);
            }
        }
    }

    /// Writes that the store was closed in order. The last thing a store does.
    pub(crate) fn close(&self) -> Result<(), Error> {
        if self.is_fenced() {
            return Ok(()); // nothing may be appended after bytes in doubt; recovery decides
        }
        Ok(self.state.lock().journal.close()?)
    }
}
