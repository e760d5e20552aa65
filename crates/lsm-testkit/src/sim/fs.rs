//! The file system that programs use.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_fs::{
    Capabilities, Capability, Creation, DirEntry, EntryKind, Fs, FsFile, InodeId, Metadata, NamespaceId,
    OpenOptions, SyncLevel, VolumeId,
};
use lsm_types::{IoError, IoKind, IoOp};
use parking_lot::{Mutex, MutexGuard};

use super::build::build;
use super::choice::{Choice, Strategy};
use super::faults::FaultPlan;
use super::file::SimFile;
use super::images::Images;
use super::replay::Replay;
use super::state::{State, Target};
use super::trace::Event;
use super::volume::{Ino, Node, ROOT, Reachable, Volume, reachable};

/// Sizes of a simulated disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SimConfig {
    /// Bytes of a sector: what is written entirely or not at all.
    pub sector: u64,
    /// Bytes that all files together may occupy, in whole sectors.
    pub capacity: u64,
}

impl Default for SimConfig {
    /// Sectors of 512 bytes, and no end of them.
    fn default() -> Self {
        Self { sector: 512, capacity: u64::MAX }
    }
}

/// A file system that crashes on demand; see [the module](crate::sim). Clones share one state.
#[derive(Clone)]
pub struct SimFs {
    state: Arc<Mutex<State>>,
    namespace: NamespaceId,
}

impl SimFs {
    /// An empty disk.
    pub fn new(config: SimConfig) -> Self {
        let config = SimConfig { sector: config.sector.max(1), ..config };
        let empty = Volume::new();
        let found = reachable(|ino| empty.nodes.get(&ino).cloned());
        Self::start(State::new(config, found, ROOT + 1))
    }

    fn start(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), namespace: NamespaceId::fresh() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Events so far; also the point of a crash right now.
    pub fn len(&self) -> usize {
        self.lock().trace.len()
    }

    /// Whether nothing happened yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What happened so far. A crash at point `p` is one after the first `p` events.
    pub fn trace(&self) -> Vec<Arc<Event>> {
        self.lock().trace.clone()
    }

    /// Every point where a crash may leave something that one at the point before it does not; the first is 0.
    pub fn crash_points(&self) -> Vec<usize> {
        let state = self.lock();
        let after = |(index, event): (usize, &Arc<Event>)| event.matters().then_some(index + 1);
        std::iter::once(0).chain(state.trace.iter().enumerate().filter_map(after)).collect()
    }

    /// What a crash at `point` left if `choice` survived: a file system of its own, with an empty trace and without
    /// faults. The same point and choice of the same trace always make the same image.
    ///
    /// Neither are there open handles or locks on it, whatever this one has.
    pub fn image(&self, point: usize, choice: Choice) -> Self {
        let mut replay = self.replay_start();
        self.advance(&mut replay, point);
        self.image_of(build(&replay, choice))
    }

    /// What a crash at `point` may have left, each state once, the most telling first.
    pub fn images(&self, point: usize, strategy: &Strategy) -> Images {
        Images::new(self, strategy, vec![point])
    }

    /// What a crash may have left at every crash point so far, one point after the other.
    pub fn sweep(&self, strategy: &Strategy) -> Images {
        Images::new(self, strategy, self.crash_points())
    }

    pub(super) fn replay_start(&self) -> Replay {
        Replay::new(self.lock().initial.clone())
    }

    /// Lets the events before `point` happen to `replay`.
    pub(super) fn advance(&self, replay: &mut Replay, point: usize) {
        let state = self.lock();
        for event in state.trace.get(replay.point..point).unwrap_or_default() {
            replay.advance(event);
        }
    }

    pub(super) fn image_of(&self, image: Reachable) -> Self {
        let (config, next_ino) = {
            let state = self.lock();
            (state.config, state.next_ino)
        };
        Self::start(State::new(config, image, next_ino))
    }

    /// Lets operations fail from now on as planned; replaces the plan before.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.lock().faults = plan;
    }

    /// Operations that the present plan has failed.
    pub fn faults_struck(&self) -> u64 {
        self.lock().faults.struck()
    }

    /// Lets this many more bytes be written, and then fails with `NoSpace`, writing what fits; creating files,
    /// directories and links fails then too. `None` lifts the limit.
    pub fn set_budget(&self, bytes: Option<u64>) {
        self.lock().budget = bytes;
    }

    /// Syncs, by their position in the trace, that made durable what another handle had written: an error the other
    /// handle should have seen may have gone unnoticed.
    pub fn foreign_syncs(&self) -> Vec<usize> {
        self.lock().foreign_syncs.clone()
    }

    /// A number that differs where names, contents or numbers of names differ.
    pub fn state_hash(&self) -> u64 {
        let state = self.lock();
        reachable(|ino| state.live.nodes.get(&ino).cloned()).hash
    }

    /// All files and their contents, as a running program sees them.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.lock();
        let contents = |(path, ino): (PathBuf, Ino)| {
            let content = state.live.content(IoOp::Read, ino).ok()?;
            let mut bytes = vec![0; usize::try_from(content.len()).ok()?];
            content.read(0, &mut bytes);
            Some((path, bytes))
        };
        state.paths().into_iter().filter_map(contents).collect()
    }
}

