//! What happened, in order.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use lsm_fs::SyncLevel;

use super::content::DataEffect;
use super::volume::{Ino, Node};

/// One operation that changed the file system or its durability.
#[derive(Debug)]
pub struct Event {
    /// What was done.
    pub kind: EventKind,
    /// What it was done to: the name at that time, or the name a handle was opened by.
    pub path: PathBuf,
    /// What the program was doing; see [`crate::sim::SimFs::label`].
    pub label: Option<Arc<str>>,
    pub(super) effect: Effect,
}

/// Kind of an operation in the trace.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// Created a file.
    Create,
    /// Created a directory.
    CreateDir,
    /// Wrote this many bytes.
    Write {
        /// First byte.
        offset: u64,
        /// Bytes that landed.
        len: u64,
    },
    /// Set the length, or extended it by an allocation.
    SetLen(u64),
    /// Punched a hole.
    Punch {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Gave a file another name.
    Link {
        /// The new name.
        to: PathBuf,
    },
    /// Renamed.
    Rename {
        /// The new name.
        to: PathBuf,
    },
    /// Removed the name of a file.
    Remove,
    /// Removed a directory.
    RemoveDir,
    /// Synced a file.
    Sync(SyncLevel),
    /// Failed to sync a file, and dropped what was unsynced.
    SyncLost,
    /// Synced a directory.
    SyncDir(SyncLevel),
    /// Failed to sync a directory, and dropped what was unsynced.
    SyncDirLost,
}

/// What an operation does to what may survive.
#[derive(Debug)]
pub(super) enum Effect {
    Data {
        ino: Ino,
        /// Who wrote it.
        handle: u64,
        effect: Arc<DataEffect>,
    },
    Names {
        born: Option<(Ino, Node)>,
        changes: Vec<NameChange>,
    },
    /// What was done to these objects so far is now this durable.
    Durable {
        what: Scope,
        how: Durability,
        /// Only what this handle wrote; all of it where there is none.
        by: Option<u64>,
    },
    /// A sync that found nothing to do.
    Nothing,
}

/// One name that leads elsewhere now.
#[derive(Clone, Debug)]
pub(super) struct NameChange {
    pub(super) dir: Ino,
    pub(super) name: OsString,
    pub(super) to: Option<Ino>,
    /// The old name of a rename goes only where the change before this one, its new name, survives.
    pub(super) after_previous: bool,
}

/// What a sync is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    /// Contents and length of a file.
    File(Ino),
    /// Names in a directory.
    Dir(Ino),
}

/// What a sync achieves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Durability {
    /// All of it survives.
    Yes,
    /// What comes later survives only with all of it.
    Ordered,
    /// No later sync will make it survive.
    Lost,
}

impl Event {
    /// Whether a crash before and after this event may leave different states.
    pub(super) fn matters(&self) -> bool {
        !matches!(self.effect, Effect::Nothing)
    }

    /// Where in the program the event came from: its label, what it did, and to which kind of file. Events of one site
    /// differ in numbers alone, so a site stands for one line of the program more or less.
    pub fn site(&self) -> String {
        let what = match &self.kind {
            EventKind::Create => "create",
            EventKind::CreateDir => "create directory",
            EventKind::Write { .. } => "write",
            EventKind::SetLen(_) => "set length",
            EventKind::Punch { .. } => "punch",
            EventKind::Link { .. } => "link",
            EventKind::Rename { .. } => "rename",
            EventKind::Remove => "remove",
            EventKind::RemoveDir => "remove directory",
            EventKind::Sync(_) => "sync",
            EventKind::SyncLost => "failed sync",
            EventKind::SyncDir(_) => "sync directory",
            EventKind::SyncDirLost => "failed sync directory",
        };
        let label = self.label.as_deref().map_or(String::new(), |label| format!("{label}: "));
        format!("{label}{what} {}", without_numbers(&self.path.to_string_lossy()))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        if let Some(label) = &self.label {
            write!(f, "[{label}] ")?;
        }
        match &self.kind {
            EventKind::Create => write!(f, "create {path}"),
            EventKind::CreateDir => write!(f, "create directory {path}"),
            EventKind::Write { offset, len } => write!(f, "write {path} at {offset}, {len} bytes"),
            EventKind::SetLen(len) => write!(f, "set length of {path} to {len}"),
            EventKind::Punch { offset, len } => write!(f, "punch {path} at {offset}, {len} bytes"),
            EventKind::Link { to } => write!(f, "link {path} to {}", to.display()),
            EventKind::Rename { to } => write!(f, "rename {path} to {}", to.display()),
            EventKind::Remove => write!(f, "remove {path}"),
            EventKind::RemoveDir => write!(f, "remove directory {path}"),
            EventKind::Sync(level) => write!(f, "sync {path} ({level:?})"),
            EventKind::SyncLost => write!(f, "sync {path}: failed, dirty bytes dropped"),
            EventKind::SyncDir(level) => write!(f, "sync directory {path} ({level:?})"),
            EventKind::SyncDirLost => write!(f, "sync directory {path}: failed, names dropped"),
        }
    }
}

/// The path with every run of digits as `#`.
fn without_numbers(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    for character in path.chars() {
        match character {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_left_out_of_a_site() {
        assert_eq!(without_numbers("/db2/tables/000017.sst"), "/db#/tables/#.sst");
    }
}
