"""How long a notebook runs: the live size, the long size, and a multiplier for a quick check.

- ``COURSE_SIZE=long``   more steps and all test rows, for a GPU or for patience
- ``COURSE_STEPS=0.05``  a twentieth of the optimizer steps: does it run at all? Claims are then not asserted
"""

from __future__ import annotations

import os


def multiplier() -> float:
    """`COURSE_STEPS`, 1 without it. ValueError for anything but a number above 0.

    >>> multiplier()
    1.0
    """
    text = os.environ.get("COURSE_STEPS", "1")
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


def pick(live, long):
    """`live`, or `long` with COURSE_SIZE=long."""
    size = os.environ.get("COURSE_SIZE", "live")
    if size not in ("live", "long"):
        raise ValueError(f"COURSE_SIZE={size!r}: choose live or long")
    return long if size == "long" else live


def steps(live: int, long: int | None = None) -> int:
    """Optimizer steps of this run: at least 2.

    >>> steps(36)
    36
    """
    return max(2, round(pick(live, long or live) * multiplier()))


def claim(holds: bool, what: str) -> None:
    """Assert one claim of a notebook and print it; a shortened run says that it skipped it.

    >>> claim(0.6 > 0.5, "tuned beats base")
    checked: tuned beats base
    """
    if not is_full():
        print(f"not checked in a shortened run (COURSE_STEPS={multiplier():g}): {what}")
        return
    assert holds, f"this run does not show it: {what}"
    print(f"checked: {what}")
