"""Before a run: the faults of your own rows, tokenizer and settings that cost a week, found in seconds.

- ``preflight(rows, tokenizer, ...)``  every check; a `Preflight` with findings, one line each when printed
- ``Finding``                          check, severity, rows, reason, cure
- ``check_adapter(folder, model)``     whether a saved adapter fits the layers of this model at all

Notebook 07 injects each fault and shows its symptom. A row is `{"prompt": ..., "completion": ...}`, each text or chat messages, or
`{"messages": [...]}`. Nothing is changed or dropped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

SEVERITIES = ("error", "warning", "note")  # it will not work; it will cost you; you should know
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MARKS = (  # of other models' templates and of the formats before them
    "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|start_header_id|>", "<|eot_id|>", "[INST]", "[/INST]",
    "<<SYS>>", "<|user|>", "<|assistant|>", "<|end_of_text|>", "<|endoftext|>", "### Instruction:", "### Response:",
)  # fmt: skip
FAULTS = {  # key: check, severity, reason, cure
    "shape": ("shape", "error", "{}", 'write {{"prompt": ..., "completion": ...}} or {{"messages": [...]}}; own_rows.as_chat converts others'),
    "empty": ("empty answer", "error", "the completion is empty: nothing is trained", "write the answer, or remove the row"),
    "gap": ("empty answer", "error", "the completion is {!r}", "an export's empty cell: write the answer"),
    "special": ("special token", "error", "{} stands inside a text: the template's own marks would be read there",
                "remove it from the text; let the template write it"),
    "mark": ("special token", "warning", "{} stands inside a text: the mark of another template, read as plain text",
             "give the turns as messages; let this model's template write its own marks"),
    "characters": ("characters", "warning", "{} in a text: nobody wrote it, and the model learns it",
                   "remove it; � comes of a file that was read in another encoding than its own"),
    "refused": ("template", "error", "the chat template refuses the row: {}", "write the roles in the order that the template wants"),
    "system": ("template", "error", "the chat template refuses the row: {}",
               "this template has no system role: put its text before the first user turn"),
    "otherwise": ("template", "error", "the row does not begin with the prompt as it is asked: another text is trained than used",
                  "render both with one template and the same options (thinking on or off)"),
    "before": ("template", "warning", "the template writes {!r} before the answer, and it is trained",
               "ask with the same text before the answer (evaluate does: enable_thinking=False, where the template has it)"),
    "other end": ("end of turn", "error", "the turn ends with {}, at which your model does not stop",
                  "give it to generate: eos_token_id={}, beside the old ones"),
    "no end": ("end of turn", "error", "no end token is trained after the answer: the model will not stop",
               "end each completion with the template, or with tokenizer.eos_token"),
    "two BOS": ("two BOS", "error", "the row starts with the BOS token twice", "tokenize rendered text with add_special_tokens=False"),
    "question": ("labels", "warning", "the question is trained, too",
                 "prompt and completion in two columns with completion_only_loss=True, or assistant_only_loss=True"),
    "cut": ("cut", "error", "longer than max_length={}: the end of the answer is cut, and the end token with it",
            "raise max_length, or shorten the row"),
    "cut whole": ("cut", "error", "nothing of the answer is left within max_length", "raise max_length, or shorten the prompt"),
    "contradiction": ("contradiction", "error", "the same prompt with another answer",
                      "decide which answer is right; no model can learn both"),
    "duplicate": ("duplicate", "warning", "the same row twice or more", "keep one: repeats count as extra epochs of that row"),
    "leak": ("leak", "error", "the prompt stands among the held-out rows, too (but for case, punctuation, numbers)",
             "remove it here; split by source or customer, not by row"),
    "balance": ("balance", "warning", "{!r} is the answer of {} rows, {!r} of {}",
                "write new rows for the rare answers; repeating them helps little (notebook 03)"),
    "no pad": ("pad token", "error", "the tokenizer has no pad token: rows of a batch cannot be padded",
               "tokenizer.pad_token = tokenizer.eos_token with trl's collator"),
    "pad is end": ("pad token", "note", "pad and end are both {}: safe with trl, which masks by position",
                   "with a collator that masks by value give padding a token of its own"),
    "both halves": ("precision", "error", "fp16 and bf16 are both on", "choose one: bf16 from compute capability 8.0, else fp16"),
    "half": ("precision", "error", "fp16=True on bfloat16 weights: gradients become NaN or are refused",
             "bf16=True, or load the weights in float32"),
    "no rate": ("learning rate", "error", "learning_rate={!r}", "a number such as 2e-4"),
    "rate": ("learning rate", "warning", "{:g} is {}", "begin between {:g} and {:g} (notebook 06)"),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One fault: `check` names its kind, `rows` its rows (numbers from 0), `cure` what to write instead."""

    check: str
    severity: str
    reason: str
    cure: str
    rows: tuple[int, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.rows[:5])) + (f" and {len(self.rows) - 5} more" if len(self.rows) > 5 else "")
        where = f" (row{'s' * (len(self.rows) > 1)} {shown})" if self.rows else ""
        return f"{self.severity:7} {self.check}: {self.reason}{where}\n        -> {self.cure}"


