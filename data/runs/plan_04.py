"""The recorded experiments of notebook 04: what 4 bits cost, which layers to adapt, how to scale a high rank.

Run so far: `pair`, seeds 3-9.

    python -m data.runs.plan_04 pair                 > build/04_pair.json      with COURSE_MODEL=qwen-1.5b; needs no search
    python -m data.runs.plan_04 search               > build/04_search.json    the same model
    python -m data.runs.plan_04 thin build/runs      > build/04_thin.json      two more seeds of the best two rates
    python -m data.runs.plan_04 confirm build/runs   > build/04_confirm.json   after that

Five arms (`ARMS`) on two tasks, 16 rows a step, as many steps as in 05. The same seed gives every arm the same rows in the same order.

4 bits against 16: a pair that differs in nothing else. Both take the rate at which 05's search (NF4, r = 16, alpha = 32, seeds 0-2 on
valid) was right most often: no choice is made here. That rate was found with 4-bit weights: if 16 bits are behind, ask whether
another rate would suit them before the weights are praised.
The other three are searched: five rates (05 found its largest scale best at its lowest rate) with seed 0 on valid rows, the best
two of each arm with seeds 1 and 2; the highest mean exact match, a tie goes to the lower rate.
Attention only has alpha = 2r, as the arm with all linear maps, and the rank at which it trains as many numbers. The two arms of
rank 64 keep the alpha of rank 16, 32: plain LoRA then scales by 1/2, rsLoRA by 4.
Confirm: test rows, once, seeds 3-9, every arm; 4 bits against 16 also 10-16. Tasks in the order of `STEPS`: a cut plan has one whole.

Rules, set before any run. `compared` gives one arm minus another, whole answers right, by seed and row, families resampled. 4 bits
cost nothing that matters where the interval of NF4 minus 16 bits lies above -`MARGIN` (of all seeds that both have; 10-16 were added
after a look at the first); of the other two pairs one arm is ahead where the interval leaves 0 out. Anything else is not decided.

The Qwen weights come from a GGUF file (Q4_K_M): they were 4-bit once, in another grid than NF4. The comparison says what a second
rounding costs; for weights that were never rounded it is a hint.
"""

from __future__ import annotations

import itertools

from data.runs import choose, plan_05
from helpers import evaluate, planner, recordings, tasks
from helpers.recordings import pack

STEPS = plan_05.STEPS  # task: steps of 16 rows
RATES = (3e-5, 1e-4, 3e-4, 6e-4, 1.2e-3)
SEEDS, MORE_SEEDS = (
    range(3, 10),
    range(10, 17),
)  # the second for 4 bits against 16 alone, whose first seven left it open
RANK, ALPHA = 16, 32
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
COMMON = {"BATCH": 16, "ACCUMULATE": 1, "EVAL_BATCH": 160, "CHECKPOINTING": False}
SEARCH = {"EVAL_SPLIT": "valid", "EVAL_ROWS": 320, "PROBE_TOKENS": 4096}
CONFIRM = {"EVAL_SPLIT": "test", "EVAL_ROWS": 640, "PROBE_TOKENS": 20480}
ARMS = ("nf4", "16-bit", "attention", "r64", "r64-rslora")
PAIRS = {"4 bits minus 16": ARMS[:2], "attention minus all": ("attention", "nf4"), "rsLoRA minus plain": ARMS[:2:-1]}
MARGIN = 0.03  # of whole answers right
SEARCHED = ARMS[2:]  # the others take the rate of 05
SIZES = {"qwen-0.5b": "0.5B", "qwen-1.5b": "1.5B"}  # names of planner.SHAPES


def equal_rank(shape: planner.Shape, rank: int = RANK) -> int:
    """The rank at which adapters on the four attention maps train as many numbers as `rank` on all seven, rounded.

    >>> equal_rank(planner.Shape.of(planner.SHAPES["1.5B"]))
    68
    """
    units = [n_in + n_out for n_in, n_out in shape.linears]  # q, k, v, o, gate, up, down
    return round(rank * sum(units) / sum(units[:4]))


def settings(arm: str, model: str) -> dict:
    """What an arm sets on the page."""
    if model not in SIZES:
        raise SystemExit(f"COURSE_MODEL={model}: this plan is for {' or '.join(SIZES)}")
    rank = {"attention": equal_rank(planner.Shape.of(planner.SHAPES[SIZES[model]])), "r64": 64, "r64-rslora": 64}
    own = {"BITS": 16 if arm == "16-bit" else 4, "TARGETS": ATTENTION if arm == "attention" else "all-linear"}
    own |= {"RSLORA": arm == "r64-rslora", "RANK": rank.get(arm, RANK)}
    return own | {"ALPHA": 2 * own["RANK"] if arm == "attention" else ALPHA}


