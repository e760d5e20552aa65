//! What keeps a database from opening: each has its own words and exit code 3, and nothing is changed.

use std::{cmp::Ordering, fs};

use lsm::{
    Comparator, SeqNo,
    tree::{FlushOptions, Tree, TreeOptions},
};

use crate::tool::{Place, rows};

#[test]
fn a_directory_that_is_no_database_stays_as_it_is() {
    let place = Place::new();
    place.file("dir/notes.txt", "mine");
    place.file("dir/LOCK", "somebody else's");
    place.file("file", "not a directory");
    let before = (place.content("dir"), fs::read_dir(place.path("")).unwrap().count());
    for db in ["dir", "nowhere", "file"] {
        for arguments in [
            &["get", db, "a"][..],
            &["delete", db, "a"],
            &["scan", db],
            &["stats", db],
            &["verify", db],
            &["compact", db],
        ] {
            place.run(arguments).code(3).says("cannot open");
        }
    }
    for db in ["dir", "file"] {
        place.run(["put", db, "a", "b"]).code(3);
    }
    assert_eq!((place.content("dir"), fs::read_dir(place.path("")).unwrap().count()), before);
}

#[test]
fn a_second_writer_is_told_who_is_there() {
    let place = Place::new();
    let mut loading = place.start_load(&["--write-buffer", "256KiB"]);
    loading.write(&rows(0..3_000));
    let durable = loading.durable();
    place.run(["put", "db", "a", "b"]).code(3).says("in use").says("wait until");
    place.run(["compact", "db"]).code(3).says("in use");
    // Readers need no lock.
    let count: u64 = place.run(["scan", "db", "--count"]).ok().out().trim().parse().unwrap();
    assert!(count >= durable);
    loading.signal("KILL");
    loading.wait();
    place.run(["put", "db", "a", "b"]).ok();
}

#[test]
fn a_damaged_manifest_is_named() {
    let place = Place::new();
    place.run(["put", "db", "a", "b"]).ok();
    for (path, content) in place.content("db") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("MANIFEST") {
            fs::write(&path, vec![0; content.len()]).unwrap();
        }
    }
    let before = place.database("db");
    place.run(["get", "db", "a"]).code(3).says("manifest is damaged");
    place.run(["put", "db", "a", "c"]).code(3).says("backup");
    assert!(place.database("db") == before);
}

#[test]
fn another_order_of_keys_is_named() {
    #[derive(Debug)]
    struct Backwards;

    impl Comparator for Backwards {
        fn name(&self) -> &'static str {
            "test.backwards"
        }

        fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
            b.cmp(a)
        }
    }

    let place = Place::new();
    let options = TreeOptions::new(place.path("db")).comparator(std::sync::Arc::new(Backwards));
    let tree = Tree::open(options).unwrap();
    tree.insert("a", "b", SeqNo::ZERO).unwrap();
    tree.seal(None);
    tree.flush(&FlushOptions::default()).unwrap();
    tree.close().unwrap();
    let before = place.database("db");
    for arguments in [&["get", "db", "a"][..], &["put", "db", "a", "b"], &["verify", "db"]] {
        place.run(arguments).code(3).says("test.backwards").says("the program that made it");
    }
    assert!(place.database("db") == before);
}
