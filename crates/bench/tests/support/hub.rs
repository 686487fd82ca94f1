//! A hub on the loopback address, as far as the client asks for it: listings, and files by range.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The commit that every repository is at.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A running server; it ends with the process.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What a proxy or a portal sends in place of a file.
const PAGE: &[u8] = b"<!DOCTYPE html>\n<html>Log in first</html>\n";

/// What one repository holds, by name: `models/org/name` or `datasets/org/name`.
pub(crate) type Repositories = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

impl Server {
    /// Serves repositories to whoever brings the token.
    pub(crate) fn start(repositories: Repositories, token: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let request: Vec<String> = BufReader::new(&stream)
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let Some(first) = request.first() else { continue };
                log.lock().unwrap().push(first.clone());
                answer(stream, &request, &repositories, token);
            }
        });
        Self { address, asked }
    }

    /// Serves the files of a folder as one model. One called `liar-tag` sends marks that lead out of the cache, `liar-size` promises 2^60 bytes,
    /// `liar-page` sends a page in place of settings and `liar-list` one in place of the list, `liar-half` breaks off in the middle of each
    /// file; one called `status-N` answers nothing but N.
    pub(crate) fn of_folder(id: &str, folder: &Path, token: &'static str) -> Self {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = files.map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(&path).unwrap())
        });
        Self::start(BTreeMap::from([(format!("models/{id}"), files.collect())]), token)
    }

    /// The requests so far, their first lines.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, request: &[String], all: &Repositories, token: &str) {
    let has = |part: &str| request.iter().any(|line| line.to_lowercase().contains(part));
    let path = request[0].split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let (status, headers, content) = if !has(&format!("authorization: bearer {token}")) {
        ("401 Unauthorized", String::new(), Vec::new())
    } else if let Some(status) = path.split_once("/status-").and_then(|(_, rest)| rest.get(..3)) {
        (status, String::new(), Vec::new())
    } else if path.contains("liar-list") {
        ("200 OK", String::new(), PAGE.to_vec())
    } else if let Some(names) = listing(path, all) {
        let siblings: Vec<String> =
            names.map(|name| format!(r#"{{"rfilename":"{name}"}}"#)).collect();
        let body = format!(r#"{{"sha":"{COMMIT}","siblings":[{}]}}"#, siblings.join(","));
        ("200 OK", String::new(), body.into_bytes())
    } else if let Some(file) = file(path, all) {
        let file = if path.contains("liar-page") { PAGE } else { file };
        let part = if has("range: bytes=0-0") { &file[..1] } else { file };
        let size = if path.contains("liar-size") { 1 << 60 } else { file.len() };
        let range = format!("bytes 0-{}/{size}", part.len() - 1);
        let tag = match path {
            path if path.contains("liar-tag") => "../../../../escaped".to_owned(),
            path => path.replace('/', "-"),
        };
        let headers =
            format!("ETag: \"{tag}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: {range}\r\n");
        ("206 Partial Content", headers, part.to_vec())
    } else {
        ("404 Not Found", String::new(), Vec::new())
    };
    let length = content.len();
    let cut = path.contains("liar-half") && length > 1 && !path.starts_with("api/");
    let content = if cut { &content[..length / 2] } else { &content };
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), content].concat()).unwrap();
}

/// `api/KIND/ORG/NAME/revision/REVISION`
fn listing<'a>(path: &str, all: &'a Repositories) -> Option<impl Iterator<Item = &'a String>> {
    let (repository, revision) = path.strip_prefix("api/")?.split_once("/revision/")?;
    known(revision).then(|| Some(all.get(repository)?.keys()))?
}

/// `ORG/NAME/resolve/REVISION/FILE` of a model, and the same below `datasets/`
fn file<'a>(path: &str, all: &'a Repositories) -> Option<&'a Vec<u8>> {
    let (repository, rest) = path.split_once("/resolve/")?;
    let (revision, name) = rest.split_once('/')?;
    let kind = if repository.starts_with("datasets/") { "" } else { "models/" };
    known(revision).then(|| all.get(&format!("{kind}{repository}"))?.get(name))?
}

fn known(revision: &str) -> bool {
    ["main", "v1", COMMIT].contains(&revision)
}
