//! `cargo xtask trace [--update | --faults]`: the table of requirements against the tests that claim them.
//!
//! A test claims in its doc comment: `Proves E-12, C-7.` for requirements, `Fault: compaction W-2.` for faults seen in
//! other engines. A requirement marked `built` needs a claim, and a claim needs a requirement marked `built`.
//! `--update` marks as built every planned requirement that a test claims; `--faults` lists every known fault with the
//! tests that would catch it.

mod claims;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use crate::repo::Repo;
use crate::trouble::{Findings, Trouble};
use claims::Claim;
use table::{Requirement, State};

const TABLE: &str = "docs/requirements.md";

pub(crate) fn run(repo: &Repo, arguments: &[String]) -> Result<(), Trouble> {
    let (update, list) = match arguments {
        [] => (false, false),
        [flag] if flag == "--update" => (true, false),
        [flag] if flag == "--faults" => (false, true),
        _ => return Err(Trouble::Usage("trace takes `--update`, `--faults` or nothing".to_owned())),
    };
    let mut findings = Findings::default();
    let mut claims = Vec::new();
    for source in repo.rust_files(&["crates/", "xtask/", "benches/"])? {
        claims::collect(&source, &mut claims, &mut findings);
    }
    let mut text = repo.read(TABLE)?;
    let claimed: BTreeSet<&str> = claims.iter().map(|claim| claim.id.as_str()).collect();
    if update {
        let (updated, flipped) = table::mark_built(&text, &claimed);
        repo.write(TABLE, &updated)?;
        println!("trace: {flipped} requirements newly marked built");
        text = updated;
    }
    let requirements = table::parse(&text, &mut findings);
    judge(&requirements, &claims, &mut findings);
    print_areas(&requirements);
    print_faults(&claims);
    if list {
        for line in fault_table(&claims) {
            println!("{line}");
        }
    }
    findings.into_result()
}

/// Holds the claims against the table.
fn judge(requirements: &[Requirement], claims: &[Claim], findings: &mut Findings) {
    let by_id: BTreeMap<&str, &Requirement> =
        requirements.iter().map(|requirement| (requirement.id.as_str(), requirement)).collect();
    let mut proven = BTreeSet::new();
    for claim in claims.iter().filter(|claim| !claim.is_fault()) {
        match by_id.get(claim.id.as_str()).map(|requirement| requirement.state) {
            None => findings.add(format!("{} claims {}, which is no requirement", claim.place, claim.id)),
            Some(State::Built) => {
                proven.insert(claim.id.as_str());
            }
            Some(State::Planned) => findings.add(format!(
                "{} claims {}, which is planned: `cargo xtask trace --update` marks it built",
                claim.place, claim.id
            )),
            Some(State::Declined) => {
                findings.add(format!("{} claims {}, which is declined", claim.place, claim.id));
            }
        }
    }
    for requirement in requirements {
        if requirement.state == State::Built && !proven.contains(requirement.id.as_str()) {
            findings.add(format!("{} is marked built, and no test claims it", requirement.id));
        }
    }
}

fn print_areas(requirements: &[Requirement]) {
    println!("trace: area                  built planned declined");
    let mut total = [0_usize; 3];
    for (area, name) in table::AREAS {
        let states = requirements.iter().filter(|requirement| requirement.area() == *area);
        let mut counts = [0_usize; 3];
        for requirement in states {
            let (Some(count), Some(sum)) =
                (counts.get_mut(requirement.state as usize), total.get_mut(requirement.state as usize))
            else {
                continue;
            };
            *count += 1;
            *sum += 1;
        }
        let [built, planned, declined] = counts;
        println!("trace: {area:3} {name:17} {built:5} {planned:7} {declined:8}");
    }
    let [built, planned, declined] = total;
    println!("trace: all                   {built:5} {planned:7} {declined:8}");
}

fn print_faults(claims: &[Claim]) {
    let faults: BTreeSet<&str> =
        claims.iter().filter(|claim| claim.is_fault()).map(|claim| claim.id.as_str()).collect();
    let counts: Vec<String> = claims::FAULT_LISTS
        .iter()
        .map(|(list, len)| {
            let proven = faults.iter().filter(|id| id.starts_with(list)).count();
            format!("{list} {proven} of {len}")
        })
        .collect();
    println!("trace: known faults with a test: {}", counts.join(", "));
}

/// One line for each known fault: its id, and where the tests stand that would catch it.
fn fault_table(claims: &[Claim]) -> Vec<String> {
    let mut lines = Vec::new();
    for (list, len) in claims::FAULT_LISTS {
        for number in 1..=*len {
            let id = format!("{list} W-{number}");
            let of_this = claims.iter().filter(|claim| claim.id == id);
            let places: Vec<&str> = of_this.map(|claim| claim.place.as_str()).collect();
            let places = if places.is_empty() { "none".to_owned() } else { places.join(" ") };
            lines.push(format!("trace: {id:16} {places}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_fault_has_a_line() {
        let claim = |id: &str, place: &str| Claim { id: id.to_owned(), place: place.to_owned() };
        let claims = [claim("durability W-3", "a.rs:1"), claim("durability W-3", "b.rs:2")];
        let lines = fault_table(&claims);
        let known: u32 = claims::FAULT_LISTS.iter().map(|(_, len)| len).sum();
        assert_eq!(lines.len(), usize::try_from(known).unwrap());
        assert!(lines.contains(&"trace: durability W-3   a.rs:1 b.rs:2".to_owned()), "{lines:?}");
        assert!(lines.contains(&"trace: engine W-1       none".to_owned()));
    }

    #[track_caller]
    fn check(rows: &[(&str, State)], claimed: &[&str], expected: &[&str]) {
        let requirements: Vec<_> =
            rows.iter().map(|(id, state)| Requirement { id: (*id).to_owned(), state: *state }).collect();
        let claims: Vec<_> =
            claimed.iter().map(|id| Claim { id: (*id).to_owned(), place: "t.rs:1".into() }).collect();
        let mut findings = Findings::default();
        judge(&requirements, &claims, &mut findings);
        assert_eq!(findings.lines(), expected);
    }

    #[test]
    fn claims_and_states_must_agree() {
        check(&[("E-1", State::Built)], &["E-1", "E-1"], &[]);
        check(&[("E-1", State::Planned), ("E-2", State::Declined)], &[], &[]);
        check(&[("E-1", State::Built)], &[], &["E-1 is marked built, and no test claims it"]);
        check(
            &[("E-1", State::Planned)],
            &["E-1"],
            &["t.rs:1 claims E-1, which is planned: `cargo xtask trace --update` marks it built"],
        );
        check(&[("E-1", State::Declined)], &["E-1"], &["t.rs:1 claims E-1, which is declined"]);
        check(&[], &["E-9"], &["t.rs:1 claims E-9, which is no requirement"]);
        check(&[], &["compaction W-2"], &[]);
    }
}
