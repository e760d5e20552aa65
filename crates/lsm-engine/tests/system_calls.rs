//! A point read that finds everything in memory makes no system call: it is done by a thread that the kernel ends at the
//! first one it makes.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use common::{at, flush};
use lsm_engine::{LevelFilter, Reader, TablePolicy, Tree, TreeOptions};
use lsm_fs::DiskFs;
use rustix::thread::{SecureComputingMode, gettid, set_secure_computing_mode};

/// Whether `work` comes to its end in a thread that may do nothing but compute, read and write open files, and exit;
/// `None`, with the reason printed, where threads cannot be confined like that. `prepare` runs in the thread before.
///
/// The thread never ends by itself, as that takes system calls, too: once it is done, the kernel ends it.
fn without_system_calls(
    prepare: impl FnOnce() + Send + 'static,
    work: impl FnOnce() + Send + 'static,
) -> Option<bool> {
    let (confined, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (tell, told) = mpsc::channel();
    let flags = (confined.clone(), done.clone());
    drop(thread::spawn(move || {
        prepare();
        tell.send(gettid().as_raw_nonzero()).unwrap();
        if let Err(error) = set_secure_computing_mode(SecureComputingMode::Strict) {
            println!("not tested: no strict seccomp here: {error}");
            return;
        }
        flags.0.store(true, Ordering::Release);
        work();
        flags.1.store(true, Ordering::Release);
        // The thread ends here at the latest.
        let _ = gettid();
    }));
    let task = PathBuf::from(format!("/proc/self/task/{}", told.recv().unwrap()));
    while !done.load(Ordering::Acquire) && task.exists() {
        thread::yield_now();
    }
    confined.load(Ordering::Acquire).then(|| done.load(Ordering::Acquire))
}

fn tree(dir: &tempfile::TempDir) -> Tree {
    let mut tables = TablePolicy::default().filter(LevelFilter::bits(10.0).unwrap());
    tables.pin_filter = vec![true, false];
    let options = TreeOptions::new(dir.path().join("db")).store(|store| store.fs(Arc::new(DiskFs::new())));
    let tree = Tree::open(options.tables(tables)).unwrap();
    for run in 0..4_u64 {
        for number in 0..400_u64 {
            tree.insert(key(4 * number + run), [7; 40], at(run * 1_000 + number)).unwrap();
        }
        if run < 3 {
            flush(&tree);
        }
    }
    tree
}

fn key(number: u64) -> [u8; 8] {
    (number * 3).to_be_bytes()
}

fn read_all(tree: &Tree) {
    let mut out = [0; 64];
    for number in 0..1_600 {
        let found = tree.get_with(key(number), |value| {
            out.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
            value.len()
        });
        assert_eq!(found.unwrap(), Some(40));
        assert_eq!(tree.get(key(number)).unwrap().map(|value| value.len()), Some(40));
        assert!(tree.get_pinned(key(number)).unwrap().is_some());
        let mut absent = key(number);
        absent[7] ^= 1;
        assert!(!tree.contains_key(absent).unwrap());
    }
}

/// Reads of the newest state from memtables and cached blocks, of keys that are there and of others, make no system
/// call; that the trap closes shows in a look at the disk.
#[test]
fn cached_reads_make_no_system_call() {
    let dir = tempfile::tempdir().unwrap();
    let tree = tree(&dir);
    let warm = tree.clone();
    let hot = tree.clone();
    match without_system_calls(move || read_all(&warm), move || read_all(&hot)) {
        None => println!("not tested: threads cannot be confined here"),
        Some(outcome) => {
            assert!(outcome, "a cached read made a system call");
            let trapped = without_system_calls(|| {}, || drop(std::fs::metadata("/")));
            assert_eq!(trapped, Some(false), "the trap does not close");
        }
    }
}
