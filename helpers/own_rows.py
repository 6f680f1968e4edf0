"""Your own rows and pairs: each fault is reported with its line and the reason, and nothing is dropped silently.

- ``read(path)``         rows from JSONL, a JSON array, CSV or TSV, gzipped or not
- ``as_chat(row)``       a row of another form (messages, ShareGPT, alpaca) as trl's prompt and completion
- ``check_pairs(rows)``  preference pairs: every pair that cannot teach, and whether length gives the label away
- ``as_pair(row)``       a pair of another form (ShareGPT, alpaca) as trl's prompt, chosen and rejected
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

# ---------------------------------------------------------------- rows


class DataError(ValueError):
    """A data file that cannot be used as it is; the message lists the lines, the reasons and the cure."""


@dataclass
class Report:
    """What `read` found: `rows` that are fine, and the others as `problems`: (number, reason). The number is the line in the file;
    in a JSON array, whose rows may span lines, the row's place (`unit`)."""

    path: str
    rows: list[dict] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    unit: str = "line"

    @property
    def total(self) -> int:
        """Records seen."""
        return len(self.rows) + len(self.problems)

    def __str__(self) -> str:
        return self._listed(f"{self.path}: {len(self.rows)} of {self.total} records")

    def _listed(self, head: str) -> str:
        lines = [f"{head} can be used, {len(self.problems)} problems"]
        lines += [f"  {self.unit} {number}: {reason}" for number, reason in self.problems[:20]]
        if len(self.problems) > 20:
            lines.append(f"  ... and {len(self.problems) - 20} more ({type(self).__name__}.problems holds them all)")
        return "\n".join(lines)


