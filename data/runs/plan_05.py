"""The recorded experiment of notebook 05: which settings are searched, and how the confirmed ones are chosen.

    python data/runs/plan_05.py search               > build/05_search.json
    python data/runs/plan_05.py confirm build/runs   > build/05_confirm.json     after the search has run

Search: valid rows, seeds 0-2. The best learning rate of each rank and alpha (highest mean whole-record exact match; a tie
goes to the lower rate) and the best prompt are then confirmed once, on the test rows, with seeds 3-7.
"""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

STEPS, BATCH = 200, 16
RATES = (1e-3, 2e-3, 4e-3)
SETTINGS = [(1, 2), (4, 8), (16, 16), (16, 32), (16, 64), (64, 128)]  # rank, alpha
PROMPTS = [(0, True), (8, False), (8, True), (24, False), (24, True)]  # worked examples, definitions
SEARCH = {"EVAL_SPLIT": "valid", "EVAL_ROWS": 320, "PROBE_TOKENS": 2048}
CONFIRM = {"EVAL_SPLIT": "test", "EVAL_ROWS": 640, "PROBE_TOKENS": 20480}
TASKS = ("routing", "routing_words")
RECORDED_ON = {
    "routing": "a6815f78fe722dbb",
    "routing_words": "ad2eda83f647ffa6",
    "routing_long": "fc1d6c704c3de726",
}  # sha256


def tuned(
    kind: str, task: str, rank: int, alpha: int, rate: float, seed: int, steps: int = STEPS, batch: int = BATCH
) -> dict:
    """One training run of the plan."""
    name = f"{kind}-{task}-r{rank}-a{alpha}-lr{rate:g}-{steps}x{batch}-s{seed}"
    settings = {
        "TASK": task,
        "RANK": rank,
        "ALPHA": alpha,
        "LEARNING_RATE": rate,
        "SEED": seed,
        "STEPS": steps,
        "BATCH": batch,
    }
    return {"name": name, "stage": "tuned", "set": settings | (SEARCH if kind == "search" else CONFIRM)}


def prompted(kind: str, task: str, shots: int, definitions: bool) -> dict:
    """One prompt of the plan; greedy decoding has no seed."""
    settings = {"TASK": task, "SHOTS": shots, "DEFINITIONS": definitions} | (SEARCH if kind == "search" else CONFIRM)
    return {
        "name": f"{kind}-{task}-prompt-{shots}-{'with' if definitions else 'no'}rules",
        "stage": "base",
        "set": settings,
    }


def search() -> list[dict]:
    """Every setting on valid, seeds 0-2."""
    runs = [tuned("search", "routing", r, a, lr, s) for (r, a), lr, s in itertools.product(SETTINGS, RATES, range(3))]
    prompts = [(t, n, d) for t in TASKS for n, d in PROMPTS]
    prompts.remove(("routing_words", 24, False))  # ran out of memory beside eleven other runs, and was not repeated
    return runs + [prompted("search", t, n, d) for t, n, d in prompts]


def exact(run: dict, method: str) -> float:
    """Whole-record exact match of one finished run."""
    bits = run["result"]["methods"][method]["exact"]
    return bits.count("1") / len(bits)


def best_rate(runs: list[dict], rank: int, alpha: int) -> float:
    """The rate with the highest mean over the searched seeds."""
    means = {}
    for rate in RATES:
        mine = [
            exact(r, "tuned") for r in runs if r["name"].startswith(f"search-routing-r{rank}-a{alpha}-lr{rate:g}-")
        ]
        if not mine:
            raise SystemExit(f"no search runs for rank {rank}, alpha {alpha}, rate {rate:g}")
        means[rate] = sum(mine) / len(mine)
    return max(RATES, key=lambda rate: (means[rate], -rate))


def best_prompt(runs: list[dict], task: str) -> tuple[int, bool]:
    """The prompt with the highest score on valid."""
    score = {
        (r["set"]["SHOTS"], r["set"]["DEFINITIONS"]): exact(r, "prompt")
        for r in runs
        if r["name"].startswith(f"search-{task}-prompt")
    }
    return max(score, key=score.get)


def confirm(runs: list[dict]) -> list[dict]:
    """The chosen settings on test, seeds 3-7; the telling names and the live setting at the rate chosen for r=16, alpha=32."""
    rate = best_rate(runs, 16, 32)
    plan = [prompted("confirm", t, *best_prompt(runs, t)) for t in TASKS]
    plan += [tuned("confirm", "routing", r, a, best_rate(runs, r, a), s) for s in range(3, 8) for r, a in SETTINGS]
    plan += [tuned("confirm", "routing_words", 16, 32, rate, s, 36, 8) for s in range(3, 8)]
    return plan + [tuned("confirm", "routing_words", 16, 32, rate, s) for s in range(3, 8)]


if __name__ == "__main__":
    from record import print_plan

    print_plan(__doc__, search=search, confirm=confirm)
