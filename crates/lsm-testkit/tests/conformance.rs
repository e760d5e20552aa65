//! Every backend passes the one suite.

use std::path::Path;
use std::sync::Arc;

use lsm_fs::{Fs, MemFs};
use lsm_testkit::conformance;
use lsm_testkit::sim::SimFs;

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
