"""The recorded experiments search on valid with seeds 0-2 and confirm on test with others: read from the plans themselves."""

import json
import subprocess
import sys

import pytest
from notebook_cells import ROOT

from data.runs import plan_01, plan_02, plan_03, plan_05, plan_09, plan_10
from helpers import recordings

PLANS = (plan_01, plan_02, plan_03, plan_05, plan_10)


def splits(run):
    """Which splits a run scores."""
    s = run["set"]
    return set(s["GRADED"]) if "GRADED" in s else {s.get("SPLIT") or s.get("EVAL_SPLIT")}


def scored(plan):
    """Search runs of a plan as if all had been run, each setting with the same score."""
    bits = {"exact": "10"}
    methods = {k: bits for k in ("tuned", "v1", "prompt", "style")}
    after = {"prefers": "10", "style": {"calm": "11", "day": "01"}, "prose": 3.1}
    result = {"methods": methods, "grades": {"100": {"valid": 0.5}}, "after": after}
    found = [r | {"result": result} for r in plan.search()]
    if plan is plan_05:  # the grid with one seed, then the best few of every arm with two more
        found = [r | {"model": "qwen-1.5b"} for r in found]
        found += [r | {"model": "qwen-1.5b", "result": result} for r in plan.thin(found)]
    return found


@pytest.mark.parametrize("plan", PLANS, ids=lambda p: p.__name__)
def test_no_search_reads_the_test_rows(plan):
    runs = scored(plan)
    assert runs and all(splits(r) == {"valid"} for r in runs)
    assert {r["set"]["SEED"] for r in runs if "SEED" in r["set"]} == {0, 1, 2}
    assert len({r["name"] for r in runs}) == len(runs)


@pytest.mark.parametrize("plan", PLANS, ids=lambda p: p.__name__)
def test_confirmed_runs_are_new_seeds_on_test(plan):
    runs = plan.confirm(scored(plan))
    assert all("test" in splits(r) or r["stage"] in ("indicators", "cost") for r in runs)
    assert {r["set"]["SEED"] for r in runs if "SEED" in r["set"]} <= set(range(3, 10))
    assert len({r["name"] for r in runs}) == len(runs)
    assert all(r["name"].startswith("confirm-") for r in runs)


