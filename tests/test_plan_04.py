"""The plan of notebook 04: choices on valid with seeds 0-2, test with new ones; arms that differ in what they are about."""

import ast

import numpy as np
import pytest
from notebook_cells import PATHS, code_cells, source, tags

from data.runs import plan_04
from helpers import planner, recordings

MODEL = "qwen-1.5b"


def searched(best=3e-4):
    """The search as if it had been run: one rate is right more often than the others."""
    bits = {True: "1110", False: "10"}
    result = lambda r: {"methods": {"tuned": {"exact": bits[r["set"]["LEARNING_RATE"] == best]}}}
    made = lambda runs: [r | {"model": MODEL, "result": result(r)} for r in runs]
    first = made(plan_04.search(MODEL))
    return first + made(plan_04.thin(first))


def test_the_search_reads_valid_and_every_arm_gets_the_same():
    runs = searched()
    assert {r["set"]["EVAL_SPLIT"] for r in runs} == {"valid"} and {r["set"]["SEED"] for r in runs} == {0, 1, 2}
    assert len({r["name"] for r in runs}) == len(runs)
    for task in plan_04.STEPS:
        for arm in plan_04.SEARCHED:
            mine = [r for r in runs if f"-{task}-{arm}-lr" in r["name"]]
            tried = {(r["set"]["LEARNING_RATE"], r["set"]["SEED"]) for r in mine}
            first = {(rate, 0) for rate in plan_04.RATES}
            assert tried == first | {(rate, seed) for rate in (3e-5, 3e-4) for seed in (1, 2)} and len(tried) == len(
                mine
            )


def test_confirmed_runs_are_new_seeds_on_test():
    runs = plan_04.confirm(searched())
    assert {r["set"]["EVAL_SPLIT"] for r in runs} == {"test"} and {r["set"]["SEED"] for r in runs} == set(range(3, 10))
    assert len({r["name"] for r in runs}) == len(runs) == 2 * 7 * 5
    assert all(r["name"].startswith(f"confirm-{MODEL}-") for r in runs)
    rates = {r["set"]["LEARNING_RATE"] for r in runs if "-r64-" in r["name"] or "-attention-" in r["name"]}
    assert rates == {3e-4}


def test_a_tie_goes_to_the_lower_rate_and_a_gap_is_named():
    assert plan_04.best_rate(searched(best=None), "policy", "r64") == min(plan_04.RATES)
    with pytest.raises(SystemExit, match="2 search runs for policy, r64-rslora, setting 3e-05: 3 are needed"):
        plan_04.confirm(searched()[:-1])
    with pytest.raises(SystemExit, match="policy, r64-rslora: 1 searched runs are missing, the first is 0.0012"):
        plan_04.thin(searched()[: len(plan_04.search(MODEL)) - 1])
    with pytest.raises(SystemExit, match="this plan is for qwen-0.5b or qwen-1.5b"):
        plan_04.search("SmolLM2-135M-Instruct")


def test_four_against_sixteen_bits_differ_in_nothing_else():
    runs = {r["name"]: r["set"] for r in plan_04.confirm(searched())}
    pairs = [(s, runs[name.replace("-nf4-", "-16-bit-")]) for name, s in runs.items() if "-nf4-" in name]
    assert [r for r in plan_04.pair(MODEL) if r["set"]["SEED"] in plan_04.SEEDS] == [
        r for r in plan_04.confirm(searched()) if "-nf4-" in r["name"] or "-16-bit-" in r["name"]
    ]
    assert len(pairs) == 14 and all(a | {"BITS": 16} == b and a["BITS"] == 4 for a, b in pairs)
    for task in plan_04.STEPS:  # the rate of 05's own search
        assert {a["LEARNING_RATE"] for a, _ in pairs if a["TASK"] == task} == {plan_04.known_rate(MODEL, task)}


def test_attention_only_trains_as_many_numbers():
    shape = planner.Shape.of(planner.SHAPES["1.5B"])
    own = plan_04.settings("attention", MODEL)
    few = shape.layers * own["RANK"] * sum(a + b for a, b in shape.linears[:4])
    assert abs(few / shape.lora_parameters(16) - 1) < 0.01
    assert own["ALPHA"] / own["RANK"] == plan_04.ALPHA / plan_04.RANK


def test_rslora_differs_from_plain_by_its_scale_alone():
    plain, stable = (plan_04.settings(arm, MODEL) for arm in ("r64", "r64-rslora"))
    assert plain | {"RSLORA": True} == stable and plain["RANK"] == 64


def test_the_page_defines_what_the_plan_sets():
    page = next(p for p in PATHS if p.stem.startswith("04"))
    cell = next(c for c in code_cells(page) if "parameters" in tags(c))
    names = {
        n.id for n in ast.walk(ast.parse(source(cell))) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    for run in plan_04.search(MODEL) + plan_04.confirm(searched()):
        assert run["set"].keys() <= names, run["set"].keys() - names


def test_what_a_run_keeps():
    class Scores:
        exact, nll, tokens = np.array([1, 0, 1]), np.array([0.1, 2.0, 0.25]), np.array([4, 5, 6])

    class Trainer:
        class state:
            log_history = [{"loss": 3.0}, {"loss": 1.5}, {"train_runtime": 2.0}]

    space = {"trainer": Trainer, "scores": {"base": Scores, "tuned": Scores}, "prose": {"base": 2.0, "tuned": 2.5}}
    kept = plan_04.collect(space | {"trainable": 10, "weights_mib": 1.25}, "tuned")
    assert recordings.unpack(kept["methods"]["tuned"]["exact"]).tolist() == [1, 0, 1]
    assert kept["answers"]["base"] == [2.35, 15] and kept["rows"] == [0.1, 2.0, 0.25] and kept["loss"] == [3.0, 1.5]
    assert plan_04.measured([]) == {}


def test_pairs_are_compared_on_the_seeds_that_both_have():
    """16 bits right everywhere, NF4 on three rows of four: -25 points; rsLoRA as plain LoRA: 0."""
    n = plan_04.CONFIRM["EVAL_ROWS"]
    bits = lambda r: np.arange(n) % 4 != 0 if "-nf4-" in r["name"] else np.ones(n, bool)
    result = lambda r: {"methods": {"tuned": {"exact": recordings.pack(bits(r))}}}
    runs = [r | {"model": MODEL, "result": result(r)} for r in plan_04.confirm(searched())]
    found = {pair: plan_04.compared(runs, "policy", pair) for pair in plan_04.PAIRS}
    assert found["4 bits minus 16"].mean == pytest.approx(-0.25) and found[
        "attention minus all"
    ].mean == pytest.approx(0.25)
    assert found["rsLoRA minus plain"].mean == 0 and plan_04.PAIRS["rsLoRA minus plain"] == ("r64-rslora", "r64")
    assert plan_04.compared(runs[:10], "policy", "4 bits minus 16") is None
