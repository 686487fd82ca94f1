//! The environment rules, and both kinds of repository, against a hub on the loopback address.

#[path = "../../tests/support/hub.rs"]
mod server;

use std::collections::BTreeMap;
use std::path::Path;

use evaluator::{Dataset, Task};
use server::{COMMIT, Server};

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Hub {
    let map: BTreeMap<String, String> =
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Hub::resolve(|name| map.get(name).cloned())
}

#[test]
fn the_environment_is_read_as_the_hub_documents_it() {
    assert_eq!(environment(&[("HOME", "/h")]).cache, Path::new("/h/.cache/huggingface/hub"));
    assert_eq!(
        environment(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]).cache,
        Path::new("/x/huggingface/hub")
    );
    assert_eq!(
        environment(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/f")]).cache,
        Path::new("/f/hub")
    );
    assert_eq!(environment(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]).cache, Path::new("/c"));
    for (value, offline) in
        [("1", true), ("on", true), ("Yes", true), ("TRUE", true), ("0", false), ("", false)]
    {
        assert_eq!(environment(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
    let home = folder.path().to_str().unwrap();
    let token = |pairs: &[(&str, &str)]| environment(pairs).token.map(|token| token.0);
    assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("from-file"));
    let direct = [("HF_HOME", home), ("HF_TOKEN", "direct")];
    assert_eq!(token(&direct).as_deref(), Some("direct"));
    assert!(!format!("{:?}", environment(&direct)).contains("direct"));
    let elsewhere = folder.path().join("elsewhere");
    std::fs::write(&elsewhere, " from-path ").unwrap();
    let pairs = [("HF_HOME", home), ("HF_TOKEN_PATH", elsewhere.to_str().unwrap())];
    assert_eq!(token(&pairs).as_deref(), Some("from-path"));
}

/// A data set of three files.
fn data_set() -> Server {
    let names = [
        "main/test-00000-of-00001.parquet",
        "main/train-00000-of-00001.parquet",
        "socratic/test-00000-of-00001.parquet",
    ];
    let files = names.map(|name| (name.to_owned(), b"PAR1 not really".to_vec()));
    let repository = ("datasets/openai/gsm8k".to_owned(), BTreeMap::from(files));
    Server::start(BTreeMap::from([repository]), "secret")
}

#[test]
fn files_come_from_a_server_and_then_from_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let task = Task::of(Dataset::Gsm8k).unwrap();
    let endpoint = data_set().address;
    let home = cache.path().to_str().unwrap();
    let pairs = [("HF_HOME", home), ("HF_ENDPOINT", &*endpoint), ("HF_TOKEN", "secret")];
    let folder = environment(&pairs).parquet(task).unwrap();
    assert_eq!(
        std::fs::read(folder.join("main/test-00000-of-00001.parquet")).unwrap(),
        b"PAR1 not really"
    );
    assert!(!folder.join("main/train-00000-of-00001.parquet").exists());

    let offline = environment(&[
        ("HF_HOME", home),
        ("HF_HUB_OFFLINE", "1"),
        ("HF_ENDPOINT", "http://127.0.0.1:9"),
    ]);
    assert_eq!(offline.parquet(task).unwrap(), folder);
}

#[test]
fn what_the_hub_refuses_is_said_without_the_token() {
    let cache = tempfile::tempdir().unwrap();
    let task = Task::of(Dataset::Gsm8k).unwrap();
    let endpoint = data_set().address;
    let home = cache.path().to_str().unwrap();
    let error =
        environment(&[("HF_HOME", home), ("HF_ENDPOINT", &*endpoint), ("HF_TOKEN", "wrong-token")])
            .parquet(task)
            .unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("openai/gsm8k") && text.contains("401") && !text.contains("wrong-token"),
        "{text}"
    );
    let error =
        environment(&[("HF_HOME", home), ("HF_HUB_OFFLINE", "1")]).parquet(task).unwrap_err();
    assert!(format!("{error:#}").contains("refs/main"), "{error:#}");
}

const FAMILIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../runner/tests/fixtures/families");

fn model(text: &str) -> HubModel {
    HubModel::parse(text).unwrap()
}

