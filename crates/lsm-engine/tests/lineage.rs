//! A manifest that lost its tail, or is gone, beside merges that were installed slice by slice: whatever lies on the disk,
//! nothing is there twice, nothing that was deleted comes back, and nothing is missing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test should fail where it fails")]

mod common;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use common::{Pairs, at, contents, flush, small_tables};
use lsm_compaction_planner::{CompactionStrategy, Level, Plan, PlanView, Settings};
use lsm_engine::{
    BlockCache, Cancel, CompactOptions, ExecutorError, Failpoints, LeftOut, Reader, RecoveryMode,
    SpaceOptions, Tree, TreeOptions, VlogPolicy,
};
use lsm_fs::{EntryKind, Fs, FsFile, MemFs, OpenOptions};
use lsm_repair::{Depth, Scope, VerifyOptions, verify};
use lsm_testkit::{dice::Dice, operators::Join};
use lsm_types::{ErrorKind, ReadAt};
use parking_lot::Mutex;

/// The files of a database.
type Image = BTreeMap<PathBuf, Vec<u8>>;

const ROOMY: u64 = 1 << 30;

#[derive(Clone, Copy)]
struct World {
    /// Values from this length on are separated.
    separates: Option<u32>,
    /// Entries per run.
    entries: u64,
    /// Bytes of a slice.
    slice: u64,
    /// Whether slices are made while the ones before are installed.
    ahead: bool,
}

const PLAIN: World = World { separates: None, entries: 400, slice: 2_500, ahead: false };

impl World {
    fn options(self, fs: &Arc<dyn Fs>, mode: RecoveryMode) -> TreeOptions {
        let space = SpaceOptions::default().admission(true).reserve_min_bytes(0).tight(true);
        let space = space.slice_min_bytes(0).slice_max_bytes(Some(self.slice)).slices_ahead(Some(self.ahead));
        let options = TreeOptions::new("/db")
            .store(|store| {
                let store = store.fs(fs.clone()).space(space).cache(BlockCache::new(0)).recovery_mode(mode);
                store.manifest_mirror(false).manifest_rotate_min(1 << 30)
            })
            .tables(small_tables().data_block_bytes(1_024))
            .merge_operator(Arc::new(Join::new(true)))
            .table_target_bytes(8 << 20);
        match self.separates {
            None => options,
            Some(from) => options.separation(VlogPolicy { thresholds: vec![from], ..VlogPolicy::default() }),
        }
    }

    fn open(self, fs: &Arc<dyn Fs>, mode: RecoveryMode) -> Tree {
        Tree::open(self.options(fs, mode)).unwrap()
    }

    /// Three runs over each other: values, operands on top of them, deletes of keys and of ranges on top of these.
    fn fill(self, fs: &Arc<dyn Fs>) -> (Tree, u64) {
        let tree = self.open(fs, RecoveryMode::Strict);
        let (mut dice, mut next) = (Dice::new(7), 1);
        for run in 0..3_u64 {
            for entry in 0..self.entries {
                let key = format!("key-{:05}", entry * 2 + u64::from(run == 1 && entry % 5 == 0));
                let value: Vec<u8> = (0..12).flat_map(|_| dice.roll().to_le_bytes()).collect();
                match (run, entry % 4) {
                    (0, _) | (1, 3) => tree.insert(key, value, at(next)).map(drop),
                    (1, _) => tree.merge(key, &value[..9], at(next)).map(drop),
                    (_, 1) => tree.remove(key, at(next)).map(drop),
                    _ => tree.merge(key, b"+", at(next)).map(drop),
                }
                .unwrap();
                next += 1;
            }
            let from = 60 * run + 50;
            tree.remove_range(format!("key-{from:05}")..format!("key-{:05}", from + 90), at(next)).unwrap();
            next += 1;
            flush(&tree);
        }
        tree.set_gc_watermark(at(next));
        (tree, next)
    }

    /// A world on a disk that has so many bytes free.
    fn nearly_full(self, free: u64) -> (Arc<dyn Fs>, Tree, u64) {
        let ample = MemFs::with_capacity(ROOMY);
        drop(self.fill(&(Arc::new(ample.clone()) as _)));
        let used = ROOMY - ample.available_space(Path::new("/")).unwrap().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(MemFs::with_capacity(used + free));
        let (tree, next) = self.fill(&fs);
        (fs, tree, next)
    }
}

