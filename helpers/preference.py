"""Preference tuning by hand: the ORPO and DPO losses, what to watch while they train, and a check of your own pairs.

- ``completion_logps()``  log-probability of each answer under given logits, summed (DPO) or averaged over tokens (ORPO)
- ``log_odds()``          log(p / (1 − p)) from log p, without losing digits near 0 and 1
- ``orpo_loss()``         loss on the chosen answer and the odds ratio, as trl's ORPOTrainer computes it
- ``dpo_loss()``          the sigmoid loss of DPO, as trl's DPOTrainer computes it
- ``check_pairs()``       every pair that cannot teach, with its row and the reason, and whether length gives the label away

Sources: ORPO, Hong et al. 2024 (arXiv 2403.07691, eq. 4-7) and trl 1.16 `trl/experimental/orpo/orpo_trainer.py`; DPO,
Rafailov et al. 2023 (arXiv 2305.18290, eq. 7) and trl 1.16 `trl/trainer/dpo_trainer.py`. Tests hold both equal to trl.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

# ---------------------------------------------------------------- log-probabilities


def completion_logps(logits: torch.Tensor, labels: torch.Tensor, average: bool = False) -> torch.Tensor:
    """Log-probability of each row's answer in nats: (rows,), summed over its tokens or, with `average`, a token's mean.

    logits: (rows, length, vocabulary) as the model gives them; labels: (rows, length), −100 where a token is not part of
    the answer. The shift (position t predicts token t + 1) is done here. ValueError for a row without any answer token.

    >>> logits = torch.log(torch.tensor([[[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]]))
    >>> labels = torch.tensor([[-100, 0, 1]])
    >>> [round(float(completion_logps(logits, labels, average).exp()), 4) for average in (False, True)]
    [0.375, 0.6124]
    """
    if logits.shape[:2] != labels.shape:
        raise ValueError(f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)}: rows and length must agree")
    wanted = labels[:, 1:]
    answer = wanted != -100
    if not answer.any(1).all():
        row = int((~answer.any(1)).nonzero()[0])
        raise ValueError(
            f"row {row} has no answer token: the prompt fills the whole length, cut it or allow more tokens"
        )
    logps = torch.log_softmax(logits[:, :-1].float(), -1)
    logps = logps.gather(2, wanted.clamp(min=0)[..., None]).squeeze(2) * answer
    return logps.sum(1) / answer.sum(1) if average else logps.sum(1)


def log1mexp(x: torch.Tensor) -> torch.Tensor:
    """log(1 − exp(x)) for x < 0: by log1p for x below −ln 2, by expm1 above (Mächler, 2012, eq. 7).

    >>> [round(float(v), 4) for v in log1mexp(torch.tensor([-1.0, -1e-4], dtype=torch.float64))]
    [-0.4587, -9.2104]
    """
    return torch.where(x < -math.log(2), torch.log1p(-torch.exp(x)), torch.log(-torch.expm1(x)))


def log_odds(logp: torch.Tensor) -> torch.Tensor:
    """log(p / (1 − p)) from log p; `logp` must be below 0.

    >>> [round(float(v), 4) for v in log_odds(torch.tensor([0.5, 0.8]).log())]
    [0.0, 1.3863]
    """
    return logp - log1mexp(logp)


# ---------------------------------------------------------------- losses


@dataclass(frozen=True)
class Terms:
    """A batch's loss (a scalar with its gradient) and what to watch, each (pairs,) and without gradient."""

    loss: torch.Tensor
    chosen: torch.Tensor  # what the loss wants up: average log-probability (ORPO), reward beta · log-ratio (DPO)
    rejected: torch.Tensor  # the same for the rejected answer
    margin: torch.Tensor  # log odds ratio (ORPO), or beta · difference of the log-ratios (DPO)

    @property
    def accuracy(self) -> float:
        """Share of pairs whose chosen answer is ahead."""
        return float((self.margin > 0).float().mean())


def orpo_loss(chosen: torch.Tensor, rejected: torch.Tensor, nll: torch.Tensor, beta: float = 0.1) -> Terms:
    """ORPO: nll − beta · mean log sigmoid(log odds(chosen) − log odds(rejected)).

    chosen, rejected: (pairs,) **average** log-probability a token. nll: the mean loss of the chosen rows, a scalar;
    trl takes it over prompt and answer. `beta` is the paper's lambda. ValueError for pairs that do not match.

    >>> t = orpo_loss(torch.tensor([-0.5]), torch.tensor([-1.5]), torch.tensor(0.5), beta=0.1)
    >>> round(float(t.loss), 4), round(float(t.margin), 4), t.accuracy
    (0.5171, 1.6803, 1.0)
    """
    _match(chosen=chosen, rejected=rejected)
    ratio = log_odds(chosen) - log_odds(rejected)
    loss = nll - beta * F.logsigmoid(ratio).mean()
    return Terms(loss, chosen.detach(), rejected.detach(), ratio.detach())


def dpo_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    ref_chosen: torch.Tensor,
    ref_rejected: torch.Tensor,
    beta: float = 0.1,
) -> Terms:
    """DPO: −mean log sigmoid(beta · [(chosen − ref_chosen) − (rejected − ref_rejected)]).

    All: (pairs,) log-probability **summed** over the answer, under the model and under the frozen start. A model that has
    not moved gives ln 2 = 0.693. ValueError for pairs that do not match, or beta ≤ 0.

    >>> x = torch.tensor([-10.0]); t = dpo_loss(x, x - 3, x, x - 3)
    >>> round(float(t.loss), 4), t.accuracy
    (0.6931, 0.0)
    >>> round(float(dpo_loss(x + 1, x - 4, x, x - 3, beta=0.5).margin), 4)
    1.0
    """
    _match(chosen=chosen, rejected=rejected, ref_chosen=ref_chosen, ref_rejected=ref_rejected)
    if not beta > 0:
        raise ValueError(f"beta {beta} must be above 0: it says how dearly moving away from the start is paid for")
    up, down = beta * (chosen - ref_chosen), beta * (rejected - ref_rejected)
    return Terms(-F.logsigmoid(up - down).mean(), up.detach(), down.detach(), (up - down).detach())


