//! Sealed databases: nothing of what a user wrote stands in any file, nothing is opened without its key, and nothing
//! that somebody without the key can do makes a read differ.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test should fail where it fails"
)]

#[path = "../common/mod.rs"]
mod common;
mod forger;
mod hidden;
mod keys;
mod nonces;
mod threats;
mod wrapped;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use lsm_engine::{Encryption, Tree, TreeOptions};
use lsm_fs::{EntryKind, Fs, MemFs, OpenOptions};

use common::{at, small_tables};

/// Where the databases of these tests live.
const ROOT: &str = "/db";

/// Every file of a directory.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// All files below a directory, but for lock files.
fn files(fs: &dyn Fs, below: &Path) -> Files {
    let mut found = Files::new();
    for entry in fs.read_dir(below).unwrap() {
        let path = below.join(&entry.name);
        if entry.kind == EntryKind::Dir {
            found.extend(files(fs, &path));
        } else if entry.name != "LOCK" {
            let file = fs.open(&path, &OpenOptions::READ).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_at(0, &mut bytes).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// A file system that holds these files.
fn mount(files: &Files) -> Arc<dyn Fs> {
    let fs = MemFs::new();
    for (path, bytes) in files {
        fs.create_dir_all(path.parent().unwrap()).unwrap();
        fs.open(path, &OpenOptions::CREATE_NEW).unwrap().append(bytes).unwrap();
    }
    Arc::new(fs)
}

fn options(fs: &Arc<dyn Fs>, encryption: Option<&Encryption>) -> TreeOptions {
    options_at(fs, encryption, ROOT)
}

fn options_at(fs: &Arc<dyn Fs>, encryption: Option<&Encryption>, path: &str) -> TreeOptions {
    TreeOptions::new(path)
        .store(|store| {
            let store = store.fs(fs.clone());
            encryption
                .map_or_else(|| store.clone(), |encryption| store.clone().encryption(encryption.clone()))
        })
        .tables(small_tables())
        .table_target_bytes(2_000)
}

/// Forty keys at numbers from `first` on, whose values tell the round.
fn fill(tree: &Tree, first: u64) {
    for number in 0..40 {
        let value = format!("value of key {number} written at {first}");
        tree.insert(format!("key-{number:03}"), value, at(first + number)).unwrap();
    }
}
