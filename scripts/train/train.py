"""Trains the embedded model. `scripts/train-embedded` calls this; it says how.

Schedules are in tokens, and rows depend on the step alone, so a run that was interrupted goes on where it stopped, with the same rows.
Sums round otherwise on another number of threads, and so does a training.
"""

import argparse
import json
import os
import random
import subprocess
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from model import Llama, Shape, export, rotations
from rows import CLASSES, Rows

# How much a token counts, by class.
WEIGHTS = {"given": 0.0, "other": 1.0, "first": 2.0, "reference": 2.0, "price": 2.0, "result": 1.5, "end": 1.5}
# From how many million tokens on rows have which lengths, and how often.
LENGTHS = [
    (0, {64: 1, 128: 3}),
    (1.5, {64: 2, 128: 4, 256: 1}),
    (10, {128: 1, 256: 4, 512: 4}),
    (13, {256: 2, 512: 4, 1024: 3}),
    (16, {256: 1, 512: 3, 1024: 4, 1536: 2}),
    (20, {512: 2, 1024: 4, 1536: 3, 2752: 3}),
]
# And of which kinds, in thousandths; the rest are documents.
DRILLS = [
    (0, {"recall": 450, "reference": 120, "price": 60, "arithmetic": 100}),
    (10, {"recall": 150, "reference": 80, "price": 50, "arithmetic": 50}),
    (18, {"recall": 30, "reference": 40, "price": 20, "arithmetic": 0}),
]
# The schedule stands still at so many million tokens until the loss on rows of 64 is below this: until questions are found by their index, and what
# stands in them by both. When that comes is chance, and no longer row teaches it as fast.
GATE = (9.5, 0.06)
# Tokens after which it no longer waits, and the run ends.
MOST_WAITED = 20_000_000
# Learning rates as a share of the highest, on straight lines between these points.
RATES = [(0, 1.0), (12, 1.0), (32, 0.0)]
# Documents whose questions stand in random order become fewer until here.
SHUFFLED_UNTIL = 27
STEP_TOKENS = 4096


def latest(table, millions):
    return [value for start, value in table if millions >= start][-1]


def shares(length, millions):
    drawn = dict(latest(DRILLS, millions))
    if length > 256:
        drawn["arithmetic"] = 0
    return {**drawn, "document": 1000 - sum(drawn.values())}


def rate(millions):
    for (start, first), (end, last) in zip(RATES, RATES[1:]):
        if start <= millions < end:
            return max(0.02, first + (last - first) * (millions - start) / (end - start))
    return 0.02


def newton_schulz(g):
    """The nearest half-orthogonal matrices, (many, rows, columns), roughly: Jordan et al. 2024, Muon."""
    wide = g if g.shape[1] <= g.shape[2] else g.transpose(1, 2)
    x = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x if g.shape[1] <= g.shape[2] else x.transpose(1, 2)


class Muon:
    """Matrices of one shape at a time."""

    def __init__(self, matrices, rate, decay):
        shapes = sorted({tuple(w.shape) for w in matrices})
        self.groups = [[w for w in matrices if tuple(w.shape) == shape] for shape in shapes]
        self.momenta = [torch.zeros(len(g), *g[0].shape) for g in self.groups]
        self.rate, self.decay = rate, decay

    def step(self, factor):
        rate = self.rate * factor
        for group, momentum in zip(self.groups, self.momenta):
            gradients = torch.stack([w.grad for w in group])
            momentum.lerp_(gradients, 0.05)
            rows, columns = gradients.shape[1:]
            update = newton_schulz(gradients.lerp(momentum, 0.95)) * max(1, rows / columns) ** 0.5
            for w, u in zip(group, update):
                w.data.mul_(1 - rate * self.decay).sub_(u, alpha=rate)


