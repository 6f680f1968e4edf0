"""The recorded experiments of notebook 08 on several abilities in one adapter: at once, in which shares, or in turn (Q6a, Q6b).

    python -m data.runs.plan_08_many search               > build/08_many_search.json     of the model that COURSE_MODEL names
    python -m data.runs.plan_08_many thin build/runs      > build/08_many_thin.json       two more seeds of the best two rates
    python -m data.runs.plan_08_many confirm build/runs   > build/08_many_confirm.json    after that

Three tasks of unequal pools (`POOL`), 300 steps of 16 rows in all, trained with the page's own cells. The ways (a run's stage):

- `alone-TASK`: a third of the steps on one task, the adapter that would be switched in for it
- `equal`, `root`, `size`: all at once, a row's task drawn with equal chances, by the square root of the pool, by the pool
- `turn`, `kept`, `back`: a third of the steps on each task in turn, one adapter, the rate anew for each; with a fifth of earlier tasks'
  rows; in reverse order
- `merged`: the three adapters of `alone`, their corrections added (peft's add_weighted_adapter, "cat")

Search: valid rows, three rates for every way but `merged`, which takes those of `alone`; judged by the mean over tasks of whole
answers right; a tie goes to the lower rate. Confirm: test rows, once, seeds 3-9. Rules: claims.toml. Beside them every run of `equal`
keeps the cosine of the tasks' gradients before training: how related they are.
"""

from __future__ import annotations

import itertools

import numpy as np

from data.runs import choose
from helpers import evaluate, recordings, tasks
from helpers.recordings import pack

POOL = {"routing_words": 3200, "extract": 800, "sentiment": 200}  # rows of each task
STEPS, BATCH, KEPT, RATES = 300, 16, 0.2, (1e-4, 3e-4, 6e-4)
ALONE = tuple(f"alone-{task}" for task in POOL)
WAYS = (*ALONE, "equal", "root", "size", "turn", "kept", "back")
POWER = {"equal": 0.0, "root": 0.5, "size": 1.0}  # of the pool, for a task's chance
SEARCH = {"EVAL_SPLIT": "valid", "EVAL_ROWS": 160}
CONFIRM = {"EVAL_SPLIT": "test", "EVAL_ROWS": 480}


def run(kind: str, model: str, way: str, rate: float, seed: int) -> dict:
    """One training run of the plan."""
    steps = STEPS // len(POOL) if way in ALONE or way == "merged" else STEPS  # of one trainer
    own = {"SEED": seed, "LEARNING_RATE": rate, "STEPS": steps, "BATCH": BATCH, "EVAL_BATCH": 160}
    name = f"{kind}-{model}-many-{way}-lr{rate:g}-s{seed}"
    own |= SEARCH if kind == "search" else CONFIRM
    return {"name": name, "stage": way, "plan": "plan_08_many", "set": own}


def search(model: str = "qwen-1.5b") -> list[dict]:
    """Every way and rate on valid, seed 0."""
    return [run("search", model, way, rate, 0) for way, rate in itertools.product(WAYS, RATES)]


def right(r: dict) -> float:
    """Whole answers right of one finished run, the mean over the tasks that it scored."""
    return float(np.mean([recordings.unpack(bits).mean() for bits in r["result"]["exact"].values()]))


def searched(runs: list[dict], way: str) -> dict[float, dict[int, float]]:
    """{rate: {seed: what it got right}} of one way."""
    return choose.scores(recordings.find(runs, "search", way), right, "LEARNING_RATE")


def thin(runs: list[dict]) -> list[dict]:
    """The two best rates of every way by seed 0, with seeds 1 and 2; a tie goes to the lower rate."""
    model, plan = recordings.model_of(runs[0]), []
    for way in WAYS:
        few = choose.best_few(searched(runs, way), RATES, way)
        plan += [run("search", model, way, rate, seed) for rate in few for seed in choose.MORE_SEEDS]
    return plan


def best(runs: list[dict], way: str) -> float:
    """The rate of the highest mean among those with three seeds; a tie goes to the lower one."""
    return choose.best(searched(runs, way), RATES, way, thinned=True)


def confirm(runs: list[dict]) -> list[dict]:
    """Every way at its rate on test with new seeds; by seed, so that a cut plan has fewer of them."""
    model, rates = recordings.model_of(runs[0]), {way: best(runs, way) for way in WAYS}
    rates["merged"] = float(np.median([rates[way] for way in ALONE]))
    return [run("confirm", model, way, rate, seed) for seed in range(3, 10) for way, rate in rates.items()]


