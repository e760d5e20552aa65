//! A small database as bytes: built once, damaged in a copy, opened from there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use lsm_block::{Superblock, Walk, Walked};
use lsm_engine::{CompactOptions, FlushOptions, Reader, Tree, TreeOptions, VlogPolicy};
use lsm_fs::{EntryKind, Fs, MemFs, OpenOptions};
use lsm_types::{FileKind, Location, Random};

use crate::common::{at, sealed::encryption, small_tables};

/// Every file of a directory.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Where the databases of these tests live.
pub(crate) const ROOT: &str = "/db";

/// All files below a directory.
pub(crate) fn files(fs: &dyn Fs, below: &Path) -> Files {
    let mut found = Files::new();
    for entry in fs.read_dir(below).unwrap() {
        let path = below.join(&entry.name);
        if entry.kind == EntryKind::Dir {
            found.extend(files(fs, &path));
            continue;
        }
        let file = fs.open(&path, &OpenOptions::READ).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(0, &mut bytes).unwrap();
        found.insert(path, bytes);
    }
    found
}

/// A file system that holds these files.
pub(crate) fn mount(files: &Files) -> Arc<dyn Fs> {
    let fs = MemFs::new();
    for (path, bytes) in files {
        fs.create_dir_all(path.parent().unwrap()).unwrap();
        fs.open(path, &OpenOptions::CREATE_NEW).unwrap().append(bytes).unwrap();
    }
    Arc::new(fs)
}

/// Identities that are the same in every run.
struct Seeded(AtomicU64);

impl Random for Seeded {
    fn fill(&self, out: &mut [u8]) {
        for byte in out {
            let state = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed);
            *byte = ((state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 56) as u8;
        }
    }
}

/// What differs between the databases.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a feature that a database has or not")]
pub(crate) struct Plan {
    /// Makes identities.
    pub(crate) seed: u64,
    /// Whether the manifest has a second copy.
    pub(crate) has_mirror: bool,
    /// Whether indexes are partitioned.
    pub(crate) is_partitioned: bool,
    /// Whether its files are sealed.
    pub(crate) is_sealed: bool,
    /// Whether longer values lie in value logs.
    pub(crate) is_separated: bool,
}

/// Times a sealed database was opened: chance must not repeat itself where keys are made of it.
static OPENED: AtomicU64 = AtomicU64::new(0);

impl Plan {
    pub(crate) fn options(self, fs: &Arc<dyn Fs>) -> TreeOptions {
        let mut tables = small_tables();
        if !self.is_partitioned {
            tables.index_spill_bytes = 1 << 20;
        }
        let opened = if self.is_sealed { OPENED.fetch_add(1, Relaxed) } else { 0 };
        let random = Arc::new(Seeded(AtomicU64::new(self.seed + (opened << 32))));
        let options = TreeOptions::new(ROOT)
            .store(|store| {
                let store = store.fs(fs.clone()).random(random).manifest_mirror(self.has_mirror);
                if self.is_sealed { store.encryption(encryption()) } else { store }
            })
            .tables(tables)
            .table_target_bytes(3_000);
        if !self.is_separated {
            return options;
        }
        let (thresholds, target_bytes) = (vec![30], 4_000);
        options.separation(VlogPolicy { thresholds, target_bytes, ..VlogPolicy::default() })
    }
}

/// The contents of a tree.
pub(crate) type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// A closed database, what it was before, and what it holds.
pub(crate) struct Database {
    pub(crate) plan: Plan,
    pub(crate) files: Files,
    /// What lay in the directory at earlier moments, and what the tree held durably then; the oldest first.
    pub(crate) past: Vec<(Files, Contents)>,
    pub(crate) contents: Contents,
}

impl Database {
    /// Tables in two levels, several generations of the manifest, and something that nobody needs.
    pub(crate) fn build(plan: Plan) -> Self {
        let fs = mount(&Files::new());
        fs.create_dir(Path::new(ROOT)).unwrap();
        let mut past = Vec::new();
        let mut note = |tree: &Tree| past.push((files(fs.as_ref(), Path::new(ROOT)), contents(tree)));
        let flush = |tree: &Tree| {
            tree.seal(None);
            tree.flush(&FlushOptions::default()).unwrap();
        };
        let tree = Tree::open(plan.options(&fs)).unwrap();
        note(&tree);
        for number in 0..120_u64 {
            tree.insert(key(number), [number as u8; 40], at(number)).unwrap();
        }
        flush(&tree);
        note(&tree);
        tree.major_compact(&CompactOptions::default()).unwrap();
        note(&tree);
        tree.close().unwrap();
        let tree = Tree::open(plan.options(&fs)).unwrap();
        note(&tree);
        for number in 0..30_u64 {
            tree.insert(key(number * 3), "newer", at(200 + number)).unwrap();
        }
        flush(&tree);
        note(&tree);
        tree.remove(key(5), at(300)).unwrap();
        flush(&tree);
        let contents = contents(&tree);
        tree.close().unwrap();
        for (folder, name) in [("tmp", "CURRENT-00000000000000000001"), ("tmp", "x"), ("quarantine", "y")] {
            let folder = Path::new(ROOT).join(folder);
            fs.create_dir_all(&folder).unwrap();
            fs.open(&folder.join(name), &OpenOptions::CREATE).unwrap().append(&[9; 200]).unwrap();
        }
        let files = files(fs.as_ref(), Path::new(ROOT));
        Self { plan, files, past, contents }
    }

    /// Earlier contents of a file, each once.
    pub(crate) fn older(&self, path: &Path) -> Vec<Vec<u8>> {
        let mut found: Vec<Vec<u8>> = Vec::new();
        for (files, _) in &self.past {
            if let Some(bytes) = files.get(path)
                && Some(bytes) != self.files.get(path)
                && !found.contains(bytes)
            {
                found.push(bytes.clone());
            }
        }
        found
    }
}

pub(crate) fn key(number: u64) -> String {
    format!("key-{number:04}")
}

pub(crate) fn contents(tree: &Tree) -> Contents {
    let pairs = tree.iter().pairs().map(|pair| pair.unwrap());
    pairs.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// Where the frames of a file begin, and its end; only the end for files without frames.
pub(crate) fn edges(bytes: &[u8]) -> Vec<u64> {
    let len = bytes.len() as u64;
    let at = Location { kind: FileKind::Table, id: 0, offset: 0 };
    let mut edges = vec![0];
    if let Ok(head) = Superblock::decode(at, bytes) {
        for step in Walk::file(bytes, &head).unwrap() {
            edges.push(match step.unwrap() {
                Walked::Frame { mark, .. } => mark.handle.offset,
                Walked::BadFrame { handle, .. } => handle.offset,
                Walked::Zeros { extent } | Walked::Damaged { extent, .. } => extent.start,
            });
        }
    }
    edges.push(len);
    edges
}

/// Whether a byte lies in a frame of a filter.
pub(crate) fn lies_in_filter(bytes: &[u8], byte: u64) -> bool {
    let at = Location { kind: FileKind::Table, id: 0, offset: 0 };
    let Ok(head) = Superblock::decode(at, bytes) else { return false };
    let mut steps = Walk::file(bytes, &head).unwrap();
    steps.any(|step| match step.unwrap() {
        Walked::Frame { header, mark } => {
            let frame = mark.handle.offset..mark.handle.end().unwrap();
            header.kind.name().contains("filter") && frame.contains(&byte)
        }
        _ => false,
    })
}
