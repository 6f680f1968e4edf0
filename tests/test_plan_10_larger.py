"""The plan of 10 on a larger model: equal rates, its own search, and verdicts computed from runs that were made up here."""

import math

import pytest

from data.runs import plan_10_larger as plan


def made(r, gain=0.5, prose=2.2, before=2.3):
    """A run as if it had been made: `gain` of 0, 0.5 or 1, from four pairs and four replies."""
    bits = {0: "4:0", 0.25: "4:8", 0.5: "4:c", 0.75: "4:e", 1: "4:f"}[gain]
    after = {"prefers": bits, "style": {"calm": bits}, "prose": prose}
    return r | {"model": "qwen-1.5b", "result": {"before": {"prose": before}, "after": after}}


def searched(gain_of=lambda r: 0.5):
    first = [made(r, gain_of(r)) for r in plan.search()]
    return first + [made(r, gain_of(r)) for r in plan.thin(first)]


def test_search_reads_valid_with_seeds_0_to_2_and_confirm_reads_test_with_new_ones():
    runs = searched()
    assert {r["set"]["SPLIT"] for r in runs} == {"valid"} and {r["set"]["SEED"] for r in runs} == {0, 1, 2}
    confirmed = plan.confirm(runs)
    assert {r["set"]["SPLIT"] for r in confirmed} == {"test"} and {r["set"]["SEED"] for r in confirmed} == set(
        plan.SEEDS
    )
    names = [r["name"] for r in runs + confirmed]
    assert len(set(names)) == len(names)
    with pytest.raises(SystemExit, match="three searched seeds"):
        plan.best(plan_first := [made(r) for r in plan.search()], plan_first[0]["stage"])


def test_every_preference_way_meets_sft_at_its_own_rate():
    def gain_of(r):
        return 1 if (r["stage"], r["set"]["LEARNING_RATE"]) in {("orpo", 6e-4), ("sft+dpo", 1e-4)} else 0.5

    runs = searched(gain_of)
    assert plan.best(runs, "orpo")[0] == 6e-4 and plan.best(runs, "sft")[0] == 1e-4
    stages = {(r["stage"], r["set"]["LEARNING_RATE"], r["set"]["STEPS"]) for r in plan.confirm(runs)}
    assert {("sft", 6e-4, n) for n in plan.DOSES} | {("sft", 1e-4, n) for n in plan.DOSES} <= stages
    assert {("sft+dpo", 1e-4, 60), ("sft+sft", 1e-4, 60), ("sft+sft", 3e-5, 60), ("sft+whole", 3e-5, 60)} <= stages


def test_a_second_stage_starts_from_the_merged_first_at_its_own_rate(monkeypatch):
    class Trained:
        def merge_and_unload(self):
            return "merged"

    class Trainer:
        model = Trained()

    space = {"LEARNING_RATE": 1e-5, "FIRST_RATE": 3e-4, "pairs": list("abc"), "STEPS": 2, "BATCH": 2, "SEED": 3,
             "SFTConfig": lambda **options: options}  # fmt: skip
    plan.before(space, 0, ["sft", "whole"])
    assert space["LEARNING_RATE"] == 3e-4
    monkeypatch.setattr(plan, "looked", lambda space: {"prose": 2.3})
    space["trainer"] = Trainer()
    plan.before(space, 1, ["sft", "whole"])
    assert space["LEARNING_RATE"] == 1e-5 and space["fresh_model"]() == "merged" and space["begun"] == {"prose": 2.3}
    assert space["SFTConfig"](completion_only_loss=True, seed=1) == {"completion_only_loss": False, "seed": 1}
    alone = {"LEARNING_RATE": 1e-4, "FIRST_RATE": 3e-4}
    plan.before(alone, 0, ["orpo"])
    assert alone["LEARNING_RATE"] == 1e-4


def test_the_verdicts_compare_equal_rates_at_equal_gain():
    runs, gains = searched(), {8: 0.5, 15: 0.75, 30: 1, 60: 1}

    def outcome(r):
        noise, steps = 0.001 * (r["set"]["SEED"] % 3), r["set"]["STEPS"]
        if r["stage"] == "none":
            return made(r, 0, 2.0)
        if "+" in r["stage"]:  # SFT left 2.3; DPO takes back two thirds of the rise, the others a third
            return made(r, 1, (2.1 if r["stage"] == "sft+dpo" else 2.2) + noise)
        return made(
            r,
            gains[steps] if r["stage"] != "dpo" else 0.5,
            2.0 + noise + steps / (300 if r["stage"] == "orpo" else 100),
        )

    found = plan.measured([outcome(r) for r in plan.confirm(runs)])
    assert found["Q8b"]["DPO"].low > 0.3 and abs(found["Q8b"]["ORPO"].mean) < 0.01
    assert found["Q8c"].high < 0  # ORPO; DPO never reaches the gain
    assert abs(found["Q8e"].mean) < 1e-9
    cut = [outcome(r) for r in plan.confirm(runs)]
    assert plan.measured(cut[:20]) == {}, "no seed is whole"
    of_seed = len(cut) // 7
    four = plan.measured(cut[: 4 * of_seed + 5])  # the fifth seed lacks some
    assert four == plan.measured(cut[: 4 * of_seed]) and four["Q8b"]["DPO"].low > 0.3
    assert plan.measured(cut[: 2 * of_seed]) == {}, "two seeds decide nothing"
    assert math.isnan(plan.rise_at([(0.2, 0.0)]))
