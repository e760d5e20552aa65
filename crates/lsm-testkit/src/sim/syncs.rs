//! Making things durable, or failing to.

use std::path::Path;

use lsm_fs::SyncLevel;
use lsm_types::{IoError, IoOp};

use super::faults::Failure;
use super::state::{State, Target};
use super::trace::{Durability, Effect, EventKind, Scope};

impl State {
    pub(super) fn sync(&mut self, on: &Target<'_>, level: SyncLevel) -> Result<(), IoError> {
        if level == SyncLevel::None {
            return Ok(());
        }
        let failure = self.faults.strike(IoOp::Sync, &[on.path]);
        let dirty = self.writers.get(&on.ino).is_some_and(|writers| !writers.is_empty());
        let what = Scope::File(on.ino);
        match failure {
            Some(Failure::Before(_) | Failure::Short(..)) => {}
            Some(Failure::Losing(_)) => {
                self.writers.remove(&on.ino);
                let effect = durability(what, Durability::Lost, dirty);
                self.record(EventKind::SyncLost, on.path, effect);
            }
            None | Some(Failure::After(_)) => {
                let how = if level == SyncLevel::Barrier { Durability::Ordered } else { Durability::Yes };
                if let Some(writers) = self.writers.get(&on.ino)
                    && writers.iter().any(|&writer| writer != on.handle)
                {
                    self.foreign_syncs.push(self.trace.len());
                }
                if how == Durability::Yes {
                    self.writers.remove(&on.ino);
                }
                self.record(EventKind::Sync(level), on.path, durability(what, how, dirty));
            }
        }
        failure.map_or(Ok(()), |failure| Err(IoError::new(IoOp::Sync, failure.kind())))
    }

    pub(super) fn sync_dir(&mut self, path: &Path, level: SyncLevel) -> Result<(), IoError> {
        let dir = self.find(IoOp::SyncDir, path)?;
        self.live.entries(IoOp::SyncDir, dir)?;
        if level == SyncLevel::None {
            return Ok(());
        }
        let failure = self.faults.strike(IoOp::SyncDir, &[path]);
        let dirty = self.changed_dirs.contains(&dir);
        let what = Scope::Dir(dir);
        match failure {
            Some(Failure::Before(_) | Failure::Short(..)) => {}
            Some(Failure::Losing(_)) => {
                self.changed_dirs.remove(&dir);
                self.record(EventKind::SyncDirLost, path, durability(what, Durability::Lost, dirty));
            }
            None | Some(Failure::After(_)) => {
                let how = if level == SyncLevel::Barrier { Durability::Ordered } else { Durability::Yes };
                if how == Durability::Yes {
                    self.changed_dirs.remove(&dir);
                }
                self.record(EventKind::SyncDir(level), path, durability(what, how, dirty));
            }
        }
        failure.map_or(Ok(()), |failure| Err(IoError::new(IoOp::SyncDir, failure.kind())))
    }

    /// Makes a file's contents durable, whatever faults are planned.
    pub(super) fn settle_file(&mut self, on: &Target<'_>) {
        self.writers.remove(&on.ino);
        let effect = durability(Scope::File(on.ino), Durability::Yes, true);
        self.record(EventKind::Sync(SyncLevel::Device), on.path, effect);
    }

    /// Makes the names around a path durable, whatever faults are planned.
    pub(super) fn settle_parent(&mut self, path: &Path) -> Result<(), IoError> {
        let parent = path.parent().unwrap_or(path);
        let dir = self.find(IoOp::SyncDir, parent)?;
        self.changed_dirs.remove(&dir);
        let effect = durability(Scope::Dir(dir), Durability::Yes, true);
        self.record(EventKind::SyncDir(SyncLevel::Device), parent, effect);
        Ok(())
    }
}

/// The effect of a sync, or none where there was nothing to sync.
fn durability(what: Scope, how: Durability, dirty: bool) -> Effect {
    if dirty { Effect::Durable { what, how } } else { Effect::Nothing }
}