impl Default for SimFs {
    fn default() -> Self {
        Self::new(SimConfig::default())
    }
}

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFs").field("len", &self.len()).finish_non_exhaustive()
    }
}

pub(super) fn metadata_of(state: &State, op: IoOp, ino: Ino) -> Result<Metadata, IoError> {
    let (kind, len) = match state.live.node(op, ino)? {
        Node::File(content) => (EntryKind::File, content.len()),
        Node::Dir(_) => (EntryKind::Dir, 0),
    };
    let nlink = match kind {
        EntryKind::File => state.links.get(&ino).copied().unwrap_or(0),
        _ => 1,
    };
    Ok(Metadata { len, kind, nlink: Some(nlink), inode: Some(InodeId { device: 0, number: ino }) })
}

impl Fs for SimFs {
    fn open(&self, path: &Path, options: &OpenOptions) -> Result<Arc<dyn FsFile>, IoError> {
        options.check()?;
        let (ino, handle) = self.lock().run(IoOp::Open, &[path], |state| {
            let ino = match (state.find(IoOp::Open, path), options.creation) {
                (Ok(_), Creation::New) => Err(IoError::new(IoOp::Open, IoKind::AlreadyExists)),
                (Err(error), Creation::IfMissing | Creation::New) if error.kind == IoKind::NotFound => {
                    state.create_file(path)
                }
                (found, _) => found,
            }?;
            let is_empty = state.live.content(IoOp::Open, ino)?.len() == 0;
            let handle = state.open_handle(ino);
            if options.truncate && !is_empty {
                state.set_len(&Target { ino, handle, path }, 0)?;
            }
            Ok((ino, handle))
        })?;
        Ok(Arc::new(SimFile::new(self.clone(), ino, handle, options.write, path)))
    }

    fn create_dir(&self, path: &Path) -> Result<(), IoError> {
        self.lock().run(IoOp::Dir, &[path], |state| state.create_dir(path))
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>, IoError> {
        self.lock().run(IoOp::Dir, &[path], |state| {
            let entries = state.live.entries(IoOp::Dir, state.find(IoOp::Dir, path)?)?;
            let entry = |(name, &ino): (&_, &Ino)| {
                let kind = metadata_of(state, IoOp::Dir, ino)?.kind;
                Ok(DirEntry { name: Clone::clone(name), kind })
            };
            entries.iter().map(entry).collect()
        })
    }

    fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        self.lock().run(IoOp::Remove, &[path], |state| state.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> Result<(), IoError> {
        self.lock().run(IoOp::Remove, &[path], |state| state.remove_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        self.lock().run(IoOp::Rename, &[from, to], |state| state.rename(from, to))
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, IoError> {
        self.lock()
            .run(IoOp::Dir, &[path], |state| metadata_of(state, IoOp::Dir, state.find(IoOp::Dir, path)?))
    }

    fn sync_dir(&self, path: &Path, level: SyncLevel) -> Result<(), IoError> {
        self.lock().sync_dir(path, level)
    }

    fn hard_link(&self, source: &Path, target: &Path) -> Result<(), IoError> {
        self.lock().run(IoOp::Link, &[source, target], |state| state.hard_link(source, target))
    }

    fn available_space(&self, _path: &Path) -> Result<Option<u64>, IoError> {
        Ok(Some(self.lock().free_bytes()))
    }

    fn volume_id(&self, _path: &Path) -> Result<Option<VolumeId>, IoError> {
        Ok(Some(VolumeId(0)))
    }

    fn namespace_id(&self) -> Option<NamespaceId> {
        Some(self.namespace)
    }

    /// An allocation is taken and reserves nothing, as on a disk that copies on write.
    fn capabilities(&self, _path: &Path) -> Result<Capabilities, IoError> {
        use Capability as C;
        let promised = [C::PunchHole, C::DirSync, C::RenameDurableAfterDirSync, C::Locks];
        Ok(promised.into_iter().fold(Capabilities::NONE, Capabilities::with))
    }
}
