//! Every backend passes the one suite.

use std::path::Path;
use std::sync::Arc;

use lsm_fs::{Fs, MemFs, OpenOptions};
use lsm_testkit::conformance;
use lsm_testkit::sim::SimFs;
use lsm_types::IoKind;

/// Proves D-2, D-4, D-5, D-9 for the memory backend.
#[test]
fn memory_conforms() {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    conformance::check(&fs, Path::new("/"));
}

/// Proves D-2, D-4, D-5, D-9 for the disk backend.
#[cfg(unix)]
#[test]
fn disk_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(lsm_fs::DiskFs::new());
    conformance::check(&fs, dir.path());
}

/// Proves D-2, D-4, D-5, D-9 for the crash-simulating backend.
#[test]
fn simulation_conforms() {
    let fs: Arc<dyn Fs> = Arc::new(SimFs::default());
    conformance::check(&fs, Path::new("/"));
}

/// Fault: durability W-35. The memory backend runs full as a disk does, and a link is the file, not a copy of it.
#[test]
fn memory_runs_full_and_links_share() {
    let fs = MemFs::with_capacity(64 << 10);
    let (one, two) = (Path::new("/one"), Path::new("/two"));
    let file = fs.open(one, &OpenOptions::CREATE_NEW).unwrap();
    file.write_at(0, &vec![1; 32 << 10]).unwrap();
    fs.hard_link(one, two).unwrap();
    assert_eq!(fs.available_space(Path::new("/")).unwrap(), Some(32 << 10), "the link takes no room");
    file.write_at(0, b"both").unwrap();
    let mut head = [0; 4];
    fs.open(two, &OpenOptions::READ).unwrap().read_at(0, &mut head).unwrap();
    assert_eq!(&head, b"both");

    let error = file.write_at(32 << 10, &vec![2; 48 << 10]).unwrap_err();
    assert_eq!(error.source.kind, IoKind::NoSpace);
    fs.remove_file(one).unwrap();
    assert!(file.write_at(32 << 10, &vec![2; 48 << 10]).is_err(), "the other name keeps the bytes");
    fs.remove_file(two).unwrap();
    drop(file);
    let file = fs.open(one, &OpenOptions::CREATE_NEW).unwrap();
    file.write_at(0, &vec![3; 48 << 10]).unwrap();
}
