//! Every image of every workload is legal, as judged by a model that knows nothing of pending operations.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lsm_fs::{Fs, FsFile, OpenOptions, SyncLevel};
use lsm_testkit::sim::{ImageId, SimFs, Strategy as Enumeration};
use proptest::prelude::*;

const SECTOR: usize = 512;
const DIRS: [&str; 2] = ["/", "/d"];
const NAMES: [&str; 6] = ["/a", "/b", "/c", "/d/a", "/d/b", "/d/c"];

#[derive(Clone, Debug)]
enum Op {
    Create(usize),
    Write(usize, u16, u16, u8),
    SetLen(usize, u16),
    Punch(usize, u16, u16),
    Sync(usize),
    SyncDir(usize),
    Rename(usize, usize),
    Link(usize, usize),
    Remove(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let (name, at) = (0..NAMES.len(), 0..1_800_u16);
    prop_oneof![
        3 => name.clone().prop_map(Op::Create),
        6 => (name.clone(), at.clone(), 1..1_400_u16, 1_u8..).prop_map(|(n, a, l, b)| Op::Write(n, a, l, b)),
        1 => (name.clone(), at.clone()).prop_map(|(n, len)| Op::SetLen(n, len)),
        1 => (name.clone(), at, 1..900_u16).prop_map(|(n, a, l)| Op::Punch(n, a, l)),
        3 => name.clone().prop_map(Op::Sync),
        2 => (0..DIRS.len()).prop_map(Op::SyncDir),
        2 => (name.clone(), name.clone()).prop_map(|(n, m)| Op::Rename(n, m)),
        1 => (name.clone(), name.clone()).prop_map(|(n, m)| Op::Link(n, m)),
        1 => name.prop_map(Op::Remove),
    ]
}

/// What was visible after each event, and when what was synced.
#[derive(Default)]
struct History {
    /// Per point, what each name led to.
    names: Vec<[Option<u64>; 6]>,
    /// Per point, the bytes of each file.
    bytes: Vec<BTreeMap<u64, Vec<u8>>>,
    /// Points by which files and directories were synced.
    file_syncs: Vec<(usize, u64)>,
    dir_syncs: Vec<(usize, usize)>,
}

fn inode(fs: &SimFs, path: &str) -> Option<u64> {
    fs.metadata(Path::new(path)).ok().map(|metadata| metadata.inode.unwrap().number)
}

/// A workload under way. It keeps every file open, so that one without a name is watched too.
struct Run {
    fs: SimFs,
    handles: BTreeMap<u64, Arc<dyn FsFile>>,
    history: History,
}

impl Run {
    fn new() -> Self {
        let fs = SimFs::default();
        fs.create_dir(Path::new("/d")).unwrap();
        fs.sync_dir(Path::new("/"), SyncLevel::Full).unwrap();
        let mut run = Self { fs, handles: BTreeMap::new(), history: History::default() };
        run.observe();
        run
    }

    /// Remembers the present for every point up to it that has no memory yet.
    fn observe(&mut self) {
        let content = |file: &Arc<dyn FsFile>| {
            let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            file.read_at(0, &mut bytes).unwrap();
            bytes
        };
        let names = NAMES.map(|name| inode(&self.fs, name));
        let bytes: BTreeMap<u64, Vec<u8>> =
            self.handles.iter().map(|(&ino, file)| (ino, content(file))).collect();
        self.history.names.resize(self.fs.len() + 1, names);
        self.history.bytes.resize(self.fs.len() + 1, bytes);
    }

    fn on_file(&self, name: usize, act: impl FnOnce(&dyn FsFile)) {
        if let Some(ino) = inode(&self.fs, NAMES[name]) {
            act(&*self.handles[&ino]);
        }
    }

