//! `lsm checkpoint`: the copy is a database like any other.

use crate::tool::Place;

fn rows(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| format!("key-{number:05}\tvalue {number}\n")).collect::<Vec<_>>().concat()
}

#[test]
fn a_checkpoint_is_a_database_of_its_own() {
    let place = Place::new();
    place.file("a.tsv", rows(0..2_000));
    place.run(["load", "db", "a.tsv", "--no-header"]).ok();
    let before = place.run(["scan", "db"]).ok().out();
    let report = place.run(["checkpoint", "db", "copy", "--json"]).ok().json();
    assert_eq!(
        report["bytes"].as_u64(),
        place.run(["stats", "db", "--json"]).ok().json()["file_bytes"].as_u64()
    );
    assert_eq!(report["copied_bytes"], 0);
    place.run(["put", "db", "only", "here"]).ok();
    place.run(["compact", "db", "--major"]).ok();
    place.run(["put", "copy", "only", "there"]).ok();
    let report = place.run(["checkpoint", "copy", "third", "--copy"]).ok().out();
    assert!(report.contains("0 B shared"), "{report}");
    assert_eq!(place.run(["get", "db", "only"]).ok().out().trim(), "here");
    std::fs::remove_dir_all(place.path("db")).unwrap();
    for copy in ["copy", "third"] {
        let with_one_more = format!("{before}only\tthere\n");
        assert_eq!(place.run(["scan", copy]).ok().out(), with_one_more);
        place.check_sound(copy);
    }
}

#[test]
fn what_stands_in_the_way_is_named_and_left_alone() {
    let place = Place::new();
    place.run(["put", "db", "k", "v"]).ok();
    place.file("copy/mine.txt", "mine");
    let before = place.content("copy");
    let ran = place.run(["checkpoint", "db", "copy"]).code(4);
    assert!(ran.err().contains("try: give a directory that does not exist yet"), "{}", ran.err());
    assert_eq!(place.content("copy"), before);
    place.run(["checkpoint", "db", "db/inside"]).code(4);
    place.run(["checkpoint", "db", "nowhere/copy"]).code(4);
    place.run(["checkpoint", "nothing", "copy2"]).code(3);
    place.check_sound("db");
}
