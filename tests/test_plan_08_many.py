"""The plan of 08 on several abilities: its search, what a mixture draws, and its verdicts from runs that were made up here."""

import math
from collections import Counter

import numpy as np
import pytest

from data.runs import plan_08_many as plan
from helpers import recordings


def made(r, right=0.5, rows=10):
    """A run as if it had been made: `right` of the answers to each task."""
    of = [r["stage"].removeprefix("alone-")] if r["stage"] in plan.ALONE else list(plan.POOL)
    share = right if isinstance(right, dict) else dict.fromkeys(plan.POOL, right)
    bits = {task: recordings.pack([i < round(rows * share[task]) for i in range(rows)]) for task in of}
    return r | {"model": "qwen-1.5b", "result": {"exact": bits}}


def searched(right=lambda r: 0.5):
    first = [made(r, right(r)) for r in plan.search()]
    return first + [made(r, right(r)) for r in plan.thin(first)]


def test_search_reads_valid_and_confirm_test_with_new_seeds():
    runs = searched()
    confirmed = plan.confirm(runs)
    assert {r["set"]["EVAL_SPLIT"] for r in runs} == {"valid"} and {r["set"]["SEED"] for r in runs} == {0, 1, 2}
    assert {r["set"]["EVAL_SPLIT"] for r in confirmed} == {"test"} and {r["set"]["SEED"] for r in confirmed} == set(
        range(3, 10)
    )
    names = [r["name"] for r in runs + confirmed]
    assert len(set(names)) == len(names) == 27 + 36 + 70
    assert {r["stage"] for r in confirmed} == {*plan.WAYS, "merged"}


def test_every_way_gets_its_best_rate():
    runs = searched(
        lambda r: 0.9 if (r["stage"], r["set"]["LEARNING_RATE"]) in {("turn", 6e-4), ("alone-extract", 3e-4)} else 0.5
    )
    rates = {r["stage"]: r["set"]["LEARNING_RATE"] for r in plan.confirm(runs)}
    assert (
        rates["turn"] == 6e-4 and rates["alone-extract"] == 3e-4 and rates["equal"] == 1e-4 and rates["merged"] == 1e-4
    )
    with pytest.raises(SystemExit, match="turn: no setting has three searched seeds"):
        plan.best([made(r) for r in plan.search()], "turn")
    with pytest.raises(SystemExit, match="back: 1 searched runs are missing, the first is 0.0006"):
        plan.thin([made(r) for r in plan.search()][:-1])


def test_all_ways_see_as_many_rows():
    """Three adapters of their own take a third of the steps each: all ways are trained on 4,800 rows."""
    steps = {r["stage"]: r["set"]["STEPS"] for r in plan.search()}
    assert steps["equal"] == steps["turn"] == plan.STEPS and sum(steps[way] for way in plan.ALONE) == plan.STEPS


def test_a_mixture_keeps_its_shares_and_goes_round_every_task():
    rows = {"a": list("abcdefghij"), "b": list("0123456789")}
    found = plan.drawn(rows, {"a": 0.75, "b": 0.25}, 2000, seed=1)
    counts = Counter(found)
    assert sum(counts[x] for x in "abcdefghij") / 2000 == pytest.approx(0.75, abs=0.03)
    of_a = [counts[x] for x in "abcdefghij"]
    assert max(of_a) - min(of_a) <= 1  # in rounds: none is far behind
    assert (
        found
        == plan.drawn(rows, {"a": 0.75, "b": 0.25}, 2000, seed=1)
        != plan.drawn(rows, {"a": 0.75, "b": 0.25}, 2000, seed=2)
    )


@pytest.mark.parametrize(
    "chance, reason",
    [
        ({"a": 0.5, "d": 0.5}, "no rows of d: there are a, b, c"),
        ({"a": 0.5, "b": 0.2}, "sum to 0.7, not to 1"),
        ({"c": 1.0}, "no rows of c"),
    ],
)
def test_a_wrong_mixture_is_refused(chance, reason):
    with pytest.raises(ValueError, match=reason):
        plan.drawn({"a": [1], "b": [2], "c": []}, chance, 4, seed=0)


def test_order_of_the_ways():
    for way in plan.WAYS:
        assert all(math.isclose(sum(part.values()), 1) for part in plan.order(way))
    first, second, third = plan.POOL
    assert plan.order("turn") == [{first: 1.0}, {second: 1.0}, {third: 1.0}]
    assert plan.order("back")[0] == {third: 1.0}
    assert plan.order("kept")[2] == {third: 0.8, first: 0.1, second: 0.1} and plan.order("kept")[0] == {first: 1.0}
    assert plan.order("size")[0][third] == pytest.approx(200 / 4200)
    assert list(plan.order("equal")[0].values()) == pytest.approx([1 / 3] * 3)


def test_verdicts_are_counted_by_seed():
    """At once 0.7 of each task, alone 0.8; by size the smallest has 0.5; in turn 0.4, with a fifth kept 0.6."""
    shares = {"equal": 0.7, "size": dict.fromkeys(plan.POOL, 0.9) | {"sentiment": 0.5}, "turn": 0.4, "kept": 0.6}
    shares |= dict.fromkeys(plan.ALONE, 0.8)
    runs = [
        made(plan.run("confirm", "qwen-1.5b", way, 3e-4, seed), share, plan.CONFIRM["EVAL_ROWS"])
        for way, share in shares.items()
        for seed in (3, 4, 5)
    ]
    found = plan.measured(runs)
    means = {
        claim: {part: round(interval.mean, 6) for part, interval in parts.items()} for claim, parts in found.items()
    }
    assert means == {
        "Q6a": {"at once": -0.1, "in proportion": 0.2},
        "Q6b": {"in turn": -0.3, "with a fifth kept": -0.1},
    }
    assert plan.measured(runs[:2]) == {} and np.isfinite([i.low for i in found["Q6a"].values()]).all()
    only_turn = [r for r in runs if r["stage"] in ("turn", "equal")]
    assert set(plan.measured(only_turn)) == {"Q6b"}
