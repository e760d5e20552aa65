//! Loading: formats, quotes, bad lines, resuming.

use crate::tool::{Place, rows};

#[track_caller]
fn check(name: &str, content: &str, arguments: &[&str], expected: &[(&str, &str)]) {
    let place = Place::new();
    place.file(name, content);
    let loaded = place.run([&["load", "db", name], arguments].concat()).ok();
    assert_eq!(loaded.err().contains("durable: "), !expected.is_empty());
    let entries = place.run(["scan", "db", "--json"]).ok().json_lines();
    let found: Vec<(&str, &str)> = entries
        .iter()
        .map(|entry| (entry["key"].as_str().unwrap(), entry["value"].as_str().unwrap()))
        .collect();
    assert_eq!(found, expected);
    place.check_sound("db");
}

#[test]
fn tsv_rows_become_objects_or_columns() {
    let text = "id\tname\tnote\n2\tbob\t\n1\tann\tsays \"hi\"\n3\t\tc:\\d\n1\tanna\tlast\n";
    let whole = [
        ("1", r#"{"id":"1","name":"anna","note":"last"}"#),
        ("2", r#"{"id":"2","name":"bob","note":""}"#),
        ("3", r#"{"id":"3","name":"","note":"c:\\d"}"#),
    ];
    check("a.tsv", text, &[], &whole);
    check("a.tsv", &text.replace('\n', "\r\n"), &[], &whole);
    check("a.tsv", &format!("\u{feff}{}", text.trim_end()), &[], &whole);
    check("a.tsv", text, &["--value", "name"], &[("1", "anna"), ("2", "bob"), ("3", "")]);
    check(
        "a.dat",
        "1\tx\n2\ty",
        &["--format", "tsv", "--no-header"],
        &[("1", r#"{"1":"1","2":"x"}"#), ("2", r#"{"1":"2","2":"y"}"#)],
    );
    check("a.tsv", "k\n", &[], &[]);
}

/// Rows that are sorted go to tables without a flush, others from the first that is not on; the outcome is the same.
#[test]
fn sorted_rows_are_ingested_and_others_loaded_all_the_same() {
    let check = |text: &str, is_sorted: bool| {
        let place = Place::new();
        place.file("a.tsv", text);
        let loaded = place.run(["load", "db", "a.tsv", "--value", "v", "--sorted"]).ok();
        assert_eq!(loaded.err().contains("not sorted: a.tsv, line 4"), !is_sorted, "{}", loaded.err());
        assert!(loaded.err().contains("durable: "));
        let plain = Place::new();
        plain.file("a.tsv", text);
        plain.run(["load", "db", "a.tsv", "--value", "v"]).ok();
        let entries = |place: &Place| {
            let entries = place.run(["scan", "db", "--json"]).ok().json_lines();
            entries
                .iter()
                .map(|entry| (entry["key"].to_string(), entry["value"].to_string()))
                .collect::<Vec<_>>()
        };
        assert_eq!(entries(&place), entries(&plain));
        place.check_sound("db");
        // A second load over the first.
        place.file("b.tsv", "k\tv\nb\tnew\n");
        place.run(["load", "db", "b.tsv", "--value", "v", "--sorted"]).ok();
        assert_eq!(place.run(["get", "db", "b"]).ok().out().trim_end(), "new");
    };
    check("k\tv\na\t1\nb\t2\nc\t3\nd\t4\n", true);
    check("k\tv\na\t1\nb\t2\na\t3\nd\t4\n", false);
    check("k\tv\na\t1\nb\t2\nb\t3\nc\t4\n", false);
}

#[test]
fn csv_quotes_hold_commas_lines_and_quotes() {
    let text = "id,\"na,me\",note\n1,\"a,b\",\"two\nlines\"\n\n2,\"say \"\"hi\"\"\",\n3,'x',\"cr\r\nlf\"\n";
    check("a.csv", text, &["--value", "na,me"], &[("1", "a,b"), ("2", "say \"hi\""), ("3", "'x'")]);
    check(
        "a.csv",
        text,
        &["--key", "2", "--value", "3"],
        &[("'x'", "cr\r\nlf"), ("a,b", "two\nlines"), ("say \"hi\"", "")],
    );
    check("a.csv", "a,b\r\n1,2\r\n3,4", &["--value", "b"], &[("1", "2"), ("3", "4")]);
}

#[test]
fn ndjson_rows_keep_their_numbers_and_order() {
    let text = concat!(
        "{ \"z\" : 1, \"a\": [1.0, {\"b\": \"x y\"}] }\n",
        "\n",
        "{\"z\": \"k\\u00e9y\", \"a\": 12345678901234567890123}\r\n",
    );
    check(
        "a.ndjson",
        text,
        &[],
        &[
            ("1", r#"{"z":1,"a":[1.0,{"b":"x y"}]}"#),
            ("kéy", r#"{"z":"k\u00e9y","a":12345678901234567890123}"#),
        ],
    );
    check(
        "a.jsonl",
        text,
        &["--key", "z", "--value", "a"],
        &[("1", r#"[1.0,{"b":"x y"}]"#), ("kéy", "12345678901234567890123")],
    );
}

/// The load names the line, keeps what came before it, and `--on-error skip` goes past it.
#[test]
fn a_bad_line_is_named_and_stops_or_is_passed_over() {
    #[track_caller]
    fn check(name: &str, content: &[u8], line: u64, problem: &str, before: u64, good: u64) {
        let place = Place::new();
        place.file(name, content);
        let stopped = place.run(["load", "db", name]).code(4);
        stopped.says(&format!("{name}, line {line}\n")).says(problem);
        let count = |db| place.run(["scan", db, "--count"]).ok().out().trim().parse::<u64>().unwrap();
        assert_eq!(count("db"), before);
        let skipped = place.run(["load", "other", name, "--on-error", "skip", "--json"]).ok();
        assert_eq!(skipped.json()["bad_lines"], 1);
        assert_eq!(count("other"), good);
        skipped.says(&format!("line {line}: "));
    }
    check("a.tsv", b"k\tv\n1\ta\n2\n3\tc\n", 3, "1 fields, 2 are expected", 1, 2);
    check("a.tsv", b"k\tv\r\n1\ta\r\n\r\n2\r\n3\tc\r\n", 4, "1 fields", 1, 2);
    check("a.tsv", b"k\tv\n\t0\n3\tc\n", 2, "a key must have", 0, 1);
    check("a.tsv", b"k\tv\n1\t\xff\n3\tc\n", 2, "not UTF-8", 0, 1);
    check("a.csv", b"k,v\r\n1,\"x\r\ny\"\r\n\r\n2,b,c\r\n3,d\r\n", 5, "3 fields", 1, 2);
    check("a.csv", b"k,v\n1,a\n2,\"never\n3,c\n", 3, "never closed", 1, 1);
    check("a.csv", b"k,v\n1,a\rb\n3,c\n", 2, "carriage return", 0, 1);
    check("a.ndjson", b"{\"k\":1}\n\n{\"k\":\n{\"k\":3}\n", 3, "JSON", 1, 2);
    check("a.ndjson", b"{\"k\":1}\n[1]\n{\"k\":3}\n", 2, "JSON", 1, 2);
    check("a.ndjson", b"{\"k\":1}\n{\"k\":null}\n", 2, "must be a string", 1, 1);
}

#[test]
fn what_cannot_begin_makes_no_database() {
    let place = Place::new();
    place.file("a.tsv", "k\tv\tk\n1\t2\t3\n");
    place.run(["load", "db", "a.tsv"]).code(4).says("names column `k` twice");
    place.run(["load", "db", "a.tsv", "--key", "no", "--value", "2"]).code(4).says("no column `no`");
    place.run(["load", "db", "missing.tsv"]).code(4).says("missing.tsv");
    place.run(["load", "db", "a.xml"]).code(2).says("--format");
    place.run(["load", "db", "a.tsv", "--write-buffer", "much"]).code(2);
    place.run(["load", "db", "a.tsv", "--write-buffer", "1KiB"]).code(2).says("256KiB");
    place.file("empty.csv", "");
    place.run(["load", "db", "empty.csv"]).code(4).says("heading");
    assert!(!place.path("db").exists());
}

/// A load that a bad line stopped goes on after it was corrected, and refuses another file.
#[test]
fn a_stopped_load_resumes() {
    let place = Place::new();
    let good = rows(0..300);
    place.file("bad.tsv", format!("{}broken\n", rows(0..200)));
    let load = ["load", "db", "bad.tsv", "--no-header"];
    place.run(load).code(4).says("line 201").says("durable: 200 lines");
    place.file("good.tsv", &good);
    place.file("other.tsv", rows(1..300));
    place.file("short.tsv", rows(0..100));
    place.run(["load", "db", "other.tsv", "--no-header", "--resume"]).code(4).says("not the ones");
    place.run(["load", "db", "short.tsv", "--no-header", "--resume"]).code(4).says("not the ones");
    let resumed = place.run(["load", "db", "good.tsv", "--no-header", "--resume", "--json"]).ok();
    assert_eq!((&resumed.json()["rows"], &resumed.json()["resumed_after"]), (&100.into(), &200.into()));
    assert_eq!(place.run(["scan", "db", "--count"]).ok().out(), "300\n");
    // A load that was stopped before its first flush begins again.
    place.file("none.tsv", "");
    place.run(["load", "empty", "none.tsv", "--no-header"]).ok();
    place.run(["load", "empty", "good.tsv", "--no-header", "--resume"]).ok();
    assert_eq!(place.run(["scan", "empty", "--count"]).ok().out(), "300\n");
    place.run(["put", "new", "a", "b"]).ok();
    place.run(["load", "new", "good.tsv", "--no-header", "--resume"]).code(4).says("without `--resume`");
}
