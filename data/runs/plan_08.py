"""The recorded experiments of notebook 08: what is forgotten, and what keeps it.

    python -m data.runs.plan_08 search > build/08_search.json              with COURSE_MODEL=qwen-1.5b, once a model
    python -m data.runs.plan_08 confirm build/runs > build/08_confirm.json    after it

The new task is `routing_words`, batches of 16; the middle setting 100 steps, rank 16, alpha 32, the rate of 06. One thing differs at a
time: steps (Q5a), rank at the same alpha and rate (Q8d), rate, replay of everyday questions or of prose (Q5c), both in the
model's own words or in Python's, and a penalty on KL from the untouched model over the same questions, the rival of replay.
Search: valid tickets; everyday questions of the half of `valid` that is not replayed; seeds 0-2. It chooses the weight of KL alone: the
one with the most everyday questions right among those that lose at most 3 points of the new task.
Confirm: test rows, once, seeds 3-9. Rules: claims.toml. Several tasks in one adapter (Q6): plan_08_many.
The task has 4,000 rows: from 250 steps on they are read again.
"""

from __future__ import annotations

import itertools

import numpy as np

from data.runs import plan_08_many
from helpers import evaluate, recordings, tasks
from helpers.recordings import pack

RATES = {"qwen-1.5b": 3e-4, "qwen-0.5b": 3e-4, recordings.BUNDLED: 3e-3}  # 06; the 0.5B was not searched
STEPS, RANKS, SHARES, WEIGHTS = (25, 50, 100, 200, 400), (2, 8, 16, 32, 128), (0.05, 0.2, 0.5), (0.1, 0.3, 1.0, 3.0)
SEARCH_SEEDS, SEEDS = range(3), range(3, 10)
COMMON = {
    "BATCH": 16,
    "RANK": 16,
    "ALPHA": 32,
    "STEPS": 100,
    "REPLAY": "",
    "SHARE": 0.0,
    "KL_WEIGHT": 0.0,
    "EVAL_BATCH": 160,
}
SETTINGS = {"REPLAY": "", "KL_WEIGHT": 0.0, "ITEM_SPLIT": "test"}  # of `collect` alone: the page has no such constants
SEARCH = {"EVAL_SPLIT": "valid", "EVAL_ROWS": 320, "ITEM_SPLIT": "valid", "ITEMS": None, "PROBE_TOKENS": 4096}
CONFIRM = {"EVAL_SPLIT": "test", "EVAL_ROWS": 640, "ITEM_SPLIT": "test", "ITEMS": None, "PROBE_TOKENS": 20480}


def run(kind: str, model: str, seed: int, **different) -> dict:
    """One training run of the plan: the middle setting but for what is `different`."""
    own = COMMON | {"LEARNING_RATE": RATES[model], "SEED": seed} | different
    label = "-".join(f"{name.lower()}{value:g}" if value != str(value) else value for name, value in different.items())
    return {
        "name": f"{kind}-{model}-{label or 'middle'}-s{seed}",
        "stage": "tuned",
        "set": own | (SEARCH if kind == "search" else CONFIRM),
    }


def search(model: str = "qwen-1.5b") -> list[dict]:
    """Every setting on valid."""
    settings: list[dict] = [{}] + [{"STEPS": n} for n in STEPS if n != 100] + [{"RANK": r} for r in RANKS if r != 16]
    settings += [{"LEARNING_RATE": RATES[model] * factor} for factor in (1 / 3, 3)]
    settings += [{"REPLAY": r, "SHARE": share} for r, share in itertools.product(("everyday", "prose"), SHARES)]
    settings += [{"KL_WEIGHT": weight} for weight in WEIGHTS]
    return [run("search", model, seed, **s) for s in settings for seed in SEARCH_SEEDS]


def shares(runs: list[dict], key: str, **settings) -> np.ndarray:
    """Share of `key` ("exact", "items") of each run with these settings, by seed (seeds,)."""
    found = recordings.find(runs, "search", **settings)
    return np.array([recordings.unpack(r["result"][key]).mean() for r in found])


def weight_of_kl(runs: list[dict]) -> float:
    """The weight of the penalty by the rule of the docstring; a tie goes to the lower one. SystemExit where none qualifies."""
    middle = {"STEPS": 100, "RANK": 16, "REPLAY": "", "LEARNING_RATE": RATES[recordings.model_of(runs[0])]}
    if few := [w for w in WEIGHTS if len(shares(runs, "exact", KL_WEIGHT=w, **middle)) < len(SEARCH_SEEDS)]:
        raise SystemExit(f"{len(few)} weights of KL lack searched seeds, the first is {few[0]:g}")
    plain = shares(runs, "exact", KL_WEIGHT=0.0, **middle).mean()
    able = [w for w in WEIGHTS if shares(runs, "exact", KL_WEIGHT=w, **middle).mean() >= plain - 0.03]
    if not able:
        raise SystemExit("every weight of KL loses more than 3 points of the new task: add lower ones to WEIGHTS")
    return max(able, key=lambda w: (shares(runs, "items", KL_WEIGHT=w, **middle).mean(), -w))