fn image(fs: &dyn Fs) -> Image {
    let mut image = Image::new();
    let mut folders = vec![PathBuf::from("/db")];
    while let Some(folder) = folders.pop() {
        for entry in fs.read_dir(&folder).unwrap() {
            let path = folder.join(&entry.name);
            if entry.kind == EntryKind::Dir {
                folders.push(path);
                continue;
            }
            let file = fs.open(&path, &OpenOptions::READ).unwrap();
            let mut bytes = vec![0; usize::try_from(FsFile::len(file.as_ref()).unwrap()).unwrap()];
            file.read_exact_at(0, &mut bytes).unwrap();
            image.insert(path, bytes);
        }
    }
    image
}

fn disk(image: &Image) -> Arc<dyn Fs> {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    for (path, bytes) in image.iter().filter(|(path, _)| !path.ends_with("LOCK")) {
        fs.create_dir_all(path.parent().unwrap()).unwrap();
        fs.open(path, &OpenOptions::CREATE_NEW).unwrap().write_at(0, bytes).unwrap();
    }
    fs
}

fn is_manifest(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.contains("MANIFEST") || name.contains("CURRENT")
}

/// The files with another manifest.
fn with_manifest(image: &Image, manifest: Option<&Image>) -> Image {
    let files = image.iter().filter(|(path, _)| !is_manifest(path));
    let manifest = manifest.into_iter().flatten().filter(|(path, _)| is_manifest(path));
    files.chain(manifest).map(|(path, bytes)| (path.clone(), bytes.clone())).collect()
}

/// The files, with those tables and value logs as they were that were there at first.
fn with_whole_inputs(image: &Image, first: &Image) -> Image {
    let mut files = image.clone();
    for (path, bytes) in first.iter().filter(|(path, _)| !is_manifest(path) && !path.ends_with("LOCK")) {
        files.insert(path.clone(), bytes.clone());
    }
    files
}

/// Does something whenever a slice is installed.
struct Each<F>(F);

impl<F: Fn() + Send + Sync> Failpoints for Each<F> {
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        if point == "install.after" {
            (self.0)();
        }
        Ok(())
    }
}

/// Merges the tables of one level, or of all, into the last.
struct Merge(Option<u8>);

impl CompactionStrategy for Merge {
    fn name(&self) -> &'static str {
        "test.merge"
    }

    fn settings(&self) -> Settings {
        Settings::new()
    }

    fn plan(&self, view: &PlanView<'_>) -> Plan {
        let is_wanted = |level: Level| self.0.is_none_or(|wanted| level == Level::new(wanted));
        let tables = view.levels.tables().filter(|(level, _)| is_wanted(*level));
        let tables: Vec<_> = tables.map(|(_, table)| table.id).collect();
        Plan::merge(view, tables, Level::new(6), 8 << 20)
    }
}

/// The files before the first slice, after each, and at the end; the job is stopped after so many.
fn sliced(world: World, fs: &Arc<dyn Fs>, tree: &Tree, stops_after: usize) -> Vec<Image> {
    sliced_with(world, (fs, tree), stops_after, |_| {})
}

/// The same; `each` is told the number of each slice.
fn sliced_with(
    world: World,
    (fs, tree): (&Arc<dyn Fs>, &Tree),
    stops_after: usize,
    each: impl Fn(usize) + Send + Sync + 'static,
) -> Vec<Image> {
    let images = Arc::new(Mutex::new(vec![image(fs.as_ref())]));
    let cancel = Cancel::new();
    let failpoints: Arc<dyn Failpoints> = Arc::new(Each({
        let (images, fs, cancel) = (images.clone(), fs.clone(), cancel.clone());
        move || {
            let mut images = images.lock();
            each(images.len());
            images.push(image(fs.as_ref()));
            if images.len() > stops_after {
                cancel.cancel();
            }
        }
    }));
    let outcome = tree.compact_with(&Merge(None), &CompactOptions::default().cancel(cancel), &failpoints);
    match outcome {
        Ok(report) => assert!(
            report.sliced.unwrap().slices >= if world.separates.is_some() { 2 } else { 5 },
            "{report:?}"
        ),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}"),
    }
    drop(failpoints);
    let mut images = Arc::into_inner(images).unwrap().into_inner();
    images.push(image(fs.as_ref()));
    assert!(world.entries < 1_000 && images.len() > stops_after.min(3));
    images
}

