//! An open value log: what reads hold on to, and what gives the file up when nobody does any more.

use std::{
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use lsm_block::{Handle, Superblock};
use lsm_fs::{FsFile, OpenOptions};
use lsm_manifest::{LiveVlog, VlogDescriptor};
use lsm_types::{FileKind, IoError, Location, ReadAt, Result, Slice, TableId, ValueHandle, VlogId};
use lsm_vlog::{LocatorHints, OpenVlog, Step, VlogLayout};

use super::{VlogEnv, total};
use crate::{ObsoleteFile, ReleaseStats, TableError, cache::CachedBlock, front::Front};

/// Values that take more than this share of the cache are not put there.
const BYPASS_SHARE: u64 = 64;

/// What a read does with the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheUse {
    /// Values come from the cache and go there.
    Fill,
    /// Values may come from the cache, and do not go there: for compactions.
    Look,
}

/// A value as the cache holds it: with the handle and the key that lead to it, which a hit is held against.
#[derive(Debug)]
pub(crate) struct CachedValue {
    handle: ValueHandle,
    key: Slice,
    value: Slice,
}

impl CachedValue {
    pub(crate) fn memory_len(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.value.len()
    }
}

/// A value log. Handles are cheap to clone and share it; it is opened when somebody first reads it.
///
/// A handle keeps the values from its frontier on: what lies in front of the frontiers of all handles is given back.
/// When the last handle of one that was marked obsolete goes, the file is given to the environment's
/// [`crate::Reclaim`].
#[derive(Clone)]
pub struct ValueLog {
    pub(super) inner: Arc<LogInner>,
    hold: Arc<Hold>,
}

/// What handles keep of a file.
struct Hold {
    inner: Arc<LogInner>,
    frontier: u64,
    /// Keeps the file and none of its values.
    is_passing: bool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.is_passing {
            self.inner.leave(consumed(self.frontier));
        }
    }
}

/// Bytes between the head of a file and the frontier.
fn consumed(frontier: u64) -> u64 {
    frontier.saturating_sub(Superblock::LEN as u64)
}

/// The bytes of a value log's file that no entry of its version leads to, and that may be gone.
pub fn consumed_values(log: &LiveVlog) -> Range<u64> {
    let head = Superblock::LEN as u64;
    head..log.frontier.clamp(head, log.vlog.file_len.max(head))
}

pub(super) struct LogInner {
    pub(super) env: Arc<VlogEnv>,
    descriptor: Arc<VlogDescriptor>,
    /// The file's number in the block cache.
    cache_file: u64,
    /// The file's number in the table of open files.
    open_file: u64,
    /// The open file where descriptors are not shared.
    pinned_file: OnceLock<Arc<dyn FsFile>>,
    layout: OnceLock<VlogLayout>,
    is_obsolete: AtomicBool,
    front: Front,
}

impl Drop for LogInner {
    fn drop(&mut self) {
        let tables = &self.env.tables;
        // Closed before it is removed: some systems refuse to remove a file that is open.
        tables.descriptors.forget(self.open_file);
        drop(self.pinned_file.take());
        if *self.is_obsolete.get_mut() {
            let (id, len) = (self.descriptor.id, self.descriptor.file_len);
            let path = self.env.path(id);
            let table = TableId::new(id.get());
            tables.reclaim.release(ObsoleteFile { table, path, len });
        }
    }
}

impl ValueLog {
    /// A handle of the value log that `descriptor` is about. Reads nothing.
    ///
    /// * `frontier`: as the manifest has it.
    pub fn new(env: &Arc<VlogEnv>, descriptor: Arc<VlogDescriptor>, frontier: u64) -> Self {
        let inner = Arc::new(LogInner {
            env: env.clone(),
            descriptor,
            cache_file: env.tables.cache.new_file(),
            open_file: env.tables.descriptors.new_file(),
            pinned_file: OnceLock::new(),
            layout: OnceLock::new(),
            is_obsolete: AtomicBool::new(false),
            front: Front::default(),
        });
        inner.holding(frontier)
    }

    /// A handle of the same open file that keeps the values from `frontier` on. To be made of one that is durable.
    #[must_use]
    pub fn advanced(&self, frontier: u64) -> Self {
        self.inner.clone().holding(frontier)
    }

