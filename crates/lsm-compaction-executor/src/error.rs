//! Why a job did not do its work.

use lsm_compaction_planner::Refusal;
use lsm_types::{Error, ErrorKind, Fault, TableId};

/// What the executor itself finds wrong; errors of the layers below pass through unchanged.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The job was stopped; nothing changed.
    #[error("the job was stopped")]
    Cancelled,
    /// An input left the tree while the job ran; nothing changed.
    #[error("table {table} left the tree while the job ran")]
    InputVanished {
        /// The table.
        table: TableId,
    },
    /// Part of the job panicked; nothing changed.
    #[error("part of the job panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// No flavour applies to the job.
    #[error("no flavour applies to the job")]
    NoFlavour,
    /// A named failure was injected.
    #[error("injected failure at `{point}`")]
    Injected {
        /// Where.
        point: &'static str,
    },
    /// The plan breaks a rule; nothing was started.
    #[error("the plan was refused: {0:?}")]
    Refused(Refusal),
}

impl Fault for ExecutorError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled | Self::InputVanished { .. } => ErrorKind::Cancelled,
            Self::Panicked { .. } | Self::Injected { .. } | Self::NoFlavour => ErrorKind::Bug,
            Self::Refused(_) => ErrorKind::InvalidArgument,
        }
    }
}

/// How an install failed.
#[derive(Clone, Debug)]
pub enum InstallError {
    /// It has not happened and never will: the outputs may be deleted.
    NotApplied(Error),
    /// It may or may not have happened: nothing it names may be deleted before the database is reopened.
    Unknown(Error),
}

impl InstallError {
    /// The error behind it.
    pub fn into_error(self) -> Error {
        match self {
            Self::NotApplied(error) | Self::Unknown(error) => error,
        }
    }
}
