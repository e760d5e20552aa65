//! Carrying a workload out, and writing down what a crash at each point may leave.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::subject::{Failed, OpKind, Subject};
use super::violation::Violation;
use crate::sim::{EventKind, SimFs};

/// One operation of a run.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its name.
    pub label: &'static str,
    /// Length of the trace when it began.
    pub start: usize,
    /// Length of the trace when it was done.
    pub end: usize,
    /// How it failed, if it did.
    pub failed: Option<Failed>,
}

/// From some point of the trace on, the states that a crash may leave.
#[derive(Clone, Debug)]
struct Legal {
    point: usize,
    /// Positions in the list of states, oldest first.
    states: Vec<usize>,
}

/// A workload that was carried out.
pub struct Run<S: Subject> {
    /// The disk it ran on.
    pub fs: SimFs,
    /// What it did.
    pub records: Vec<Record>,
    /// Every state that ever was a boundary.
    states: Vec<S::State>,
    legal: Vec<Legal>,
    /// Which of the states are in the newest entry of `legal`, and the one a flush would make durable.
    newest: Vec<usize>,
    sealed: usize,
    current: S::State,
    /// Whether anything was written since the last boundary.
    is_dirty: bool,
}

impl<S: Subject> Run<S> {
    /// A run on a disk whose store holds `state`, durably, once `open` has returned.
    pub(super) fn new(fs: &SimFs, state: S::State) -> Self {
        Self {
            fs: fs.clone(),
            records: Vec::new(),
            states: vec![state.clone()],
            legal: vec![Legal { point: 0, states: vec![0] }],
            newest: vec![0],
            sealed: 0,
            current: state,
            is_dirty: false,
        }
    }

    /// Opens a new store on `fs` and carries `ops` out. Faults that are planned on the disk, and limits on its space,
    /// are lifted before the operation with the number `lift_at`; from then on nothing may fail.
    ///
    /// # Errors
    /// What the living store did wrong.
    pub fn execute(subject: &S, fs: &SimFs, ops: &[S::Op], lift_at: usize) -> Result<Self, Box<Violation>> {
        let mut run = Self::new(fs, subject.empty());
        let label = fs.label("create");
        let db = run.reopen(subject)?;
        drop(label);
        let (before, after) = ops.split_at(lift_at.min(ops.len()));
        let db = run.go_on(subject, db, before)?;
        fs.lift_faults();
        drop(run.go_on(subject, db, after)?);
        Ok(run)
    }

    /// Carries more operations out on the open store.
    pub(super) fn go_on(
        &mut self,
        subject: &S,
        mut db: S::Db,
        ops: &[S::Op],
    ) -> Result<S::Db, Box<Violation>> {
        for op in ops {
            let _label = self.fs.label(subject.label(op));
            let (label, start) = (subject.label(op), self.fs.len());
            let (next, failed) = self.step(subject, db, op)?;
            db = next;
            self.records.push(Record { label, start, end: self.fs.len(), failed });
            // A fault that waits for a read may strike this one; it strikes once.
            let found = subject.read(&db).or_else(|_| subject.read(&db));
            match found {
                Ok(found) if found == self.current => {}
                Ok(found) => {
                    let expected = &self.current;
                    return Err(self.living(format!("reads {found:?}, expected {expected:?}")));
                }
                Err(problem) => return Err(self.living(format!("does not read: {problem}"))),
            }
        }
        Ok(db)
    }

    fn step(
        &mut self,
        subject: &S,
        mut db: S::Db,
        op: &S::Op,
    ) -> Result<(S::Db, Option<Failed>), Box<Violation>> {
        let kind = subject.kind(op);
        match kind {
            OpKind::Reopen => {
                drop(db);
                return Ok((self.reopen(subject)?, None));
            }
            OpKind::Close => {
                let closed = subject.close(db);
                let db = self.reopen(subject)?;
                let faulty = self.fs.is_faulty();
                return match closed {
                    Err(problem) if !faulty => Err(self.living(format!("does not close: {problem}"))),
                    closed => Ok((db, closed.err().map(Failed::Refused))),
                };
            }
            OpKind::Flush => self.allow(self.sealed),
            OpKind::Commit => {
                let mut next = self.current.clone();
                subject.model(&mut next, op);
                let next = self.boundary(next);
                self.allow(next);
            }
            OpKind::Write | OpKind::Seal | OpKind::Upkeep => {}
        }
        match subject.apply(&mut db, op) {
            Ok(()) => {
                self.succeeded(subject, op, kind);
                Ok((db, None))
            }
            Err(Failed::Broken(problem)) => Err(self.living(problem)),
            Err(Failed::Refused(problem)) if !self.fs.is_faulty() => {
                Err(self.living(format!("fails without a fault: {problem}")))
            }
            Err(refused @ Failed::Refused(_)) => Ok((db, Some(refused))),
            Err(doubt @ Failed::InDoubt(_)) => {
                drop(db);
                Ok((self.reopen(subject)?, Some(doubt)))
            }
        }
    }

