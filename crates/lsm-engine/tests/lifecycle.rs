//! From the moment a file is not needed any more to the moment it is gone, and from closing to closed.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test should fail where it fails")]

mod common;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{at, contents, flush, small_tables};
use lsm_engine::{
    CheckpointOptions, CompactOptions, DescriptorCache, OpenMode, Reader, ReclaimOptions, Store,
    StoreOptions, Tree, TreeOptions,
};
use lsm_fs::{
    Capabilities, DirEntry, Fs, FsFile, LockMode, MemFs, Metadata, NamespaceId, OpenOptions, SyncLevel,
    WriteError,
};
use lsm_testkit::sim::{FaultPlan, FaultRule, SimConfig, SimFs};
use lsm_types::{EntryCursor, ErrorKind, IoError, IoKind, IoOp, TreeId};
use parking_lot::Mutex;

fn options_on(fs: Arc<dyn Fs>) -> TreeOptions {
    TreeOptions::new("/db").store(|store| store.fs(fs)).tables(small_tables()).table_target_bytes(1_500)
}

fn options(fs: &SimFs) -> TreeOptions {
    options_on(Arc::new(fs.clone()))
}

fn by_thread() -> ReclaimOptions {
    ReclaimOptions { thread: Some(true), ..ReclaimOptions::default() }
}

fn fill(tree: &Tree, first: u64) {
    for number in 0..40 {
        tree.insert(format!("key-{number:03}"), vec![b'a'; 60], at(first + number)).unwrap();
    }
}

/// Two flushed versions of forty keys.
fn filled(options: TreeOptions) -> Tree {
    let tree = Tree::open(options).unwrap();
    fill(&tree, 100);
    flush(&tree);
    fill(&tree, 200);
    flush(&tree);
    tree
}

fn compact(tree: &Tree) {
    tree.set_gc_watermark(at(1_000));
    tree.major_compact(&CompactOptions::default()).unwrap();
}

fn tables(fs: &dyn Fs) -> usize {
    fs.read_dir(Path::new("/db/tables")).unwrap().len()
}

/// Waits for something that a thread is about to do. A test that waits in vain fails; none depends on how long it takes.
#[track_caller]
fn wait_until(mut done: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it never happens");
}

/// Files of the system as some systems have them: one that is open cannot be removed.
#[derive(Debug)]
struct StrictFs {
    inner: MemFs,
    open: Arc<Mutex<Vec<PathBuf>>>,
    refused: AtomicU64,
    /// Most table files open at once.
    most: AtomicU64,
    /// How long a removal takes.
    removal_takes: Mutex<Duration>,
    /// Removals under way.
    removing: AtomicU64,
}

impl StrictFs {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemFs::new(),
            open: Arc::default(),
            refused: AtomicU64::new(0),
            most: AtomicU64::new(0),
            removal_takes: Mutex::default(),
            removing: AtomicU64::new(0),
        })
    }

    fn open_tables(&self) -> u64 {
        let is_table = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "sst");
        self.open.lock().iter().filter(is_table).count() as u64
    }
}

#[derive(Debug)]
struct StrictFile {
    inner: Arc<dyn FsFile>,
    path: PathBuf,
    open: Arc<Mutex<Vec<PathBuf>>>,
}

impl Drop for StrictFile {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        let at = open.iter().position(|path| *path == self.path).unwrap();
        open.swap_remove(at);
    }
}

impl FsFile for StrictFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, IoError> {
        self.inner.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), WriteError> {
        self.inner.write_at(offset, bytes)
    }
    fn append(&self, bytes: &[u8]) -> Result<u64, WriteError> {
        self.inner.append(bytes)
    }
    fn len(&self) -> Result<u64, IoError> {
        self.inner.len()
    }
    fn set_len(&self, len: u64) -> Result<(), IoError> {
        self.inner.set_len(len)
    }
    fn sync(&self, level: SyncLevel) -> Result<(), IoError> {
        self.inner.sync(level)
    }
    fn metadata(&self) -> Result<Metadata, IoError> {
        self.inner.metadata()
    }
    fn try_lock(&self, mode: LockMode) -> Result<bool, IoError> {
        self.inner.try_lock(mode)
    }
}

