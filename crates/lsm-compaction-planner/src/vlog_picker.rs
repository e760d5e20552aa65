//! Which value logs are worth rewriting (durability rules of relocation, best first).
//!
//! A value log whose values were overwritten or deleted takes space for nothing until its last value goes. Rewriting one
//! with a share `x` of garbage costs `(1 - x) / x` bytes for each byte that it frees, so logs full of garbage come first,
//! and old ones before young ones: what has lived for long is likely to go on living, while a young log may become
//! garbage by itself.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

use lsm_types::{TableId, VlogId};

/// Share of garbage from which on rewriting frees more than it copies.
const WORTH_IT_AT_ONCE: f64 = 0.5;

/// When a value log is rewritten by a compaction that touches tables which refer to it, or by one of its own.
///
/// Shares are 0 to 1 and count stored bytes of values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct VlogPicker {
    /// Share of garbage from which on a value log may be rewritten, if it is old enough: at once from a half on, below it
    /// when nothing was flushed or ingested for a minute, or in a merge that somebody asks for. Default 0.25.
    pub staleness_threshold: f64,
    /// The oldest share of all value logs counts as old enough; rounded up. Default 0.25.
    pub age_cutoff: f64,
    /// Share of garbage from which on a value log is rewritten, whatever its age. Default 0.75.
    pub force_staleness: f64,
    /// All values may take this many times what the live ones take; beyond, value logs are rewritten until that holds
    /// again, whatever their age and garbage. At least 1. Default: no limit.
    pub max_space_amp: Option<f64>,
    /// When a table that refers to more value logs than this is rewritten, those of which it holds next to nothing are
    /// gathered into one, so that scans go to fewer places. At least 1. Default 10.
    pub table_references_max: usize,
}

impl Default for VlogPicker {
    fn default() -> Self {
        Self {
            staleness_threshold: 0.25,
            age_cutoff: 0.25,
            force_staleness: 0.75,
            max_space_amp: None,
            table_references_max: 10,
        }
    }
}

impl VlogPicker {
    /// Rewrites nothing: a value log goes when all of it is garbage.
    pub const NEVER: Self = Self {
        staleness_threshold: 1.0,
        age_cutoff: 0.0,
        force_staleness: 1.0,
        max_space_amp: None,
        table_references_max: usize::MAX,
    };

    /// Rewrites everything, wherever a compaction meets it.
    pub const ALWAYS: Self = Self {
        staleness_threshold: 0.0,
        age_cutoff: 1.0,
        force_staleness: 0.0,
        max_space_amp: None,
        table_references_max: 1,
    };

    /// The first setting that cannot hold, and what it has to be.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        let shares = [
            ("staleness_threshold", self.staleness_threshold),
            ("age_cutoff", self.age_cutoff),
            ("force_staleness", self.force_staleness),
        ];
        let wrong = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share));
        if let Some((name, _)) = wrong {
            return Some((name, "must be 0 to 1"));
        }
        if self.max_space_amp.is_some_and(|amp| !(amp.is_finite() && amp >= 1.0)) {
            return Some(("max_space_amp", "must be a number of at least 1"));
        }
        (self.table_references_max == 0).then_some(("table_references_max", "must be at least 1"))
    }

    /// The value logs worth rewriting, best first; `logs` ascend by number, which is their age.
    ///
    /// Those that are garbage as a whole are not among them: they go by themselves.
    ///
    /// * `is_quiet`: nothing was flushed for a while. Where much is, what is a quarter garbage now is a half soon, and
    ///   costs a third to rewrite.
    pub fn candidates<'a>(&self, logs: &'a [VlogFigures], is_quiet: bool) -> Vec<&'a VlogFigures> {
        let threshold =
            if is_quiet { self.staleness_threshold } else { self.staleness_threshold.max(WORTH_IT_AT_ONCE) };
        let count = float(logs.len() as u64);
        let aged = logs.iter().enumerate().map(|(rank, log)| {
            let rank = float(rank as u64);
            let is_old = rank < self.age_cutoff * count;
            let share = log.garbage_share();
            let is_due = (is_old && share >= threshold) || share >= self.force_staleness;
            // The oldest has an age of almost 1, the youngest of 0.
            let age = (count - rank - 1.0) / count;
            Weighed { log, is_due, weight: (1.0 + age) * share / (2.0 - share) }
        });
        let mut all: Vec<_> = aged.filter(|one| one.log.can_be_rewritten()).collect();
        all.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.log.id.cmp(&b.log.id)));
        self.trim(logs, &mut all);
        all.into_iter().filter(|one| one.is_due).map(|one| one.log).collect()
    }

    /// Whether so much of all values may be garbage that it is worth finding out: half of what a value log may have, as
    /// that comes on top.
    pub(crate) fn is_worth_a_look(&self, doubtful_bytes: u64, all_bytes: u64) -> bool {
        let share = self.staleness_threshold;
        doubtful_bytes > 0 && share < 1.0 && float(doubtful_bytes) >= share / 2.0 * float(all_bytes)
    }

    /// Where all values take too much, makes further ones due until they would not.
    fn trim(&self, logs: &[VlogFigures], all: &mut [Weighed<'_>]) {
        let Some(amp) = self.max_space_amp else { return };
        let sum =
            |of: fn(&VlogFigures) -> u64| logs.iter().fold(0, |sum: u64, log| sum.saturating_add(of(log)));
        let allowed = float(sum(|log| log.live_bytes)) * amp;
        let freed = all.iter().filter(|one| one.is_due).map(|one| one.log.garbage_bytes());
        let mut left = sum(|log| log.total_bytes).saturating_sub(freed.fold(0, u64::saturating_add));
        for one in all.iter_mut().filter(|one| !one.is_due && one.log.garbage_bytes() > 0) {
            if float(left) <= allowed {
                return;
            }
            one.is_due = true;
            left = left.saturating_sub(one.log.garbage_bytes());
        }
    }
}

struct Weighed<'a> {
    log: &'a VlogFigures,
    is_due: bool,
    weight: f64,
}

/// What planning knows of a value log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VlogFigures {
    /// Its number: the smaller, the older.
    pub id: VlogId,
    /// Stored bytes of all values in it.
    pub total_bytes: u64,
    /// Of these, those that tables refer to.
    pub live_bytes: u64,
    /// The tables that refer to it.
    pub tables: Arc<BTreeSet<TableId>>,
    /// It has values that cannot be read: it is left where it is.
    pub is_damaged: bool,
}

impl VlogFigures {
    /// Stored bytes that nothing refers to.
    pub fn garbage_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.live_bytes)
    }

    /// The same as a share of all.
    pub fn garbage_share(&self) -> f64 {
        if self.total_bytes == 0 { 0.0 } else { float(self.garbage_bytes()) / float(self.total_bytes) }
    }

    fn can_be_rewritten(&self) -> bool {
        !self.is_damaged && self.live_bytes > 0
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are weighed, not counted")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}
