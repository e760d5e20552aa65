//! What `cargo metadata` says of the workspace members.

use serde_json::Value;

use super::{TOOLS, find_room};
use crate::repo::{Repo, cargo};
use crate::trouble::Trouble;

/// A workspace member.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) dependencies: Vec<Dependency>,
}

/// One line of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// Used by tests, examples and benches only.
    pub(super) dev: bool,
}

impl Member {
    /// Its dependencies on other members.
    pub(super) fn ours(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies.iter().filter(|dependency| is_ours(&dependency.name))
    }

    /// Its dependencies on outside crates.
    pub(super) fn outside(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies.iter().filter(|dependency| !is_ours(&dependency.name))
    }
}

/// Whether a name is of this house, known or not.
fn is_ours(name: &str) -> bool {
    find_room(name).is_some() || TOOLS.contains(&name) || name == "lsm" || name.starts_with("lsm-")
}

/// The members of the workspace.
pub(super) fn members(repo: &Repo) -> Result<Vec<Member>, Trouble> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1", "--offline"];
    let output = repo.output(&cargo(), &arguments)?;
    serde_json::from_slice(&output)
        .map(|metadata| parse(&metadata))
        .map_err(|source| Trouble::Output { command: "cargo metadata".to_owned(), source })
}

fn parse(metadata: &Value) -> Vec<Member> {
    list(metadata, "packages")
        .map(|package| Member {
            name: text(package, "name"),
            dependencies: list(package, "dependencies")
                .map(|line| Dependency {
                    name: text(line, "name"),
                    dev: line.get("kind").and_then(Value::as_str) == Some("dev"),
                })
                .collect(),
        })
        .collect()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_gives_names_and_kinds() {
        let metadata = serde_json::json!({"packages": [{"name": "lsm-sst", "dependencies": [
            {"name": "lsm-block", "kind": null}, {"name": "proptest", "kind": "dev"}]}]});
        let members = parse(&metadata);
        assert_eq!(members.len(), 1);
        assert_eq!(members[0].name, "lsm-sst");
        let ours: Vec<_> = members[0].ours().collect();
        assert_eq!(ours, [&Dependency { name: "lsm-block".into(), dev: false }]);
        let outside: Vec<_> = members[0].outside().collect();
        assert_eq!(outside, [&Dependency { name: "proptest".into(), dev: true }]);
    }
}
