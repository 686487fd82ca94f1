//! `scripts/fetch-data` against a local mirror: what comes is checked, and what is wrong is not kept.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/fetch-data");

/// Serves files by path until the test is over; returns the base URL.
fn serve(files: BTreeMap<String, Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/mirror", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map(Result::unwrap);
            let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let path = request[0].split(' ').nth(1).unwrap().trim_start_matches("/mirror/");
            let none = Vec::new();
            let (status, body) =
                files.get(path).map_or(("404 Not Found", &none), |body| ("200 OK", body));
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // The client may hang up on what it will not read.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    address
}

fn fetch(mirror: &str, folder: &Path, more: &[&str]) -> Output {
    let mut script = Command::new("python3");
    script
        .arg(SCRIPT)
        .args(more)
        .arg(folder)
        .env("BENCH_DATA_MIRROR", mirror)
        .env("BENCH", env!("CARGO_BIN_EXE_bench"))
        .env("no_proxy", "127.0.0.1")
        .env_remove("BENCH_DATA")
        .stdin(Stdio::null());
    script.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok();
    if !found {
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no `python3`; it checked nothing");
    }
    found
}

#[test]
fn what_is_absent_or_wrong_is_named_and_not_kept() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let gone = fetch(&serve(BTreeMap::new()), folder.path(), &[]);
    assert_eq!(gone.status.code(), Some(3), "{}", stderr(&gone));
    for words in ["raw/gsm8k_test.jsonl`", "gsm8k_test.jsonl.gz`", "BENCH_DATA_MIRROR"] {
        assert!(stderr(&gone).contains(words), "{}", stderr(&gone));
    }
    for content in [&b"{\"question\": \"another\"}\n"[..], b"\x1f\x8b\x08\x00 cut off", b""] {
        let files = BTreeMap::from([("raw/gsm8k_test.jsonl".to_owned(), content.to_vec())]);
        let wrong = fetch(&serve(files), folder.path(), &[]);
        assert_eq!(wrong.status.code(), Some(3), "{}", stderr(&wrong));
        assert!(!stderr(&wrong).contains("Traceback"), "{}", stderr(&wrong));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    let nobody = fetch("http://127.0.0.1:9", folder.path(), &[]);
    assert_eq!(nobody.status.code(), Some(3), "{}", stderr(&nobody));
    assert_eq!(fetch("", folder.path(), &["--what"]).status.code(), Some(2));
}

/// All files of a data folder that the script may ask for, as they lie there.
fn mirrored(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let folders = ["raw", "prompts"].map(|name| data.join(name));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    paths
        .map(|path| {
            let name = path.strip_prefix(data).unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

#[test]
fn a_mirror_fills_a_folder_with_the_published_sets() {
    let data = std::env::var_os("BENCH_DATA").map(PathBuf::from).filter(|path| path.is_dir());
    let Some(data) = data.filter(|_| has_python()) else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: it checked nothing; set `BENCH_DATA`");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mirror = serve(mirrored(&data));
    let first = fetch(&mirror, folder.path(), &[]);
    assert!(first.status.success(), "{}", stderr(&first));
    for name in ["gsm8k_30", "gsm8k_60", "mmlu_30", "mmlu_60", "csqa_40", "csqa_80"] {
        assert!(folder.path().join(format!("official/{name}.jsonl")).is_file(), "{name}");
    }
    // A second time nothing is asked for; what was spoilt is brought again.
    let again = fetch("http://127.0.0.1:9", folder.path(), &[]);
    assert!(again.status.success(), "{}", stderr(&again));
    let spoilt = folder.path().join("prompts/csqa_5demos.txt");
    let good = fs::read(&spoilt).unwrap();
    fs::write(&spoilt, "spoilt").unwrap();
    assert!(fetch(&mirror, folder.path(), &[]).status.success());
    assert_eq!(fs::read(&spoilt).unwrap(), good);
}
