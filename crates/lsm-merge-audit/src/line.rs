//! What is told about a merge, and what is wrong with one.

use std::fmt;

use lsm_compaction_executor::DropCounts;
use lsm_types::{ErrorKind, Fault, Level, TableId};

/// What became of a merge.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// It was written and is in order; what follows is the commit.
    Written,
    /// It was written and is not in order; it has no effect.
    Refused,
    /// It failed or was stopped; it has no effect.
    Abandoned,
}

/// A merge. [`fmt::Display`] makes one line of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditLine {
    /// What became of it.
    pub verdict: Verdict,
    /// Tables that were read, newest run first.
    pub inputs: Vec<TableId>,
    /// Tables that were written, in key order.
    pub outputs: Vec<TableId>,
    /// The level of the outputs.
    pub dest: Level,
    /// Bytes of the files read.
    pub bytes_in: u64,
    /// Bytes of the files written.
    pub bytes_out: u64,
    /// Entries of the inputs.
    pub entries_in: u64,
    /// Entries written.
    pub entries_out: u64,
    /// Entries that were left out, by reason.
    pub dropped: DropCounts,
}

impl fmt::Display for AuditLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Written => "written",
            Verdict::Refused => "refused",
            Verdict::Abandoned => "abandoned",
        };
        write!(f, "{verdict}: tables")?;
        self.inputs.iter().try_for_each(|table| write!(f, " {table}"))?;
        write!(f, " ->")?;
        self.outputs.iter().try_for_each(|table| write!(f, " {table}"))?;
        write!(f, " in L{}, {} of {} entries kept", self.dest.get(), self.entries_out, self.entries_in)?;
        let DropCounts { shadowed, evicted, annihilated, range_deleted, folded, filtered } = self.dropped;
        let reasons = [
            (shadowed, "shadowed"),
            (evicted, "evicted"),
            (annihilated, "annihilated"),
            (range_deleted, "range-deleted"),
            (folded, "folded"),
            (filtered, "filtered"),
        ];
        let mut mark = "; dropped:";
        for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{mark} {count} {reason}")?;
            mark = ",";
        }
        Ok(())
    }
}

/// Why a merge is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Two tables are not in key order, or share keys.
    #[error("table {next} does not lie behind table {table}")]
    Disorder {
        /// A table.
        table: TableId,
        /// The one written after it.
        next: TableId,
    },
    /// Entries came from nowhere.
    #[error("{entries_out} entries were written, {entries_in} were read")]
    Grown {
        /// Entries read.
        entries_in: u64,
        /// Entries written.
        entries_out: u64,
    },
}

impl Fault for AuditError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Bug
    }
}
