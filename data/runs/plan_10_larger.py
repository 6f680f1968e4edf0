"""The recorded experiments of notebook 10 on a larger model: does a preference stage repair, or lose less? With controls.

    python -m data.runs.plan_10_larger search               > build/10_search.json     of the model that COURSE_MODEL names
    python -m data.runs.plan_10_larger thin build/runs      > build/10_thin.json       two more seeds of the best two settings
    python -m data.runs.plan_10_larger confirm build/runs   > build/10_confirm.json    after that

`plan_10` compared stages at unlike rates: SFT at 2e-3, what followed at a tenth of it. Here every preference way meets SFT at the
same rate. Search: valid pairs; a setting is judged by `gain`, and among those within half a point of the best the one with the
lowest prose loss is taken. What comes second follows SFT at `FIRST_RATE`, the middle one of its three, on its merged weights.
Confirm: test pairs, once, seeds 3-9.

- Repair (Q8b): after SFT as many steps again: DPO, ORPO, and controls that never see a rejected reply: SFT at DPO's rate, SFT at
  ORPO's rate, and `whole`, SFT at ORPO's rate with the prompt in the loss, as ORPO has it.
- Loss at equal gain (Q8c): from the untrained model four doses of each way, and of SFT at ORPO's rate; the rise of prose loss
  where the gain passes `TARGET`, read between doses.
- Equal words (Q8e): pairs against twice as many rows.
"""

from __future__ import annotations

import itertools

import numpy as np

from data.runs import choose
from data.runs.plan_10 import WORDS, gain, mildest, visits
from helpers import evaluate, recordings, tasks
from helpers.recordings import pack

STEPS, BATCH, TARGET, FIRST_RATE = 60, 16, 0.8, 3e-4
FULL = {"BATCH": BATCH, "TEST_ROWS": 10**6, "PROBE_TOKENS": 20480, "FIRST_RATE": FIRST_RATE, "FIRST_STEPS": STEPS}
METHODS = {  # stages: rates, betas
    "sft": ((1e-4, 3e-4, 6e-4), (0.1,)),
    "orpo": ((1e-4, 3e-4, 6e-4), (0.1, 0.5, 1.0)),
    "dpo": ((1e-5, 3e-5, 1e-4), (0.1, 0.3)),
    "sft+dpo": ((1e-5, 3e-5, 1e-4), (0.1, 0.3)),
    "sft+orpo": ((3e-5, 1e-4, 3e-4), (0.5,)),
}
DOSES, SEEDS = (8, 15, 30, 60), range(3, 10)
CELLS = {"whole": "sft"}  # a stage that runs another's cells


def run(kind: str, model: str, stage: str, rate: float, beta: float, seed: int, steps: int = STEPS, pairs: int = 1000):
    """One training run of the plan."""
    name = f"{kind}-{model}-{stage}-lr{rate:g}-b{beta:g}-x{steps}-n{pairs}-s{seed}"
    own = {"LEARNING_RATE": rate, "BETA": beta, "SEED": seed, "STEPS": steps, "PAIRS": pairs}
    own |= {"SPLIT": "valid", "REPLIES": 96} if kind == "search" else {"SPLIT": "test", "REPLIES": 10**6}
    return {"name": name, "stage": stage, "plan": "plan_10_larger", "set": FULL | own}


def search(model: str = "qwen-1.5b") -> list[dict]:
    """Every setting on valid, seed 0."""
    return [
        run("search", model, stage, rate, beta, 0)
        for stage, (rates, betas) in METHODS.items()
        for rate, beta in itertools.product(rates, betas)
    ]


def thin(runs: list[dict]) -> list[dict]:
    """The two best settings of every way by seed 0, with seeds 1 and 2; a tie goes to the lower rate."""
    model, plan = recordings.model_of(runs[0]), []
    for stage, ranges in METHODS.items():
        found = choose.scores(recordings.find(runs, "search", stage), gain, "LEARNING_RATE", "BETA")
        few = choose.best_few(found, list(itertools.product(*ranges)), stage)
        plan += [run("search", model, stage, *setting, seed) for setting in few for seed in choose.MORE_SEEDS]
    return plan


