"""The recorded experiments of notebook 02: twelve tasks, five sizes, equal steps; style and facts; rows with wrong answers.

    python -m data.runs.plan_02 search               > build/02_search.json      of the model that COURSE_MODEL names
    python -m data.runs.plan_02 thin build/runs      > build/02_thin.json        larger models: two more seeds of the best two rates
    python -m data.runs.plan_02 confirm build/runs   > build/02_confirm.json     after that
    python -m data.runs.plan_02 live                 > build/02_live.json        minutes on a CPU

Search: valid rows, seeds 0-2, one rate for all tasks and sizes of a kind (`KINDS`): the highest mean exact match; a tie goes
to the lower rate. `sentiment` was first run at the rate of `extract`, 8e-3, and did not fit its own rows there (49% of 400): it has its own
search since, and those three runs are not in the record. Confirm: test rows, once, seeds 3-7 up to 400 rows and 3-5 above.
Every run of a task takes the same number of steps. The runs with wrong answers at 400 and 1,600 rows were recorded twice: the
first time `own_rows` had been read from wrong rows only.

The larger models take 300 steps of 16 on the seven tasks that verdicts need: on the 135M, 100 steps were too few for the hard tasks
to fit their own rows, so that steps were missing, not rows. Three rates a kind of task: seed 0 of all, then seeds 1 and 2 of the
best two. Seeds 3-5 of the whole grid come first in the plan, seeds 6 and 7 up to 400 rows last: a cut plan has fewer seeds.
`names-8` and `extract` passed their targets at 25 rows, the smallest size, so that nothing could be said below: after that 6 and 12 rows
were added for them and for `codes-8`, seeds 3-7.
"""

import itertools

import numpy as np

from data.runs import choose
from helpers import difficulty, evaluate, recordings, sizing, tasks
from helpers.recordings import pack, start

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
LARGER = ("sentiment", "extract", "names-8", "codes-8", "routing_words", "routing", "policy-8")
PARAMETERS = {  # parameters, and those of the adapter (r = 16, all-linear)
    "SmolLM2-135M-Instruct": (134_515_008, 4_884_480),
    "qwen-0.5b": (494_032_768, 8_798_208),
    "qwen-1.5b": (1_543_714_304, 18_464_768),
}
LARGER_STEPS, LARGER_RATES = 300, (1e-4, 3e-4, 6e-4)
LARGER_FULL = FULL | {"STEPS": LARGER_STEPS, "BATCH": 16, "GRADE_AT": [1.0], "EVAL_BATCH": 160, "CHECKPOINTING": False}


def tuned(
    kind: str, task: str, rows: int, rate: float, seed: int, poor: float = 0.0, model: str = recordings.BUNDLED
) -> dict:
    """One training run of the plan."""
    name = f"{start(kind, model)}-{task}-n{rows}-lr{rate:g}-s{seed}" + (f"-poor{poor:g}" if poor else "")
    small = model == recordings.BUNDLED
    graded = ["valid"] if kind == "search" else ["valid", "test"] if small else ["test"]
    own = {"TASK": task, "ROWS": rows, "LEARNING_RATE": rate, "SEED": seed, "POOR": poor, "GRADED": graded}
    return {"name": name, "stage": "tuned", "set": own | (FULL if small else LARGER_FULL)}


def search(model: str = recordings.BUNDLED) -> list[dict]:
    """Every rate on valid; of a larger model with seed 0."""
    if model != recordings.BUNDLED:
        return [tuned("search", t, SEARCH_ROWS[t], lr, 0, 0.0, model) for t in KINDS for lr in LARGER_RATES]
    return [
        tuned("search", t, SEARCH_ROWS[t], lr, s) for t in KINDS for lr, s in itertools.product(RATES[t], range(3))
    ]


