"""The recorded experiments of notebook 01: prompts, retrieval, facts by heart, and a tuned reader.

    python -m data.runs.plan_01 search               > build/01_search.json      of the model that COURSE_MODEL names
    python -m data.runs.plan_01 confirm build/runs   > build/01_confirm.json     after the search has run
    python -m data.runs.plan_01 live                 > build/01_live.json        minutes on a CPU

Search: valid rows; every prompt, every form of retrieval, three learning rates with seeds 0-2. The best of each (highest
mean; a tie goes to the first named) is confirmed once on the test rows; trained ones with seeds 3-7. The larger models have
lower rates; a pass of 8 rows, four to a step, is the same batch of 32 in less memory.
"""

from __future__ import annotations

import itertools

from data.runs import choose
from helpers import difficulty, evaluate, recordings, tasks
from helpers.recordings import pack, start

STEPS, BATCH = 100, 32
RATES, LARGER_RATES = (1e-3, 2e-3, 4e-3), (1e-4, 3e-4, 6e-4)
PROMPT_TASKS = ("sentiment", "extract", "routing", "policy-8")
PROMPTS = [
    (0, False, True),
    (8, False, False),
    (8, False, True),
    (4, True, True),
    (8, True, False),
    (8, True, True),
    (16, True, False),
]  # fmt: skip  (worked examples, the nearest ones, rules)
READINGS = list(itertools.product((1, 3), (0, 4, 8)))  # articles, worked examples


def prompted(kind: str, task: str, shots: int, nearest: bool, rules: bool, model: str = recordings.BUNDLED) -> dict:
    """One prompt; greedy decoding has no seed."""
    own = {"TASK": task, "SHOTS": shots, "NEAREST": nearest, "RULES": rules, "TEST_ROWS": 10**6, "PROMPT_ROWS": 10**6}
    name = f"{start(kind, model)}-{task}-prompt-{shots}{'-nearest' if nearest else ''}{'-rules' if rules else ''}"
    return {"name": name, "stage": "prompt", "set": own | {"SPLIT": "valid" if kind == "search" else "test"}}


def read(kind: str, articles: int, shots: int, model: str = recordings.BUNDLED) -> dict:
    """The base model reads what was retrieved."""
    own = {
        "ARTICLES": articles,
        "SHOTS": shots,
        "TEST_ROWS": 10**6,
        "PROMPT_ROWS": 10**6,
        "SPLIT": "valid" if kind == "search" else "test",
    }
    return {"name": f"{start(kind, model)}-rag-{articles}-{shots}", "stage": "rag", "set": own}