def chances(power: float) -> dict[str, float]:
    """Each task's chance, its pool to the `power`: 0 gives equal ones, 1 the pools' own.

    >>> {task: round(p, 2) for task, p in chances(0.5).items()}
    {'routing_words': 0.57, 'extract': 0.29, 'sentiment': 0.14}
    """
    weight = {task: size**power for task, size in POOL.items()}
    return {task: w / sum(weight.values()) for task, w in weight.items()}


def drawn(rows: dict[str, list], chance: dict[str, float], count: int, seed: int) -> list:
    """`count` rows, each of a task drawn by its chance; a task's rows go round in shuffled order, so none is far behind.

    ValueError names a task without rows, and chances that do not sum to 1.
    """
    if unknown := [task for task in chance if not rows.get(task)]:
        raise ValueError(f"no rows of {', '.join(unknown)}: there are {', '.join(rows)}")
    if abs(sum(chance.values()) - 1) > 1e-6:
        raise ValueError(f"chances sum to {sum(chance.values()):g}, not to 1: divide each by that sum")
    rng, queues, found = np.random.default_rng(seed), {task: [] for task in chance}, []
    for task in rng.choice(list(chance), size=count, p=list(chance.values())):
        if not queues[task]:
            queues[task] = [rows[task][i] for i in rng.permutation(len(rows[task]))]
        found.append(queues[task].pop())
    return found


def order(way: str) -> list[dict[str, float]]:
    """The chances of each part of a run in turn: one part for ways at once, one a task for the others."""
    if way in POWER:
        return [chances(POWER[way])]
    if way in ALONE:
        return [{way.removeprefix("alone-"): 1.0}]
    names, parts = list(POOL) if way != "back" else list(POOL)[::-1], []
    for place, task in enumerate(names):
        share = KEPT if way == "kept" and place else 0.0
        parts.append({task: 1 - share} | {earlier: share / place for earlier in names[:place] if share})
    return parts


def prepared(space: dict, split: str, count: int | None, seed: int = 0) -> dict[str, list]:
    """{task: chats under the task's own system prompt}."""
    of = lambda task: count if count else POOL[task]
    return {task: tasks.chat(tasks.load(task, split, n=min(of(task), len(tasks.load(task, split))), seed=seed), tasks.TASKS[task].system)
            for task in POOL}  # fmt: skip


def collect(space: dict, stage: str) -> dict:
    """Trains by the page's cells in the order of the way, and keeps verdicts by row of every task that was trained."""
    rows = {
        task: [space["chat_row"](chat) for chat in chats]
        for task, chats in prepared(space, "train", None, space["SEED"]).items()
    }
    kept: dict = {}
    if stage == "equal":
        kept["cosines"] = cosines(space, rows)
    if stage == "merged":
        model = merged(space, rows)
    else:
        model = trained(space, rows, order(stage))
    exact = {}
    for task, chats in prepared(space, space["EVAL_SPLIT"], space["EVAL_ROWS"]).items():
        if stage in ALONE and task != stage.removeprefix("alone-"):
            continue
        prompts, wanted = [c["prompt"] for c in chats], [c["completion"][0]["content"] for c in chats]
        scored = evaluate.score_completions(model, space["tokenizer"], prompts, wanted, space["EVAL_BATCH"], bar=False)
        exact[task] = scored.exact
    headline = {task: round(float(bits.mean()), 3) for task, bits in exact.items()}
    return kept | {"exact": {task: pack(bits) for task, bits in exact.items()}, "headline": headline}


def trained(space: dict, rows: dict[str, list], parts: list[dict[str, float]]):
    """The model that the page's trainer makes of the parts, one after the other, on one adapter."""
    steps = space["STEPS"] // len(parts)
    seen = [row for number, chance in enumerate(parts)
            for row in drawn(rows, chance, steps * space["BATCH"], space["SEED"] + 100 * number)]  # fmt: skip
    if len(parts) > 1:
        space["SFTTrainer"] = in_turn(space["SFTTrainer"], steps)
    space["trainer"] = space["new_trainer"](seen, space["LEARNING_RATE"])
    space["trainer"].train()
    return space["trainer"].model