impl Fs for StrictFs {
    fn open(&self, path: &Path, options: &OpenOptions) -> Result<Arc<dyn FsFile>, IoError> {
        let inner = self.inner.open(path, options)?;
        self.open.lock().push(path.to_owned());
        self.most.fetch_max(self.open_tables(), Ordering::Relaxed);
        Ok(Arc::new(StrictFile { inner, path: path.to_owned(), open: self.open.clone() }))
    }
    fn create_dir(&self, path: &Path) -> Result<(), IoError> {
        self.inner.create_dir(path)
    }
    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>, IoError> {
        self.inner.read_dir(path)
    }
    fn remove_file(&self, path: &Path) -> Result<(), IoError> {
        if self.open.lock().iter().any(|open| open == path) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(IoError::new(IoOp::Remove, IoKind::PermissionDenied));
        }
        self.removing.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(*self.removal_takes.lock());
        let removed = self.inner.remove_file(path);
        self.removing.fetch_sub(1, Ordering::SeqCst);
        removed
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
    fn capabilities(&self, path: &Path) -> Result<Capabilities, IoError> {
        self.inner.capabilities(path)
    }
    fn namespace_id(&self) -> Option<NamespaceId> {
        None
    }
}

/// Proves D-64, D-66, E-145: a thread removes what a compaction replaced, outputs of compactions included, once nobody
/// reads it; a reader that began before finds everything.
/// Fault: durability W-30.
#[test]
fn files_go_in_the_background_when_their_last_reader_is_gone() {
    let fs = SimFs::new(SimConfig::default());
    let tree = filled(options(&fs).store(|store| store.reclaim(by_thread())));
    for round in 0..3 {
        let view = tree.view();
        let before = (tables(&fs), contents(&view).unwrap());
        fill(&tree, 1_000 + 100 * round);
        flush(&tree);
        compact(&tree);
        let stats = tree.stats();
        assert_eq!(stats.reclaim.pinned_files as usize, before.0, "round {round}");
        assert!(stats.disk_bytes() > stats.file_bytes());
        assert_eq!(contents(&view).unwrap(), before.1);
        drop(view);
        wait_until(|| tree.stats().reclaim.queued_files == 0 && tree.stats().reclaim.pinned_files == 0);
        assert_eq!(tables(&fs), tree.stats().tables());
    }
    let removed = tree.stats().reclaim;
    let unlinked = |event: &Arc<lsm_testkit::sim::Event>| {
        event.kind == lsm_testkit::sim::EventKind::Remove && event.path.starts_with("/db/tables")
    };
    let paths: Vec<_> = fs.trace().iter().filter(|event| unlinked(event)).map(|e| e.path.clone()).collect();
    let distinct: std::collections::HashSet<_> = paths.iter().collect();
    assert_eq!(
        (paths.len(), distinct.len()),
        (removed.removed_files as usize, paths.len()),
        "each goes once"
    );
}

/// Proves D-66: a file that cannot be removed is tried again until it can, also the one of a job that failed.
#[test]
fn removals_that_fail_are_repeated() {
    for reclaim in [by_thread(), ReclaimOptions::default()] {
        let fs = SimFs::new(SimConfig::default());
        let tree = filled(options(&fs).store(|store| store.reclaim(reclaim)));
        let refuse = FaultRule::fail(IoKind::PermissionDenied).on(IoOp::Remove).path("/db/tables/*").from(0);
        fs.set_faults(FaultPlan::new().with(refuse.clone()));
        compact(&tree);
        wait_until(|| tree.stats().reclaim.errors > 0);
        assert!(tree.stats().reclaim.queued_files > 0);
        // A flush that fails leaves a file that cannot be removed either.
        fill(&tree, 1_000);
        tree.seal(None);
        let full = FaultRule::fail(IoKind::NoSpace).on(IoOp::Sync).path("/db/tables/*").nth(0);
        fs.set_faults(FaultPlan::new().with(refuse).with(full));
        tree.flush(&lsm_engine::FlushOptions::default()).unwrap_err();
        fs.set_faults(FaultPlan::new());
        flush(&tree);
        if reclaim.thread == Some(true) {
            wait_until(|| tree.stats().reclaim.queued_files == 0);
        }
        tree.close().unwrap();
        let tree = Tree::open(options(&fs).store(|store| store.mode(OpenMode::ReadOnly))).unwrap();
        assert_eq!(tables(&fs), tree.stats().tables(), "closing removed what was left");
    }
}

