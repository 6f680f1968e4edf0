"""The recorded experiments of notebook 10: SFT, DPO and ORPO on the same reply pairs, before, after and at equal gain.

    python -m data.runs.plan_10 search               > build/10_search.json
    python -m data.runs.plan_10 confirm build/runs   > build/10_confirm.json     after the search has run

Search: valid pairs, seeds 0-2; each method's rate, and its beta (DPO) or lambda (ORPO). A setting is judged by its `gain`: the
mean of two shares, pairs whose chosen reply is ahead and replies that keep all five rules of style. Among settings within half a
point of the best the one with the lowest prose loss is taken: at the ceiling, and where no reply keeps the style (DPO alone), gain
alone would choose by chance, and did choose the most destructive one. What comes second follows SFT at SFT's own best rate;
a first search at half of that rate, with coarser grids, was made before and is not used. Confirm: test pairs, once, seeds 3-7; and the
two runs of the cost table, which want a card of their own.
"""

import itertools
import random

import numpy as np

from data.runs import choose
from helpers import evaluate, recordings
from helpers.recordings import pack

STEPS, BATCH = 60, 16
SFT_RATE = 2e-3  # of an SFT that comes first: its own best; where nothing comes first, FIRST_RATE stands there unused
FULL = {
    "BATCH": BATCH,
    "TEST_ROWS": 10**6,
    "ITEMS": 10**6,
    "PROBE_TOKENS": 20480,
    "FIRST_STEPS": 60,
    "FIRST_RATE": 1e-3,
}
METHODS = {  # (first, method): rates, betas
    ("none", "sft"): ((5e-4, 1e-3, 2e-3, 4e-3), (0.1,)),
    ("none", "orpo"): ((5e-4, 1e-3, 2e-3), (0.1, 0.5, 1.0, 2.0)),
    ("none", "dpo"): ((1e-4, 3e-4, 1e-3), (0.05, 0.1, 0.5)),
    ("sft", "dpo"): ((3e-5, 1e-4, 3e-4), (0.1, 0.5, 1.0)),
    ("sft", "orpo"): ((1e-4, 3e-4, 1e-3), (0.5, 1.0, 2.0)),
}
WORDS = {50: 100, 150: 300, 500: 1000}  # pairs, and rows with about as many words to write
SHAPE_7B = {  # Qwen2.5-7B's numbers
    "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "max_position_embeddings": 4096,
}  # fmt: skip
DOSES = (15, 30, 120)  # further numbers of steps, for gain against forgetting


def run(kind: str, first: str, method: str, rate: float, beta: float, seed: int, steps: int = STEPS, **more) -> dict:
    """One training run of the plan."""
    name = f"{kind}-{first}-{method}-lr{rate:g}-b{beta:g}-x{steps}-s{seed}"
    name += "".join(f"-{k.lower().replace('_', '')}{more[k]}" for k in ("PAIRS", "FIRST_STEPS") if k in more)
    own = {"FIRST": first, "METHOD": method, "LEARNING_RATE": rate, "BETA": beta, "SEED": seed, "STEPS": steps,
           "SPLIT": "valid" if kind == "search" else "test", "REPLIES": 96 if kind == "search" else 10**6}  # fmt: skip
    before = {"FIRST_RATE": SFT_RATE} if first == "sft" else {}
    return {"name": name, "stage": "tuned", "set": own | FULL | before | more}


def search() -> list[dict]:
    """Every setting on valid, seeds 0-2."""
    return [
        run("search", first, method, rate, beta, seed)
        for (first, method), (rates, betas) in METHODS.items()
        for rate, beta, seed in itertools.product(rates, betas, range(3))
    ]


def gain(run: dict) -> float:
    """Mean of two shares: pairs whose chosen reply is ahead, and replies that keep every rule of style."""
    after = run["result"]["after"]
    kept = np.all([recordings.unpack(bits) for bits in after["style"].values()], axis=0)
    return float(recordings.unpack(after["prefers"]).mean() + kept.mean()) / 2


