"""Measuring a model on held-out rows: generate, score without generating, compare with an interval.

- ``generate()``            greedy answers in batches; a shared prefix is computed once and its cache repeated
- ``score_completions()``   one teacher-forced pass: exact match, token accuracy and log-likelihood of given answers
- ``perplexity()``          per token, base e, from the above
- ``prose_loss()``          mean loss on running text: what must not be forgotten
- ``interval()``            95% interval over families of wording and seeds; ``difference()`` of two methods on the same rows
- ``ReportCard``            base, best prompt and tuned side by side, on the same rows
- ``cached()``              a result kept under a key of model, data and code
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence


def progress(total: int, label: str, show: bool):
    """A tqdm bar of `total` rows; hidden with `show=False` or COURSE_BARS=0 (tests)."""
    from tqdm.auto import tqdm

    return tqdm(
        total=total, desc=label, unit="row", disable=not show or os.environ.get("COURSE_BARS") == "0", leave=False
    )


@contextmanager
def evaluating(model):
    """Dropout off and the KV cache on inside the block; the model's own mode afterwards."""
    was, cache = model.training, model.config.use_cache
    model.eval()
    model.config.use_cache = True
    try:
        with torch.inference_mode():
            yield
    finally:
        model.config.use_cache = cache
        model.train(was)


def encode_prompts(tokenizer, prompts: list[list[dict]]) -> list[list[int]]:
    """Chats as token ids, up to where the assistant begins to speak; of a template that can switch thinking off, without it:
    rows whose answers hold no thoughts train just that. ValueError where the template refuses one."""
    found, chat = [], {"return_dict": False, "enable_thinking": False}
    for number, prompt in enumerate(prompts):
        try:
            found.append(tokenizer.apply_chat_template(prompt, add_generation_prompt=True, **chat))
        except Exception as fault:  # a template raises whatever it likes
            roles = [m.get("role") for m in prompt]
            system = "system" in roles and "system" in str(fault).lower()
            cure = (
                "put its text before the first user turn" if system else "write the roles in the order that it wants"
            )
            raise ValueError(
                f"the chat template refuses prompt {number} ({', '.join(map(str, roles))}): {fault}; {cure}"
            ) from fault
    return found


