//! Names and directories.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};
use std::sync::Arc;

use lsm_types::{IoError, IoKind, IoOp};

use super::inode::Inode;
use crate::{EntryKind, InodeId, Metadata};

/// A directory and everything below it.
pub(super) struct Tree {
    number: u64,
    pub(super) entries: BTreeMap<OsString, Node>,
}

/// What a name stands for.
pub(super) enum Node {
    File(Arc<Inode>),
    Dir(Tree),
}

/// The names on the way from the root; the root itself has none.
pub(super) fn components(op: IoOp, path: &Path) -> Result<Vec<&OsStr>, IoError> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(IoError::new(op, IoKind::InvalidInput));
            }
        }
    }
    Ok(names)
}

impl Node {
    pub(super) fn kind(&self) -> EntryKind {
        match self {
            Self::File(_) => EntryKind::File,
            Self::Dir(_) => EntryKind::Dir,
        }
    }

    pub(super) fn file(&self, op: IoOp) -> Result<&Arc<Inode>, IoError> {
        match self {
            Self::File(inode) => Ok(inode),
            Self::Dir(_) => Err(IoError::new(op, IoKind::Other)),
        }
    }

    fn is_same_file(&self, other: &Self) -> bool {
        matches!((self, other), (Self::File(a), Self::File(b)) if Arc::ptr_eq(a, b))
    }
}

impl Tree {
    pub(super) fn new(number: u64) -> Self {
        Self { number, entries: BTreeMap::new() }
    }

    pub(super) fn metadata(&self) -> Metadata {
        let inode = Some(InodeId { device: 0, number: self.number });
        Metadata { len: 0, kind: EntryKind::Dir, nlink: Some(1), inode }
    }

    /// The directory that the names lead to.
    pub(super) fn dir(&self, op: IoOp, names: &[&OsStr]) -> Result<&Self, IoError> {
        names.iter().try_fold(self, |dir, &name| match dir.entries.get(name) {
            Some(Node::Dir(inner)) => Ok(inner),
            Some(Node::File(_)) => Err(IoError::new(op, IoKind::Other)),
            None => Err(IoError::new(op, IoKind::NotFound)),
        })
    }

    /// What the names lead to; the root is no node.
    pub(super) fn node(&self, op: IoOp, names: &[&OsStr]) -> Result<&Node, IoError> {
        let (name, parents) = names.split_last().ok_or(IoError::new(op, IoKind::Other))?;
        let node = self.dir(op, parents)?.entries.get(*name);
        node.ok_or(IoError::new(op, IoKind::NotFound))
    }

    /// The directory that holds, or would hold, the last name, and that name.
    pub(super) fn parent<'n>(
        &mut self,
        op: IoOp,
        names: &[&'n OsStr],
    ) -> Result<(&mut Self, &'n OsStr), IoError> {
        let (&name, parents) = names.split_last().ok_or(IoError::new(op, IoKind::Other))?;
        let dir = parents.iter().try_fold(self, |dir, &name| match dir.entries.get_mut(name) {
            Some(Node::Dir(inner)) => Ok(inner),
            Some(Node::File(_)) => Err(IoError::new(op, IoKind::Other)),
            None => Err(IoError::new(op, IoKind::NotFound)),
        })?;
        Ok((dir, name))
    }

    /// Moves a name; checks everything before it changes anything.
    pub(super) fn rename(&mut self, from: &[&OsStr], to: &[&OsStr]) -> Result<(), IoError> {
        let refused = |kind| Err(IoError::new(IoOp::Rename, kind));
        let source = self.node(IoOp::Rename, from)?;
        let below_itself = from.len() < to.len() && to.starts_with(from);
        if below_itself {
            return refused(IoKind::InvalidInput);
        }
        if from == to {
            return Ok(());
        }
        match (source, self.node(IoOp::Rename, to)) {
            (_, Err(error)) if error.kind == IoKind::NotFound => {}
            (_, Err(error)) => return Err(error),
            // Two names of one file: POSIX leaves both.
            (source, Ok(target)) if source.is_same_file(target) => return Ok(()),
            (Node::File(_), Ok(Node::File(_))) => {}
            (Node::Dir(_), Ok(Node::Dir(target))) if target.entries.is_empty() => {}
            (_, Ok(_)) => return refused(IoKind::Other),
        }
        self.parent(IoOp::Rename, to)?;
        let (dir, name) = self.parent(IoOp::Rename, from)?;
        let Some(moved) = dir.entries.remove(name) else { return refused(IoKind::NotFound) };
        let (dir, name) = self.parent(IoOp::Rename, to)?;
        if let Some(Node::File(replaced)) = dir.entries.insert(name.to_owned(), moved) {
            replaced.remove_name();
        }
        Ok(())
    }
}
