"""The claims ledger: what the source says, the rule that decides it, and what was measured on each model.

- ``CLAIMS``            every claim of `data/claims.toml`, with its Chinese clause and its rules
- ``Rule.holds(i)``     True, False, or None where an interval allows both
- ``verdict(id, ...)``  the words for what was measured
- ``measured("05")``    {model: {claim: interval}} of a notebook's recorded runs, as its plan computes them
- ``show("Q1a")``       rule, measurements and verdict as a notebook prints them
- ``table()``           the whole ledger as Markdown; ``python -m helpers.claims`` writes it to `data/claims.md`
"""

from __future__ import annotations

import importlib
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"
MODELS = {  # the recorded models, smallest first: the last one that was measured decides
    "SmolLM2-135M-Instruct": "135M",
    "qwen-0.5b": "0.5B",
    "qwen-1.5b": "1.5B",
}
SHAPES = "7B shape"  # random weights: true memory and speed, no quality
UNITS = {
    "points": (100, "{:+.1f}", " points"),
    "%": (100, "{:.0f}", "%"),
    "rows": (1, "{:,.0f}", " rows"),
    "times": (1, "{:.2f}", " times"),
    "nats": (1, "{:+.3f}", " nats"),
    "rho": (1, "{:+.2f}", ""),
    "GiB": (1, "{:.1f}", " GiB"),
    "hours": (1, "{:.2f}", " hours"),
    "yuan": (1, "{:.2f}", " yuan"),
    "tasks": (1, "{:.0f}", " tasks"),
}  # fmt: skip  (scale of a stored number, format, unit)


@dataclass(frozen=True)
class Rule:
    """One metric, one threshold, one comparison. `side`: where the whole 95% interval must lie, "above" or "below"."""

    metric: str
    unit: str
    side: str
    threshold: float
    name: str = ""

    def __post_init__(self):
        if self.side not in ("above", "below") or self.unit not in UNITS:
            raise ValueError(f"rule {self.metric!r}: side above or below, unit one of {', '.join(UNITS)}")

    def holds(self, interval) -> bool | None:
        """Whether `interval` (mean, low, high; fractions where the unit is points or %) lies wholly on the right side.

        >>> rule = Rule("a - b", "points", "above", -3)
        >>> rule.holds((0.0, -0.02, 0.02)), rule.holds((-0.09, -0.12, -0.05)), rule.holds((0.0, -0.1, 0.1))
        (True, False, None)
        """
        scale = UNITS[self.unit][0]
        _, low, high = interval
        if not low <= high:
            raise ValueError(f"interval [{low}, {high}]: the bounds stand in the wrong order, or one is NaN")
        if self.side == "below":
            return True if scale * high < self.threshold else False if scale * low > self.threshold else None
        return True if scale * low > self.threshold else False if scale * high < self.threshold else None

    def show(self, interval) -> str:
        """The interval in the rule's unit.

        >>> Rule("x", "points", "above", 0).show((0.1, 0.05, 0.15))
        '+10.0 points [+5.0, +15.0]'
        """
        scale, form, unit = UNITS[self.unit]
        mean, low, high = ("not reached" if x == float("inf") else form.format(scale * x) for x in interval)
        if low == high == mean:
            return mean + unit
        return f"{mean}{unit} [{low}, {high}]"

    def __str__(self) -> str:
        return f"{self.metric}: {self.side} {self.threshold:g} {self.unit}".replace(" rho", "")


@dataclass(frozen=True)
class Claim:
    """One claim of the source. `rules`: none until its notebook is written; several where it has parts (all must hold)."""

    id: str
    claim: str
    clause: str
    notebook: str
    rules: tuple[Rule, ...] = ()
    condition: str = ""
    reserve: tuple[tuple[str, str], ...] = ()


def load(path: Path = DATA / "claims.toml") -> dict[str, Claim]:
    """The claims of a file, by id, in its order; ValueError for a rule with two thresholds or an unknown side."""
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        id: Claim(id, **c | {"rules": tuple(Rule(**r) for r in c.get("rules", ())), "reserve": tuple(c.get("reserve", {}).items())})
        for id, c in found.items()
    }  # fmt: skip


