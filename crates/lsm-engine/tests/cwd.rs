//! The working directory changes under an open database. A process has one, so this test is alone in its file.
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

use lsm_engine::{CompactOptions, FlushOptions, Reader, Tree, TreeOptions};
use lsm_types::SeqNo;

/// Proves D-10, E-7.
#[test]
fn a_relative_path_means_what_it_meant_at_open() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::env::set_current_dir(here.path()).unwrap();
    let tree = Tree::open(TreeOptions::new("./db")).unwrap();
    std::env::set_current_dir(there.path()).unwrap();
    for number in 1..4 {
        let seqno = SeqNo::new(number).unwrap();
        tree.insert(format!("key-{number}"), "value", seqno).unwrap();
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
    }
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert_eq!(tree.count().unwrap(), 3);
    tree.close().unwrap();
    assert!(std::fs::read_dir(there.path()).unwrap().next().is_none(), "nothing is written elsewhere");
    // Nothing on disk names the place.
    let place = here.path().file_name().unwrap().as_encoded_bytes();
    for path in files(here.path()) {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(place.len()).any(|window| window == place), "{path:?}");
    }
    let tree = Tree::open(TreeOptions::new(here.path().join("db"))).unwrap();
    assert_eq!(tree.count().unwrap(), 3);
    std::env::set_current_dir("/").unwrap();
}

fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}