def read(
    path: str | Path, columns: tuple[str, ...] = ("prompt", "completion"), strict: bool = True, max_length: int | None = None,
    length: Callable[[str], int] = len, one_answer: bool = True, encoding: str = "utf-8", optional: tuple[str, ...] = (),
) -> Report:  # fmt: skip
    """Read your own rows from .jsonl, .json (an array), .csv or .tsv, each also as .gz, one pass, each row kept once.

    Every record must have all `columns` as non-empty text, but for those that are `optional`; other columns are kept. A row is
    over-long where `length` summed over the columns exceeds `max_length` (pass a token counter to count tokens). Exact
    duplicates are reported; so are rows that differ in the last column alone, the answer, which no model can learn
    (`one_answer=False` allows them).

    encoding: of the file. Where it is not UTF-8, the error names the likely one to write here.
    Rows of other forms (messages, ShareGPT, alpaca) are named and refused, with the line that converts them.

    strict: DataError lists every problem. Otherwise the good rows come back, with the problems beside them.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} is not there (the notebook's folder is {Path.cwd().name}/): check the name")
    if path.is_dir():
        raise DataError(f"{path.name} is a folder: name a file in it")
    with _open(path) as file:
        what, reader = BINARY.get(file.read(4), ("", ""))
    if what:
        way = f"pandas.{reader.format(path.name)}.to_json('rows.jsonl', orient='records', lines=True)"
        raise DataError(f"{path.name} is {what}: {way} makes a file that is read here")
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise DataError(
            f"encoding {encoding!r} is unknown: utf-8, gb18030, big5, shift_jis and cp1252 are usual"
        ) from None
    kind = Path(path.name.lower().removesuffix(".gz")).suffix
    if kind not in (".jsonl", ".ndjson", ".json", ".csv", ".tsv"):
        kinds = ".jsonl (one JSON object a line), .json (an array), .csv and .tsv (with a header line)"
        raise DataError(f"{path.name}: only {kinds} are read")
    report = Report(path.name)
    asked = (columns[:-1] if one_answer else columns) or columns
    place: dict = {}  # what is asked -> index into rows: one column's own text, nothing is kept twice
    numbers = array("L")
    tables = kind in (".csv", ".tsv")
    needed = tuple(c for c in columns if c not in optional)
    records = (_csv_rows if tables else _json_rows)(path, needed, report, encoding)
    for number, row in records:
        if not report.rows and not report.problems and isinstance(row, dict) and not set(needed) <= set(row):
            if (form := form_of(row)) not in ("", "prompt and completion"):
                raise DataError(f"{path.name} holds rows of the form {form}: {_way(row, form, path.name)}")
        reason = _row_fault(row, columns, max_length, length, optional)
        if reason is None:
            key = row[asked[0]] if len(asked) == 1 else tuple(map(row.get, asked))
        if reason is None and (first := place.get(key)) is not None:
            if all(report.rows[first].get(c) == row.get(c) for c in columns):
                reason = f"the same as {report.unit} {numbers[first]}: remove one"
            else:
                same = f"the same {', '.join(asked)} as {report.unit} {numbers[first]}"
                reason = f"{same} with another answer: decide which is right"
        if reason is None:
            place[key] = len(report.rows)
            numbers.append(number)
            report.rows.append(row)
        else:
            report.problems.append((number, reason))
    report.problems.sort()
    if not report.total:
        raise DataError(f"{path.name}, line 1: no records: the file is empty{' below its header' * tables}")
    if (strict and report.problems) or not report.rows:
        hint = (
            f"\nMend these {report.unit}s, or read(..., strict=False) to go on with the others." if report.rows else ""
        )
        raise DataError(f"{report}{hint}")
    return report


HIDDEN = {
    "\u200b": "a zero-width space", "\ufeff": "a byte-order mark", "\u2060": "a word joiner",
    "\ufffd": "\ufffd, left by an earlier wrong decoding",
    **{chr(c): "a control character" for c in (*range(1, 32), *range(127, 160)) if chr(c) not in "\t\n\r"},
    **{chr(c): "a mark of writing direction" for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}  # fmt: skip
MISSING = {"nan", "none", "null", "#n/a", "#ref!", "#value!", "#div/0!", "n/a", "<na>"}


BINARY = {  # first bytes: what the file is, and what reads it
    b"PK\x03\x04": ("an Excel workbook, or another zip", "read_excel({!r}, dtype=str, keep_default_na=False)"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "read_excel({!r}, dtype=str, keep_default_na=False)"),
    b"PAR1": ("a Parquet file", "read_parquet({!r})"),
}


def _row_fault(row, columns, max_length, length, optional=()) -> str | None:
    if not isinstance(row, dict):
        return f"a JSON {type(row).__name__}, expected an object with {', '.join(columns)}"
    for name in columns:
        if name in optional and row.get(name) in (None, ""):
            continue
        if row.get(name) is None:
            has = f" (it has {', '.join(map(str, list(row)[:6]))}): read(..., columns=...) takes other names"
            return f"no column {name!r}" + (": it is empty" if name in row else has)
        if row[name] != row[name]:
            return f"{name!r} is NaN: a missing value"
        if not isinstance(row[name], str):
            cure = "put it in quotes"
            if isinstance(row[name], dict | list):
                cure = "write it with json.dumps; chats (lists of turns) are as trl takes them, preflight checks those"
            return f"{name!r} is a {type(row[name]).__name__}, expected text: {cure}"
        if not row[name].strip():
            return f"{name!r} is empty"
        if not row[name].isascii() and any("\ud800" <= c <= "\udfff" for c in row[name]):
            return f"{name!r} holds half of a character pair (a lone surrogate): the text was cut; write it again"
        if "\x00" in row[name]:
            return f"{name!r} holds a NUL character: the file was cut or is not text"
        if hidden := sorted({c for c in row[name] if c in HIDDEN}):
            return f"{name!r} holds {', '.join(HIDDEN[c] for c in hidden)}: nobody sees it, the model learns it; remove it"
        if row[name].strip().lower() in MISSING:
            return f"{name!r} is {row[name].strip()!r}: a missing value that some program wrote as text"
    if max_length is not None and (size := sum(length(row.get(c) or "") for c in columns)) > max_length:
        return f"length {size}, more than {max_length}: shorten it, or raise this limit and the training length"
    return None


def _open(path: Path):
    """The file's bytes, unpacked where it is a gzip, whatever its name."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else open(path, "rb")


