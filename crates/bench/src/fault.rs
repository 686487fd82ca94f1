//! From an error to what the user reads, and to the exit code.

use std::fmt;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// The classes of failure that have an exit code of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A bug, or a machine that failed: 1.
    Internal = 1,
    /// How the program was called, or an experiment file: 2.
    Usage = 2,
    /// A model or data set that is missing or malformed: 3.
    Data = 3,
    /// Nothing was selected: 4.
    Empty = 4,
    /// The run stopped with cells outstanding: 5.
    Outstanding = 5,
    /// A check failed: 7.
    Gate = 7,
}

impl Class {
    /// Rank by how much it says: a bug before all, then the later step.
    pub(crate) fn gravity(self) -> u8 {
        if self == Self::Internal { u8::MAX } else { self as u8 }
    }
}

/// A failure of our own, with what to try next.
#[derive(Debug)]
pub(crate) struct Fault {
    class: Class,
    message: String,
    hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), hint: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Class::Usage, message)
    }

    pub(crate) fn data(message: impl Into<String>) -> Self {
        Self::new(Class::Data, message)
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What to try next, if there is something.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// Prints an error as [`report`] does, and ends with its class's exit code.
pub(crate) fn explain(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(report(error) as u8)
}

/// Prints an error, its causes and a hint to stderr, and says of which class it is.
#[allow(clippy::print_stderr, reason = "this is where errors leave the program")]
pub(crate) fn report(error: &anyhow::Error) -> Class {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  caused by: {cause}");
    }
    let advice = error.chain().find_map(|cause| cause.downcast_ref::<Fault>()?.advice());
    let class = class(error);
    let of_place = (class == Class::Usage && error.chain().any(refused_place)).then_some(PLACE);
    if let Some(hint) = advice.or(of_place) {
        eprintln!("hint: {hint}");
    }
    class
}

/// What to do about a place that cannot be written to.
const PLACE: &str =
    "see whether the folder exists, may be written to and has room, or name another one";

/// Whether the file system refused the place that the user named.
fn refused_place(cause: &(dyn std::error::Error + 'static)) -> bool {
    let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(
        kind,
        Some(
            ErrorKind::NotFound
                | ErrorKind::PermissionDenied
                | ErrorKind::AlreadyExists
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::StorageFull
                | ErrorKind::QuotaExceeded
                | ErrorKind::FileTooLarge
        )
    )
}

fn class(error: &anyhow::Error) -> Class {
    let known = error.chain().find_map(|cause| {
        if let Some(fault) = cause.downcast_ref::<Fault>() {
            return Some(fault.class);
        }
        let of = |is_data: bool| if is_data { Class::Data } else { Class::Usage };
        match cause.downcast_ref::<runner::Error>() {
            Some(runner::Error::Tensor(_)) => return Some(Class::Internal),
            Some(error) => return Some(of(error.is_data())),
            None => {}
        }
        if cause.is::<zoo::Error>() || refused_place(cause) {
            return Some(Class::Usage);
        }
        cause.downcast_ref::<evaluator::Error>().map(|error| of(error.is_data()))
    });
    known.unwrap_or(Class::Internal)
}