    /// A handle for a job that installs what it has made on the way: it keeps the file, and none of the values in front
    /// that others have done with. Whoever has it reads nothing in front of the frontier that was last installed.
    #[must_use]
    pub fn passing(&self) -> Self {
        let (inner, frontier) = (self.inner.clone(), self.frontier());
        let hold = Arc::new(Hold { inner: inner.clone(), frontier, is_passing: true });
        Self { inner, hold }
    }

    /// Offset of the first byte that the handle keeps; at most the length of the head for all.
    pub fn frontier(&self) -> u64 {
        self.hold.frontier
    }

    /// Gives back what every handle has done with, as it may not have been before a crash. For the owner of the file,
    /// when it first uses it.
    pub fn release_consumed(&self) {
        self.inner.release(self.inner.front.lowest().unwrap_or(0));
    }

    /// What became of the bytes in front of the frontier.
    pub fn release_stats(&self) -> ReleaseStats {
        self.inner.front.stats(consumed(self.frontier()))
    }

    /// Its number.
    pub fn id(&self) -> VlogId {
        self.inner.descriptor.id
    }

    /// What the manifest says about it.
    pub fn descriptor(&self) -> &Arc<VlogDescriptor> {
        &self.inner.descriptor
    }

    /// No version names it any more: the file goes with the last handle.
    pub fn mark_obsolete(&self) {
        if !self.inner.is_obsolete.swap(true, Ordering::AcqRel) {
            let file = TableId::new(self.inner.descriptor.id.get());
            self.inner.env.tables.reclaim.note_obsolete(file, self.inner.descriptor.file_len);
        }
    }

    /// The value behind `handle`, which an entry of `key` holds: one look into the cache, or one read.
    ///
    /// # Errors
    /// As [`VlogLayout::read`]; what opening the file finds.
    pub fn get(&self, handle: &ValueHandle, key: &[u8], cache: CacheUse) -> Result<Slice> {
        let inner = &*self.inner;
        if let Some(value) = inner.cached(handle, key) {
            return Ok(value);
        }
        let layout = inner.layout()?;
        let decoders = &inner.env.tables.decoders;
        let value = decoders.with(|decoder| layout.read(inner, handle, key, decoder))?;
        inner.keep(handle, key, &value, cache);
        Ok(value)
    }

    /// The part `range` of a value, as far as the value goes. Of one in chunks only those that hold the part are read, past
    /// the cache.
    ///
    /// # Errors
    /// As [`ValueLog::get`].
    pub fn get_range(&self, handle: &ValueHandle, key: &[u8], range: Range<u32>) -> Result<Slice> {
        if handle.is_chunked() {
            let inner = &*self.inner;
            let layout = inner.layout()?;
            let decoders = &inner.env.tables.decoders;
            return decoders.with(|decoder| layout.read_range(inner, handle, key, range, decoder));
        }
        let end = range.end.min(handle.value_len);
        let start = range.start.min(end);
        let value = self.get(handle, key, CacheUse::Fill)?;
        Ok(value.slice(start as usize..end as usize))
    }

    /// The opened file: its metadata, checked against what is known about it.
    ///
    /// # Errors
    /// What reading and checking the metadata finds.
    pub fn layout(&self) -> Result<&VlogLayout> {
        self.inner.layout()
    }

    /// The bytes of the file, for the calls of [`VlogLayout`] and for copies.
    pub fn bytes(&self) -> &impl ReadAt {
        &*self.inner
    }
}

impl LogInner {
    fn holding(self: Arc<Self>, frontier: u64) -> ValueLog {
        self.front.enter(consumed(frontier));
        let hold = Arc::new(Hold { inner: self.clone(), frontier, is_passing: false });
        ValueLog { inner: self, hold }
    }

    fn leave(&self, consumed: u64) {
        if let Some(now) = self.front.leave(consumed) {
            self.release(now);
        }
    }

    /// Hands over the first `consumed` bytes behind the head, unless the file is about to go as a whole.
    fn release(&self, consumed: u64) {
        let (env, descriptor) = (&self.env, &self.descriptor);
        if self.is_obsolete.load(Ordering::Acquire) {
            return;
        }
        let file = (TableId::new(descriptor.id.get()), descriptor.file_len);
        if let Some(prefix) = self.front.prefix(consumed, file, || env.path(descriptor.id)) {
            env.tables.reclaim.release_prefix(prefix);
        }
    }