def _other_encoding(path: Path, raw: bytes) -> str:
    """How to read a file that is not UTF-8: the likely encoding, with what the line is in it, so that a person can judge."""
    from charset_normalizer import from_bytes

    with _open(path) as file:
        likely = ["gb18030", "big5", "shift_jis", "cp1252"]
        best = from_bytes(file.read(1 << 20), cp_isolation=likely, threshold=0.5).best()
    if best is None:
        return "save the file as UTF-8"
    text = raw.decode(best.encoding, "replace").strip()[:40]
    return f"if {text!r} reads right, read(..., encoding={best.encoding!r}); else save the file as UTF-8"


def _text_lines(path: Path, report: Report, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Numbered lines as text; one that is not in the encoding becomes a problem, and comes with � for what cannot be read."""
    cure = ""
    with _open(path) as file:
        start = file.read(4)
        file.seek(3 * start.startswith(b"\xef\xbb\xbf"))  # a byte-order mark is not part of the first column's name
        if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
            if codecs.lookup(encoding).name != "utf-16":
                raise DataError(f"{path.name} is UTF-16: read(..., encoding='utf-16'), or save it again as UTF-8")
            file, encoding = io.BytesIO(file.read().decode("utf-16", "replace").encode()), "utf-8"
        for number, raw in enumerate(file, 1):
            try:
                yield number, raw.decode(encoding)
            except UnicodeDecodeError as fault:
                cure = "as above" if cure else _other_encoding(path, raw)
                at = f"not {encoding.upper()} at byte {fault.start + 1} of the line"
                report.problems.append((number, f"{at}: {cure}"))
                yield number, raw.decode(encoding, "replace")


def _is_bad(report: Report, start: int) -> bool:
    """Whether a line from `start` on could not be read."""
    return bool(report.problems) and report.problems[-1][0] >= start


def _once(pairs: list[tuple]) -> dict:
    """A JSON object; a key that stands twice is an error, since one of its values would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} stands twice")
    return found


def _json_rows(path: Path, columns: tuple[str, ...], report: Report, encoding: str) -> Iterator[tuple[int, dict]]:
    """Numbered records of a JSON array (by place), or of one object a line (by line)."""
    with _open(path) as file:
        is_array = file.read(64).lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith(b"[")
    if is_array:
        text = "".join(line for _, line in _text_lines(path, report, encoding))
        if report.problems:  # without these lines the array could still be read, and would be another one
            number, reason = report.problems[0]
            raise DataError(f"{path.name}, line {number}: {reason}")
        try:
            rows = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as fault:
            raise DataError(f"{path.name} begins like a JSON array and is none: {fault}") from fault
        report.unit = "row"
        yield from enumerate(rows, 1)
        return
    for number, line in _text_lines(path, report, encoding):
        if not line.strip() or _is_bad(report, number):
            continue  # an empty line holds no record
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except RecursionError:
            reason = "not JSON that can be read: nested too deeply"
        except json.JSONDecodeError as fault:
            hint = " (the line ends in a comma: remove it)" if line.rstrip().endswith("},") else ""
            hint = " (one JSON object a line, not one over many lines)" if line.strip() == "{" else hint
            reason = f"not JSON: {fault.msg} at column {fault.colno}{hint}"
            reason = "holds a NUL character: the file was cut or is not text" if "\x00" in line else reason
        except ValueError as fault:
            reason = f"not JSON that can be read: {fault}"
        else:
            yield number, row
            continue
        report.problems.append((number, reason))


