#!/usr/bin/env python3
"""Logits of an independent implementation, for the tests of `runner`.

From:   SmolLM2-135M-Instruct.Q4_1.gguf (scripts/fetch-model smollm2-135m), dequantised to float32;
        the texts are made here, seeded, and are our own.
With:   transformers 5.23.0 (its GGUF reader and its Llama), torch 2.15.0, CPU, float32; token ids from
        llama.cpp inside the wheel xllamacpp 2026.10.11549.
Rerun:  python3 -m venv V && V/bin/pip install -r scripts/fixture-requirements.txt
        V/bin/python scripts/make-logit-fixtures.py            (about a minute on two cores, 4 GB)
Writes: crates/runner/tests/fixtures/logits_{short,code,long}.{safetensors,txt}

The text is in the .txt file, byte for byte, and was fed without BOS and without a chat template. In
the .safetensors file, for T tokens and the R rows that were kept:

    tokens         i64 [T]       the ids of the text
    positions      i64 [R]       which rows were kept; row p holds the logits after tokens 0..=p
    vocab_ids      i64 [128]     a seeded sample of the vocabulary, ascending
    logits_sample  f32 [R, 128]  logits at those ids
    top_ids        i64 [R, 8]    the eight largest, largest first
    top_logits     f32 [R, 8]
    logsumexp      f32 [R]       over the whole vocabulary
    next_logprobs  f32 [T-1]     log-probability of token p+1 after tokens 0..=p, for every p
    greedy         i64 [40]      (short only) the greedy continuation
    greedy_margins f32 [40]      (short only) by how much each of them led the runner-up, in logits

Metadata `about` (JSON) holds the versions, the mean negative log-likelihood, and how far the same
computation in float64 is from these values: no float32 implementation can be asked to come closer.
Another processor or thread count may change last digits here, and so the bytes of the files.
"""

import json
import random

import safetensors.torch
import torch
import transformers

from llama_cpp import FIXTURES, Reference, model_path

SEED = 7
SAMPLED_IDS = 128
TOP = 8
GREEDY = 40

SHORT = (
    "To boil an egg, bring a pot of water to the boil. Lower the egg in with a spoon, wait about seven "
    "minutes, and then"
)

CODE = '''\
/// Sum of squares below `n`, in 64 bits: 0\u00b2 + 1\u00b2 + \u2026 + (n\u22121)\u00b2.
fn squares(n: u64) -> u64 {
    (0..n).map(|i| i * i).sum()
}

assert_eq!(squares(4), 14);   // 0 + 1 + 4 + 9
assert_eq!(squares(100), 328_350);

| ville  | \u00b0C    | \u4eba\u53e3      |
|--------|-------|-----------|
| K\u00f6ln   | \u22123.5  | 1,073,096 |
| \u4eac\u90fd   | 17.25 | 1,463,723 |
| \u0391\u03b8\u03ae\u03bd\u03b1 | 28    | 643,452   |

\U0001f600 \u201cD\u00e9j\u00e0 vu\u201d, na\u00efve caf\u00e9 \u2014 \u20ac12.99 (\u224814 USD) \u2192 \u041f\u0440\u0438\u0432\u0435\u0442!
'''

NAMES = ["Ada", "Ben", "Cleo", "Dan", "Edda", "Finn", "Gwen", "Hugo", "Iris", "Jon", "Kaya", "Leo", "Mira", "Nils"]
THINGS = ["marbles", "lanterns", "pears", "stamps", "buttons", "kites", "ropes", "bricks", "candles", "maps"]
PLACES = ["the market", "the harbour", "a neighbour", "the school", "an attic", "the mill"]


def problem(rng):
    """One word problem and its worked answer."""
    name, thing, place = rng.choice(NAMES), rng.choice(THINGS), rng.choice(PLACES)
    have, more, times = rng.randint(11, 90), rng.randint(3, 40), rng.randint(2, 9)
    kind = rng.randrange(3)
    if kind == 0:
        total = have + more
        return (f"{name} keeps {have} {thing} in a box and brings {more} more from {place}. "
                f"How many {thing} are in the box now?",
                f"There were {have} and {more} came, so {have} + {more} = {total}. The answer is {total}.")
    if kind == 1:
        have += more
        total = have - more
        return (f"From {place} {name} carries {have} {thing}, but {more} are lost on the way. "
                f"How many {thing} arrive?",
                f"Of {have} {thing} {more} are gone, so {have} - {more} = {total}. The answer is {total}.")
    total = have * times
    return (f"{name} fills {times} baskets at {place} with {have} {thing} each. "
            f"How many {thing} does that make?",
            f"There are {times} baskets of {have}, so {times} * {have} = {total}. The answer is {total}.")


