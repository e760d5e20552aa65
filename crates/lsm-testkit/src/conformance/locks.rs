//! Locks: what keeps a second opener out.

use std::path::Path;

use lsm_fs::{Capability, Fs, LockMode, OpenOptions};
use lsm_types::IoKind;

use super::{create, within};

pub(super) fn check(fs: &dyn Fs, root: &Path) {
    within(fs, root, locking);
}

/// A lock conflicts between handles of one process too, and ends with its handle.
fn locking(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("LOCK");
    let one = create(fs, &path);
    let two = fs.open(&path, &OpenOptions::WRITE).unwrap();
    if let Err(error) = one.try_lock(LockMode::Exclusive) {
        assert_eq!(error.kind, IoKind::Unsupported);
        assert!(!fs.capabilities(dir).unwrap().has(Capability::Locks), "locks are promised");
        return;
    }
    assert_eq!(one.try_lock(LockMode::Exclusive), Ok(true), "a holder may ask again");
    assert_eq!(two.try_lock(LockMode::Exclusive), Ok(false));
    assert_eq!(two.try_lock(LockMode::Shared), Ok(false));
    drop(one);
    assert_eq!(two.try_lock(LockMode::Shared), Ok(true), "a lock ends with its handle");
    let three = fs.open(&path, &OpenOptions::WRITE).unwrap();
    assert_eq!(three.try_lock(LockMode::Shared), Ok(true));
    assert_eq!(three.try_lock(LockMode::Exclusive), Ok(false));
    drop(two);
    assert_eq!(three.try_lock(LockMode::Exclusive), Ok(true));
    let other = create(fs, &dir.join("other"));
    assert_eq!(other.try_lock(LockMode::Exclusive), Ok(true), "files are locked one by one");
}