/// Says which keys differ, not all of them.
#[track_caller]
fn assert_same(found: &Pairs, expected: &Pairs, what: &str) {
    let differs = found.iter().zip(expected).position(|(one, other)| one != other);
    let key = |pairs: &Pairs, at: Option<usize>| {
        Some(
            String::from_utf8_lossy(&pairs.get(at.unwrap_or(found.len().min(expected.len())))?.0)
                .into_owned(),
        )
    };
    let first = (key(found, differs), key(expected, differs));
    assert!(found == expected, "{} pairs for {}, {first:?}: {what}", found.len(), expected.len());
}

/// Opens what is there in a mode that gives something up, and goes on with it.
#[track_caller]
fn check(world: World, files: &Image, mode: RecoveryMode, expected: &Pairs, what: &str) -> Arc<dyn Fs> {
    let fs = disk(files);
    let tree = match Tree::open(world.options(&fs, mode)) {
        Ok(tree) => tree,
        Err(error) => panic!("{what} {mode:?}: {error} {error:?}"),
    };
    let report = tree.open_report().clone();
    assert_same(&contents(&tree).unwrap(), expected, &format!("{what} {mode:?} {report:?}"));
    for (key, value) in expected.iter().step_by(17) {
        assert_eq!(tree.get(key).unwrap().as_deref(), Some(&value[..]), "{what} {mode:?}");
    }
    assert!(report.files.lost.is_empty(), "{what} {mode:?} {report:?}");
    tree.store().accept_recovery().unwrap();
    drop(tree);
    let tree = world.open(&fs, RecoveryMode::Strict);
    assert_same(&contents(&tree).unwrap(), expected, &format!("{what} {mode:?} again"));
    let verified = tree.verify().unwrap();
    assert!(verified.is_clean(), "{what} {mode:?} {:?}", verified.findings);
    drop(tree);
    fs
}

/// A database that is whole goes on as if nothing had been.
fn finish(world: World, fs: &Arc<dyn Fs>, expected: &Pairs) {
    let tree = world.open(fs, RecoveryMode::Strict);
    tree.store().set_space(SpaceOptions::default());
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(&contents(&tree).unwrap(), expected);
    assert_eq!(fs.read_dir(Path::new("/db/tables")).unwrap().len(), tree.stats().tables());
}

/// All ways in which manifest and files can be out of step: the manifest of any slice up to the one of the files, or none;
/// inputs as they were left, or whole.
fn check_all(world: World, images: &[Image], expected: &Pairs) {
    let first = &images[0];
    for (now, files) in images.iter().enumerate() {
        for (inputs, files) in [("left", files.clone()), ("whole", with_whole_inputs(files, first))] {
            let what = format!("slice {now} inputs {inputs}");
            let bare = with_manifest(&files, None);
            let fs = check(world, &bare, RecoveryMode::RebuildFromFiles, expected, &what);
            if now % 4 == 1 {
                finish(world, &fs, expected);
            }
            for then in (0..=now).filter(|then| then % 3 == 0 || then + 2 > now) {
                let what = format!("{what} manifest {then}");
                let files = with_manifest(&files, Some(&images[then]));
                for mode in
                    [RecoveryMode::PointInTime, RecoveryMode::SkipCorrupt, RecoveryMode::RebuildFromFiles]
                {
                    check(world, &files, mode, expected, &what);
                }
            }
        }
    }
}

/// Proves D-109, D-49, C-133: the manifest loses its tail at every slice, or is gone, and inputs are punched, or whole, or
/// back. Operands are folded once, deleted keys and ranges stay deleted.
/// Fault: durability W-11. Fault: compaction W-10.
#[test]
fn inputs_and_slices_are_never_both_taken() {
    let (fs, tree, _) = PLAIN.nearly_full(60 << 10);
    let expected = contents(&tree).unwrap();
    let images = sliced(PLAIN, &fs, &tree, usize::MAX);
    drop(tree);
    assert!(images.len() > 6, "{}", images.len());
    check_all(PLAIN, &images, &expected);
}