CLAIMS = load()


def _parts(claim: Claim, found) -> list[tuple[Rule, object]]:
    """(rule, interval) of what was measured; `found` is one interval, or {name of the rule: interval}."""
    if not claim.rules:
        raise ValueError(f"{claim.id} has no rule yet: write it into data/claims.toml before the confirming run")
    if not isinstance(found, dict):
        found = {claim.rules[0].name: found}
    names = [r.name for r in claim.rules]
    if unknown := sorted(set(found) - set(names)):
        raise ValueError(f"{claim.id} has no part {unknown[0]!r}: its rules are {', '.join(map(repr, names))}")
    return [(r, found[r.name]) for r in claim.rules if r.name in found]


def verdict(id: str, found, model: str = "") -> str:
    """The verdict on `found`: an interval, or a dict of them where the claim has parts, measured on `model`.

    >>> verdict("Q1a", (0.0, -0.01, 0.01)), verdict("Q1a", (0.0, -0.1, 0.1))
    ('holds', 'not decided here (interval too wide)')
    """
    claim = CLAIMS[id]
    if model and (why := dict(claim.reserve).get(model)):
        return f"not decided here ({why})"
    parts = [(rule.name, rule.holds(interval)) for rule, interval in _parts(claim, found)]
    said = {answer: [name for name, a in parts if a is answer] for answer in (True, False, None)}
    missing = [r.name for r in claim.rules if r.name not in {name for name, _ in parts}]
    tail = f" ({claim.condition})" if claim.condition else ""
    if len(said[True]) == len(claim.rules):
        return f"holds if {claim.condition}" if claim.condition else "holds"
    if said[True]:
        rest = [f"not for {', '.join(said[False])}"] * bool(said[False])
        rest += [f"{', '.join(said[None])} not decided"] * bool(said[None])
        rest += [f"{', '.join(missing)} not tested"] * bool(missing)
        return f"holds for {', '.join(said[True])}; {'; '.join(rest)}{tail}"
    if said[False]:  # all parts would have to hold
        return "does not hold" + tail
    return "not decided here (interval too wide)"


def rules(*ids: str) -> str:
    """The rules of some claims as text, as they stood before the confirming run.

    >>> print(rules("Q7a"))
    Q7a  QLoRA of a 7B fits in 12 GB
         peak GiB of 1 × 2,048 tokens, r = 16, on a card capped at 11.3 GiB: below 11.3 GiB
    """
    lines = []
    for c in (CLAIMS[i] for i in ids):
        lines.append(f"{c.id}  {c.claim}")
        lines += [f"     {f'{r.name}: ' if r.name else ''}{r}" for r in c.rules] or ["     no rule yet"]
    return "\n".join(lines)


def measured(notebook: str) -> dict[str, dict]:
    """{model: {claim: interval, or {part: interval}}} of a notebook's recorded runs, as `data/runs/plan_NN.py` computes it; a
    text where the runs give nothing to compute an interval from.

    >>> sorted(measured("05")["SmolLM2-135M-Instruct"])
    ['Q1a', 'Q1b']
    """
    from helpers import recordings

    plan = importlib.import_module(f"data.runs.plan_{notebook}")
    by_model: dict[str, list] = {}
    for run in (recorded := recordings.load(notebook)):
        by_model.setdefault(recordings.model_of(run), []).append(run)
    found = {model: plan.measured(runs) for model, runs in by_model.items() if hasattr(plan, "measured")}
    found[SHAPES] = plan.shapes(recorded) if hasattr(plan, "shapes") else {}
    return {model: result for model, result in found.items() if result}