/// Proves D-66: what cannot be removed before closing ends is an orphan, and the next open sweeps it.
#[test]
fn what_closing_leaves_the_next_open_sweeps() {
    let fs = SimFs::new(SimConfig::default());
    let tree = filled(options(&fs).store(|store| store.reclaim(by_thread())));
    let refuse = FaultRule::fail(IoKind::PermissionDenied).on(IoOp::Remove).path("/db/tables/*").from(0);
    fs.set_faults(FaultPlan::new().with(refuse));
    compact(&tree);
    tree.close().unwrap();
    fs.set_faults(FaultPlan::new());
    let left = tables(&fs);
    let tree = Tree::open(options(&fs)).unwrap();
    assert_eq!(tree.open_report().files.deleted.len(), left - tree.stats().tables());
    assert_eq!(tables(&fs), tree.stats().tables());
}

/// Proves D-64, D-67: handles are closed before their files are removed, whatever cache holds them.
#[test]
fn files_are_closed_before_they_are_removed() {
    let caches = [DescriptorCache::new(1), DescriptorCache::new(1_000), DescriptorCache::pinned()];
    for (cache, reclaim) in caches.into_iter().zip([by_thread(), ReclaimOptions::default(), by_thread()]) {
        let fs = StrictFs::new();
        let how = options_on(fs.clone()).store(|store| store.reclaim(reclaim).descriptors(cache));
        let tree = filled(how);
        let mut iterator = tree.iter();
        iterator.next().unwrap().unwrap();
        compact(&tree);
        contents(&tree).unwrap();
        drop(iterator);
        wait_until(|| tree.stats().reclaim.queued_files == 0);
        assert_eq!(tables(fs.as_ref()), tree.stats().tables());
        tree.close().unwrap();
        assert_eq!((fs.refused.load(Ordering::Relaxed), fs.open_tables()), (0, 0));
        assert!(fs.open.lock().is_empty(), "{:?}", fs.open.lock());
    }
}

/// Proves D-67: eight threads read a hundred tables through one descriptor, and none is closed under a reader.
#[test]
fn one_descriptor_serves_many_readers() {
    let fs = StrictFs::new();
    let how = options_on(fs.clone())
        .table_target_bytes(1)
        .store(|store| store.descriptors(DescriptorCache::new(1)).cache(lsm_engine::BlockCache::new(0)));
    let tree = Tree::open(how).unwrap();
    for number in 0..100 {
        tree.insert(format!("key-{number:03}"), vec![number; 300], at(u64::from(number) + 1)).unwrap();
    }
    flush(&tree);
    assert!(tree.stats().tables() >= 100, "{} tables", tree.stats().tables());
    assert_eq!(fs.most.swap(0, Ordering::Relaxed), 1, "a table is closed when it is written");
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let tree = &tree;
            scope.spawn(move || {
                for step in 0..200_u32 {
                    let number = u8::try_from((u32::from(thread) * 37 + step * 13) % 100).unwrap();
                    let found = tree.get(format!("key-{number:03}")).unwrap().unwrap();
                    assert_eq!(found[..], [number; 300]);
                }
            });
        }
    });
    // One per reader, and the one that is cached.
    assert!(fs.most.load(Ordering::Relaxed) <= 9, "{:?}", fs.most);
    assert!(fs.open_tables() <= 1);
}

/// Proves D-67: without a bound every file stays open until it is obsolete.
#[test]
fn pinned_descriptors_stay_open() {
    let fs = StrictFs::new();
    let how = options_on(fs.clone())
        .store(|store| store.descriptors(DescriptorCache::pinned()).cache(lsm_engine::BlockCache::new(0)));
    let tree = filled(how);
    contents(&tree).unwrap();
    assert_eq!(fs.open_tables() as usize, tree.stats().tables());
    compact(&tree);
    assert_eq!(fs.open_tables(), 0);
}

