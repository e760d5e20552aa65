//! The rules of the map, one function each.

use super::manifests::Member;
use super::{OUTSIDE, ROOMS, SAME_FLOOR, STD_PARTS, Std, TESTKIT, TOOLS, find_room};
use crate::repo::{Repo, Source, shipped_lines};
use crate::trouble::{Findings, Trouble};

/// The table itself: arrows run down, names exist and stand once.
pub(super) fn table(findings: &mut Findings) {
    for (at, room) in ROOMS.iter().enumerate() {
        if ROOMS.iter().skip(at + 1).any(|other| other.name == room.name) {
            findings.add(format!("{} stands twice in the table", room.name));
        }
        for &used in room.uses {
            match find_room(used) {
                None => findings.add(format!("{} may use {used}, which is no crate of the table", room.name)),
                Some(target) if target.floor < room.floor || SAME_FLOOR.contains(&(room.name, used)) => {}
                Some(target) => findings.add(format!(
                    "{} (floor {}) may not be drawn to {used} (floor {}): arrows run down",
                    room.name, room.floor, target.floor
                )),
            }
        }
    }
}

/// Every line of every manifest is drawn in the table.
pub(super) fn edges(members: &[Member], findings: &mut Findings) {
    for member in members {
        if TOOLS.contains(&member.name.as_str()) {
            continue;
        }
        let Some(room) = find_room(&member.name) else {
            findings.add(format!("{} is no crate of the table in xtask/src/map.rs", member.name));
            continue;
        };
        for used in member.ours() {
            let drawn = room.uses.contains(&used.name.as_str());
            let below = find_room(&used.name).is_some_and(|target| target.floor < room.floor);
            if !drawn && !(used.dev && (below || used.name == TESTKIT)) {
                let line = if used.dev { "tests of " } else { "" };
                findings.add(format!("{line}{} may not use {}", room.name, used.name));
            }
        }
        for used in member.outside().filter(|used| !used.dev) {
            let owner = OUTSIDE.iter().find(|owned| owned.name == used.name);
            if owner.is_some_and(|owned| !owned.by.contains(&room.name)) {
                findings.add(format!("{} may not use {}: it has another owner", room.name, used.name));
            }
        }
    }
}

/// `#![no_std]` stands in `lib.rs` exactly where the table says so.
pub(super) fn std_attribute(repo: &Repo, members: &[Member], findings: &mut Findings) -> Result<(), Trouble> {
    for member in members {
        let path = format!("crates/{}/src/lib.rs", member.name);
        let Some(room) = find_room(&member.name).filter(|_| repo.root().join(&path).is_file()) else {
            continue;
        };
        let without = repo.read(&path)?.lines().any(|line| line == "#![no_std]");
        if without != (room.std == Std::Without) {
            let verb = if without { "has" } else { "lacks" };
            findings.add(format!("{path} {verb} `#![no_std]`, against the table"));
        }
    }
    Ok(())
}

/// Parts of the standard library that have an owner are named there only; tests are free.
pub(super) fn std_parts(sources: &[Source], findings: &mut Findings) {
    for source in sources {
        let Some((name, _)) = source.path.strip_prefix("crates/").and_then(|path| path.split_once("/src/"))
        else {
            continue;
        };
        for (part, owners) in STD_PARTS {
            if owners.contains(&name) || name == TESTKIT {
                continue;
            }
            for (at, _) in shipped_lines(&source.text).filter(|(_, line)| names_std_part(line, part)) {
                findings.add(format!("{}:{at} names std::{part}", source.path));
            }
        }
    }
}

/// A dependency that no source of its crate names is a line to delete.
pub(super) fn unused(members: &[Member], sources: &[Source], findings: &mut Findings) {
    for member in members {
        let directories = [format!("crates/{}/", member.name), format!("{}/", member.name)];
        let own: Vec<&Source> = sources
            .iter()
            .filter(|source| directories.iter().any(|directory| source.path.starts_with(directory)))
            .collect();
        for used in member.dependencies.iter().filter(|_| !own.is_empty()) {
            let name = used.name.replace('-', "_");
            if !own.iter().any(|source| source.text.contains(&name)) {
                findings.add(format!("{} depends on {} and names it nowhere", member.name, used.name));
            }
        }
    }
}

