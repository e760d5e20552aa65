//! Space: reserving, punching, sharing, and what a mount says about itself.

use std::path::Path;

use lsm_fs::{AllocateMode, Capability, Fs, OpenOptions};
use lsm_types::IoKind;

use super::{contents, contents_at, create, create_with, fails, within};

pub(super) fn check(fs: &dyn Fs, root: &Path) {
    within(fs, root, allocating);
    within(fs, root, punching);
    within(fs, root, sharing);
    within(fs, root, asking);
}

/// Whether an optional operation was carried out; a refusal is honest and breaks no promise.
#[track_caller]
fn done(fs: &dyn Fs, dir: &Path, capability: Capability, result: Result<(), lsm_types::IoError>) -> bool {
    match result {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind, IoKind::Unsupported);
            assert!(!fs.capabilities(dir).unwrap().has(capability), "{capability:?} is promised");
            false
        }
    }
}

fn allocating(fs: &dyn Fs, dir: &Path) {
    let file = create_with(fs, &dir.join("file"), b"bytes");
    if !done(fs, dir, Capability::Allocate, file.allocate(2, 70_000, AllocateMode::KeepLen)) {
        return;
    }
    assert_eq!(contents(&*file), b"bytes");
    assert_eq!(file.append(b"!"), Ok(5), "space past the end is no length");
    file.allocate(0, 9_000, AllocateMode::ExtendLen).unwrap();
    file.allocate(0, 10, AllocateMode::ExtendLen).unwrap();
    let mut expected = b"bytes!".to_vec();
    expected.resize(9_000, 0);
    assert!(contents(&*file) == expected);
    file.allocate(20_000, 0, AllocateMode::ExtendLen).unwrap();
    assert_eq!(file.len().unwrap(), 9_000, "nothing is reserved by an empty range");
    let reader = fs.open(&dir.join("file"), &OpenOptions::READ).unwrap();
    fails(reader.allocate(0, 1, AllocateMode::KeepLen), IoKind::PermissionDenied);
}

fn punching(fs: &dyn Fs, dir: &Path) {
    let file = create_with(fs, &dir.join("file"), &vec![5; 30_000]);
    if !done(fs, dir, Capability::PunchHole, file.punch_hole(4_000, 10_000)) {
        return;
    }
    let expected = [vec![5; 4_000], vec![0; 10_000], vec![5; 16_000]].concat();
    assert!(contents(&*file) == expected);
    file.punch_hole(29_000, 100_000).unwrap();
    file.punch_hole(0, 0).unwrap();
    let expected = [vec![5; 4_000], vec![0; 10_000], vec![5; 15_000], vec![0; 1_000]].concat();
    assert!(contents(&*file) == expected, "the length stays");
    let reader = fs.open(&dir.join("file"), &OpenOptions::READ).unwrap();
    fails(reader.punch_hole(0, 1), IoKind::PermissionDenied);
}

fn sharing(fs: &dyn Fs, dir: &Path) {
    let (source, target) = (dir.join("source"), dir.join("target"));
    let file = create_with(fs, &source, &[5; 8_192]);
    if !done(fs, dir, Capability::Reflink, fs.reflink(&source, &target)) {
        assert!(!fs.exists(&target).unwrap(), "a refused clone leaves nothing behind");
        return;
    }
    file.write_at(0, b"changed").unwrap();
    assert!(contents_at(fs, &target) == vec![5; 8_192], "a clone is a file of its own");
    fails(fs.reflink(&source, &target), IoKind::AlreadyExists);
}

fn asking(fs: &dyn Fs, dir: &Path) {
    assert_eq!(fs.namespace_id(), fs.namespace_id());
    assert_eq!(fs.volume_id(dir).unwrap(), fs.volume_id(dir).unwrap());
    assert_eq!(fs.capabilities(dir).unwrap(), fs.capabilities(dir).unwrap());
    fs.available_space(dir).unwrap();
    fs.try_disable_cow(dir).unwrap();
    create(fs, &dir.join("one"));
    create(fs, &dir.join("two"));
    let (one, two) = (fs.metadata(&dir.join("one")).unwrap(), fs.metadata(&dir.join("two")).unwrap());
    assert!(one.inode.is_none() || one.inode != two.inode, "two files are told apart");
}
