//! What one generation says, judged by itself: how far it reaches, and what is wrong with it.

use lsm_block::{
    BlockError,
    log::{LogPosition, Tail},
};
use lsm_manifest::{ManifestError, Record, RecordHead, SnapshotBegin};
use lsm_types::EditIndex;

use crate::{Copies, DroppedTail, Generation, JournalError, TailClass, copies::Generations};

/// What a generation's records say about themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reach {
    /// The snapshot it begins with.
    pub(crate) begin: SnapshotBegin,
    /// The last edit.
    pub(crate) last_edit: EditIndex,
    /// Whether it was closed in order.
    pub(crate) is_clean: bool,
}

/// The judgement on a generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Every record is there, up to bytes that were never acknowledged.
    Good(Option<DroppedTail>),
    /// Its snapshot was never finished.
    Incomplete,
    /// It had more than can be read.
    Damaged(JournalError),
}

/// One generation, judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Scan {
    pub(crate) number: Generation,
    /// How far its readable records reach; `None` when the snapshot is not complete.
    pub(crate) reach: Option<Reach>,
    pub(crate) verdict: Verdict,
    pub(crate) copies: Copies,
}

impl Scan {
    /// Judges a generation.
    pub(crate) fn of(generation: &Generations) -> Self {
        let number = generation.number;
        let mut heads = Heads::new(generation);
        let walked = generation
            .walk(|record| heads.take(&record.body).map_err(|source| (record.index, record.start, source)));
        let (reach, after_edit) = (heads.reach(), heads.last_edit);
        let (verdict, copies) = match walked {
            Ok(position) => (judge(generation, position, reach, after_edit), generation.copies(position)),
            Err((record, offset, source)) => {
                let end = LogPosition { offset, ..LogPosition::START };
                let error = JournalError::Record { generation: number, record, source };
                (Verdict::Damaged(error), generation.copies(end))
            }
        };
        Self { number, reach, verdict, copies }
    }
}

fn judge(
    generation: &Generations,
    position: LogPosition,
    reach: Option<Reach>,
    after_edit: EditIndex,
) -> Verdict {
    let ending = generation.ending(position);
    let number = generation.number;
    let damaged = JournalError::Damaged {
        generation: number,
        record: position.index,
        after_edit,
        offset: position.offset,
    };
    let dropped = |class| {
        let bytes = ending.file_end.saturating_sub(position.offset);
        Verdict::Good(Some(DroppedTail { offset: position.offset, bytes, class }))
    };
    match ending.tail {
        Tail::Corrupt {
            why: Some(source @ (BlockError::Unsupported { .. } | BlockError::Tampered { .. })),
            ..
        } => Verdict::Damaged(JournalError::Block { generation: number, source }),
        // The records of a snapshot are written without a sync between them, so any of them may be missing after a
        // crash; edits, each of which knows the snapshot to be durable, may not follow.
        _ if reach.is_none() && ending.is_followed => Verdict::Damaged(damaged),
        _ if reach.is_none() => Verdict::Incomplete,
        Tail::Clean { .. } => Verdict::Good(None),
        Tail::Torn { .. } => dropped(TailClass::Torn),
        Tail::UnsyncedGap { .. } => dropped(TailClass::UnsyncedGap),
        Tail::Corrupt { .. } => Verdict::Damaged(damaged),
    }
}

/// Follows the heads of records, without looking into edits.
struct Heads {
    database: lsm_types::FileUuid,
    begin: Option<SnapshotBegin>,
    is_complete: bool,
    is_clean: bool,
    last_edit: EditIndex,
}

impl Heads {
    fn new(generation: &Generations) -> Self {
        Self {
            database: generation.header.identity.database,
            begin: None,
            is_complete: false,
            is_clean: false,
            last_edit: EditIndex::new(0),
        }
    }

    fn reach(&self) -> Option<Reach> {
        let begin = self.begin.filter(|_| self.is_complete)?;
        Some(Reach { begin, last_edit: self.last_edit, is_clean: self.is_clean })
    }

    fn take(&mut self, record: &[u8]) -> Result<(), ManifestError> {
        match Record::head(record)? {
            RecordHead::SnapshotBegin(begin) if self.begin.is_none() => {
                if begin.database != self.database {
                    return Err(ManifestError::Decode { field: "database" });
                }
                (self.begin, self.last_edit) = (Some(begin), begin.edit_index);
            }
            RecordHead::SnapshotChunk if self.begin.is_some() && !self.is_complete => {}
            RecordHead::SnapshotEnd { .. } if self.begin.is_some() && !self.is_complete => {
                self.is_complete = true;
            }
            RecordHead::Edits { follows, count } if self.is_complete && !self.is_clean => {
                if follows != self.last_edit {
                    return Err(ManifestError::Gap { expected: self.last_edit, found: follows });
                }
                let next = follows.checked_add(count);
                self.last_edit = next.ok_or(ManifestError::Decode { field: "edit index" })?;
            }
            RecordHead::CleanClose if self.is_complete && !self.is_clean => self.is_clean = true,
            _ => return Err(ManifestError::OutOfPlace { expected: "another record" }),
        }
        Ok(())
    }
}
