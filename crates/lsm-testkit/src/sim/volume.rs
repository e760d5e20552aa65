//! A tree of names over numbered files and directories.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};
use std::sync::Arc;

use lsm_types::{IoError, IoKind, IoOp};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::content::Content;

/// Number of a file or directory; never given twice.
pub(super) type Ino = u64;

/// The directory at the top.
pub(super) const ROOT: Ino = 0;

/// Names in a directory.
pub(super) type Entries = BTreeMap<OsString, Ino>;

/// A file or directory, shared by all states that have it.
#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Arc<Content>),
    Dir(Arc<Entries>),
    /// A symbolic link to nowhere, a socket: an entry that is neither.
    Other,
}

/// Files and directories by number, reachable or not.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) nodes: BTreeMap<Ino, Node>,
}

/// The part of a volume that has names.
pub(super) struct Reachable {
    pub(super) volume: Volume,
    /// How many names each file has.
    pub(super) links: BTreeMap<Ino, u64>,
    /// Tells states apart by their names, contents and numbers of names.
    pub(super) hash: u64,
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

impl Volume {
    /// A root without entries.
    pub(super) fn new() -> Self {
        Self { nodes: BTreeMap::from([(ROOT, Node::Dir(Arc::default()))]) }
    }

    pub(super) fn node(&self, op: IoOp, ino: Ino) -> Result<&Node, IoError> {
        self.nodes.get(&ino).ok_or(IoError::new(op, IoKind::NotFound))
    }

    pub(super) fn entries(&self, op: IoOp, ino: Ino) -> Result<&Entries, IoError> {
        match self.node(op, ino)? {
            Node::Dir(entries) => Ok(entries),
            Node::File(_) | Node::Other => Err(IoError::new(op, IoKind::Other)),
        }
    }

    pub(super) fn content(&self, op: IoOp, ino: Ino) -> Result<&Arc<Content>, IoError> {
        match self.node(op, ino)? {
            Node::File(content) => Ok(content),
            Node::Dir(_) | Node::Other => Err(IoError::new(op, IoKind::Other)),
        }
    }

    /// What the names lead to.
    pub(super) fn find(&self, op: IoOp, names: &[&OsStr]) -> Result<Ino, IoError> {
        names.iter().try_fold(ROOT, |dir, &name| {
            self.entries(op, dir)?.get(name).copied().ok_or(IoError::new(op, IoKind::NotFound))
        })
    }

    /// The names as the directories spell them, where case does not tell names apart.
    pub(super) fn spelled(&self, names: &[&OsStr]) -> Vec<OsString> {
        let mut dir = Some(ROOT);
        let spell = |&name: &&OsStr| {
            let entries = dir.and_then(|dir| self.entries(IoOp::Dir, dir).ok());
            let same = |(known, _): &(&OsString, &Ino)| known.eq_ignore_ascii_case(name);
            let found = entries.and_then(|entries| entries.iter().find(same));
            dir = found.map(|(_, &ino)| ino);
            found.map_or_else(|| name.to_owned(), |(known, _)| known.clone())
        };
        names.iter().map(spell).collect()
    }

    /// The directory that holds, or would hold, the last name; that name; and what it leads to now.
    pub(super) fn slot<'n>(
        &self,
        op: IoOp,
        names: &[&'n OsStr],
    ) -> Result<(Ino, &'n OsStr, Option<Ino>), IoError> {
        let (&name, parents) = names.split_last().ok_or(IoError::new(op, IoKind::Other))?;
        let dir = self.find(op, parents)?;
        Ok((dir, name, self.entries(op, dir)?.get(name).copied()))
    }

    /// Lets a name lead somewhere, or nowhere.
    pub(super) fn set_name(&mut self, dir: Ino, name: &OsStr, to: Option<Ino>) {
        if let Some(Node::Dir(entries)) = self.nodes.get_mut(&dir) {
            set_entry(Arc::make_mut(entries), name, to);
        }
    }
}

pub(super) fn set_entry(entries: &mut Entries, name: &OsStr, to: Option<Ino>) {
    match to {
        Some(ino) => _ = entries.insert(name.to_owned(), ino),
        None => _ = entries.remove(name),
    }
}

/// Collects what has a name, given what each number stands for.
pub(super) fn reachable(node: impl Fn(Ino) -> Option<Node>) -> Reachable {
    let mut found = Reachable { volume: Volume { nodes: BTreeMap::new() }, links: BTreeMap::new(), hash: 0 };
    let mut names = Vec::new();
    let mut dirs = vec![(ROOT, 0)];
    let mut seen = BTreeSet::from([ROOT]);
    while let Some((dir, path)) = dirs.pop() {
        let Some(Node::Dir(mut entries)) = node(dir) else { continue };
        let mut twice = Vec::new();
        for (name, &ino) in entries.iter() {
            let path = xxh3_64_with_seed(name.as_encoded_bytes(), path);
            match node(ino) {
                Some(Node::File(content)) => {
                    names.push((ino, path, content.hash()));
                    *found.links.entry(ino).or_insert(0) += 1;
                    found.volume.nodes.insert(ino, Node::File(content));
                }
                // Where half a rename survived, a directory has two names. It keeps the first one met.
                Some(Node::Dir(_)) if seen.insert(ino) => {
                    found.hash = found.hash.wrapping_add(xxh3_64_with_seed(b"directory", path));
                    dirs.push((ino, path));
                }
                Some(Node::Other) => {
                    found.hash = found.hash.wrapping_add(xxh3_64_with_seed(b"other", path));
                    found.volume.nodes.insert(ino, Node::Other);
                }
                Some(Node::Dir(_)) | None => twice.push(name.clone()),
            }
        }
        for name in twice {
            Arc::make_mut(&mut entries).remove(&name);
        }
        found.volume.nodes.insert(dir, Node::Dir(entries));
    }
    for (ino, path, content) in names {
        let links = found.links.get(&ino).copied().unwrap_or(0);
        let weight = xxh3_64_with_seed(&content.to_le_bytes(), path.wrapping_add(links));
        found.hash = found.hash.wrapping_add(weight);
    }
    found
}
