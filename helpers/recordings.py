"""Recorded runs: what a GPU measured with a notebook's own cells, read from `data/runs/`.

- ``load("05")``             every run of a notebook, as written by `data/record.py`
- ``find(runs, ...)``        the runs with these settings, in order of their seeds
- ``paired(runs, ...)``      the runs of two settings on the seeds that both have
- ``verdicts(runs, ...)``    right or wrong of each, as an array (seeds, rows), for an interval
- ``pack(bits)``             verdicts as a short text, and ``unpack(text)`` back
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / "data" / "runs"
BUNDLED = "SmolLM2-135M-Instruct"  # the live model


def load(notebook: str, model: str = "") -> list[dict]:
    """All recorded runs of one notebook, or those of one `model`, such as `BUNDLED`.

    >>> load("99")
    Traceback (most recent call last):
    ...
    FileNotFoundError: data/runs/99.jsonl is not there: record it with data/record.py, or fetch it with the repository
    """
    path = FOLDER / f"{notebook}.jsonl"
    if not path.exists():
        raise FileNotFoundError(
            f"data/runs/{path.name} is not there: record it with data/record.py, or fetch it with the repository"
        )
    runs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [r for r in runs if model in ("", model_of(r))]


def find(runs: list[dict], kind: str, stage: str = "tuned", **settings) -> list[dict]:
    """Runs whose name begins with `kind` ("search", "confirm") and whose settings equal `settings`, by seed.

    >>> r = {"name": "confirm-a", "stage": "tuned", "set": {"RANK": 4, "SEED": 3}}
    >>> len(find([r], "confirm", RANK=4)), len(find([r], "confirm", RANK=8))
    (1, 0)
    """
    found = [
        r
        for r in runs
        if r["name"].split("-")[0] == kind
        and r["stage"] == stage
        and all(r["set"].get(k) == v for k, v in settings.items())
    ]
    return sorted(found, key=lambda r: r["set"].get("SEED", 0))


def paired(runs: list[dict], one: dict, other: dict, kind: str = "confirm", **common) -> tuple[list[dict], list[dict]]:
    """Runs of two settings, each beside `common`, on the seeds that both have: two lists in the same order of seeds.

    >>> run = lambda rank, seed: {"name": "confirm-a", "stage": "tuned", "set": {"RANK": rank, "SEED": seed}}
    >>> a, b = paired([run(4, 3), run(4, 5), run(8, 5), run(8, 6)], {"RANK": 4}, {"RANK": 8})
    >>> [r["set"] for r in a + b]
    [{'RANK': 4, 'SEED': 5}, {'RANK': 8, 'SEED': 5}]
    """
    found = [{r["set"]["SEED"]: r for r in find(runs, kind, **common | setting)} for setting in (one, other)]
    both = sorted(set(found[0]) & set(found[1]))
    return [found[0][seed] for seed in both], [found[1][seed] for seed in both]


def model_of(run: dict) -> str:
    """The model that a run used: the bundled one where the run does not say.

    >>> model_of({"model": "qwen-1.5b"}), model_of({})
    ('qwen-1.5b', 'SmolLM2-135M-Instruct')
    """
    return run.get("model") or BUNDLED


def start(kind: str, model: str) -> str:
    """How the name of a run begins: its kind, and its model but for the bundled one.

    >>> start("search", BUNDLED), start("search", "qwen-1.5b")
    ('search', 'search-qwen-1.5b')
    """
    return kind if model == BUNDLED else f"{kind}-{model}"


def pack(verdicts) -> str:
    """Verdicts, one a row, as text: their number, then four to a hexadecimal digit.

    >>> pack([True, False, True, True, False])
    '5:b0'
    """
    text = "".join("01"[bool(v)] for v in verdicts)
    return f"{len(text)}:" + "".join(f"{int(text[i : i + 4].ljust(4, '0'), 2):x}" for i in range(0, len(text), 4))


def unpack(text: str) -> np.ndarray:
    """Verdicts as an array of 0 and 1, from `pack`, or from the longer form of earlier runs, `"0110"`.

    >>> unpack("5:b0").tolist(), unpack("0110").tolist()
    ([1, 0, 1, 1, 0], [0, 1, 1, 0])
    """
    count, colon, digits = text.partition(":")
    bits = "".join(f"{int(d, 16):04b}" for d in digits)[: int(count)] if colon else text
    return np.frombuffer(bits.encode(), dtype=np.uint8) - ord("0")


def verdicts(runs: list[dict], method: str = "tuned", field: str | None = None) -> np.ndarray:
    """Verdicts of several runs on the same rows: (seeds, rows) of 0 and 1. Whole records, or one `field`."""
    if not runs:
        raise ValueError("no recorded run has these settings: look at data/runs and its plan")
    found = [r["result"]["methods"][method] for r in runs]
    return np.stack([unpack(v["fields"][field] if field else v["exact"]) for v in found])


def environment(runs: list[dict]) -> str:
    """One line: card, versions, date. Runs from several environments are all named.

    >>> environment([{"environment": {"card": "A", "torch": "2", "trl": "1", "date": "2026-01-01"}}])
    'A, torch 2, trl 1, 2026-01-01'
    """
    lines = sorted(
        {f"{e['card']}, torch {e['torch']}, trl {e['trl']}, {e['date']}" for e in (r["environment"] for r in runs)}
    )
    return "; ".join(lines)
