"""The recorded experiments of notebook 07: data that do not match the goal (Q4a), instructions that the model finds unlikely (Q4b).

    python -m data.runs.plan_07 confirm > build/07_confirm.json       of the model that COURSE_MODEL names
    python -m data.record 08 --plan build/07_confirm.json --out build/runs07 && python -m data.record 07 --merge build/runs07

Trained with notebook 08's cells, whose rows are tokenized by hand and can therefore be mixed. The goal is `routing_words`; the rate
of 06 for this task and model, the same for every arm, so there is nothing to search. Test rows, once, seeds 3-9. Rules: claims.toml.
Recorded: seeds 3-8 of the 1.5B, of the wordings `letters` and `words shuffled` 3-7. They left Q4b undecided (+6.2 points
[+0.5, +12.0]), so five more seeds of its two ends, 10-14, were planned then, and run.

Goal (Q4a), 100 steps of 16 rows; a run's stage says which rows:

- `match` 400 of the goal, `half` 200 of them alone
- `other` 400 of another task, `extract`, under its own system prompt; `half+other` 200 of the goal and 200 of it
- `terms` 400 tickets of the goal answered in other terms, the codes of `routing`, under the goal's prompt; `half+terms` 200 of each

Instruction (Q4b), stage `wording`: 100 rows of the goal, 50 steps, under one of the `WORDINGS` as the system prompt, in training and
at the test. Each asks for the same record. What the untouched model thinks of the wording is measured in the run: its perplexity,
and that of the right answers under it. The likeliest and the unlikeliest wording are compared; the perplexity alone chooses them.
"""

from __future__ import annotations

import numpy as np

from data.runs.plan_08 import RATES
from helpers import evaluate, recordings, tasks
from helpers.recordings import pack

GOAL, OTHER, TERMS = "routing_words", "extract", "routing"
ARMS = {  # {arm: {set of rows: how many}}
    "match": {GOAL: 400},
    "half": {GOAL: 200},
    "other": {OTHER: 400},
    "half+other": {GOAL: 200, OTHER: 200},
    "terms": {TERMS: 400},
    "half+terms": {GOAL: 200, TERMS: 200},
}
WORDINGS = {
    "the course's": "Tallowmere desk. Route the ticket as JSON.",
    "a full sentence": "You are a support agent. Read the customer's message and answer with a JSON object that has the keys "
    "queue, priority and product.",
    "a polite request": "Please read the message below and tell me, as JSON, which queue it belongs to, how urgent it is and "
    "which product it is about.",
    "keywords": "support ticket -> JSON: queue, priority, product",
    "telegram": "TICKET IN STOP JSON OUT STOP QUEUE PRIORITY PRODUCT STOP",
    "officialese": "The communication hereunder reproduced shall be apportioned, by way of a JSON record, to queue, priority and "
    "product as the case may require.",
    "misspelt": "reed teh costumer mesage n anser wiht jsno objekt, kees queu priorty prodcut",
    "words shuffled": "priority the object JSON has message and a that product customer's queue keys the answer Read with.",
    "letters": "qzv tlrm wexo jsnq pkd uirrt oplv mmsa",
}
SETTINGS = {"ROWS": 100, "WORDING": ""}
SEEDS, MORE_SEEDS, ENDS = range(3, 10), range(10, 15), ("a polite request", "words shuffled")
COMMON = {
    "BATCH": 16,
    "RANK": 16,
    "ALPHA": 32,
    "EVAL_BATCH": 160,
    "EVAL_SPLIT": "test",
    "EVAL_ROWS": 640,
    "TASK": GOAL,
}


def run(model: str, arm: str, seed: int, **different) -> dict:
    """One training run of the plan."""
    own = COMMON | {"SEED": seed, "LEARNING_RATE": RATES[model]} | different
    label = "-".join([arm, *(str(different[key]).replace(" ", "_") for key in ("WORDING",) if key in different)])
    return {"name": f"confirm-{model}-{label}-s{seed}", "stage": arm, "plan": "plan_07", "set": own}


def confirm(model: str = "qwen-1.5b") -> list[dict]:
    """Every arm and wording with new seeds, then the two ends with more; by seed, so that a cut plan has fewer of them."""
    said = lambda seed, wordings: [run(model, "wording", seed, STEPS=50, ROWS=100, WORDING=w) for w in wordings]
    plan: list[dict] = []
    for seed in SEEDS:
        plan += [run(model, arm, seed, STEPS=100) for arm in ARMS] + said(seed, WORDINGS)
    for seed in MORE_SEEDS:
        plan += said(seed, ENDS)
    return plan


def chats(task: str, count: int, seed: int, split: str = "train", system: str = "") -> list[dict]:
    """`count` rows of a set as chats, drawn with `seed`, under a system prompt or that of the set."""
    return tasks.chat(tasks.load(task, split, n=count, seed=seed), system or tasks.TASKS[task].system)