    fn succeeded(&mut self, subject: &S, op: &S::Op, kind: OpKind) {
        match kind {
            OpKind::Write => {
                subject.model(&mut self.current, op);
                self.is_dirty = true;
            }
            OpKind::Seal => {
                if std::mem::take(&mut self.is_dirty) {
                    self.sealed = self.boundary(self.current.clone());
                }
            }
            OpKind::Flush => self.settle(self.sealed),
            OpKind::Commit => {
                subject.model(&mut self.current, op);
                self.sealed = self.states.len() - 1;
                self.settle(self.sealed);
            }
            OpKind::Upkeep | OpKind::Reopen | OpKind::Close => {}
        }
    }

    /// Opens the store again; what is found from now on is durable.
    pub(super) fn reopen(&mut self, subject: &S) -> Result<S::Db, Box<Violation>> {
        // A fault may keep it from opening; without faults it has to.
        let opened = subject.open(&self.fs).and_then(|db| Ok((subject.read(&db)?, db)));
        let opened = match opened {
            Err(_) if self.fs.is_faulty() => {
                self.fs.lift_faults();
                subject.open(&self.fs).and_then(|db| Ok((subject.read(&db)?, db)))
            }
            opened => opened,
        };
        let (found, db) = opened.map_err(|problem| self.living(format!("does not open again: {problem}")))?;
        let legal = self.newest.iter().rev().copied();
        let Some(state) = legal.into_iter().find(|&state| self.states.get(state) == Some(&found)) else {
            let legal: Vec<_> = self.newest.iter().filter_map(|&state| self.states.get(state)).collect();
            return Err(self.living(format!("opens again with {found:?}, legal are {legal:?}")));
        };
        self.settle(state);
        (self.sealed, self.current, self.is_dirty) = (state, found, false);
        Ok(db)
    }

    fn boundary(&mut self, state: S::State) -> usize {
        self.states.push(state);
        self.states.len() - 1
    }

    /// From now on a crash may leave this state too.
    fn allow(&mut self, state: usize) {
        if !self.newest.contains(&state) {
            self.newest.push(state);
            self.legal.push(Legal { point: self.fs.len(), states: self.newest.clone() });
        }
    }

    /// From now on a crash leaves this state.
    fn settle(&mut self, state: usize) {
        if self.newest != [state] {
            self.newest = vec![state];
            self.legal.push(Legal { point: self.fs.len(), states: self.newest.clone() });
        }
    }

    /// Something that a store did wrong without any crash.
    pub(super) fn living(&self, problem: String) -> Box<Violation> {
        Violation::new(&self.fs, None, problem)
    }

    /// The states that a crash at `point` may leave.
    pub fn legal(&self, point: usize) -> Vec<&S::State> {
        let newest = self.legal.iter().rfind(|legal| legal.point <= point);
        let states = newest.map(|legal| legal.states.as_slice()).unwrap_or_default();
        states.iter().filter_map(|&state| self.states.get(state)).collect()
    }

    /// A number that is the same for points with the same legal states.
    pub(super) fn epochs(&self) -> impl Fn(usize) -> u64 + Send + 'static {
        let points: Vec<usize> = self.legal.iter().map(|legal| legal.point).collect();
        move |point| points.partition_point(|from| *from <= point) as u64
    }
}

/// The files created before `point` whose names may not be given again.
pub(super) fn names_given<S: Subject>(subject: &S, fs: &SimFs, point: usize) -> BTreeSet<PathBuf> {
    let trace = fs.trace();
    let created = trace.iter().take(point).filter(|event| event.kind == EventKind::Create);
    created.map(|event| event.path.clone()).filter(|path| subject.is_named_once(path)).collect()
}
