"""The recorded experiments of notebook 03: four teachers, six ways to choose rows, balance, and indicators of bad rows.

    python -m data.runs.plan_03 search               > build/03_search.json
    python -m data.runs.plan_03 confirm build/runs   > build/03_confirm.json     after the search has run
    python -m data.runs.plan_03 live                 > build/03_live.json        the notebook's own runs, on a CPU

Search: valid rows, seeds 0-2: two learning rates for each teacher, two shares for the paper's method, each
indicator's direction. Confirm: test rows, once, seeds 3-7 (3-5 for 1,600 rows and for whole pools). Every run takes the same number of steps.
"""

import itertools
import json
from collections import Counter

import numpy as np

from data.runs import choose
from helpers import evaluate, recordings, selection, sizing, tasks
from helpers.recordings import pack

TEACHERS = ("raw logs", "one format", "reason, stiff words", "reason, own words")
METHODS = ("random", "stratified", "nearest", "k-center", "paper", "paper, own embeddings")
RATES, SHARES, BUDGET = (2e-3, 4e-3), (0.25, 0.5), 200
FULL = {"STEPS": 100, "BATCH": 64, "TEST_ROWS": 10**6, "N_PRODUCTS": 12}
SIZES = {100: 5, 400: 5, 1600: 3}  # rows: seeds


def split_of(kind: str) -> dict:
    """Where a run is scored."""
    return {"SPLIT": "valid" if kind == "search" else "test"}


def taught(kind: str, teacher: str, rows: int, rate: float, seed: int) -> dict:
    """One run of the teachers' grid."""
    name = f"{kind}-teacher-{TEACHERS.index(teacher)}-n{rows}-lr{rate:g}-s{seed}"
    own = {"TEACHER": teacher, "ROWS": rows, "LEARNING_RATE": rate, "SEED": seed}
    return {"name": name, "stage": "teacher", "set": own | FULL | split_of(kind)}


def raced(
    kind: str, method: str, skewed: bool, seed: int, share: float, rows: int = BUDGET, even: bool = False
) -> dict:
    """One run of the race: `rows` = 0 keeps the whole pool."""
    name = f"{kind}-race-{method.replace(', ', '-').replace(' ', '-')}-{'skewed' if skewed else 'even'}-n{rows}"
    own = {"METHOD": method, "SKEWED": skewed, "ROWS": rows, "SEED": seed, "SHARE": share, "EVEN": even,
           "LEARNING_RATE": 4e-3, "TEACHER": "one format"}  # fmt: skip
    name += f"-share{share:g}-s{seed}" + ("-repeated" if even else "")
    return {"name": name, "stage": "race", "set": own | FULL | split_of(kind)}


def judged(kind: str, seed: int) -> dict:
    """One draw of sound and planted bad rows, scored by the indicators: the search finds each one's better direction."""
    own = {"SEED": seed, "GOOD": 240, "BAD": 24, "REWARD_PAIRS": 600}
    return {"name": f"{kind}-indicators-s{seed}", "stage": "indicators", "set": own | split_of(kind)}


def search() -> list[dict]:
    """Every setting on valid, seeds 0-2."""
    plan = [taught("search", t, 400, lr, s) for t, lr, s in itertools.product(TEACHERS, RATES, range(3))]
    plan += [judged("search", s) for s in range(3)]
    return plan + [raced("search", "paper", True, s, share) for share, s in itertools.product(SHARES, range(3))]


def confirm(runs: list[dict]) -> list[dict]:
    """The chosen settings on test; a cut plan has fewer seeds of the race."""
    taught_by = lambda t: recordings.find(runs, "search", "teacher", TEACHER=t)
    rate = {t: choose.best(choose.scores(taught_by(t), choose.exact, "LEARNING_RATE"), RATES, t) for t in TEACHERS}
    race = recordings.find(runs, "search", "race")
    share = choose.best(choose.scores(race, choose.exact, "SHARE"), SHARES, "race")
    plan = [judged("confirm", s) for s in range(3, 8)]
    plan += [
        taught("confirm", t, n, rate[t], s)
        for s in range(3, 8)
        for n, k in SIZES.items()
        for t in TEACHERS
        if s < 3 + k
    ]
    whole = [("all", True, False), ("all", True, True), ("random", False, False)]  # 1,200 rows: skewed, repeated, even
    plan += [raced("confirm", "all", False, s, share, 0) for s in range(3, 6)]  # all 4,000, for reference
    plan += [
        raced("confirm", m, skew, s, share, 0 if skew else 1200, even) for s in range(3, 6) for m, skew, even in whole
    ]
    return plan + [raced("confirm", m, skew, s, share) for s in range(3, 8) for skew in (True, False) for m in METHODS]


def live() -> list[dict]:
    """The notebook's own three runs, seeds 3-5."""
    small = {"TEST_ROWS": 10**6, "N_PRODUCTS": 3, "BATCH": 8, "ACCUMULATE": 1, "ROWS": 40, "STEPS": 15}
    arms = ((TEACHERS[3], "random"), (TEACHERS[0], "random"), (TEACHERS[3], "k-center"))
    return [
        {"name": f"live-{TEACHERS.index(t)}-{m}-s{s}", "stage": "race", "set": small | {"TEACHER": t, "METHOD": m, "SEED": s}}
        for s in range(3, 6) for t, m in arms
    ]  # fmt: skip


