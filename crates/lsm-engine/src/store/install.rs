//! Changing the manifest: one edit at a time, several callers per sync.
//!
//! A caller queues its proposal and then waits for the state. Whoever gets it finds everything that queued up
//! meanwhile, makes one edit of it, appends it with one write and one sync, and publishes the outcome in order.
//! No lock taken here is ever taken by a read or by a write into a memtable.
//!
//! When a sync fails, nobody knows whether the edit is on disk. The truth is then stated anew in a manifest generation
//! of its own, with the edit in it: if that works, the edit is durable and its caller need not know. If it does not,
//! the fence goes up: nothing more is appended, and nothing that the edit names is deleted. Whoever comes next tries
//! again to state the truth, this time without the edit, which its caller was told may be gone; only then are the
//! files that it would have brought removed.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use lsm_compaction_executor::InstallError;
use lsm_fs::Fs;
use lsm_journal::{AppendError, FileName, Journal, RotateError};
use lsm_manifest::{
    Catalog, Change, ManifestError, TableDescriptor, VectorDescriptor, Version, VersionEdit, VlogDescriptor,
};
use lsm_table::Table;
use lsm_types::{EditIndex, Error, ErrorClass, IoKind, KeyOrder, Result, RunId, TableId, TreeId};
use parking_lot::Mutex;

use super::ballast::Ballast;
use crate::EngineError;

/// A change that somebody wants, rebased on whatever is newest when its turn comes.
pub(crate) struct Proposal {
    /// Makes the edit; an error means that the change is no longer possible.
    pub(crate) build: Build,
    /// Makes the durable outcome visible.
    pub(crate) publish: Publish,
    /// Files that the edit brings. Should its outcome stay unknown, they stay until the truth is stated.
    pub(crate) outputs: Vec<FileName>,
}

/// The files of tables, value logs and delete vectors that an edit brings.
pub(crate) fn output_names(
    tables: &[Table],
    vlogs: &[Arc<VlogDescriptor>],
    vectors: &[(TableId, Arc<VectorDescriptor>)],
) -> Vec<FileName> {
    let tables = tables.iter().map(|table| FileName::Table(table.id()));
    let vlogs = vlogs.iter().map(|vlog| FileName::ValueLog(vlog.id));
    tables.chain(vlogs).chain(vectors.iter().map(|(_, vector)| FileName::DeleteVector(vector.id))).collect()
}

