//! The file system that programs use.

use std::borrow::Cow;
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
use super::choice::{Choice, ImageId, Strategy};
use super::content::{LenPart, Part, Pick};
use super::faults::{FaultPlan, Occasion};
use super::file::SimFile;
use super::gate::Gate;
use super::images::Images;
use super::profile::Profile;
use super::replay::{Pending, Replay};
use super::state::{State, Target};
use super::trace::Event;
use super::volume::{Ino, Node, ROOT, Reachable, Volume, components, reachable};

/// Who says when an operation may go ahead.
pub(crate) trait Turns: Send + Sync {
    /// Returns when the calling thread may go ahead.
    fn take_turn(&self);
}

/// What a simulated disk is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SimConfig {
    /// Bytes of a sector: what is written entirely or not at all.
    pub sector: u64,
    /// Bytes that all files together may occupy, in whole sectors.
    pub capacity: u64,
    /// What a crash may do to changes that were not synced.
    pub profile: Profile,
    /// The byte that lay on the disk before, where the profile lets it show.
    pub stale_pattern: u8,
    /// A sync makes durable only what its own handle wrote: whoever relies on syncing a file through another handle
    /// is caught by the first power loss.
    pub own_syncs_only: bool,
    /// As on Windows: open files cannot be removed, renamed or replaced, names differ by more than case, and syncing a
    /// directory does nothing; syncing a file makes all names so far durable instead.
    pub windows_semantics: bool,
}

impl SimConfig {
    /// Sectors of 512 bytes and no end of them, under the weakest reading of POSIX.
    pub const DEFAULT: Self = Self {
        sector: 512,
        capacity: u64::MAX,
        profile: Profile::Posix,
        stale_pattern: 0xA5,
        own_syncs_only: false,
        windows_semantics: false,
    };
}

impl Default for SimConfig {
    /// [`SimConfig::DEFAULT`].
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A file system that crashes on demand; see [the module](crate::sim). Clones share one state.
#[derive(Clone)]
pub struct SimFs {
    state: Arc<Mutex<State>>,
    /// Which process uses it.
    process: u64,
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
        Self { state: Arc::new(Mutex::new(state)), process: 0, namespace: NamespaceId::fresh() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The state, as an operation gets it: after its turn has come and its gates are open. A process that was killed
    /// gets nothing any more.
    pub(super) fn enter(&self, op: IoOp, paths: &[&Path]) -> Result<MutexGuard<'_, State>, IoError> {
        let mut state = self.lock();
        if state.turns.is_some() || state.faults.has_gates() {
            let turns = state.turns.clone();
            let label = state.labels.current();
            let gates = state.faults.gates(&Occasion { op, paths, label: label.as_deref(), range: 0..0 });
            drop(state);
            gates.iter().for_each(Gate::pass);
            if let Some(turns) = turns {
                turns.take_turn();
            }
            state = self.lock();
        }
        if state.is_killed(self.process) { Err(IoError::new(op, IoKind::Other)) } else { Ok(state) }
    }

    /// The same disk, used by another process: it has locks of its own, and can be killed without the others.
    pub fn process(&self) -> Self {
        let process = self.lock().new_process();
        Self { process, ..self.clone() }
    }

    /// Ends the process that this disk is used by, at once: its handles close, its locks go, and every later call of
    /// it fails and does nothing. What it wrote stays, as the page cache does.
    pub fn kill(&self) {
        self.lock().kill(self.process);
    }