def _csv_rows(path: Path, columns: tuple[str, ...], report: Report, encoding: str) -> Iterator[tuple[int, dict]]:
    numbered = _text_lines(path, report, encoding)
    at, first = next(numbered, (0, ""))  # at: the physical line last read; a quoted text may span several
    if report.problems:
        raise DataError(f"{path.name}, line 1: the header is {report.problems[0][1]}")
    if not at:
        return

    def lines() -> Iterator[str]:
        nonlocal at
        yield first
        for at, line in numbered:  # noqa: B007
            yield line

    csv.field_size_limit(1 << 30)  # a long cell is a long row, and no reason to lose count of the lines
    names = {name.lower() for name in columns}
    known = lambda sign: sum(name.strip(' "\r\n') in names for name in first.lower().split(sign))
    between = max(",;\t", key=known)  # the sign that separates the most of the wanted columns; a tie goes to the comma
    reader = csv.reader(lines(), strict=True, delimiter=between)
    try:
        header = [name.strip() for name in next(reader)]
    except csv.Error as fault:
        cure = "save it again as CSV with Unix or Windows line ends"
        raise DataError(f"{path.name}, line 1: not CSV: {fault}; {cure}") from fault
    while len(header) > 1 and not header[-1]:
        header.pop()  # what a spreadsheet leaves on the right: a value there is a problem below
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(f"{path.name}, line 1: the column {', '.join(twice)} stands twice: rename one")
    if missing := [c for c in columns if c not in header]:
        read_as = f"read(..., columns={tuple(header[: len(columns)])}) takes other names"
        if (form := form_of(row := dict.fromkeys(header, "text"))) in ASKED_SAID:
            read_as = _way(row, form, path.name)
        looks = "; it looks separated by semicolons" if ";" in ",".join(header) else ""
        has = f"no column {', '.join(missing)}; the header has {', '.join(header)}{looks}"
        raise DataError(f"{path.name}, line 1: {has}: {read_as}")
    while True:
        start = at + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            unread = f"; a quote opened here is never closed, lines {start} to {at} are unread" * (at > start)
            report.problems.append((start, f"not CSV: {fault}{unread}"))
            continue
        while len(values) > len(header) and not values[-1]:
            values.pop()
        if not any(values) or _is_bad(report, start):
            continue  # an empty line, one of separators alone, or a record that is not whole
        if len(values) != len(header):
            cure = "quote texts that hold commas"
            if any(value.startswith(' "') for value in values):
                cure = "remove the space before a quote, which hides it"
            reason = f"{len(values)} values, the header has {len(header)}: {cure}"
            report.problems.append((start, reason))
            continue
        yield start, dict(zip(header, values, strict=True))


# ---------------------------------------------------------------- other forms

ROLES = dict(human="user", user="user", gpt="assistant", assistant="assistant", model="assistant", system="system")
NOT_CONVERTED = ("tools", "functions", "images", "videos", "audios", "chosen", "rejected")
FORMS = {  # in this order: the form, and the columns that show it
    "preference pair": [{"chosen", "rejected"}, {"chosen_messages", "rejected_messages"}],
    "messages": [{"messages"}],
    "ShareGPT": [{"conversations"}, {"conversation"}],
    "alpaca": [{"instruction", "output"}],
    "query and response": [{"query", "response"}],
    "prompt and completion": [{"prompt", "completion"}],
}
ASKED_SAID = {"alpaca": ("instruction", "output"), "query and response": ("query", "response")}  # else as trl


def form_of(row: dict) -> str:
    """The form of a row by its columns; "" where it is none of these.

    >>> form_of({"conversations": []}), form_of({"instruction": "a", "output": "b"}), form_of({"ticket": "c"})
    ('ShareGPT', 'alpaca', '')
    """
    if set(row) == {"text"}:
        return "plain text"
    return next((form for form, ways in FORMS.items() if any(columns <= set(row) for columns in ways)), "")


def _way(row: dict, form: str, file: str) -> str:
    """What to do with a file of rows of this form: the line that converts them, or why none does."""
    if form == "plain text":
        return "there is no question in it to answer; it is for further pretraining, which this course does not teach"
    name = "as_pair" if form == "preference pair" else "as_chat"
    try:
        (as_pair if form == "preference pair" else as_chat)(row)
    except DataError as fault:
        return f"own_rows.{name}(row) refuses the first: {fault}"
    rows = f"datasets.load_dataset('json', data_files={file!r}, split='train')"
    if form in ASKED_SAID:
        asked, said = ASKED_SAID[form]
        columns = (asked, "input", said) if form == "alpaca" else (asked, said)
        rows = f"own_rows.read({file!r}, columns={columns}, optional=('input',)).rows"
    return f"own_rows.{name}(row) converts one: [own_rows.{name}(row) for row in {rows}]"