/// Whether a line names `std::PART`, on its own or in a braced list that starts on the line.
fn names_std_part(line: &str, part: &str) -> bool {
    line.match_indices("std::").any(|(at, found)| {
        let rest = line.get(at + found.len()..).unwrap_or_default();
        let list = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or_default());
        list.split(',')
            .any(|item| item.trim().split(|c: char| !(c.is_alphanumeric() || c == '_')).next() == Some(part))
    })
}

#[cfg(test)]
mod tests {
    use super::super::manifests::Dependency;
    use super::*;

    fn lines(check: impl FnOnce(&mut Findings)) -> Vec<String> {
        let mut findings = Findings::default();
        check(&mut findings);
        findings.lines().to_vec()
    }

    #[test]
    fn the_table_keeps_its_own_rules() {
        assert_eq!(lines(table), [""; 0]);
    }

    #[track_caller]
    fn check_edge(from: &str, to: &str, dev: bool, allowed: bool) {
        let dependencies = vec![Dependency { name: to.into(), dev }];
        let found = lines(|findings| edges(&[Member { name: from.into(), dependencies }], findings));
        assert_eq!(found.is_empty(), allowed, "{from} -> {to}: {found:?}");
    }

    #[test]
    fn edges_run_down_as_drawn() {
        check_edge("lsm-sst", "lsm-block", false, true);
        check_edge("lsm-fs", "lsm-types", false, true);
        check_edge("lsm-types", "lsm-fs", false, false);
        check_edge("lsm-sst", "lsm-manifest", false, false);
        check_edge("lsm-sst", "lsm-fs", false, false);
        check_edge("lsm-block", "lsm-sst", false, false);
        check_edge("lsm-cli", "lsm-memtable", false, false);
        check_edge("lsm-novelty", "lsm-types", false, false);
        check_edge("lsm-sst", "lsm-novelty", false, false);
        check_edge("xtask", "lsm-engine", false, true);
    }

    #[test]
    fn tests_may_reach_further() {
        check_edge("lsm-sst", "lsm-testkit", true, true);
        check_edge("lsm-fs", "lsm-testkit", true, true);
        check_edge("lsm-sst", "lsm-testkit", false, false);
        check_edge("lsm-sst", "lsm-fs", true, true);
        check_edge("lsm-sst", "lsm-engine", true, false);
    }

    #[test]
    fn outside_crates_have_owners() {
        check_edge("lsm-codec", "zstd", false, true);
        check_edge("lsm-block", "zstd", false, false);
        check_edge("lsm-block", "zstd", true, true);
        check_edge("lsm-block", "crc32c", false, true);
        check_edge("lsm-table", "crc32c", false, false);
        check_edge("lsm-block", "thiserror", false, true);
    }

    #[test]
    fn std_parts_are_seen_however_they_are_named() {
        let cases = [
            ("use std::fs;", true),
            ("let f = std::fs::File::open(p)?;", true),
            ("use std::{io, fs::File};", true),
            ("use std::{fs, io};", true),
            ("use std::ffi::OsStr; use std::fs;", true),
            ("use std::fs_extra;", false),
            ("use std::io;", false),
            ("use lsm_fs::Fs;", false),
        ];
        for (line, expected) in cases {
            assert_eq!(names_std_part(line, "fs"), expected, "{line}");
        }
    }

    #[test]
    fn a_dependency_named_nowhere_is_found() {
        let member = Member {
            name: "lsm-sst".into(),
            dependencies: vec![
                Dependency { name: "lsm-block".into(), dev: false },
                Dependency { name: "proptest".into(), dev: true },
            ],
        };
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let sources =
            [source("crates/lsm-sst/src/a.rs", "use lsm_block::X;"), source("crates/lsm/b.rs", "proptest")];
        let found = lines(|findings| unused(&[member], &sources, findings));
        assert_eq!(found, ["lsm-sst depends on proptest and names it nowhere"]);
    }

    #[test]
    fn std_parts_are_free_in_tests_and_at_their_owner() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let sources = [
            source("crates/lsm-fs/src/disk.rs", "use std::fs;"),
            source("crates/lsm-table/tests/open.rs", "use std::fs;"),
            source("crates/lsm-table/src/open.rs", "#[cfg(test)]\nmod tests { use std::fs; }"),
            source("crates/lsm-table/src/cache.rs", "\nuse std::fs;"),
        ];
        let found = lines(|findings| std_parts(&sources, findings));
        assert_eq!(found, ["crates/lsm-table/src/cache.rs:2 names std::fs"]);
    }
}
