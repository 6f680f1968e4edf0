"""The recorded experiments of notebook 01: prompts, retrieval, facts by heart, and a tuned reader.

    python data/runs/plan_01.py search               > build/01_search.json
    python data/runs/plan_01.py confirm build/runs   > build/01_confirm.json     after the search has run
    python data/runs/plan_01.py live                 > build/01_live.json        minutes on a CPU

Search: valid rows; every prompt, every form of retrieval, three learning rates with seeds 0-2. The best of each (highest
mean; a tie goes to the first named) is confirmed once on the test rows; trained ones with seeds 3-7.
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

STEPS, BATCH = 100, 32
RATES = (1e-3, 2e-3, 4e-3)
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


def prompted(kind: str, task: str, shots: int, nearest: bool, rules: bool) -> dict:
    """One prompt; greedy decoding has no seed."""
    own = {"TASK": task, "SHOTS": shots, "NEAREST": nearest, "RULES": rules, "TEST_ROWS": 10**6, "PROMPT_ROWS": 10**6}
    name = f"{kind}-{task}-prompt-{shots}{'-nearest' if nearest else ''}{'-rules' if rules else ''}"
    return {"name": name, "stage": "prompt", "set": own | {"SPLIT": "valid" if kind == "search" else "test"}}


def read(kind: str, articles: int, shots: int) -> dict:
    """The base model reads what was retrieved."""
    own = {
        "ARTICLES": articles,
        "SHOTS": shots,
        "TEST_ROWS": 10**6,
        "PROMPT_ROWS": 10**6,
        "SPLIT": "valid" if kind == "search" else "test",
    }
    return {"name": f"{kind}-rag-{articles}-{shots}", "stage": "rag", "set": own}


def tuned(kind: str, learn: str, rate: float, seed: int) -> dict:
    """One training run: facts by heart, or reading."""
    own = {"LEARN": learn, "LEARNING_RATE": rate, "SEED": seed, "STEPS": STEPS, "BATCH": BATCH, "FACTS": 120,
           "ARTICLES": 3, "SPLIT": "valid" if kind == "search" else "test"}  # fmt: skip
    return {"name": f"{kind}-{learn}-lr{rate:g}-s{seed}", "stage": "tuned", "set": own}


def search() -> list[dict]:
    """Every setting on valid."""
    plan = [tuned("search", a, lr, s) for a, lr, s in itertools.product(("facts", "reader"), RATES, range(3))]
    plan += [read("search", *r) for r in READINGS]
    return plan + [prompted("search", t, *p) for t, p in itertools.product(PROMPT_TASKS, PROMPTS)]


def live() -> list[dict]:
    """The notebook's own run, ten facts by heart, seeds 3-5."""
    own = {"LEARN": "facts", "STEPS": 30, "BATCH": 8, "FACTS": 10, "SPLIT": "test"}
    return [{"name": f"live-facts-s{s}", "stage": "tuned", "set": own | {"SEED": s}} for s in range(3, 6)]


def share(run: dict, method: str) -> float:
    """Share of right answers of one finished run."""
    text = run["result"]["methods"][method]["exact"]
    return text.count("1") / len(text)


def confirm(runs: list[dict]) -> list[dict]:
    """The best of each on test."""
    by_name = {r["name"]: r for r in runs}

    def mean(names, method):
        return sum(share(by_name[n], method) for n in names) / len(names)

    plan = []
    for task in PROMPT_TASKS:
        best = max(PROMPTS, key=lambda p: mean([prompted("search", task, *p)["name"]], "prompt"))
        plan.append(prompted("confirm", task, *best))
        if best != PROMPTS[5]:
            plan.append(prompted("confirm", task, *PROMPTS[5]))  # the full one, for the figure
    best = max(READINGS, key=lambda r: mean([read("search", *r)["name"]], "v1"))
    plan.append(read("confirm", *best))
    for learn in ("facts", "reader"):
        rate = max(RATES, key=lambda lr: mean([tuned("search", learn, lr, s)["name"] for s in range(3)], "v1"))
        plan += [tuned("confirm", learn, rate, s) for s in range(3, 8)]
    return plan


if __name__ == "__main__":
    from record import print_plan

    print_plan(__doc__, search=search, confirm=confirm, live=live)
