//! Changing names: creating, removing, renaming, linking.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use lsm_types::{IoError, IoKind, IoOp};

use super::content::Content;
use super::state::State;
use super::trace::{Effect, EventKind, NameChange};
use super::volume::{Ino, Node, components};

impl State {
    /// Finds the node of a path.
    pub(super) fn find(&self, op: IoOp, path: &Path) -> Result<Ino, IoError> {
        self.live.find(op, &components(op, path)?)
    }

    /// A name that is free, and its directory.
    fn free_slot<'p>(&self, op: IoOp, path: &'p Path) -> Result<(Ino, &'p OsStr), IoError> {
        let names = components(op, path)?;
        if names.is_empty() {
            return Err(IoError::new(op, IoKind::AlreadyExists));
        }
        match self.live.slot(op, &names)? {
            (dir, name, None) => Ok((dir, name)),
            _ => Err(IoError::new(op, IoKind::AlreadyExists)),
        }
    }

    /// A name that is taken, its directory, and what it stands for.
    fn taken_slot<'p>(&self, op: IoOp, path: &'p Path) -> Result<(Ino, &'p OsStr, Ino), IoError> {
        let (dir, name, ino) = self.live.slot(op, &components(op, path)?)?;
        Ok((dir, name, ino.ok_or(IoError::new(op, IoKind::NotFound))?))
    }

    /// Whether a file may lose a name, open as it may be.
    fn check_shut(&self, op: IoOp, ino: Ino) -> Result<(), IoError> {
        let refused = self.config.windows_semantics && self.open.contains_key(&ino);
        if refused { Err(IoError::new(op, IoKind::PermissionDenied)) } else { Ok(()) }
    }

    /// Whether there is room for a new name.
    fn check_room(&mut self, op: IoOp) -> Result<(), IoError> {
        let full = self.budget == Some(0) || self.free_sectors() == 0;
        if full {
            self.note_failure();
            return Err(IoError::new(op, IoKind::NoSpace));
        }
        Ok(())
    }

    /// Lets names lead elsewhere, and writes it down.
    fn change_names(&mut self, kind: EventKind, path: &Path, born: Option<Node>, changes: Vec<NameChange>) {
        let born = born.map(|node| (self.next_ino, node));
        if let Some((ino, node)) = &born {
            self.live.nodes.insert(*ino, node.clone());
            self.next_ino += 1;
        }
        for change in &changes {
            let before = self.live.entries(IoOp::Dir, change.dir).ok();
            let before = before.and_then(|entries| entries.get(&change.name).copied());
            self.live.set_name(change.dir, &change.name, change.to);
            self.changed_dirs.insert(change.dir);
            if let Some(ino) = change.to {
                *self.links.entry(ino).or_insert(0) += 1;
            }
            if let Some(ino) = before {
                if let Some(links) = self.links.get_mut(&ino) {
                    *links -= 1;
                }
                self.forget_unused(ino);
            }
        }
        self.record(kind, path, Effect::Names { born, changes });
    }

    /// Gives back what has neither name nor handle.
    pub(super) fn forget_unused(&mut self, ino: Ino) {
        if self.links.get(&ino).is_some_and(|&links| links > 0) || self.open.contains_key(&ino) {
            return;
        }
        self.links.remove(&ino);
        self.writers.remove(&ino);
        if let Some(Node::File(content)) = self.live.nodes.remove(&ino) {
            self.used_sectors -= content.sector_count();
        }
    }

    pub(super) fn create_file(&mut self, path: &Path) -> Result<Ino, IoError> {
        let (dir, name) = self.free_slot(IoOp::Open, path)?;
        self.check_room(IoOp::Open)?;
        let ino = self.next_ino;
        let node = Node::File(Arc::new(Content::new(self.config.sector)));
        let change = change(dir, name, Some(ino));
        self.change_names(EventKind::Create, path, Some(node), vec![change]);
        Ok(ino)
    }

    /// Makes an entry that is neither a file nor a directory.
    pub(super) fn create_other(&mut self, path: &Path) -> Result<(), IoError> {
        let (dir, name) = self.free_slot(IoOp::Open, path)?;
        let change = change(dir, name, Some(self.next_ino));
        self.change_names(EventKind::Create, path, Some(Node::Other), vec![change]);
        Ok(())
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> Result<(), IoError> {
        let (dir, name) = self.free_slot(IoOp::Dir, path)?;
        self.check_room(IoOp::Dir)?;
        let change = change(dir, name, Some(self.next_ino));
        self.change_names(EventKind::CreateDir, path, Some(Node::Dir(Arc::default())), vec![change]);
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> Result<(), IoError> {
        let (dir, name, ino) = self.taken_slot(IoOp::Remove, path)?;
        if !matches!(self.live.node(IoOp::Remove, ino)?, Node::Other) {
            self.live.content(IoOp::Remove, ino)?;
        }
        self.check_shut(IoOp::Remove, ino)?;
        self.change_names(EventKind::Remove, path, None, vec![change(dir, name, None)]);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> Result<(), IoError> {
        let (dir, name, ino) = self.taken_slot(IoOp::Remove, path)?;
        if !self.live.entries(IoOp::Remove, ino)?.is_empty() {
            return Err(IoError::new(IoOp::Remove, IoKind::Other));
        }
        self.change_names(EventKind::RemoveDir, path, None, vec![change(dir, name, None)]);
        Ok(())
    }

    pub(super) fn hard_link(&mut self, source: &Path, target: &Path) -> Result<(), IoError> {
        let ino = self.find(IoOp::Link, source)?;
        self.live.content(IoOp::Link, ino)?;
        let (dir, name) = self.free_slot(IoOp::Link, target)?;
        self.check_room(IoOp::Link)?;
        let kind = EventKind::Link { to: target.to_owned() };
        self.change_names(kind, source, None, vec![change(dir, name, Some(ino))]);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), IoError> {
        let refused = |kind| Err(IoError::new(IoOp::Rename, kind));
        let (from_dir, from_name, ino) = self.taken_slot(IoOp::Rename, from)?;
        let (from_names, to_names) = (components(IoOp::Rename, from)?, components(IoOp::Rename, to)?);
        if from_names.len() < to_names.len() && to_names.starts_with(&from_names) {
            return refused(IoKind::InvalidInput);
        }
        let (to_dir, to_name, replaced) = self.live.slot(IoOp::Rename, &to_names)?;
        if replaced == Some(ino) {
            // Two names of one file, or one name: POSIX leaves them.
            return Ok(());
        }
        self.check_shut(IoOp::Rename, ino)?;
        if let Some(replaced) = replaced {
            self.check_shut(IoOp::Rename, replaced)?;
            match (self.live.node(IoOp::Rename, ino)?, self.live.node(IoOp::Rename, replaced)?) {
                (Node::File(_), Node::File(_)) => {}
                (Node::Dir(_), Node::Dir(entries)) if entries.is_empty() => {}
                _ => return refused(IoKind::Other),
            }
        }
        let lost = NameChange { after_previous: true, ..change(from_dir, from_name, None) };
        let changes = vec![change(to_dir, to_name, Some(ino)), lost];
        self.change_names(EventKind::Rename { to: to.to_owned() }, from, None, changes);
        Ok(())
    }
}

fn change(dir: Ino, name: &OsStr, to: Option<Ino>) -> NameChange {
    NameChange { dir, name: name.to_owned(), to, after_previous: false }
}
