//! What a hub may answer.

use std::path::Path;

use crate::server::Server;
use crate::table::Table;

/// Each answer, and how a model is called that is answered so.
const ANSWERS: [(&str, &str); 8] = [
    ("status 401", "org/status-401"),
    ("status 403", "org/status-403"),
    ("status 404", "org/status-404"),
    ("status 500", "org/status-500"),
    ("a page in place of the list of files", "org/liar-list"),
    ("a page in place of settings", "org/liar-page"),
    ("a file cut in half", "org/liar-half"),
    ("a mark that leads out of the cache", "org/liar-tag"),
];

/// Every answer twice: what was refused is not found in the cache by the next.
pub(crate) fn answers(table: &mut Table) {
    let family =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../runner/tests/fixtures/families/smollm2");
    for (case, id) in ANSWERS {
        let server = Server::of_folder(id, &family, "secret");
        table.hidden = Some(server.address.clone());
        let online = format!(
            "export HF_HUB_OFFLINE=0 HF_TOKEN=secret HF_HOME=hub HF_ENDPOINT={};",
            server.address
        );
        let generate = ["generate", "--model", id, "--prompt", "one"];
        table.limited(&online, "hub", case, 3, &generate);
        table.limited(&online, "hub", &format!("{case}, again"), 3, &generate);
    }
    table.hidden = None;
}
