"""The recorded experiments of notebook 05: rank, alpha and rate on three models; prompts; the live size.

    python -m data.runs.plan_05 search               > build/05_search.json    with COURSE_MODEL=qwen-1.5b, once a model
    python -m data.runs.plan_05 thin build/runs      > build/05_thin.json      after it: the best few of every arm, two more seeds
    python -m data.runs.plan_05 confirm build/runs   > build/05_confirm.json   after that

Search: valid rows. Every rank with alpha = r, 2r, 4r and three rates, seed 0; then the two best settings of every rank, and of
every alpha at r = 16, with seeds 1 and 2. A setting is judged by its mean whole-record exact match; a tie goes to the lower rate.
Confirm: test rows, once, seeds 3-9: the best setting of every rank, and of every alpha at r = 16.

The 135M was searched and confirmed before, on other grids and by an earlier rule: `EARLIER`. Its runs stay in the record.
"""

from __future__ import annotations

import itertools

from data.runs import choose
from helpers import evaluate, recordings, tasks
from helpers.recordings import pack

RANKS, MULTIPLES = (1, 4, 16, 64), (1, 2, 4)  # alpha = multiple × rank
RATES = {"routing_words": (1e-4, 3e-4, 6e-4), "policy": (3e-4, 6e-4, 1.2e-3)}
STEPS = {"routing_words": 100, "policy": 200}  # of 16 rows
BATCH = 16
SEEDS = range(3, 10)
COMMON = {"BATCH": BATCH, "ACCUMULATE": 1, "EVAL_BATCH": 160, "CHECKPOINTING": False}
SEARCH = {"EVAL_SPLIT": "valid", "EVAL_ROWS": 320, "PROBE_TOKENS": 4096}
CONFIRM = {"EVAL_SPLIT": "test", "EVAL_ROWS": 640, "PROBE_TOKENS": 20480}
EARLIER = {"task": "routing", "settings": [(1, 2), (4, 8), (16, 16), (16, 32), (16, 64), (64, 128)], "steps": 200}
RECORDED_ON = {  # sha256 of the data files, first 16 digits
    "routing": "a6815f78fe722dbb",
    "routing_words": "ad2eda83f647ffa6",
    "routing_long": "fc1d6c704c3de726",
}


def tuned(kind: str, task: str, rank: int, alpha: int, rate: float, seed: int, model: str) -> dict:
    """One training run of the plan."""
    steps = STEPS[task]
    own = {"TASK": task, "RANK": rank, "ALPHA": alpha, "LEARNING_RATE": rate, "SEED": seed, "STEPS": steps}
    name = f"{kind}-{model}-{task}-r{rank}-a{alpha}-lr{rate:g}-{steps}x{BATCH}-s{seed}"
    return {"name": name, "stage": "tuned", "set": own | COMMON | (SEARCH if kind == "search" else CONFIRM)}


def search(model: str = "qwen-1.5b") -> list[dict]:
    """Every setting on valid, seed 0."""
    return [
        tuned("search", task, r, m * r, rate, 0, model)
        for task in STEPS
        for r, m, rate in itertools.product(RANKS, MULTIPLES, RATES[task])
    ]


def scores(runs: list[dict], task: str) -> dict[tuple, dict[int, float]]:
    """{(rank, alpha, rate): {seed: exact match}} of the searched runs of one task."""
    found = recordings.find(runs, "search", TASK=task, STEPS=STEPS.get(task, EARLIER["steps"]))
    return choose.scores(found, choose.exact, "RANK", "ALPHA", "LEARNING_RATE")


def grid(task: str, pairs: list[tuple[int, int]]) -> list[tuple]:
    """(rank, alpha, rate) of some (rank, alpha), lower rates first."""
    return [(rank, alpha, rate) for rate in RATES[task] for rank, alpha in pairs]


def arms(task: str) -> dict[str, list[tuple]]:
    """What is compared: each rank over all its settings, and each alpha of rank 16 over its rates."""
    ranks = {f"r={r}": grid(task, [(r, m * r) for m in MULTIPLES]) for r in RANKS}
    return ranks | {f"r=16, alpha={m * 16}": grid(task, [(16, m * 16)]) for m in MULTIPLES}