/// Proves D-67: a process without descriptors lets go of what it only keeps for later, and goes on, also when it writes.
#[test]
fn running_out_of_descriptors_is_survived() {
    let fs = SimFs::new(SimConfig::default());
    let tree = filled(options(&fs).store(|store| store.cache(lsm_engine::BlockCache::new(0))));
    let expected = contents(&tree).unwrap();
    let exhausted = FaultRule::fail(IoKind::TooManyOpenFiles).on(IoOp::Open).path("*.sst");
    fs.set_faults(FaultPlan::new().with(exhausted.clone().nth(0)));
    fill(&tree, 200);
    flush(&tree);
    assert_eq!(fs.faults_struck(), 1);
    // From here on every other open fails.
    fs.set_faults(FaultPlan::new().with(exhausted.clone().every(2)));
    assert_eq!(contents(&tree).unwrap(), expected);
    fs.set_faults(FaultPlan::new().with(exhausted.from(0)));
    assert_eq!(tree.get("key-000").unwrap_err().kind(), ErrorKind::Io);
    fs.set_faults(FaultPlan::new());
    assert_eq!(contents(&tree).unwrap(), expected);
}

/// Proves E-9, D-68: the signal comes when the last of everything is gone, and not before; what is still there works.
#[test]
fn closed_is_when_nothing_is_left() {
    let fs = SimFs::new(SimConfig::default());
    let tree = filled(options(&fs).store(|store| store.reclaim(by_thread())));
    let expected = contents(&tree).unwrap();
    let handle = tree.close_handle();
    let called = Arc::new(AtomicBool::new(false));
    handle.on_closed({
        let (called, fs) = (called.clone(), fs.clone());
        // The lock is free by then, and everything may be removed.
        move || {
            let tree = Tree::open(options(&fs)).unwrap();
            assert!(tree.open_report().manifest.as_ref().unwrap().is_clean);
            assert!(tree.open_report().files.deleted.is_empty(), "what readers kept went with them");
            assert_eq!(contents(&tree).unwrap().len(), 40);
            called.store(true, Ordering::SeqCst);
        }
    });
    let weak = tree.downgrade();
    let (mut iterator, view, pin) = (tree.iter().pairs(), tree.view(), tree.pin());
    let (deletions, history) = (tree.hold_deletions(), tree.hold(at(1_000)).unwrap());
    iterator.next().unwrap().unwrap();
    compact(&tree);
    tree.close().unwrap();

    let still_open = || !handle.is_closed() && !called.load(Ordering::SeqCst);
    assert!(still_open() && !handle.wait_closed_for(Duration::from_millis(1)));
    assert_eq!(Tree::open(options(&fs)).unwrap_err().kind(), ErrorKind::Locked);
    assert_eq!(iterator.by_ref().count(), 39);
    drop(iterator);
    assert_eq!(contents(&view).unwrap(), expected);
    let upgraded = weak.upgrade().unwrap();
    assert_eq!(upgraded.insert("late", "", at(2_000)).unwrap_err().kind(), ErrorKind::Closed);
    drop(upgraded);
    let kept: [Box<dyn std::any::Any>; 3] = [Box::new(view), Box::new(history), Box::new(deletions)];
    for (step, one) in kept.into_iter().enumerate() {
        assert!(still_open(), "step {step}");
        drop(one);
    }
    assert!(still_open());
    drop(pin);
    assert!(handle.is_closed() && called.load(Ordering::SeqCst) && weak.upgrade().is_none());
    handle.wait_closed();
    let late = Arc::new(AtomicBool::new(false));
    let flag = late.clone();
    handle.on_closed(move || flag.store(true, Ordering::SeqCst));
    assert!(late.load(Ordering::SeqCst), "told at once when it is so already");
}

