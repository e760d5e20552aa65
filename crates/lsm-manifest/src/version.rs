//! The state of one tree.

use alloc::string::String;

use lsm_types::{MAX_NAME_LEN, SeqNo, Slice};

use crate::{Levels, ManifestError, Schemas, Vlogs};

/// Fewest levels of a tree.
pub(crate) const LEVELS_MIN: u8 = 2;
/// Longest token of a watermark, in bytes.
pub(crate) const TOKEN_MAX: usize = 64;

/// What a tree is, fixed when it is created.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TreeIdentity {
    /// Name of the comparator.
    pub comparator: String,
    /// Number of levels, 2 to 255.
    pub level_count: u8,
}

impl TreeIdentity {
    /// An identity from its parts.
    pub fn new(comparator: impl Into<String>, level_count: u8) -> Self {
        Self { comparator: comparator.into(), level_count }
    }

    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        if self.level_count < LEVELS_MIN {
            return Err(ManifestError::LevelCount { count: self.level_count });
        }
        if !(1..=MAX_NAME_LEN).contains(&self.comparator.len()) {
            return Err(ManifestError::TooLong { what: "name of a comparator" });
        }
        Ok(())
    }
}

/// Up to where everything is in tables.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Watermark {
    /// Every write below this bound is in durable tables.
    pub seqno: SeqNo,
    /// The caller's own position, at most 64 bytes, opaque.
    pub token: Option<Slice>,
}

/// Which tables make up a tree, and the numbers that go with them. Immutable; an edit makes the next one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// What the tree is.
    pub identity: TreeIdentity,
    /// Its tables.
    pub levels: Levels,
    /// Its value logs.
    pub vlogs: Vlogs,
    /// New reads at or below this bound are refused.
    pub retention_floor: SeqNo,
    /// All changes numbered at or above this are there as they were written.
    pub changes_from: SeqNo,
    /// Highest number ever given to a write that reached a table.
    pub max_seqno: Option<SeqNo>,
    /// Durable watermark; only grows.
    pub watermark: Watermark,
    /// Whether long values may lie in value logs; fixed when the tree is created.
    pub separates: bool,
    /// Name of the merge operator that operands are for; `None` until the tree is opened with one.
    pub merge_operator: Option<String>,
    /// What its values are split into; empty until the tree is opened with columns.
    pub schemas: Schemas,
}

impl Version {
    /// A tree without tables.
    pub fn empty(identity: TreeIdentity) -> Self {
        Self {
            levels: Levels::empty(identity.level_count),
            identity,
            vlogs: Vlogs::default(),
            retention_floor: SeqNo::ZERO,
            changes_from: SeqNo::ZERO,
            max_seqno: None,
            watermark: Watermark::default(),
            separates: false,
            merge_operator: None,
            schemas: Schemas::default(),
        }
    }

    /// What [`Version::changes_from`] is at least where reads at or below `floor` have lost history.
    pub(crate) fn changes_above(floor: SeqNo) -> SeqNo {
        if floor > SeqNo::ZERO { floor.next() } else { SeqNo::ZERO }
    }

    /// Number of tables.
    pub fn table_count(&self) -> usize {
        self.levels.table_count()
    }
}
