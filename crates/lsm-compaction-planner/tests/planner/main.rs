//! Strategies and the validator, through the door of the crate.

#[cfg(test)]
mod leveled;
#[cfg(test)]
mod random;
#[cfg(test)]
mod scene;
#[cfg(test)]
#[cfg(test)]
mod validate;