def tuned(kind: str, learn: str, rate: float, seed: int, model: str = recordings.BUNDLED) -> dict:
    """One training run: facts by heart, or reading."""
    own = {"LEARN": learn, "LEARNING_RATE": rate, "SEED": seed, "STEPS": STEPS, "BATCH": BATCH, "FACTS": 120,
           "ARTICLES": 3, "SPLIT": "valid" if kind == "search" else "test"}  # fmt: skip
    if model != recordings.BUNDLED:
        own |= {"BATCH": 8, "ACCUMULATE": BATCH // 8}
    return {"name": f"{start(kind, model)}-{learn}-lr{rate:g}-s{seed}", "stage": "tuned", "set": own}


def rates(model: str) -> tuple:
    """Those that a model's search tries."""
    return RATES if model == recordings.BUNDLED else LARGER_RATES


def search(model: str = recordings.BUNDLED) -> list[dict]:
    """Every setting on valid."""
    trained = itertools.product(("facts", "reader"), rates(model), range(3))
    plan = [tuned("search", a, lr, s, model) for a, lr, s in trained]
    plan += [read("search", *r, model) for r in READINGS]
    return plan + [prompted("search", t, *p, model) for t, p in itertools.product(PROMPT_TASKS, PROMPTS)]


def live() -> list[dict]:
    """The notebook's size, ten facts by heart, seeds 3-5. (The recorded ones drew any ten facts; the page now takes first
    those that version 2 changes.)"""
    own = {"LEARN": "facts", "STEPS": 30, "BATCH": 8, "FACTS": 10, "SPLIT": "test"}
    return [{"name": f"live-facts-s{s}", "stage": "tuned", "set": own | {"SEED": s}} for s in range(3, 6)]


def best_prompt(runs: list[dict], task: str) -> tuple:
    """The prompt with the highest score on valid; a tie goes to the first named."""
    found = recordings.find(runs, "search", "prompt", TASK=task)
    by_prompt = choose.scores(found, lambda r: choose.exact(r, "prompt"), "SHOTS", "NEAREST", "RULES")
    return choose.best_few(by_prompt, PROMPTS, task, 1)[0]


def confirm(runs: list[dict]) -> list[dict]:
    """The best of each on test."""
    model, plan = recordings.model_of(runs[0]), []
    for task in PROMPT_TASKS:
        best = best_prompt(runs, task)
        plan.append(prompted("confirm", task, *best, model))
        if best != PROMPTS[5]:
            plan.append(prompted("confirm", task, *PROMPTS[5], model))  # the full one, for the figure
    v1 = lambda r: choose.exact(r, "v1")
    readings = choose.scores(recordings.find(runs, "search", "rag"), v1, "ARTICLES", "SHOTS")
    plan.append(read("confirm", *choose.best_few(readings, READINGS, "rag", 1)[0], model))
    for learn in ("facts", "reader"):
        found = choose.scores(recordings.find(runs, "search", LEARN=learn), v1, "LEARNING_RATE")
        rate = choose.best(found, rates(model), learn)
        plan += [tuned("confirm", learn, rate, s, model) for s in range(3, 8)]
    return plan


def collect(space: dict, stage: str) -> dict:
    """What a run keeps: verdicts by row for each method, seconds of answering, and the facts that were learned."""
    methods, result = {}, {}
    if stage == "prompt":
        kind = space["TASK"].split("-")[0]
        verdicts = [
            tasks.check_answer(kind, a, r["completion"]) for a, r in zip(space["answers"], space["asked_rows"])
        ]
        fields = {k: pack(v.fields[k] for v in verdicts) for k in verdicts[0].fields}
        methods["prompt"] = {"exact": pack(v.exact for v in verdicts), "fields": fields}
        result["seconds"] = round(space["prompt_seconds"], 1)
    elif stage == "rag":
        questions = space["questions"]
        methods["v1"] = read_verdicts(space["replies"], questions, 1)
        methods["v2"] = read_verdicts(space["read_and_answer"](questions, 2), questions, 2)
        result["seconds"] = round(space["reading_seconds"], 1)
    elif stage == "tuned":
        exam, said = space["exam"], {}
        for version in (1, 2) if space["LEARN"] == "reader" else (1,):  # by heart no article is read
            asked = (
                space["with_articles"](exam, version) if space["LEARN"] == "reader" else [r["prompt"] for r in exam]
            )
            chats = [[{"role": "system", "content": space["SYSTEM"]}, {"role": "user", "content": t}] for t in asked]
            said[version] = evaluate.generate(
                space["trainer"].model, space["tokenizer"], chats, 24, space["EVAL_BATCH"]
            )
        said.setdefault(2, said[1])
        methods = {f"v{v}": read_verdicts(said[v], exam, v) for v in (1, 2)}
        methods["old in v2"] = read_verdicts(said[2], exam, 1)
        result["facts"] = sorted(space["learned"])
    else:
        raise ValueError(f"stage {stage!r}: choose prompt, rag or tuned")
    headline = {name: round(float(recordings.unpack(m["exact"]).mean()), 4) for name, m in methods.items()}
    return {"methods": methods, **result, "headline": headline}


def read_verdicts(replies: list[str], rows: list[dict], version: int) -> dict:
    """Whether each reply contains the version's answer, and whether it names the right article (or none where none has it)."""
    facts = [r["completion"] if version == 1 else r["answer_v2"] for r in rows]
    exact = [tasks.check_answer("general", a, f, accepted=[f]).exact for a, f in zip(replies, facts)]
    cites = [f"[{r['article']}]" in a if r["article"] else "[" not in a for a, r in zip(replies, rows)]
    return {"exact": pack(exact), "fields": {"cites": pack(cites)}}


def measured(runs: list[dict]) -> dict:
    """Q10 of one model's runs. The 135M: "know" and "behave"; on `sentiment` its best prompt is not above chance, so that no
    task of ours is one that it can do. A larger model: "can do" too; what is tuned are the runs of notebook 02, 400 rows."""
    parts, model = {}, recordings.model_of(runs[0])
    facts, reader = (recordings.find(runs, "confirm", LEARN=learn) for learn in ("facts", "reader"))
    if facts and reader:
        families = [row["family"] for row in tasks.load("handbook", "test")]
        parts["know"] = evaluate.difference(*(recordings.verdicts(r, "v2") for r in (reader, facts)), families)
    for part, task in (("can do", "sentiment"), ("behave", "routing")):
        adapters, prompt = tuned_runs(task, model), chosen_prompt(runs, task, model)
        if not adapters or not prompt:
            continue
        families = [r["family"] for r in difficulty.task(task)["rows"] if r["split"] == "test"]
        both = [recordings.verdicts(adapters), recordings.verdicts(prompt, "prompt")]
        parts[part] = evaluate.difference(*(both if part == "behave" else both[::-1]), families)
    return {"Q10": parts} if parts else {}


def tuned_runs(task: str, model: str) -> list[dict]:
    """Confirmed adapters of a task: of the 135M those of notebook 05 for routing, of a larger model those of 02; none where fewer
    than three seeds have run."""
    if model == recordings.BUNDLED:
        found = recordings.load("05", model) if task == "routing" else []
        return recordings.find(found, "confirm", TASK=task, RANK=16, ALPHA=32, BATCH=16, LEARNING_RATE=2e-3)
    found = recordings.find(recordings.load("02", model), "confirm", TASK=task, ROWS=400, POOR=0.0)
    return found if len(found) >= 3 else []


def chosen_prompt(runs: list[dict], task: str, model: str) -> list[dict]:
    """The confirmed run of the prompt that was best on valid, in a list; empty where none was searched."""
    if not any(r["name"].startswith(f"{start('search', model)}-{task}-prompt") for r in runs):
        return []
    name = prompted("confirm", task, *best_prompt(runs, task), model)["name"]
    return [r for r in runs if r["name"] == name]


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, search=search, confirm=confirm, live=live)
