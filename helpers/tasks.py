"""The course's data sets and their exact checkers; your own file is read by `own_rows`.

- ``load("routing", "test")``    rows of one split, as dicts with id, family, split, prompt, completion
- ``articles(version)``          the handbook that answers the questions of the set handbook, version 1 or 2
- ``chat(rows, system)``         the same rows as trl wants them: lists of messages
- ``check_answer(task, ...)``    parse, compare field by field, say what was wrong
- ``desk_style(reply)``          which of the desk's rules of style a reply keeps
- ``prose()``                    everyday technical English that nobody here wrote: the probe for forgetting
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True)
class Task:
    """One data set: `system` prompt (at most 12 tokens), fields of its JSON answers (empty: a plain text answer)."""

    name: str
    system: str
    fields: tuple[str, ...] = ()


TASKS = {
    task.name: task
    for task in (
        Task("sentiment", "Is the review good or bad?"),
        Task("extract", "Tallowmere desk. Extract the fields as JSON.", ("order", "date", "count", "amount")),
        Task("routing", "Tallowmere desk. Route the ticket as JSON.", ("queue", "priority", "product")),
        Task("routing_words", "Tallowmere desk. Route the ticket as JSON.", ("queue", "priority", "product")),
        Task("routing_long", "Tallowmere desk. Route the ticket as JSON.", ("queue", "priority", "product")),
        Task("policy", "Tallowmere desk. Decide the case as JSON.", ("do", "post", "by")),
        Task("general", "Answer in a few words."),
        Task("tone", "Tallowmere desk. Reply to the customer."),
        Task("handbook", "Answer from the handbook."),
    )
}


def load(name: str, split: str | None = None, n: int | None = None, seed: int | None = None) -> list[dict]:
    """Rows of one set, or of one `split` of it; the first `n`, or `n` drawn at random with `seed`.

    >>> row = load("routing", "test", n=1)[0]
    >>> sorted(row)
    ['completion', 'family', 'id', 'prompt', 'split']
    >>> load("routing", "testing")
    Traceback (most recent call last):
    ...
    ValueError: routing has no split 'testing': choose test, train or valid
    """
    if name not in TASKS:
        raise ValueError(f"no set {name!r}: choose one of {', '.join(TASKS)}")
    rows = _read(name)
    if split is not None:
        splits = sorted({row["split"] for row in rows})
        rows = [row for row in rows if row["split"] == split]
        if not rows:
            choice = " or ".join([", ".join(splits[:-1])] * (len(splits) > 1) + splits[-1:])
            raise ValueError(f"{name} has no split {split!r}: choose {choice}")
    if n is not None:
        if not 0 < n <= len(rows):
            raise ValueError(f"n={n}: {name} {split or ''} has {len(rows)} rows")
        rows = rows[:n] if seed is None else random.Random(seed).sample(rows, n)
    return rows


def articles(version: int = 1) -> list[dict]:
    """The handbook's articles as id, title and text of that `version`; rows of the set handbook name them in `article`.

    >>> old, new = articles()[0], articles(version=2)[0]
    >>> old["id"], old["title"], "38 months" in old["text"], "26 months" in new["text"]
    ('A01', 'Brook kettle: guarantee and lime', True, True)
    >>> articles(version=3)
    Traceback (most recent call last):
    ...
    ValueError: no version 3 of the handbook: choose 1 or 2
    """
    if version not in (1, 2):
        raise ValueError(f"no version {version!r} of the handbook: choose 1 or 2")
    column = "text" if version == 1 else "text_v2"
    return [{"id": row["id"], "title": row["title"], "text": row[column]} for row in _read("handbook_articles")]


def _read(name: str) -> list[dict]:
    path = DATA / f"{name}.jsonl"
    if not path.exists():
        raise FileNotFoundError(f"data/{name}.jsonl is not there. `python -m data.make_data` writes it.")
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def chat(rows: list[dict], system: str, columns: tuple[str, str] = ("prompt", "completion")) -> list[dict]:
    """Rows as trl's conversational prompt-completion format: the loss then covers the completion alone.

    columns: the names of question and answer. ValueError for a row that lacks one of them, where one is no text, and for a row
    with turns of its own (system, history), which would be lost.

    >>> chat([{"prompt": "Hi", "completion": "Hello"}], "Be brief.")[0]["completion"]
    [{'role': 'assistant', 'content': 'Hello'}]
    """
    asked, said = columns
    for number, row in enumerate(rows):
        if missing := [name for name in columns if name not in row]:
            has = f"row {number} lacks {', '.join(missing)}, it has {', '.join(map(str, row))}"
            raise ValueError(
                f"{has}: chat(rows, system, columns=(...)) takes other names, own_rows.as_chat other forms"
            )
        if lost := [name for name in ("system", "history") if row.get(name)]:
            raise ValueError(f"row {number}: its {lost[0]!r} would be lost; own_rows.as_chat(row) keeps it")
        if odd := [name for name in columns if not isinstance(row[name], str)]:
            what = f"row {number}: {odd[0]!r} is a {type(row[odd[0]]).__name__}, not text"
            raise ValueError(f"{what}; json.dumps writes a record as text, own_rows.as_chat(row) takes turns")
    return [
        {
            "prompt": [{"role": "system", "content": system}, {"role": "user", "content": row[asked]}],
            "completion": [{"role": "assistant", "content": row[said]}],
        }
        for row in rows
    ]


# ---------------------------------------------------------------- checking answers


@dataclass(frozen=True)
class Verdict:
    """`exact`: every field right; `fields`: each one apart; `why`: the first fault in words, empty when exact; `fenced`: wrong
    for a code fence or other words around it alone."""

    exact: bool
    fields: dict[str, bool]
    why: str = ""
    fenced: bool = field(default=False, repr=False)


FENCE = re.compile(r"```\w*\s*(.*?)\s*```", re.DOTALL)
OBJECT = re.compile(r"\{.*\}", re.DOTALL)


def check_answer(task: str, answer: str, expected: str, accepted: list[str] | None = None) -> Verdict:
    """Compare one answer with the expected one. JSON is compared by value, not by spelling; text by its words.

    With `accepted` (the everyday items) it is enough that the answer contains one of them as whole words; in a script without
    spaces each character is one. What a model thinks first (up to </think>) is not looked at. Right JSON inside a code fence, or
    with words before or after it, is wrong, and marked `fenced`. ValueError for an unknown task.

    >>> check_answer("routing", '{"queue": "K7", "priority": 2, "product": "N4"}',
    ...              '{"queue":"K7","priority":1,"product":"N4"}')
    Verdict(exact=False, fields={'queue': True, 'priority': False, 'product': True}, why='priority is 2, should be 1')
    >>> check_answer("sentiment", " Good.", "good").exact
    True
    """
    if task not in TASKS:
        raise ValueError(
            f"no set {task!r}: choose one of {', '.join(TASKS)}; of own rows compare the answers in your own check"
        )
    answer = answer.rpartition("</think>")[2]
    if not TASKS[task].fields:
        said = f" {_words(answer)} "
        right = any(f" {_words(a)} " in said for a in accepted) if accepted else said.strip() == _words(expected)
        return Verdict(right, {"answer": right}, "" if right else f"{answer.strip()[:40]!r}, should be {expected!r}")
    wanted = json.loads(expected)
    names = TASKS[task].fields
    nothing = dict.fromkeys(names, False)
    try:
        given = json.loads(answer)
    except json.JSONDecodeError:
        why = f"not JSON: {answer.strip()[:40]!r}"
        if inside := FENCE.search(answer):
            inner = check_answer(task, inside[1], expected)
            cure = "ask for JSON without a fence, or take the fence off before it is parsed"
            why = f"inside a code fence: {inner.why}" if inner.why else f"right, but inside a code fence: {cure}"
            return Verdict(False, nothing, why, fenced=inner.exact)
        inside = OBJECT.search(answer)
        if inside and inside[0] != answer.strip() and check_answer(task, inside[0], expected).exact:
            why = "right, but with words around it: ask for JSON alone, or cut it out before it is parsed"
            return Verdict(False, nothing, why, fenced=True)
        return Verdict(False, nothing, why)
    if not isinstance(given, dict):
        return Verdict(False, nothing, f"not a JSON object: {answer.strip()[:40]!r}")
    missing = object()
    same = lambda a, b: type(a) is type(b) and a == b  # noqa: E731  (1 and "1" and True differ)
    fields = {
        k: same(given.get(k, missing), wanted.get(k, missing)) or (k not in given and k not in wanted) for k in names
    }
    extra = sorted(set(given) - set(names))
    why = f"unknown field {extra[0]!r}" if extra else ""
    if wrong := [k for k in names if not fields[k]]:
        k = wrong[0]
        why = f"{k} is {given[k]!r}, should be {wanted[k]!r}" if k in given and k in wanted else f"{k} is missing"
        why = f"{k} should not be there" if k not in wanted else why
    return Verdict(not why, fields, why)


WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CLOSING = "Warm regards, the Tallowmere desk"


def desk_style(reply: str) -> dict[str, bool]:
    """Which of the desk's five rules of style a reply keeps: every chosen reply of `tone` keeps them all.

    greeting: begins with "Hello"; promise: says "we will"; day: names a weekday; closing: ends as the desk does;
    calm: no exclamation mark. What no rule can check (fresh words, no blame) is left to the pairs.

    >>> desk_style("Hello Bo! It will turn up. Cheers")
    {'greeting': True, 'promise': False, 'day': False, 'closing': False, 'calm': False}
    """
    return {
        "greeting": reply.startswith("Hello"),
        "promise": "we will" in reply.lower(),
        "day": any(day in reply for day in WEEKDAYS),
        "closing": reply.endswith(CLOSING),
        "calm": "!" not in reply,
    }


ALONE = re.compile("([\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff])")


def _words(text: str) -> str:  # Thai, kana, Chinese characters and Hangul: each is a word
    return " ".join("".join(c if c.isalnum() else " " for c in ALONE.sub(r" \1 ", text.lower())).split())


# ---------------------------------------------------------------- the probe


def prose(n_tokens: int = 4096, tokenizer=None, block: int = 256) -> list:
    """Blocks of technical English from Python's own help texts (`pydoc_data.topics`), read at run time.

    Nobody here wrote or chose it, and no answer of any model was looked at. Without a tokenizer: the texts themselves.
    Returns `n_tokens // block` lists of `block` ids. The text differs slightly between Python versions, so compare
    two models on one machine, never a loss on this machine with one in a file.
    """
    from pydoc_data.topics import topics

    texts = [topics[name] for name in sorted(topics)]
    if tokenizer is None:
        return texts
    ids: list[int] = []
    for text in texts:
        if len(ids) >= n_tokens:
            break
        ids += tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) < n_tokens:
        raise ValueError(f"prose of {n_tokens} tokens was asked for; the texts hold {len(ids)}: ask for fewer")
    return [ids[i : i + block] for i in range(0, n_tokens - block + 1, block)]
