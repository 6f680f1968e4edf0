"""The recorded frameworks of notebook 11: written by `bench_11.py`, measured here. Rule: claims.toml, Q9b."""

from __future__ import annotations

import numpy as np

from helpers.evaluate import Interval

NAMES = {"LLaMA-Factory": "llamafactory", "ms-swift": "swift"}


def measured(runs: list[dict]) -> dict:
    """Q9b: the largest distance of a step's loss from trl's, of each framework that was run."""
    losses = {r["name"]: np.array(r["result"]["losses"]) for r in runs if r["stage"] == "run"}
    if "trl" not in losses:
        return {}
    apart = {part: float(np.abs(losses[name] - losses["trl"]).max()) for part, name in NAMES.items() if name in losses}
    return {"Q9b": {part: Interval(x, x, x) for part, x in apart.items()}} if apart else {}
