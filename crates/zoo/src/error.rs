/// Why a method's parameters cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The pinned entries leave nothing to choose.
    #[error("method `{method}`: `{key}` = {pinned} leaves no room in a budget of {budget}")]
    NoRoom {
        /// Method as TOML names it.
        method: &'static str,
        /// Parameter that is too large.
        key: &'static str,
        /// Its value, in entries.
        pinned: usize,
        /// The budget that it must stay below, in entries.
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
}
