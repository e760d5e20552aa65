//! Strategies and the validator, through the door of the crate.

#[cfg(test)]
mod builder;
#[cfg(test)]
mod cost;
#[cfg(test)]
mod leveled;
#[cfg(test)]
mod purity;
#[cfg(test)]
mod random;
#[cfg(test)]
mod relief;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod space;
#[cfg(test)]
mod tiered;
#[cfg(test)]
mod validate;
#[cfg(test)]
mod values;
