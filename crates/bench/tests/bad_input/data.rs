//! Data sets, raw data and generated texts.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::broken::{RUN, half, swapped, with};
use crate::table::Table;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn data(table: &mut Table) {
    let file = "data/official/gsm8k_3.jsonl";
    let whole = table.bytes(file);
    let states = [
        ("empty", Vec::new()),
        ("a line cut in half", whole[..whole.len() - 40].to_vec()),
        ("invalid UTF-8", [&whole[..20], b"\xff", &whole[21..]].concat()),
        ("wrong types", swapped(&whole, "\"prompt\":\"", "\"prompt\":7,\"x\":\"")),
        ("not JSON lines", b"PAR1 is no JSON".to_vec()),
    ];
    table.states("data set", file, 3, &RUN, &states);
    table.endless("data set", file, 3, &RUN);
}

pub(crate) fn raw_data(table: &mut Table) {
    let row = json!({ "question": "How many?", "answer": "#### 5" }).to_string() + "\n";
    let build = ["dataset", "build", "gsm8k", "--k", "3", "--raw", "raw", "--out", "set.jsonl"];
    let file = "raw/gsm8k_test.jsonl.gz";
    table.write(file, gzip(row.repeat(1319).as_bytes()));
    let packed = table.bytes(file);
    let states = [
        ("empty", Vec::new()),
        ("a broken gzip", b"\x1f\x8b\x08\x00cut".to_vec()),
        ("a gzip cut in half", half(&packed)),
        ("a gzip that unpacks to 64 MiB of blanks", gzip(&vec![b' '; 64 << 20])),
        ("invalid UTF-8", gzip(b"{\"question\": \"\xff\"}\n")),
        ("another key", gzip(row.replace("answer", "answr").as_bytes())),
        ("an answer without its number", gzip(row.replace("####", "").as_bytes())),
        ("fewer questions than the set has", gzip(row.repeat(2).as_bytes())),
    ];
    table.states("raw data", file, 3, &build, &states);
    table.endless("raw data", file, 3, &build);

    let examples = with(&build, &["--prompts", "prompts"]);
    let demonstrations = "prompts/gsm8k_8demos.txt";
    table.write(demonstrations, b"Question_1: ...");
    let states = [
        ("empty", Vec::new()),
        ("invalid UTF-8", b"Question_1: \xff".to_vec()),
        ("a broken gzip", b"\x1f\x8b\x08\x00cut".to_vec()),
    ];
    table.states("worked examples", demonstrations, 3, &examples, &states);
    table.endless("worked examples", demonstrations, 3, &examples);
    table.row(
        "raw data",
        "no such folder",
        3,
        &with(&build[..6], &["absent", "--out", "set.jsonl"]),
    );
    assert!(!table.place.path("set.jsonl").exists(), "nothing half-written");
}

/// MMLU's release: an archive of one table per subject.
pub(crate) fn archives(table: &mut Table) {
    let build = ["dataset", "build", "mmlu", "--k", "1", "--raw", "raw", "--out", "set.jsonl"];
    let archive = |rows: &[u8], claimed: usize| {
        let mut header = [0; 512];
        header[..13].copy_from_slice(b"law_test.csv\0");
        header[100..108].copy_from_slice(b"0000644\0");
        header[124..136].copy_from_slice(format!("{claimed:011o}\0").as_bytes());
        header[148..156].fill(b' ');
        header[156] = b'0';
        let sum: usize = header.iter().map(|&byte| usize::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut bytes = [&header, rows].concat();
        bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
        bytes
    };
    let whole = |rows: &[u8]| gzip(&archive(rows, rows.len()));
    let states = [
        ("empty", Vec::new()),
        ("no archive", b"this is no archive at all".to_vec()),
        ("a gzip cut in half", half(&whole(b"q,1,2,3,4,A\n"))),
        ("a gzip that unpacks to 64 MiB", gzip(&vec![0; 64 << 20])),
        ("a table that claims 2^30 bytes", gzip(&archive(b"q,1,2,3,4,A\n", 1 << 30))),
        ("a table of other columns", whole(b"q,1,2\n")),
        ("a key that is no letter", whole(b"q,1,2,3,4,E\n")),
        ("invalid UTF-8", whole(b"\xff,1,2,3,4,A\n")),
    ];
    table.states("archive", "raw/mmlu_test.tar.gz", 3, &build, &states);
    let prompts = with(&build, &["--prompts", "prompts"]);
    table.write("raw/mmlu_test.tar.gz", whole(b"q,1,2,3,4,A\n"));
    let states = [
        ("not JSON", b"Q: ...".to_vec()),
        ("a list", b"[]".to_vec()),
        ("no subject", b"{}".to_vec()),
        (
            "nothing of the subject",
            b"{\"art\": \"Q: Who?\\n(A) I (B) You\\nA: It is I. The answer is (A).\"}".to_vec(),
        ),
    ];
    table.states("worked examples", "prompts/mmlu_cot_demos.json", 3, &prompts, &states);
}

pub(crate) fn generations(table: &mut Table) {
    let line = json!({ "pred": "Answer_9: The answer is 5.", "answers": ["#### 5"] }).to_string();
    let score = ["score", "--dataset", "gsm8k", "--generations", "made.jsonl"];
    table.write("made.jsonl", &line);
    let states = [
        ("empty", Vec::new()),
        ("a line cut in half", half(line.as_bytes())),
        ("invalid UTF-8", b"{\"pred\": \"\xff\", \"answers\": []}".to_vec()),
        ("wrong types", b"{\"pred\": 7, \"answers\": []}".to_vec()),
        ("a broken gzip", b"\x1f\x8b\x08\x00cut".to_vec()),
    ];
    table.states("generations", "made.jsonl", 3, &score, &states);
    table.endless("generations", "made.jsonl", 3, &score);
}
