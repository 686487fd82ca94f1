//! Results folders and journals.

use std::fs;
use std::io::Write as _;

use serde_json::{Value, json};

use crate::broken::{RUN, half, with};
use crate::support;
use crate::table::Table;

pub(crate) fn results(table: &mut Table) {
    table.row("results folder", "no such folder", 3, &["report", "absent"]);
    fs::create_dir(table.place.path("empty")).unwrap();
    table.row("results folder", "empty", 3, &["report", "empty"]);
    table.write("blocked", b"a file");
    let blocked =
        ["run", "--experiment", "tiny.toml", "--data", "data", "--results", "blocked", "--quiet"];
    table.row("results folder", "a file in its place", 2, &blocked);
    let nowhere = with(&with(&RUN[..5], &["--results", "/proc/results"]), &RUN[7..]);
    table.row("results folder", "where none can be made", 2, &nowhere);

    let full = |blocks: usize| format!("trap '' XFSZ; ulimit -f {blocks};");
    table.limited(&full(2), "results folder", "a full disk", 2, &RUN);
    let journal = table.place.results("out").join("samples.jsonl");
    let good = table.bench("", &RUN);
    assert!(
        good.status.success(),
        "the next run goes on: {}",
        String::from_utf8_lossy(&good.stderr)
    );
    let lines = fs::read_to_string(&journal).unwrap();
    assert_eq!(lines.lines().count(), support::CELLS);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));

    let plots = table.place.results("out").join("plots");
    fs::remove_dir_all(&plots).unwrap();
    table.limited(&full(60), "plots", "a full disk", 2, &["report", "out/tiny"]);
    let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
    let mut left = fs::read_dir(&plots).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.any(|name| hidden(&name)), "nothing half-written");
    assert!(table.bench("", &["report", "out/tiny"]).status.success(), "the next report goes on");

    let other = with(&RUN, &["--set", "generation.max_new_tokens=40"]);
    table.row("results folder", "of other settings", 2, &other);
    let mut file = fs::OpenOptions::new().append(true).open(&journal).unwrap();
    file.write_all(b"{\"cell\": 7}\n").unwrap();
    table.row("journal", "a line of another kind", 3, &RUN);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let lines_with = |key: &str, value: Value| {
        let mut record = first.clone();
        record[key] = value;
        format!("{record}\n{}", lines.split_once('\n').unwrap().1)
    };
    for (case, key, value) in [
        ("2^64 - 1 evictions", "evictions", json!(u64::MAX)),
        ("2^64 - 1 prompt tokens", "prompt_tokens", json!(u64::MAX)),
        ("a trace over 2^64 - 1 steps", "trace_steps", json!(u64::MAX)),
        ("2^60 questions", "questions", json!(1u64 << 60)),
        ("a negative number of entries", "kept_mean_decode", json!(-1e308)),
        ("no answers", "answers", json!([])),
        ("an unknown data set", "dataset", json!("gsm9k")),
    ] {
        fs::write(&journal, lines_with(key, value)).unwrap();
        table.row("journal", case, 3, &["report", "out/tiny"]);
        table.row("journal", &format!("{case}, resumed"), 3, &RUN);
    }
    table.endless("journal", "out/tiny/samples.jsonl", 3, &["report", "out/tiny"]);
    table.endless("results folder", "out/tiny/manifest.json", 3, &["report", "out/tiny"]);
    fs::write(&journal, lines_with("arm", json!("stranger"))).unwrap();
    table.row("journal", "an arm that the manifest does not name", 3, &["report", "out/tiny"]);
    fs::write(&journal, format!("{lines}{first}\n")).unwrap();
    table.row("journal", "a cell that is there twice", 3, &["report", "out/tiny"]);
    let config = table.place.results("out").join("config.toml");
    let settings = fs::read(&config).unwrap();
    fs::write(&journal, &lines).unwrap();
    fs::write(&config, b"\xff").unwrap();
    table.row("results folder", "settings that are not UTF-8", 2, &RUN);
    assert_eq!(fs::read(&config).unwrap(), b"\xff", "left as it was");
    fs::write(&config, settings).unwrap();
    fs::write(&journal, [lines.as_bytes(), b"\xff\xff\n"].concat()).unwrap();
    table.row("journal", "invalid UTF-8", 3, &RUN);
    fs::write(&journal, &lines.as_bytes()[..lines.len() - 30]).unwrap();
    let good = table.bench("", &RUN);
    assert!(good.status.success(), "a cut last line is computed again");
    assert_eq!(fs::read_to_string(&journal).unwrap().lines().count(), support::CELLS);
}

pub(crate) fn summaries(table: &mut Table) {
    assert!(table.bench("", &["report", "out/tiny"]).status.success());
    let path = "out/tiny/summary.json";
    let whole: Value = serde_json::from_slice(&table.bytes(path)).unwrap();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut summary = whole.clone();
        change(&mut summary);
        summary.to_string().into_bytes()
    };
    let compare = ["compare", "out/tiny", "out/tiny"];
    let states = [
        ("empty", Vec::new()),
        ("cut in half", half(&table.bytes(path))),
        ("another version", changed(&|it| it["schema_version"] = json!(1))),
        (
            "a score above 1",
            changed(&|it| it["rows"][0]["per_prompt"][0]["official"] = json!(1e300)),
        ),
        ("an arm without prompts", changed(&|it| it["rows"][0]["per_prompt"] = json!([]))),
        ("an arm that is there twice", changed(&|it| it["rows"][1] = it["rows"][0].clone())),
    ];
    table.states("summary", path, 3, &compare, &states);
    table.endless("summary", path, 3, &compare);
    table.write("other/summary.json", changed(&|it| it["conditions"][0]["seed"] = json!(7)));
    table.row("summary", "of another seed", 2, &["compare", "out/tiny", "other"]);
    let odd = ["compare", "out/tiny", "out/tiny", "--tolerance", "101"];
    table.row("command line", "a tolerance above 100", 2, &odd);
}

/// Requests for rows of the synthetic task, on stdin.
pub(crate) fn requests(table: &mut Table) {
    let of =
        |more: &str| format!(r#"{{"seed": 1, "split": "train", "length": 256, "rows": 2{more}}}"#);
    for (case, request) in [
        ("no JSON", "rows".to_owned()),
        ("without shares", of("")),
        ("shares of nothing", of(r#", "shares": {}"#)),
        ("a share of 2^64 - 1", of(r#", "shares": {"document": 18446744073709551615}"#)),
        ("no question", of(r#", "shares": {}, "questions": 0"#)),
        ("more questions than can be numbered", of(r#", "shares": {}, "questions": 65"#)),
        ("2^40 rows", of(r#", "shares": {"recall": 1}"#).replace(": 2", ": 1099511627776")),
        ("a line without an end", "7".repeat(1 << 17)),
    ] {
        table.write("requests", format!("{request}\n"));
        table.limited("exec < requests;", "request for rows", case, 3, &["dataset", "rows"]);
    }
}