@lru_cache(maxsize=1)
def decisions() -> dict[str, tuple[dict[str, str], str]]:
    """Of every claim: {model: what was measured, in words}, and the verdict, which is the largest measured model's."""
    from helpers import recordings

    recorded = {path.stem for path in recordings.FOLDER.glob("*.jsonl")}
    found = {n: measured(n) for n in sorted({c.notebook for c in CLAIMS.values() if c.rules} & recorded)}
    result = {}
    for c in CLAIMS.values():
        by_model = {m: r[c.id] for m, r in found.get(c.notebook, {}).items() if c.id in r}
        if reason := next((f for f in reversed(by_model.values()) if isinstance(f, str)), ""):
            result[c.id] = ({}, f"not decided here ({reason})")  # nothing to compute an interval from
            continue
        words = {
            m: "; ".join(f"{r.name}{': ' if r.name else ''}{r.show(i)}" for r, i in _parts(c, f))
            for m, f in by_model.items()
        }
        order = [m for m in (*MODELS, SHAPES) if m in by_model]
        if not order:
            result[c.id] = ({}, f"open: notebook {c.notebook}" if not c.rules else "open: not recorded yet")
            continue
        said = verdict(c.id, by_model[order[-1]], order[-1])
        alone = len(order) == 1 and order[0] in MODELS and not said.startswith("not decided")
        result[c.id] = (words, f"{said}, on {MODELS[order[0]]} only" if alone else said)
    return result


def show(*ids: str) -> str:
    """Of some claims: the rule, what was measured on each model, and the verdict, as a notebook prints them.

    >>> print(show("Q9a"))
    Q9a  which tool for whom
        open: notebook 11
    """
    said, lines = decisions(), []
    for c in (CLAIMS[i] for i in ids):
        words, verdict_ = said[c.id]
        lines.append(f"{c.id}  {c.claim}")
        lines += [f"    rule     {f'{r.name}: ' if r.name else ''}{r}" for r in c.rules]
        lines += [f"    {MODELS.get(m, m):8} {text}" for m, text in words.items()]
        lines.append(f"    {verdict_}")
    return "\n".join(lines)


def table() -> str:
    """All claims, what was measured on each model, and the verdict, as a Markdown table."""
    lines = ["| claim | in the source | decided by | 135M | 0.5B | 1.5B | verdict |", "|---|---|---|---|---|---|---|"]
    for id, (words, said) in decisions().items():
        c = CLAIMS[id]
        cells = [words.get(m, "") for m in MODELS]
        if SHAPES in words:
            cells = ["", "", f"7B shape, random weights: {words[SHAPES]}"]
        rule = "<br>".join(f"{r.name}: {r}" if r.name else str(r) for r in c.rules)
        lines.append(f"| {id}: {c.claim} | {c.clause} | {rule} | {' | '.join(cells)} | **{said}** |")
    return "\n".join(lines)


HEAD = """# The claims, tested

Made by `make claims` from the recorded runs in [runs/](runs) and the rules in [claims.toml](claims.toml); do not edit it by hand. An interval
is a 95% interval over families of wording and seeds. It decides where it lies wholly on one side of the rule's threshold. The verdict is that
of the largest model that was measured; 135M, 0.5B and 1.5B stand side by side so that you see how a claim depends on size.

"""


def count(said: dict) -> dict[str, int]:
    """How many claims have each kind of verdict.

    >>> count({"a": ({}, "holds, on 135M only"), "b": ({}, "open: notebook 06"), "c": ({}, "holds if x")})
    {'holds': 1, 'holds under a condition': 1, 'open': 1}
    """
    kinds: dict[str, int] = {}
    starts = {"holds if": "holds under a condition", "holds for": "holds in part", "holds": "holds",
              "does not hold": "does not hold", "not decided": "not decided here", "open": "open"}  # fmt: skip
    for _, words in said.values():
        kind = next(name for start, name in starts.items() if words.startswith(start))
        kinds[kind] = kinds.get(kind, 0) + 1
    return {name: kinds[name] for name in dict.fromkeys(["holds", *starts.values()]) if name in kinds}


if __name__ == "__main__":
    (DATA / "claims.md").write_text(HEAD + table() + "\n", encoding="utf-8")
    print(", ".join(f"{n} {kind}" for kind, n in count(decisions()).items()))