def _match(**parts) -> None:
    if len({tuple(p.shape) for p in parts.values()}) != 1 or next(iter(parts.values())).ndim != 1:
        shapes = ", ".join(f"{k} {tuple(p.shape)}" for k, p in parts.items())
        raise ValueError(f"{shapes}: give one number a pair, in the same order")


# ---------------------------------------------------------------- your own pairs


class PairError(ValueError):
    """Pairs that cannot be trained on; the message lists rows, reasons and the cure."""


@dataclass
class PairReport:
    """What `check_pairs` found: `rows` that are fine, `problems` as (row number from 1, reason), the leak by length."""

    rows: list[dict] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)
    total: int = 0
    longer_wins: float = float("nan")  # share of fine pairs whose chosen answer is the longer one; ties count half

    @property
    def leaks(self) -> bool:
        """Whether length alone tells the label in more than 60% of the pairs, beyond chance (95%, normal formula)."""
        n = max(len(self.rows), 1)
        away = abs(self.longer_wins - 0.5)
        return away > 0.10 and away > 1.96 * math.sqrt(0.25 / n)

    def __str__(self) -> str:
        lines = [f"{len(self.rows)} of {self.total} pairs can be used, {len(self.problems)} problems"]
        lines += [f"  row {number}: {reason}" for number, reason in self.problems[:20]]
        if len(self.problems) > 20:
            lines.append(f"  ... and {len(self.problems) - 20} more (PairReport.problems holds them all)")
        if self.rows:
            word = "length gives the label away: balance it, or it is what the model learns" if self.leaks else "fine"
            lines.append(f"  the longer answer is the chosen one in {self.longer_wins:.0%} of the pairs: {word}")
        return "\n".join(lines)