def best(runs: list[dict], stage: str) -> tuple[float, float]:
    """Rate and beta of a way: the mildest of the best among those with three seeds."""
    found = recordings.find(runs, "search", stage)
    return mildest(found, list(itertools.product(*METHODS[stage])), stage, thinned=True)


def confirm(runs: list[dict]) -> list[dict]:
    """The chosen settings, their controls at the same rates, doses and equal words, on test; by seed, so that a cut plan has
    fewer of them."""
    model, chosen, plan = recordings.model_of(runs[0]), {stage: best(runs, stage) for stage in METHODS}, []
    controls = {("sft+sft", chosen[stage][0]) for stage in ("sft+dpo", "sft+orpo")}
    controls |= {("sft+whole", chosen["sft+orpo"][0])}
    for seed in SEEDS:
        one = lambda *key, seed=seed, **more: run("confirm", model, *key, seed, **more)
        plan.append(one("none", 0.0, 0.1))  # the untrained model on the same rows
        plan += [one(stage, *chosen[stage]) for stage in ("sft+dpo", "sft+orpo")]
        plan += [one(*control, 0.1) for control in sorted(controls)]
        singles = {(stage, *chosen[stage]) for stage in ("sft", "orpo", "dpo")} | {("sft", chosen["orpo"][0], 0.1)}
        plan += [one(*single, steps=steps) for single in sorted(singles) for steps in DOSES]
        for pairs, rows in WORDS.items():
            plan.append(one("orpo", *chosen["orpo"], pairs=pairs))
            if rows != 1000:  # else it is there already
                plan.append(one("sft", *chosen["sft"], pairs=rows))
    return plan


def before(space: dict, number: int, stages: list[str]) -> None:
    """The first of two stages is SFT at `FIRST_RATE`; the second starts from its merged weights, on other visits."""
    if number == 0:
        space["wanted"] = space["LEARNING_RATE"]
        if len(stages) > 1:
            space["LEARNING_RATE"] = space["FIRST_RATE"]
        return
    space["begun"] = looked(space)
    merged = space["trainer"].model.merge_and_unload()
    space["trainer"] = None
    space.update(fresh_model=lambda: merged, LEARNING_RATE=space["wanted"])
    if stages[number] == "whole":  # the prompt's tokens count, too
        make = space["SFTConfig"]
        space["SFTConfig"] = lambda **options: make(**options | {"completion_only_loss": False})
    space["seen"] = visits(space["pairs"], space["STEPS"] * space["BATCH"], space["SEED"] + 100)


def looked(space: dict) -> dict:
    """The page's measurement of the trained (or untrained) model, and everyday items besides, as JSON."""
    model = space["trainer"].model if space.get("trainer") else space["fresh_model"]()
    found = space["measure"](model)
    items = tasks.load("general", "test")
    asked = [c["prompt"] for c in tasks.chat(items, tasks.TASKS["general"].system)]
    said = evaluate.generate(model, space["tokenizer"], asked, 16, space["EVAL_BATCH"], bar=False)
    right = [tasks.check_answer("general", a, r["completion"], r["accepted"]).exact for a, r in zip(said, items)]
    means = {k: round(float(np.mean(found[k])), 4) for k in ("chosen", "rejected", "prose")}
    style = {rule: pack(kept) for rule, kept in found["style"].items()}
    return means | {
        "prefers": pack(found["prefers"]),
        "items": pack(right),
        "style": style,
        "replies": found["replies"][:1],
    }


def collect(space: dict, stage: str) -> dict:
    """What a run keeps: what was measured before a second stage and at the end, seconds, and every fifth line of the log."""
    after = looked(space)
    result = {"before": space.get("begun", {}), "after": after}
    if stage != "none":
        watched = ("loss", "rewards/margins", "rewards/accuracies")
        log = [{k: round(float(e[k]), 4) for k in watched if k in e} for e in space["log"] if "loss" in e]
        result |= {"seconds": round(space["seconds"], 1), "log": log[::5]}
    return result | {"headline": {"gain": round(gain({"result": result}), 3), "prose": after["prose"]}}


