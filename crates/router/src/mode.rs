//! Whether the rules are asked at all.

/// `mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Ask the rules.
    #[default]
    Rule,
    /// Everything goes to the group `GLOBAL`.
    Global,
    /// Everything goes to `DIRECT`.
    Direct,
}
