"""How long a notebook runs: live sizes that follow this machine's measured speed, the long size, a quick check.

- ``COURSE_SIZE=long``   more steps and all test rows, for a GPU or for patience
- ``COURSE_STEPS=0.05``  a twentieth of the optimizer steps: does it run at all?
- ``steps(36)``          36, or half of them where a step takes long; a shortened run asserts no claim, and says so
"""

from __future__ import annotations

import os
import timeit
from functools import lru_cache

import torch

SLOW_STEP_S = 6.0  # a slower machine runs half of the steps: a notebook then ends within 6 minutes


@lru_cache(maxsize=1)
def step_seconds() -> float:
    """Estimated seconds of a training step of the bundled model (8 rows of 96 tokens), from a second of work: one layer
    forward and backward, and the loss of the trained positions. 0 where a GPU does the work.

    >>> step_seconds() >= 0
    True
    """
    if torch.cuda.is_available():
        return 0.0
    sizes = [(576, 576), (576, 192), (576, 192), (576, 576), (576, 1536), (576, 1536), (1536, 576)]  # SmolLM2-135M
    weights = [torch.randn(a, b) / a**0.5 for a, b in sizes]
    head, inputs = torch.randn(576, 49152) / 24, {a: torch.randn(8 * 96, a) for a in (576, 1536)}

    def layer() -> None:
        for w in weights:
            x = inputs[len(w)].clone().requires_grad_()
            torch.nn.functional.silu(x @ w).sum().backward()

    def loss() -> None:
        x = inputs[576][:160].clone().requires_grad_()
        (x @ head).log_softmax(-1).sum().backward()

    best = lambda work: min(timeit.repeat(work, number=1, repeat=4)[1:])  # the first one warms up
    return 30 * best(layer) + 2 * best(loss)  # trl computes the loss's terms in more passes than this


def multiplier() -> float:
    """`COURSE_STEPS`; without it 1, or 0.5 where a step takes more than `SLOW_STEP_S`. ValueError for other than a number above 0."""
    text = os.environ.get("COURSE_STEPS", "")
    if not text:
        return 0.5 if step_seconds() > SLOW_STEP_S else 1.0
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 100:
        raise ValueError(f"COURSE_STEPS={text!r}: give a multiplier above 0, such as 0.05 for a quick check")
    return value


def is_full() -> bool:
    """Whether this run is long enough for its claims to be asserted."""
    return multiplier() >= 1


def choose(live, long):
    """`live`, or `long` with COURSE_SIZE=long."""
    size = os.environ.get("COURSE_SIZE", "live")
    if size not in ("live", "long"):
        raise ValueError(f"COURSE_SIZE={size!r}: choose live or long")
    return long if size == "long" else live


def steps(live: int, long: int | None = None) -> int:
    """Optimizer steps of this run: at least 2."""
    return max(2, round(choose(live, long or live) * multiplier()))


def claim(holds: bool, what: str) -> None:
    """Assert one claim of a notebook and print it; a shortened run says that it skipped it."""
    if not is_full():
        print(f"not checked in a shortened run ({multiplier():g} of the steps): {what}")
        return
    assert holds, f"this run does not show it: {what}"
    print(f"checked: {what}")
