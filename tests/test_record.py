"""The recorder, and that the records follow their plans and rest on the data as it is."""

import hashlib
import json
import types

import pytest
from notebook_cells import notebook

from data import record
from data.runs import plan_01, plan_02, plan_03, plan_05, plan_10
from helpers import claims, course, recordings


def test_recorder_runs_the_cells_with_other_constants(tmp_path, monkeypatch):
    book = notebook(
        (["record", "parameters"], "N = 2\nimport helpers.tasks"),
        ([], "N = 99"),
        (["record-a"], "found = N * 10"),
        (["record-b"], "raise RuntimeError('boom')"),
    )
    keeps = lambda space, stage: {"n": space["found"], "f": space.get("source", ""), "stage": stage}
    monkeypatch.setattr(record, "plan_of", lambda path, run: types.SimpleNamespace(collect=keeps))
    path, out = tmp_path / "05_x.ipynb", tmp_path / "out"
    out.mkdir()
    path.write_text(json.dumps(book))
    done = record.run_one((str(path), {"name": "one", "stage": "a", "set": {"N": 7}}, str(out), 1))
    saved = json.loads((out / "one.json").read_text())
    assert (
        saved["result"] == {"n": 70, "f": "", "stage": "a"} and done.startswith("one: ") and saved["set"] == {"N": 7}
    )
    assert {"date", "card", "python", "torch", "trl", "peft", "transformers"} <= set(saved["environment"])
    assert record.run_one((str(path), {"name": "one", "stage": "a", "set": {}}, str(out), 1)) == "one: already there"
    assert "FAILED" in record.run_one((str(path), {"name": "two", "stage": "b", "set": {}}, str(out), 1))
    assert "boom" in (out / "two.error").read_text() and not (out / "two.json").exists()
    record.run_one((str(path), {"name": "three", "stage": "a", "set": {"TYPO": 1}}, str(out), 1))
    assert "TYPO" in (out / "three.error").read_text()
    book["cells"].append(
        {
            "cell_type": "code",
            "metadata": {},
            "source": "import inspect\ndef f(): pass\nsource = inspect.getsource(f)",
        }
    )
    book["cells"] += notebook((["exercise"], "raise RuntimeError('no exercise')"))["cells"]
    book["cells"][3]["source"] = "found = N"  # stage "all": every cell but widgets and exercises
    path.write_text(json.dumps(book))
    monkeypatch.setenv("COURSE_GPU_GIB", "12")
    record.run_one((str(path), {"name": "four", "stage": "all", "set": {}}, str(out), 1))
    whole = json.loads((out / "four.json").read_text())["result"]
    assert whole["n"] == 99 and whole["f"].strip() == "def f(): pass" and whole["peak_gib"] > 0
    assert whole["asked"]["COURSE_GPU_GIB"] == "12"
    target = tmp_path / "05.jsonl"
    assert record.merge(out, target) == 2 and record.merge(out, target) == 2


def test_a_run_whose_weights_are_no_numbers_says_so(tmp_path, monkeypatch, capsys):
    book = notebook(
        (["record", "parameters"], "import torch, types\nBAD = 0.0\nmodel = torch.nn.Linear(2, 2)"),
        (["record-a"], "model.weight.data[0, 0] = BAD\ntrainer = types.SimpleNamespace(model=model)"),
    )
    monkeypatch.setattr(record, "plan_of", lambda path, run: types.SimpleNamespace(collect=lambda space, stage: {}))
    path = tmp_path / "05_x.ipynb"
    path.write_text(json.dumps(book))
    for name, bad, kept in (("fine", 1.0, {}), ("bad", float("nan"), {"broken_weights": 1})):
        record.run_one((str(path), {"name": name, "stage": "a", "set": {"BAD": bad}}, str(tmp_path), 1))
        assert json.loads((tmp_path / f"{name}.json").read_text())["result"] == kept
    assert record.broken_weights(None) == 0
    assert record.merge(tmp_path, tmp_path / "05.jsonl") == 2
    assert "1 of 2 runs ended with broken weights, look before you keep them: bad" in capsys.readouterr().out


def test_a_later_stage_runs_its_own_cells_after_the_plan_has_changed_what_it_wants(tmp_path, monkeypatch):
    book = notebook(
        (["record", "parameters"], "N = 1\nlog = []"),
        (["record-x"], "log.append(('x', N))"),
        (["record"], "log.append(('common', N))"),
        (["record-y"], "log.append(('y', N))"),
        ([], "raise RuntimeError('no lesson cell')"),
    )
    assert [s for _, s in record.cells_to_run(book, "x", first=False)] == ["log.append(('x', N))"]
    assert len(record.cells_to_run(book, "all")) == 5
    with pytest.raises(ValueError, match="nothing to set"):
        record.cells_to_run(notebook((["record"], "a")), "x")
    plan = types.SimpleNamespace(
        CELLS={"again": "x"},
        before=lambda space, number, stages: space.update(N=space["N"] + 10 * number),
        collect=lambda space, stage: {"log": space["log"]},
    )
    monkeypatch.setattr(record, "plan_of", lambda path, run: plan)
    path = tmp_path / "05_x.ipynb"
    path.write_text(json.dumps(book))
    record.run_one((str(path), {"name": "one", "stage": "y+again", "set": {"N": 7}}, str(tmp_path), 1))
    assert json.loads((tmp_path / "one.json").read_text())["result"]["log"] == [["common", 7], ["y", 7], ["x", 17]]


EARLIER_05 = 105  # runs of the 135M, by an earlier plan


