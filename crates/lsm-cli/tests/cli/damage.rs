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

/// Proves F-33 (filter part): what helps only may be damaged; reads go on, and a check says so.
#[test]
fn a_damaged_filter_is_found_and_hinders_no_read() {
    let place = loaded();
    let table = place.tables("db").remove(0);
    let bytes = fs::read(&table).unwrap();
    let sound = place.run(["table", table.to_str().unwrap(), "--json"]).ok().json();
    let filter = &sound["filters"][0];
    assert_eq!((filter["over"].as_str(), filter["hashes"].as_u64()), (Some("filter over keys"), Some(2000)));
    let bits = (filter["nominal_bits"].as_f64().unwrap(), filter["bits_per_hash"].as_f64().unwrap());
    assert!(bits.0 >= 8.0 && bits.1 >= bits.0 && bits.1 < bits.0 * 1.1, "{bits:?}");
    assert!(place.run(["table", table.to_str().unwrap()]).ok().out().contains("filter over keys"));
    let levels = place.run(["stats", "db", "--json"]).ok().json()["levels"].clone();
    assert!(levels[0]["filter_bytes"].as_u64().unwrap() > 2000, "{levels}");
    assert!(levels[0]["filter_bits_per_entry"].as_f64().unwrap() >= 8.0, "{levels}");
    assert!(place.run(["stats", "db"]).ok().out().contains("bits/entry"));

    let opened = lsm_sst::Table::open(bytes.clone(), lsm_sst::TableOptions::new()).unwrap();
    let part = opened.meta().filter_ref(lsm_sst::FilterId::Keys, 0).unwrap();
    let mut damaged = bytes;
    damaged[usize::try_from(part.handle.offset).unwrap() + 100] ^= 1;
    fs::write(&table, &damaged).unwrap();
    check_found(&place);
    let report = place.run(["table", table.to_str().unwrap(), "--json"]).code(1).json();
    assert_eq!(report["filters"][0]["damaged_partitions"], 1);
    assert_eq!(place.run(["scan", "db"]).ok().out().lines().count(), 2000);
}
