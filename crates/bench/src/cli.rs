//! The command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use runner::Weights;

use crate::fault::Fault;
use crate::{command, compare, run, threads};

/// Which KV-cache compression to use when a language model writes long answers.
#[derive(Debug, Parser)]
#[command(name = "bench", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an experiment (the same as giving `--experiment` alone)
    Run(RunArgs),
    /// Write tables, plots and pages for a results folder; needs no model
    Report {
        /// Folder of one experiment's results
        results: PathBuf,
    },
    /// Compare a run with a baseline; fails (exit 7) if anything got worse
    Compare(CompareArgs),
    /// Score generated texts by the published rule and by answer number
    Score(ScoreArgs),
    /// Build `LongGenBench` sets from raw data, or list them
    Dataset {
        #[command(subcommand)]
        command: DatasetCommand,
    },
    /// Generate a text greedily under an arm
    Generate(GenerateArgs),
    /// Log-probability of a text, with the full cache or under an arm
    Nll(NllArgs),
    /// Logits after every token of a text, as safetensors
    Logits(LogitsArgs),
    /// Tokens per second of prefill and of decoding, for every combination of what is asked
    Speed(SpeedArgs),
    /// Run policies over recorded queries, keys and values, in reference mode
    Replay(ReplayArgs),
    /// List the compression methods, or show one's page and parts
    Methods {
        /// A method's name
        name: Option<String>,
    },
    /// List the models that are known by name
    Models,
    /// Show what this machine, its caches and its environment offer
    Doctor,
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// How to run an experiment.
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// TOML file, or its name in `experiments/` here or in a parent folder
    #[arg(long, value_name = "FILE")]
    pub(crate) experiment: Option<String>,
    /// Profile of the experiment to use instead of its default
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Folder under which results are written
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub(crate) results: PathBuf,
    /// Continue a run that was interrupted (the default where a journal of the same experiment is found)
    #[arg(long, conflicts_with = "force")]
    pub(crate) resume: bool,
    /// Set earlier results aside and start anew
    #[arg(long)]
    pub(crate) force: bool,
    /// Use only the first N prompts
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Run only the I-th of N parts of the prompts, counted from 1
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<run::Shard>,
    /// Folder with the benchmark's data (`official/`, `raw/`, `prompts/`)
    #[arg(long, value_name = "DIR", env = "BENCH_DATA")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Ask no hub
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print the plan and touch no weights
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Fail (exit 7) if a row raises an alarm
    #[arg(long)]
    pub(crate) strict: bool,
    /// Change a key of the experiment, such as `generation.max_new_tokens=256`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Say nothing but errors
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// What to compute on.
#[derive(Debug, Clone, Args)]
pub(crate) struct MachineArgs {
    /// `cpu` or `cuda:N`
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Threads to compute with (default: all cores)
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

/// Which model.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    /// A name from `bench models`, a folder in Hugging Face's layout, a `.gguf` file, or an id of the hub (`org/name[@revision]`)
    #[arg(long)]
    pub(crate) model: String,
    /// Ask no hub
    #[arg(long)]
    pub(crate) offline: bool,
    /// How to hold its weights: `f32`, `q8_0`, or `native` as a GGUF file has them
    #[arg(long, default_value_t)]
    pub(crate) weights: Weights,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Results folder of the run that is right; its `summary.json` is enough
    pub(crate) baseline: PathBuf,
    /// Results folder of the run in question
    pub(crate) candidate: PathBuf,
    /// Percentage points by which a score may fall, however surely
    #[arg(long, value_name = "POINTS", default_value_t = 1.0)]
    pub(crate) tolerance: f64,
    /// Percent by which kept entries may change and bytes may grow
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0)]
    pub(crate) size_tolerance: f64,
    /// File to write as `JUnit` XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// File to write as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    /// gsm8k, mmlu, csqa, `en_sum` or synthetic
    #[arg(long)]
    pub(crate) dataset: String,
    /// JSON lines with `pred` and `answers`, gzipped or not
    #[arg(long, value_name = "FILE")]
    pub(crate) generations: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
enum DatasetCommand {
    /// Build a set from raw data, byte-identical to the published one where its worked examples are there
    Build(BuildArgs),
    /// List the published sets, and what the data folder has of them
    List(ListArgs),
    /// Make rows to train a model of the synthetic task on: a request in JSON per line of stdin, rows on stdout
    Rows,
    /// Print the `tokenizer.json` of the synthetic task
    Tokenizer,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// gsm8k, mmlu, csqa or synthetic
    pub(crate) dataset: String,
    /// Questions per prompt
    #[arg(long, value_name = "N")]
    pub(crate) k: usize,
    /// Folder of raw questions: JSON lines or CSV, gzipped or not, or the hub's Parquet; none for `synthetic`
    #[arg(long, value_name = "DIR", required_if_eq_any = [("dataset", "gsm8k"), ("dataset", "mmlu"), ("dataset", "csqa")])]
    pub(crate) raw: Option<PathBuf>,
    /// Folder of the published worked examples (default: `prompts` beside the raw folder, else our own examples)
    #[arg(long, value_name = "DIR")]
    pub(crate) prompts: Option<PathBuf>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Folder with the benchmark's data (`official/`, `raw/`, `prompts/`)
    #[arg(long, value_name = "DIR", env = "BENCH_DATA")]
    pub(crate) data: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// How to print a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
    Csv,
}