/// Proves E-9: dropping is enough, and the directory can be removed right after.
#[test]
fn a_directory_can_be_removed_right_after() {
    for close in [true, false] {
        let fs = SimFs::new(SimConfig::default());
        let tree = filled(options(&fs).store(|store| store.reclaim(by_thread())));
        compact(&tree);
        let handle = tree.close_handle();
        if close {
            tree.close().unwrap();
        } else {
            drop(tree);
        }
        handle.wait_closed();
        fs.remove_dir_all(Path::new("/db")).unwrap();
        let gone = fs.state_hash();
        std::thread::yield_now();
        assert!(!fs.exists(Path::new("/db")).unwrap() && fs.state_hash() == gone);
    }
}

/// Proves E-9: closing waits for the thread that removes files, also for the removal it is at.
#[test]
fn closing_waits_for_the_removal_under_way() {
    let fs = StrictFs::new();
    let tree = filled(options_on(fs.clone()).store(|store| store.reclaim(by_thread())));
    *fs.removal_takes.lock() = Duration::from_millis(30);
    compact(&tree);
    wait_until(|| fs.removing.load(Ordering::SeqCst) > 0);
    tree.close().unwrap();
    assert_eq!(fs.removing.load(Ordering::SeqCst), 0);
}

/// Proves D-68: a job that closing interrupts installs nothing, and one tree of several can be closed alone.
/// Fault: durability W-12.
#[test]
fn closing_interrupts_jobs_and_installs_nothing_of_them() {
    let fs = SimFs::new(SimConfig::default());
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let store = Store::open(StoreOptions::new("/db").fs(shared)).unwrap();
    let how = TreeOptions::new("/db").tables(small_tables()).table_target_bytes(700);
    let (one, two) = (store.tree(TreeId::new(1), &how).unwrap(), store.tree(TreeId::new(2), &how).unwrap());
    for tree in [&one, &two] {
        fill(tree, 100);
        flush(tree);
        fill(tree, 200);
        flush(tree);
    }
    let before = contents(&one).unwrap();
    let tables_before = one.stats().tables() + two.stats().tables();
    // The compaction is in the middle of its merge when it is stopped.
    std::thread::scope(|scope| {
        let (begun, wait) = std::sync::mpsc::channel();
        let (close_is_under_way, closing) = std::sync::mpsc::channel::<()>();
        let pause: Arc<dyn lsm_engine::Failpoints> =
            Arc::new(At("sync.dir", Mutex::new(Some((begun, closing)))));
        let job = scope.spawn({
            let (one, pause) = (one.clone(), pause);
            move || {
                let strategy = lsm_compaction_planner::Major { target_bytes: 700 };
                one.compact_with(&strategy, &CompactOptions::default(), &pause)
            }
        });
        wait.recv().unwrap();
        let close = scope.spawn(|| store.close().map(|()| tables(&fs)));
        wait_until(|| one.flush(&lsm_engine::FlushOptions::default()).is_err());
        // Time for a close that does not wait for the job to be over before it.
        std::thread::sleep(Duration::from_millis(20));
        close_is_under_way.send(()).unwrap();
        assert_eq!(job.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(
            close.join().unwrap().unwrap(),
            tables_before,
            "nothing of the job is left when closing ends"
        );
    });
    assert_eq!(contents(&one).unwrap(), before);
    assert_eq!(tables(&fs), tables_before, "outputs of the job are gone");
    assert_eq!(two.insert("late", "", at(999)).unwrap_err().kind(), ErrorKind::Closed);
}

type Pause = Option<(std::sync::mpsc::Sender<()>, std::sync::mpsc::Receiver<()>)>;

/// Stops a job at a point until it is told to go on.
struct At(&'static str, Mutex<Pause>);

impl lsm_engine::Failpoints for At {
    fn hit(&self, point: &'static str) -> Result<(), lsm_engine::ExecutorError> {
        if point == self.0
            && let Some((begun, go_on)) = self.1.lock().take()
        {
            begun.send(()).unwrap();
            go_on.recv().unwrap();
        }
        Ok(())
    }
}

/// Proves E-96: a view says what it keeps, and since when it keeps more than there would be without it.
#[test]
fn a_view_says_what_it_keeps() {
    let fs = SimFs::new(SimConfig::default());
    let tree = filled(options(&fs));
    fill(&tree, 300);
    let view = tree.view();
    assert_eq!(view.pinned_file_bytes(), tree.stats().file_bytes());
    assert_eq!(view.pinned_memtable_bytes(), tree.memtable_bytes());
    assert_eq!(view.pinned_for(), Duration::ZERO);
    let kept = (view.pinned_file_bytes(), view.pinned_memtable_bytes());
    flush(&tree);
    compact(&tree);
    assert_eq!((view.pinned_file_bytes(), view.pinned_memtable_bytes()), kept);
    assert!(view.pinned_for() > Duration::ZERO && tree.view().pinned_for() == Duration::ZERO);
    assert_eq!(tree.stats().reclaim.pinned_bytes, kept.0);
}

/// Proves E-143, E-106: a pin touches no file, and what it lists stays as it is and can be read.
#[test]
fn a_pin_lists_what_stays() {
    let fs = SimFs::new(SimConfig::default());
    let tree = filled(options(&fs));
    fill(&tree, 300);
    fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::Other).from(0)));
    let pin = tree.pin();
    let lens: Vec<_> = pin.tables().map(|table| table.file_len()).collect();
    let memtable = pin.memtables().next().unwrap();
    assert_eq!((memtable.entry_count(), memtable.seqnos()), (40, Some((at(300), at(339)))));
    fs.set_faults(FaultPlan::new());
    assert_eq!(lens.iter().sum::<u64>(), pin.file_bytes());
    assert_eq!((pin.file_bytes(), pin.seqno()), (tree.stats().file_bytes(), at(340)));

    let on_disk: std::collections::BTreeMap<_, _> = fs.files();
    fill(&tree, 400);
    flush(&tree);
    compact(&tree);
    for table in pin.tables() {
        let path = PathBuf::from(format!("/db/tables/{:020}.sst", table.id().get()));
        let (mut bytes, len) = (Vec::new(), table.file_len() as usize);
        while bytes.len() < len {
            bytes.extend_from_slice(&table.read(bytes.len() as u64, 1_000).unwrap());
        }
        assert!(bytes.len() == len && bytes == on_disk[&path] && bytes == fs.files()[&path]);
        assert!(table.read(len as u64 + 1, 10).unwrap().is_empty());
    }
    let mut cursor = memtable.cursor();
    cursor.seek_first().unwrap();
    let mut count = 0;
    while let Some(entry) = cursor.entry() {
        assert!((at(300)..at(340)).contains(&entry.seqno));
        count += 1;
        cursor.next().unwrap();
    }
    assert_eq!(count, 40);
    let before = tables(&fs);
    drop(pin);
    assert_eq!(tables(&fs), tree.stats().tables());
    assert!(before > tables(&fs));
}

