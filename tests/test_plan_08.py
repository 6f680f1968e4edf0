"""data/runs/plan_08.py: what is searched and confirmed, how the weight of KL is chosen, what the claims are measured from."""

import numpy as np
import pytest

from data.runs import plan_08
from helpers import recordings, tasks


def finished(runs, exact, items, prose):
    """The runs as if made: verdict shares and prose loss by functions of their settings; `m` is no known model, so qwen-1.5b."""
    rows = {split: len(tasks.load("general", split)) for split in ("valid", "test")}
    for r in runs:
        n = rows[r["set"]["ITEM_SPLIT"]]
        bits = lambda share, n=n: recordings.pack(np.arange(n) < share * n)
        yield r | {
            "model": "qwen-1.5b",
            "result": {
                "exact": bits(exact(r["set"])),
                "items": bits(items(r["set"])),
                "prose": prose(r["set"]),
                "before": {"items": bits(0.5), "prose": 2.0},
            },
        }


def test_search_reads_valid_with_seeds_0_to_2_and_confirm_test_with_new_ones():
    searched = plan_08.search("qwen-1.5b")
    assert {(r["set"]["EVAL_SPLIT"], r["set"]["ITEM_SPLIT"]) for r in searched} == {("valid", "valid")}
    assert {r["set"]["SEED"] for r in searched} == {0, 1, 2}
    made = list(finished(searched, lambda s: 0.9, lambda s: 0.5, lambda s: 2.1))
    confirmed = plan_08.confirm(made)
    assert {(r["set"]["EVAL_SPLIT"], r["set"]["ITEM_SPLIT"]) for r in confirmed} == {("test", "test")}
    assert {r["set"]["SEED"] for r in confirmed} == set(range(3, 10))
    for runs in (searched, confirmed):
        assert len({r["name"] for r in runs}) == len(runs) and all("qwen-1.5b" in r["name"] for r in runs)


def test_every_setting_differs_from_the_middle_in_one_thing():
    middle = plan_08.run("search", "qwen-1.5b", 0)["set"]
    for r in plan_08.search("qwen-1.5b"):
        different = {k for k in middle if r["set"][k] != middle[k]} - {"SEED"}
        assert len(different) <= 1 or different == {"REPLAY", "SHARE"}, r["name"]


def test_the_weight_of_kl_keeps_the_task_and_then_the_most_questions():
    searched = plan_08.search("qwen-1.5b")
    exact = lambda s: 0.9 if s["KL_WEIGHT"] < 3 else 0.8  # the heaviest loses the task
    items = lambda s: {0.3: 0.5, 1.0: 0.5, 3.0: 0.9}.get(s["KL_WEIGHT"], 0.1)
    assert plan_08.weight_of_kl(list(finished(searched, exact, items, lambda s: 2.1))) == 0.3  # a tie: the lower
    exact = lambda s: 0.9 if s["KL_WEIGHT"] == 0 else 0.5
    with pytest.raises(SystemExit, match="loses more than 3 points"):
        plan_08.weight_of_kl(list(finished(searched, exact, items, lambda s: 2.1)))


def test_claims_are_measured_against_the_right_rival():
    searched = list(finished(plan_08.search("qwen-1.5b"), lambda s: 0.9, lambda s: 0.5, lambda s: 2.1))
    prose = lambda s: 2.0 + 0.001 * s["STEPS"] - 0.0001 * s["RANK"] + 0.001 * (s["SEED"] % 2)
    items = lambda s: {"everyday": 0.5, "prose": 0.4}.get(s["REPLAY"], 0.3)
    made = list(finished(plan_08.confirm(searched), lambda s: 0.9, items, prose))
    found = plan_08.measured(made)
    assert found["Q5a"].mean == pytest.approx(0.35, abs=1e-6)
    assert found["Q8d"].mean == pytest.approx(-0.0126, abs=1e-6)
    assert found["Q5b"]["prose"].mean == pytest.approx(0.1, abs=0.003)
    assert found["Q5b"]["everyday questions"].mean == pytest.approx(-0.2, abs=0.01)
    assert found["Q5c"].mean == pytest.approx(0.1, abs=0.01)
    assert plan_08.measured(made[:5]) == {}
    assert len(made) == 9 * 7
    cut = plan_08.measured([r for r in made if (r["set"]["REPLAY"], r["set"]["SEED"]) != ("prose", 9)])
    assert cut["Q5c"].seeds == 6  # a seed that lacks one of the two settings counts for neither
    assert cut["Q8d"].seeds == 7 and cut["Q5a"].mean == pytest.approx(0.35, abs=1e-6)
    missing = plan_08.measured([r for r in made if r["set"]["STEPS"] != 400])
    assert set(missing) == {"Q5b", "Q5c", "Q8d"}
