"""Reading recorded runs: which are found, and what their verdicts are."""

from helpers import recordings


def run(name, stage="tuned", model="", **settings):
    methods = {
        m: {"exact": bits, "fields": {"queue": bits[::-1]}} for m, bits in (("tuned", "0110"), ("base", "0001"))
    }
    return {"name": name, "stage": stage, "set": settings, "result": {"methods": methods}} | (
        {"model": model} if model else {}
    )


def test_a_run_without_the_setting_is_not_found_and_a_stage_is_that_asked_for():
    runs = [run("confirm-a", RANK=4, SEED=3), run("confirm-b", SEED=3), run("confirm-c", "ladder", RANK=4, SEED=4)]
    assert [r["name"] for r in recordings.find(runs, "confirm", RANK=4)] == ["confirm-a"]
    assert [r["name"] for r in recordings.find(runs, "confirm", "ladder", RANK=4)] == ["confirm-c"]
    assert recordings.find(runs, "confirm", "ladder", RANK=8) == []


def test_verdicts_are_of_the_method_that_is_asked_for():
    runs = [run("confirm-a", SEED=3)] * 3
    assert recordings.verdicts(runs, "base").tolist() == [[0, 0, 0, 1]] * 3
    assert recordings.verdicts(runs, "base", "queue").tolist() == [[1, 0, 0, 0]] * 3
    assert recordings.verdicts(runs).tolist() == [[0, 1, 1, 0]] * 3


def test_every_environment_is_named_once():
    here = {"card": "A", "torch": "2", "trl": "1", "date": "2026-01-02"}
    runs = [{"environment": here | {"date": day}} for day in ("2026-01-02", "2026-01-01", "2026-01-02")]
    assert recordings.environment(runs) == "A, torch 2, trl 1, 2026-01-01; A, torch 2, trl 1, 2026-01-02"
