//! Names: directories, opening, renaming, linking.

use std::path::Path;

use lsm_fs::{Creation, EntryKind, Fs, OpenOptions, SyncLevel};
use lsm_types::{IoKind, IoOp};

use super::{contents, contents_at, create, create_with, fails, within};

pub(super) fn check(fs: &dyn Fs, root: &Path) {
    within(fs, root, directories);
    within(fs, root, opening);
    within(fs, root, odd_names);
    within(fs, root, removing);
    within(fs, root, renaming);
    within(fs, root, renaming_directories);
    within(fs, root, linking);
    within(fs, root, syncing);
}

fn directories(fs: &dyn Fs, dir: &Path) {
    let deep = dir.join("a").join("b").join("c");
    fails(fs.create_dir(&deep), IoKind::NotFound);
    fs.create_dir_all(&deep).unwrap();
    fs.create_dir_all(&deep).unwrap();
    fails(fs.create_dir(&deep), IoKind::AlreadyExists);
    create(fs, &deep.join("file"));
    assert!(fs.create_dir_all(&deep.join("file")).is_err(), "a file is not a directory");
    assert!(fs.create_dir(&deep.join("file").join("below")).is_err());
    assert!(fs.read_dir(&deep.join("file")).is_err());
    fails(fs.read_dir(&dir.join("none")), IoKind::NotFound);
    assert!(fs.remove_dir(&deep).is_err(), "a directory with entries stays");
    assert_eq!(fs.metadata(&deep).unwrap().kind, EntryKind::Dir);

    let mut entries: Vec<_> = fs.read_dir(&deep).unwrap().into_iter().map(|e| (e.name, e.kind)).collect();
    assert_eq!(entries, [("file".into(), EntryKind::File)]);
    fs.create_dir(&deep.join("dir")).unwrap();
    entries = fs.read_dir(&deep).unwrap().into_iter().map(|e| (e.name, e.kind)).collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(entries, [("dir".into(), EntryKind::Dir), ("file".into(), EntryKind::File)]);
    fs.remove_dir(&deep.join("dir")).unwrap();
    fails(fs.remove_dir(&deep.join("dir")), IoKind::NotFound);
    fails(fs.remove_dir_all(&deep.join("dir")), IoKind::NotFound);
}

fn opening(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("file");
    let options = OpenOptions { creation: Creation::IfMissing, ..OpenOptions::READ };
    fails(fs.open(&path, &options), IoKind::InvalidInput);
    fails(fs.open(&path, &OpenOptions { truncate: true, ..OpenOptions::READ }), IoKind::InvalidInput);
    for options in [OpenOptions::READ, OpenOptions::WRITE] {
        let error = fs.open(&path, &options).unwrap_err();
        assert_eq!((error.op, error.kind), (IoOp::Open, IoKind::NotFound));
    }
    fails(fs.open(&dir.join("none").join("file"), &OpenOptions::CREATE), IoKind::NotFound);
    assert!(!fs.exists(&path).unwrap());

    create_with(fs, &path, b"first");
    assert!(fs.exists(&path).unwrap());
    fails(fs.open(&path, &OpenOptions::CREATE_NEW), IoKind::AlreadyExists);
    assert_eq!(contents(&*fs.open(&path, &OpenOptions::CREATE).unwrap()), b"first");
    let reader = fs.open(&path, &OpenOptions::READ).unwrap();
    fails(reader.write_at(0, b"x"), IoKind::PermissionDenied);
    fails(reader.append(b"x"), IoKind::PermissionDenied);
    fails(reader.set_len(1), IoKind::PermissionDenied);
    let writer = fs.open(&path, &OpenOptions::WRITE).unwrap();
    writer.write_at(0, b"F").unwrap();
    assert_eq!(contents(&*reader), b"First", "handles of one file show the same bytes");
    assert!(fs.open(&path, &OpenOptions::REPLACE).unwrap().is_empty().unwrap());
    assert!(reader.is_empty().unwrap());

    assert!(fs.open(dir, &OpenOptions::READ).is_err(), "a directory is no file");
    assert!(fs.open(dir, &OpenOptions::CREATE).is_err(), "a directory is no file");
    assert!(fs.open(&path.join("below"), &OpenOptions::CREATE).is_err(), "a file is no directory");
}

/// A name that is no text is a name like any other, wherever the system lets it be made.
#[cfg(unix)]
fn odd_names(fs: &dyn Fs, dir: &Path) {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"odd \xFF\n name");
    if fs.open(&dir.join(name), &OpenOptions::CREATE_NEW).is_ok() {
        create(fs, &dir.join("plain"));
        let mut names: Vec<_> = fs.read_dir(dir).unwrap().into_iter().map(|entry| entry.name).collect();
        names.sort();
        assert_eq!(names, [name, "plain".as_ref()]);
    }
}

#[cfg(not(unix))]
fn odd_names(_fs: &dyn Fs, _dir: &Path) {}

