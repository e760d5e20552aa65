//! Claims in the doc comments of tests: which requirement a test proves, which known fault it would catch.

use super::table::is_id;
use crate::repo::Source;
use crate::trouble::Findings;

/// Lists of faults known from other engines, and how many each holds; `W-n` counts within one.
pub(super) const FAULT_LISTS: &[(&str, u32)] =
    &[("engine", 35), ("formats", 44), ("compaction", 39), ("durability", 48)];

/// One id claimed by one test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Claim {
    /// `E-12`, or `compaction W-2` for a fault.
    pub(super) id: String,
    /// File and line of the test.
    pub(super) place: String,
}

impl Claim {
    pub(super) fn is_fault(&self) -> bool {
        self.id.contains(" W-")
    }
}

/// Adds the claims of a file. A claim counts only directly above a `#[test]`; one elsewhere is noted as a fault.
pub(super) fn collect(source: &Source, claims: &mut Vec<Claim>, findings: &mut Findings) {
    let mut doc = String::new(); // the doc comment being read, its lines joined
    let mut is_test = false;
    let mut depth = 0_usize; // brackets open in an attribute that runs over lines
    for (at, line) in source.text.lines().map(str::trim).enumerate() {
        let place = format!("{}:{}", source.path, at + 1);
        if depth > 0 {
            depth = brackets_after(depth, line);
        } else if let Some(text) = line.strip_prefix("///") {
            doc.push(' ');
            doc.push_str(text.trim());
        } else if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]");
            depth = brackets_after(0, line);
        } else if !line.starts_with("//") {
            if has_claim(&doc) {
                if is_test {
                    read(&doc, &place, claims, findings);
                } else {
                    findings.add(format!("{place}: a claim above something that is no test"));
                }
            }
            doc.clear();
            is_test = false;
        }
    }
}

/// How many brackets are open after a line, given how many were before.
fn brackets_after(open: usize, line: &str) -> usize {
    let opened = line.matches('[').count();
    (open + opened).saturating_sub(line.matches(']').count())
}

/// Whether a comment claims something; prose may use the words too.
fn has_claim(doc: &str) -> bool {
    sentences_after(doc, "Proves ").any(|sentence| words(sentence).any(looks_like_id))
        || sentences_after(doc, "Fault: ").any(|sentence| words(sentence).any(looks_like_id))
}

/// The claims of one doc comment. Each runs to the end of its sentence.
fn read(doc: &str, place: &str, claims: &mut Vec<Claim>, findings: &mut Findings) {
    for sentence in sentences_after(doc, "Proves ") {
        for word in words(sentence) {
            if is_id(word) {
                claims.push(Claim { id: word.to_owned(), place: place.to_owned() });
            } else if looks_like_id(word) {
                findings.add(format!("{place}: `{word}` is no id"));
            }
        }
    }
    let faults = sentences_after(doc, "Fault: ").filter(|sentence| words(sentence).any(looks_like_id));
    for sentence in faults {
        read_fault(sentence, place, claims, findings);
    }
}

/// `compaction W-2, W-3`.
fn read_fault(sentence: &str, place: &str, claims: &mut Vec<Claim>, findings: &mut Findings) {
    let mut words = words(sentence);
    let name = words.next().unwrap_or_default();
    let Some((list, len)) = FAULT_LISTS.iter().find(|(list, _)| *list == name) else {
        findings.add(format!("{place}: `{name}` is no list of faults"));
        return;
    };
    for word in words {
        match word.strip_prefix("W-").and_then(|number| number.parse::<u32>().ok()) {
            Some(number) if (1..=*len).contains(&number) => {
                claims.push(Claim { id: format!("{list} W-{number}"), place: place.to_owned() });
            }
            _ => findings.add(format!("{place}: `{word}` is no fault of {list}")),
        }
    }
}