def mildest(runs: list[dict], settings: list[tuple], arm: str, thinned: bool = False) -> tuple[float, float]:
    """Of an arm's settings (rate, beta) within half a point of the highest mean gain the one with the lowest loss on prose."""
    prose = lambda r: r["result"]["after"]["prose"]
    gains, losses = (
        choose.means(choose.scores(runs, score, "LEARNING_RATE", "BETA"), settings, arm, thinned)
        for score in (gain, prose)
    )
    return min((s for s in gains if gains[s] >= max(gains.values()) - 0.005), key=losses.get)


def best(runs: list[dict], first: str, method: str) -> tuple[float, float]:
    """Rate and beta of a method: the mildest of the best on valid."""
    found = recordings.find(runs, "search", FIRST=first, METHOD=method)
    return mildest(found, list(itertools.product(*METHODS[first, method])), f"{first}, {method}")


def confirm(runs: list[dict]) -> list[dict]:
    """The best setting of each method on test; doses; SFT for half of the steps; a start that knows routing; fewer pairs."""
    chosen, plan = {key: best(runs, *key) for key in METHODS}, []
    again = ("sft", "sft"), (SFT_RATE, 0.1)  # the control: as many steps more of the same
    for seed in range(3, 8):
        plan += [run("confirm", *key, *setting, seed) for key, setting in (*chosen.items(), again)]
        plan.append(run("confirm", "none", "none", 1e-3, 0.1, seed))  # the untrained model, the same rows
        for key in (("sft", "dpo"), ("sft", "orpo")):  # 60 steps in all
            plan.append(run("confirm", *key, *chosen[key], seed, 30, FIRST_STEPS=30))
    singles = [key for key in METHODS if key[0] == "none"]
    for seed, key, steps in itertools.product(range(3, 8), singles, DOSES):
        plan.append(run("confirm", *key, *chosen[key], seed, steps))
    for seed, method in itertools.product(range(3, 8), ("sft", "dpo", "orpo")):
        # what a second training does to a first
        first = {"ROUTED": 640, "FIRST_STEPS": 200, "FIRST_RATE": 2e-3}  # as in 05
        plan.append(run("confirm", "routing", method, *chosen["none", method], seed, **first))
    for repeat, batch in ((1, 32), (24, 4)):  # cost at 7B shape, short and long tickets, about as many tokens a step
        own = {"SHAPE": SHAPE_7B, "REPEAT": repeat, "BATCH": batch, "MAX_LENGTH": 192 if repeat == 1 else 1024}
        plan.append({"name": f"confirm-cost-7b-repeat{repeat}", "stage": "cost", "set": own})
    for seed, (pairs, rows) in itertools.product(range(3, 8), WORDS.items()):  # equal words to write
        plan.append(run("confirm", "none", "orpo", *chosen["none", "orpo"], seed, PAIRS=pairs))
        plan.append(run("confirm", "none", "sft", *chosen["none", "sft"], seed, PAIRS=rows))
    return plan


def visits(rows: list, n: int, seed: int) -> list:
    """`n` rows in shuffled rounds: each row once before any comes twice.

    >>> sorted(visits(["a", "b", "c"], 5, 0)[:3])
    ['a', 'b', 'c']
    """
    found, rounds = [], 0
    while len(found) < n:
        found += random.Random(f"{seed} pairs {rounds}").sample(rows, len(rows))
        rounds += 1
    return found[:n]


WATCHED = ("loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen",
           "logps/rejected", "nll_loss", "log_odds_chosen")  # fmt: skip


