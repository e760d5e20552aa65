//! What a strategy tells about itself: names and typed values, for diagnostics.

use alloc::vec::Vec;

/// A value of a setting.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum SettingValue {
    /// On or off.
    Bool(bool),
    /// A small count.
    U8(u8),
    /// A count or a number of bytes.
    U64(u64),
    /// Ratios, at most 255 of them.
    Ratios(Vec<f32>),
}

impl SettingValue {
    /// Appends the value: integers and floats little-endian, a flag as one byte, ratios after a byte with their count.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(on) => out.push(u8::from(*on)),
            Self::U8(value) => out.push(*value),
            Self::U64(value) => out.extend(value.to_le_bytes()),
            Self::Ratios(ratios) => {
                let count = u8::try_from(ratios.len()).unwrap_or(u8::MAX);
                out.push(count);
                out.extend(ratios.iter().take(usize::from(count)).flat_map(|ratio| ratio.to_le_bytes()));
            }
        }
    }
}

impl From<bool> for SettingValue {
    fn from(on: bool) -> Self {
        Self::Bool(on)
    }
}

impl From<u8> for SettingValue {
    fn from(value: u8) -> Self {
        Self::U8(value)
    }
}

impl From<u64> for SettingValue {
    fn from(value: u64) -> Self {
        Self::U64(value)
    }
}

impl From<usize> for SettingValue {
    fn from(value: usize) -> Self {
        Self::U64(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<Vec<f32>> for SettingValue {
    fn from(ratios: Vec<f32>) -> Self {
        Self::Ratios(ratios)
    }
}

/// Settings of a strategy, in the order in which it lists them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings {
    pairs: Vec<(&'static str, SettingValue)>,
}

impl Settings {
    /// No settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a setting.
    pub fn with(mut self, name: &'static str, value: impl Into<SettingValue>) -> Self {
        self.pairs.push((name, value.into()));
        self
    }

    /// All settings.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &SettingValue)> {
        self.pairs.iter().map(|(name, value)| (*name, value))
    }

    /// The value of a setting.
    pub fn get(&self, name: &str) -> Option<&SettingValue> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}