@dataclass
class Preflight:
    """What `preflight` found, worst first; true where nothing is wrong beyond notes."""

    findings: list[Finding] = field(default_factory=list)
    rows: int = 0
    tokens: int = 0  # of all rows, with the template
    trained: int = 0  # of them, those that the loss sees

    def __bool__(self) -> bool:
        return all(f.severity == "note" for f in self.findings)

    def __str__(self) -> str:
        count = Counter(f.severity for f in self.findings)
        faults = ", ".join(f"{count[s]} {s}{'s' * (count[s] > 1)}" for s in SEVERITIES if count[s]) or "no fault"
        head = f"{self.rows} rows, {self.tokens:,} tokens, {self.trained:,} of them trained: {faults}"
        return "\n".join([head, *map(str, self.findings)])


def preflight(
    rows: Iterable[dict], tokenizer, max_length: int | None = None, held_out: Iterable[dict] = (),
    stop_ids: Iterable[int] | None = None, completion_only: bool = True, config: dict | None = None,
    parameters: float | None = None,
) -> Preflight:  # fmt: skip
    """Check rows as a trainer would read them.

    max_length: tokens a row may have; held_out: rows that must not be among `rows`; stop_ids: the ids at which your model stops
    generating (its `generation_config.eos_token_id`; the tokenizer's end token where None); completion_only: whether the
    prompt's labels are masked; config: `learning_rate`, `fp16`, `bf16`, `weights` ("bfloat16"), `full` (all parameters trained),
    `assistant_only_loss` as far as you know them; parameters: of the model. Of `messages` the last answer alone is checked.

    ValueError for no rows, or a tokenizer without a chat template where rows are chats.

    >>> from transformers import AutoTokenizer
    >>> from helpers import models
    >>> tokenizer = AutoTokenizer.from_pretrained(models.locate("").path)
    >>> row = {"prompt": [{"role": "user", "content": "Late again?"}], "completion": [{"role": "assistant", "content": "K7"}]}
    >>> print(preflight([row, row | {"completion": [{"role": "assistant", "content": "B2"}]}], tokenizer))  # doctest: +ELLIPSIS
    2 rows, ... trained: 1 error, 1 note
    error   contradiction: the same prompt with another answer (rows 0, 1)
            -> decide which answer is right; no model can learn both
    note    pad token: ...
    """
    rows = list(rows)
    if not rows:
        raise ValueError("no rows: nothing to check")
    report = Preflight(rows=len(rows))
    found: dict[tuple, list[int]] = {}  # rows of each kind and reason

    def add(key: str, *rows: int, of: Iterable = (), cure: Iterable = ()) -> None:
        """A fault of `FAULTS` in these rows; `of` fills its reason, `cure` its cure."""
        check, severity, reason, mend = FAULTS[key]
        found.setdefault((check, severity, reason.format(*of), mend.format(*cure)), []).extend(rows)

    stops = set(stop_ids) if stop_ids is not None else {tokenizer.eos_token_id}
    seen, questions = [], []  # (row, prompt, answer); (row, what is asked)
    for number, row in enumerate(rows):
        parts = _parts(row)
        if isinstance(parts, str):
            add("shape", number, of=[parts])
            continue
        prompt, completion = parts
        text, answer = _text(prompt), _text(completion)
        seen.append((number, text.strip(), answer.strip())), questions.append((number, _asked(prompt)))
        _check_text(add, tokenizer, number, text, answer)
        encoded = _encode(add, tokenizer, number, prompt, completion) if answer.strip() else None
        if encoded is None:
            continue
        start, whole = encoded
        apart = "messages" not in row or bool((config or {}).get("assistant_only_loss"))  # else trl trains every turn
        masked = start if completion_only and apart and prompt else []
        report.tokens, report.trained = report.tokens + len(whole), report.trained + len(whole) - len(masked)
        _check_labels(add, tokenizer, number, masked, whole, stops, max_length, answer.strip())
    _check_set(add, seen, questions, held_out)
    if tokenizer.pad_token_id is None:
        add("no pad")
    elif tokenizer.pad_token_id == tokenizer.eos_token_id:
        add("pad is end", of=[tokenizer.eos_token])
    _check_config(add, config or {}, parameters)
    findings = [Finding(*key, tuple(sorted(set(rows)))) for key, rows in found.items()]
    report.findings = sorted(findings, key=lambda f: SEVERITIES.index(f.severity))
    return report