    fn step(&mut self, op: &Op) {
        let path = |name: usize| Path::new(NAMES[name]);
        match *op {
            Op::Create(name) => {
                if let Ok(file) = self.fs.open(path(name), &OpenOptions::CREATE_NEW) {
                    self.handles.insert(inode(&self.fs, NAMES[name]).unwrap(), file);
                }
            }
            Op::Write(name, at, len, byte) => {
                self.on_file(name, |file| file.write_at(at.into(), &vec![byte; len.into()]).unwrap());
            }
            Op::SetLen(name, len) => self.on_file(name, |file| file.set_len(len.into()).unwrap()),
            Op::Punch(name, at, len) => {
                self.on_file(name, |file| file.punch_hole(at.into(), len.into()).unwrap());
            }
            Op::Sync(name) => {
                self.on_file(name, |file| file.sync(SyncLevel::Full).unwrap());
                let ino = inode(&self.fs, NAMES[name]).unwrap_or(u64::MAX);
                self.history.file_syncs.push((self.fs.len(), ino));
            }
            Op::SyncDir(dir) => {
                self.fs.sync_dir(Path::new(DIRS[dir]), SyncLevel::Full).unwrap();
                self.history.dir_syncs.push((self.fs.len(), dir));
            }
            Op::Rename(from, to) => _ = self.fs.rename(path(from), path(to)),
            Op::Link(source, target) => _ = self.fs.hard_link(path(source), path(target)),
            Op::Remove(name) => _ = self.fs.remove_file(path(name)),
        }
        self.observe();
    }
}

impl History {
    /// The points that may show through at `point`: from the last one known to be durable on.
    fn since<T: PartialEq>(point: usize, syncs: &[(usize, T)], what: &T) -> std::ops::RangeInclusive<usize> {
        let last = syncs.iter().rfind(|(at, synced)| *at <= point && synced == what);
        last.map_or(0, |&(at, _)| at)..=point
    }

    fn judge(&self, id: ImageId, image: &SimFs) {
        for (name, path) in NAMES.iter().enumerate() {
            let found = inode(image, path);
            let mut legal = Self::since(id.point, &self.dir_syncs, &(name / 3)).map(|p| self.names[p][name]);
            assert!(legal.any(|value| value == found), "{id}: {path} leads to {found:?}");
        }
        self.judge_renames(id, image);
        for (path, bytes) in image.files() {
            let ino = inode(image, path.to_str().unwrap()).unwrap();
            let names = NAMES.iter().filter(|name| inode(image, name) == Some(ino)).count() as u64;
            assert_eq!(image.metadata(&path).unwrap().nlink, Some(names), "{id}: {}", path.display());
            self.judge_bytes(id, ino, &bytes);
        }
    }

    /// A file that once had a durable name, and lost none except by being renamed, has one.
    fn judge_renames(&self, id: ImageId, image: &SimFs) {
        let count =
            |point: usize, ino: u64| self.names[point].iter().filter(|&&name| name == Some(ino)).count();
        for &ino in self.bytes[id.point].keys() {
            let durable = |&&(at, dir): &&(usize, usize)| {
                at <= id.point && self.names[at][dir * 3..][..3].contains(&Some(ino))
            };
            let Some(&(since, _)) = self.dir_syncs.iter().find(durable) else { continue };
            let kept = (since..id.point).all(|point| count(point, ino) <= count(point + 1, ino));
            if kept {
                assert!(
                    NAMES.iter().any(|name| inode(image, name) == Some(ino)),
                    "{id}: file {ino} has no name"
                );
            }
        }
    }

    fn judge_bytes(&self, id: ImageId, ino: u64, bytes: &[u8]) {
        let legal = || Self::since(id.point, &self.file_syncs, &ino).filter_map(|p| self.bytes[p].get(&ino));
        let torn_end = bytes.len().is_multiple_of(SECTOR);
        assert!(
            legal().any(|old| old.len() == bytes.len())
                || (torn_end && legal().any(|old| old.len() > bytes.len())),
            "{id}: file {ino} has {} bytes",
            bytes.len()
        );
        for start in (0..bytes.len()).step_by(SECTOR) {
            let end = bytes.len().min(start + SECTOR);
            let same = |old: &Vec<u8>| (start..end).all(|at| bytes[at] == old.get(at).copied().unwrap_or(0));
            assert!(legal().any(same), "{id}: file {ino} has a sector at {start} it never had");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Images hold what was durable, and nothing that never was.
    #[test]
    fn every_image_is_legal(ops in proptest::collection::vec(op(), 1..60)) {
        let mut run = Run::new();
        for op in &ops {
            run.step(op);
        }
        let enumeration = Enumeration { exhaustive: 5, ..Enumeration::FULL };
        for (id, image) in run.fs.sweep(&enumeration) {
            run.history.judge(id, &image);
        }
    }
}