def confirm(runs: list[dict]) -> list[dict]:
    """What the rules ask, and the rivals, on test with new seeds; by seed, so that a cut plan has fewer of them."""
    model = recordings.model_of(runs[0])
    settings: list[dict] = [{}, {"STEPS": 50}, {"STEPS": 400}, {"RANK": 2}, {"RANK": 128}]
    settings += [{"REPLAY": "everyday", "SHARE": 0.2}, {"REPLAY": "prose", "SHARE": 0.2}]
    settings += [{"KL_WEIGHT": weight_of_kl(runs)}, {"LEARNING_RATE": RATES[model] / 3}]
    return [run("confirm", model, seed, **s) for seed in SEEDS for s in settings]


def collect(space: dict, stage: str) -> dict:
    """Trains by the page's cells, measures before and after, and keeps verdicts by row, losses and KL."""
    space["items"] = tasks.load("general", space["ITEM_SPLIT"], n=space["ITEMS"], seed=0)
    model, before = space["fresh_model"](), {}
    kept = space["own_answers"](model)
    used = {c["prompt"][1]["content"] for c in kept}
    space["items"] = [i for i in space["items"] if i["prompt"] not in used]  # valid: the half that is not replayed
    probe = tasks.prose(space["PROBE_TOKENS"], space["tokenizer"])
    for name, system in (("items", space["OWN"]), ("items_desk", space["DESK"])):
        before[name] = pack(space["ask"](model, system)[1])
    before["prose"] = round(float(evaluate.prose_loss(model, probe, bar=False).mean()), 4)
    everyday = [space["chat_row"](chat) for chat in kept]
    blocks = tasks.prose(space["PROBE_TOKENS"] + 40_000, space["tokenizer"], block=96)[
        space["PROBE_TOKENS"] // 96 + 1 :
    ]
    prose = [{"input_ids": b, "completion_mask": [1] * len(b)} for b in blocks]
    source = {"everyday": everyday, "prose": prose, "": []}[space["REPLAY"]]
    rows = space["mix"](space["rows"], source, space["SHARE"], space["SEED"]) if source else space["rows"]
    if space["KL_WEIGHT"]:
        space["PenalisedTrainer"].kept, space["PenalisedTrainer"].weight = everyday, space["KL_WEIGHT"]
        space["SFTTrainer"] = space["PenalisedTrainer"]
    del model
    trainer = space["new_trainer"](rows, space["LEARNING_RATE"])
    trainer.train()
    space["trainer"] = trainer  # for the recorder's check of its weights
    model = trainer.model
    chats = tasks.chat(tasks.load(space["TASK"], space["EVAL_SPLIT"], n=space["EVAL_ROWS"], seed=0), space["DESK"])
    prompts, wanted = [c["prompt"] for c in chats], [c["completion"][0]["content"] for c in chats]
    scored = evaluate.score_completions(model, space["tokenizer"], prompts, wanted, space["EVAL_BATCH"], bar=False)
    result = {
        "exact": pack(scored.exact),  # of the right answer, given token by token
        "items": pack(space["ask"](model, space["OWN"])[1]),
        "items_desk": pack(space["ask"](model, space["DESK"])[1]),
        "prose": round(float(evaluate.prose_loss(model, probe, bar=False).mean()), 4),
        "moved": round(space["moved"](model, probe), 4),
        "before": before,
    }
    right = float(recordings.unpack(result["items"]).mean())
    return result | {"headline": {"exact": round(float(scored.exact.mean()), 3), "items": round(right, 3)}}


def measured(runs: list[dict]) -> dict:
    """Q5a, Q5b, Q5c and Q8d of one model's confirming runs; each from the seeds that have both its settings."""
    middle = {
        "STEPS": 100,
        "RANK": 16,
        "REPLAY": "",
        "KL_WEIGHT": 0.0,
        "LEARNING_RATE": RATES[recordings.model_of(runs[0])],
    }
    families = [row["family"] for row in tasks.load("general", "test")]
    right = lambda some, key="items": np.array([recordings.unpack(r["result"][key]) for r in some])
    before = lambda some, key: [r["result"]["before"][key] for r in some]
    prose = lambda some: np.array([r["result"]["prose"] for r in some])

    def pairs(one: dict, other: dict) -> tuple[list[dict], list[dict]]:
        """Confirming runs of two settings by seed: those seeds that have both; none where they are under three."""
        found = recordings.paired(runs, one, other, **middle)
        return found if len(found[0]) >= 3 else ([], [])

    found = {}
    long, short = pairs({"STEPS": 400}, {"STEPS": 50})
    if long:
        found["Q5a"] = evaluate.over_seeds(prose(long) - prose(short))
    plain, _ = pairs({}, {})
    if plain:
        untouched = np.array([recordings.unpack(bits) for bits in before(plain, "items")])
        found["Q5b"] = {
            "prose": evaluate.over_seeds(prose(plain) - before(plain, "prose")),
            "everyday questions": evaluate.difference(right(plain), untouched, families),
        }
    everyday, of_prose = pairs({"REPLAY": "everyday"}, {"REPLAY": "prose"})
    if everyday:
        found["Q5c"] = evaluate.difference(right(everyday), right(of_prose), families)
    wide, narrow = pairs({"RANK": 128}, {"RANK": 2})
    if wide:
        found["Q8d"] = evaluate.over_seeds(prose(wide) - prose(narrow))
    return found | plan_08_many.measured(runs)


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, search=search, confirm=confirm)
