//! The number of threads to compute with.

use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::fault::Fault;

/// What the tensor library reads its number of threads from. Where it is not set, it counts the cores anew for every operation.
const VARIABLES: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];

/// More threads than any machine has cores.
const MOST: usize = 1024;

/// Makes sure that the number of threads is fixed in the environment: where it is not, or is another than `threads`, the program
/// starts itself again with it. Comes back only if nothing had to be changed.
pub(crate) fn fix(threads: Option<usize>) -> Result<()> {
    if threads.is_some_and(|threads| !(1..=MOST).contains(&threads)) {
        return Err(
            Fault::usage(format!("`--threads` must be at least 1 and at most {MOST}")).into()
        );
    }
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let wanted = match threads {
        Some(threads) => threads.to_string(),
        None => match set(VARIABLES[0]) {
            Some(value) => value,
            None => std::thread::available_parallelism().map_or(1, NonZero::get).to_string(),
        },
    };
    if VARIABLES.iter().all(|name| set(name).as_ref() == Some(&wanted)) {
        return Ok(());
    }
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1)).envs(VARIABLES.map(|name| (name, &wanted)));
    Err(again.exec()).context("cannot start again with another number of threads")
}