def tuned(kind: str, model: str, task: str, arm: str, rate: float, seed: int) -> dict:
    """One training run of the plan."""
    own = {"TASK": task, "LEARNING_RATE": rate, "SEED": seed, "STEPS": STEPS[task]} | settings(arm, model)
    name = f"{kind}-{model}-{task}-{arm}-lr{rate:g}-s{seed}"
    return {"name": name, "stage": "tuned", "set": own | COMMON | (SEARCH if kind == "search" else CONFIRM)}


def search(model: str = "qwen-1.5b") -> list[dict]:
    """The arms without a known rate: every rate on valid, seed 0."""
    return [tuned("search", model, *setting, 0) for setting in itertools.product(STEPS, SEARCHED, RATES)]


def searched(runs: list[dict], task: str, arm: str) -> dict[float, dict[int, float]]:
    """{rate: {seed: exact match}} of an arm's search runs on a task."""
    found = recordings.find(runs, "search", TASK=task, **settings(arm, recordings.model_of(runs[0])))
    return choose.scores(found, choose.exact, "LEARNING_RATE")


def thin(runs: list[dict]) -> list[dict]:
    """The two best rates of every searched arm by seed 0, with seeds 1 and 2."""
    model, plan = recordings.model_of(runs[0]), []
    for task, arm in itertools.product(STEPS, SEARCHED):
        few = choose.best_few(searched(runs, task, arm), RATES, f"{task}, {arm}")
        plan += [tuned("search", model, task, arm, rate, seed) for rate in few for seed in choose.MORE_SEEDS]
    return plan


def known_rate(model: str, task: str) -> float:
    """The rate of r = 16, alpha = 32 that 05's search on valid found best, among those with three seeds."""
    found, known = plan_05.scores(recordings.load("05", model), task), plan_05.grid(task, [(RANK, ALPHA)])
    return choose.best(found, known, f"05 of {model}, {task}", thinned=True)[2]


def best_rate(runs: list[dict], task: str, arm: str) -> float:
    """The rate of an arm: of 05 for the pair 4 against 16 bits, else of its own search."""
    if arm not in SEARCHED:
        return known_rate(recordings.model_of(runs[0]), task)
    return choose.best(searched(runs, task, arm), RATES, f"{task}, {arm}", thinned=True)


def pair(model: str = "qwen-1.5b") -> list[dict]:
    """4 bits against 16 at the rate of 05, on test: what no search has to precede."""
    return [
        tuned("confirm", model, task, arm, known_rate(model, task), seed)
        for task, seed, arm in itertools.product(STEPS, (*SEEDS, *MORE_SEEDS), ARMS[:2])
    ]


def confirm(runs: list[dict]) -> list[dict]:
    """Every arm at its rate on test, new seeds."""
    model = recordings.model_of(runs[0])
    return [
        tuned("confirm", model, task, arm, best_rate(runs, task, arm), seed)
        for task, seed, arm in itertools.product(STEPS, SEEDS, ARMS)
    ]


def collect(space: dict, stage: str) -> dict:
    """What a run keeps: verdicts by row before and after, the loss on the right answers, prose loss, sizes, training losses."""
    losses = [float(e["loss"]) for e in space["trainer"].state.log_history if "loss" in e]
    return {
        "methods": {name: {"exact": pack(s.exact)} for name, s in space["scores"].items()},
        "answers": {n: [round(float(s.nll.sum()), 3), int(s.tokens.sum())] for n, s in space["scores"].items()},
        "rows": [round(float(nats), 3) for nats in space["scores"]["tuned"].nll],  # nats a row, for paired differences
        "prose_loss": {name: round(v, 4) for name, v in space["prose"].items()},
        "trainable": int(space["trainable"]),
        "weights_mib": round(space["weights_mib"], 1),
        "loss": [round(loss, 3) for loss in losses[:: max(1, len(losses) // 20)]],
        "headline": {name: round(float(s.exact.mean()), 3) for name, s in space["scores"].items()},
    }


def compared(runs: list[dict], task: str, pair: str) -> evaluate.Interval | None:
    """Whole answers right of the one arm of a pair in `PAIRS` minus the other, on the seeds that both have; None under three."""
    model = recordings.model_of(runs[0])
    ours, theirs = recordings.paired(runs, *(settings(arm, model) for arm in PAIRS[pair]), TASK=task)
    if len(ours) < 3:
        return None
    families = [row["family"] for row in tasks.load(task, "test", n=CONFIRM["EVAL_ROWS"], seed=0)]
    return evaluate.difference(recordings.verdicts(ours), recordings.verdicts(theirs), families)


def measured(runs: list[dict]) -> dict:
    """Nothing: no claim of the ledger rests on these runs. Q1 is measured by 05, Q7 by 09."""
    return {}


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, pair=pair, search=search, thin=thin, confirm=confirm)