/// Proves D-109, D-49, C-133: the same where a slice is made while the one before is installed: whenever the manifest is
/// about to be written, and when it is, no table of the next slice is there as a whole.
#[test]
fn a_slice_made_ahead_knows_of_the_one_before() {
    let world = World { ahead: true, ..PLAIN };
    let (fs, tree, _) = world.nearly_full(60 << 10);
    let expected = contents(&tree).unwrap();
    let (images, made) = (Arc::new(Mutex::new(vec![image(fs.as_ref())])), Arc::new(AtomicUsize::new(0)));
    let failpoints: Arc<dyn Failpoints> = Arc::new(Beside {
        look: {
            let (images, fs) = (images.clone(), fs.clone());
            move || images.lock().push(image(fs.as_ref()))
        },
        made: made.clone(),
        installs: AtomicUsize::new(0),
    });
    tree.compact_with(&Merge(None), &CompactOptions::default(), &failpoints).unwrap();
    drop((failpoints, tree));
    let mut images = Arc::into_inner(images).unwrap().into_inner();
    images.push(image(fs.as_ref()));
    assert!(images.len() > 10 && made.load(Relaxed) > 5, "{}", images.len());
    let images: Vec<Image> = images.into_iter().step_by(3).collect();
    check_all(world, &images, &expected);
}

/// Looks around right before a slice is installed and right after, by when the next one is written but for its end.
struct Beside<F> {
    look: F,
    made: Arc<AtomicUsize>,
    installs: AtomicUsize,
}

impl<F: Fn() + Send + Sync> Failpoints for Beside<F> {
    fn hit(&self, point: &'static str) -> Result<(), ExecutorError> {
        match point {
            "segment.seal" => _ = self.made.fetch_add(1, Relaxed),
            "install.before" => {
                let nth = self.installs.fetch_add(1, Relaxed) + 1;
                let is_beside = std::thread::current().name() == Some("lsm-install");
                while is_beside && self.made.load(Relaxed) <= nth {
                    std::thread::yield_now();
                }
                (self.look)();
            }
            "install.after" => (self.look)(),
            _ => {}
        }
        Ok(())
    }
}

/// Proves D-109: the same with values apart from their keys, of which each table says how much it refers to.
#[test]
fn separated_values_are_counted_once() {
    let world = World { separates: Some(40), slice: 600, ..PLAIN };
    let (fs, tree, _) = world.nearly_full(60 << 10);
    let expected = contents(&tree).unwrap();
    let images = sliced(world, &fs, &tree, usize::MAX);
    drop(tree);
    check_all(world, &images, &expected);
}

/// Proves D-109, C-133: slices that were merged on, and are gone themselves, still count: what was made of them says how far
/// the inputs were taken over, and so does every table that was written meanwhile.
#[test]
fn slices_may_have_been_merged_on() {
    let (fs, tree, next) = PLAIN.nearly_full(90 << 10);
    let expected = contents(&tree).unwrap();
    let mut images = sliced(PLAIN, &fs, &tree, 3);
    tree.store().set_space(SpaceOptions::default());
    tree.compact(&Merge(Some(6)), &CompactOptions::default()).unwrap();
    images.push(image(fs.as_ref()));
    check_all(PLAIN, &images, &expected);
    tree.insert("later", "value", at(next)).unwrap();
    flush(&tree);
    let expected = contents(&tree).unwrap();
    let files = image(fs.as_ref());
    for (what, files) in [("left", files.clone()), ("whole", with_whole_inputs(&files, &images[0]))] {
        check(PLAIN, &with_manifest(&files, None), RecoveryMode::RebuildFromFiles, &expected, what);
        // What was flushed is in a file that is known by its edit alone; without any it is taken for what it is.
        check(PLAIN, &files, RecoveryMode::RebuildFromFiles, &expected, what);
    }
}

