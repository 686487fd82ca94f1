//! Which KV-cache compression to use when a language model writes long answers.

mod arm;
mod carried;
mod cli;
mod command;
mod compare;
mod data;
mod embedded;
mod experiment;
mod fault;
mod forecast;
mod hub;
mod journal;
mod layers;
mod models;
mod plan;
mod problem;
mod progress;
mod registry;
mod report;
mod results;
mod row;
mod run;
mod summary;
mod sweep;
mod threads;
mod timing;
mod whole_file;

use std::process::ExitCode;

/// Keeps what a model's file makes grow within bounds.
#[global_allocator]
static MEMORY: runner::Metered = runner::Metered;

fn main() -> ExitCode {
    match cli::dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fault::explain(&error),
    }
}
