//! What a store tells about itself so that it can be examined.

use std::fmt;
use std::path::Path;

use crate::dice::Dice;
use crate::sim::SimFs;

/// A store under examination.
pub trait Subject: Sync {
    /// One operation of a workload.
    type Op: Clone + fmt::Debug + Send + Sync;
    /// The open store. Dropping it without [`Subject::close`] is like the end of its process.
    type Db;
    /// What a reader finds in it.
    type State: Clone + PartialEq + fmt::Debug + Send + Sync;

    /// Opens what is on the disk, accepting no damage, or creates a store where there is none.
    ///
    /// # Errors
    /// Why it does not open.
    fn open(&self, fs: &SimFs) -> Result<Self::Db, String>;

    /// What a new store holds.
    fn empty(&self) -> Self::State;

    /// What an operation promises.
    fn kind(&self, op: &Self::Op) -> OpKind;

    /// Name of the operation in reports: the same for all operations of its kind.
    fn label(&self, op: &Self::Op) -> &'static str;

    /// What the operation does to what a reader finds.
    fn model(&self, state: &mut Self::State, op: &Self::Op);

    /// Carries the operation out.
    ///
    /// # Errors
    /// See [`Failed`].
    fn apply(&self, db: &mut Self::Db, op: &Self::Op) -> Result<(), Failed>;

    /// Closes the store in order.
    ///
    /// # Errors
    /// Why it could not.
    fn close(&self, db: Self::Db) -> Result<(), String>;

    /// Everything a reader finds.
    ///
    /// # Errors
    /// What could not be read.
    fn read(&self, db: &Self::Db) -> Result<Self::State, String>;

    /// Looks for damage, and for files that nobody knows.
    ///
    /// # Errors
    /// What was found.
    fn check(&self, db: &Self::Db, fs: &SimFs) -> Result<(), String>;

    /// Whether the file with this path has a name that is given once and never again.
    fn is_named_once(&self, path: &Path) -> bool;

    /// An operation to make workloads of.
    fn random_op(&self, dice: &mut Dice) -> Self::Op;

    /// A few operations, of which all short workloads are made.
    fn alphabet(&self) -> Vec<Self::Op>;
}

/// What an operation promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpKind {
    /// Changes what readers find. A crash forgets it unless a later operation made it durable.
    Write,
    /// Ends a stretch of writes that survive together or not at all.
    Seal,
    /// Makes everything up to the last [`OpKind::Seal`] durable before it returns.
    Flush,
    /// Changes what readers find, and has made it durable when it returns.
    Commit,
    /// Changes nothing that a reader could find.
    Upkeep,
    /// The process ends and another one opens the store.
    Reopen,
    /// The store is closed in order and opened again.
    Close,
}

/// How an operation fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failed {
    /// It had no effect and may be tried again.
    Refused(String),
    /// It may or may not have had its effect: the store has to be opened again.
    InDoubt(String),
    /// It must never fail like this.
    Broken(String),
}
