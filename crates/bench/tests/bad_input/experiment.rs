//! Experiment files, the command line and the environment.

use crate::broken::{GGUF, RUN, half, swapped, with};
use crate::table::Table;

pub(crate) fn experiments(table: &mut Table) {
    let whole = table.bytes("tiny.toml");
    let changed = |from: &str, to: &str| swapped(&whole, from, to);
    let states = [
        ("empty", Vec::new()),
        ("cut in half", half(&whole)),
        ("invalid UTF-8", b"name = \"\xff\"".to_vec()),
        ("an unknown key", changed("questions = 3", "questions = 3\nquestoins = 4")),
        ("a number where a text belongs", changed("dataset = \"gsm8k\"", "dataset = 7")),
        ("a text where a number belongs", changed("max_new_tokens = 80", "max_new_tokens = \"x\"")),
        ("a negative number", changed("questions = 3", "questions = -3")),
        ("another version", changed("schema_version = 1", "schema_version = 9")),
        ("an unknown data set", changed("\"gsm8k\"", "\"gsm9k\"")),
        ("an unknown method", changed("name = \"slide\"", "name = \"slid\"")),
        ("a budget of 0", changed("decode = 24", "decode = 0")),
        ("a budget below `recent`", changed("decode = 24", "decode = 4")),
        ("`recent` of 0", changed("recent = 8", "recent = 0")),
        (
            "an output longer than the context",
            changed("max_new_tokens = 80", "max_new_tokens = 4096"),
        ),
        ("a size of 2^60", changed("max_new_tokens = 80", "max_new_tokens = 1152921504606846976")),
        ("a name with `../`", changed("name = \"tiny\"", "name = \"../tiny\"")),
        ("two arms of one name", changed("label = \"slide\"", "label = \"h2o\"")),
        (
            "`mode` for what was not published",
            changed("label = \"random\"", "label = \"random\"\nmode = \"reference\""),
        ),
        (
            "`extends` a file that is not there",
            changed(
                "schema_version = 1",
                "schema_version = 1\nextends = { file = \"absent.toml\" }",
            ),
        ),
    ];
    table.states("experiment", "tiny.toml", 2, &RUN, &states);
    table.write("long.toml", "#".repeat(2 << 20));
    let long = ["run", "--experiment", "long.toml"];
    table.row("experiment", "longer than any experiment", 2, &long);
    for (case, more) in [
        ("an unknown profile", ["--profile", "big"]),
        ("`--set` of an unknown key", ["--set", "task.qestions=3"]),
        ("`--set` without a value", ["--set", "task.questions"]),
        ("`--shard` beyond the last", ["--shard", "3/2"]),
        ("a mix of questions that are given", ["--set", "task.mix={ back = 3 }"]),
    ] {
        table.row("command line", case, 2, &with(&RUN, &more));
    }
    let synthetic = ["--set", "task.dataset=synthetic", "--set", "task.prompt=raw", "--set"];
    for (case, mix) in [
        ("no kind of question", "{ direct = 0, multi-step = 0, price = 0, back = 0, pair = 0 }"),
        ("an unknown kind of question", "{ bac = 3 }"),
        ("a weight of 2^60", "{ back = 1152921504606846976 }"),
        ("a share above 1000", "{ again = 1001 }"),
        ("a reach of 0", "{ reach = 0 }"),
    ] {
        let mix = format!("task.mix={mix}");
        table.row("`task.mix`", case, 2, &with(&with(&RUN, &synthetic), &[&mix]));
    }
    let list =
        |from: usize, count: usize| format!("{:?}", (from..from + count).collect::<Vec<_>>());
    let (seeds, budgets) = (
        format!("generation.seed={}", list(0, 1000)),
        format!("budget.decode={}", list(100, 1000)),
    );
    let many = with(&RUN, &["--set", &seeds, "--set", &budgets]);
    table.row("command line", "lists that make millions of settings", 2, &many);
    table.row(
        "command line",
        "an unknown word in `--set`",
        2,
        &with(&RUN, &["--set", "mode=refrence"]),
    );
    let prompts = table.bytes("data/official/gsm8k_3.jsonl");
    table.write("data/official/gsm8k_3.jsonl", prompts.repeat(100));
    let budgets = format!("budget.decode={}", list(100, 200));
    let many = with(&RUN, &["--set", &budgets]);
    table.row("command line", "lists and prompts that make too many cells", 2, &many);
    table.write("data/official/gsm8k_3.jsonl", prompts);
    table.row("command line", "an unknown device", 3, &with(&RUN, &["--device", "tpu"]));
}

pub(crate) fn environment(table: &mut Table) {
    for (value, case) in [("99999999", "a hundred million"), ("-1", "-1"), ("many", "no number")] {
        let set = format!("export RAYON_NUM_THREADS={value};");
        table.limited(&set, "`RAYON_NUM_THREADS`", case, 2, &GGUF);
    }
    let run = with(&RUN[..3], &RUN[5..]);
    table.limited("export BENCH_DATA=absent;", "`BENCH_DATA`", "no such folder", 3, &run);
    table.limited("export BENCH_DATA=tiny.toml;", "`BENCH_DATA`", "a file", 3, &run);
    for (value, case) in [("nonsense", "no address"), ("http://127.0.0.1:9", "nobody there")] {
        let set = format!("export HF_HUB_OFFLINE=0 HF_ENDPOINT={value};");
        let id = ["generate", "--model", "org/name", "--prompt", "one"];
        table.limited(&set, "`HF_ENDPOINT`", case, 3, &id);
    }
    for command in [["completions", "bash"].as_slice(), &["man"], &["methods"], &["models"]] {
        let case = format!("a full disk under `{}`", command[0]);
        table.limited("exec >/dev/full;", "output", &case, 2, command);
    }
}
