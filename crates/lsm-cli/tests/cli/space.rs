//! `lsm space` and `lsm compact --tight`.

use lsm::{
    SeqNo,
    tree::{FlushOptions, Tree, TreeOptions},
};

use crate::tool::Place;

const ROWS: u64 = 2_000;

/// A database whose rows were written three times over, in runs of about 1.6 MB that no compaction has seen.
fn overwritten(place: &Place) {
    let tree = Tree::open(TreeOptions::new(place.path("db"))).unwrap();
    let (mut next, mut dice) = (1, 7_u64);
    for _ in 0..3 {
        for row in 0..ROWS {
            let mut value = Vec::new();
            while value.len() < 800 {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                value.extend((dice >> 11).to_le_bytes());
            }
            tree.insert(format!("key-{row:06}"), value, SeqNo::new(next).unwrap()).unwrap();
            next += 1;
        }
        tree.seal(None);
        tree.flush(&FlushOptions::default()).unwrap();
    }
    tree.close().unwrap();
}

/// What would free space is listed with what it takes; when it is done, there is nothing left to list.
#[test]
fn what_would_free_space_is_listed() {
    let place = Place::new();
    overwritten(&place);
    let before = place.database("db");
    let report = place.run(["space", "db", "--json"]).ok().json();
    let used = report["table_bytes"].as_u64().unwrap();
    assert!(report["reclaimable_bytes"].as_u64().unwrap() > used / 2, "{report}");
    assert!(report["available_bytes"].as_u64().is_some(), "{report}");
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.last().unwrap()["step"], "merge all, by slices");
    assert!(steps.iter().all(|step| step["fits"] == true), "{report}");
    let text = place.run(["space", "db"]).ok().out();
    assert!(text.contains("could be freed") && text.contains("merge all, by slices"), "{text}");
    // With a limit, not everything fits.
    let limit = (used + 100_000).to_string();
    let tight = place.run(["space", "db", "--limit", &limit]).ok().out();
    assert!(tight.contains("no room"), "{tight}");
    assert_eq!(place.database("db"), before, "nothing was changed");
    place.run(["compact", "db", "--major"]).ok();
    let text = place.run(["space", "db"]).ok().out();
    assert!(text.contains("nothing would free space"), "{text}");
}

/// A merge that does not fit is done by slices, each with a line, or is refused with the figures; answers stay.
#[test]
fn a_compaction_uses_what_room_there_is() {
    let place = Place::new();
    overwritten(&place);
    let rows = place.run(["scan", "db"]).ok().out();
    let used = place.run(["space", "db", "--json"]).ok().json()["table_bytes"].as_u64().unwrap();
    let none = used.to_string();
    place.run(["compact", "db", "--tight", "--limit", &none]).code(4).says("no room to compact");
    place.check_sound("db");
    place.run(["compact", "db", "--limit", &none]).code(2);
    let some = (used + (1_400 << 10)).to_string();
    let report =
        place.run(["compact", "db", "--tight", "--limit", &some, "--json"]).ok().says("slice 1: ").json();
    assert_eq!(
        (report["sliced"]["remaining_bytes"].as_u64(), report["jobs"].as_u64()),
        (Some(0), Some(1)),
        "{report}"
    );
    assert_eq!(report["after"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(place.run(["scan", "db"]).ok().out(), rows);
    place.check_sound("db");
    let again = place.run(["compact", "db", "--tight"]).ok().out();
    assert!(!again.contains("slice"), "there is room: {again}");
}
