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
    // 0 stands for all cores, as the library has it.
    let set = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty() && it != "0");
    let wanted = match (threads, set(VARIABLES[0])) {
        (Some(threads), _) => checked("--threads", Some(threads))?,
        (None, Some(value)) => checked(VARIABLES[0], value.parse().ok())?,
        (None, None) => std::thread::available_parallelism().map_or(1, NonZero::get),
    };
    let wanted = wanted.to_string();
    if VARIABLES.iter().all(|name| set(name).as_ref() == Some(&wanted)) {
        return Ok(());
    }
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1)).envs(VARIABLES.map(|name| (name, &wanted)));
    Err(again.exec()).context("cannot start again with another number of threads")
}

/// A number of threads that a machine can have.
fn checked(said_by: &str, threads: Option<usize>) -> Result<usize> {
    threads.filter(|threads| (1..=MOST).contains(threads)).ok_or_else(|| {
        Fault::usage(format!("`{said_by}` must be at least 1 and at most {MOST}")).into()
    })
}
