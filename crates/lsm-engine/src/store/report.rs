//! What opening found and did (D-51).

use lsm_journal::RecoveryReport;
use lsm_manifest::Catalog;
use lsm_types::{Clock, SeqNo, TreeId};

use super::{FilesReport, RebuildReport};
use crate::{StoreOptions, Token};

/// How a directory was found. Kept as long as the store is open.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    /// Whether the database was created just now.
    pub created: bool,
    /// What recovering the manifest found; `None` for a new database, and where no manifest could be read.
    pub manifest: Option<RecoveryReport>,
    /// What lay among the tables.
    pub files: FilesReport,
    /// What was put together from files; `None` in the modes that believe the manifest.
    pub rebuilt: Option<RebuildReport>,
    /// The numbers that each tree goes on from.
    pub trees: Vec<TreeReport>,
    /// Whether the database was ever written without syncs: a power cut may have cost what was acknowledged.
    pub without_sync: bool,
    /// Whether the mode gives things up, so that nothing is written before [`crate::Store::accept_recovery`].
    pub awaits_acceptance: bool,
    /// Microseconds it took to read the manifest.
    pub manifest_us: u64,
    /// Microseconds it took to hold the files against it.
    pub files_us: u64,
}

/// What a tree goes on from.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeReport {
    /// The tree.
    pub tree: TreeId,
    /// Number of its tables.
    pub tables: usize,
    /// Highest number ever given to a write that reached a table.
    pub max_seqno: Option<SeqNo>,
    /// Every write below is in tables.
    pub watermark: SeqNo,
    /// The caller's log position that goes with it.
    pub token: Option<Token>,
}

impl OpenReport {
    /// Adds what the state says.
    pub(super) fn describe(&mut self, catalog: &Catalog) {
        self.without_sync = catalog.was_without_sync();
        self.trees = catalog.trees().map(TreeReport::of).collect();
    }
}

impl TreeReport {
    fn of((tree, version): (TreeId, &lsm_manifest::Version)) -> Self {
        Self {
            tree,
            tables: version.table_count(),
            max_seqno: version.max_seqno,
            watermark: version.watermark.seqno,
            token: version.watermark.token.clone().and_then(|token| Token::new(token).ok()),
        }
    }
}

/// Microseconds since it was started.
pub(super) struct Stopwatch<'a> {
    clock: &'a dyn Clock,
    start: u64,
}

impl<'a> Stopwatch<'a> {
    pub(super) fn start(options: &'a StoreOptions) -> Self {
        let clock = options.clock.as_ref();
        Self { clock, start: clock.monotonic_nanos() }
    }

    pub(super) fn us(&self) -> u64 {
        self.clock.monotonic_nanos().saturating_sub(self.start) / 1_000
    }
}
