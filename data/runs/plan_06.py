"""The recorded experiments of notebook 06: the learning rate on three sizes, three ranks, and without adapters.

    python -m data.runs.plan_06 search > build/06_search.json      with COURSE_MODEL=qwen-1.5b, once a model
    python -m data.runs.plan_06 full > build/06_full.json          every weight trained: 16 bytes of memory a parameter
    python -m data.runs.plan_06 confirm > build/06_confirm.json    after the search

Search: valid rows, batches of 16, rates half a decade apart, alpha = 2r. `routing_words`, 100 steps: rank 16 with seeds 0-2, ranks 4
and 64 with seed 0. `policy`, 200 steps, a task whose curve rests on a plateau: rank 16, seeds 0-2.
Full fine-tuning: `routing_words`, rates a decade lower, seeds 0-2.
Confirm: test rows, once, seeds 3-9, rank 16, every rate, both tasks. On the curves of each seed Q3's advice is played from
1e-4 (`curves.follow`, whose thresholds were found on the search of `routing_words`); where it ends, it meets the rate that was best
on valid. Rule: claims.toml, Q3.
"""

from __future__ import annotations

import itertools

import numpy as np

from data.runs import choose
from helpers import curves, evaluate, recordings, tasks
from helpers.recordings import pack

STEPS, BATCH = {"routing_words": 100, "policy": 200}, 16
RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
FULL_RATES = (1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
BEGIN = 1e-4  # where Q3's advice begins
SEARCH_SEEDS, SEEDS = range(3), range(3, 10)
COMMON = {"BATCH": BATCH, "EVAL_BATCH": 160}
SEARCH = {"EVAL_SPLIT": "valid", "EVAL_ROWS": 320, "PROBE_TOKENS": 4096}
CONFIRM = {"EVAL_SPLIT": "test", "EVAL_ROWS": 640, "PROBE_TOKENS": 20480}


def run(kind: str, model: str, stage: str, rank: int, rate: float, seed: int, task: str = "routing_words") -> dict:
    """One training run of the plan; rank 0 where every weight is trained."""
    own = {"TASK": task, "STEPS": STEPS[task], "LEARNING_RATE": rate, "SEED": seed, "RANK": rank, "ALPHA": 2 * rank}
    name = "-".join([kind, model, *([task] if task != "routing_words" else []), stage, f"r{rank}-lr{rate:g}-s{seed}"])
    return {"name": name, "stage": stage, "set": own | COMMON | (SEARCH if kind == "search" else CONFIRM)}


def search(model: str = "qwen-1.5b") -> list[dict]:
    """Every rate on valid."""
    grid = [(16, rate, seed) for seed, rate in itertools.product(SEARCH_SEEDS, RATES)]
    grid += [(rank, rate, 0) for rank, rate in itertools.product((4, 64), RATES)]
    plan = [run("search", model, "lora", *setting) for setting in grid]
    hard = [(16, rate, seed, "policy") for seed, rate in itertools.product(SEARCH_SEEDS, RATES)]
    return plan + [run("search", model, "lora", *setting) for setting in hard]


def full(model: str = "qwen-1.5b") -> list[dict]:
    """Every weight trained, on valid."""
    return [run("search", model, "full", 0, rate, seed) for seed, rate in itertools.product(SEARCH_SEEDS, FULL_RATES)]


def confirm(model: str = "qwen-1.5b") -> list[dict]:
    """Every rate at rank 16 on test, new seeds; by seed, so that a cut plan has fewer of them."""
    grid = itertools.product(SEEDS, STEPS, RATES)
    return [run("confirm", model, "lora", 16, rate, seed, task) for seed, task, rate in grid]


def before(space: dict, number: int, stages: list[str]) -> None:
    """The page's warm-up: a twentieth of the run's steps."""
    space["WARMUP"] = max(1, space["STEPS"] // 20)


def collect(space: dict, stage: str) -> dict:
    """Trains by the page's `new_trainer` and keeps verdicts by row, prose loss, and of every step loss and size of the gradient."""
    adapter = space["lora"](space["RANK"], space["ALPHA"]) if stage == "lora" else None
    trainer = space["new_trainer"](space["LEARNING_RATE"], adapter, warmup=space["WARMUP"])
    trainer.train()
    space["trainer"] = trainer  # for the recorder's check of its weights
    model, tokenizer = trainer.model, space["tokenizer"]
    answers = evaluate.generate(model, tokenizer, space["asked"], space["NEW_TOKENS"], space["EVAL_BATCH"], bar=False)
    pairs = zip(answers, space["eval_rows"])
    right = np.array([tasks.check_answer(space["TASK"], a, row["completion"]).exact for a, row in pairs])
    prose = float(evaluate.prose_loss(model, tasks.prose(space["PROBE_TOKENS"], tokenizer), bar=False).mean())
    log = [e for e in trainer.state.log_history if "loss" in e]
    digits = lambda name, n: [float(f"{float(e[name]):.{n}g}") for e in log]
    return {
        "exact": pack(right),
        "prose_loss": round(prose, 4),
        "loss": digits("loss", 4),
        "grad_norm": digits("grad_norm", 3),
        "headline": {"exact": round(float(right.mean()), 3), "prose": round(prose, 3)},
    }


def best_on_valid(runs: list[dict], task: str) -> float:
    """The rate of rank 16 with the highest mean exact match of the searched seeds; a tie goes to the lower rate."""
    found = recordings.find(runs, "search", "lora", RANK=16, TASK=task)
    right = lambda r: recordings.unpack(r["result"]["exact"]).mean()
    return choose.best(choose.scores(found, right, "LEARNING_RATE"), RATES, task)


def advised(by_rate: dict[float, dict]) -> list[float]:
    """The rates that the advice visits from `BEGIN` on the curves of one seed: {rate: its run}."""
    ladder = sorted(by_rate)
    path = curves.follow(ladder.index(BEGIN), lambda at: by_rate[ladder[at]]["result"]["loss"], len(ladder))
    return [ladder[at] for at in path]


def measured(runs: list[dict]) -> dict:
    """Q3 of one model's runs: exact match where the advice ends minus that of the best rate on valid, seed by seed."""
    parts = {}
    for part, task in (("simple", "routing_words"), ("plateau", "policy")):
        by_seed: dict[int, dict] = {}
        for r in recordings.find(runs, "confirm", "lora", RANK=16, TASK=task):
            by_seed.setdefault(r["set"]["SEED"], {})[r["set"]["LEARNING_RATE"]] = r
        whole = [by_rate for _, by_rate in sorted(by_seed.items()) if len(by_rate) == len(RATES)]
        if len(whole) < 3:
            continue
        best, right = best_on_valid(runs, task), lambda r: recordings.unpack(r["result"]["exact"])
        ends = [right(by_rate[advised(by_rate)[-1]]) for by_rate in whole]
        families = [row["family"] for row in tasks.load(task, "test")]
        parts[part] = evaluate.difference(ends, [right(by_rate[best]) for by_rate in whole], families)
    return {"Q3": parts} if parts else {}


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, search=search, full=full, confirm=confirm)
