//! What a task ends with when it does not succeed.

use std::fmt;
use std::path::PathBuf;

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// A file or directory could not be used.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program could not be started.
    #[error("cannot start `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program ran and failed.
    #[error("`{command}` ended with {status}")]
    Command {
        /// The whole command line.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// The output of a program is not what it should be.
    #[error("output of `{command}` cannot be read: {source}")]
    Output {
        /// The whole command line.
        command: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The task was called wrongly.
    #[error("{0}")]
    Usage(String),
    /// A strategy that was simulated made a plan that may not run.
    #[error("strategy {strategy}: {source}")]
    Strategy {
        /// Which one.
        strategy: String,
        /// What it did.
        source: lsm_compaction_planner::sim::SimError,
    },
    /// A check found faults; one line each.
    #[error("{0}")]
    Findings(Findings),
}

/// Faults found by a check, one line each.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    /// Notes one fault.
    pub(crate) fn add(&mut self, line: impl Into<String>) {
        self.0.push(line.into());
    }

    /// Success when nothing was found.
    pub(crate) fn into_result(self) -> Result<(), Trouble> {
        if self.0.is_empty() { Ok(()) } else { Err(Trouble::Findings(self)) }
    }

    #[cfg(test)]
    pub(crate) fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} found", self.0.len())?;
        for line in &self.0 {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}
