//! What recovery found and did (D-51).

use std::ffi::OsString;

use lsm_manifest::Lost;
use lsm_types::EditIndex;

use crate::{Generation, JournalError, RecoveryMode};

/// What recovery found and decided. Equal directories give equal reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveryReport {
    /// The mode it ran in.
    pub mode: RecoveryMode,
    /// The generation that the state comes from.
    pub generation: Generation,
    /// What `CURRENT` said.
    pub pointer: PointerState,
    /// The copies of that generation.
    pub copies: Copies,
    /// Edits replayed on top of its snapshot.
    pub edits_replayed: u64,
    /// The last edit.
    pub last_edit: EditIndex,
    /// File numbers below this one may have been used.
    pub reserved_ids: u64,
    /// Whether the database had been closed in order.
    pub is_clean: bool,
    /// Bytes at the end that belong to no record, were never acknowledged, and are left behind.
    pub tail: Option<DroppedTail>,
    /// All generations found, oldest first.
    pub generations: Vec<GenerationReport>,
    /// Names in the root that are not ours, sorted; nothing was done to them.
    pub foreign: Vec<OsString>,
    /// What a lossy mode gave up; `None` in the other modes.
    pub losses: Option<Losses>,
}

/// What a lossy recovery gave up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Losses {
    /// Why a strict recovery refuses; `None` when it would not.
    pub refused: Option<JournalError>,
    /// The older generation whose state stands in for a snapshot that cannot be read.
    pub base: Option<Generation>,
    /// Edits and steps that are not in the state.
    pub lost: Lost,
    /// Bytes between the records that were read.
    pub bytes: u64,
    /// No edit later than this one is known to have been made.
    pub furthest: EditIndex,
}

/// What `CURRENT` said.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PointerState {
    /// It names the generation that was chosen.
    Agrees,
    /// It names another one: a newer one was found, or the named one was cut short.
    Names(Generation),
    /// There is none.
    Missing,
    /// It does not verify.
    Damaged,
    /// It belongs to another database.
    Foreign,
}

/// What the two copies of a generation were worth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Copies {
    /// The primary.
    pub primary: CopyState,
    /// The mirror.
    pub mirror: CopyState,
}

/// What one copy of a generation was worth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CopyState {
    /// It has every record.
    Whole,
    /// Its last records are missing.
    Behind,
    /// A record in it is damaged that others follow.
    Damaged,
    /// Its header does not verify, or it is another file. Records in it may have been used nevertheless.
    Unusable,
    /// There is none.
    Missing,
}

/// What bytes at the end of a log are that belong to no record (D-48).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TailClass {
    /// A write was cut short.
    Torn,
    /// Parts of an unsynced write landed out of order.
    UnsyncedGap,
}

/// Bytes that were left behind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DroppedTail {
    /// First byte that belongs to no record.
    pub offset: u64,
    /// How many there are.
    pub bytes: u64,
    /// What they are.
    pub class: TailClass,
}

/// One generation that was found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GenerationReport {
    /// Its number.
    pub generation: Generation,
    /// Its last edit; `None` when its snapshot is not complete.
    pub last_edit: Option<EditIndex>,
    /// Its copies.
    pub copies: Copies,
}