/// A proposal whose edit is built.
struct Accepted {
    publish: Publish,
    outputs: Vec<FileName>,
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

/// Length of the files of all value logs, in bytes. Costs a look at each tree.
pub(super) fn value_log_bytes(catalog: &Catalog) -> u64 {
    catalog.trees().fold(0, |sum, (_, version)| sum.saturating_add(version.vlogs.file_bytes()))
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
    /// Why nothing is appended: what failed when the outcome of an edit became unknown.
    fence: Option<Error>,
    /// Files of edits whose outcome was unknown: their files go when the truth without them is durable.
    doubtful: Vec<FileName>,
}

/// The manifest of an open store.
pub(crate) struct Installs {
    waiting: Mutex<Vec<(Proposal, Arc<Ticket>)>>,
    state: Mutex<State>,
    /// An edit may or may not have reached the disk.
    fenced: AtomicBool,
    /// Mirrors the catalog's, so that it can be asked without waiting.
    file_bytes: AtomicU64,
    /// Of these, those of value logs.
    value_log_bytes: AtomicU64,
    /// Mirrors the journal's, so that it can be asked without waiting.
    manifest_bytes: AtomicU64,
    /// Mirrors the journal's, so that it can be asked without waiting.
    last_edit: AtomicU64,
    fs: Arc<dyn Fs>,
    /// The directories in which tables lie.
    roots: Vec<PathBuf>,
    /// Given up when an edit finds no room.
    ballast: Arc<Ballast>,
}

impl Installs {
    pub(crate) fn new(
        catalog: Catalog,
        journal: Journal,
        (fs, ballast): (Arc<dyn Fs>, Arc<Ballast>),
        roots: Vec<PathBuf>,
    ) -> Self {
        let runs = catalog.trees().flat_map(|(_, version)| version.levels.iter());
        let newest = runs.flat_map(|(_, level)| level.runs()).map(|run| run.id.get()).max();
        let next_run = newest.map_or(0, |run| run + 1);
        Self {
            file_bytes: AtomicU64::new(catalog.file_bytes()),
            value_log_bytes: AtomicU64::new(value_log_bytes(&catalog)),
            manifest_bytes: AtomicU64::new(journal.status().file_bytes),
            last_edit: AtomicU64::new(journal.last_edit().get()),
            waiting: Mutex::new(Vec::new()),
            state: Mutex::new(State { catalog, journal, next_run, fence: None, doubtful: Vec::new() }),
            fenced: AtomicBool::new(false),
            fs,
            roots,
            ballast,
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

    /// Length of the files of all tables, in bytes.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes.load(Ordering::Relaxed)
    }

    /// Length of the files of all value logs, in bytes.
    pub(crate) fn value_log_bytes(&self) -> u64 {
        self.value_log_bytes.load(Ordering::Relaxed)
    }

    /// Length of the files of the manifest, in bytes.
    pub(crate) fn manifest_bytes(&self) -> u64 {
        self.manifest_bytes.load(Ordering::Relaxed)
    }

    /// What the journal has come to.
    fn note_journal(&self, journal: &Journal) {
        self.manifest_bytes.store(journal.status().file_bytes, Ordering::Relaxed);
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
        self.note_journal(&state.journal);
        drop(state);
        let outcome = ticket.0.lock().take();
        outcome.unwrap_or_else(|| {
            let invariant = "an install settles every ticket of its group";
            Err(InstallError::Unknown(EngineError::Bug { invariant }.into()))
        })
    }

    fn install_group(&self, state: &mut State, group: Vec<(Proposal, Arc<Ticket>)>) {
        if let Err(error) = self.lift(state) {
            for (_, ticket) in group {
                ticket.settle(Err(InstallError::NotApplied(error.clone())));
            }
            return;
        }
        if state.journal.is_overdue() {
            self.rotate(state);
        }
        let mut edit = VersionEdit::default();
        let mut change: Option<Change> = None;
        let mut accepted = Vec::new();
        for (Proposal { build, publish, outputs }, ticket) in group {
            let proposal = Accepted { publish, outputs };
            let mut draft = Draft {
                catalog: &state.catalog,
                edit: &edit,
                change: change.as_ref(),
                next_run: &mut state.next_run,
            };
            let step = build(&mut draft).and_then(|own| {
                if own.is_empty() {
                    return Ok(None);
                }
                let mut next = joined(&edit, &own);
                // Value logs that lose their last reference leave in the same edit.
                let change = state.catalog.preview_whole(&mut next)?;
                Ok(Some((next, change)))
            });
            match step {
                Ok(None) => accepted.push((proposal, ticket, None)),
                Ok(Some((next, next_change))) => {
                    edit = next;
                    change = Some(next_change.clone());
                    accepted.push((proposal, ticket, Some(next_change)));
                }
                Err(error) => ticket.settle(Err(InstallError::NotApplied(error))),
            }
        }
        if let Some(change) = change
            && let Err(error) = self.append_with_ballast(state, &edit, change)
        {
            for (proposal, ticket, _) in accepted {
                if matches!(error, InstallError::Unknown(_)) {
                    state.doubtful.extend(proposal.outputs);
                }
                ticket.settle(Err(error.clone()));
            }
            return;
        }
        // Step by step: whoever publishes brings the handles of its own tables, and knows of no later ones.
        for (proposal, ticket, change) in accepted {
            if let Some(change) = change {
                state.catalog.commit(change);
                debug_assert!(
                    state.catalog.trees().all(|(_, version)| !version.separates)
                        || state.catalog.check() == Ok(()),
                    "what is live of value logs is what a recount finds"
                );
                self.file_bytes.store(state.catalog.file_bytes(), Ordering::Relaxed);
                self.value_log_bytes.store(value_log_bytes(&state.catalog), Ordering::Relaxed);
            }
            (proposal.publish)(&state.catalog);
            ticket.settle(Ok(()));
        }
        if state.journal.wants_rotation() {
            self.rotate(state);
        }
        // Whoever waits has the second copy synced with the next append; otherwise it is done now.
        if self.waiting.lock().is_empty() {
            state.journal.settle_mirror();
        }
    }

    /// As [`Installs::append`]. An edit is small, and it may be the one that lets tables go: on a full disk the ballast is
    /// given up for it.
    fn append_with_ballast(&self, state: &mut State, edit: &VersionEdit, change: Change) -> Outcome {
        match self.append(state, edit, change.clone()) {
            Err(InstallError::NotApplied(error))
                if error.kind().class() == ErrorClass::NoSpace && self.ballast.release() =>
            {
                self.append(state, edit, change)
            }
            outcome => outcome,
        }
    }

    /// Makes the edit durable; the catalog is the caller's to bring up to it.
    fn append(&self, state: &mut State, edit: &VersionEdit, change: Change) -> Outcome {
        match state.journal.append(&[edit]) {
            Ok(last) => {
                self.last_edit.store(last.get(), Ordering::Release);
                Ok(())
            }
            Err(AppendError::NotApplied(error)) => Err(InstallError::NotApplied(error.into())),
            Err(error @ AppendError::Unknown(_)) => {
                let mut with_edit = state.catalog.clone();
                with_edit.commit(change);
                if let Err(second) = state.journal.reanchor(&with_edit) {
                    tracing::warn!(%error, %second, "whether an edit is on disk is unknown");
                    let error: Error = error.into();
                    self.raise(state, error.clone());
                    return Err(InstallError::Unknown(error));
                }
                self.last_edit.store(state.journal.last_edit().get(), Ordering::Release);
                Ok(())
            }
        }
    }

    /// Writes the manifest anew. A failure leaves the generation in use as it is, and is not one of the install that
    /// made it due: the next attempt comes later.
    fn rotate(&self, state: &mut State) {
        let Err(error) = state.journal.rotate(&state.catalog) else { return };
        tracing::warn!(%error, "the manifest could not be written anew");
        if matches!(error, RotateError::Unknown(_)) && state.journal.reanchor(&state.catalog).is_err() {
            self.raise(state, error.into());
        }
    }

    /// Writes the manifest anew, now.
    pub(crate) fn renew(&self) -> Result<()> {
        let mut locked = self.state.lock();
        let state = &mut *locked;
        self.lift(state)?;
        let rotated = state.journal.rotate(&state.catalog);
        self.note_journal(&state.journal);
        let Err(error) = rotated else { return Ok(()) };
        let is_unknown = matches!(error, RotateError::Unknown(_));
        let error = Error::from(error);
        if is_unknown && state.journal.reanchor(&state.catalog).is_err() {
            self.raise(state, error.clone());
        }
        Err(error)
    }

    fn raise(&self, state: &mut State, cause: Error) {
        state.fence = Some(cause);
        self.fenced.store(true, Ordering::Release);
    }

    /// States the truth anew when the fence is up: what was acknowledged, and nothing else.
    fn lift(&self, state: &mut State) -> Result<()> {
        if let Some(cause) = &state.fence {
            if let Err(error) = state.journal.reanchor(&state.catalog) {
                tracing::warn!(%error, "the manifest still cannot be written");
                return Err(EngineError::Fenced { cause: cause.clone() }.into());
            }
            self.last_edit.store(state.journal.last_edit().get(), Ordering::Release);
            state.fence = None;
            self.fenced.store(false, Ordering::Release);
        }
        // A file that cannot be removed is tried again the next time.
        state.doubtful.retain(|file| {
            let is_left = |root: &PathBuf| match self.fs.remove_file(&file.path(root)) {
                Ok(()) => false,
                Err(error) => error.kind != IoKind::NotFound,
            };
            self.roots.iter().filter(|root| is_left(root)).count() > 0
        });
        Ok(())
    }

    /// Returns when changes are possible.
    ///
    /// # Errors
    /// `Fenced` while the manifest cannot be written.
    pub(crate) fn lift_fence(&self) -> Result<()> {
        if self.is_fenced() { self.lift(&mut self.state.lock()) } else { Ok(()) }
    }

    /// Writes that the store was closed in order. The last thing a store does.
    pub(crate) fn close(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        self.lift(&mut state)?; // nothing may be appended after bytes in doubt
        Ok(state.journal.close()?)
    }
}