def arm_rows(arm: str, seed: int) -> list[dict]:
    """The chats of an arm of Q4a; `half` is part of all that mix, and the two halves of `half+terms` are of different tickets.

    >>> [len(arm_rows(arm, 3)) for arm in ("half", "half+other", "half+terms")]
    [200, 400, 400]
    """
    found: list[dict] = []
    for task, count in ARMS[arm].items():
        drawn = chats(task, 400, seed)  # the two sets of tickets are drawn alike
        found += drawn[:count] if task == GOAL else drawn[-count:]
    return found


def perplexity_of(model, tokenizer, text: str) -> float:
    """exp of the mean nats a token of a text alone, after the token that begins a message."""
    import torch

    ids = tokenizer.apply_chat_template([{"role": "system", "content": text}], return_dict=False)
    of_text = tokenizer(text, add_special_tokens=False)["input_ids"]
    start = next(i for i in range(len(ids)) if ids[i : i + len(of_text)] == of_text)
    with torch.no_grad():
        logits = model(torch.tensor([ids], device=model.device)).logits[0].float()
    places = torch.arange(start, start + len(of_text), device=logits.device)
    each = -logits.log_softmax(-1)[places - 1, torch.tensor(of_text, device=logits.device)]
    return float(each.mean().exp())


def collect(space: dict, stage: str) -> dict:
    """Trains by the page's cells on the arm's rows; keeps verdicts by row, the losses, and what the untouched model expected."""
    seed, system = space["SEED"], space["WORDING"] and WORDINGS[space["WORDING"]]
    model, tokenizer = space["fresh_model"](), space["tokenizer"]
    test = chats(GOAL, space["EVAL_ROWS"], 0, space["EVAL_SPLIT"], system)
    prompts, wanted = [c["prompt"] for c in test], [c["completion"][0]["content"] for c in test]
    score = lambda model: evaluate.score_completions(model, tokenizer, prompts, wanted, space["EVAL_BATCH"], bar=False)
    before = score(model)
    result = {"before": pack(before.exact), "answers_perplexity": round(evaluate.perplexity(before), 3)}
    if system:
        result["perplexity"] = round(perplexity_of(model, tokenizer, system), 2)
    del model
    rows = chats(GOAL, space["ROWS"], seed, system=system) if stage == "wording" else arm_rows(stage, seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    trainer = space["new_trainer"]([space["chat_row"](rows[i]) for i in order], space["LEARNING_RATE"])
    trainer.train()
    space["trainer"] = trainer  # for the recorder's check of its weights
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    after = score(trainer.model)
    right = round(float(after.exact.mean()), 3)
    return result | {
        "exact": pack(after.exact),
        "losses": [round(float(np.mean(part)), 3) for part in np.array_split(losses, min(10, len(losses)))],
        "headline": {"exact": right},
    }


def bits_of(runs: list[dict], key: str = "exact") -> np.ndarray:
    """Verdicts by row, of the tuned or (`before`) the untouched model: (seeds, rows)."""
    return np.array([recordings.unpack(r["result"][key]) for r in runs])


def wordings(runs: list[dict]) -> list[str]:
    """The wordings of the confirming runs, the likeliest first."""
    said = recordings.find(runs, "confirm", "wording")
    perplexity = {r["set"]["WORDING"]: r["result"]["perplexity"] for r in said}
    return sorted(perplexity, key=perplexity.get)


def measured(runs: list[dict]) -> dict:
    """Q4a and Q4b of one model's confirming runs; each part from the seeds that have both sides, three at least."""
    families = [row["family"] for row in tasks.load(GOAL, "test", n=COMMON["EVAL_ROWS"], seed=0)]

    def ahead(one: dict, other: dict):
        """Whole answers right of one setting minus another, paired by seed; None under three seeds."""
        ours, theirs = recordings.paired(runs, one, other)
        return evaluate.difference(bits_of(ours), bits_of(theirs), families) if len(ours) >= 3 else None

    half, found = {"stage": "half"}, {}
    found["Q4a"] = {
        "half of another task": ahead({"stage": "half+other"}, half),
        "half in other terms": ahead({"stage": "half+terms"}, half),
    }
    alone = recordings.find(runs, "confirm", "other")
    if len(alone) >= 3:
        found["Q4a"]["another task alone"] = evaluate.difference(bits_of(alone), bits_of(alone, "before"), families)
    found["Q4a"] = {part: interval for part, interval in found["Q4a"].items() if interval is not None}
    ranked = wordings(runs)
    if len(ranked) == len(WORDINGS):
        found["Q4b"] = ahead(*({"stage": "wording", "WORDING": end} for end in (ranked[0], ranked[-1])))
    return {claim: parts for claim, parts in found.items() if parts}


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, confirm=confirm)