    /// The path as the disk spells it.
    fn spelling<'p>(&self, path: &'p Path) -> Cow<'p, Path> {
        let state = self.lock();
        match components(IoOp::Dir, path) {
            Ok(names) if state.config.windows_semantics => {
                Cow::Owned(Path::new("/").join(state.live.spelled(&names).iter().collect::<PathBuf>()))
            }
            _ => Cow::Borrowed(path),
        }
    }

    /// Lets every operation wait for its turn; see [`crate::schedule`].
    pub(crate) fn set_turns(&self, turns: Option<Arc<dyn Turns>>) {
        self.lock().turns = turns;
    }

    /// What the disk is like.
    pub fn config(&self) -> SimConfig {
        self.lock().config
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
        let state = self.lock();
        Replay::new(state.initial.clone(), state.config)
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

    /// As [`SimFs::sweep`], at these points, which ascend.
    pub fn images_at(&self, points: Vec<usize>, strategy: &Strategy) -> Images {
        Images::new(self, strategy, points)
    }

    /// Length of the trace when an operation first failed by a plan or for want of space.
    pub fn first_failure(&self) -> Option<usize> {
        self.lock().first_failure
    }

    /// As [`SimFs::images`], on a disk with another profile: how strong a disk has to be for a fault to be hidden.
    pub fn images_under(&self, profile: Profile, point: usize, strategy: &Strategy) -> Images {
        Images::new(&self.under(profile), strategy, vec![point])
    }

    /// The same disk and the same past, under another profile.
    fn under(&self, profile: Profile) -> Self {
        let state = self.lock();
        let config = SimConfig { profile, ..state.config };
        let found = reachable(|ino| state.initial.nodes.get(&ino).cloned());
        let mut copy = State::new(config, found, state.next_ino);
        copy.initial = state.initial.clone();
        copy.trace.clone_from(&state.trace);
        Self::start(copy)
    }

    /// What an image makes of each change that was pending, one line each: kept, torn or lost.
    pub fn describe(&self, id: ImageId) -> Vec<String> {
        let mut replay = self.replay_start();
        self.advance(&mut replay, id.point);
        let parts = id.choice.parts(&replay.pending, replay.config);
        let trace = self.trace();
        let line = |(pending, part): (&Pending, Option<Part>)| {
            let fate = match part {
                None => "lost",
                Some(Part { sectors: Pick::All, len: LenPart::Yes }) => "kept",
                Some(_) => "torn",
            };
            let event = trace.get(pending.event).map(ToString::to_string).unwrap_or_default();
            format!("{fate} {}: {event}", pending.event)
        };
        replay.pending.iter().zip(parts).map(line).collect()
    }

    /// Which of the changes pending at the image's point survive in it, the first one lowest; nothing where there are
    /// more than 64. With how many there are.
    pub(crate) fn survivors(&self, id: ImageId) -> Option<(u64, usize)> {
        let mut replay = self.replay_start();
        self.advance(&mut replay, id.point);
        let parts = id.choice.parts(&replay.pending, replay.config);
        let bit = |(unit, part): (usize, &Option<Part>)| u64::from(part.is_some()) << unit;
        (parts.len() <= 64).then(|| (parts.iter().enumerate().map(bit).sum(), parts.len()))
    }

    /// Operations that the present plan has failed.
    pub fn faults_struck(&self) -> u64 {
        self.lock().faults.struck()
    }

    /// Whether an operation has failed by the present plan, or may have failed for want of space.
    pub fn is_faulty(&self) -> bool {
        let state = self.lock();
        state.faults.struck() > 0 || state.budget.is_some() || state.late_budget.is_some()
    }

    /// Lets nothing fail any more: no plan, no limit on space.
    pub fn lift_faults(&self) {
        self.set_faults(FaultPlan::new());
        self.set_budget(None);
        self.set_late_budget(None);
    }

    /// Lets this many more bytes be written, and then fails with `NoSpace`, writing what fits; creating files,
    /// directories and links fails then too. `None` lifts the limit.
    pub fn set_budget(&self, bytes: Option<u64>) {
        self.lock().budget = bytes;
    }

    /// Lets this many more bytes be written as if there were room for more; the next sync of each file written to
    /// after that fails with `NoSpace` and drops what was dirty, as where space is allocated late. `None` lifts the limit.
    pub fn set_late_budget(&self, bytes: Option<u64>) {
        let mut state = self.lock();
        state.late_budget = bytes;
        if bytes.is_none() {
            state.overdrawn.clear();
        }
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
        Node::Other => (EntryKind::Other, 0),
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
        let path = &*self.spelling(path);
        let (ino, handle) = self.enter(IoOp::Open, &[path])?.run(IoOp::Open, &[path], |state| {
            let ino = match (state.find(IoOp::Open, path), options.creation) {
                (Ok(_), Creation::New) => Err(IoError::new(IoOp::Open, IoKind::AlreadyExists)),
                (Err(error), Creation::IfMissing | Creation::New) if error.kind == IoKind::NotFound => {
                    state.create_file(path)
                }
                (found, _) => found,
            }?;
            let is_empty = state.live.content(IoOp::Open, ino)?.len() == 0;
            let handle = state.open_handle(ino, self.process);
            if options.truncate && !is_empty {
                state.set_len(&Target { ino, handle, path }, 0)?;
            }
            Ok((ino, handle))
        })?;
        Ok(Arc::new(SimFile::new(self.clone(), ino, handle, options.write, path)))
    }

    fn create_dir(&self, path: &Path) -> Result<(), IoError> {
        let path = &*self.spelling(path);
        self.enter(IoOp::Dir, &[path])?.run(IoOp::Dir, &[path], |state| state.create_dir(path))
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>, IoError> {
        let path = &*self.spelling(path);
        self.enter(IoOp::Dir, &[path])?.run(IoOp::Dir, &[path], |state| {
            let entries = state.live.entries(IoOp::Dir, state.find(IoOp::Dir, path)?)?;
            let entry = |(name, &ino): (&_, &Ino)| {
                let kind = metadata_of(state, IoOp::Dir, ino)?.kind;
                Ok(DirEntry { name: Clone::clone(name), kind })
            };
            entries.iter().map(entry).collect()
        })
    }

    fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        let path = &*self.spelling(path);
        self.enter(IoOp::Remove, &[path])?.run(IoOp::Remove, &[path], |state| state.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> Result<(), IoError> {
        let path = &*self.spelling(path);
        self.enter(IoOp::Remove, &[path])?.run(IoOp::Remove, &[path], |state| state.remove_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), IoError> {
        let (from, to) = (&*self.spelling(from), &*self.spelling(to));
        self.enter(IoOp::Rename, &[from, to])?.run(IoOp::Rename, &[from, to], |state| state.rename(from, to))
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, IoError> {
        let path = &*self.spelling(path);
        self.enter(IoOp::Dir, &[path])?
            .run(IoOp::Dir, &[path], |state| metadata_of(state, IoOp::Dir, state.find(IoOp::Dir, path)?))
    }

    fn sync_dir(&self, path: &Path, level: SyncLevel) -> Result<(), IoError> {
        let path = &*self.spelling(path);
        self.enter(IoOp::SyncDir, &[path])?.sync_dir(path, level)
    }

    fn hard_link(&self, source: &Path, target: &Path) -> Result<(), IoError> {
        let (source, target) = (&*self.spelling(source), &*self.spelling(target));
        self.enter(IoOp::Link, &[source, target])?
            .run(IoOp::Link, &[source, target], |state| state.hard_link(source, target))
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

    fn yield_point(&self) {
        let turns = self.lock().turns.clone();
        if let Some(turns) = turns {
            turns.take_turn();
        }
    }

    /// An allocation is taken and reserves nothing, as on a disk that copies on write.
    fn capabilities(&self, _path: &Path) -> Result<Capabilities, IoError> {
        use Capability as C;
        let always = Capabilities::NONE.with(C::PunchHole).with(C::Locks);
        if self.lock().config.windows_semantics {
            return Ok(always);
        }
        Ok(always.with(C::DirSync).with(C::RenameDurableAfterDirSync))
    }
}
