//! The running file system: what programs see, and the trace they leave.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_fs::LockMode;
use lsm_types::{IoError, IoOp};

use super::faults::{Failure, FaultPlan, Occasion};
use super::fs::{SimConfig, Turns};
use super::labels::Labels;
use super::trace::{Effect, Event, EventKind};
use super::volume::{Ino, Node, ROOT, Reachable, Volume};

/// The running file system.
pub(super) struct State {
    pub(super) config: SimConfig,
    /// What there was, durably, when the trace began.
    pub(super) initial: Volume,
    pub(super) trace: Vec<Arc<Event>>,
    pub(super) live: Volume,
    pub(super) links: BTreeMap<Ino, u64>,
    pub(super) faults: FaultPlan,
    /// Bytes that may still be written.
    pub(super) budget: Option<u64>,
    /// Bytes that may still be written before syncs fail.
    pub(super) late_budget: Option<u64>,
    /// Files that took more than that, and whose next sync fails.
    pub(super) overdrawn: BTreeSet<Ino>,
    pub(super) first_failure: Option<usize>,
    pub(super) labels: Labels,
    pub(super) turns: Option<Arc<dyn Turns>>,
    /// Syncs that made durable what another handle wrote.
    pub(super) foreign_syncs: Vec<usize>,
    pub(super) next_ino: Ino,
    pub(super) open: BTreeMap<Ino, u64>,
    /// Who has which handle on which file.
    handles: BTreeMap<u64, (u64, Ino)>,
    processes: u64,
    killed: BTreeSet<u64>,
    locks: BTreeMap<Ino, Vec<(u64, LockMode)>>,
    /// Handles that wrote to a file since its last sync.
    pub(super) writers: BTreeMap<Ino, BTreeSet<u64>>,
    pub(super) changed_dirs: BTreeSet<Ino>,
    next_handle: u64,
    pub(super) used_sectors: u64,
}

impl State {
    /// Starts from what `found` holds, all of it durable.
    pub(super) fn new(config: SimConfig, found: Reachable, next_ino: Ino) -> Self {
        let used = |node: &Node| if let Node::File(content) = node { content.sector_count() } else { 0 };
        Self {
            config,
            used_sectors: found.volume.nodes.values().map(used).sum(),
            initial: found.volume.clone(),
            live: found.volume,
            links: found.links,
            trace: Vec::new(),
            faults: FaultPlan::new(),
            budget: None,
            late_budget: None,
            overdrawn: BTreeSet::new(),
            first_failure: None,
            labels: Labels::default(),
            turns: None,
            foreign_syncs: Vec::new(),
            next_ino,
            open: BTreeMap::new(),
            handles: BTreeMap::new(),
            processes: 0,
            killed: BTreeSet::new(),
            locks: BTreeMap::new(),
            writers: BTreeMap::new(),
            changed_dirs: BTreeSet::new(),
            next_handle: 0,
        }
    }

    /// The fault that strikes an operation, if one does.
    pub(super) fn strike(&mut self, op: IoOp, paths: &[&Path]) -> Option<Failure> {
        self.strike_range(op, paths, 0..0)
    }

    pub(super) fn note_failure(&mut self) {
        self.first_failure.get_or_insert(self.trace.len());
    }

    /// As [`State::strike`], for a read of these bytes.
    pub(super) fn strike_range(&mut self, op: IoOp, paths: &[&Path], range: Range<u64>) -> Option<Failure> {
        let label = self.labels.current();
        let failure = self.faults.strike(&Occasion { op, paths, label: label.as_deref(), range });
        if failure.is_some() {
            self.note_failure();
        }
        failure
    }

    /// Runs an operation unless a fault strikes it before; a fault after it turns its answer.
    pub(super) fn run<T>(
        &mut self,
        op: IoOp,
        paths: &[&Path],
        operation: impl FnOnce(&mut Self) -> Result<T, IoError>,
    ) -> Result<T, IoError> {
        match self.strike(op, paths) {
            None | Some(Failure::Corrupt { .. } | Failure::Hang(_)) => operation(self),
            Some(Failure::After(kind)) => operation(self).and(Err(IoError::new(op, kind))),
            Some(
                Failure::Before(kind)
                | Failure::Short(_, kind)
                | Failure::Losing(kind)
                | Failure::Dropping(kind),
            ) => Err(IoError::new(op, kind)),
        }
    }

    pub(super) fn record(&mut self, kind: EventKind, path: &Path, effect: Effect) {
        let label = self.labels.current();
        self.trace.push(Arc::new(Event { kind, path: path.to_owned(), label, effect }));
    }

    pub(super) fn open_handle(&mut self, ino: Ino, process: u64) -> u64 {
        *self.open.entry(ino).or_insert(0) += 1;
        self.next_handle += 1;
        self.handles.insert(self.next_handle, (process, ino));
        self.next_handle
    }

    pub(super) fn new_process(&mut self) -> u64 {
        self.processes += 1;
        self.processes
    }

    pub(super) fn is_killed(&self, process: u64) -> bool {
        self.killed.contains(&process)
    }

    pub(super) fn kill(&mut self, process: u64) {
        self.killed.insert(process);
        let own = |(&handle, &(owner, ino)): (&u64, &(u64, Ino))| (owner == process).then_some((ino, handle));
        let handles: Vec<(Ino, u64)> = self.handles.iter().filter_map(own).collect();
        for (ino, handle) in handles {
            self.close_handle(ino, handle);
        }
    }

    pub(super) fn close_handle(&mut self, ino: Ino, handle: u64) {
        if self.handles.remove(&handle).is_none() {
            return; // it went with its process
        }
        if let Some(locks) = self.locks.get_mut(&ino) {
            locks.retain(|&(holder, _)| holder != handle);
        }
        let handles = self.open.get(&ino).map_or(0, |handles| handles - 1);
        if handles == 0 {
            self.open.remove(&ino);
            self.forget_unused(ino);
        } else {
            self.open.insert(ino, handles);
        }
    }

    pub(super) fn try_lock(&mut self, ino: Ino, handle: u64, mode: LockMode) -> bool {
        let locks = self.locks.entry(ino).or_default();
        let conflict = |&(holder, held): &(u64, LockMode)| {
            holder != handle && (mode == LockMode::Exclusive || held == LockMode::Exclusive)
        };
        if locks.iter().any(conflict) {
            return false;
        }
        locks.retain(|&(holder, _)| holder != handle);
        locks.push((handle, mode));
        true
    }

    /// All files with a name, as paths.
    pub(super) fn paths(&self) -> Vec<(PathBuf, Ino)> {
        let mut found = Vec::new();
        let mut dirs = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, dir)) = dirs.pop() {
            let Some(Node::Dir(entries)) = self.live.nodes.get(&dir) else { continue };
            for (name, &ino) in entries.iter() {
                let path = path.join(name);
                match self.live.nodes.get(&ino) {
                    Some(Node::Dir(_)) => dirs.push((path, ino)),
                    Some(Node::File(_)) => found.push((path, ino)),
                    Some(Node::Other) | None => {}
                }
            }
        }
        found
    }
}

/// A file as a handle has it.
pub(super) struct Target<'a> {
    pub(super) ino: Ino,
    pub(super) handle: u64,
    pub(super) path: &'a Path,
}
