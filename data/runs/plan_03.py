"""The recorded experiments of notebook 03: four teachers, six ways to choose rows, balance, and indicators of bad rows.

    python data/runs/plan_03.py search               > build/03_search.json
    python data/runs/plan_03.py confirm build/runs   > build/03_confirm.json     after the search has run
    python data/runs/plan_03.py live                 > build/03_live.json        the notebook's own runs, on a CPU

Search: valid rows, seeds 0-2: two learning rates for each teacher, two shares for the paper's method, each
indicator's direction. Confirm: test rows, once, seeds 3-7 (3-5 for 1,600 rows and for whole pools). Every run takes the same number of steps.
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

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


def mean(runs: list[dict], start: str) -> float:
    """Mean exact match of the runs whose name begins so."""
    found = [r["result"]["methods"]["tuned"]["exact"] for r in runs if r["name"].startswith(start)]
    if len(found) != 3:
        raise SystemExit(f"{len(found)} runs begin with {start}: 3 are needed")
    return sum(t.count("1") / len(t) for t in found) / 3


def confirm(runs: list[dict]) -> list[dict]:
    """The chosen settings on test; a cut plan has fewer seeds of the race."""
    rate = {
        t: max(RATES, key=lambda lr: mean(runs, f"search-teacher-{TEACHERS.index(t)}-n400-lr{lr:g}-"))
        for t in TEACHERS
    }
    share = max(SHARES, key=lambda s: mean(runs, f"search-race-paper-skewed-n{BUDGET}-share{s:g}-"))
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
    small = {"TEST_ROWS": 10**6, "N_PRODUCTS": 3, "BATCH": 8, "ROWS": 40, "STEPS": 15}
    arms = ((TEACHERS[3], "random"), (TEACHERS[0], "random"), (TEACHERS[3], "k-center"))
    return [
        {"name": f"live-{TEACHERS.index(t)}-{m}-s{s}", "stage": "race", "set": small | {"TEACHER": t, "METHOD": m, "SEED": s}}
        for s in range(3, 6) for t, m in arms
    ]  # fmt: skip


if __name__ == "__main__":
    from record import print_plan

    print_plan(__doc__, search=search, confirm=confirm, live=live)
