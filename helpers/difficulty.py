"""Twelve tasks of rising difficulty on the company's tickets, made by the knobs of `make_data`.

The knobs: how many codes an answer is chosen from (2, 8, 16), codes or telling names, one answer or a record of three, how
many rules a decision follows (1, 3, 8, 10). `task()` builds one task; nothing is written to disk. The tickets of
`codes-8` and `names-8` are the same, and so are those of `routing` and `routing_words`: prior knowledge is the only difference.
"""

from __future__ import annotations

import json
from functools import lru_cache

from data import make_data

from .company import PRIORITIES, PRODUCTS, QUEUE_HINTS, QUEUES
from .tasks import TASKS

ROUTE = "Tallowmere desk. Route the ticket: one code."
NAMES = (
    "sentiment", "extract", "codes-2", "codes-8", "codes-16", "names-8",
    "routing", "routing_words", "policy-1", "policy-3", "policy-8", "policy-10",
)  # fmt: skip
SIXTEEN = dict(  # (queue, happens today or tomorrow): code
    zip(
        [(q, now) for q in QUEUES for now in (True, False)],
        "R8 M3 Z5 D1 Q7 L2 N9 V4 J6 P5 E3 Y8 G2 S9 U1 A7".split(),
    )
)


@lru_cache(maxsize=len(NAMES))
def task(name: str) -> dict:
    """One of the twelve: `{"rows": [...], "system": ..., "rules": ...}`; rules are what a good prompt would say.

    rows: id, family, split, prompt, completion. ValueError for a name that is not in `NAMES`.

    >>> sorted({r["completion"] for r in task("codes-2")["rows"]})
    ['B2', 'K7']
    >>> task("codes-3")
    Traceback (most recent call last):
    ...
    ValueError: no task 'codes-3': choose one of sentiment, extract, codes-2, codes-8, codes-16, names-8, \
routing, routing_words, policy-1, policy-3, policy-8, policy-10
    """
    if name not in NAMES:
        raise ValueError(f"no task {name!r}: choose one of {', '.join(NAMES)}")
    kind, _, knob = name.partition("-")
    if name == "sentiment":
        rows, system = make_data.sentiment_rows(), TASKS["sentiment"].system
        rules = "Answer with one word: good if the customer is content, else bad."
    elif name == "extract":
        sizes = make_data.EXTRACT_SIZES | {"train": 4000}
        rows, system = make_data.extract_rows(sizes), TASKS["extract"].system
        rules = (
            'Fields, only those mentioned: "order" as text of 4 digits, "date" as month and day such as "0314", '
            '"count" and "amount" (dollars) as numbers. JSON without spaces.'
        )
    elif kind == "policy":
        rows, system = make_data.policy_rows(int(knob)), TASKS["policy"].system
        rules = (
            " ".join(make_data.RULES[: int(knob)])
            + ' Answer as {"do":"refund|repair|swap|refuse|voucher","post":"us|you","by":"desk|lead"}.'
        )
    else:
        rows, system, rules = _tickets(name, kind, int(knob or 8))
    kept = ("id", "family", "split", "prompt", "completion")
    return {"rows": [{k: r[k] for k in kept} | {"task": name} for r in rows], "system": system, "rules": rules}


def _tickets(name: str, kind: str, knob: int) -> tuple[list[dict], str, str]:
    """Routing whole (three fields), or its queue alone in 2, 8 or 16 codes, or in eight names."""
    words = kind in ("names", "routing_words")
    rows = make_data.routing_rows(telling=True, n_queues=min(knob, 8))
    now = "happens today or tomorrow"
    if kind in ("routing", "routing_words"):
        rows = rows if words else make_data.routing_rows()
        queues = [f"{q} ({h})" if words else f"{QUEUES[q]} ({q}: {h})" for q, h in QUEUE_HINTS.items()]
        levels = [label if words else str(code) for code, label in PRIORITIES.values()]
        products = [k if words else f"{v[2]} {k}" for k, v in PRODUCTS.items()]
        rules = (
            f"Queues: {', '.join(queues)}. Priority: {levels[0]} if something {now}, {levels[1]} if the customer "
            f"asked before, else {levels[2]}. Products: {', '.join(products)}."
        )
        return rows, TASKS[kind].system, rules
    asked = list(QUEUE_HINTS)[:knob]
    if knob == 16:
        shown = [f"{SIXTEEN[q, True]} or {SIXTEEN[q, False]} ({q}: {QUEUE_HINTS[q]})" for q in QUEUE_HINTS]
        rules = f"Codes: {', '.join(shown)}. The first of each pair if something {now}, else the second."
    else:
        shown = [f"{q} ({QUEUE_HINTS[q]})" if words else f"{QUEUES[q]} ({q}: {QUEUE_HINTS[q]})" for q in asked]
        rules = f"{'Queues' if words else 'Codes'}: {', '.join(shown)}."

    def answer(record: dict) -> str:
        queue = record["queue"]
        if knob == 16:
            return SIXTEEN[queue, record["priority"] == "urgent"]
        return queue if words else QUEUES[queue]

    rows = [r | {"completion": answer(json.loads(r["completion"]))} for r in rows]
    return rows, ROUTE.replace("code", "queue") if words else ROUTE, rules
