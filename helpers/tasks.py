"""The course's data sets, their exact checkers, and a reader for your own JSONL or CSV file.

- ``load("routing", "test")``    rows of one split, as dicts with id, family, split, prompt, completion
- ``articles(version)``          the handbook that answers the questions of the set handbook, version 1 or 2
- ``chat(rows, system)``         the same rows as trl wants them: lists of messages
- ``check_answer(task, ...)``    parse, compare field by field, say what was wrong
- ``desk_style(reply)``          which of the desk's rules of style a reply keeps
- ``read(path)``                 your file: every bad line with its number and the reason, nothing dropped silently
- ``prose()``                    everyday technical English that nobody here wrote: the probe for forgetting
"""

from __future__ import annotations

import csv
import json
import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True)
class Task:
    """One data set: `system` prompt (at most 12 tokens), fields of its JSON answers (empty: a plain text answer)."""

    name: str
    system: str
    fields: tuple[str, ...] = ()
    columns: tuple[str, ...] = ("prompt", "completion")


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
        Task("tone", "Tallowmere desk. Reply to the customer.", (), ("prompt", "chosen", "rejected")),
        Task("handbook", "Answer from the handbook.", (), ("prompt", "completion", "article")),
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
    path = DATA / f"{name}.jsonl"
    if not path.exists():
        raise FileNotFoundError(f"data/{name}.jsonl is not there. `python data/make_data.py` writes it.")
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    if split is not None:
        splits = sorted({row["split"] for row in rows})
        rows = [row for row in rows if row["split"] == split]
        if not rows:
            raise ValueError(
                f"{name} has no split {split!r}: choose {' or '.join([', '.join(splits[:-1])] * (len(splits) > 1) + splits[-1:])}"
            )
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
    path = DATA / "handbook_articles.jsonl"
    if not path.exists():
        raise FileNotFoundError(f"data/{path.name} is not there. `python data/make_data.py` writes it.")
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    column = "text" if version == 1 else "text_v2"
    return [{"id": row["id"], "title": row["title"], "text": row[column]} for row in rows]


def chat(rows: list[dict], system: str) -> list[dict]:
    """Rows as trl's conversational prompt-completion format: the loss then covers the completion alone.

    >>> chat([{"prompt": "Hi", "completion": "Hello"}], "Be brief.")[0]["completion"]
    [{'role': 'assistant', 'content': 'Hello'}]
    """
    return [
        {
            "prompt": [{"role": "system", "content": system}, {"role": "user", "content": row["prompt"]}],
            "completion": [{"role": "assistant", "content": row["completion"]}],
        }
        for row in rows
    ]


# ---------------------------------------------------------------- checking answers


@dataclass(frozen=True)
class Verdict:
    """`exact`: every field right; `fields`: each one apart; `why`: the first fault in words, empty when exact."""

    exact: bool
    fields: dict[str, bool]
    why: str = ""


def check_answer(task: str, answer: str, expected: str, accepted: list[str] | None = None) -> Verdict:
    """Compare one answer with the expected one. JSON is compared by value, not by spelling; text by its words.

    With `accepted` (the everyday items) it is enough that the answer contains one of them as whole words.

    >>> check_answer("routing", '{"queue": "K7", "priority": 2, "product": "N4"}',
    ...              '{"queue":"K7","priority":1,"product":"N4"}')
    Verdict(exact=False, fields={'queue': True, 'priority': False, 'product': True}, why='priority is 2, should be 1')
    >>> check_answer("sentiment", " Good.", "good").exact
    True
    """
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
        return Verdict(False, nothing, f"not JSON: {answer.strip()[:40]!r}")
    if not isinstance(given, dict):
        return Verdict(False, nothing, f"not a JSON object: {answer.strip()[:40]!r}")
    missing = object()
    same = lambda a, b: type(a) is type(b) and a == b  # noqa: E731  (1 and "1" and True differ)
    fields = {
        k: same(given.get(k, missing), wanted.get(k, missing)) or (k not in given and k not in wanted) for k in names
    }
    extra = sorted(set(given) - set(names))
    why = ""
    if wrong := [k for k in names if not fields[k]]:
        k = wrong[0]
        why = (
            f"{k} is missing"
            if k not in given
            else f"{k} should not be there"
            if k not in wanted
            else f"{k} is {given[k]!r}, should be {wanted[k]!r}"
        )
    elif extra:
        why = f"unknown field {extra[0]!r}"
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