def collect(space: dict, stage: str) -> dict:
    """What a run keeps: verdicts of a trained model, or the scores of every indicator."""
    if stage == "indicators":
        return {
            "kinds": [r["kind"] for r in space["mixed"]],
            "scores": {k: [round(float(x), 4) for x in v] for k, v in space["scores"].items()},
            "reward_accuracy": round(float(space["wins"].mean()), 4),
            "length_accuracy": round(float(space["longer"].mean()), 4),
        }
    exact, fields = space["exact"], space["fields"]
    lengths = [len(space["tokenizer"](r["completion"])["input_ids"]) for r in space["seen"][:200]]
    return {
        "methods": {"tuned": {"exact": pack(exact), "fields": {k: pack(v) for k, v in fields.items()}}},
        "queues": dict(Counter(r["queue"] for r in space["chosen"])),
        "families": len({r["family"] for r in space["chosen"]}),
        "tokens": round(float(np.mean(lengths)), 1),
        "headline": {"exact": round(float(exact.mean()), 3)}
        | {k: round(float(v.mean()), 3) for k, v in fields.items()},
    }


def raced_verdicts(runs: list[dict], method: str, skewed: bool, rows: int = BUDGET, even: bool = False):
    """Verdicts (seeds, test rows) of one confirmed arm of the race; rows = 0 is the whole pool."""
    return recordings.verdicts(
        recordings.find(runs, "confirm", "race", METHOD=method, SKEWED=skewed, ROWS=rows, EVEN=even)
    )


def taught_verdicts(runs: list[dict], teacher: str) -> dict:
    """{tickets: verdicts (seeds, test rows)} of one teacher's confirmed runs."""
    found = recordings.find(runs, "confirm", "teacher", TEACHER=teacher)
    sizes = sorted({r["set"]["ROWS"] for r in found})
    return {n: recordings.verdicts([r for r in found if r["set"]["ROWS"] == n]) for n in sizes}


def rare_recall(even: list[dict], skewed: list[dict], queues: int = 3) -> np.ndarray:
    """Share of tickets of the rarest `queues` that got their queue right, even minus skewed training: (seeds,).

    even, skewed: runs of the same seeds, in the same order; which queues are rare is read from each skewed run.
    """
    of_row = np.array([json.loads(row["completion"])["queue"] for row in tasks.load("routing", "test")])
    found = []
    for one, other in zip(even, skewed, strict=True):
        count = other["result"]["queues"]
        rare = np.isin(of_row, sorted(count, key=count.get)[:queues])
        recall = [recordings.verdicts([run], field="queue")[0][rare].mean() for run in (one, other)]
        found.append(recall[0] - recall[1])
    return np.array(found)


DIRECTIONS = {"high": lambda x: x, "low": lambda x: -x, "middle": lambda x: -np.abs(x - np.median(x))}


def precision(run: dict, indicator: str, direction: str) -> float:
    """Share of sound rows among as many kept as there are sound ones."""
    sound = np.array(run["result"]["kinds"]) == "sound"
    scores = DIRECTIONS[direction](np.array(run["result"]["scores"][indicator]))
    return float(sound[selection.keep_best(scores, int(sound.sum()))].mean())


def directions(runs: list[dict]) -> dict[str, str]:
    """{indicator: its better direction} on the searched draws."""
    searched = recordings.find(runs, "search", "indicators")
    return {
        i: max(DIRECTIONS, key=lambda d: np.mean([precision(r, i, d) for r in searched]))
        for i in searched[0]["result"]["scores"]
    }


def measured(runs: list[dict]) -> dict:
    """Q2f-Q2h, Q4c and Q4d of one model's runs."""
    families = [r["family"] for r in tasks.load("routing", "test")]
    arm = lambda *key, **more: raced_verdicts(runs, *key, **more)
    core, whole = arm("paper", False), arm("all", False, 0)
    both = min(len(core), len(whole))  # the whole pool has fewer seeds
    raw, own = (taught_verdicts(runs, t) for t in ("raw logs", "reason, own words"))
    found = {
        "Q2f": {
            "as the whole pool": evaluate.difference(core[:both], whole[:both], families),
            "better than chance": evaluate.difference(core, arm("random", False), families),
        },
        "Q2g": {
            "even pool": evaluate.difference(core, arm("random", False), families),
            "skewed pool": evaluate.difference(arm("paper", True), arm("stratified", True), families),
        },
        "Q4c": evaluate.difference(arm("random", False, 1200), arm("all", True, 0), families),
        "Q4d": tuple(sizing.rows_ratio(raw, families, own, families, 0.5)),
    }
    if (
        recordings.model_of(runs[0]) != recordings.BUNDLED
    ):  # its runs were made for this; those of the 135M before the rule
        even, skewed = recordings.paired(
            [r | {"stage": "tuned"} for r in runs if r["stage"] == "race"],
            {"METHOD": "random", "SKEWED": False, "ROWS": 1200},
            {"METHOD": "all", "SKEWED": True, "ROWS": 0, "EVEN": False},
        )
        found["Q4c"] = evaluate.over_seeds(rare_recall(even, skewed))
    if confirmed := recordings.find(runs, "confirm", "indicators"):
        way, chance = directions(runs), np.mean(np.array(confirmed[0]["result"]["kinds"]) == "sound")
        found["Q2h"] = {
            i: evaluate.over_seeds([precision(r, i, d) - chance for r in confirmed]) for i, d in way.items()
        }
    return found


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, search=search, confirm=confirm, live=live)
