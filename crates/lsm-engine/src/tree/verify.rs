//! Checking the tables and value logs of an open tree.

use lsm_repair::{Depth, LiveTable, LiveValues, Scope, Splitters, VerifyOptions, VerifyReport, verify};
use lsm_types::Result;

use super::Tree;

impl Tree {
    /// Reads every block of every table past the cache and checks it, its entries, its index and its metadata, and every
    /// separated value with the key that leads to it.
    ///
    /// Goes on after damage; the report lists what was found. Memtables are not looked at.
    ///
    /// # Errors
    /// None; what cannot be read is in the report.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.verify_with(Depth::Structure, &VerifyOptions::default())
    }

    /// As [`Tree::verify`], as deep and in the way that the caller says.
    ///
    /// The files of this moment are pinned until it ends, whatever is compacted meanwhile. The manifest of an open
    /// tree is being written; it is checked by [`lsm_repair::verify`] over the directory.
    ///
    /// # Errors
    /// None; what cannot be read is in the report.
    pub fn verify_with(&self, depth: Depth, options: &VerifyOptions<'_>) -> Result<VerifyReport> {
        let pinned = self.inner.current.load_full();
        let env = &self.inner.env;
        let tables = pinned.version.levels.tables().map(|(level, descriptor)| LiveTable {
            tree: env.tree,
            level,
            descriptor: descriptor.clone(),
            order: self.inner.order.clone(),
            prefix_extractor: env.prefix_extractor.clone(),
            root: self.inner.store.routes().root(self.inner.store.root(), descriptor.route).to_path_buf(),
        });
        let logs = pinned.version.vlogs.iter().cloned();
        let values = LiveValues {
            tree: env.tree,
            logs: logs.collect(),
            order: self.inner.order.clone(),
            root: self.inner.store.root().to_path_buf(),
        };
        let (tables, values) = (tables.collect(), vec![values]);
        let scope = Scope::Tables { fs: &env.fs, database: env.database, tables, values };
        let mut options = options.clone();
        if options.encryption.is_none() {
            options.encryption.clone_from(&env.encryption);
        }
        if let Some(policy) = &self.inner.columns {
            options.splitters = Splitters::new(policy.splitters().cloned().collect());
        }
        verify(&scope, depth, &options)
    }
}