def _parts(row) -> tuple | str:
    """Prompt and completion, each text or messages; or what is wrong."""
    if not isinstance(row, dict):
        return f"a {type(row).__name__}, not a record: of a table give table.to_dict('records')"
    if beside := [name for name in ("system", "history") if row.get(name)]:
        return f"{beside[0]!r} is a column, which no trainer reads (own_rows.as_chat takes it into the prompt)"
    if "messages" in row:
        if not _is_chat(row["messages"]):
            return "'messages' is not a list of {role, content}"
        prompt, completion = row["messages"][:-1], row["messages"][-1:]
    else:
        for name in ("prompt", "completion"):
            if not (isinstance(row.get(name), str) or _is_chat(row.get(name))):
                return f"no {name!r} that is text or messages"
        prompt, completion = row["prompt"], row["completion"]
        if isinstance(prompt, str) != isinstance(completion, str):
            return "one of prompt and completion is text, the other messages"
    if isinstance(completion, str):
        return prompt, completion
    if unknown := {m["role"] for m in (*prompt, *completion)} - {*ROLES}:
        return (
            f"a turn of the role {min(unknown)!r}: templates know {', '.join(ROLES[:4])} (own_rows.as_chat converts)"
        )
    if completion[-1]["role"] != "assistant":
        return f"the last message is the {completion[-1]['role']}'s: there is no answer to learn"
    return prompt, completion


def _is_chat(value) -> bool:
    texts = lambda m: isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
    return bool(value) and isinstance(value, list) and all(map(texts, value))


def _text(part) -> str:
    return part if isinstance(part, str) else "\n".join(m["content"] for m in part)


def _asked(part) -> str:
    """What is asked: without the system prompt, which may differ between two files."""
    return part if isinstance(part, str) else _text([m for m in part if m["role"] != "system"])


def _check_text(add, tokenizer, number: int, prompt: str, answer: str) -> None:
    from helpers.own_rows import HIDDEN, MISSING

    if not answer.strip():
        add("empty", number)
    if answer.strip().lower() in MISSING:
        add("gap", number, of=[answer.strip()])
    own = [token for token in tokenizer.all_special_tokens if token in prompt or token in answer]
    for token in own:
        add("special", number, of=[token])
    for mark in MARKS:
        if mark not in own and (mark in prompt or mark in answer):
            add("mark", number, of=[mark])
    for what in {HIDDEN[c] for c in HIDDEN.keys() & {*prompt, *answer}}:
        add("characters", number, of=[what])


def _encode(add, tokenizer, number: int, prompt, completion) -> tuple[list[int], list[int]] | None:
    """Ids of the prompt as the model is asked, and of the whole row; None where the template refuses."""
    if isinstance(prompt, str):
        start = tokenizer(prompt)["input_ids"]
        whole = tokenizer(prompt + completion)["input_ids"] + [tokenizer.eos_token_id]
        return start, whole
    if not tokenizer.chat_template:
        raise ValueError(
            "the rows are chats and this tokenizer has no chat template: take the instruct model's tokenizer"
        )
    try:
        ids = partial(tokenizer.apply_chat_template, return_dict=False)
        start, whole = ids(prompt, add_generation_prompt=True) if prompt else [], ids(prompt + completion)
    except Exception as fault:  # a template raises whatever it likes
        reason = str(fault).splitlines()[-1][:120]
        system = bool(prompt) and prompt[0]["role"] == "system" and "system" in reason.lower()
        add("system" if system else "refused", number, of=[reason])
        return None
    if whole[: len(start)] != start:
        add("otherwise", number)
        return None
    return start, whole