def collect(space: dict, stage: str) -> dict:
    """What a run keeps: what was measured before and after, the log, some replies; of the cost table its numbers."""
    if stage == "cost":
        return {"cost": space["costs"], "methods": {}, "headline": {m: v["step"] for m, v in space["costs"].items()}}
    after = _packed(space["after"])
    kept = float(space["after"]["style"].all(axis=1).mean())
    return {
        "before": _packed(space["begun"]),
        "after": after,
        "seconds": round(space["seconds"], 1),
        "log": [{k: round(float(e[k]), 4) for k in WATCHED if k in e} for e in space["log"] if "loss" in e][::5],
        "replies": space["after"]["replies"][:1],
        "headline": {"prose": after["prose"], "kl": after["kl"], "style": round(kept, 3)},
    }


def _packed(found: dict) -> dict:
    """A measurement as JSON: verdicts row by row, means of the rest."""
    if not found:
        return {}
    means = {k: round(float(np.mean(found[k])), 4) for k in ("chosen", "rejected", "prose", "kl")}
    return (
        means
        | {k: pack(found[k]) for k in ("prefers", "items", "routed")}
        | {"style": {k: pack(v) for k, v in found["style"].items()}}
    )


def taken(runs: list[dict], first: str, method: str, steps: int = STEPS, **more) -> list[dict]:
    """Confirmed runs by seed; 1,000 pairs and 60 steps of a first SFT, unless `more` says otherwise."""
    more = ({"FIRST_STEPS": 60} if first == "sft" else {}) | more
    found = recordings.find(runs, "confirm", FIRST=first, METHOD=method, STEPS=steps, **more)
    return [r for r in found if ("PAIRS" in r["set"]) == ("PAIRS" in more)]


def base_prose(runs: list[dict]) -> float:
    """Loss on prose of the untrained model, nats a token."""
    return float(np.mean([r["result"]["after"]["prose"] for r in taken(runs, "none", "none")]))


def taken_back(runs: list[dict], method: str) -> list[float]:
    """Of each seed: the share of the first training's rise of prose loss that a second stage took back."""
    start = base_prose(runs)
    stages = [(r["result"]["before"]["prose"], r["result"]["after"]["prose"]) for r in taken(runs, "sft", method)]
    return [(before - after) / (before - start) for before, after in stages]


def measured(runs: list[dict]) -> dict:
    """Q8b, Q8c and Q8e of one model's runs; a larger model has its own plan."""
    if recordings.model_of(runs[0]) != recordings.BUNDLED:
        from data.runs import plan_10_larger

        return plan_10_larger.measured(runs)
    found = {}
    control = np.array(taken_back(runs, "sft"))
    found["Q8b"] = {m.upper(): evaluate.over_seeds(np.array(taken_back(runs, m)) - control) for m in ("dpo", "orpo")}
    rise = lambda rows: np.array([r["result"]["after"]["prose"] for r in rows]) - base_prose(runs)
    sft = rise(taken(runs, "none", "sft"))
    ways = [taken(runs, "none", "orpo"), *(taken(runs, "sft", m, 30, FIRST_STEPS=30) for m in ("dpo", "orpo"))]
    found["Q8c"] = min(
        (evaluate.over_seeds(rise(w) - sft, level=1 - 0.05 / len(ways)) for w in ways), key=lambda i: i.mean
    )
    apart = [
        [
            gain(a) - gain(b)
            for a, b in zip(taken(runs, "none", "orpo", PAIRS=p), taken(runs, "none", "sft", PAIRS=n), strict=True)
        ]
        for p, n in WORDS.items()
    ]
    return found | {"Q8e": evaluate.over_seeds(np.mean(apart, axis=0))}


def shapes(runs: list[dict]) -> dict:
    """Q8a, at the shape of a 7B with random weights: over SFT as it was measured first, and once more at the end."""
    cost = next(r for r in runs if r["name"] == "confirm-cost-7b-repeat1")["result"]["cost"]
    spans = {m: sorted(cost[m]["step"] / cost[s]["step"] for s in ("SFT", "SFT again")) for m in ("ORPO", "DPO")}
    return {"Q8a": {m: (sum(v) / 2, v[0], v[1]) for m, v in spans.items()}}


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, search=search, confirm=confirm)