def restarted(step: int, part: int) -> float:
    """Share of the peak rate at a step: a short warm-up and a cosine to 0, anew in every part of `part` steps.

    >>> [round(float(restarted(step, 40)), 2) for step in (0, 2, 21, 39, 40, 42)]
    [0.0, 1.0, 0.5, 0.0, 0.0, 1.0]
    """
    warm, place = max(1, part // 20), step % part
    return place / warm if place < warm else 0.5 * (1 + np.cos(np.pi * (place - warm) / (part - warm)))


def in_turn(trainer_class, part: int):
    """The trainer reading its rows as they stand, with a rate that starts anew in every part of `part` steps."""
    from torch.optim.lr_scheduler import LambdaLR
    from torch.utils.data import SequentialSampler

    class InTurn(trainer_class):
        def _get_train_sampler(self, *_):
            return SequentialSampler(self.train_dataset)

        def create_scheduler(self, num_training_steps, optimizer=None):
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, lambda step: float(restarted(step, part)))
            return self.lr_scheduler

    return InTurn


def merged(space: dict, rows: dict[str, list]):
    """The adapters of the tasks, each trained alone, with their corrections added."""
    import tempfile

    from peft import PeftModel

    folders = {}
    for task in POOL:
        model = trained(space, rows, [{task: 1.0}])
        folders[task] = tempfile.mkdtemp()
        model.save_pretrained(folders[task])
    first, *others = POOL
    model = PeftModel.from_pretrained(space["fresh_model"](), folders[first], adapter_name=first)
    for task in others:
        model.load_adapter(folders[task], adapter_name=task)
    model.add_weighted_adapter(list(POOL), [1.0] * len(POOL), "sum", combination_type="cat")
    model.set_adapter("sum")
    return model.eval()


def cosines(space: dict, rows: dict[str, list], count: int = 64) -> dict[str, float]:
    """Cosine of the gradients of each two tasks at the untrained adapter, over `count` rows of each."""
    import torch

    trainer = space["new_trainer"]([rows[task][0] for task in POOL], space["LEARNING_RATE"])
    model, gradients = trainer.model.train(), {}
    for task in POOL:
        model.zero_grad()
        for row in rows[task][:count]:
            ids = torch.tensor([row["input_ids"]], device=model.device)
            labels = ids.masked_fill(torch.tensor([row["completion_mask"]], device=model.device) == 0, -100)
            model(input_ids=ids, labels=labels).loss.backward()
        gradients[task] = torch.cat([p.grad.float().flatten() for p in model.parameters() if p.grad is not None])
    return {
        f"{a}, {b}": round(float(torch.nn.functional.cosine_similarity(gradients[a], gradients[b], dim=0)), 4)
        for a, b in itertools.combinations(POOL, 2)
    }


def verdicts(runs: list[dict], ways: tuple, seeds: list[int], names: tuple = tuple(POOL)) -> np.ndarray:
    """Verdicts on the test rows of the tasks `names`, one after the other: (seeds, rows) of 0 and 1.

    ways: the ways whose runs hold them, each task in one of them.
    """
    found = [r for r in runs if r["name"].startswith("confirm-") and r["stage"] in ways]
    of = {(r["set"]["SEED"], task): bits for r in found for task, bits in r["result"]["exact"].items()}
    return np.array([np.concatenate([recordings.unpack(of[seed, task]) for task in names]) for seed in seeds])


def ahead(runs: list[dict], one: tuple, other: tuple, names: tuple = tuple(POOL)) -> evaluate.Interval | None:
    """Whole answers right of one way minus another's, each a tuple of its runs' stages, on the same rows and on the seeds that
    both have; None under three."""
    seeds = set.intersection(
        *({r["set"]["SEED"] for r in recordings.find(runs, "confirm", way)} for way in (*one, *other))
    )
    if len(seeds) < 3:
        return None
    families = [
        f"{task} {row['family']}"
        for task in names
        for row in tasks.load(task, CONFIRM["EVAL_SPLIT"], n=CONFIRM["EVAL_ROWS"], seed=0)
    ]
    return evaluate.difference(*(verdicts(runs, ways, sorted(seeds), names) for ways in (one, other)), families)


def measured(runs: list[dict]) -> dict:
    """Q6a and Q6b of one model's confirming runs; the tasks count alike, since each has as many test rows."""
    smallest = min(POOL, key=POOL.get)
    found = {
        "Q6a": {
            "at once": ahead(runs, ("equal",), ALONE),
            "in proportion": ahead(runs, ("equal",), ("size",), (smallest,)),
        },
        "Q6b": {
            "in turn": ahead(runs, ("turn",), ("equal",)),
            "with a fifth kept": ahead(runs, ("kept",), ("equal",)),
        },
    }
    whole = {claim: {part: i for part, i in parts.items() if i is not None} for claim, parts in found.items()}
    return {claim: parts for claim, parts in whole.items() if parts}


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, search=search, thin=thin, confirm=confirm)