def series(rng, count):
    """A prompt of numbered problems and the first answers to it, in the manner of LongGenBench."""
    problems = [problem(rng) for _ in range(count)]
    asked = "".join(f"Question_{i}: {question}\n" for i, (question, _) in enumerate(problems, 1))
    answered = "".join(f"Answer_{i}: {answer}\n" for i, (_, answer) in enumerate(problems[: count // 2], 1))
    return f"Answer each question in turn, one line per question.\n\n{asked}\n{answered}"


def kept_rows(tokens):
    """All rows up to 64; of a text of some hundred tokens the first 48, of a longer one every 32nd; and the last 16."""
    if tokens <= 64:
        return list(range(tokens))
    early = range(48) if tokens < 1024 else range(0, tokens, 32)
    return sorted(set(early) | set(range(tokens - 16, tokens)))


def all_logits(model, tokens):
    with torch.inference_mode():
        return model(torch.tensor([tokens]), use_cache=False).logits[0]  # (tokens, vocabulary)


def rows_of(logits, tokens, vocab_ids):
    positions = torch.tensor(kept_rows(len(tokens)))
    kept = logits[positions]  # (rows, vocabulary)
    top = kept.topk(TOP, dim=-1)
    following = torch.tensor(tokens[1:])
    return {
        "tokens": torch.tensor(tokens),
        "positions": positions,
        "vocab_ids": vocab_ids,
        "logits_sample": kept[:, vocab_ids],
        "top_ids": top.indices,
        "top_logits": top.values,
        "logsumexp": kept.logsumexp(-1),
        "next_logprobs": logits[:-1].log_softmax(-1).gather(1, following[:, None])[:, 0],
    }


def greedy(model, tokens):
    """The continuation by `generate` with its cache, checked against one pass without a cache."""
    with torch.inference_mode():
        out = model.generate(torch.tensor([tokens]), do_sample=False, max_new_tokens=GREEDY)[0].tolist()
    new = out[len(tokens):]
    assert len(new) == GREEDY, f"ended after {len(new)} tokens: choose another text"
    logits = all_logits(model, out)[len(tokens) - 1:-1]
    assert logits.argmax(-1).tolist() == new, "the cached and the uncached pass disagree"
    first, second = logits.topk(2, dim=-1).values.T
    return {"greedy": torch.tensor(new), "greedy_margins": first - second}


def distance(rows, exact):
    """Largest difference from float64, and the same relative to the row's spread."""
    error = (rows["logits_sample"].double() - exact["logits_sample"]).abs().max(-1).values
    spread = exact["logits_sample"].std(-1)
    return {"max_abs": error.max().item(), "max_relative_to_std": (error / spread).max().item()}


def main():
    path = model_path()
    reference = Reference(path)
    load = transformers.AutoModelForCausalLM.from_pretrained
    model = load(str(path.parent), gguf_file=path.name, dtype=torch.float32).eval()

    rng = random.Random(SEED)
    texts = {"short": SHORT, "code": CODE, "long": series(rng, 36)}
    vocab_ids = torch.tensor(sorted(rng.sample(range(model.config.vocab_size), SAMPLED_IDS)))

    files = {}
    for name, text in texts.items():
        tokens = reference.tokenize(text)
        rows = rows_of(all_logits(model, tokens), tokens, vocab_ids)
        if name == "short":
            rows |= greedy(model, tokens)
            print(f"greedy: {reference.detokenize(rows['greedy'].tolist())!r}")
            print(f"smallest margin: {rows['greedy_margins'].min().item():.4f}")
        files[name] = (text, rows)

    model = model.double()
    for name, (text, rows) in files.items():
        tokens = rows["tokens"].tolist()
        exact = rows_of(all_logits(model, tokens), tokens, vocab_ids)
        about = {
            "model": path.name,
            "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}, float32, CPU",
            "token_ids": f"xllamacpp {reference.version}",
            "mean_nll": -rows["next_logprobs"].double().mean().item(),
            "float64_distance": distance(rows, exact),
        }
        (FIXTURES / f"logits_{name}.txt").write_text(text, encoding="utf-8", newline="\n")
        out = FIXTURES / f"logits_{name}.safetensors"
        safetensors.torch.save_file({key: value.contiguous() for key, value in rows.items()}, out,
                                    metadata={"about": json.dumps(about)})
        out.chmod(0o644)
        print(f"{out.name}: {len(tokens)} tokens, {len(rows['positions'])} rows, {out.stat().st_size} bytes, {about}")


if __name__ == "__main__":
    main()
