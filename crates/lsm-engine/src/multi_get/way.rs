//! The way of one key through the containers, and what it found on it.

use lsm_iter::{Candidate, ChainResolver, PointResolver, Resolved};
use lsm_table::{Answer, LookUp, Progress};
use lsm_types::{Error, KeyHash, Kind, Result, SeqNo, Slice};

use crate::{EngineError, reader::ReadPoint};

/// How far the read of one key is.
pub(super) struct Way {
    /// The last of the given keys that is this one.
    pub(super) key: usize,
    pub(super) hash: KeyHash,
    pub(super) stand: Stand,
    pub(super) read: Read,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stand {
    /// Range tombstones and memtables come next.
    Memory,
    /// This run comes next, and in it the newest version below this number.
    Run(usize, SeqNo, Progress),
    End,
}

/// What was found so far; at the end, what the read returns.
pub(super) enum Read {
    /// Without an operator the newest entry decides.
    Newest(PointResolver<Slice>),
    /// With one, that and the operands above it.
    Chain(ChainResolver<Slice>),
    /// The value is separated: the way to it.
    Separated(Slice),
    Done(Result<Option<Slice>>),
}

impl Stand {
    /// At the beginning of a run.
    pub(super) fn before(run: usize, point: &ReadPoint<'_>) -> Self {
        Self::Run(run, point.view.tree_bound(point.before), Progress::default())
    }

    pub(super) fn run(self) -> Option<usize> {
        match self {
            Self::Run(run, ..) => Some(run),
            Self::Memory | Self::End => None,
        }
    }
}

impl Way {
    /// The beginning, for the key at place `key` of those given.
    pub(super) fn new(key: usize, hash: KeyHash, point: &ReadPoint<'_>) -> Self {
        Self { key, hash, stand: Stand::Memory, read: Read::new(point) }
    }

    /// Takes what came of a look into a table of run `index`; whether an older version there matters.
    pub(super) fn take(&mut self, look_up: &mut LookUp<'_>, index: usize, point: &ReadPoint<'_>) -> bool {
        match std::mem::replace(&mut look_up.answer, Answer::Waits) {
            Answer::Waits => {
                self.stand = Stand::Run(index, look_up.before, look_up.progress);
                return false;
            }
            Answer::Found(found) => {
                let candidate = Candidate { seqno: found.seqno, kind: found.kind, value: found.value };
                if self.read.offer(candidate) {
                    look_up.before = found.seqno;
                    look_up.progress = Progress::again();
                    return true;
                }
            }
            Answer::Absent => {}
            Answer::Failed(error) => {
                self.fail(error);
                return false;
            }
        }
        self.stand = Stand::before(index + 1, point);
        false
    }

    pub(super) fn fail(&mut self, error: Error) {
        self.read = Read::Done(Err(error));
        self.stand = Stand::End;
    }

    pub(super) fn finish(&mut self, key: &[u8], point: &ReadPoint<'_>) {
        let read = std::mem::replace(&mut self.read, Read::Done(Ok(None)));
        self.read = read.finish(key, point);
        self.stand = Stand::End;
    }
}

impl Read {
    fn new(point: &ReadPoint<'_>) -> Self {
        match point.operator {
            Some(_) => Self::Chain(ChainResolver::new(point.before)),
            None => Self::Newest(PointResolver::new(point.before)),
        }
    }

    /// Takes the number of a range tombstone over the key.
    pub(super) fn cover(&mut self, delete: SeqNo) {
        match self {
            Self::Newest(read) => read.cover(delete),
            Self::Chain(read) => read.cover(delete),
            Self::Separated(_) | Self::Done(_) => {}
        }
    }

    /// Takes an entry; whether an older one of the same container matters.
    pub(super) fn offer(&mut self, candidate: Candidate<Slice>) -> bool {
        match self {
            Self::Newest(read) => {
                read.offer(candidate);
                false
            }
            Self::Chain(read) => read.offer(candidate),
            Self::Separated(_) | Self::Done(_) => false,
        }
    }

    /// Whether containers with numbers up to `remaining_max` change nothing.
    pub(super) fn can_stop(&self, remaining_max: SeqNo) -> bool {
        match self {
            Self::Newest(read) => read.can_stop(remaining_max),
            Self::Chain(read) => read.can_stop(remaining_max),
            Self::Separated(_) | Self::Done(_) => true,
        }
    }

    /// What the read returns, or the way to it.
    fn finish(self, key: &[u8], point: &ReadPoint<'_>) -> Self {
        let found = match (self, point.operator) {
            (Self::Newest(read), _) => Ok(read.finish().map(Resolved::Plain)),
            (Self::Chain(read), Some(operator)) => read.finish(key, operator, Some(&point.view.vlogs)),
            (Self::Chain(_), None) => {
                Err(EngineError::Bug { invariant: "chains are gathered for an operator" }.into())
            }
            (done, _) => return done,
        };
        Self::Done(match found {
            Ok(Some(Resolved::Plain(found))) if found.kind == Kind::Indirection => {
                return Self::Separated(found.value);
            }
            Ok(Some(Resolved::Plain(found))) => Ok(Some(found.value)),
            Ok(Some(Resolved::Folded { value, .. })) => Ok(Some(value)),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        })
    }
}
