//! The table: one command a row, its exit code and all that it says.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::Workplace;

/// What the program may map into memory, in KiB: far less than any size that the broken files claim.
const MEMORY_KIB: usize = 512 << 10;

/// Rows of the document, and the place that the next ones run in.
pub(crate) struct Table {
    pub(crate) place: Workplace,
    pub(crate) rows: String,
    /// A word beside the folder that is another one each time.
    pub(crate) hidden: Option<String>,
    /// Cases that were answered otherwise than they should.
    pub(crate) wrong: String,
}

impl Table {
    pub(crate) fn new() -> Self {
        let place = Workplace::new();
        let family =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../runner/tests/fixtures/families/smollm2");
        fs::create_dir(place.path("model")).unwrap();
        for file in fs::read_dir(family).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), place.path("model").join(file.file_name())).unwrap();
        }
        fs::write(place.path("prompt.txt"), "one two three").unwrap();
        Self { place, rows: String::new(), hidden: None, wrong: String::new() }
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.place.path(name).parent().unwrap()).unwrap();
        fs::write(self.place.path(name), bytes).unwrap();
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.place.path(name)).unwrap()
    }

    /// Runs the program behind `limits` of a shell, in little memory.
    pub(crate) fn bench(&self, limits: &str, arguments: &[&str]) -> Output {
        let inner = self.place.process(arguments);
        let mut shell = std::process::Command::new("sh");
        shell
            .arg("-c")
            .arg(format!("{limits} ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\""))
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(inner.get_current_dir().unwrap());
        for (key, value) in inner.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        shell.output().unwrap()
    }

    /// Asserts that a command fails with this code and one message, and notes it.
    pub(crate) fn row(&mut self, reader: &str, case: &str, code: i32, arguments: &[&str]) {
        self.limited("", reader, case, code, arguments);
    }

    pub(crate) fn limited(
        &mut self,
        limits: &str,
        reader: &str,
        case: &str,
        code: i32,
        arguments: &[&str],
    ) {
        let output = self.bench(limits, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        let one = said.starts_with("error: ") && !said.contains("\nerror: ");
        if output.status.code() != Some(code) || !one || said.contains("panicked") {
            let _ = writeln!(self.wrong, "{reader}, {case}: {:?}, {said}", output.status.code());
            return;
        }
        let folder = self.place.path("").to_string_lossy().trim_end_matches('/').to_owned();
        let hidden = self.hidden.as_ref().unwrap_or(&folder);
        let said = said.trim().replace(&folder, "…").replace(hidden, "…").replace('|', "\\|");
        let said = said.strip_prefix("error: ").unwrap().lines().map(str::trim);
        let said: Vec<String> = said.map(|line| line.replace('<', "&lt;")).collect();
        let _ = writeln!(self.rows, "| {reader} | {case} | {code} | {} |", said.join("<br>"));
    }

    /// A command whose file, for as long as it runs, is one without an end.
    pub(crate) fn endless(&mut self, reader: &str, file: &str, code: i32, arguments: &[&str]) {
        let (path, aside) = (self.place.path(file), self.place.path("aside"));
        let is_there = path.exists();
        if is_there {
            fs::rename(&path, &aside).unwrap();
        }
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        self.row(reader, "without an end", code, arguments);
        fs::remove_file(&path).unwrap();
        if is_there {
            fs::rename(&aside, &path).unwrap();
        }
    }

    /// The same command for a file in several states.
    pub(crate) fn states(
        &mut self,
        reader: &str,
        file: &str,
        code: i32,
        arguments: &[&str],
        states: &[(&str, Vec<u8>)],
    ) {
        let whole = fs::read(self.place.path(file)).ok();
        for (case, bytes) in states {
            self.write(file, bytes);
            self.row(reader, case, code, arguments);
        }
        fs::remove_file(self.place.path(file)).unwrap();
        self.row(reader, "missing", code, arguments);
        if let Some(whole) = whole {
            self.write(file, whole);
        }
    }
}
