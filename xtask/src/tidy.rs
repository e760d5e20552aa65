//! `cargo xtask tidy`: what a reader trips over and no compiler sees. Rust files open with a `//!` head, links in the
//! documents lead somewhere, nothing names a path of somebody's machine, long files are pointed out.

use std::path::Path;

use crate::repo::{Repo, shipped_lines};
use crate::trouble::{Findings, Trouble};

/// Lines of code (tests and comments left out) past which a file is asked whether it still holds one idea.
const LONG_FILE_LINES: usize = 800;

/// Starts of absolute paths that belong to one machine. Put together here, so that this file does not name them.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/tm", "p/"),
    concat!("/Us", "ers/"),
];

pub(crate) fn run(repo: &Repo, _arguments: &[String]) -> Result<(), Trouble> {
    let mut findings = Findings::default();
    let mut documents = 0_usize;
    let files = repo.files()?;
    for path in &files {
        let Ok(text) = repo.read(path) else { continue }; // golden files are not text
        for line in machine_path_lines(&text) {
            findings.add(format!("{path}:{line} names a path of one machine"));
        }
        if is_document(path) {
            documents += 1;
            for target in relative_links(&text) {
                let base = Path::new(path).parent().unwrap_or_else(|| Path::new(""));
                if !repo.root().join(base).join(&target).exists() {
                    findings.add(format!("{path}: dead link to {target}"));
                }
            }
        }
    }
    let sources = repo.rust_files(&["crates/", "xtask/src/", "benches/"])?;
    let mut rust = 0_usize;
    for source in sources.iter().filter(|source| source.path.contains("/src/")) {
        rust += 1;
        if !source.text.starts_with("//!") {
            findings.add(format!("{} does not open with a `//!` head", source.path));
        }
        let lines = shipped_lines(&source.text).count();
        if lines > LONG_FILE_LINES {
            println!("tidy: {} has {lines} lines of code; does it still hold one idea?", source.path);
        }
    }
    findings.into_result()?;
    println!("tidy: {rust} Rust files, {documents} documents, {} files in all", files.len());
    Ok(())
}

fn is_document(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "md")
}

/// Numbers of the lines that name a path of one machine.
fn machine_path_lines(text: &str) -> impl Iterator<Item = usize> {
    let names_one = |line: &str| {
        MACHINE_PATHS.iter().any(|start| {
            line.match_indices(start).any(|(at, _)| {
                // `target/tmp/x` and `https://host/home/x` are no absolute paths.
                let before = line.get(..at).and_then(|head| head.chars().next_back());
                !before.is_some_and(|before| before.is_alphanumeric() || "._-}~".contains(before))
            })
        })
    };
    text.lines().enumerate().filter(move |(_, line)| names_one(line)).map(|(at, _)| at + 1)
}

/// The targets of `[text](target)` that are files: no scheme, no place in the same page. Code fences are left out.
fn relative_links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        for after in line.split("](").skip(1) {
            let target = after.split([')', '#', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                links.push(target.to_owned());
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found() {
        let text =
            "[a](docs/a.md), [b](b.md#part) [c](https://x.y/z) [d](#here)\n```\n[e](e.md)\n```\n[f](../f.md)";
        assert_eq!(relative_links(text), ["docs/a.md", "b.md", "../f.md"]);
    }

    #[track_caller]
    fn check_path(line: &str, found: bool) {
        assert_eq!(machine_path_lines(line).next().is_some(), found, "{line}");
    }

    #[test]
    fn machine_paths_are_found() {
        check_path(&format!("see {}x", MACHINE_PATHS[0]), true);
        check_path(&format!("\"{}x\"", MACHINE_PATHS[3]), true);
        check_path(&format!("target{}x", MACHINE_PATHS[3]), false);
        check_path("crates/lsm/src", false);
    }
}
