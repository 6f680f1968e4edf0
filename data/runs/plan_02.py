"""The recorded experiments of notebook 02: twelve tasks, five sizes, equal steps; style and facts; rows with wrong answers.

    python data/runs/plan_02.py search               > build/02_search.json
    python data/runs/plan_02.py confirm build/runs   > build/02_confirm.json     after the search has run
    python data/runs/plan_02.py live                 > build/02_live.json        minutes on a CPU

Search: valid rows, seeds 0-2, one rate for all tasks and sizes of a kind (`KINDS`): the highest mean exact match; a tie goes
to the lower rate. `sentiment` was first run at the rate of `extract`, 8e-3, and did not fit its own rows there (49% of 400): it has its own
search since, and those three runs are not in the record. Confirm: test rows, once, seeds 3-7 up to 400 rows and 3-5 above.
Every run of a task takes the same number of steps. The runs with wrong answers at 400 and 1,600 rows were recorded twice: the
first time `own_rows` had been read from wrong rows only.
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import ladder

STEPS, BATCH = 100, 64
LONG = 300  # steps of the few longer runs
SIZES = (25, 100, 400, 1600, 4000)
RATES = {"sentiment": (1e-3, 2e-3, 4e-3), "extract": (1e-3, 2e-3, 4e-3, 8e-3), "routing": (1e-3, 2e-3, 4e-3, 8e-3),
         "policy-8": (1e-3, 2e-3, 4e-3, 8e-3), "tone": (2e-3, 4e-3), "facts": (2e-3, 4e-3, 8e-3)}  # fmt: skip
KINDS = {
    "sentiment": ("sentiment",),
    "extract": ("extract",),
    "routing": ("codes", "names", "routing"),
    "policy-8": ("policy",),
    "tone": ("tone",),
    "facts": ("facts",),
}  # fmt: skip  (searched on the first, used for the others)
SEARCH_ROWS = {"sentiment": 400, "extract": 400, "routing": 1600, "policy-8": 1600, "tone": 100, "facts": 400}
EXTRA = {"tone": (25, 140, 480, 1000), "facts": (25, 140, 480)}
POOR = {100: 3, 400: 3, 1600: 3}  # rows: seeds, with half of the answers wrong
FULL = {"STEPS": STEPS, "BATCH": BATCH, "TEST_ROWS": 10**6, "GRADE_AT": [0.25, 0.5, 1.0]}


def tuned(kind: str, task: str, rows: int, rate: float, seed: int, poor: float = 0.0) -> dict:
    """One training run of the plan."""
    name = f"{kind}-{task}-n{rows}-lr{rate:g}-s{seed}" + (f"-poor{poor:g}" if poor else "")
    graded = ["valid"] if kind == "search" else ["valid", "test"]
    own = {"TASK": task, "ROWS": rows, "LEARNING_RATE": rate, "SEED": seed, "POOR": poor, "GRADED": graded}
    return {"name": name, "stage": "tuned", "set": own | FULL}


def search() -> list[dict]:
    """Every rate on valid."""
    return [
        tuned("search", t, SEARCH_ROWS[t], lr, s) for t in KINDS for lr, s in itertools.product(RATES[t], range(3))
    ]


def live() -> list[dict]:
    """The notebook's own three runs at their live size, seeds 3-5: may run on a CPU (`live` instead of `search`)."""
    small = {"TASK": "extract", "STEPS": 20, "BATCH": 8, "TEST_ROWS": 10**6, "GRADED": ["test"], "GRADE_AT": [1.0]}
    return [{"name": f"live-extract-n{n}-s{s}", "stage": "tuned", "set": small | {"ROWS": n, "SEED": s, "LEARNING_RATE": 2e-3}}
            for s, n in itertools.product(range(3, 6), (16, 48, 160))]  # fmt: skip


def right(run: dict) -> float:
    """What a searched run is judged by: whole answers right on valid; for `tone` replies that keep the form."""
    if run["set"]["TASK"] == "tone":
        text = run["result"]["methods"]["style"]["exact"]
        return text.count("1") / len(text)
    return run["result"]["grades"][str(STEPS)]["valid"]


def best_rate(runs: list[dict], task: str) -> float:
    """The rate of the task's kind with the highest mean on valid."""
    kind = next(k for k, members in KINDS.items() if task.startswith(members))
    means = {}
    for rate in RATES[kind]:
        mine = [right(r) for r in runs if r["name"].startswith(f"search-{kind}-n{SEARCH_ROWS[kind]}-lr{rate:g}-")]
        if len(mine) != 3:
            raise SystemExit(f"{len(mine)} search runs for {kind}, rate {rate:g}: 3 are needed")
        means[rate] = sum(mine) / 3
    return max(means, key=lambda rate: (means[rate], -rate))


def confirm(runs: list[dict]) -> list[dict]:
    """The grid on test; first the runs that all verdicts need."""
    plan = [{"name": f"confirm-{t}-prompt", "stage": "prompt", "set": {"TASK": t, "TEST_ROWS": 10**6,
             "GRADED": ["valid", "test"], "EVAL_BATCH": 64, "PROMPT_ROWS": 10**6}} for t in (*ladder.NAMES, "tone", "facts")]  # fmt: skip
    grid = [(s, n, t) for s, n, t in itertools.product(range(3, 8), (*SIZES, 800), ladder.NAMES)
            if (n <= 400 or s < 6) and (n <= 800 if t == "sentiment" else n != 800)]  # fmt: skip
    last = [tuned("confirm", t, n, best_rate(runs, t), s) for s, n, t in grid if s >= 6]  # a cut plan has fewer seeds
    plan += [tuned("confirm", t, n, best_rate(runs, t), s) for s, n, t in grid if s < 6]
    for task, sizes in EXTRA.items():
        plan += [tuned("confirm", task, n, best_rate(runs, task), s) for n in sizes for s in range(3, 8)]
    for n, seeds in POOR.items():
        plan += [tuned("confirm", "routing", n, best_rate(runs, "routing"), 3 + s, 0.5) for s in range(seeds)]
    for task, seed in itertools.product(("routing", "policy-8"), range(3, 6)):  # would more steps do it?
        run = tuned("confirm", task, 1600, best_rate(runs, task), seed)
        plan.append(run | {"name": run["name"] + "-long", "stage": "tuned", "set": run["set"] | {"STEPS": LONG}})
    return plan + last


if __name__ == "__main__":
    from record import print_plan

    print_plan(__doc__, search=search, confirm=confirm, live=live)