fn removing(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("file");
    fails(fs.remove_file(&path), IoKind::NotFound);
    fails(fs.metadata(&path), IoKind::NotFound);
    let file = create_with(fs, &path, b"alive");
    fs.remove_file(&path).unwrap();
    assert!(!fs.exists(&path).unwrap() && fs.read_dir(dir).unwrap().is_empty());
    file.append(b" and well").unwrap();
    assert_eq!(contents(&*file), b"alive and well", "an open file outlives its name");
    assert!(matches!(file.metadata().unwrap().nlink, None | Some(0)));
    create_with(fs, &path, b"other");
    assert_eq!(contents(&*file), b"alive and well", "a new file of that name is another file");
    assert!(fs.remove_file(dir).is_err(), "a directory is no file");
}

fn renaming(fs: &dyn Fs, dir: &Path) {
    let (one, two) = (dir.join("one"), dir.join("two"));
    fails(fs.rename(&one, &two), IoKind::NotFound);
    create_with(fs, &one, b"1");
    fs.rename(&one, &two).unwrap();
    assert!(!fs.exists(&one).unwrap());
    assert_eq!(contents_at(fs, &two), b"1");

    let replacement = create_with(fs, &one, b"2");
    let replaced = fs.open(&two, &OpenOptions::READ).unwrap();
    fs.rename(&one, &two).unwrap();
    assert_eq!((contents_at(fs, &two), contents(&*replaced)), (b"2".to_vec(), b"1".to_vec()));
    replacement.append(b"!").unwrap();
    assert_eq!(contents_at(fs, &two), b"2!", "a handle follows its file to the new name");

    fails(fs.rename(&two, &dir.join("none").join("two")), IoKind::NotFound);
    fs.rename(&two, &two).unwrap();
    assert_eq!(contents_at(fs, &two), b"2!", "a rename that fails or goes nowhere changes nothing");
    let inner = dir.join("inner");
    fs.create_dir(&inner).unwrap();
    assert!(fs.rename(&two, &inner).is_err(), "a file does not replace a directory");
    fs.rename(&two, &inner.join("two")).unwrap();
    assert_eq!(contents_at(fs, &inner.join("two")), b"2!");
}

fn renaming_directories(fs: &dyn Fs, dir: &Path) {
    let (one, two) = (dir.join("one"), dir.join("two"));
    fs.create_dir(&one).unwrap();
    create_with(fs, &one.join("file"), b"inside");
    assert!(fs.rename(&one, &one.join("below")).is_err(), "a directory does not move into itself");
    fs.rename(&one, &two).unwrap();
    assert_eq!(contents_at(fs, &two.join("file")), b"inside");
    assert!(!fs.exists(&one.join("file")).unwrap());
    create(fs, &dir.join("file"));
    assert!(fs.rename(&two, &dir.join("file")).is_err(), "a directory does not replace a file");
    fs.create_dir(&one).unwrap();
    assert!(fs.rename(&one, &two).is_err(), "a directory does not replace one that has entries");
}

/// Links are optional. A backend without them says so and makes nothing.
fn linking(fs: &dyn Fs, dir: &Path) {
    let (one, two) = (dir.join("one"), dir.join("two"));
    let file = create_with(fs, &one, b"shared");
    if let Err(error) = fs.hard_link(&one, &two) {
        assert_eq!(error.kind, IoKind::Unsupported);
        assert!(!fs.exists(&two).unwrap());
        return;
    }
    file.append(b" bytes").unwrap();
    assert_eq!(contents_at(fs, &two), b"shared bytes", "both names are one file");
    let (of_one, of_two) = (fs.metadata(&one).unwrap(), fs.metadata(&two).unwrap());
    assert!(of_one == of_two && of_one == file.metadata().unwrap());
    assert!(matches!(of_one.nlink, None | Some(2)));
    fails(fs.hard_link(&one, &two), IoKind::AlreadyExists);
    fails(fs.hard_link(&dir.join("none"), &dir.join("three")), IoKind::NotFound);
    assert!(fs.hard_link(dir, &dir.join("three")).is_err(), "directories have one name");
    fs.rename(&one, &two).unwrap();
    assert!(
        fs.exists(&one).unwrap() && fs.exists(&two).unwrap(),
        "renaming onto another name of it does nothing"
    );
    fs.remove_file(&one).unwrap();
    assert_eq!(contents_at(fs, &two), b"shared bytes");
    assert!(matches!(fs.metadata(&two).unwrap().nlink, None | Some(1)));
}

fn syncing(fs: &dyn Fs, dir: &Path) {
    let file = create_with(fs, &dir.join("file"), b"bytes");
    let levels = [SyncLevel::None, SyncLevel::Data, SyncLevel::Full, SyncLevel::Barrier, SyncLevel::Device];
    for level in levels {
        file.sync(level).unwrap();
        fs.sync_dir(dir, level).unwrap();
    }
    assert!(fs.sync_dir(&dir.join("none"), SyncLevel::Full).is_err());
    assert!(fs.sync_dir(&dir.join("file"), SyncLevel::Full).is_err(), "a file is no directory");
    assert_eq!(contents(&*file), b"bytes");
}