def _check_labels(add, tokenizer, number, masked, whole, stops, max_length, answer) -> None:
    trained = whole[len(masked) :]
    ends = [i for i, t in enumerate(trained) if t in stops]
    if not ends or tokenizer.decode(trained[ends[-1] + 1 :]).strip():
        specials = [t for t in trained if t in tokenizer.all_special_ids or t in tokenizer.added_tokens_decoder]
        if specials and not tokenizer.decode(trained[trained.index(specials[-1]) + 1 :]).strip():
            add("other end", number, of=[tokenizer.decode([specials[-1]])], cure=[specials[-1]])
        else:
            add("no end", number)
    bos = tokenizer.bos_token_id
    if bos is not None and whole[:2] == [bos, bos]:
        add("two BOS", number)
    if not masked:
        add("question", number)
    if max_length is not None and len(whole) > max_length:
        add("cut", number, of=[max_length])
        if len(whole) - max_length >= len(trained):
            add("cut whole", number)
    said = tokenizer.decode(trained, skip_special_tokens=True).strip()
    if masked and answer and said != answer and said.endswith(answer):
        add("before", number, of=[said[: -len(answer)].strip()[:40]])


MASK = re.compile(r"[\W_]+|\d+")


def _key(text: str) -> str:
    """A text without case, punctuation and numbers: equal keys are copies."""
    return MASK.sub(" ", text.lower()).strip()


def _check_set(add, seen, questions, held_out) -> None:
    by_prompt: dict[str, dict[str, list[int]]] = {}
    for number, prompt, answer in seen:
        by_prompt.setdefault(prompt, {}).setdefault(answer, []).append(number)
    for same in by_prompt.values():
        if len(same) > 1:
            add("contradiction", *(number for found in same.values() for number in found))
        elif len(found := next(iter(same.values()))) > 1:
            add("duplicate", *found[1:])
    others = {_key(_asked(p[0])) for row in held_out if not isinstance(p := _parts(row), str)}
    if leaks := [number for number, asked in questions if _key(asked) in others]:
        add("leak", *leaks)
    counts = Counter(answer for *_, answer in seen).most_common()
    if 2 <= len(counts) <= max(2, len(seen) // 20) and counts[0][1] > 10 * counts[-1][1]:
        (common, many), (rare, few) = counts[0], counts[-1]
        add("balance", *(n for n, _, a in seen if a == rare), of=[common[:30], many, rare[:30], few])


def _check_config(add, config: dict, parameters: float | None) -> None:
    rate = config.get("learning_rate")
    if config.get("fp16") and config.get("bf16"):
        add("both halves")
    if config.get("fp16") and "bfloat16" in str(config.get("weights", "")):
        add("half")
    if rate is None:
        return
    if not isinstance(rate, int | float) or not 0 < rate < 1:  # YAML reads 2e-4 as text
        return add("no rate", of=[rate])
    low, high = (1e-6, 1e-4) if config.get("full") else (2e-5, 1e-3)
    if parameters is not None and parameters < 1e9:
        high *= 5  # a 135M took 2e-3 to 4e-3 in this course's record
    if not low <= rate <= high:
        word = "low: the loss will crawl" if rate < low else "high: the loss will swing or diverge"
        add("rate", of=[rate, word], cure=[low, high])


def check_adapter(folder: str | Path, model) -> list[str]:
    """Faults of a saved adapter against the model that shall carry it, in words; an empty list means that it fits.

    folder: what `save_model` or `save_pretrained` of a peft model wrote. The names of its weights must be those of layers of
    `model`, and its B matrices must not all be zero (nothing was trained, or another folder was saved).
    """
    from safetensors import safe_open

    path = Path(folder) / "adapter_model.safetensors"
    if not path.is_file():
        return [f"{path.name} is not in {Path(folder).name}/: save the adapter with trainer.save_model(folder)"]
    layers = {name for name, _ in model.named_modules()}
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        moved = any(file.get_tensor(name).any() for name in names if ".lora_B" in name)
    layer = lambda name: re.sub(r"^base_model\.model\.|\.lora_(A|B|embedding_A|embedding_B).*$", "", name)
    faults = []
    if missing := [layer(name) for name in names if layer(name) not in layers]:
        faults.append(
            f"{len(missing)} of {len(names)} weights belong to layers that this model has not, such as {missing[0]}: they would be "
            "left out, and the answers be those of the base; load it into the model that it was trained on"
        )
    if not moved:
        why = "this adapter changes nothing; it was not trained, or the wrong one was saved"
        faults.append(f"every B matrix is zero: {why}")
    return faults