/// Proves D-109: inputs that a reader holds when all is through, and that are still there when the power goes, do not come
/// back: what was written meanwhile knows that they had left.
#[test]
fn inputs_that_a_reader_held_do_not_come_back() {
    let (fs, tree, _) = PLAIN.nearly_full(95 << 10);
    let slices = sliced(PLAIN, &fs, &tree, usize::MAX).len() - 2;
    drop(tree);
    let (fs, tree, _) = PLAIN.nearly_full(95 << 10);
    let expected = contents(&tree).unwrap();
    let held = Arc::new(Mutex::new(None));
    let keep = {
        let (held, tree) = (held.clone(), tree.clone());
        move |slice| {
            if slice + 2 == slices {
                *held.lock() = Some(tree.view());
            }
        }
    };
    let images = sliced_with(PLAIN, (&fs, &tree), usize::MAX, keep);
    tree.store().set_space(SpaceOptions::default());
    tree.compact(&Merge(Some(6)), &CompactOptions::default()).unwrap();
    let files = image(fs.as_ref());
    let is_input = |path: &&PathBuf| path.extension().is_some_and(|end| end == "sst");
    let is_held = images[0].keys().filter(is_input).any(|path| files.contains_key(path));
    assert!(is_held, "the reader holds what was replaced");
    for files in [files.clone(), with_whole_inputs(&files, &images[0])] {
        check(PLAIN, &with_manifest(&files, None), RecoveryMode::RebuildFromFiles, &expected, "held");
    }
    assert_eq!(contents(held.lock().as_ref().unwrap()).unwrap(), expected);
}

/// Proves D-109, D-111: bytes of an input are gone, and the slice that took its place is damaged: the input is set aside,
/// named, and not taken for a whole one.
#[test]
fn an_input_without_its_front_is_no_whole_one() {
    let (fs, tree, _) = PLAIN.nearly_full(60 << 10);
    let images = sliced(PLAIN, &fs, &tree, 2);
    drop(tree);
    let files = with_manifest(&images[2], None);
    let is_table = |path: &&PathBuf| path.extension().is_some_and(|end| end == "sst");
    let inputs: Vec<_> = images[0].keys().filter(is_table).cloned().collect();
    let files: Image =
        files.into_iter().filter(|(path, _)| !is_table(&path) || inputs.contains(path)).collect();
    let mut files = files;
    // As a disk gives back whole blocks.
    files.get_mut(&inputs[0]).unwrap()[4_096..12_288].fill(0);
    let fs = disk(&files);
    let tree = PLAIN.open(&fs, RecoveryMode::RebuildFromFiles);
    let left_out = tree.open_report().rebuilt.clone().unwrap().left_out;
    assert!(left_out.iter().all(|(_, why)| matches!(why, LeftOut::Consumed)), "{left_out:?}");
    let first = left_out.iter().any(|(id, _)| inputs[0].ends_with(format!("{:020}.sst", id.get())));
    assert!(first, "{left_out:?} {inputs:?}");
    contents(&tree).unwrap();
    tree.store().accept_recovery().unwrap();
    assert_eq!(fs.read_dir(Path::new("/db/quarantine")).unwrap().len(), left_out.len());
}

/// Proves C-133, D-113: a table of which bytes were given back is checked by itself as far as the manifest beside it says that
/// it is left, and so is the whole directory.
#[test]
fn a_file_by_itself_is_checked_as_far_as_it_is_left() {
    let (fs, tree, _) = PLAIN.nearly_full(60 << 10);
    sliced(PLAIN, &fs, &tree, 4);
    let bounded = tree.pin().tables().filter(|table| table.lower().is_some()).count();
    tree.close().unwrap();
    let mut released = Vec::new();
    let options = VerifyOptions::default();
    for entry in fs.read_dir(Path::new("/db/tables")).unwrap() {
        let path = Path::new("/db/tables").join(entry.name);
        let report = verify(&Scope::File { fs: &fs, path: &path }, Depth::Structure, &options).unwrap();
        assert!(report.is_clean(), "{path:?} {:?}", report.findings);
        released.extend(Some(report.released_bytes).filter(|bytes| *bytes > 0));
    }
    assert!(bounded > 0 && released.len() <= bounded, "{released:?} of {bounded}");
    let whole = Scope::Directory { fs: &fs, root: Path::new("/db") };
    let report = verify(&whole, Depth::Manifest, &options).unwrap();
    assert!(report.is_clean() && report.released_bytes == released.iter().sum::<u64>(), "{report:?}");
    assert!(report.released_bytes > 0);
}
