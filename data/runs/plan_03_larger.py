"""The recorded experiments of notebook 03 on a larger model: teachers, ways to choose rows, balance. Indicators stay with plan_03.

    python -m data.runs.plan_03_larger search               > build/03_search.json     of the model that COURSE_MODEL names
    python -m data.runs.plan_03_larger thin build/runs      > build/03_thin.json       two more seeds of the best two settings
    python -m data.runs.plan_03_larger confirm build/runs   > build/03_confirm.json    after that

As plan_03, with rates that such a model takes, each arm searched alike, and three times its steps at a quarter of its batch, for
a 1.5B that learns opaque codes late. Search: valid rows; three rates for each teacher at 400 tickets, and three rates times two
shares for the race, on the paper's method with the skewed pool: the other ways take the same rate, for they train on as many rows
as long. A setting is judged by its mean whole-record exact match; a tie goes to the lower rate. Confirm: test rows, once, seeds 3-9
for the race and its whole pools, 3-7 for teachers. A skewed pool has other rare queues with every seed: Q4c is read on their rows
(`plan_03.rare_recall`).
"""

from __future__ import annotations

import itertools

from data.runs import choose
from data.runs.plan_03 import BUDGET, METHODS, SHARES, TEACHERS, split_of
from helpers import recordings

RATES, SIZES = (1e-4, 3e-4, 6e-4), (100, 400, 1600)
FULL = {
    "STEPS": 300,
    "BATCH": 16,
    "ACCUMULATE": 1,
    "TEST_ROWS": 10**6,
    "N_PRODUCTS": 12,
    "EVAL_BATCH": 160,
    "CHECKPOINTING": False,
}
TAUGHT, RACED = range(3, 8), range(3, 10)  # confirming seeds
ARMS = dict.fromkeys(TEACHERS, RATES) | {"race": list(itertools.product(RATES, SHARES))}  # what each may set


def taught(kind: str, model: str, teacher: str, rows: int, rate: float, seed: int) -> dict:
    """One run of the teachers' grid."""
    name = f"{kind}-{model}-teacher-{TEACHERS.index(teacher)}-n{rows}-lr{rate:g}-s{seed}"
    own = {"TEACHER": teacher, "ROWS": rows, "LEARNING_RATE": rate, "SEED": seed}
    return {"name": name, "stage": "teacher", "set": own | FULL | split_of(kind)}


def raced(
    kind: str, model: str, method: str, skewed: bool, seed: int, rate: float, share: float, rows=BUDGET, even=False
) -> dict:
    """One run of the race: `rows` = 0 keeps the whole pool."""
    pool = "skewed" if skewed else "even"
    name = f"{kind}-{model}-race-{method.replace(', ', '-').replace(' ', '-')}-{pool}-n{rows}-lr{rate:g}-share{share:g}-s{seed}"
    own = {"METHOD": method, "SKEWED": skewed, "ROWS": rows, "SEED": seed, "SHARE": share, "EVEN": even}
    own |= {"LEARNING_RATE": rate, "TEACHER": "one format"}
    return {"name": name + ("-repeated" if even else ""), "stage": "race", "set": own | FULL | split_of(kind)}


def tried(model: str, arm: str, setting, seed: int) -> dict:
    """One search run of an arm: of a teacher its setting is a rate, of the race a rate and a share."""
    if arm == "race":
        return raced("search", model, "paper", True, seed, *setting)
    return taught("search", model, arm, 400, setting, seed)


def search(model: str = "qwen-1.5b") -> list[dict]:
    """Every setting on valid, seed 0."""
    return [tried(model, arm, setting, 0) for arm, settings in ARMS.items() for setting in settings]


def searched(runs: list[dict], arm: str) -> dict:
    """{setting: {seed: exact match on valid}} of an arm."""
    if arm == "race":
        return choose.scores(recordings.find(runs, "search", "race"), choose.exact, "LEARNING_RATE", "SHARE")
    return choose.scores(recordings.find(runs, "search", "teacher", TEACHER=arm), choose.exact, "LEARNING_RATE")


def thin(runs: list[dict]) -> list[dict]:
    """The two best settings of every arm by seed 0, with seeds 1 and 2; a tie goes to the earlier, that is the lower rate."""
    model, plan = recordings.model_of(runs[0]), []
    for arm, settings in ARMS.items():
        few = choose.best_few(searched(runs, arm), settings, arm)
        plan += [tried(model, arm, setting, seed) for setting in few for seed in choose.MORE_SEEDS]
    return plan


def best(runs: list[dict], arm: str):
    """The setting of the arm's highest mean among those with three seeds; a tie goes to the lower rate."""
    return choose.best(searched(runs, arm), ARMS[arm], arm, thinned=True)


def confirm(runs: list[dict]) -> list[dict]:
    """The chosen settings on test, by seed, so that a cut plan has fewer of them."""
    model, race, plan = recordings.model_of(runs[0]), best(runs, "race"), []
    rate = {teacher: best(runs, teacher) for teacher in TEACHERS}
    for seed in RACED:
        one = lambda *key, seed=seed, **more: raced("confirm", model, *key, seed, *race, **more)
        plan += [one(method, skewed) for skewed in (True, False) for method in METHODS]
        plan += [
            one("all", True, rows=0),
            one("all", True, rows=0, even=True),
            one("random", False, rows=1200),
            one("all", False, rows=0),
        ]
        if seed in TAUGHT:
            plan += [taught("confirm", model, t, rows, rate[t], seed) for rows in SIZES for t in TEACHERS]
    return plan


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, search=search, thin=thin, confirm=confirm)
