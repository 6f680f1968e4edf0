"""data/runs/plan_06.py: what is searched and confirmed, and Q3 played on made runs."""

import numpy as np
import pytest

from data.runs import plan_06
from helpers import recordings, tasks

CALM = (3 * np.exp(-np.arange(100) / 4) + 0.02).tolist()
SLOW = (3 * np.exp(-np.arange(100) / 40) + 0.02).tolist()
WILD = [*np.linspace(3, 1, 20), *np.linspace(1, 9, 80)]


def test_search_reads_valid_with_seeds_0_to_2_and_confirm_test_with_new_ones():
    for plan, split, seeds in (
        (plan_06.search, "valid", {0, 1, 2}),
        (plan_06.full, "valid", {0, 1, 2}),
        (plan_06.confirm, "test", set(range(3, 10))),
    ):
        runs = plan("m")
        assert {r["set"]["EVAL_SPLIT"] for r in runs} == {split} and {r["set"]["SEED"] for r in runs} == seeds
        assert len({r["name"] for r in runs}) == len(runs) and all("-m-" in r["name"] for r in runs)
        assert {r["set"]["ALPHA"] == 2 * r["set"]["RANK"] for r in runs} == {True}


def test_the_recorded_search_is_the_planned_one():
    for model in ("qwen-1.5b", recordings.BUNDLED):
        made = {r["name"]: r["set"] for r in recordings.load("06", model)}
        every = plan_06.search(model) + plan_06.full(model) + plan_06.confirm(model)
        planned = {r["name"]: r["set"] for r in every}
        assert made and set(made) <= set(planned)
        assert all(planned[name] == made[name] for name in made)


def made_runs(kind, seeds, curve_of, right_of, task="routing_words"):
    rows = len(tasks.load(task, "test" if kind == "confirm" else "valid"))
    for seed in seeds:
        for at, rate in enumerate(plan_06.RATES):
            run = plan_06.run(kind, "m", "lora", 16, rate, seed, task)
            exact = recordings.pack(np.arange(rows) < right_of(at) * rows)
            yield run | {"result": {"exact": exact, "loss": curve_of(at)}}


def test_the_advice_is_played_on_each_seed_and_meets_the_best_rate_on_valid():
    curve_of = lambda at: SLOW if at < 4 else CALM if at == 4 else WILD  # calm at 1e-3
    right_of = lambda at: (0.0, 0.1, 0.3, 0.5, 0.8, 0.9, 0.2, 0.0)[at]  # but best at 3e-3
    runs = [*made_runs("search", range(3), curve_of, right_of), *made_runs("confirm", range(3, 7), curve_of, right_of)]
    assert plan_06.best_on_valid(runs, "routing_words") == 3e-3
    by_rate = {r["set"]["LEARNING_RATE"]: r for r in runs if r["name"].startswith("confirm") and r["set"]["SEED"] == 3}
    assert plan_06.advised(by_rate) == [1e-4, 3e-4, 1e-3]
    found = plan_06.measured(runs)["Q3"]
    assert set(found) == {"simple"} and found["simple"].mean == pytest.approx(-0.1, abs=0.01)
    assert found["simple"].seeds == 4


def test_fewer_than_three_whole_seeds_measure_nothing():
    curve_of, right_of = lambda at: CALM, lambda at: 0.5
    runs = [*made_runs("search", range(3), curve_of, right_of), *made_runs("confirm", range(3, 6), curve_of, right_of)]
    assert plan_06.measured(runs[:-1]) == {} and "simple" in plan_06.measured(runs)["Q3"]


def test_a_tie_on_valid_goes_to_the_lower_rate():
    runs = list(made_runs("search", range(3), lambda at: CALM, lambda at: 0.5))
    assert plan_06.best_on_valid(runs, "routing_words") == 1e-5
