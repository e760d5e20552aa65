//! Damaged tables.

use std::fs;

use crate::tool::{Place, rows};

fn loaded() -> Place {
    let place = Place::new();
    place.file("a.tsv", rows(0..2000));
    place.run(["load", "db", "a.tsv", "--no-header"]).ok();
    place
}

/// The table is listed, and the program ends with 1.
#[track_caller]
fn check_found(place: &Place) {
    let report = place.run(["verify", "db", "--json"]).code(1).json();
    let damage = report["damage"].as_array().unwrap();
    assert!(!damage.is_empty() && report["clean"] == false, "{report}");
    let file = damage[0]["file"].as_str().unwrap();
    assert!(place.path("db").join(file).starts_with(place.path("db/tables")), "{file}");
    assert!(place.run(["verify", "db"]).code(1).out().contains(file));
}

#[test]
fn a_flipped_bit_is_found() {
    let place = loaded();
    let table = place.tables("db").remove(0);
    let sound = fs::read(&table).unwrap();
    for offset in [600, 5_000] {
        let mut bytes = sound.clone();
        bytes[offset] ^= 1;
        fs::write(&table, &bytes).unwrap();
        check_found(&place);
        place.run(["table", table.to_str().unwrap(), "--blocks"]).code(1);
        place.run(["scan", "db"]).code(1).says("lsm verify");
    }
    fs::write(&table, &sound).unwrap();
    place.check_sound("db");
}

#[test]
fn a_truncated_table_and_a_missing_one_are_found() {
    let place = loaded();
    let table = place.tables("db").remove(0);
    let bytes = fs::read(&table).unwrap();
    fs::write(&table, &bytes[..bytes.len() / 2]).unwrap();
    check_found(&place);
    place.run(["put", "db", "a", "b"]).code(3).says("lsm verify");
    fs::remove_file(&table).unwrap();
    check_found(&place);
    place.run(["put", "db", "a", "b"]).code(3).says("missing");
}
