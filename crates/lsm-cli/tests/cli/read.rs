//! Reading, single writes, statistics, the demo.

use std::fs;

use crate::tool::{Place, rows};

#[test]
fn single_writes_are_there_for_the_next_program() {
    let place = Place::new();
    place.run(["put", "db", "a", "1"]).ok();
    place.run(["put", "db", "b", "tab\there"]).ok();
    place.run(["put", "db", "00ff", "fe", "--hex"]).ok();
    place.run(["put", "db", "a", "2"]).ok();
    assert_eq!(place.run(["get", "db", "a"]).ok().out(), "2\n");
    assert_eq!(place.run(["get", "db", "b"]).ok().out(), "tab\\there\n");
    assert_eq!(place.run(["get", "db", "b", "--raw"]).ok().raw(), b"tab\there");
    assert_eq!(place.run(["get", "db", "00ff", "--hex"]).ok().out(), "fe\n");
    assert_eq!(place.run(["scan", "db"]).ok().out(), "\\x00\\xff\t\\xfe\na\t2\nb\ttab\\there\n");
    let entries = place.run(["scan", "db", "--json"]).ok().json_lines();
    assert_eq!((entries[0]["key_hex"].as_str(), entries[1]["key"].as_str()), (Some("00ff"), Some("a")));
    place.run(["delete", "db", "a"]).ok();
    place.run(["get", "db", "a"]).code(4).says("no such key");
    assert_eq!(place.run(["get", "db", "a", "--json"]).code(4).json()["found"], false);
    assert_eq!(place.run(["get", "db", "b", "--json"]).ok().json()["entry"]["value"], "tab\there");
    place.run(["put", "db", "", "x"]).code(4).says("a key must have");
    place.run(["put", "db", "0g", "x", "--hex"]).code(2).says("hexadecimal");
    place.check_sound("db");
}

#[test]
fn scans_take_bounds_from_either_end() {
    #[track_caller]
    fn check(place: &Place, arguments: &[&str], expected: &str) {
        let out = place.run([&["scan", "db", "--keys-only"], arguments].concat()).ok().out();
        assert_eq!(out.lines().collect::<Vec<_>>().join(" "), expected, "{arguments:?}");
    }

    let place = Place::new();
    let text: String = ["a", "ab", "abc", "b", "ba"].map(|key| format!("{key}\tv\n")).concat();
    place.file("a.tsv", text);
    place.run(["load", "db", "a.tsv", "--no-header"]).ok();
    check(&place, &[], "a ab abc b ba");
    check(&place, &["--reverse"], "ba b abc ab a");
    check(&place, &["--prefix", "ab"], "ab abc");
    check(&place, &["--prefix", "ab", "--reverse"], "abc ab");
    check(&place, &["--from", "ab", "--to", "b"], "ab abc");
    check(&place, &["--from", "b", "--to", "a"], "");
    check(&place, &["--from", "abc", "--limit", "2"], "abc b");
    check(&place, &["--to", "b", "--reverse", "--limit", "1"], "abc");
    check(&place, &["--limit", "0"], "");
    assert_eq!(place.run(["scan", "db", "--count", "--prefix", "a", "--json"]).ok().json()["count"], 3);
    place.run(["scan", "db", "--prefix", "a", "--from", "b"]).code(2);
}

#[test]
fn compaction_keeps_every_entry_and_makes_one_run() {
    let place = Place::new();
    place.file("a.tsv", rows(0..20_000));
    place.run(["load", "db", "a.tsv", "--no-header", "--write-buffer", "256KiB"]).ok();
    let before = place.run(["scan", "db"]).ok().out();
    assert_eq!(before.lines().count(), 20_000);
    place.run(["compact", "db", "--json"]).ok().json();
    assert_eq!(place.run(["scan", "db"]).ok().out(), before);
    let report = place.run(["compact", "db", "--major", "--json"]).ok().json();
    assert_eq!(report["after"].as_array().unwrap().len(), 1);
    assert_eq!(place.run(["scan", "db"]).ok().out(), before);
    let stats = place.run(["stats", "db", "--json"]).ok().json();
    assert_eq!((&stats["entries"], &stats["read_amplification"]), (&20_000.into(), &1.into()));
    place.check_sound("db");
    for arguments in [&["stats", "db"][..], &["compact", "db"], &["verify", "db"]] {
        let out = place.run(arguments).ok().out();
        assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
    }
}

#[test]
fn a_table_file_is_shown_without_its_database() {
    let place = Place::new();
    place.file("a.tsv", rows(0..500));
    place.run(["load", "db", "a.tsv", "--no-header"]).ok();
    let table = place.tables("db").remove(0);
    fs::rename(&table, place.path("lone.sst")).unwrap();
    let out = place.run(["table", "lone.sst", "--entries", "2", "--blocks"]).ok().out();
    assert!(
        out.contains("key-00000001") && out.contains("key-00000499") && !out.contains("key-00000002"),
        "{out}"
    );
    assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
    let report = place.run(["table", "lone.sst", "--json", "--entries", "600"]).ok().json();
    assert_eq!((&report["entries"], report["first"].as_array().unwrap().len()), (&500.into(), 500));
    assert_eq!(report["last"].as_array().unwrap().len(), 0);
    place.file("garbage", vec![7; 100_000]);
    place.run(["table", "garbage"]).says("cannot open the table");
    place.file("empty", "");
    for name in ["garbage", "empty"] {
        let code = place.run(["table", name]).err();
        assert!(!code.contains("panicked"), "{code}");
    }
    place.run(["table", "missing"]).code(3);
}

/// The demo replaces what it stored before, and nothing else.
#[test]
fn the_demo_runs_twice() {
    let place = Place::new();
    place.file("src/a.txt", "first");
    place.file("src/deep/b.bin", [0, 255, 10]);
    place.file("src/empty", "");
    place.file("src/target/x", "left out");
    place.file("src/.git/x", "left out");
    std::os::unix::fs::symlink("a.txt", place.path("src/link")).unwrap();
    let demo = ["demo", "src", "--db", "src/demo.lsmdb", "--json"];
    let report = place.run(demo).ok().json();
    assert_eq!(
        (&report["files"], &report["skipped_special"], &report["bytes"]),
        (&3.into(), &1.into(), &8.into())
    );
    place.file("src/a.txt", "second");
    fs::remove_file(place.path("src/empty")).unwrap();
    let report = place.run(demo).ok().json();
    assert_eq!((&report["files"], &report["deleted"]), (&2.into(), &1.into()));
    assert_eq!(place.run(["get", "src/demo.lsmdb", "a.txt"]).ok().out(), "second\n");
    let keys = place.run(["scan", "src/demo.lsmdb", "--keys-only"]).ok().out();
    assert_eq!(keys, "a.txt\ndeep/b.bin\n");
    let out = place.run(["demo", "src", "--db", "src/demo.lsmdb"]).ok().out();
    assert!(out.contains("What to try next"), "{out}");
    place.check_sound("src/demo.lsmdb");
    place.run(["put", "mine", "precious", "data"]).ok();
    place.run(["demo", "src", "--db", "mine"]).code(3).says("not made by the demo");
    assert_eq!(place.run(["get", "mine", "precious"]).ok().out(), "data\n");
}