class Run:
    def __init__(self, options):
        self.options = options
        self.rows = Rows(options.bench)
        self.tokenizer = subprocess.check_output([options.bench, "dataset", "tokenizer"], text=True)
        torch.manual_seed(options.seed)
        vocabulary = len(json.loads(self.tokenizer)["model"]["vocab"])
        self.model = Llama(Shape(vocabulary, hidden=options.hidden, intermediate=3 * options.hidden,
                                 query_heads=options.hidden // 32, layers=options.layers))
        self.tie_indices()
        self.muon = Muon(self.model.matrices(), options.matrix_rate, 0.02)
        self.adam = torch.optim.AdamW(self.model.others(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.0)
        self.rotation = rotations(self.model.shape, self.model.shape.context)
        self.weights = torch.tensor([WEIGHTS[name] for name in CLASSES])
        self.step = self.tokens = self.waited = 0
        self.seconds = 0.0
        self.losses = {}
        self.folder = Path(options.folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def chosen(self):
        """What a run's numbers depend on."""
        return {name: value for name, value in vars(self.options).items() if name not in ("bench", "folder")}

    def millions(self):
        """Where in the schedule the run is."""
        return (self.tokens - self.waited) / 1e6

    def done(self):
        return self.millions() >= RATES[-1][0]

    def rate(self):
        return min(1.0, (self.step + 1) / 20) * rate(self.millions())

    def batch(self):
        lengths = latest(LENGTHS, self.millions())
        draw = random.Random(f"{self.options.seed} {self.step}")
        (length,) = draw.choices(list(lengths), list(lengths.values()))
        tokens, classes = self.rows.ask(
            seed=self.options.seed << 32 | self.step,
            split="train",
            length=length,
            rows=max(1, round(STEP_TOKENS / length)),
            shares=shares(length, self.millions()),
            shuffled=int(800 * max(0.0, 1 - self.millions() / SHUFFLED_UNTIL)),
        )
        return torch.from_numpy(tokens), torch.from_numpy(classes)

    def forward(self, tokens, classes):
        """Logits, and what should follow, at every place whose next token is learned."""
        length = tokens.shape[1] - 1
        wanted = classes[:, 1:].reshape(-1)
        where = wanted.nonzero().squeeze(1)
        rotation = [table[:length] for table in self.rotation]
        logits = self.model(tokens[:, :-1], rotation, where)
        return logits, tokens[:, 1:].reshape(-1)[where], wanted[where]

    @torch.no_grad()
    def tie_indices(self):
        """Lets each heading (`7:`) begin near its mention (` Question_7`): an answer must name itself."""
        ids = json.loads(self.tokenizer)["model"]["vocab"]
        indices = [piece.rstrip(":") for piece in ids if piece.endswith(":") and piece != ":"]
        mentions = [ids[f" Question_{index}"] for index in indices]
        headings = [ids[f"{index}:"] for index in indices]
        table = self.model.embed_tokens.weight
        table[headings] = table[mentions] + 0.5 * table[headings]

    def train_step(self):
        tokens, classes = self.batch()
        logits, targets, kinds = self.forward(tokens, classes)
        weights = self.weights[kinds]
        loss = (F.cross_entropy(logits, targets, reduction="none") * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.others(), 1.0)
        factor = self.rate()
        for group in self.adam.param_groups:
            group["lr"] = self.options.rate * factor
        self.adam.step()
        self.muon.step(factor)
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += tokens.numel()
        length = tokens.shape[1]
        self.losses[length] = 0.9 * self.losses.get(length, loss.item()) + 0.1 * loss.item()
        # Later no row is of 64 tokens.
        if GATE[0] < self.millions() < GATE[0] + 0.4 and self.losses[64] > GATE[1]:
            self.waited += tokens.numel()
            if self.waited > MOST_WAITED:
                raise SystemExit("rows of 64 tokens are not learned: try another seed")

    @torch.no_grad()
    def evaluate(self):
        """Share of right next tokens by class, on documents of the development split."""
        lines = []
        sizes = [(12, 1024, 4), (30, 2048, 2)] + [(60, 4000, 2)] * (self.millions() > 20)
        for questions, length, rows in sizes:
            tokens, classes = self.rows.ask(seed=0, split="development", length=length, rows=rows,
                                            shares={"document": 1}, questions=questions)
            longest = int((tokens != 0).sum(1).max())
            tokens, classes = torch.from_numpy(tokens[:, :longest]), torch.from_numpy(classes[:, :longest])
            logits, targets, kinds = self.forward(tokens, classes)
            right = (logits.argmax(-1) == targets).float()
            shown = [f"{CLASSES[k]} {100 * right[kinds == k].mean():.1f}" for k in range(1, len(CLASSES))]
            lines.append(f"  {questions} questions: " + ", ".join(shown))
        return lines

    def checkpoint(self):
        state = {"model": self.model.state_dict(), "adam": self.adam.state_dict(), "momenta": self.muon.momenta,
                 "options": self.chosen(), "step": self.step, "tokens": self.tokens, "waited": self.waited, "seconds": self.seconds, "losses": self.losses}
        unfinished = self.folder / "checkpoint.unfinished"
        torch.save(state, unfinished)
        unfinished.rename(self.folder / "checkpoint.pt")

    def resume(self):
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path)
        self.model.load_state_dict(state["model"])
        self.adam.load_state_dict(state["adam"])
        self.muon.momenta = state["momenta"]
        for name in ("step", "tokens", "waited", "seconds", "losses"):
            setattr(self, name, state[name])
        if state["options"] != self.chosen():
            raise SystemExit(f"{path} is of a run with {state['options']}: name another folder, or give the same options")

    def log(self, line):
        print(line, flush=True)
        with (self.folder / "log.txt").open("a") as file:
            file.write(line + "\n")

    def go(self):
        self.resume()
        if self.step == 0:
            count = sum(w.numel() for w in self.model.parameters())
            self.log(f"{count} parameters; {self.chosen()}")
        started, told, looked = time.time() - self.seconds, self.tokens, time.time()
        while not self.done():
            if time.time() - looked > 3:
                looked = time.time()
                share_cores()
            self.train_step()
            self.seconds = time.time() - started
            if self.tokens - told >= 5e5 or self.done():
                told = self.tokens
                losses = " ".join(f"{length}:{loss:.4f}" for length, loss in sorted(self.losses.items()))
                self.log(f"{self.tokens / 1e6:.2f} M tokens, step {self.step}, {self.seconds:.0f} s, rate {self.rate():.2f}, waited {self.waited / 1e6:.2f} M, loss {losses}")
                self.checkpoint()
                if self.tokens // 1e6 != (self.tokens - 5e5) // 1e6 or self.done():
                    for line in self.evaluate():
                        self.log(line)
        export(self.model, self.tokenizer, self.folder / "model")
        self.log(f"done: {self.tokens} tokens, {self.step} steps, {self.seconds:.0f} s")


def share_cores():
    """All cores while they are idle, one while others work: threads that wait for each other on a busy machine are slower than one."""
    load = Path("/proc/loadavg")
    if load.exists():
        runnable = int(load.read_text().split()[3].split("/")[0])
        others = runnable - torch.get_num_threads()
        torch.set_num_threads(1 if others > 0 else len(os.sched_getaffinity(0)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", required=True, help="the program")
    parser.add_argument("--folder", required=True, help="where checkpoints, the log and the model go")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--matrix-rate", type=float, default=0.01)
    parser.add_argument("--rate", type=float, default=0.003)
    Run(parser.parse_args()).go()


if __name__ == "__main__":
    main()