    #[inline]
    pub(super) fn layout(&self) -> Result<&VlogLayout> {
        match self.layout.get() {
            Some(layout) => Ok(layout),
            None => self.open(),
        }
    }

    #[cold]
    fn open(&self) -> Result<&VlogLayout> {
        let (descriptor, env) = (&*self.descriptor, &self.env);
        let directory = descriptor.directory;
        let hints = LocatorHints {
            identity: Some(env.identity(descriptor.id, descriptor.uuid)),
            directory: Some(Handle { offset: directory.offset, len: directory.len }),
            tail_len: descriptor.tail_len.into(),
            ..LocatorHints::default()
        };
        let encryption = env.tables.encryption.clone();
        let (mut opening, mut range) = OpenVlog::start(descriptor.file_len, hints, encryption)?;
        let layout = loop {
            // The machine asks only for what lies in the file, in pieces no longer than a section may be.
            let bytes = self.read(range.offset, usize::try_from(range.len).unwrap_or(usize::MAX))?;
            match opening.feed(bytes)? {
                Step::Need(next) => range = next,
                Step::Done(layout) => break *layout,
            }
        };
        if total(layout.properties()) != descriptor.total {
            let (table, what) = (TableId::new(descriptor.id.get()), "what a value log says about itself");
            return Err(TableError::Disagrees { table, what }.into());
        }
        for detour in layout.detours() {
            tracing::warn!(log = %descriptor.id, %detour, "metadata of a value log is damaged; a copy was used");
        }
        Ok(self.layout.get_or_init(|| layout))
    }

    /// The value, when the cache has it for this handle and this key.
    pub(super) fn cached(&self, handle: &ValueHandle, key: &[u8]) -> Option<Slice> {
        match self.env.tables.cache.get(self.cache_file, handle.offset) {
            Some(CachedBlock::Value(found)) if found.handle == *handle && found.key == key => {
                Some(found.value.clone())
            }
            _ => None,
        }
    }

    /// Gives a value to the cache, when it is not too large for it.
    pub(super) fn keep(&self, handle: &ValueHandle, key: &[u8], value: &Slice, cache: CacheUse) {
        let blocks = &self.env.tables.cache;
        if cache == CacheUse::Fill && value.len() as u64 <= blocks.capacity() / BYPASS_SHARE {
            let cached = CachedValue { handle: *handle, key: Slice::copy_from(key), value: value.clone() };
            blocks.insert(self.cache_file, handle.offset, CachedBlock::Value(Arc::new(cached)));
        }
    }

    /// Bytes of the file. The caller has checked that they are there.
    pub(super) fn read(&self, offset: u64, len: usize) -> Result<Slice> {
        let mut bytes = vec![0; len];
        self.read_exact_at(offset, &mut bytes).map_err(|source| {
            let at = Location { kind: FileKind::ValueLog, id: self.descriptor.id.get(), offset };
            TableError::Read { at, len: u32::try_from(len).unwrap_or(u32::MAX), source }
        })?;
        Ok(Slice::from(bytes))
    }

    /// The open file.
    pub(super) fn file(&self) -> Result<Arc<dyn FsFile>, IoError> {
        let (env, path) = (&self.env.tables, || self.env.path(self.descriptor.id));
        if !env.descriptors.is_pinned() {
            return env.descriptors.get(self.open_file, env.fs.as_ref(), path);
        }
        if let Some(file) = self.pinned_file.get() {
            return Ok(file.clone());
        }
        let file = env.descriptors.make_room_for(|| env.fs.open(&path(), &OpenOptions::READ))?;
        Ok(self.pinned_file.get_or_init(|| file).clone())
    }
}

impl ReadAt for LogInner {
    fn len(&self) -> Result<u64, IoError> {
        Ok(self.descriptor.file_len)
    }

    fn read_exact_at(&self, offset: u64, out: &mut [u8]) -> Result<(), IoError> {
        self.file()?.read_exact_at(offset, out)
    }
}

impl std::fmt::Debug for ValueLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ValueLog({})", self.id())
    }
}