/// Proves E-143: what a pin holds is rebuilt elsewhere, memtables and history included; a crash on the way leaves
/// nothing, or all, and the next attempt finds its way.
#[test]
fn a_pin_is_rebuilt_elsewhere() {
    let fs = SimFs::new(SimConfig::default());
    let tree = filled(options(&fs));
    fill(&tree, 300);
    let pin = tree.pin();
    let (expected, old) = (contents(&tree).unwrap(), contents(&tree.view_at(at(200)).unwrap()).unwrap());
    fill(&tree, 400);
    flush(&tree);
    compact(&tree);
    let begun = fs.len();
    let target = Path::new("/copy");
    pin.restore_to(target, &CheckpointOptions::default()).unwrap();
    let at_copy = |fs: &SimFs| {
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let how = TreeOptions::new("/copy").store(|store| store.fs(shared).mode(OpenMode::MustExist));
        Tree::open(how).unwrap()
    };
    let check = |copy: &Tree| {
        assert_eq!(contents(copy).unwrap(), expected);
        assert_eq!(contents(&copy.view_at(at(200)).unwrap()).unwrap(), old);
        assert!(copy.verify().unwrap().is_clean());
        assert_eq!(copy.persisted().highest, Some(at(339)));
    };
    check(&at_copy(&fs));
    let again = pin.restore_to(target, &CheckpointOptions::default()).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);

    let (mut absent, mut complete) = (0, 0);
    for point in fs.crash_points().into_iter().filter(|point| *point >= begun) {
        for (_, image) in fs.images(point, &lsm_testkit::sim::Strategy::GATE).step_by(3) {
            if image.exists(target).unwrap() {
                complete += 1;
                check(&at_copy(&image));
            } else {
                absent += 1;
                lsm_engine::gc_staging(&image, target).unwrap();
                assert!(!image.exists(Path::new("/copy.staging")).unwrap());
            }
        }
    }
    assert!(absent > 10 && complete > 0, "{absent} without, {complete} with");

    // A target that died on the way is taken over by the next attempt.
    let other = Path::new("/other");
    fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::NoSpace).on(IoOp::Write).nth(5)));
    pin.restore_to(other, &CheckpointOptions::default()).unwrap_err();
    fs.set_faults(FaultPlan::new());
    assert!(!fs.exists(other).unwrap());
    pin.restore_to(other, &CheckpointOptions::default()).unwrap();
}

