//! Checkpoints where the file system can clone: clones are made durable like any other new file.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::{path::Path, sync::Arc};

use common::{at, contents, flush, small_tables};
use lsm_engine::{CheckpointOptions, CompactOptions, CopyMethod, OpenMode, Tree, TreeOptions};
use lsm_fs::{Capabilities, Capability, DirEntry, Fs, FsFile, Metadata, NamespaceId, OpenOptions, SyncLevel};
use lsm_testkit::sim::{SimConfig, SimFs, Strategy};
use lsm_types::{IoError, IoKind, IoOp};

/// A disk that clones: the clone has all bytes at once, and none of them is durable before it is synced.
#[derive(Clone, Debug)]
struct CloningFs {
    inner: SimFs,
    /// Whether the clone fails after all, as between two mounts.
    refuses: bool,
}

impl Fs for CloningFs {
    fn reflink(&self, source: &Path, target: &Path) -> Result<(), IoError> {
        if self.refuses {
            return Err(IoError::new(IoOp::Link, IoKind::CrossesDevices));
        }
        let from = self.inner.open(source, &OpenOptions::READ)?;
        let to = self.inner.open(target, &OpenOptions::CREATE_NEW)?;
        let mut bytes = vec![0; usize::try_from(FsFile::len(&*from)?).unwrap()];
        from.read_at(0, &mut bytes)?;
        to.write_at(0, &bytes).map_err(|error| error.source)
    }
    fn capabilities(&self, path: &Path) -> Result<Capabilities, IoError> {
        Ok(self.inner.capabilities(path)?.with(Capability::Reflink))
    }
    fn open(&self, path: &Path, options: &OpenOptions) -> Result<Arc<dyn FsFile>, IoError> {
        self.inner.open(path, options)
    }
    fn create_dir(&self, path: &Path) -> Result<(), IoError> {
        self.inner.create_dir(path)
    }
    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>, IoError> {
        self.inner.read_dir(path)
    }
    fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        self.inner.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> Result<(), IoError> {
        self.inner.remove_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        self.inner.rename(from, to)
    }
    fn metadata(&self, path: &Path) -> Result<Metadata, IoError> {
        self.inner.metadata(path)
    }
    fn sync_dir(&self, path: &Path, level: SyncLevel) -> Result<(), IoError> {
        self.inner.sync_dir(path, level)
    }
    fn hard_link(&self, source: &Path, target: &Path) -> Result<(), IoError> {
        self.inner.hard_link(source, target)
    }
    fn namespace_id(&self) -> Option<NamespaceId> {
        self.inner.namespace_id()
    }
}

fn options(fs: Arc<dyn Fs>, path: &str) -> TreeOptions {
    TreeOptions::new(path).store(|store| store.fs(fs)).tables(small_tables()).table_target_bytes(1_000)
}

fn source(fs: &CloningFs) -> Tree {
    let tree = Tree::open(options(Arc::new(fs.clone()), "/data/db")).unwrap();
    for number in 0..40 {
        tree.insert(format!("key-{number:03}"), vec![b'a'; 60], at(number + 1)).unwrap();
    }
    flush(&tree);
    tree
}

/// Proves D-96: clones are made where that is possible and wanted, and survive a power cut once the target has its name.
/// Fault: durability W-16.
#[test]
fn clones_are_durable_before_the_target_has_its_name() {
    let fs = CloningFs { inner: SimFs::new(SimConfig::default()), refuses: false };
    let tree = source(&fs);
    let expected = contents(&tree).unwrap();
    let begun = fs.inner.len();
    let info = tree.checkpoint("/data/copy", &CheckpointOptions::default()).unwrap();
    assert_eq!(info.bytes_by(CopyMethod::Reflinked), info.bytes());
    let mut complete = 0;
    for point in fs.inner.crash_points().into_iter().filter(|point| *point >= begun) {
        for (id, image) in fs.inner.images(point, &Strategy::GATE) {
            if !image.exists(Path::new("/data/copy")).unwrap() {
                continue;
            }
            complete += 1;
            let copy = options(Arc::new(image), "/data/copy").store(|store| store.mode(OpenMode::MustExist));
            let copy = Tree::open(copy).unwrap();
            assert_eq!(contents(&copy).unwrap(), expected, "image {id}");
            assert!(copy.verify().unwrap().is_clean());
        }
    }
    assert!(complete > 0);
    // A clone is no second name: the original may be cut.
    tree.set_gc_watermark(at(100));
    tree.major_compact(&CompactOptions::default()).unwrap();
    let copy = Tree::open(options(Arc::new(fs.clone()), "/data/copy")).unwrap();
    assert_eq!(contents(&copy).unwrap(), expected);
}

/// Proves D-96.
#[test]
fn clones_that_are_refused_or_not_wanted_become_links() {
    for (refuses, wanted, fallbacks) in [(true, true, true), (false, false, false)] {
        let fs = CloningFs { inner: SimFs::new(SimConfig::default()), refuses };
        let tree = source(&fs);
        let mut how = CheckpointOptions::default();
        how.reflink = wanted;
        let info = tree.checkpoint("/data/copy", &how).unwrap();
        assert_eq!(info.bytes_by(CopyMethod::Linked), info.bytes());
        assert_eq!(info.fallbacks > 0, fallbacks);
    }
}