def test_plan_05_gives_every_arm_the_same_search_and_thins_by_seed_0():
    grid = [r | {"model": "qwen-1.5b"} for r in plan_05.search()]
    for task in plan_05.STEPS:
        tried = {
            (r["set"]["RANK"], r["set"]["ALPHA"] // r["set"]["RANK"], r["set"]["LEARNING_RATE"])
            for r in grid
            if r["set"]["TASK"] == task
        }
        assert len(tried) == 4 * 3 * 3  # ranks, multiples, rates
    bits = lambda r: "1" * 9 + "0" if r["set"]["RANK"] == 16 and r["set"]["LEARNING_RATE"] == 3e-4 else "10"
    grid = [r | {"result": {"methods": {"tuned": {"exact": bits(r)}}}} for r in grid]
    more = plan_05.thin(grid)
    assert {r["set"]["SEED"] for r in more} == {1, 2} and len({r["name"] for r in more}) == len(more)
    again = [r | {"model": "qwen-1.5b", "result": {"methods": {"tuned": {"exact": bits(r)}}}} for r in more]
    chosen = plan_05.best(grid + again, "routing_words")
    assert chosen["r=16"] == (16, 16, 3e-4) and chosen["r=16, alpha=64"] == (16, 64, 3e-4)
    assert chosen["r=4"] == (4, 4, 1e-4)  # a tie goes to the lower rate
    with pytest.raises(SystemExit, match="no setting has three searched seeds"):
        plan_05.best(grid, "routing_words")
    with pytest.raises(SystemExit, match="searched runs are missing"):
        plan_05.thin(grid[:-1])


def test_every_size_takes_the_same_steps():
    for plan, key in ((plan_02, "ROWS"), (plan_03, "ROWS")):
        trained = [r for r in plan.confirm(scored(plan)) if key in r["set"] and "long" not in r["name"]]
        assert len({(r["set"]["STEPS"], r["set"]["BATCH"]) for r in trained}) == 1 and len(trained) > 50


def test_plan_02_has_the_seeds_it_promises():
    runs = [r for r in plan_02.confirm(scored(plan_02)) if r["set"]["TASK"] == "routing" and not r["set"].get("POOR")]
    runs = [r for r in runs if "long" not in r["name"]]
    seeds = {}
    for r in runs:
        if "ROWS" in r["set"]:
            seeds.setdefault(r["set"]["ROWS"], []).append(r["set"]["SEED"])
    assert {n: len(s) for n, s in seeds.items()} == {25: 5, 100: 5, 400: 5, 1600: 3, 4000: 3}


def larger(runs, score=lambda r: 0.5):
    """Search runs of plan 02 on a larger model, as if all had been run."""
    style = {"style": {"exact": "4:c"}}
    made = lambda r: {"grades": {"300": {"valid": score(r)}}, "methods": style}
    return [r | {"model": "qwen-1.5b", "result": made(r)} for r in runs]


def test_plan_02_searches_a_larger_model_in_two_passes():
    first = larger(plan_02.search("qwen-1.5b"), lambda r: r["set"]["LEARNING_RATE"])
    assert {r["set"]["SEED"] for r in first} == {0} and len(first) == 6 * 3
    again = plan_02.thin(first)
    assert {(r["set"]["TASK"], r["set"]["LEARNING_RATE"]) for r in again} == {
        (kind, lr) for kind in plan_02.KINDS for lr in ((1e-4, 3e-4) if kind == "tone" else (3e-4, 6e-4))
    }  # of `tone` the style counts, here equal: a tie goes to the lower rates
    assert {r["set"]["SEED"] for r in again} == {1, 2}
    runs = first + larger(again, lambda r: r["set"]["LEARNING_RATE"])
    plan = [r for r in plan_02.confirm(runs) if r["stage"] == "tuned"]
    assert {r["set"]["LEARNING_RATE"] for r in plan if r["set"]["TASK"] == "extract"} == {6e-4}
    assert all(r["set"]["GRADED"] == ["test"] and r["set"]["STEPS"] == 300 for r in plan)
    seeds = [r["set"]["SEED"] for r in plan if r["set"]["TASK"] == "routing" and r["set"]["ROWS"] == 400]
    assert seeds == [3, 4, 5, 6, 7]
    with pytest.raises(SystemExit, match="run the plan `thin` first"):
        plan_02.confirm(first)
    with pytest.raises(SystemExit, match="2 search runs for extract"):
        plan_02.confirm([r for r in runs if r["name"] != "search-qwen-1.5b-extract-n400-lr0.0006-s1"])


def test_plan_01_searches_a_larger_model_at_lower_rates():
    small, large = plan_01.search(), plan_01.search("qwen-1.5b")
    assert not {r["name"] for r in small} & {r["name"] for r in large} and len(small) == len(large)
    rows_a_step = {r["set"]["BATCH"] * r["set"].get("ACCUMULATE", 1) for r in small + large if r["stage"] == "tuned"}
    assert rows_a_step == {plan_01.BATCH}


def test_the_command_line_prints_a_plan(tmp_path):
    def run(*words):
        command = [sys.executable, "-m", "data.runs.plan_03", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    for r in scored(plan_03):
        (tmp_path / f"{r['name']}.json").write_text(json.dumps(r), encoding="utf-8")
    assert json.loads(run("search").stdout) == plan_03.search()
    assert json.loads(run("confirm", str(tmp_path)).stdout) == plan_03.confirm(scored(plan_03))
    for wrong in ((), ("confirm",), ("everything",)):
        assert run(*wrong).returncode == 1 and "confirm build/runs" in run(*wrong).stderr


def test_plan_10_takes_the_best_setting_and_among_near_ones_the_least_destructive():
    runs = scored(plan_10)
    assert plan_10.gain(runs[0]) == (0.5 + 0.5) / 2
    assert plan_10.best(runs, "none", "dpo") == (1e-4, 0.05)
    mild = {"after": {"prefers": "10", "style": {"calm": "11", "day": "01"}, "prose": 3.0}}
    runs = [r | {"result": mild} if "-none-dpo-lr0.0003-b0.1-" in r["name"] else r for r in runs]
    assert plan_10.best(runs, "none", "dpo") == (3e-4, 0.1)
    good = {"after": {"prefers": "11", "style": {"calm": "11", "day": "01"}, "prose": 5.0}}
    runs = [r | {"result": good} if "-none-dpo-lr0.001-b0.5-" in r["name"] else r for r in runs]
    assert plan_10.best(runs, "none", "dpo") == (1e-3, 0.5)
    with pytest.raises(SystemExit, match="2 search runs for none, sft"):
        plan_10.best([r for r in runs if r["name"] != "search-none-sft-lr0.001-b0.1-x60-s1"], "none", "sft")


def test_plan_10_lets_sft_come_first_at_the_rate_that_its_own_search_found():
    from helpers import recordings

    assert plan_10.SFT_RATE == plan_10.best(list(recordings.load("10")), "none", "sft")[0]


def test_the_record_of_09_follows_its_plan(tmp_path):
    recorded = {r["name"]: r for r in recordings.load("09")}
    for name in ("measure-ladder", "measure-compiled"):
        (tmp_path / f"{name}.json").write_text(json.dumps(recorded[name]))
    plan = {p["name"]: p for p in plan_09.measure(*plan_09.finished(tmp_path))}
    whole = {"end-to-end-05", "end-to-end-05-plain"}
    for name in recorded.keys() - whole:
        assert recorded[name]["set"] == plan[name]["set"], name
    assert {recorded[name]["result"]["asked"]["COURSE_GPU_GIB"] for name in whole} == {"12"}
    assert plan.keys() | whole == recorded.keys()
    assert (len(plan_09.FIT), len(plan_09.CHECK)) == (12, 24)
    key = lambda point: (point[0], tuple(sorted(point[1].items())))
    assert not set(map(key, plan_09.FIT)) & set(map(key, plan_09.CHECK))
