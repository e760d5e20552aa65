//! Files in memory, with real inodes.

mod file;
mod inode;
mod pages;
mod space;
mod tree;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_types::{IoError, IoKind, IoOp};
use parking_lot::RwLock;

use self::file::MemFile;
use self::inode::Inode;
use self::space::Space;
use self::tree::{Node, Tree, components};
use crate::{
    Capabilities, Capability, Creation, DirEntry, Fs, FsFile, Metadata, NamespaceId, OpenOptions, SyncLevel,
    VolumeId,
};

/// Files in memory: for tests, and for stores that need not outlive the process.
///
/// It behaves like a disk in everything but durability: links share contents, an unlinked file lives on in its open
/// handles, locks conflict within the process, and writes fail when the capacity is used up. Clones share one
/// namespace; nothing outlives the last of them and their open files. Paths are taken from the root, with or without a
/// leading slash; `..` is refused. Space is counted in pages of 4 KiB.
#[derive(Clone)]
pub struct MemFs {
    shared: Arc<Shared>,
}

struct Shared {
    namespace: NamespaceId,
    tree: RwLock<Tree>,
    space: Arc<Space>,
    /// Numbers inodes and handles; no number is given twice.
    next_number: AtomicU64,
}

impl MemFs {
    /// An empty namespace bounded by the machine's memory alone.
    pub fn new() -> Self {
        Self::with_capacity(u64::MAX)
    }