/// What follows each `mark`, up to the end of its sentence.
fn sentences_after<'a>(doc: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    doc.split(mark).skip(1).map(|rest| rest.split(". ").next().unwrap_or_default().trim_end_matches('.'))
}

fn words(sentence: &str) -> impl Iterator<Item = &str> {
    sentence.split([' ', ',', ';', ':', '(', ')']).filter(|word| !word.is_empty())
}

/// Capital letters, a dash, a digit: somebody meant an id.
fn looks_like_id(word: &str) -> bool {
    word.split_once('-').is_some_and(|(letters, number)| {
        !letters.is_empty()
            && letters.bytes().all(|byte| byte.is_ascii_uppercase())
            && number.starts_with(|first: char| first.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], claimed: &[&str], faults: &[&str]) {
        let source = Source { path: "t.rs".into(), text: lines.join("\n") };
        let (mut claims, mut findings) = (Vec::new(), Findings::default());
        collect(&source, &mut claims, &mut findings);
        assert_eq!(claims.iter().map(|claim| claim.id.as_str()).collect::<Vec<_>>(), claimed);
        assert_eq!(findings.lines(), faults);
    }

    #[test]
    fn claims_stand_above_tests() {
        check(&["/// Proves E-12, C-7.", "#[test]", "fn a() {}"], &["E-12", "C-7"], &[]);
        check(
            &["/// A story.", "///", "/// Proves E-12,", "/// FI-7. More.", "#[test]", "fn a() {}"],
            &["E-12", "FI-7"],
            &[],
        );
        check(
            &["/// Proves D-1.", "#[cfg_attr(x,", "  ignore = \"y\")]", "#[test]", "fn a() {}"],
            &["D-1"],
            &[],
        );
        check(&["/// Proves D-1.", "// why", "#[test]", "fn a() {}"], &["D-1"], &[]);
        check(
            &["proptest! {", "    /// Proves L-3.", "    #[test]", "    fn a(x in 0..9) {}"],
            &["L-3"],
            &[],
        );
        check(
            &["/// Story.", "#[test]", "fn a() {}", "/// Proves I-1.", "#[test]", "fn b() {}"],
            &["I-1"],
            &[],
        );
    }

    #[test]
    fn claims_elsewhere_are_faults() {
        check(
            &["/// Proves E-1.", "fn helper() {}"],
            &[],
            &["t.rs:2: a claim above something that is no test"],
        );
        check(
            &["/// Proves E-1.", "", "#[test]", "fn a() {}"],
            &[],
            &["t.rs:2: a claim above something that is no test"],
        );
    }

    #[test]
    fn malformed_claims_are_faults() {
        check(&["/// Proves E-1, T-4.", "#[test]", "fn a() {}"], &["E-1"], &["t.rs:3: `T-4` is no id"]);
        check(&["/// Proves E-1..E-3.", "#[test]", "fn a() {}"], &[], &["t.rs:3: `E-1..E-3` is no id"]);
    }

    #[test]
    fn prose_is_no_claim() {
        check(&["/// Proves a point.", "fn helper() {}"], &[], &[]);
        check(&["/// Fault: the n-th call fails.", "#[test]", "fn a() {}"], &[], &[]);
    }

    #[test]
    fn faults_name_their_list() {
        check(
            &["/// Fault: compaction W-2, W-3.", "#[test]", "fn a() {}"],
            &["compaction W-2", "compaction W-3"],
            &[],
        );
        check(
            &["/// Fault: compaction W-40.", "#[test]", "fn a() {}"],
            &[],
            &["t.rs:3: `W-40` is no fault of compaction"],
        );
        check(
            &["/// Fault: elsewhere W-1.", "#[test]", "fn a() {}"],
            &[],
            &["t.rs:3: `elsewhere` is no list of faults"],
        );
        check(
            &["/// Proves E-1. Fault: durability W-1.", "#[test]", "fn a() {}"],
            &["E-1", "durability W-1"],
            &[],
        );
    }
}