/// How to print what is no table of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TextFormat {
    /// For readers
    #[default]
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The prompt
    #[arg(long, required_unless_present = "prompt_file", conflicts_with = "prompt_file")]
    pub(crate) prompt: Option<String>,
    /// A file that holds the prompt
    #[arg(long, value_name = "F")]
    pub(crate) prompt_file: Option<PathBuf>,
    #[arg(long, default_value_t = 128, value_name = "N")]
    pub(crate) max_new_tokens: usize,
    /// Compression, such as `prefill=h2o:budget=2048 decode=slide:budget=512,recent=256`
    #[arg(long)]
    pub(crate) arm: Option<String>,
    /// Apply no chat template
    #[arg(long)]
    pub(crate) raw: bool,
    /// Seed of whatever the arm draws
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: TextFormat,
}

#[derive(Debug, Args)]
pub(crate) struct NllArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[arg(long, value_name = "F")]
    pub(crate) text_file: PathBuf,
    /// Compression under which all tokens behind the prompt are decoded
    #[arg(long)]
    pub(crate) arm: Option<String>,
    /// Tokens that form the prompt under an arm (default: half)
    #[arg(long, value_name = "P")]
    pub(crate) prompt_tokens: Option<usize>,
    /// Seed of whatever the arm draws
    #[arg(long, default_value_t = 42)]
    pub(crate) seed: u64,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: TextFormat,
}

#[derive(Debug, Args)]
pub(crate) struct LogitsArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[arg(long, value_name = "F")]
    pub(crate) text_file: PathBuf,
    /// File to write
    #[arg(long, value_name = "X.safetensors")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct SpeedArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Lengths of prompts to read
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [512])]
    pub(crate) prompt: Vec<usize>,
    /// Tokens in front of what is decoded; 0 stands for a single one
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [0])]
    pub(crate) depth: Vec<usize>,
    /// Tokens to decode before the clock starts, as many as bring an arm to where each step evicts
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) warm: usize,
    /// Tokens to decode
    #[arg(long = "gen", value_name = "N", default_value_t = 64)]
    pub(crate) generate: usize,
    /// Numbers of lanes side by side
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1])]
    pub(crate) lanes: Vec<usize>,
    /// Compression, as for `generate` (default: none); may be given again
    #[arg(long = "arm", value_name = "ARM")]
    pub(crate) arms: Vec<String>,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) repeat: usize,
    /// Use no more of the CPU's instructions than these, as a machine that lacks the others would (default: all)
    #[arg(long, value_enum)]
    pub(crate) isa: Option<IsaArg>,
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: TextFormat,
}

/// Instructions of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IsaArg {
    /// What every machine has
    Scalar,
    /// AVX2, FMA and F16C
    Avx2,
    /// AVX-512 with VNNI
    Avx512,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Cases and their parameters, beside the recordings
    pub(crate) manifest: PathBuf,
    /// A case to replay, if not all of them; may be given again
    #[arg(long = "case", value_name = "NAME")]
    pub(crate) cases: Vec<String>,
    /// Folder to write what each case kept to
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

impl Cli {
    /// What to compute on, for commands that compute.
    fn machine(&self) -> Option<&MachineArgs> {
        match &self.command {
            None => Some(&self.run.machine),
            Some(Command::Run(args)) => Some(&args.machine),
            Some(Command::Generate(args)) => Some(&args.model.machine),
            Some(Command::Nll(args)) => Some(&args.model.machine),
            Some(Command::Logits(args)) => Some(&args.model.machine),
            Some(Command::Speed(args)) => Some(&args.model.machine),
            Some(_) => None,
        }
    }
}

/// Parses the arguments and runs what they ask for.
pub(crate) fn dispatch() -> Result<()> {
    let cli = Cli::parse();
    if let Some(machine) = cli.machine() {
        threads::fix(machine.threads)?;
    }
    match cli.command {
        None if cli.run.experiment.is_none() => Err(Fault::usage("nothing to do")
            .hint("give `--experiment gsm8k_long.toml`, or see `bench --help`")
            .into()),
        None => run::run(&cli.run),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Report { results }) => crate::results::report(&results),
        Some(Command::Compare(args)) => compare::compare(&args),
        Some(Command::Score(args)) => command::score(&args),
        Some(Command::Dataset { command }) => match command {
            DatasetCommand::Build(args) => command::dataset::build(&args),
            DatasetCommand::List(args) => command::dataset::list(&args),
            DatasetCommand::Rows => command::rows::rows(),
            DatasetCommand::Tokenizer => command::rows::tokenizer(),
        },
        Some(Command::Generate(args)) => command::generate(&args),
        Some(Command::Nll(args)) => command::nll(&args),
        Some(Command::Logits(args)) => command::logits(&args),
        Some(Command::Speed(args)) => command::speed(&args),
        Some(Command::Replay(args)) => command::replay(&args),
        Some(Command::Methods { name }) => command::methods(name.as_deref()),
        Some(Command::Models) => command::models(),
        Some(Command::Doctor) => command::doctor(),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "bench", &mut script);
            command::print_bytes(&script)
        }
        Some(Command::Man) => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            command::print_bytes(&page)
        }
    }
}