    /// An empty namespace whose files occupy at most `capacity_bytes`, rounded down to whole pages.
    pub fn with_capacity(capacity_bytes: u64) -> Self {
        let shared = Shared {
            namespace: NamespaceId::fresh(),
            tree: RwLock::new(Tree::new(0)),
            space: Arc::new(Space::new(capacity_bytes)),
            next_number: AtomicU64::new(1),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Bytes that files occupy: whole pages, without holes, open files without a name included.
    pub fn used_bytes(&self) -> u64 {
        self.shared.space.used_bytes()
    }

    fn number(&self) -> u64 {
        self.shared.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Finds the file, or creates it where the options say so.
    fn find_or_create(&self, path: &Path, creation: Creation) -> Result<Arc<Inode>, IoError> {
        let names = components(IoOp::Open, path)?;
        if creation == Creation::Existing {
            return self.shared.tree.read().node(IoOp::Open, &names)?.file(IoOp::Open).cloned();
        }
        let mut tree = self.shared.tree.write();
        let (dir, name) = tree.parent(IoOp::Open, &names)?;
        if let Some(node) = dir.entries.get(name) {
            if creation == Creation::New {
                return Err(IoError::new(IoOp::Open, IoKind::AlreadyExists));
            }
            return node.file(IoOp::Open).cloned();
        }
        let inode = Arc::new(Inode::new(self.number(), Arc::clone(&self.shared.space)));
        inode.add_name();
        dir.entries.insert(name.to_owned(), Node::File(Arc::clone(&inode)));
        Ok(inode)
    }
}

impl Default for MemFs {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemFs").field("used_bytes", &self.used_bytes()).finish_non_exhaustive()
    }
}

impl Fs for MemFs {
    fn open(&self, path: &Path, options: &OpenOptions) -> Result<Arc<dyn FsFile>, IoError> {
        options.check()?;
        let inode = self.find_or_create(path, options.creation)?;
        if options.truncate {
            inode.set_len(0);
        }
        Ok(Arc::new(MemFile::new(inode, self.number(), options.write)))
    }

    fn create_dir(&self, path: &Path) -> Result<(), IoError> {
        let names = components(IoOp::Dir, path)?;
        if names.is_empty() {
            return Err(IoError::new(IoOp::Dir, IoKind::AlreadyExists));
        }
        let mut tree = self.shared.tree.write();
        let (dir, name) = tree.parent(IoOp::Dir, &names)?;
        if dir.entries.contains_key(name) {
            return Err(IoError::new(IoOp::Dir, IoKind::AlreadyExists));
        }
        dir.entries.insert(name.to_owned(), Node::Dir(Tree::new(self.number())));
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>, IoError> {
        let names = components(IoOp::Dir, path)?;
        let tree = self.shared.tree.read();
        let dir = tree.dir(IoOp::Dir, &names)?;
        let entry = |(name, node): (_, &Node)| DirEntry { name: Clone::clone(name), kind: node.kind() };
        Ok(dir.entries.iter().map(entry).collect())
    }

    fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        let names = components(IoOp::Remove, path)?;
        let mut tree = self.shared.tree.write();
        let (dir, name) = tree.parent(IoOp::Remove, &names)?;
        let node = dir.entries.get(name).ok_or(IoError::new(IoOp::Remove, IoKind::NotFound))?;
        node.file(IoOp::Remove)?.remove_name();
        dir.entries.remove(name);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> Result<(), IoError> {
        let names = components(IoOp::Remove, path)?;
        let mut tree = self.shared.tree.write();
        let (dir, name) = tree.parent(IoOp::Remove, &names)?;
        match dir.entries.get(name) {
            None => Err(IoError::new(IoOp::Remove, IoKind::NotFound)),
            Some(Node::Dir(inner)) if inner.entries.is_empty() => {
                dir.entries.remove(name);
                Ok(())
            }
            Some(_) => Err(IoError::new(IoOp::Remove, IoKind::Other)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        let (from, to) = (components(IoOp::Rename, from)?, components(IoOp::Rename, to)?);
        self.shared.tree.write().rename(&from, &to)
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, IoError> {
        let names = components(IoOp::Dir, path)?;
        let tree = self.shared.tree.read();
        if names.is_empty() {
            return Ok(tree.metadata());
        }
        Ok(match tree.node(IoOp::Dir, &names)? {
            Node::File(inode) => inode.metadata(),
            Node::Dir(dir) => dir.metadata(),
        })
    }

    /// Nothing to do: nothing here outlives the process, so every name is as durable as it gets.
    fn sync_dir(&self, path: &Path, _level: SyncLevel) -> Result<(), IoError> {
        let names = components(IoOp::SyncDir, path)?;
        self.shared.tree.read().dir(IoOp::SyncDir, &names).map(|_| ())
    }

    fn hard_link(&self, source: &Path, target: &Path) -> Result<(), IoError> {
        let (source, target) = (components(IoOp::Link, source)?, components(IoOp::Link, target)?);
        let mut tree = self.shared.tree.write();
        let inode = tree.node(IoOp::Link, &source)?.file(IoOp::Link).cloned()?;
        let (dir, name) = tree.parent(IoOp::Link, &target)?;
        if dir.entries.contains_key(name) {
            return Err(IoError::new(IoOp::Link, IoKind::AlreadyExists));
        }
        inode.add_name();
        dir.entries.insert(name.to_owned(), Node::File(inode));
        Ok(())
    }

    fn available_space(&self, _path: &Path) -> Result<Option<u64>, IoError> {
        Ok(Some(self.shared.space.free_bytes()))
    }

    fn volume_id(&self, _path: &Path) -> Result<Option<VolumeId>, IoError> {
        Ok(Some(VolumeId(0)))
    }

    fn namespace_id(&self) -> Option<NamespaceId> {
        Some(self.shared.namespace)
    }

    fn capabilities(&self, _path: &Path) -> Result<Capabilities, IoError> {
        let promised = [Capability::PunchHole, Capability::Allocate, Capability::Locks];
        Ok(promised.into_iter().fold(Capabilities::NONE, Capabilities::with))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AllocateMode;

    const PAGE: u64 = 4 << 10;

    fn create(fs: &MemFs, path: &str) -> Arc<dyn FsFile> {
        fs.open(Path::new(path), &OpenOptions::CREATE_NEW).unwrap()
    }

    /// Proves D-8 (memory backend: writes fail when the capacity is used up, and say how much landed).
    #[test]
    fn a_full_store_takes_what_fits_and_says_so() {
        let fs = MemFs::with_capacity(2 * PAGE + 17);
        let file = create(&fs, "a");
        let error = file.append(&vec![1; 3 << 12]).unwrap_err();
        assert_eq!((error.written, error.source.kind), (2 << 12, IoKind::NoSpace));
        assert_eq!(file.len().unwrap(), 2 * PAGE);
        assert_eq!(fs.available_space(Path::new("/")).unwrap(), Some(0));
        // What is there can be overwritten, and what is removed can be used again.
        file.write_at(5, b"x").unwrap();
        file.set_len(PAGE).unwrap();
        create(&fs, "b").append(&[2; 100]).unwrap();
        assert_eq!(fs.used_bytes(), 2 * PAGE);
    }

    /// Proves D-8 (memory backend: an open file without a name occupies its space until it is closed).
    #[test]
    fn an_unlinked_file_occupies_space_while_it_is_open() {
        let fs = MemFs::with_capacity(PAGE);
        let file = create(&fs, "a");
        file.append(b"still here").unwrap();
        fs.remove_file(Path::new("a")).unwrap();
        assert_eq!(fs.used_bytes(), PAGE);
        drop(file);
        assert_eq!(fs.used_bytes(), 0);
    }

    /// Proves D-8 (memory backend: punched ranges and reservations are accounted for).
    #[test]
    fn holes_give_space_back_and_reservations_take_it() {
        let fs = MemFs::with_capacity(4 * PAGE);
        let file = create(&fs, "a");
        file.append(&[3; 4 << 12]).unwrap();
        file.punch_hole(PAGE - 1, PAGE + 2).unwrap();
        assert_eq!((fs.used_bytes(), file.len().unwrap()), (3 * PAGE, 4 * PAGE));
        let mut around = [9; 4];
        file.read_at(PAGE - 2, &mut around).unwrap();
        assert_eq!(around, [3, 0, 0, 0]);

        let other = create(&fs, "b");
        other.allocate(0, PAGE, AllocateMode::KeepLen).unwrap();
        assert_eq!((fs.used_bytes(), other.len().unwrap()), (4 * PAGE, 0));
        let error = other.allocate(0, 2 * PAGE, AllocateMode::ExtendLen).unwrap_err();
        assert_eq!(error.kind, IoKind::NoSpace);
        assert_eq!((fs.used_bytes(), other.len().unwrap()), (4 * PAGE, 0));
    }

    #[test]
    fn two_instances_are_two_namespaces() {
        let (one, two) = (MemFs::new(), MemFs::new());
        assert_ne!(one.namespace_id(), two.namespace_id());
        assert_eq!(one.namespace_id(), one.clone().namespace_id());
        assert_ne!(one.namespace_id(), Some(NamespaceId::SYSTEM));
    }
}