def searched(runs: list[dict], kind: str) -> dict[float, dict[int, float]]:
    """{rate: {seed: score on valid}} of the search runs of a kind of task."""
    found = recordings.find(runs, "search", TASK=kind, ROWS=SEARCH_ROWS[kind])
    return choose.scores(found, right, "LEARNING_RATE")


def thin(runs: list[dict]) -> list[dict]:
    """A larger model: the best two rates of every kind of task, with seeds 1 and 2; a tie goes to the lower rate."""
    model, plan = recordings.model_of(runs[0]), []
    for kind in KINDS:
        few = choose.best_few(searched(runs, kind), LARGER_RATES, kind)
        plan += [tuned("search", kind, SEARCH_ROWS[kind], lr, s, 0.0, model) for lr in few for s in choose.MORE_SEEDS]
    return plan


def live() -> list[dict]:
    """The notebook's own three runs at their live size, seeds 3-5: may run on a CPU (`live` instead of `search`)."""
    small = {"TASK": "extract", "STEPS": 20, "BATCH": 8, "TEST_ROWS": 10**6, "GRADED": ["test"], "GRADE_AT": [1.0]}
    return [{"name": f"live-extract-n{n}-s{s}", "stage": "tuned", "set": small | {"ROWS": n, "SEED": s, "LEARNING_RATE": 2e-3}}
            for s, n in itertools.product(range(3, 6), (16, 48, 160))]  # fmt: skip


def right(run: dict) -> float:
    """What a searched run is judged by: whole answers right on valid; for `tone` replies that keep the form."""
    if run["set"]["TASK"] == "tone":
        return choose.exact(run, "style")
    return run["result"]["grades"][str(run["set"]["STEPS"])]["valid"]


def best_rate(runs: list[dict], task: str) -> float:
    """The rate of the task's kind with the highest mean on valid; of a larger model among those that were not thinned out."""
    kind = next(k for k, members in KINDS.items() if task.startswith(members))
    larger = recordings.model_of(runs[0]) != recordings.BUNDLED
    return choose.best(searched(runs, kind), LARGER_RATES if larger else RATES[kind], kind, thinned=larger)


def asked(task: str, model: str = recordings.BUNDLED) -> dict:
    """One task behind prompts, without any training."""
    own = {"TASK": task, "TEST_ROWS": 10**6, "GRADED": ["valid", "test"], "EVAL_BATCH": 64, "PROMPT_ROWS": 10**6}
    return {"name": f"{start('confirm', model)}-{task}-prompt", "stage": "prompt", "set": own}


def confirm_larger(runs: list[dict]) -> list[dict]:
    """The grid of a larger model on test."""
    model = recordings.model_of(runs[0])
    trained = lambda t, n, s: tuned("confirm", t, n, best_rate(runs, t), s, 0.0, model)
    sizes = {t: (25, 100, 400, 800) if t == "sentiment" else SIZES for t in LARGER}
    plan = [trained(t, n, s) for s in range(3, 6) for t in LARGER for n in sizes[t]]
    plan += [trained(t, n, s) for s in range(3, 6) for t in ("tone", "facts") for n in (25, 140, 480)]
    plan += [asked(t, model) for t in (*LARGER, "tone", "facts")]
    plan += [trained(t, n, s) for s in range(6, 8) for t in LARGER for n in sizes[t] if n <= 400]
    return plan + [trained(t, n, s) for s in range(3, 8) for t in ("names-8", "codes-8", "extract") for n in (6, 12)]