def thin(runs: list[dict]) -> list[dict]:
    """The two best settings of every arm by seed 0, with seeds 1 and 2."""
    model, plan = recordings.model_of(runs[0]), []
    for task in STEPS:
        found = scores(runs, task)
        few = [choose.best_few(found, settings, f"{task}, {arm}") for arm, settings in arms(task).items()]
        keep = sorted(set(itertools.chain(*few)))
        plan += [tuned("search", task, *s, seed, model) for seed in choose.MORE_SEEDS for s in keep]
    return plan


def best(runs: list[dict], task: str) -> dict[str, tuple]:
    """{arm: its best setting}: the highest mean among those with three seeds; a tie goes to the lower rate."""
    found = scores(runs, task)
    return {arm: choose.best(found, settings, f"{task}, {arm}", thinned=True) for arm, settings in arms(task).items()}


def confirm(runs: list[dict]) -> list[dict]:
    """The best setting of every arm on test, seeds 3-9; a setting that is best of two arms runs once."""
    model = recordings.model_of(runs[0])
    chosen = {task: sorted(set(best(runs, task).values())) for task in STEPS}
    return [tuned("confirm", task, *s, seed, model) for seed in SEEDS for task in STEPS for s in chosen[task]]


def collect(space: dict, stage: str) -> dict:
    """What a run keeps: verdicts by row, seconds, prose loss, peak, the log of a trained one."""
    card = space["card"]
    result = {
        "methods": {
            name: {
                "exact": pack(c.exact),
                "fields": {k: pack(v) for k, v in c.fields.items()},
                "seconds": round(c.seconds, 1),
            }
            for name, c in card.columns.items()
        },
        "prose_loss": {name: round(v, 4) for name, v in space["prose"].items()},
        "headline": {name: round(float(c.exact.mean()), 3) for name, c in card.columns.items()},
    }
    if "trainer" in space and space["trainer"] is not None:
        log = space["trainer"].state.log_history
        keep = ("step", "loss", "eval_loss")
        result["log"] = [
            {k: round(float(e[k]), 4) for k in keep if k in e} for e in log if {"loss", "eval_loss"} & set(e)
        ]
    return result


def confirmed(runs: list[dict], task: str, rank: int, alpha: int, rate: float) -> list[dict]:
    """Confirming runs of one setting, by seed."""
    steps = STEPS.get(task, EARLIER["steps"])
    return recordings.find(runs, "confirm", TASK=task, RANK=rank, ALPHA=alpha, LEARNING_RATE=rate, STEPS=steps)


def _difference(runs: list[dict], task: str, one: tuple, other: tuple) -> evaluate.Interval:
    families = [row["family"] for row in tasks.load(task, "test")]
    both = [recordings.verdicts(confirmed(runs, task, *s)) for s in (one, other)]
    return evaluate.difference(*both, families)


def measured(runs: list[dict]) -> dict:
    """Q1a and Q1b of one model's runs; the 135M by its earlier grid, on routing."""
    if recordings.model_of(runs[0]) == "SmolLM2-135M-Instruct":
        return _measured_earlier(runs)
    found = {}
    for task, claim in (("routing_words", "Q1a"), ("policy", "Q1b")):
        if not any(r["name"].startswith("confirm-") and r["set"]["TASK"] == task for r in runs):
            continue
        chosen = best(runs, task)
        if claim == "Q1a":
            own, rivals = "r=16", [arm for arm in chosen if "," not in arm and arm != "r=16"]
        else:
            own, rivals = "r=16, alpha=32", ["r=16, alpha=16", "r=16, alpha=64"]
        rival = choose.best(scores(runs, task), [chosen[arm] for arm in rivals], task)  # on valid
        if chosen[own] != rival:
            found[claim] = _difference(runs, task, chosen[own], rival)
    return found


def _measured_earlier(runs: list[dict]) -> dict:
    """The 135M: each (rank, alpha) at its own best of three rates on valid, as it was confirmed."""
    found = scores(runs, EARLIER["task"])
    best = lambda settings: choose.best(found, settings, EARLIER["task"])
    top = {pair: best(sorted(s for s in found if s[:2] == pair)) for pair in EARLIER["settings"]}
    own = best([s for s in top.values() if s[0] == 16])
    rival = best([s for s in top.values() if s[0] != 16])
    other = best([top[16, 16], top[16, 64]])
    return {
        "Q1a": _difference(runs, "routing", own, rival),
        "Q1b": _difference(runs, "routing", top[16, 32], other),
    }


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, search=search, thin=thin, confirm=confirm)
