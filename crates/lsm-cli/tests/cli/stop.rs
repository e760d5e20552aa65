//! Programs that are stopped in the middle.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use crate::tool::{Place, row, rows, signal};

/// Every line below `durable` is there, with its value.
#[track_caller]
fn check_lines(place: &Place, durable: u64) {
    let out = place.run(["scan", "db", "--raw"]).ok().out();
    let found: std::collections::BTreeSet<&str> = out.lines().collect();
    for number in 0..durable {
        let line = row(number);
        let (key, value) = line.trim_end().split_once('\t').unwrap();
        let expected = format!("{key}\t{{\"1\":\"{key}\",\"2\":\"{value}\"}}");
        assert!(found.contains(expected.as_str()), "line {number} of {durable} is lost");
    }
}

/// What was reported durable survives a kill, and the load goes on from there.
#[test]
fn a_killed_load_has_lost_no_durable_line() {
    let place = Place::new();
    let mut loading = place.start_load(&["--write-buffer", "256KiB"]);
    let mut next = 0;
    let mut durable = 0;
    while durable < 6_000 {
        // More than two write buffers at a time: at least one flush comes of it.
        loading.write(&rows(next..next + 3_000));
        next += 3_000;
        durable = loading.durable();
    }
    loading.signal("KILL");
    let (status, later, _) = loading.wait();
    assert_eq!(status.code(), None);
    let durable = later.unwrap_or(durable);
    place.run(["verify", "db"]).ok();
    check_lines(&place, durable);

    place.file("all.tsv", rows(0..next));
    let report = place.run(["load", "db", "all.tsv", "--no-header", "--resume", "--json"]).ok().json();
    assert!(report["resumed_after"].as_u64().unwrap() >= durable);
    check_lines(&place, next);
    place.check_sound("db");
}

#[test]
fn ctrl_c_ends_a_load_and_leaves_no_orphan() {
    let place = Place::new();
    let mut loading = place.start_load(&["--write-buffer", "256KiB"]);
    loading.write(&rows(0..3_000));
    let durable = loading.durable();
    // The load waits for input now, or flushes.
    loading.signal("INT");
    let (status, later, rest) = loading.wait();
    assert_eq!(status.code(), Some(130), "{rest}");
    assert!(rest.contains("interrupted") && rest.contains("--resume"), "{rest}");
    place.check_sound("db");
    check_lines(&place, later.unwrap_or(durable));
    place.run(["put", "db", "still", "works"]).ok();
}

#[test]
fn ctrl_c_ends_a_demo_and_leaves_no_orphan() {
    let place = Place::new();
    for number in 0..300_u32 {
        let content: Vec<u8> =
            (0..200_000_u32).map(|at| at.wrapping_mul(number + 7).to_le_bytes()[1]).collect();
        place.file(&format!("src/{number}"), content);
    }
    for millis in [100, 300, 600] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lsm"));
        command.args(["demo", "--db"]).arg(place.path("db")).arg(place.path("src"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        signal(&child, "INT");
        let status = child.wait().unwrap();
        assert!(matches!(status.code(), Some(0 | 130) | None), "{status:?}");
        if place.path("db/CURRENT").exists() {
            place.check_sound("db");
        }
    }
}

/// Wherever in its work a compaction is stopped, all entries and no other files are there.
#[test]
fn ctrl_c_ends_a_compaction_and_leaves_no_orphan() {
    let place = Place::new();
    place.file("a.tsv", rows(0..20_000));
    place.run(["load", "db", "a.tsv", "--no-header", "--write-buffer", "256KiB"]).ok();
    for millis in [0, 5, 20, 60] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lsm"));
        command
            .args(["compact", "--major"])
            .arg(place.path("db"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        signal(&child, "INT");
        // Before the handler is in place, and after the work is done, the program ends in another way.
        let status = child.wait().unwrap();
        assert!(matches!(status.code(), Some(0 | 130) | None), "{status:?}");
        place.check_sound("db");
        assert_eq!(place.run(["scan", "db", "--count"]).ok().out(), "20000\n");
    }
}
