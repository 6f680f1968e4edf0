"""data/runs/plan_11.py: what Q9b is measured from."""

import pytest

from data.runs import plan_11


def made(name, losses):
    return {"name": name, "result": {"losses": losses}}


def test_the_largest_distance_from_trl_is_measured_for_each_framework_that_ran():
    runs = [made("trl", [4.0, 3.0]), made("swift", [4.0, 3.2]), made("xtuner", [9.0, 9.0])]
    found = plan_11.measured(runs)["Q9b"]
    assert set(found) == {"ms-swift"} and found["ms-swift"].mean == pytest.approx(0.2)
    assert plan_11.measured(runs[:1]) == {} and plan_11.measured(runs[1:]) == {}