/// Proves D-31, E-3: a reader beside a writer whose tables were compacted away reads the newest state instead.
#[test]
fn a_reader_beside_a_writer_looks_again() {
    let fs = SimFs::new(SimConfig::default());
    let writer = filled(options(&fs));
    let read_only = || Tree::open(options(&fs).store(|store| store.mode(OpenMode::ReadOnly))).unwrap();
    let (reader, other) = (read_only(), read_only());
    let old_view = other.view();
    writer.insert("key-000", "newest", at(900)).unwrap();
    flush(&writer);
    assert_eq!(reader.get("key-000").unwrap().unwrap()[..], [b'a'; 60], "what it opened with");
    assert!(reader.refresh().unwrap() && !reader.refresh().unwrap());
    assert_eq!(reader.get("key-000").unwrap().unwrap(), b"newest");
    compact(&writer);
    assert_eq!(other.get("key-000").unwrap().unwrap(), b"newest", "its files are gone");
    assert_eq!(contents(&other).unwrap(), contents(&writer).unwrap());
    assert_eq!(other.view().before(), writer.view().before());
    old_view.get("key-001").unwrap_err();
    let before = fs.state_hash();
    drop((reader, other, old_view));
    assert_eq!(fs.state_hash(), before, "a reader changes nothing");
    assert_eq!(tables(&fs), writer.stats().tables());

    // Damage is not taken for a writer's work.
    fs.set_faults(FaultPlan::new().with(FaultRule::fail(IoKind::Other).on(IoOp::Open).path("*.sst").from(0)));
    assert_eq!(read_only().get("key-000").unwrap_err().kind(), ErrorKind::Io);
}

/// Fault: durability W-43. What the engine installs by itself takes none of the caller's numbers, trees of one
/// directory have numbers of their own, and each has as many levels as it was made with.
#[test]
fn installs_take_no_numbers() {
    let fs = SimFs::new(SimConfig::default());
    let store = Store::open(StoreOptions::new("/data/db").fs(Arc::new(fs))).unwrap();
    let options = |levels| {
        TreeOptions::in_store(StoreOptions::new("/data/db")).tables(small_tables()).level_count(levels)
    };
    let small = store.tree(TreeId::new(1), &options(3)).unwrap();
    let large = store.tree(TreeId::new(2), &options(12)).unwrap();
    for number in 0..10 {
        small.insert("key", "value", at(number)).unwrap();
        flush(&small);
    }
    small.major_compact(&CompactOptions::default()).unwrap();
    large.insert("key", "value", at(3)).unwrap();
    flush(&large);
    assert_eq!(small.persisted().highest, Some(at(9)));
    assert_eq!(large.persisted().highest, Some(at(3)));
    small.insert("key", "next", at(10)).unwrap();
    assert_eq!(small.get("key").unwrap().as_deref(), Some(&b"next"[..]));
    assert_eq!((small.stats().levels.len(), large.stats().levels.len()), (3, 12));
}
