//! Sealed databases: keys come from a file.

use std::fs;

use crate::tool::Place;

const ONE: &str = "1 0101010101010101010101010101010101010101010101010101010101010101";
const TWO: &str = "2 0202020202020202020202020202020202020202020202020202020202020202";

#[test]
fn a_database_is_sealed_read_and_brought_under_another_key() {
    let place = Place::new();
    place.file("keys", format!("# ours\n{ONE}\n"));
    let run = |arguments: &[&str]| place.run(arguments.iter().chain(&["--key-file", "keys"]));
    run(&["put", "db", "apple", "a red fruit of autumn"]).ok();
    assert_eq!(run(&["get", "db", "apple"]).ok().out(), "a red fruit of autumn\n");
    for (file, bytes) in place.content("db") {
        assert!(!bytes.windows(9).any(|window| window == b"red fruit"), "{}", file.display());
    }
    // Without the keys nothing opens, and it says what to do.
    place.run(["get", "db", "apple"]).code(3).says("--key-file");

    place.file("keys", format!("{ONE}\n{TWO}\n"));
    let rekeyed = run(&["rekey", "db"]).ok().out();
    assert!(rekeyed.contains("key 2") && !rekeyed.contains("key 1"), "{rekeyed}");
    place.file("keys", format!("{TWO}\n"));
    assert_eq!(run(&["get", "db", "apple"]).ok().out(), "a red fruit of autumn\n");
    run(&["verify", "db"]).ok();
    let table = place.tables("db").pop().unwrap();
    let table = table.to_str().unwrap();
    let shown = run(&["table", table]).ok().out();
    assert!(shown.contains("apple"), "{shown}");
    place.run(["table", table]).code(3).says("--key-file");
    // Frames are checked without keys, too, and what is left out is said.
    let keyless = place.run(["verify", "db"]).ok().out();
    assert!(keyless.contains("not checked"), "{keyless}");
}

#[test]
fn a_plain_database_is_sealed_by_rekey() {
    let place = Place::new();
    place.file("keys", ONE);
    place.run(["put", "db", "apple", "red"]).ok();
    place.run(["get", "db", "apple", "--key-file", "keys"]).code(3).says("--accept-plain");
    let sealed = place.run(["rekey", "db", "--accept-plain", "--key-file", "keys"]).ok().out();
    assert!(sealed.contains("key 1") && !sealed.contains("no key"), "{sealed}");
    assert_eq!(place.run(["get", "db", "apple", "--key-file", "keys"]).ok().out(), "red\n");
}

#[test]
fn key_files_that_are_none_are_refused_without_quoting_them() {
    let place = Place::new();
    place.file("keys", "1 canary\n");
    let refused = place.run(["put", "db", "a", "b", "--key-file", "keys"]).code(2).says("line 1");
    assert!(!refused.err().contains("canary"));
    assert!(!fs::exists(place.path("db")).unwrap());
    place.run(["rekey", "db"]).code(2).says("--key-file");
}
