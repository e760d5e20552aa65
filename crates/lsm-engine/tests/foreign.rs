//! Files that are not ours, on a real file system: names of any bytes, links, folders, and content of other programs.
//! They stay as they are, and are no reason to fail.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test should fail where it fails")]

mod common;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
};

use common::{at, small_tables};
use lsm_engine::{CompactOptions, FlushOptions, Reader, Tree, TreeOptions};
use lsm_types::ErrorKind;

fn options(path: &Path) -> TreeOptions {
    TreeOptions::new(path).tables(small_tables())
}

fn grow(tree: &Tree, from: u64) {
    for number in from..from + 20 {
        tree.insert(format!("key-{number:03}"), [1; 40], at(number)).unwrap();
    }
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
}

/// What a path is, without following links.
fn describe(path: &Path) -> String {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    if metadata.is_symlink() {
        return format!("link to {}", std::fs::read_link(path).unwrap().display());
    }
    if metadata.is_dir() {
        return "folder".to_owned();
    }
    format!("{:?}", std::fs::read(path).unwrap())
}

/// Proves D-5, D-53, D-56, D-57. Fault: durability W-15, W-32.
#[test]
fn what_is_not_ours_stays() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("db");
    let tree = Tree::open(options(&root)).unwrap();
    grow(&tree, 0);
    tree.close().unwrap();
    let table = std::fs::read_dir(root.join("tables")).unwrap().next().unwrap().unwrap().path();
    let mut foreign: Vec<PathBuf> = Vec::new();
    let names: [&[u8]; 14] = [
        b".DS_Store",
        b"._CURRENT",
        b"Thumbs.db",
        b"desktop.ini",
        b".nfs00000001",
        b"CURRENT~",
        b".CURRENT.swp",
        b"v1",
        b"2024",
        b"vacation.jpg",
        b"MANIFEST-7",
        b"not-utf8-\xFF\xFE",
        b"00000000000000000009.sst\xFF",
        b"with\nnewline",
    ];
    for folder in ["", "tables", "tmp", "quarantine"] {
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        for name in names {
            let path = folder.join(OsStr::from_bytes(name));
            std::fs::write(&path, name).unwrap();
            foreign.push(path);
        }
    }
    // Ours by name, but not by what they are.
    for (name, number) in [("tables", 500), ("tables", 501), ("tables", 502)] {
        let path = root.join(name).join(format!("{number:020}.sst"));
        match number {
            500 => std::fs::create_dir(&path).unwrap(),
            501 => symlink(&table, &path).unwrap(),
            _ => symlink("/nowhere/at/all", &path).unwrap(),
        }
        foreign.push(path);
    }
    let path = root.join(format!("MANIFEST-{:020}", 77));
    std::fs::write(&path, [7; 9_000]).unwrap();
    foreign.push(path);
    let path = root.join(format!("MANIFEST-{:020}", 78));
    std::fs::create_dir(&path).unwrap();
    foreign.push(path);

    let before: BTreeMap<_, _> = foreign.iter().map(|path| (path, describe(path))).collect();
    for round in 1..4 {
        let tree = Tree::open(options(&root)).unwrap();
        grow(&tree, round * 20);
        tree.major_compact(&CompactOptions::default()).unwrap();
        assert_eq!(tree.count().unwrap(), 20 * (round + 1));
        let report = tree.open_report();
        assert_eq!(report.files.foreign.len(), names.len() + 3, "{:?}", report.files);
        assert!(report.manifest.as_ref().unwrap().foreign.len() >= names.len());
        assert!(report.files.deleted.is_empty() && report.files.quarantined.is_empty());
        tree.close().unwrap();
    }
    let after: BTreeMap<_, _> = foreign.iter().map(|path| (path, describe(path))).collect();
    assert_eq!(before, after);
}

/// Proves D-29, E-3: a link to the directory is the same directory.
#[test]
fn an_alias_is_locked_too() {
    let dir = tempfile::tempdir().unwrap();
    let (root, alias) = (dir.path().join("db"), dir.path().join("alias"));
    let tree = Tree::open(options(&root)).unwrap();
    grow(&tree, 0);
    symlink(&root, &alias).unwrap();
    let before = std::fs::read(root.join("LOCK")).unwrap();
    let error = Tree::open(options(&alias)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert_eq!(std::fs::read(root.join("LOCK")).unwrap(), before);
    drop(tree);
    assert_eq!(Tree::open(options(&alias)).unwrap().count().unwrap(), 20);
}

/// Proves E-7: moved as a whole, the database is what it was.
#[test]
fn a_renamed_directory_is_the_same_database() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let tree = Tree::open(options(&old)).unwrap();
    grow(&tree, 0);
    tree.close().unwrap();
    std::fs::rename(&old, &new).unwrap();
    let tree = Tree::open(options(&new)).unwrap();
    grow(&tree, 20);
    tree.major_compact(&CompactOptions::default()).unwrap();
    assert!(tree.verify().unwrap().is_clean() && !old.exists());
}

/// Runs as a process of its own for the test below: holds a database open until it is killed.
#[test]
#[ignore = "run by another test, as a process of its own"]
fn hold_a_database_open() {
    let place = std::env::current_dir().unwrap().join("db");
    let tree = Tree::open(options(&place)).unwrap();
    grow(&tree, 0);
    std::fs::write("ready", "").unwrap();
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new()).unwrap();
    drop(tree);
}

/// Proves D-29, E-3: another process that has the directory open is named, and the lock ends with it, however it ends.
#[test]
fn another_process_is_locked_out_until_it_dies() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("db");
    let mut other = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_a_database_open", "--ignored"])
        .current_dir(dir.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !dir.path().join("ready").exists() {
        assert!(other.try_wait().unwrap().is_none(), "it should hold the database open");
        std::thread::yield_now();
    }
    let error = Tree::open(options(&root)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(&format!("pid {}", other.id())), "{error}");
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(Tree::open(options(&root)).unwrap().count().unwrap(), 20);
}