def check_pairs(
    rows: list[dict],
    strict: bool = True,
    max_length: int | None = None,
    length: Callable[[str], int] = len,
) -> PairReport:
    """Check preference pairs: dicts with `prompt`, `chosen` and `rejected`, each text, or messages as trl takes them.

    Reported with its row: a missing or empty answer, equal answers, a pair that stands swapped in another row, a pair
    given twice, answers that carry different prompts (implicit prompts), a prompt that leaves an answer nothing of
    `max_length` (in units of `length`, such as tokens). strict: PairError lists every problem; otherwise the good rows
    come back with the problems beside them.

    >>> rows = [{"prompt": "Hi", "chosen": "Hello.", "rejected": "Yo."}, {"prompt": "Hi", "chosen": "Same.", "rejected": "Same."}]
    >>> print(check_pairs(rows, strict=False))
    1 of 2 pairs can be used, 1 problems
      row 2: chosen and rejected are equal: nothing to prefer, change one or remove the pair
      the longer answer is the chosen one in 100% of the pairs: fine
    """
    report, seen = PairReport(total=len(rows)), {}
    for number, row in enumerate(rows, 1):
        reason, key = _pair_fault(row, max_length, length)
        if reason is None:
            prompt, chosen, rejected = key
            if first := seen.get(key):
                reason = f"the same pair as row {first}: remove one"
            elif first := seen.get((prompt, rejected, chosen)):
                reason = f"row {first} prefers the other answer to the same prompt: decide which is right"
        if reason is None:
            seen[key] = number
            report.rows.append(row)
        else:
            report.problems.append((number, reason))
    wins = [_compare(len(c), len(r)) for _, c, r in seen]
    report.longer_wins = sum(wins) / len(wins) if wins else float("nan")
    if (strict and report.problems) or not report.rows:
        hint = "\nMend these rows, or check_pairs(..., strict=False) to go on with the others." if report.rows else ""
        raise PairError(f"{report}{hint}" if rows else "no pairs: the list is empty")
    return report


def _compare(a: int, b: int) -> float:
    return 1.0 if a > b else 0.5 if a == b else 0.0


def _text(value) -> str | None:
    """The answer's text: a string, or the last message's content."""
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1].get("content")
    return value if isinstance(value, str) else None


def _pair_fault(row, max_length, length) -> tuple[str | None, tuple[str, str, str]]:
    nothing = ("", "", "")
    if not isinstance(row, dict):
        return f"a {type(row).__name__}, not a record with prompt, chosen and rejected", nothing
    for name in ("chosen", "rejected"):
        if name not in row or row[name] is None:
            return f"no {name!r}: a pair needs two answers", nothing
        if _text(row[name]) is None:
            return f"{name!r} is {type(row[name]).__name__}: give text, or messages with role and content", nothing
        if not _text(row[name]).strip():
            return f"{name!r} is empty: nothing to learn from", nothing
    heads = [str(row[k][:-1]) if isinstance(row[k], list) else "" for k in ("chosen", "rejected")]
    if heads[0] != heads[1]:
        return "chosen and rejected follow different prompts: compare answers to one prompt only", nothing
    prompt = row.get("prompt", "")
    if isinstance(prompt, list):
        prompt = "\n".join(str(m.get("content", "")) for m in prompt if isinstance(m, dict))
    prompt = f"{prompt or ''}{heads[0]}".strip()
    if prompt in ("", "[]"):
        return "no 'prompt': say what is answered", nothing
    chosen, rejected = _text(row["chosen"]).strip(), _text(row["rejected"]).strip()
    if chosen == rejected:
        return "chosen and rejected are equal: nothing to prefer, change one or remove the pair", nothing
    if max_length is not None and length(prompt) >= max_length:
        return f"the prompt alone has {length(prompt)} of {max_length}: each answer would be cut to nothing", nothing
    return None, (prompt, chosen, rejected)
