"""The same tickets, taught by different teachers: the clerks' raw logs, one format, and one format with a short reason first.

    python -m data.teachers          a ticket in each teacher's words

Every teacher tells the same three things (queue, priority, product) about the same tickets; only the wording of the answer
differs. `read_answer()` finds the three in any of them, so that no teacher wins by its format.
"""

from __future__ import annotations

import json
import random
import re
from functools import lru_cache

from data import make_data
from helpers.company import PRIORITIES, PRODUCTS, QUEUES

TEACHERS = ("raw logs", "one format", "reason, stiff words", "reason, own words")
QUEUE_OF = {code: queue for queue, code in QUEUES.items()}
KIND_OF = {code: kind for kind, (_, _, code) in PRODUCTS.items()}
LEVEL_OF = {code: section for section, (code, _) in PRIORITIES.items()}


def wording() -> dict[str, list[str]]:
    """The clerks' `log` lines, and four ways to say each queue (`delivery` ...) and priority (`p1` ...)."""
    return make_data.read_wording("desk_logs")


def teach(row: dict, teacher: str, words: dict[str, str] | None = None) -> str:
    """One routing row's answer as `teacher` writes it. `words`: how to say each queue and priority, for the reasons.

    >>> row = {"id": "routing-train-0000", "completion": '{"queue":"K7","priority":1,"product":"N4"}'}
    >>> teach(row, "reason, own words", {"delivery": "parcel late", "p1": "today"})
    '{"why":"parcel late, today, kettle","queue":"K7","priority":1,"product":"N4"}'
    >>> read_answer(teach(row, "raw logs"))
    {'queue': 'K7', 'priority': 1, 'product': 'N4'}
    """
    answer = json.loads(row["completion"])
    if teacher == "raw logs":
        line = random.Random(f"log {row['id']}").choice(wording_log())
        return line.format(**answer)
    if teacher == "one format":
        return row["completion"]
    if teacher not in TEACHERS:
        raise ValueError(f"no teacher {teacher!r}: choose one of {', '.join(TEACHERS)}")
    why = ", ".join(
        (words[QUEUE_OF[answer["queue"]]], words[LEVEL_OF[answer["priority"]]], KIND_OF[answer["product"]])
    )
    return make_data.dumps({"why": why} | answer)


@lru_cache
def wording_log() -> list[str]:
    """The clerks' log lines."""
    return wording()["log"]


CODES = re.compile(r"\b(" + "|".join([*QUEUE_OF, *KIND_OF]) + r")\b")


def read_answer(text: str) -> dict:
    """Queue, priority and product named in an answer of any form: the first code of each kind, the first lone 1, 2 or 3.

    What is not named is missing. A code that names nothing is ignored.

    >>> read_answer("sent on to K7 (2) re N4")
    {'queue': 'K7', 'priority': 2, 'product': 'N4'}
    >>> read_answer("no idea")
    {}
    """
    found = {}
    for code in CODES.findall(text):
        found.setdefault("queue" if code in QUEUE_OF else "product", code)
    rest = re.sub(r'"why":"[^"]*"', "", CODES.sub(" ", text))
    if digit := re.search(r"(?<![0-9])([123])(?![0-9])", rest):
        found["priority"] = int(digit[1])
    return {k: found[k] for k in ("queue", "priority", "product") if k in found}


def main() -> None:
    row = make_data.routing_rows()[0]
    words = {name: options[0] for name, options in wording().items()}
    stiff = {name: options[-1] for name, options in wording().items()}
    print(row["prompt"])
    for teacher in TEACHERS:
        print(f"{teacher:20} {teach(row, teacher, stiff if 'stiff' in teacher else words)}")


if __name__ == "__main__":
    main()