def taken(
    runs: list[dict], stage: str, rate: float | None = None, steps: int = STEPS, pairs: int = 1000
) -> list[dict]:
    """Confirmed runs of a stage by seed, at one rate (any where None)."""
    found = recordings.find(runs, "confirm", stage, STEPS=steps, PAIRS=pairs)
    return [r for r in found if rate is None or r["set"]["LEARNING_RATE"] == rate]


def taken_back(runs: list[dict], base: float) -> np.ndarray:
    """Of each seed: the share of the first stage's rise of prose loss that the second took back."""
    stages = [(r["result"]["before"]["prose"], r["result"]["after"]["prose"]) for r in runs]
    return np.array([(first - then) / (first - base) for first, then in stages])


def rise_at(doses: list[tuple[float, float]], target: float = TARGET) -> float:
    """Rise of prose loss where the gain first reaches `target`, read between doses; NaN where none does.

    doses: (gain, rise) in the order of the steps, the untrained model first.

    >>> rise_at([(0.4, 0.0), (0.6, 0.1), (1.0, 0.3)]), rise_at([(0.4, 0.0), (0.5, 0.1)])
    (0.2, nan)
    """
    for (g0, r0), (g1, r1) in itertools.pairwise(doses):
        if g1 >= target:
            return round(r0 + (r1 - r0) * (target - g0) / (g1 - g0), 6)
    return float("nan")


def whole_seeds(runs: list[dict]) -> list[dict]:
    """The confirming runs of those seeds that have every setting which any seed has."""
    by_seed: dict[int, dict] = {}
    for r in runs:
        if r["name"].startswith("confirm-"):
            setting = (r["stage"], *(r["set"][key] for key in ("LEARNING_RATE", "BETA", "STEPS", "PAIRS")))
            by_seed.setdefault(r["set"]["SEED"], {})[setting] = r
    every = set().union(*by_seed.values())
    return [r for settings in by_seed.values() if set(settings) == every for r in settings.values()]


def measured(runs: list[dict]) -> dict:
    """Q8b, Q8c and Q8e from the seeds that are whole; nothing under three of them."""
    runs = whole_seeds(runs)
    start = taken(runs, "none", steps=STEPS)
    if len(start) < 3:
        return {}
    base, zero = (
        float(np.mean([r["result"]["after"]["prose"] for r in start])),
        float(np.mean([gain(r) for r in start])),
    )
    found = {"Q8b": {}}
    for way in ("dpo", "orpo"):
        then = taken(runs, f"sft+{way}")
        control = taken(runs, "sft+sft", then[0]["set"]["LEARNING_RATE"])
        found["Q8b"][way.upper()] = evaluate.over_seeds(taken_back(then, base) - taken_back(control, base))

    def rises(stage: str, rate: float) -> np.ndarray:
        by_dose = [taken(runs, stage, rate, steps) for steps in DOSES]
        curve = lambda same: [(zero, 0.0), *((gain(r), r["result"]["after"]["prose"] - base) for r in same)]
        return np.array([rise_at(curve(same)) for same in zip(*by_dose, strict=True)])

    apart = {}
    for way in ("orpo", "dpo"):
        rate = taken(runs, way)[0]["set"]["LEARNING_RATE"]
        if taken(runs, "sft", rate):
            apart[way] = rises(way, rate) - rises("sft", rate)
    reached = {way: a for way, a in apart.items() if np.isfinite(a).all()}
    if reached:
        level = 1 - 0.05 / len(reached)
        found["Q8c"] = min((evaluate.over_seeds(a, level=level) for a in reached.values()), key=lambda i: i.mean)
    pairs = [
        [gain(a) - gain(b) for a, b in zip(taken(runs, "orpo", pairs=p), taken(runs, "sft", pairs=n), strict=True)]
        for p, n in WORDS.items()
        if n != 1000
    ]
    return found | {"Q8e": evaluate.over_seeds(np.mean(pairs, axis=0))}


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, search=search, thin=thin, confirm=confirm)
