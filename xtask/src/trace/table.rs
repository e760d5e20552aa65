//! The table of requirements: `| id | rule | state |`, one row each, in any number of sections.

use std::collections::BTreeSet;

use crate::trouble::Findings;

/// Where a requirement comes from: the letters before its number.
pub(super) const AREAS: &[(&str, &str)] = &[
    ("E", "engine"),
    ("F", "formats"),
    ("FI", "format invariants"),
    ("C", "compaction"),
    ("I", "compaction inv."),
    ("D", "durability"),
    ("L", "log"),
];

/// How far a requirement has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Built,
    Planned,
    Declined,
}

/// One row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Requirement {
    pub(super) id: String,
    pub(super) state: State,
}

impl Requirement {
    /// The letters of its id.
    pub(super) fn area(&self) -> &str {
        self.id.split('-').next().unwrap_or_default()
    }
}

/// Whether a word is the id of a requirement of a known area.
pub(super) fn is_id(word: &str) -> bool {
    word.split_once('-').is_some_and(|(area, number)| {
        AREAS.iter().any(|(known, _)| *known == area)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The rows of the table; what is wrong with them is noted.
pub(super) fn parse(text: &str, findings: &mut Findings) -> Vec<Requirement> {
    let mut requirements = Vec::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        let Some([id, rule, state]) = cells(line) else { continue };
        if !is_id(id) {
            if id != "id" && !id.starts_with("--") {
                findings.add(format!("the table of requirements has a row `{id}`, which is no id"));
            }
            continue;
        }
        if !seen.insert(id.to_owned()) {
            findings.add(format!("{id} has two rows"));
        }
        if rule.is_empty() {
            findings.add(format!("{id} has no rule"));
        }
        match parse_state(state) {
            Some(state) => requirements.push(Requirement { id: id.to_owned(), state }),
            None => {
                findings.add(format!("{id} has the state `{state}`: want built, planned or `declined: why`"));
            }
        }
    }
    requirements
}

/// The text with every planned row in `claimed` marked built, and how many were.
pub(super) fn mark_built(text: &str, claimed: &BTreeSet<&str>) -> (String, usize) {
    let mut flipped = 0;
    let mut updated = String::with_capacity(text.len());
    for line in text.lines() {
        match cells(line) {
            Some([id, rule, "planned"]) if claimed.contains(id) => {
                flipped += 1;
                updated.extend(["| ", id, " | ", rule, " | built |"]);
            }
            _ => updated.push_str(line),
        }
        updated.push('\n');
    }
    (updated, flipped)
}

fn parse_state(cell: &str) -> Option<State> {
    match cell {
        "built" => Some(State::Built),
        "planned" => Some(State::Planned),
        _ => cell.strip_prefix("declined: ").filter(|why| !why.trim().is_empty()).map(|_| State::Declined),
    }
}

/// The three cells of a row.
fn cells(line: &str) -> Option<[&str; 3]> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
    cells.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read() {
        let text = "| id | rule | state |\n|---|---|---|\n| E-1 | open | built |\n| FI-2 | x | declined: see E-1 |\nprose";
        let mut findings = Findings::default();
        let rows = parse(text, &mut findings);
        assert_eq!(findings.lines(), [""; 0]);
        assert_eq!(
            rows.iter().map(|row| (row.area(), row.state)).collect::<Vec<_>>(),
            [("E", State::Built), ("FI", State::Declined)]
        );
    }

    #[track_caller]
    fn check_fault(row: &str, expected: &str) {
        let mut findings = Findings::default();
        parse(row, &mut findings);
        assert!(findings.lines().iter().any(|line| line.contains(expected)), "{row}: {:?}", findings.lines());
    }

    #[test]
    fn faulty_rows_are_named() {
        check_fault("| X-1 | a | built |", "no id");
        check_fault("| E-1 | a | built |\n| E-1 | b | planned |", "two rows");
        check_fault("| E-1 |  | built |", "no rule");
        check_fault("| E-1 | a | done |", "state `done`");
        check_fault("| E-1 | a | declined: |", "state `declined:`");
    }

    #[test]
    fn only_planned_rows_are_marked() {
        let text = "# t\n| E-1 | a | planned |\n| E-2 | b | planned |\n| E-3 | c | declined: d |\n";
        let (updated, flipped) = mark_built(text, &BTreeSet::from(["E-1", "E-3"]));
        assert_eq!(updated, "# t\n| E-1 | a | built |\n| E-2 | b | planned |\n| E-3 | c | declined: d |\n");
        assert_eq!(flipped, 1);
    }
}
