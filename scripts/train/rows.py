"""Rows of the synthetic task, as the program makes them."""

import json
import subprocess

import numpy as np

# As in `evaluator::synthetic::Class`.
CLASSES = ["given", "other", "first", "reference", "price", "result", "end"]


class Rows:
    """`bench dataset rows`, asked over a pipe. The same request always brings the same rows."""

    def __init__(self, bench):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([bench, "dataset", "rows"], stdin=pipe, stdout=pipe)

    def ask(self, **request):
        """Tokens and classes, (rows, length) each, filled up with zeros."""
        self.process.stdin.write((json.dumps(request) + "\n").encode())
        self.process.stdin.flush()
        rows, length = request["rows"], request["length"]
        tokens, classes = np.zeros((rows, length), np.int64), np.zeros((rows, length), np.int64)
        for row in range(rows):
            size = int.from_bytes(self.read(4), "little")
            tokens[row, :size] = np.frombuffer(self.read(2 * size), np.uint16)
            classes[row, :size] = np.frombuffer(self.read(size), np.uint8)
        return tokens, classes

    def read(self, size):
        data = self.process.stdout.read(size)
        if len(data) < size:
            raise SystemExit("`bench dataset rows` ended: see its message above")
        return data