#[test]
fn ids_are_told_from_paths() {
    for text in ["org/name", "meta-llama/Llama-3.1-8B-Instruct", "org/name@v1", "org/n_1@refs/pr/3"]
    {
        assert_eq!(HubModel::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "name", "", "/", "a/", "/b", "a/b/c", "./name", "../name", "a/..", "a/b@", "a/b@../c",
        "a b/c", "a/b@-x", "~/x",
    ] {
        assert_eq!(HubModel::parse(text), None, "{text}");
    }
}

#[test]
fn a_sharded_model_comes_in_two_steps_and_then_from_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::of_folder("org/tiny", &Path::new(FAMILIES).join("llama3"), "secret");
    let home = cache.path().to_str().unwrap();
    let online = [("HF_HOME", home), ("HF_ENDPOINT", &*server.address), ("HF_TOKEN", "secret")];
    let hub = environment(&online);
    let folder = hub.settings(&model("org/tiny")).unwrap();
    assert!(folder.ends_with(Path::new("models--org--tiny/snapshots").join(COMMIT)));
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(&folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert!(names().contains(&"model.safetensors.index.json".to_owned()), "{:?}", names());
    assert!(!names().iter().any(|name| name.ends_with(".safetensors")), "{:?}", names());
    hub.weights(&model("org/tiny"), &folder).unwrap();
    assert!(names().contains(&"model-00002-of-00002.safetensors".to_owned()), "{:?}", names());
    assert!(!names().contains(&"logits.safetensors".to_owned()), "{:?}", names());

    // What is here is not asked for again.
    let before = server.asked().len();
    hub.settings(&model("org/tiny")).unwrap();
    hub.weights(&model("org/tiny"), &folder).unwrap();
    let listings = server.asked()[before..].to_vec();
    assert!(listings.len() == 1 && listings[0].contains("/api/models/org/tiny"), "{listings:?}");

    // Offline, unreachable, or merely planning: the cache serves, by name and by commit.
    let offline = environment(&[("HF_HOME", home), ("HF_HUB_OFFLINE", "1")]);
    let unreachable = environment(&[("HF_HOME", home), ("HF_ENDPOINT", "http://127.0.0.1:9")]);
    let planning = environment(&online).without_asking(true);
    let before = server.asked().len();
    for hub in [offline, unreachable, planning] {
        assert_eq!(hub.settings(&model("org/tiny")).unwrap(), folder);
    }
    assert_eq!(server.asked().len(), before);
    let by_commit = model(&format!("org/tiny@{COMMIT}"));
    let offline = environment(&[("HF_HOME", home), ("HF_HUB_OFFLINE", "1")]);
    assert_eq!(offline.settings(&by_commit).unwrap(), folder);
}

#[test]
fn refusals_say_what_to_do() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::of_folder("org/tiny", &Path::new(FAMILIES).join("qwen2"), "secret");
    let home = cache.path().to_str().unwrap();
    let refused = |id: &str, token: &str, endpoint: &str| {
        let pairs = [("HF_HOME", home), ("HF_ENDPOINT", endpoint), ("HF_TOKEN", token)];
        let error = environment(&pairs).settings(&model(id)).unwrap_err();
        let hint = error.downcast_ref::<Fault>().and_then(Fault::advice).unwrap_or_default();
        let text = format!("{error:#}; {hint}");
        assert!(text.contains(id) && !text.contains("wrong-token"), "{text}");
        text
    };
    let gated = refused("org/tiny", "wrong-token", &server.address);
    let address = format!("accept its terms at {}/org/tiny", server.address);
    assert!(gated.contains(&address) && gated.contains("`HF_TOKEN`"), "{gated}");
    let absent = refused("org/other", "secret", &server.address);
    assert!(absent.contains("check the name and the revision"), "{absent}");
    refused("org/tiny@v2", "secret", &server.address);
    let unreachable = refused("org/tiny", "secret", "http://127.0.0.1:9");
    assert!(unreachable.contains("`HF_ENDPOINT`"), "{unreachable}");

    let files = BTreeMap::from([("config.json".to_owned(), b"{}".to_vec())]);
    let bare = Server::start(BTreeMap::from([("models/org/bare".to_owned(), files)]), "secret");
    let bare = refused("org/bare", "secret", &bare.address);
    assert!(bare.contains("has no `model.safetensors`"), "{bare}");
}

#[test]
fn a_hub_that_lies_writes_nothing_that_is_found_again() {
    for (name, said) in [
        ("org/liar-tag", "../../../../escaped"),
        ("org/liar-size", "1152921504606846976 bytes"),
        ("org/liar-page", "`config.json` is no such file"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("a/b/c/home");
        let server = Server::of_folder(name, &Path::new(FAMILIES).join("smollm2"), "secret");
        let hub = environment(&[
            ("HF_HOME", home.to_str().unwrap()),
            ("HF_ENDPOINT", &*server.address),
            ("HF_TOKEN", "secret"),
        ]);
        let error = hub.settings(&model(name)).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        let mut folders = vec![folder.path().to_owned()];
        while let Some(next) = folders.pop() {
            for path in std::fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
                let name = path.to_string_lossy().into_owned();
                assert!(!name.contains("escaped") && !name.ends_with("config.json"), "{name}");
                let is_page = std::fs::read(&path).is_ok_and(|bytes| bytes.starts_with(b"<!"));
                assert!(!is_page, "{name}");
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
    }
}