def _words(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


# ---------------------------------------------------------------- your own file


class DataError(ValueError):
    """A data file that cannot be used as it is; the message lists the lines, the reasons and the cure."""


@dataclass
class Report:
    """What `read` found: `rows` that are fine, `problems` as (line number, reason), `total` records seen."""

    path: str
    rows: list[dict] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    total: int = 0

    def __str__(self) -> str:
        lines = [f"{self.path}: {len(self.rows)} of {self.total} records can be used, {len(self.problems)} problems"]
        lines += [f"  line {number}: {reason}" for number, reason in self.problems[:20]]
        if len(self.problems) > 20:
            lines.append(f"  ... and {len(self.problems) - 20} more (Report.problems holds them all)")
        return "\n".join(lines)


def read(
    path: str | Path,
    columns: tuple[str, ...] = ("prompt", "completion"),
    strict: bool = True,
    max_length: int | None = None,
    length: Callable[[str], int] = len,
    one_answer: bool = True,
) -> Report:
    """Read your own rows from JSONL or CSV (by suffix), one pass, each row kept once.

    Every record must have all `columns` as non-empty text; other columns are kept. A row is over-long where
    `length` summed over the columns exceeds `max_length` (pass a token counter to count tokens). Exact duplicates
    are reported; so are equal prompts with different answers, which no model can learn (`one_answer=False` allows
    them: several preference pairs of one prompt).

    strict: DataError lists every problem. Otherwise the good rows come back, with the problems beside them.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} is not there (the notebook's folder is {Path.cwd().name}/): check the name")
    if path.suffix.lower() not in (".jsonl", ".csv"):
        raise DataError(f"{path.name}: only .jsonl (one JSON object a line) and .csv (with a header line) are read")
    report = Report(path.name)
    place: dict[str, int] = {}  # first column -> index into rows: the row's own text, nothing is kept twice
    numbers = array("L")
    records = _json_lines(path, report) if path.suffix.lower() == ".jsonl" else _csv_rows(path, columns, report)
    for number, row in records:
        reason = _row_fault(row, columns, max_length, length)
        if reason is None and (first := place.get(row[columns[0]])) is not None:
            if all(report.rows[first][c] == row[c] for c in columns):
                reason = f"the same as line {numbers[first]}: remove one"
            elif one_answer:
                reason = f"the same {columns[0]} as line {numbers[first]} with another answer: decide which is right"
        if reason is None:
            place[row[columns[0]]] = len(report.rows)
            numbers.append(number)
            report.rows.append(row)
        else:
            report.problems.append((number, reason))
    report.problems.sort()
    if not report.total:
        report.problems.append(
            (1, "no records: the file is empty" + (" below its header" if path.suffix.lower() == ".csv" else ""))
        )
    if (strict and report.problems) or not report.rows:
        hint = "\nMend these lines, or read(..., strict=False) to go on with the others." if report.rows else ""
        raise DataError(f"{report}{hint}")
    return report


def _row_fault(row, columns, max_length, length) -> str | None:
    if not isinstance(row, dict):
        return f"a JSON {type(row).__name__}, expected an object with {', '.join(columns)}"
    for name in columns:
        if row.get(name) is None:
            return f"no column {name!r}" + (
                f" (it has {', '.join(map(str, list(row)[:6]))})" if name not in row else ": it is empty"
            )
        if not isinstance(row[name], str):
            return f"{name!r} is a {type(row[name]).__name__}, expected text: put it in quotes"
        if not row[name].strip():
            return f"{name!r} is empty"
        if not row[name].isascii() and any("\ud800" <= c <= "\udfff" for c in row[name]):
            return f"{name!r} holds half of a character pair (a lone surrogate): the text was cut; write it again"
        if "\x00" in row[name]:
            return f"{name!r} holds a NUL character: the file was cut or is not text"
    if max_length is not None and (size := sum(length(row[c]) for c in columns)) > max_length:
        return (
            f"length {size}, more than {max_length}: shorten it, or raise the limit and the training length together"
        )
    return None


def _text_lines(path: Path, report: Report) -> Iterator[tuple[int, str]]:
    """Numbered lines as text; a line that is not UTF-8 becomes a problem, and the rest goes on."""
    with open(path, "rb") as file:
        start = file.read(4)
        if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{path.name} is UTF-16: save it again as UTF-8 (in Excel: 'CSV UTF-8')")
        file.seek(
            3 if start.startswith(b"\xef\xbb\xbf") else 0
        )  # a byte-order mark is not part of the first column's name
        for number, raw in enumerate(file, 1):
            try:
                yield number, raw.decode("utf-8")
            except UnicodeDecodeError as fault:
                report.total += 1
                report.problems.append(
                    (number, f"not UTF-8 at byte {fault.start + 1} of the line: save the file as UTF-8")
                )


def _json_lines(path: Path, report: Report) -> Iterator[tuple[int, dict]]:
    for number, line in _text_lines(path, report):
        if not line.strip():
            continue  # an empty line holds no record
        report.total += 1
        if "\x00" in line:
            report.problems.append((number, "holds a NUL character: the file was cut or is not text"))
            continue
        try:
            yield number, json.loads(line)
        except RecursionError:
            report.problems.append((number, "not JSON that can be read: nested too deeply"))
        except ValueError as fault:
            if not isinstance(fault, json.JSONDecodeError):
                report.problems.append((number, f"not JSON that can be read: {fault}"))
                continue
            hint = " (one JSON object a line, not a list over many lines)" if line.strip() in "[{" else ""
            report.problems.append((number, f"not JSON: {fault.msg} at column {fault.colno}{hint}"))


def _csv_rows(path: Path, columns: tuple[str, ...], report: Report) -> Iterator[tuple[int, dict]]:
    at = 0  # the physical line last read: a quoted text may span several

    def lines() -> Iterator[str]:
        nonlocal at
        for number, line in _text_lines(path, report):
            at = number
            yield line

    reader = csv.reader(lines(), strict=True)
    try:
        header = next(reader, None)
    except csv.Error as fault:
        raise DataError(
            f"{path.name}, line 1: not CSV: {fault}; save it again as CSV with Unix or Windows line ends"
        ) from fault
    if report.problems and report.problems[0][0] == 1:
        raise DataError(f"{path.name}, line 1: the header is {report.problems[0][1]}")
    if header is None:
        return
    header = [name.strip() for name in header]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(f"{path.name}, line 1: the column {', '.join(twice)} stands twice: rename one")
    if missing := [c for c in columns if c not in header]:
        raise DataError(
            f"{path.name}, line 1: no column {', '.join(missing)}; the header has {', '.join(header)}"
            + ("; it looks separated by semicolons: save it with commas" if ";" in ",".join(header) else "")
        )
    while True:
        start = at + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            report.total += 1
            open_quote = (
                f"; a quote opened here is never closed, lines {start} to {at} are unread" if at > start else ""
            )
            report.problems.append((start, f"not CSV: {fault}{open_quote}"))
            continue
        if not values:
            continue
        report.total += 1
        if len(values) != len(header):
            report.problems.append(
                (start, f"{len(values)} values, the header has {len(header)}: quote texts that hold commas")
            )
            continue
        yield start, dict(zip(header, values, strict=True))


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
    return [ids[i : i + block] for i in range(0, n_tokens - block + 1, block)]
