/// Why a method's parameters cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The pinned entries do not fit.
    #[error("method `{method}`: `{key}` = {pinned} exceeds `budget` = {budget}")]
    NoRoom {
        /// Method as TOML names it.
        method: &'static str,
        /// Parameter that is too large.
        key: &'static str,
        /// Its value, in entries.
        pinned: usize,
        /// The budget that it must fit into, in entries.
        budget: usize,
    },
    /// A parameter is outside what it may be.
    #[error("method `{method}`: `{key}` = {value} {rule}")]
    Value {
        /// Method as TOML names it.
        method: &'static str,
        /// Parameter at fault.
        key: &'static str,
        /// Its value.
        value: usize,
        /// What it must be, as the end of the sentence.
        rule: &'static str,
    },
    /// Two parameters that say the same thing in different ways.
    #[error("method `{method}`: give `{first}` or `{second}`, not both")]
    Either {
        /// Method as TOML names it.
        method: &'static str,
        /// One of the two.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A method that the study did not run has no code to reproduce.
    #[error(
        "method `{method}`: `mode` = \"reference\" reproduces published code, and there is none; leave `mode` out"
    )]
    Unpublished {
        /// Method as TOML names it.
        method: &'static str,
    },
    /// A parameter that has a meaning in the other mode only.
    #[error("method `{method}`: `{key}` needs `mode` = \"{mode}\"")]
    Mode {
        /// Method as TOML names it.
        method: &'static str,
        /// Parameter at fault.
        key: &'static str,
        /// The mode that it needs.
        mode: &'static str,
    },
    /// The published code fails on a prompt of this length.
    #[error(
        "the published code fails on a prompt of {tokens} tokens: it asks for {wanted} entries, `budget` and `window`, of which there are fewer; leave `mode` out, or change `budget`"
    )]
    PublishedFails {
        /// Tokens of the prompt.
        tokens: usize,
        /// Entries that it asks for.
        wanted: usize,
    },
}