def _turns(part: list) -> Iterator[tuple]:
    """(role, text) of each turn; a pair {"human": ..., "assistant": ...} is two, text in parts is joined."""
    for turn in part:
        if called := [k for k in ("tool_calls", "function_call", "reasoning_content") if turn.get(k)]:
            raise DataError(f"a turn's {called[0]!r} would be lost: this row needs a template that knows it")
        if set(turn) and set(turn) <= set(ROLES):
            yield from turn.items()
            continue
        text = turn.get("content", turn.get("value"))
        if isinstance(text, list) and all(isinstance(piece, dict) and piece.get("type") == "text" for piece in text):
            text = "".join(str(piece.get("text", piece.get("value", ""))) for piece in text)
        yield turn.get("role", turn.get("from")), text


def as_chat(row: dict) -> dict:
    """A row as trl's {"prompt": [messages], "completion": [one message]}; what it does not use is kept beside.

    Read are: messages (also with text in parts); ShareGPT (also with pairs of human and assistant); alpaca with input, system and
    history; query and response; prompt and completion as text or messages, with system and history. DataError where the row has none of these forms, does not end with an assistant, or has what would be lost.

    >>> as_chat({"instruction": "Add.", "input": "1 2", "output": "3", "id": 7})["prompt"]
    [{'role': 'user', 'content': 'Add.\\n1 2'}]
    >>> as_chat({"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]})["completion"]
    [{'role': 'assistant', 'content': 'Ho'}]
    """
    form = form_of(row)
    if form in ("", "plain text"):
        has = ", ".join(map(str, row))
        raise DataError(
            f"columns {has}: neither messages, ShareGPT, alpaca nor prompt and completion; rename them to those"
        )
    if isinstance(row.get("label"), bool):
        raise DataError(
            "the column 'label' says whether the answer is wanted: keep the wanted rows, without that column"
        )
    if form == "preference pair":
        raise DataError("the column 'chosen' would be lost: own_rows.as_pair(row) converts a preference pair")
    if lost := [name for name in NOT_CONVERTED if row.get(name)]:
        raise DataError(f"the column {lost[0]!r} would be lost: this row needs a template that knows it")
    said = lambda role, text: {"role": role, "content": text}
    turns = [said("system", row["system"])] if row.get("system") else []
    for pair in row.get("history") or ():
        turns += [said("user", pair[0]), said("assistant", pair[1])]
    used = {"system", "history"}
    if form in ("messages", "ShareGPT"):
        name = next(n for n in ("messages", "conversations", "conversation") if n in row)
        if not isinstance(row[name], list) or not all(isinstance(turn, dict) for turn in row[name]):
            raise DataError(f"{name!r} is no list of turns, each with its role and text")
        for role, text in _turns(row[name]):
            if role not in ROLES or not isinstance(text, str):
                what = f"a turn of role {role!r} with {type(text).__name__} content"
                raise DataError(f"{what}: only text of {', '.join(ROLES)}")
            turns.append(said(ROLES[role], text))
        used.add(name)
    else:
        names = ASKED_SAID.get(form, ("prompt", "completion"))
        asked, answer = (row[name] for name in names)
        if form == "alpaca":
            asked = "\n".join(filter(None, (asked, row.get("input"))))
            used.add("input")
        for role, part in (("user", asked), ("assistant", answer)):
            whole = form == "prompt and completion" and isinstance(part, list)  # messages, as trl takes them
            turns += part if whole else [said(role, part)]
        used |= {*names}
    if not all(isinstance(turn, dict) and isinstance(turn.get("content"), str) for turn in turns):
        raise DataError("a turn has no text: give each its role and content")
    if len(turns) < 2 or turns[-1].get("role") != "assistant":
        raise DataError("the last turn is not the assistant's: there is nothing to learn")
    return {k: v for k, v in row.items() if k not in used} | {"prompt": turns[:-1], "completion": turns[-1:]}


# ---------------------------------------------------------------- pairs


