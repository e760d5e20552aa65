//! Making things durable, or failing to.

use std::path::Path;
use std::sync::Arc;

use lsm_fs::SyncLevel;
use lsm_types::{IoError, IoKind, IoOp};

use super::content::{Content, DataEffect, Part};
use super::faults::Failure;
use super::replay::Replay;
use super::state::{State, Target};
use super::trace::{Durability, Effect, EventKind, Scope};
use super::volume::{Ino, Node};

impl State {
    pub(super) fn sync(&mut self, on: &Target<'_>, level: SyncLevel) -> Result<(), IoError> {
        if level == SyncLevel::None {
            return Ok(());
        }
        let mut failure = self.strike(IoOp::Sync, &[on.path]);
        if failure.is_none() && level != SyncLevel::Barrier && self.overdrawn.remove(&on.ino) {
            failure = Some(Failure::Losing(IoKind::NoSpace));
            self.note_failure();
        }
        let own = self.config.own_syncs_only;
        let is_covered = |writer: &u64| !own || *writer == on.handle;
        let dirty = self.writers.get(&on.ino).is_some_and(|writers| writers.iter().any(is_covered));
        let what = Scope::File(on.ino);
        match failure {
            Some(Failure::Losing(_) | Failure::Dropping(_)) => {
                self.writers.remove(&on.ino);
                let effect = durability(what, Durability::Lost, None, dirty);
                if matches!(failure, Some(Failure::Dropping(_))) {
                    self.drop_dirty(on.ino);
                }
                self.record(EventKind::SyncLost, on.path, effect);
            }
            None | Some(Failure::After(_)) => {
                let how = if level == SyncLevel::Barrier { Durability::Ordered } else { Durability::Yes };
                if let Some(writers) = self.writers.get(&on.ino)
                    && writers.iter().any(|&writer| writer != on.handle)
                {
                    self.foreign_syncs.push(self.trace.len());
                }
                if let (Durability::Yes, Some(writers)) = (how, self.writers.get_mut(&on.ino)) {
                    writers.retain(|writer| own && *writer != on.handle);
                }
                let by = self.config.own_syncs_only.then_some(on.handle);
                self.record(EventKind::Sync(level), on.path, durability(what, how, by, dirty));
            }
            Some(_) => {}
        }
        failure.and_then(|failure| failure.kind()).map_or(Ok(()), |kind| Err(IoError::new(IoOp::Sync, kind)))
    }

    pub(super) fn sync_dir(&mut self, path: &Path, level: SyncLevel) -> Result<(), IoError> {
        let dir = self.find(IoOp::SyncDir, path)?;
        self.live.entries(IoOp::SyncDir, dir)?;
        if level == SyncLevel::None {
            return Ok(());
        }
        if self.config.windows_semantics {
            self.record(EventKind::SyncDir(level), path, Effect::Nothing);
            return Ok(());
        }
        let failure = self.strike(IoOp::SyncDir, &[path]);
        let dirty = self.changed_dirs.contains(&dir);
        let what = Scope::Dir(dir);
        match failure {
            Some(Failure::Losing(_) | Failure::Dropping(_)) => {
                self.changed_dirs.remove(&dir);
                self.record(EventKind::SyncDirLost, path, durability(what, Durability::Lost, None, dirty));
            }
            None | Some(Failure::After(_)) => {
                let how = if level == SyncLevel::Barrier { Durability::Ordered } else { Durability::Yes };
                if how == Durability::Yes {
                    self.changed_dirs.remove(&dir);
                }
                self.record(EventKind::SyncDir(level), path, durability(what, how, None, dirty));
            }
            Some(_) => {}
        }
        failure
            .and_then(|failure| failure.kind())
            .map_or(Ok(()), |kind| Err(IoError::new(IoOp::SyncDir, kind)))
    }

    /// Lets reads show what is durable of a file, as where dirty pages are thrown away. The length stays, and zeros
    /// stand where nothing is durable.
    fn drop_dirty(&mut self, ino: Ino) {
        let mut replay = Replay::new(self.initial.clone(), self.config);
        for event in &self.trace {
            replay.advance(event);
        }
        let Some(Node::File(live)) = self.live.nodes.get_mut(&ino) else { return };
        let mut durable = match replay.durable.nodes.get(&ino) {
            Some(Node::File(durable)) => Content::clone(durable),
            _ => Content::new(self.config.sector),
        };
        durable.apply(&DataEffect { len: Some(live.len()), ..DataEffect::default() }, Part::ALL);
        if durable.is_ragged() {
            durable.trim();
        }
        self.used_sectors = self.used_sectors - live.sector_count() + durable.sector_count();
        *live = Arc::new(durable);
    }

    /// Makes a file's contents durable, whatever faults are planned.
    pub(super) fn settle_file(&mut self, on: &Target<'_>) {
        self.writers.remove(&on.ino);
        let effect = durability(Scope::File(on.ino), Durability::Yes, None, true);
        self.record(EventKind::Sync(SyncLevel::Device), on.path, effect);
    }

    /// Makes the names around a path durable, whatever faults are planned.
    pub(super) fn settle_parent(&mut self, path: &Path) -> Result<(), IoError> {
        let parent = path.parent().unwrap_or(path);
        let dir = self.find(IoOp::SyncDir, parent)?;
        self.changed_dirs.remove(&dir);
        let effect = durability(Scope::Dir(dir), Durability::Yes, None, true);
        self.record(EventKind::SyncDir(SyncLevel::Device), parent, effect);
        Ok(())
    }
}

/// The effect of a sync, or none where there was nothing to sync.
fn durability(what: Scope, how: Durability, by: Option<u64>, dirty: bool) -> Effect {
    if dirty { Effect::Durable { what, how, by } } else { Effect::Nothing }
}
