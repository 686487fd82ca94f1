#!/usr/bin/env python3
"""Logits and texts of an independent implementation for the embedded model, for the tests of `bench`.

From:   crates/bench/embedded (f16 weights, computed in f32), and the first three prompts of the synthetic task's suite of 30
        questions, `bench dataset build synthetic --k 30`.
With:   transformers 5.23.0 (its Llama and its tokenizer), torch 2.15.0, CPU, float32.
Rerun:  cargo build -p bench; python3 -m venv V && V/bin/pip install -r scripts/fixture-requirements.txt
        V/bin/python scripts/make-embedded-fixtures.py            (under a minute)
Writes: crates/bench/tests/fixtures/embedded/{0,1,2}.{txt,safetensors}

The prompt is in the .txt file. In the .safetensors file, for a prompt of T tokens and an answer of N:

    prompt     i64 [T]          its ids, BOS first
    answer     i64 [N]          the greedy continuation, the end token included
    positions  i64 [R]          rows that were kept, of the prompt followed by its answer
    logits     f32 [R, vocab]   after tokens 0..=p
"""

import json
import subprocess
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "crates/bench/embedded"
OUT = ROOT / "crates/bench/tests/fixtures/embedded"
DOCUMENTS = 3
EVERY = 61


def prompts():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.jsonl"
        command = [ROOT / "target/debug/bench", "dataset", "build", "synthetic", "--k", "30", "--out", path]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return [json.loads(line)["prompt"] for line in path.read_text().splitlines()[:DOCUMENTS]]


def main():
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager")
    OUT.mkdir(parents=True, exist_ok=True)
    for number, prompt in enumerate(prompts()):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            text = model.generate(ids, do_sample=False, max_new_tokens=1024)
            logits = model(text).logits[0]
        length, positions = ids.shape[1], torch.arange(0, text.shape[1], EVERY)
        tensors = {
            "prompt": text[0, :length].contiguous(),
            "answer": text[0, length:].contiguous(),
            "positions": positions,
            "logits": logits[positions].contiguous(),
        }
        save_file(tensors, OUT / f"{number}.safetensors")
        (OUT / f"{number}.safetensors").chmod(0o644)
        (OUT / f"{number}.txt").write_text(prompt)
        print(f"{number}: {length} + {text.shape[1] - length} tokens, {len(positions)} rows")


if __name__ == "__main__":
    main()
