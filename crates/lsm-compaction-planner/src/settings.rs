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
    /// A count.
    U32(u32),
    /// A count or a number of bytes.
    U64(u64),
    /// A number that may be left out.
    OptionalU64(Option<u64>),
    /// A ratio.
    F64(f64),
    /// A name.
    Name(&'static str),
    /// Ratios, at most 255 of them.
    Ratios(Vec<f32>),
}

impl SettingValue {
    /// Appends the value: integers and floats little-endian, a flag as one byte, ratios after a byte with their count,
    /// names as they are, nothing for what is left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(on) => out.push(u8::from(*on)),
            Self::U8(value) => out.push(*value),
            Self::U32(value) => out.extend(value.to_le_bytes()),
            Self::U64(value) => out.extend(value.to_le_bytes()),
            Self::OptionalU64(value) => out.extend(value.iter().flat_map(|value| value.to_le_bytes())),
            Self::F64(value) => out.extend(value.to_le_bytes()),
            Self::Name(name) => out.extend(name.as_bytes()),
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

impl From<u32> for SettingValue {
    fn from(value: u32) -> Self {
        Self::U32(value)
    }
}

impl From<Option<u64>> for SettingValue {
    fn from(value: Option<u64>) -> Self {
        Self::OptionalU64(value)
    }
}

impl From<f64> for SettingValue {
    fn from(value: f64) -> Self {
        Self::F64(value)
    }
}

impl From<&'static str> for SettingValue {
    fn from(name: &'static str) -> Self {
        Self::Name(name)
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

    /// Adds all settings of another strategy.
    pub fn and(mut self, other: Self) -> Self {
        self.pairs.extend(other.pairs);
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