def _stop_ids(model, tokenizer) -> list[int]:
    """The ids at which this model stops to generate: of its generation config, else the tokenizer's end token."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return np.atleast_1d(tokenizer.eos_token_id if named is None else named).tolist()


def encode_answers(tokenizer, prompts, heads: list[list[int]], completions: list[str]) -> list[list[int]]:
    """What the template writes after each of `heads` (prompts as ids) up to the end of the turn: what training saw."""
    from helpers.labels import end_of_turn

    end, tails = end_of_turn(tokenizer), []
    for prompt, head, completion in zip(prompts, heads, completions):
        said = [*prompt, {"role": "assistant", "content": completion}]
        whole = tokenizer.apply_chat_template(said, return_dict=False)
        tail = whole[len(head) :] if whole[: len(head)] == head else []
        if end in tail:
            tails.append(tail[: len(tail) - tail[::-1].index(end)])
        else:  # the template ends no turn, or writes a prompt otherwise once it is answered
            tails.append(tokenizer(completion, add_special_tokens=False)["input_ids"] + [end])
    return tails


def shared_prefix(rows: list[list[int]]) -> int:
    """Number of leading ids that all rows share, leaving each row at least one id of its own.

    >>> shared_prefix([[1, 2, 3, 4], [1, 2, 9, 4, 5]])
    2
    """
    first, last = min(rows), max(rows)
    same = next((i for i, (a, b) in enumerate(zip(first, last)) if a != b), min(len(first), len(last)))
    return min(same, min(map(len, rows)) - 1)


def left_pad(rows: list[list[int]], pad: int, device) -> tuple[torch.Tensor, torch.Tensor]:
    """`(ids, mask)`, both (rows, longest), the rows ending in the last column.

    >>> left_pad([[5], [6, 7]], 0, "cpu")[0].tolist()
    [[0, 5], [6, 7]]
    """
    left = partial(pad_sequence, batch_first=True, padding_side="left")
    ids = left([torch.tensor(row) for row in rows], padding_value=pad)
    mask = left([torch.ones(len(row), dtype=torch.long) for row in rows])
    return ids.to(device), mask.to(device)


class Answers(list):
    """Texts, in the order of the prompts; `cut`: (rows,) bool, those that `max_new_tokens` ended, not the model."""

    cut: np.ndarray


def generate(
    model, tokenizer, prompts: list[list[dict]], max_new_tokens: int = 28, batch_size: int = 32, reuse_prefix: bool = True,
    bar: bool = True,
) -> Answers:  # fmt: skip
    """Greedy answers to chats, in the order given. Rows are batched by length; each stops at the end token.
    An answer that is longer than `max_new_tokens` is cut there: `ReportCard` shows the share, `.cut` says which.

    A prefix that all prompts share (a system prompt, few-shot examples) is computed once when it is at least
    32 tokens long, and its cache repeated for each batch: the answers are the same, the time is not.
    """
    answers = Answers([""] * len(prompts))
    answers.cut = np.zeros(len(prompts), bool)
    if not prompts:
        return answers
    rows = encode_prompts(tokenizer, prompts)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    stops = _stop_ids(model, tokenizer)
    n_shared = shared_prefix(rows) if reuse_prefix and len(rows) > 1 else 0
    with evaluating(model), progress(len(rows), "generating", bar) as tick:
        device = next(model.parameters()).device
        cache = None
        if n_shared >= 32:
            cache = model(torch.tensor([rows[0][:n_shared]], device=device), use_cache=True).past_key_values
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            head = rows[0][:n_shared] if cache is not None else []
            ids, mask = left_pad([rows[i][len(head) :] for i in batch], tokenizer.pad_token_id, device)
            extra = {}
            if cache is not None:  # prefix, then padding, then each row's own part
                prefix = torch.tensor([head] * len(batch), device=device)
                ids, mask = torch.cat([prefix, ids], 1), torch.cat([torch.ones_like(prefix), mask], 1)
                repeated = copy.deepcopy(cache)
                repeated.batch_repeat_interleave(len(batch))
                extra = {"past_key_values": repeated}
            with warnings.catch_warnings():  # transformers 5.24 renames past_key_values; both work, one is silent
                warnings.simplefilter("ignore", FutureWarning)
                out = model.generate(
                    input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False, temperature=None,
                    top_p=None, top_k=None, repetition_penalty=1.0, pad_token_id=tokenizer.pad_token_id, **extra,
                )[:, ids.shape[1] :]  # fmt: skip
            answers.cut[batch] = ~np.isin(out.cpu().numpy(), stops).any(1)
            for i, text in zip(batch, tokenizer.batch_decode(out, skip_special_tokens=True)):
                answers[i] = text.strip()
            tick.update(len(batch))
    return answers


@dataclass(frozen=True)
class Scores:
    """Per row, in the order given: negative log-likelihood in nats, tokens, whether greedy decoding would give the answer."""

    nll: np.ndarray  # (rows,) summed over the completion's tokens, end token included
    tokens: np.ndarray  # (rows,)
    correct: np.ndarray  # (rows,) tokens that are the model's first choice
    exact: np.ndarray  # (rows,) bool: all of them are

    @property
    def token_accuracy(self) -> float:
        return float(self.correct.sum() / self.tokens.sum())


def score_completions(
    model, tokenizer, prompts, completions: list[str], batch_size: int = 32, bar: bool = True
) -> Scores:
    """Score given answers in one forward pass, without generating.

    With the true answer fed in, the model's first choice at every position (the template's end of turn included) equals the
    answer exactly when greedy decoding would have produced it: exact match for the price of one pass.
    """
    heads = encode_prompts(tokenizer, prompts)
    stops = _stop_ids(model, tokenizer)
    for tail in (tails := encode_answers(tokenizer, prompts, heads, completions)):
        first = next((i for i, token in enumerate(tail) if token in stops), len(tail))
        del tail[first + 1 :]  # Phi's template ends a turn twice, and the model stops at the first
    order = sorted(range(len(heads)), key=lambda i: len(heads[i]) + len(tails[i]))
    nll, correct = np.zeros(len(heads)), np.zeros(len(heads), int)
    with evaluating(model), progress(len(heads), "scoring", bar) as tick:
        device = next(model.parameters()).device
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            ids, mask = left_pad([heads[i] + tails[i] for i in batch], tokenizer.pad_token_id, device)
            target, mine = left_pad([tails[i] for i in batch], tokenizer.pad_token_id, device)
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            out = model(ids, attention_mask=mask, position_ids=positions, logits_to_keep=target.shape[1] + 1)
            logits = out.logits[:, :-1].float()  # (batch, longest answer, vocabulary)
            loss = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
            right = (logits.argmax(-1) == target) & mine.bool()
            nll[batch] = (loss * mine).sum(1).double().cpu()
            correct[batch] = right.sum(1).cpu()
            tick.update(len(batch))
    tokens = np.array([len(t) for t in tails])
    return Scores(nll, tokens, correct, correct == tokens)


def perplexity(scores: Scores) -> float:
    """exp(total nats / total tokens): per token, base e, over the completions alone.

    >>> perplexity(Scores(np.log([4.0, 4.0]), np.array([1, 1]), np.array([0, 0]), np.array([False, False])))
    4.0
    """
    return round(float(np.exp(scores.nll.sum() / scores.tokens.sum())), 10)


def prose_loss(model, blocks: list[list[int]], batch_size: int = 4, bar: bool = True) -> np.ndarray:
    """Mean next-token loss of each block in nats per token: (blocks,). Forgetting is its rise after tuning."""
    losses = []
    with evaluating(model), progress(len(blocks), "probe", bar) as tick:
        device = next(model.parameters()).device
        for start in range(0, len(blocks), batch_size):
            ids = torch.tensor(blocks[start : start + batch_size], device=device)
            logits = model(ids).logits[:, :-1].float()
            losses.append(F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").mean(1).cpu())
            tick.update(len(ids))
    return torch.cat(losses).double().numpy()


# ---------------------------------------------------------------- intervals


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% interval (`low`, `high`), and what it rests on; `mean, low, high = interval` works."""

    mean: float
    low: float
    high: float
    rows: int = 0
    families: int = 0
    seeds: int = 1

    def __iter__(self):
        return iter((self.mean, self.low, self.high))

    def __str__(self) -> str:
        on = ", ".join(
            f"{name} {getattr(self, name)}" for name in ("rows", "families", "seeds") if getattr(self, name)
        )
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}] ({on})"

    def percent(self, signed: bool = False, digits: int = 0) -> str:
        """In percent, or as a difference in points where `signed`.

        >>> Interval(0.4, 0.25, 0.55).percent(), Interval(0.1, -0.02, 0.22).percent(signed=True)
        ('40% [25, 55]', '+10 points [-2, +22]')
        """
        sign, unit = ("+", " points") if signed else ("", "%")
        mean, low, high = (f"{100 * x:{sign}.{digits}f}" for x in self)
        return f"{mean}{unit} [{low}, {high}]"


