use std::path::PathBuf;

/// What can go wrong between a model file and a text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be opened or read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A model file is not what it should be.
    #[error("`{}` is not a usable model: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// Weights or a cache for which the system has no memory left.
    #[error(
        "too little memory: run fewer lanes, a shorter prompt, fewer new tokens or a smaller model"
    )]
    Memory(#[source] std::io::Error),
    /// A device that this build or machine does not have.
    #[error("device `{name}` is not available: {reason}")]
    Device {
        /// Its name as given.
        name: String,
        /// Why.
        reason: String,
    },
    /// Prompt and output do not fit the model.
    #[error(
        "a prompt of {prompt} tokens and {output} new ones exceed the context of {context}: lower `max_new_tokens` or shorten the prompt"
    )]
    Context {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens to generate.
        output: usize,
        /// Positions that the model has.
        context: usize,
    },
    /// Forced tokens that end too early, or that the model does not know.
    #[error(
        "{forced} forced tokens must cover the {output} to generate, and lie in the vocabulary of {vocabulary}"
    )]
    Forced {
        /// Tokens to force.
        forced: usize,
        /// Tokens to generate.
        output: usize,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// There is nothing to read.
    #[error("the prompt is empty: give at least one token")]
    EmptyPrompt,
    /// The tokenizer refused.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The chat template cannot be rendered.
    #[error(
        "`{}`: the model's chat template cannot be rendered: {reason}; use the published prompt style, or `--raw`",
        path.display()
    )]
    Template {
        /// The file that holds it.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The model has no chat template.
    #[error("the model has no chat template: use the published prompt style, or `--raw`")]
    NoTemplate,
    /// A method's parameters cannot work.
    #[error(transparent)]
    Method(#[from] zoo::Error),
    /// A policy wants attention that prefill was not told to record.
    #[error("prefill was not told to record {0:?}")]
    Unobserved(zoo::Observation),
    /// A recording whose numbers do not fill its shape.
    #[error(
        "the recording does not hold {layers} layers of {query_heads} query heads over {kv_heads} KV heads, {tokens} tokens, {prompt_tokens} of them the prompt's"
    )]
    Recording {
        /// Layers.
        layers: usize,
        /// Query heads per layer.
        query_heads: usize,
        /// KV heads per layer.
        kv_heads: usize,
        /// Tokens in all.
        tokens: usize,
        /// Of them, the prompt's.
        prompt_tokens: usize,
    },
    /// A token that the model does not know.
    #[error("token {token} is not in the model's vocabulary of {vocabulary}")]
    Vocabulary {
        /// The token.
        token: u32,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// A cache that lies elsewhere than where it is to be read.
    #[error("the prompt was read by another kind of model: read it again with this one")]
    BackEnd,
    /// What was computed cannot be handed on.
    #[error("a row of logits cannot be written")]
    Write(#[from] std::io::Error),
    /// The tensor library refused an operation.
    #[error("tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// Whether the cause is a missing or malformed model rather than how the program was called.
    pub fn is_data(&self) -> bool {
        matches!(
            self,
            Self::Read { .. }
                | Self::Malformed { .. }
                | Self::Device { .. }
                | Self::NoTemplate
                | Self::Template { .. }
        )
    }
}