@dataclass
class PairReport(Report):
    """What `check_pairs` found: as `Report`, with row numbers from 1 and the leak by length."""

    path: str = ""
    unit: str = "row"
    longer_wins: float = float("nan")  # share of fine pairs whose chosen answer is the longer one; ties count half

    @property
    def leaks(self) -> bool:
        """Whether length alone tells the label in more than 60% of the pairs, beyond chance (95%, normal formula)."""
        away = abs(self.longer_wins - 0.5)
        return away > 0.10 and away > 1.96 * math.sqrt(0.25 / max(len(self.rows), 1))

    def __str__(self) -> str:
        text = self._listed(f"{len(self.rows)} of {self.total} pairs")
        if not self.rows:
            return text
        few = len(self.rows) < 4  # chance alone gives any share
        word = (
            "too few pairs to tell"
            if few
            else "length gives the label away: balance it, or it is what the model learns"
            if self.leaks
            else "fine"
        )
        return f"{text}\n  the longer answer is the chosen one in {self.longer_wins:.0%} of the pairs: {word}"


def as_pair(row: dict) -> dict:
    """A preference pair as trl's messages: of ShareGPT (`conversations`, two turns), alpaca (`instruction`, two texts), texts, or two
    whole conversations (`chosen` and `rejected` with the question in both, or `chosen_messages` and `rejected_messages`).

    DataError as for `as_chat`, and where the two do not answer one prompt.

    >>> said = {"conversations": [{"from": "human", "value": "Hi"}], "chosen": {"from": "gpt", "value": "Hello."},
    ...         "rejected": {"from": "gpt", "value": "Yo."}}
    >>> as_pair(said)["prompt"], as_pair(said)["rejected"]
    ([{'role': 'user', 'content': 'Hi'}], [{'role': 'assistant', 'content': 'Yo.'}])
    """
    row = {{"chosen_messages": "chosen", "rejected_messages": "rejected"}.get(k, k): v for k, v in row.items()}
    both, rest = {}, {k: v for k, v in row.items() if k not in ("chosen", "rejected")}
    turns = next((k for k in ("messages", "conversations", "conversation") if k in rest), None)
    whole = all(isinstance(row.get(name), list) and len(row[name]) > 1 for name in ("chosen", "rejected"))
    for name in ("chosen", "rejected"):
        if (answer := row.get(name)) is None:
            raise DataError(f"no {name!r}: a pair needs two answers")
        answer = [answer] if isinstance(answer, dict) else answer
        key = turns or ("output" if "instruction" in rest else "completion")
        one = {"messages": answer} if whole else rest | {key: [*rest[turns], *answer] if turns else answer}
        both[name] = as_chat(one)
    asked = both["chosen"]["prompt"]
    if asked != both["rejected"]["prompt"]:
        raise DataError("chosen and rejected follow different prompts: compare answers to one prompt only")
    if whole:  # a prompt or messages beside them must say the same again
        again, chosen = rest.pop("prompt", None), rest.pop("messages", None)
        if again not in (None, asked, asked[-1]["content"]) or chosen not in (None, row["chosen"]):
            raise DataError("'prompt' or 'messages' differs from the turns inside the answers: decide which is right")
    else:
        rest = {k: v for k, v in both["chosen"].items() if k != "completion"}  # what the form does not use
    return rest | {"prompt": asked} | {name: chat["completion"] for name, chat in both.items()}


def check_pairs(
    rows: list[dict], strict: bool = True, max_length: int | None = None, length: Callable[[str], int] = len
) -> PairReport:
    """Check preference pairs: dicts with `prompt`, `chosen` and `rejected`, each text, or messages as trl takes them.

    Reported with its row: a missing or empty answer, equal answers, a pair that stands swapped in another row, a pair
    given twice, answers that carry different prompts (implicit prompts) or repeat the prompt, text beside messages, roles
    other than user before and assistant last, a prompt that leaves an answer nothing of `max_length` (in units of `length`,
    such as tokens). strict: DataError lists every problem; otherwise the good rows come back with the problems beside them.

    >>> rows = [{"prompt": "Hi", "chosen": "Hello.", "rejected": "Yo."}, {"prompt": "Hi", "chosen": "Same.", "rejected": "Same."}]
    >>> print(check_pairs(rows, strict=False))
    1 of 2 pairs can be used, 1 problems
      row 2: chosen and rejected are equal: nothing to prefer, change one or remove the pair
      the longer answer is the chosen one in 100% of the pairs: too few pairs to tell
    """
    report, seen = PairReport(), {}
    for number, row in enumerate(rows, 1):
        try:
            key = prompt, chosen, rejected = _pair_texts(row, max_length, length)
            if first := seen.get(key):
                raise DataError(f"the same pair as row {first}: remove one")
            if first := seen.get((prompt, rejected, chosen)):
                raise DataError(f"row {first} prefers the other answer to the same prompt: decide which is right")
            seen[key] = number
            report.rows.append(row)
        except DataError as fault:
            report.problems.append((number, str(fault)))
    wins = [(len(c) > len(r)) + (len(c) == len(r)) / 2 for _, c, r in seen]
    report.longer_wins = sum(wins) / len(wins) if wins else float("nan")
    if (strict and report.problems) or not report.rows:
        hint = "\nMend these rows, or check_pairs(..., strict=False) to go on with the others." if report.rows else ""
        raise DataError(f"{report}{hint}" if rows else "no pairs: the list is empty")
    return report