T_SEEDS = 14  # up to this many an interval is a t interval: simulated, it covers 93 to 97%, resampling 80 to 97%


def interval(values, families: list[str], level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """95% interval of a mean over rows whose families (wordings) and seeds are both a sample.

    values: (rows,) for one seed, or (seeds, rows); families: (rows,) names. Rows of one family share their wording and
    move together: treating them as independent gives an interval that is too narrow. With one seed, or more than
    `T_SEEDS`, families (and seeds) are resampled; with 3 to `T_SEEDS` a two-way random-effects t interval is given, as for
    seeds that are new at the next run (Satterthwaite's degrees of freedom; Searle, Variance Components, 1992, ch. 4).
    ValueError for two seeds (covered 89%), a family too many or too few, and for NaN.

    >>> interval([1, 1, 0, 0], ["a", "a", "b", "b"]).mean
    0.5
    >>> few = interval([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 0]], ["a", "a", "b", "b"]); few.low < few.mean < few.high
    True
    """
    values = np.atleast_2d(np.asarray(values, dtype=float))
    if values.shape[1] != len(families) or not len(families):
        raise ValueError(f"{values.shape[1]} values but {len(families)} families: one family name a row is needed")
    if not np.isfinite(values).all():
        raise ValueError("a value is NaN or infinite: find the row before averaging it away")
    if gaps := [i for i, name in enumerate(families) if name is None or name != name]:
        raise ValueError(f"row {gaps[0]} has no family: name it, or give each such row a name of its own")
    names, index = np.unique(np.asarray(families), return_inverse=True)
    sums = np.stack([np.bincount(index, weights=v, minlength=len(names)) for v in values])  # (seeds, families)
    counts = np.bincount(index, minlength=len(names))
    if len(values) == 2:
        raise ValueError("two seeds: no interval of two is worth its name; run a third")
    if 3 <= len(values) <= T_SEEDS and len(names) > 1:
        low, high = _random_effects(sums, counts, level)
    else:
        low, high = _resample(sums, counts, level, resamples, seed)
    if np.isin(values, (0, 1)).all():  # verdicts: a share lies within 0 and 1
        low, high = max(low, 0.0), min(high, 1.0)
    return Interval(float(values.mean()), low, high, values.shape[1], len(names), len(values))


def difference(a, b, families: list[str], **options) -> Interval:
    """Interval of mean(a − b), row by row on the same rows (and seed by seed): see `interval`.

    >>> d = difference([1, 1, 1, 0], [0, 0, 1, 0], ["a", "b", "c", "d"]); (d.mean, d.low >= 0)
    (0.5, True)
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"a has {a.shape[-1]} rows, b {b.shape[-1]}: pair the same rows in the same order")
    return interval(a - b, families, **options)


def over_seeds(values, level: float = 0.95) -> Interval:
    """t interval of a number that each seed gives once, such as a loss: values (seeds,), at least two.

    >>> i = over_seeds([1.0, 2.0, 3.0]); round(i.mean, 2), round(i.low, 2), round(i.high, 2)
    (2.0, -0.48, 4.48)
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"values {values.shape}: give one finite number a seed, at least two seeds")
    half = _t(level, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(float(values.mean()), float(values.mean() - half), float(values.mean() + half), seeds=len(values))


def _t(level: float, freedom: float) -> float:
    from scipy import stats

    return float(stats.t.ppf((1 + level) / 2, freedom))


def _random_effects(sums, counts, level: float) -> tuple[float, float]:
    """t interval of a ratio mean under y = mean + family + seed + rest; sums (seeds, families), counts (families,)."""
    s, f = sums.shape
    mean = sums.sum() / (s * counts.sum())
    z = f * (sums - mean * counts) / counts.sum()  # each family's part of the mean's error, (seeds, families)
    by_seed, by_family = z.mean(1), z.mean(0)
    ms_seed = f * (by_seed**2).sum() / (s - 1)
    ms_family = s * (by_family**2).sum() / (f - 1)
    ms_rest = ((z - by_seed[:, None] - by_family) ** 2).sum() / ((s - 1) * (f - 1))
    both = max(ms_seed + ms_family - ms_rest, ms_seed, ms_family)
    if both == 0:
        return float(mean), float(mean)
    parts = ms_seed**2 / (s - 1) + ms_family**2 / (f - 1) + ms_rest**2 / ((s - 1) * (f - 1))
    freedom = max(both**2 / parts, min(s, f) - 1)
    half = _t(level, freedom) * np.sqrt(both / (s * f))
    return float(mean - half), float(mean + half)


def _resample(sums, counts, level: float, resamples: int, seed: int) -> tuple[float, float]:
    """Bootstrap of families and, where there are several, of seeds."""
    s, f = sums.shape
    rng = np.random.default_rng(seed)
    families = rng.integers(0, f, (resamples, f))
    seeds = rng.integers(0, s, (resamples, s))
    means = np.array([sums[i][:, p].sum() / (counts[p].sum() * s) for i, p in zip(seeds, families)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


# ---------------------------------------------------------------- the report card


@dataclass
class Column:
    """One method on the card: answers, verdicts, seconds."""

    answers: list[str]
    exact: np.ndarray
    fields: dict[str, np.ndarray]
    seconds: float
    why: list[str]


@dataclass
class ReportCard:
    """Several methods on the same held-out rows of one task.

    `rows` as from `tasks.load` (own rows without `family` count each alone); `check(answer, row)` gives a verdict with `exact`,
    `fields` and `why`. Answers that were cut at `max_new_tokens`, and right JSON inside a code fence or other words, are told
    apart in the table.
    """

    rows: list[dict]
    check: callable
    columns: dict[str, Column] = field(default_factory=dict)
    extra: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def families(self) -> list[str]:
        return [str(row.get("family") or f"row {i}") for i, row in enumerate(self.rows)]

    def add(self, name: str, answers: list[str], seconds: float = float("nan"), cut=None) -> Column:
        """Check one method's answers, one a row, and keep them under `name`; cut: (rows,) bool, as `generate` gives it."""
        if len(answers) != len(self.rows) or not self.rows:
            raise ValueError(f"{name}: {len(answers)} answers for {len(self.rows)} rows")
        verdicts = [self.check(a, r) for a, r in zip(answers, self.rows)]
        fields = {k: np.array([v.fields[k] for v in verdicts]) for k in verdicts[0].fields}
        exact, why = np.array([v.exact for v in verdicts]), [v.why for v in verdicts]
        self.columns[name] = Column(list(answers), exact, fields, seconds, why)
        cut = getattr(answers, "cut", ()) if cut is None else cut
        fenced = [getattr(v, "fenced", False) for v in verdicts]
        shares = {"cut short": cut, "right but wrapped": fenced}
        old = {k: v for k, v in self.extra.get(name, {}).items() if k not in shares}
        self.extra[name] = old | {k: f"{np.mean(v):.0%}" for k, v in shares.items() if np.any(v)}
        return self.columns[name]

    def note(self, name: str, **values) -> None:
        """Other measures of one method, shown in the table: `note("base", prose_loss="3.15", peak_gib="3.1")`."""
        self.extra.setdefault(name, {}).update({k.replace("_", " "): str(v) for k, v in values.items()})

    def table(self):
        """A pandas table: a line a method, whole record and each field with its interval, seconds an answer, notes."""
        import pandas as pd

        lines = {}
        for name, c in self.columns.items():
            cell = lambda values: interval(values, self.families).percent()
            line = {"whole record": cell(c.exact)} | {k: cell(v) for k, v in c.fields.items() if len(c.fields) > 1}
            line["s / answer"] = f"{c.seconds / len(self.rows):.2f}"
            lines[name] = line | self.extra.get(name, {})
        return pd.DataFrame(lines).T.fillna("")

    def difference(self, a: str, b: str, field: str | None = None) -> Interval:
        """Interval of a − b in exact match (or one field's accuracy), paired, over families."""
        pick = lambda c: c.fields[field] if field else c.exact  # noqa: E731
        return difference(pick(self.columns[a]), pick(self.columns[b]), self.families)

    def wins_and_losses(self, a: str, b: str, show: int = 3) -> str:
        """Rows that `a` gets right and `b` wrong, and the other way round, with both answers: read them."""
        one, two = self.columns[a], self.columns[b]
        text = []
        for title, hits in (
            (f"{a} right, {b} wrong", one.exact & ~two.exact),
            (f"{a} wrong, {b} right", ~one.exact & two.exact),
        ):
            text.append(f"{title}: {hits.sum()} of {len(self.rows)}")
            for i in np.flatnonzero(hits)[:show]:
                text += [
                    f"  ticket  {self.rows[i].get('prompt') or next(iter(self.rows[i].values()))}",
                    f"    {a:8} {one.answers[i]}",
                    f"    {b:8} {two.answers[i]}",
                    f"    wrong   {two.why[i] or one.why[i]}",
                ]
        return "\n".join(text)


# ---------------------------------------------------------------- keeping results


def cached(folder: str | Path, function, *args):
    """`function(*args)` once for equal arguments, code and library versions; later from a JSON file in `folder`.

    The key covers the source of `function` and of this module, so that a changed measurement is measured anew.
    """
    from helpers import hardware, models

    code = [inspect.getsource(function), Path(__file__).read_text(encoding="utf-8"), hardware.versions()]
    key = hashlib.sha256(json.dumps([args, code], sort_keys=True).encode()).hexdigest()
    path = Path(folder) / f"{key[:24]}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps(function(*args))
    with models.appearing(path) as part:
        part.write_text(text, encoding="utf-8")
    return json.loads(text)  # as it will be read
