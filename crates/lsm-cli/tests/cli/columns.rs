//! Typed rows: loading them, scans in columns, tables of columns.

use crate::tool::Place;

const PEOPLE: &str = "id\tname\tborn\theight\n\
    1\tAda\t1815\t1.65\n\
    2\tAlan\t1912\t1.78\n\
    3\tBarbara\t1939\t\n\
    4\tNiklaus\tlong ago\t1.80\n\
    5\tAnita\t1949\t1.70\n";
const SCHEMA: &str = "name:text,born:i32,height:decimal(5.2)?";

fn loaded() -> Place {
    let place = Place::new();
    place.file("people.tsv", PEOPLE);
    let report = place.run(["load", "db", "people.tsv", "--schema", SCHEMA, "--json"]).ok().json();
    assert_eq!((report["rows"].as_u64(), report["kept_whole"].as_u64()), (Some(5), Some(1)));
    place
}

#[track_caller]
fn check(place: &Place, arguments: &[&str], expected: &str) {
    let out = place.run([&["scan", "db"], arguments].concat()).ok().out();
    assert_eq!(out.lines().collect::<Vec<_>>().join("|"), expected, "{arguments:?}");
}

/// Proves F-107, F-116, F-118 (in part): what a load with a schema stored is found by columns and conditions, also by the
/// next program, which finds the schema in the manifest, and after a compaction.
#[test]
fn columns_are_found_by_name_and_condition() {
    let place = loaded();
    for compacted in [false, true] {
        if compacted {
            place.run(["compact", "db"]).ok();
        }
        check(&place, &["--columns", "name,born"], "Ada\t1815|Alan\t1912|Barbara\t1939|\t|Anita\t1949");
        check(&place, &["--columns", "key,height", "--where", "born < 1920"], "1\t1.65|2\t1.78");
        check(&place, &["--where", "height is null and born is not null"], "Barbara\t1939\t");
        check(&place, &["--columns", "name", "--where", "name prefix A and height >= 1.70"], "Alan|Anita");
        check(
            &place,
            &["--columns", "name", "--where", "born between 1912 and 1939", "--reverse"],
            "Barbara|Alan",
        );
        check(&place, &["--count", "--where", "name in (Ada, 'Alan', Grace)"], "2");
        check(&place, &["--columns", "name", "--from", "2", "--to", "4", "--limit", "1"], "Alan");
        check(&place, &["--columns", "name", "--prefix", "5"], "Anita");
        let row = place.run(["scan", "db", "--where", "born > 1940", "--json"]).ok().json_lines().remove(0);
        assert_eq!(row, serde_json::json!({"name": "Anita", "born": 1949, "height": "1.70"}));
    }
    // Values stay what they were, those that do not go with the schema, too.
    assert_eq!(place.run(["get", "db", "4", "--raw"]).ok().raw(), b"Niklaus\tlong ago\t1.80");
    assert_eq!(place.run(["get", "db", "2", "--raw"]).ok().raw(), b"Alan\t1912\t1.78");
    place.run(["put", "db", "6", "Grace\t1906\t"]).ok();
    check(&place, &["--columns", "name", "--where", "born = 1906"], "Grace");
    place.check_sound("db");
}

/// A table says what its columns take, and shows its rows.
#[test]
fn a_table_lists_its_columns() {
    let place = loaded();
    let table = place.tables("db").remove(0);
    let table = table.to_str().unwrap();
    let report = place.run(["table", table, "--columns", "--json"]).ok().json();
    let names: Vec<_> =
        report["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["(key)", "(seqno)", "(kind)", "(whole value)", "name", "born", "height"]);
    assert_eq!(
        (report["columns"][6]["type"].as_str(), report["columns"][6]["nulls"].as_u64()),
        (Some("decimal(5.2)"), Some(2))
    );
    let out = place.run(["table", table, "--columns"]).ok().out();
    assert!(out.contains("Barbara") && out.contains("decimal(5.2)"), "{out}");
    assert_eq!(place.run(["verify", table, "--json"]).ok().json()["clean"], true);
}

/// Without a heading the schema names all columns; CSV and sorted loads go the same way.
#[test]
fn rows_come_from_csv_and_without_headings() {
    let place = Place::new();
    place.file("a.csv", "k1,7,\"a, b\"\nk2,8,c\n");
    let arguments =
        ["load", "db", "a.csv", "--no-header", "--sorted", "--schema", "id:text,number:u64,word:text"];
    place.run(arguments).ok();
    check(&place, &["--columns", "word,number", "--where", "number > 7 or word = 'a, b'"], "a, b\t7|c\t8");
    place.run(["load", "other", "a.csv", "--no-header", "--schema", "id:text"]).code(4).says("has 1");
    place.file("tab.csv", "id,word\n1,\"a\tb\"\n2,c\n");
    place.run(["load", "tabs", "tab.csv", "--schema", "word:text"]).code(4).says("holds a tab");
    place.run(["load", "tabs", "tab.csv", "--schema", "word:text", "--on-error", "skip"]).ok();
    let out = place.run(["scan", "tabs", "--columns", "key,word"]).ok().out();
    assert_eq!(out, "2\tc\n");
}

/// What makes no sense is refused before anything is done, with advice.
#[test]
fn mistakes_are_told() {
    let place = loaded();
    let scan = |arguments: &[&str]| place.run([&["scan", "db"], arguments].concat());
    scan(&["--columns", "nam"]).code(2).says("there are `name`, `born`, `height`");
    scan(&["--where", "born >"]).code(2).says("a value is missing at the end");
    scan(&["--where", "born > many"]).code(2).says("`many` is no value of column `born`");
    let load = |arguments: &[&str]| place.run([&["load", "new", "people.tsv"], arguments].concat());
    load(&["--schema", "name"]).code(2).says("`name` is no `NAME:TYPE`");
    load(&["--schema", "name:int"]).code(2).says("no type");
    load(&["--schema", "nobody:text"]).code(4).says("there is no column `nobody`");
    load(&["--schema", SCHEMA, "--format", "ndjson"]).code(2).says("TSV and CSV");
    assert!(!place.path("new").exists());
    // Another schema than the one that is there.
    place.run(["load", "db", "people.tsv", "--schema", "name:bytes"]).code(3).says("leave out `--schema`");
    place.run(["load", "plain", "people.tsv"]).ok();
    place.run(["scan", "plain", "--columns", "name"]).code(4).says("not loaded with a schema");
}
