"""llama.cpp as the reference tokenizer, for the two fixture scripts.

The wheel `xllamacpp` carries llama.cpp and its HTTP server. We start that on a free port of the
loopback address, with the GGUF file of scripts/fetch-model, and ask it.
"""

import hashlib
import json
import os
import pathlib
import sys
import urllib.request

MODEL = "smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "crates/runner/tests/fixtures"


def model_path():
    """The file that scripts/fetch-model wrote, its hash checked: fixtures of another file are worthless."""
    cache = os.environ.get("BENCH_CACHE")
    if not cache:
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "bench"
    path = pathlib.Path(cache) / "models" / MODEL
    if not path.exists():
        sys.exit(f"error: no {path}\nhint: scripts/fetch-model smollm2-135m")
    if hashlib.sha256(path.read_bytes()).hexdigest() != MODEL_SHA256:
        sys.exit(f"error: {path} is not the file these fixtures describe\nhint: scripts/fetch-model smollm2-135m")
    return path


class Reference:
    """A running server; `tokenize` and `apply_template` are its end points of those names."""

    def __init__(self, path):
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = 512
        params.n_parallel = 1
        params.warmup = False
        params.fit_params = False
        params.use_jinja = True
        params.verbosity = 0
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        self.version = xllamacpp.__version__
        self.server = xllamacpp.Server(params)

    def ask(self, end_point, body):
        request = urllib.request.Request(
            self.server.listening_address + end_point,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)

    def tokenize(self, text):
        """Ids of `text`: special tokens recognised, no BOS in front."""
        body = {"content": text, "add_special": False, "parse_special": True}
        return self.ask("/tokenize", body)["tokens"]

    def detokenize(self, ids):
        return self.ask("/detokenize", {"tokens": ids})["content"]

    def apply_template(self, messages):
        """The prompt that the model's own template makes of a conversation, ready for the answer."""
        return self.ask("/apply-template", {"messages": messages, "add_generation_prompt": True})["prompt"]
