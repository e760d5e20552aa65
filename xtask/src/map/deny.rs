//! `deny.toml` carries the map as `wrappers`, for cargo-deny; this holds it to the table.

use std::collections::BTreeMap;

use super::{OUTSIDE, ROOMS, TESTKIT, TOOLS};
use crate::trouble::Findings;

/// Compares the `deny = [` list of `deny.toml` with the table.
pub(super) fn check(text: &str, findings: &mut Findings) {
    let (mut found, wanted) = (parse(text), wanted());
    for (name, wrappers) in &wanted {
        match found.remove(name) {
            Some(written) if written == *wrappers => {}
            Some(_) => findings.add(format!("deny.toml differs; the table says: {}", render(name, wrappers))),
            None => findings.add(format!("deny.toml lacks: {}", render(name, wrappers))),
        }
    }
    for name in found.keys() {
        findings.add(format!("deny.toml bans {name}, which the table does not"));
    }
}

/// Who may depend on what, by the table: parents in the order of the table, then the tools.
fn wanted() -> BTreeMap<String, Vec<String>> {
    let mut wanted = BTreeMap::new();
    for room in ROOMS.iter().filter(|room| room.name != TESTKIT) {
        let parents =
            ROOMS.iter().filter(|parent| parent.uses.contains(&room.name)).map(|parent| parent.name);
        wanted.insert(room.name.to_owned(), names(parents.chain(TOOLS.iter().copied())));
    }
    wanted.insert(TESTKIT.to_owned(), names(TOOLS.iter().copied()));
    for owned in OUTSIDE.iter().filter(|owned| !owned.shared) {
        wanted.insert(owned.name.to_owned(), names(owned.by.iter().copied()));
    }
    wanted
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}

fn render(name: &str, wrappers: &[String]) -> String {
    let quoted: Vec<String> = wrappers.iter().map(|wrapper| format!("\"{wrapper}\"")).collect();
    format!("{{ name = \"{name}\", wrappers = [{}] }},", quoted.join(", "))
}

/// The entries of the list, each `{ name = "..", wrappers = [..] }`; they may run over several lines.
fn parse(text: &str) -> BTreeMap<String, Vec<String>> {
    let list: String = text
        .lines()
        .skip_while(|line| !line.starts_with("deny = ["))
        .take_while(|line| !line.starts_with(']'))
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    list.split('{')
        .skip(1)
        .filter_map(|entry| {
            let (name, wrappers) = entry.split_once("wrappers")?;
            Some((strings(name).first()?.clone(), strings(wrappers)))
        })
        .collect()
}

/// The quoted strings of a text, in order.
fn strings(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_itself_and_a_change_is_seen() {
        let lines: Vec<String> = wanted().iter().map(|(name, wrappers)| render(name, wrappers)).collect();
        let text = format!("[bans]\ndeny = [\n  # why\n  {}\n]\n", lines.join("\n  "));
        let mut findings = Findings::default();
        check(&text, &mut findings);
        assert_eq!(findings.lines(), [""; 0]);

        for (from, to) in [
            ("name = \"zstd\", wrappers = [\"lsm-codec\"]", "name = \"zstd\", wrappers = [\"lsm-sst\"]"),
            ("{ name = \"zstd\", wrappers = [\"lsm-codec\"] },", ""),
            ("\n]", "\n  { name = \"libc\", wrappers = [] },\n]"),
        ] {
            let mut findings = Findings::default();
            check(&text.replacen(from, to, 1), &mut findings);
            assert_eq!(findings.lines().len(), 1, "{to}");
        }
    }

    #[test]
    fn entries_may_run_over_lines() {
        let parsed =
            parse("deny = [\n  { name = \"a\", wrappers = [\n    \"b\",\n    \"c\",\n  ] },\n]\nx = \"{\"");
        assert_eq!(parsed, BTreeMap::from([("a".to_owned(), vec!["b".to_owned(), "c".to_owned()])]));
    }
}
