"""The plan of 03 on a larger model: equal search, new seeds on test; and Q4c's recall, counted by hand."""

import json

import numpy as np
import pytest

from data.runs import plan_03
from data.runs import plan_03_larger as plan
from helpers import recordings, tasks


def made(r, right="10"):
    return r | {"model": "qwen-1.5b", "result": {"methods": {"tuned": {"exact": right}}}}


def searched(right=lambda r: "10"):
    first = [made(r, right(r)) for r in plan.search()]
    return first + [made(r, right(r)) for r in plan.thin(first)]


def test_search_reads_valid_with_seeds_0_to_2_and_confirm_reads_test_with_new_ones():
    runs = searched()
    confirmed = plan.confirm(runs)
    assert {r["set"]["SPLIT"] for r in runs} == {"valid"} and {r["set"]["SEED"] for r in runs} == {0, 1, 2}
    assert {r["set"]["SPLIT"] for r in confirmed} == {"test"} and {r["set"]["SEED"] for r in confirmed} == set(
        range(3, 10)
    )
    names = [r["name"] for r in runs + confirmed]
    assert len(set(names)) == len(names) and len(runs) == 18 + 20 and len(confirmed) == 7 * 16 + 5 * 12
    assert len({(r["set"]["STEPS"], r["set"]["BATCH"]) for r in runs + confirmed}) == 1


def test_every_teacher_is_searched_over_the_same_rates_and_gets_its_best():
    assert all(
        {r["set"]["LEARNING_RATE"] for r in plan.search() if r["set"]["TEACHER"] == t and r["stage"] == "teacher"}
        == set(plan.RATES)
        for t in plan_03.TEACHERS
    )
    good = lambda r: "11" if r["set"]["LEARNING_RATE"] == 6e-4 and r["set"]["TEACHER"] == "raw logs" else "10"
    runs = searched(good)
    rates = {r["set"]["TEACHER"]: r["set"]["LEARNING_RATE"] for r in plan.confirm(runs) if r["stage"] == "teacher"}
    assert rates == {"raw logs": 6e-4} | dict.fromkeys(plan_03.TEACHERS[1:], 1e-4)  # a tie goes to the lower rate
    with pytest.raises(SystemExit, match="raw logs: no setting has three searched seeds"):
        plan.best([made(r) for r in plan.search()], "raw logs")
    with pytest.raises(SystemExit, match="race: 1 searched runs are missing"):
        plan.thin([made(r) for r in plan.search()][:-1])


def test_ways_to_choose_differ_in_nothing_else():
    race = [r["set"] for r in plan.confirm(searched()) if r["stage"] == "race" and r["set"]["ROWS"] == plan_03.BUDGET]
    assert {s["METHOD"] for s in race} == set(plan_03.METHODS)
    assert len({(s["LEARNING_RATE"], s["SHARE"], s["ROWS"]) for s in race}) == 1


def test_recall_of_the_rare_queues():
    """Even training gets all queues right, skewed training all but the rarest: with three rare queues a third is lost."""
    of_row = [json.loads(row["completion"])["queue"] for row in tasks.load("routing", "test")]
    names = sorted(set(of_row))
    count = {queue: 500 - 60 * i for i, queue in enumerate(names)}  # the last three are rare

    def run(missed):
        return {
            "result": {
                "queues": count,
                "methods": {
                    "tuned": {"exact": "1", "fields": {"queue": recordings.pack([q not in missed for q in of_row])}}
                },
            }
        }

    rare = names[-3:]
    gap = plan_03.rare_recall([run([])] * 2, [run(rare[-1:]), run(names[:1])])
    share = np.mean([q == rare[-1] for q in of_row if q in rare])
    assert gap == pytest.approx([share, 0.0]) and 0.2 < share < 0.5