def test_recorded_runs_have_their_environment():
    recorded = recordings.load("05")
    for r in recorded:
        assert {"date", "card", "python", "torch", "transformers", "peft", "trl", "bitsandbytes"} <= set(
            r["environment"]
        )
        assert r["seconds"] > 0 and r["environment"]["jobs"] >= 1
        if r["stage"] == "tuned":
            assert len([e for e in r["result"]["log"] if "loss" in e]) == r["set"]["STEPS"]
    assert sum(recordings.model_of(r) == "SmolLM2-135M-Instruct" for r in recorded) == EARLIER_05


def test_the_15b_of_05_follows_its_plan():
    """Seed 0 of the search is whole; every other run is one that the thinned search or the confirming plan names."""
    runs = [r for r in recordings.load("05") if recordings.model_of(r) == "qwen-1.5b"]
    found = {r["name"]: r for r in runs}
    searched = [r for r in runs if r["name"].startswith("search-")]
    wanted = {p["name"]: p for p in plan_05.search() + plan_05.thin(searched)}
    assert {p["name"] for p in plan_05.search()} <= {r["name"] for r in searched} <= set(wanted)
    if confirmed := {name for name in found if name.startswith("confirm-")}:
        wanted |= {p["name"]: p for p in plan_05.confirm(searched)}
        assert confirmed <= set(wanted)
    for name, run in found.items():
        assert wanted[name]["set"].items() <= run["set"].items(), name


def test_recorded_runs_rest_on_the_data_as_it_is():
    """Whoever changes a data file must record anew: a verdict on other rows is no verdict."""
    for name, expected in plan_05.RECORDED_ON.items():
        assert (
            hashlib.sha256((course.ROOT / "data" / f"{name}.jsonl").read_bytes()).hexdigest().startswith(expected)
        ), name


USED = {"01": ("handbook", "handbook_articles", "routing", "policy", "extract", "sentiment"),
        "02": ("handbook", "routing", "routing_words", "policy", "extract", "sentiment", "tone"),
        "03": ("routing", "tone", "sentiment", "handbook_articles"),
        "10": ("tone", "general", "routing_words")}  # fmt: skip


@pytest.mark.parametrize(
    "number, plan, model, whole",
    [
        ("01", plan_01, recordings.BUNDLED, True),
        ("01", plan_01, "qwen-1.5b", True),
        ("02", plan_02, recordings.BUNDLED, True),
        ("02", plan_02, "qwen-1.5b", False),
        ("03", plan_03, recordings.BUNDLED, True),
        ("10", plan_10, recordings.BUNDLED, True),
    ],
)
def test_records_follow_their_plan_and_rest_on_the_data_as_it_is(number, plan, model, whole):
    """`whole`: every run of the plan is there; otherwise each run that is there belongs to it."""
    recorded = {r["name"]: r for r in recordings.load(number, model)}
    searched = [r for name, r in recorded.items() if name.startswith("search-")]
    if model == recordings.BUNDLED:
        wanted = {p["name"]: p for p in plan.search() + getattr(plan, "live", list)()}
    else:
        wanted = {p["name"]: p for p in plan.search(model)}
        wanted |= {p["name"]: p for p in (plan.thin(searched) if hasattr(plan, "thin") else ())}
    wanted |= {p["name"]: p for p in plan.confirm(searched)}
    if whole:
        assert {name for name in wanted if not name.startswith("live-")} <= set(recorded)
    now = {
        name: hashlib.sha256((course.ROOT / "data" / f"{name}.jsonl").read_bytes()).hexdigest()[:16]
        for name in USED[number]
    }
    for name, r in recorded.items():
        assert r["set"].items() <= wanted[name]["set"].items() and r["stage"] == wanted[name]["stage"], name
        assert set(wanted[name]["set"]) - set(r["set"]) <= {"ACCUMULATE"}, name  # 1 by default when it was recorded
        assert {k: r["environment"]["data_sha256"][k] for k in now} == now, name
        assert r["seconds"] > 0 and r["environment"]["card"] and r["environment"]["trl"]


def test_every_record_is_of_a_model_that_the_ledger_knows():
    for number in ("01", "02", "03", "05", "10"):
        assert {recordings.model_of(r) for r in recordings.load(number)} <= set(claims.MODELS), number
    assert recordings.load("01", "no-such-model") == []


def test_reading_records_names_what_is_not_there():
    with pytest.raises(ValueError, match="no recorded run"):
        recordings.verdicts([])
    with pytest.raises(FileNotFoundError):
        recordings.load("98")


def test_finding_recorded_runs():
    def run(name, seed, stage="tuned", **settings):
        methods = {"tuned": {"exact": "0110", "fields": {"queue": "1111"}}}
        return {"name": name, "stage": stage, "set": settings | {"SEED": seed}, "result": {"methods": methods}}

    runs = [run("confirm-b", 5, RANK=4, RATE=1), run("confirm-a", 3, RANK=4, RATE=2), run("confirm-c", 4, RANK=4, RATE=1),
            run("search-confirm", 3, RANK=4, RATE=1), run("confirm-d", 3, "base", RANK=4, RATE=1)]  # fmt: skip
    found = recordings.find(runs, "confirm", RANK=4, RATE=1)
    assert [r["set"]["SEED"] for r in found] == [
        4,
        5,
    ]  # every setting must match, the kind is the name's first word, by seed
    assert recordings.verdicts(found).tolist() == [[0, 1, 1, 0]] * 2
    assert recordings.verdicts(found, field="queue").tolist() == [[1, 1, 1, 1]] * 2
    assert recordings.verdicts(found).shape == (2, 4)  # (seeds, rows)


def test_packed_verdicts_come_back():
    for n in (1, 4, 5, 640):
        bits = [(i * 7) % 3 == 0 for i in range(n)]
        assert recordings.unpack(recordings.pack(bits)).tolist() == [int(b) for b in bits]