def confirm(runs: list[dict]) -> list[dict]:
    """The grid on test; first the runs that all verdicts need."""
    if recordings.model_of(runs[0]) != recordings.BUNDLED:
        return confirm_larger(runs)
    plan = [asked(t) for t in (*difficulty.NAMES, "tone", "facts")]
    grid = [(s, n, t) for s, n, t in itertools.product(range(3, 8), (*SIZES, 800), difficulty.NAMES)
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


def collect(space: dict, stage: str) -> dict:
    """What a run keeps: of a prompt its scores by number of examples, of a training its grades, own rows and verdicts."""
    return _collect_prompt(space) if stage == "prompt" else _collect_tuned(space)


def _collect_prompt(space: dict) -> dict:
    result = {"methods": {}, "perplexity": {}, "valid": {}}
    for (n, rules, split), found in space["prompted"].items():
        name = f"{n} shots{', rules' if rules else ''}"
        if split == "valid":
            result["valid"][name] = round(float(found.exact.mean()), 4)
            continue
        result["methods"][name] = {"exact": pack(found.exact)}
        result["perplexity"][name] = [round(float(found.nll.sum()), 3), int(found.tokens.sum())]
        if name == "0 shots":
            result["rows"] = [[round(float(x), 3) for x in found.nll], found.tokens.tolist()]
    for name, verdicts in space.get("styles_by_prompt", {}).items():
        result["methods"][name] = {"exact": pack(verdicts)}
    return result | {"headline": result["valid"]}


def _collect_tuned(space: dict) -> dict:
    grades, graded = space["grades"], space["GRADED"]
    last, own, chosen = grades[space["STEPS"]], space["own"], space["chosen"]
    result = {
        "methods": {"tuned": {"exact": pack(last[graded[-1]])}},
        "grades": {step: {s: round(float(v.mean()), 4) for s, v in g.items()} for step, g in grades.items()},
        "own_rows": round(float(own.mean()), 4),
        "own_swapped": round(sum("swapped" in r for r in chosen[:100]) / len(own), 2),  # another row's answer
        "loss": [round(x, 3) for x in space["losses"][:: max(1, space["STEPS"] // 20)]],
        "headline": {s: round(float(v.mean()), 3) for s, v in last.items()},
    }
    if len(graded) > 1:  # best of the graded steps, chosen on valid, read on test
        best = max(grades, key=lambda step: (grades[step]["valid"].mean(), -step))
        result["best_step"], result["methods"]["best"] = best, {"exact": pack(grades[best]["test"])}
    if "style_kept" in space:
        result["methods"]["style"] = {"exact": pack(space["style_kept"])}
    if space["TASK"] == "facts":
        result["facts"] = sorted({r["fact"] for r in chosen})
    return result


def grid(runs: list[dict], task: str, steps: int = 0) -> dict:
    """{training rows: verdicts (seeds, test rows)} of one task's confirmed runs, by default of the grid's steps. A size with
    fewer than three seeds is left out: no interval stands on it."""
    steps = steps or (STEPS if recordings.model_of(runs[0]) == recordings.BUNDLED else LARGER_STEPS)
    found = recordings.find(runs, "confirm", TASK=task, POOR=0.0, STEPS=steps)
    by_rows = {n: [r for r in found if r["set"]["ROWS"] == n] for n in sorted({r["set"]["ROWS"] for r in found})}
    return {n: recordings.verdicts(same) for n, same in by_rows.items() if len(same) >= 3}


def groups(task: str) -> list[str]:
    """The family of each test row of a task."""
    return [r["family"] for r in difficulty.task(task)["rows"] if r["split"] == "test"]


def measured(runs: list[dict]) -> dict:
    """Q2a-Q2e and Q2i of one model's runs."""
    model = recordings.model_of(runs[0])
    grids = {n: found for n in difficulty.NAMES if (found := grid(runs, n))}
    needs = {n: sizing.rows_needed(found, groups(n), 0.7) for n, found in grids.items()}
    half = 0.7 if model == recordings.BUNDLED else 0.5
    ratio = lambda a, b: tuple(sizing.rows_ratio(grids[a], groups(a), grids[b], groups(b), half))
    if not set(LARGER) <= set(grids):  # the plan is not finished
        return {}
    return {
        "Q2a": _rank_correlation(runs, needs),
        "Q2b": {part: needs[n] for part, n in (("ordinary", "extract"), ("medium", "routing"), ("hard", "policy-8"))},
        "Q2c": {"one field": ratio("names-8", "codes-8"), "a record": ratio("routing_words", "routing")},
        "Q2d": _within_a_factor(needs, *PARAMETERS[model]),
        "Q2e": _lost_by_stopping(grids),
        "Q2i": _style_and_facts(runs),
    }


def _rank_correlation(runs: list[dict], needs: dict) -> tuple:
    """Spearman's rho of bare perplexity and rows to target over tasks, tasks resampled; not reached counts as hardest."""
    from scipy import stats

    x = []
    for n in needs:
        nll, tokens = recordings.find(runs, "confirm", "prompt", TASK=n)[0]["result"]["perplexity"]["0 shots"]
        x.append(float(np.exp(nll / tokens)))
    x, y = np.array(x), np.array([min(e.mean, 1e6) for e in needs.values()])
    drawn = []
    for chosen in np.random.default_rng(0).integers(0, len(x), (2000, len(x))):
        if len(set(x[chosen])) > 1 and len(set(y[chosen])) > 1:
            drawn.append(stats.spearmanr(x[chosen], y[chosen])[0])
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(stats.spearmanr(x, y)[0]), float(low), float(high)


def _within_a_factor(needs: dict, parameters: float, trained: float) -> tuple:
    """Of the twelve tasks, those whose rows lie within a factor of 3 of the best reading, and at most: a task that was not
    measured, or did not reach the target, counts as a hit wherever it might be one."""
    hits, possible, unmeasured = [], [], len(difficulty.NAMES) - len(needs)
    for rule in (parameters / 1000, trained / 1000, parameters / 100):
        hits.append(sum(rule / 3 <= e.mean <= rule * 3 for e in needs.values()))
        unreached = sum(np.isinf(e.mean) and 3 * rule > max(SIZES) for e in needs.values())
        possible.append(hits[-1] + unreached + unmeasured)
    return max(hits), max(hits), max(possible)


def _lost_by_stopping(grids: dict) -> tuple | str:
    """Score where a walk stops minus the score at the largest size, on the families that the walk did not see; in words
    where fewer than three walks stop."""
    lost, falls = [], 0
    for name, by_rows in grids.items():
        families = np.array(groups(name))
        seen = np.isin(families, sorted(set(families))[::2])
        walk = sizing.stop_growing({n: v[:, seen] for n, v in by_rows.items()}, families[seen])
        last, falls = max(by_rows), falls + (walk.steps[-1].verdict == "fall")
        if walk.stopped and walk.size < last:
            lost.append(by_rows[walk.size][:, ~seen].mean() - by_rows[last][:, ~seen].mean())
    if len(lost) < 3:
        return f"{len(lost)} of {len(grids)} walks stop before the largest size; {falls} end in a fall"
    return tuple(evaluate.over_seeds(lost))


def recalled(runs: list[dict], rows: int) -> evaluate.Interval:
    """Taught facts recalled in new words: each seed taught other facts, so seeds carry the facts' luck too."""
    asked = [r for r in tasks.load("handbook", "test") if r["article"]]
    shares = []
    for r in recordings.find(runs, "confirm", TASK="facts", ROWS=rows):
        taught = set(r["result"]["facts"])
        mine = np.array([row["fact"] in taught for row in asked])
        shares.append(recordings.unpack(r["result"]["methods"]["tuned"]["exact"])[mine].mean())
    return evaluate.over_seeds(shares)


def _style_and_facts(runs: list[dict]) -> dict:
    """After 480 rows: replies in the desk's form, and taught facts recalled in new words."""
    tone = recordings.verdicts(recordings.find(runs, "confirm", TASK="tone", ROWS=480), "style")
    return {
        "style": evaluate.interval(tone, [r["family"] for r in tasks.load("tone", "test")]),
        "no new knowledge": recalled(runs, 480),
    }


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, search=search, thin=thin, confirm=confirm, live=live)