def _text(value) -> str | None:
    """The answer's text: a string, or the last message's content."""
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1].get("content")
    return value if isinstance(value, str) else None


def _pair_texts(row, max_length, length) -> tuple[str, str, str]:
    """(prompt, chosen, rejected) as text; DataError says what is wrong with the pair."""
    form = "give text, or messages with role and content"
    if not isinstance(row, dict):
        raise DataError(f"a {type(row).__name__}, not a record with prompt, chosen and rejected")
    for name in ("chosen", "rejected"):
        value = row.get(name)
        if value is None:
            raise DataError(f"no {name!r}: a pair needs two answers")
        if _text(value) is None:
            last = value[-1] if isinstance(value, list) and value else value
            cure = "own_rows.as_pair(row) converts ShareGPT" if isinstance(last, dict) and "value" in last else form
            raise DataError(f"{name!r} is {type(value).__name__}: {cure}")
        if not _text(value).strip():
            raise DataError(f"{name!r} is empty: nothing to learn from")
        if _text(value).strip().lower() in MISSING:
            raise DataError(f"{name!r} is {_text(value).strip()!r}: a missing value that some program wrote as text")
    prompt, chosen, rejected = parts = row.get("prompt") or None, row["chosen"], row["rejected"]
    names = ("prompt", "chosen", "rejected")
    kinds = {k: "messages" if isinstance(v, list) else "text" for k, v in zip(names, parts) if v is not None}
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{name} is {kind}" for name, kind in kinds.items())
        raise DataError(f"{told}: trl takes one form; write all as messages, own_rows.as_pair(row) does")
    before, other = (part[:-1] if isinstance(part, list) else [] for part in (chosen, rejected))
    if before != other:
        raise DataError("chosen and rejected follow different prompts: compare answers to one prompt only")
    if prompt and before:
        raise DataError(
            "the answers repeat the prompt or hold turns of their own: trl trains those; keep them in 'prompt'"
        )
    asked = last = prompt or before or ""
    if isinstance(asked, list):
        if not all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in asked):
            raise DataError(f"'prompt' is a list, but not of messages: {form}")
        for name, part, allowed in zip(
            names, (asked, chosen, rejected), (("user", "system", "tool"), *[("assistant",)] * 2)
        ):
            if (role := part[-1].get("role")) not in allowed:
                raise DataError(f"the last turn of {name!r} is of the role {role!r}: it must be the {allowed[0]}'s")
        asked, last = "\n".join(m["content"] for m in asked), asked[-1]["content"]
    if not isinstance(asked, str):
        raise DataError(f"'prompt' is {type(asked).__name__}: {form}")
    prompt, last, chosen, rejected = (text.strip() for text in (asked, last, _text(chosen), _text(rejected)))
    if not prompt:
        raise DataError("no 'prompt': say what is answered")
    if chosen == rejected:
        raise DataError("chosen and rejected are equal: nothing to prefer, change one or remove the pair")
    if len(last.encode()) >= 12 and (chosen.startswith(last) or rejected.startswith(last)):
        raise DataError(
            "an answer repeats the prompt: the question would be trained with it; keep it in 'prompt' alone"
        )
    if max_length is not None and length(prompt) >= max_length:
        raise DataError(f"the prompt alone has {length(prompt)} of {max_length}: each answer would be cut to nothing")
    return prompt, chosen, rejected
