"""Writes Python, character by character, as it has read it in the standard library's source.

python examples/character_model.py [minutes of training]

The text is cut into streams; a batch is the next piece of each, and the states go on from batch to
batch (truncated backpropagation through time). Samples are drawn one step at a time.
"""

import sys
import sysconfig
import time
from pathlib import Path

import numpy as np

import nncore as nn

MODULES = ["argparse", "ast", "asyncio", "collections", "concurrent", "csv", "datetime", "decimal",
           "email", "http", "inspect", "json", "logging", "os", "pathlib", "pickle", "random", "re",
           "shutil", "socket", "sqlite3", "statistics", "subprocess", "tarfile", "threading",
           "tokenize", "typing", "unittest", "urllib", "uuid", "zipfile"]  # fmt: skip
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
STREAMS, STEPS = 64, 64


def read_source() -> str:
    """The modules' text, without the characters that are not in CHARACTERS."""
    folder = Path(sysconfig.get_path("stdlib"))
    files = []
    for name in MODULES:
        files += sorted((folder / name).rglob("*.py")) or [folder / f"{name}.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files if path.exists())
    return "".join(c for c in text if c in CHARACTERS)


def pieces(codes: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches (x, y): the next STEPS characters of each stream, and those that follow them."""
    length = (len(codes) - 1) // STREAMS
    x = codes[: STREAMS * length].reshape(STREAMS, length)
    y = codes[1 : STREAMS * length + 1].reshape(STREAMS, length)
    starts = range(0, length - STEPS + 1, STEPS)
    return [(x[:, i : i + STEPS], y[:, i : i + STEPS]) for i in starts]


def write(model: nn.Model, beginning: str, count: int, temperature: float = 0.7) -> str:
    """So many characters that go on from a beginning; the lower the temperature, the surer."""
    rng = np.random.default_rng(0)
    text, state = beginning, None
    for character in beginning:
        p, state = model.step(np.array([CHARACTERS.index(character)]), state)
    for _ in range(count):
        weights = p[0].astype(np.float64) ** (1 / temperature)
        code = rng.choice(len(CHARACTERS), p=weights / weights.sum())
        text += CHARACTERS[code]
        p, state = model.step(np.array([code]), state)
    return text


class StopAfter(nn.callbacks.Callback):
    """Ends the training when its time is up."""

    def __init__(self, seconds: float) -> None:
        self.end = time.perf_counter() + seconds

    def on_batch_end(self, model: nn.Model, batch: int, logs: dict) -> None:
        model.stop_training = time.perf_counter() > self.end


def main(minutes: float = 2) -> None:
    text = read_source()
    table = np.zeros(128, np.uint8)
    table[[ord(c) for c in CHARACTERS]] = np.arange(len(CHARACTERS))
    codes = table[np.frombuffer(text.encode("ascii"), np.uint8)]
    kept = len(codes) // 20
    x, y = (np.concatenate(part) for part in zip(*pieces(codes[-kept:]), strict=True))
    print(f"{len(codes):,} characters of Python, the last {kept:,} for validation")

    model = nn.Sequential(
        [
            nn.Input((STEPS,)),
            nn.Embedding(len(CHARACTERS), 32),
            nn.GRU(256, return_sequences=True),
            nn.Dense(len(CHARACTERS), "softmax"),
        ],
        seed=0,
    )
    model.summary()
    model.compile(nn.Adam(3e-3, clipnorm=1.0), "cross_entropy")
    model.fit(
        pieces(codes[:-kept]),
        epochs=100,
        stateful=True,
        validation_data=(x, y),
        callbacks=[StopAfter(60 * minutes)],
    )
    loss = model.evaluate(x, y)["loss"]
    print(f"{loss / np.log(2):.2f} bits a character on text that it has not read\n")
    for beginning in ("def ", "class ", "import "):
        print(write(model, beginning, 200), "\n" + "-" * 80)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
