"""The ledger, the recorder, the runner and the figures."""

import dataclasses
import json
import re

import matplotlib
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import plan_01
import plan_02
import plan_03
import plan_05
import plan_10
import record

from helpers import budget, course, ledger, plots, runs
from helpers.evaluate import Interval


def test_ledger_round_trip(tmp_path, monkeypatch):
    ledger.record("Q1a", "+0.1", "135M", "holds", store=tmp_path)
    assert ledger.entries(tmp_path)["Q1a"].verdict == "holds"
    table = ledger.table(tmp_path)
    assert table.count("\n") == len(ledger.CLAIMS) + 1 and "**holds**" in table and "简单任务rank=16" in table
    monkeypatch.setitem(ledger.CLAIMS, "Q1b", dataclasses.replace(ledger.CLAIMS["Q1b"], decided_by=""))
    with pytest.raises(ValueError, match="no rule yet"):
        ledger.record("Q1b", "x", "y", "holds", store=tmp_path)


def test_ledger_into_readme_keeps_what_this_machine_did_not_measure(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    rows = "| Q1b: old | x | +1 | z | **holds** |\n| Q8d: moved | x |  |  | open: 10 |"
    readme.write_text(f"a\n{ledger.BEGIN}\n{rows}\n{ledger.END}\nb\n", encoding="utf-8")
    monkeypatch.setattr(ledger, "STORE", tmp_path / "store")
    ledger.record("Q1a", "+0.1", "135M", "does not hold", store=tmp_path / "store")
    ledger.into_readme(readme)
    text = readme.read_text(encoding="utf-8")
    assert "**does not hold**" in text and "| Q1b: old | x | +1 | z | **holds** |" in text and text.endswith("\nb\n")
    assert (
        "moved" not in text and f"open: {ledger.CLAIMS['Q8d'].notebook}" in text
    )  # an open row says what the list of claims says now
    ledger.into_readme(readme)
    assert readme.read_text(encoding="utf-8") == text  # a second time changes nothing


def test_readme_says_what_the_notebooks_measured():
    """Every verdict in README's ledger is the one that the notebook's stored output prints."""
    readme = (course.ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (Q\w+): .*\*\*(.+?)\*\* \|$", readme, re.M))
    assert {"Q1a", "Q1b"} <= set(rows)
    for claim, verdict in rows.items():
        path = course.notebooks(ledger.CLAIMS[claim].notebook)[0]
        assert f"{claim}: {verdict}" in path.read_text(encoding="utf-8"), (claim, verdict)
    still_open = dict(re.findall(r"^\| (Q\w+): .*\| open: (\d+) \|$", readme, re.M))
    assert still_open == {claim: ledger.CLAIMS[claim].notebook for claim in ledger.CLAIMS.keys() - rows.keys()}


def test_readmes_picture_is_the_notebooks():
    import base64

    cells = json.loads((course.ROOT / "notebooks" / "05_sft.ipynb").read_text(encoding="utf-8"))["cells"]
    tagged = next(c for c in cells if "picture" in c["metadata"].get("tags", []))
    images = [o["data"]["image/png"] for o in tagged["outputs"] if "image/png" in o.get("data", {})]
    image = "".join(images[-1]) if isinstance(images[-1], list) else images[-1]
    assert base64.b64decode(image) == (course.ROOT / ".github" / "picture.png").read_bytes()


def test_every_claim_names_a_notebook_of_the_map():
    assert {c.notebook for c in ledger.CLAIMS.values()} <= {f"{i:02d}" for i in range(14)}


def test_budget(monkeypatch):
    monkeypatch.setenv("COURSE_STEPS", "0.05")
    assert budget.steps(36) == 2 and not budget.is_full()
    budget.claim(False, "a shortened run asserts nothing")
    monkeypatch.setenv("COURSE_STEPS", "1")
    with pytest.raises(AssertionError, match="does not show it"):
        budget.claim(False, "x")
    monkeypatch.setenv("COURSE_SIZE", "long")
    assert budget.steps(36, 200) == 200 and budget.pick(1, 2) == 2
    for name, value in (("COURSE_STEPS", "fast"), ("COURSE_STEPS", "0"), ("COURSE_SIZE", "huge")):
        monkeypatch.setenv(name, value)
        with pytest.raises(ValueError, match=name):
            budget.steps(3)
        monkeypatch.setenv("COURSE_STEPS", "1")


def notebook(*cells):
    return {
        "cells": [
            {
                "cell_type": "code",
                "metadata": {"tags": list(tags)},
                "source": source,
                "outputs": [],
                "execution_count": 1,
            }
            for tags, source in cells
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def test_recorder_runs_the_cells_with_other_constants(tmp_path, monkeypatch):
    book = notebook(
        (["record", "parameters"], "N = 2\nimport helpers.tasks"),
        ([], "N = 99"),
        (["record-a"], "RESULT = {'n': N * 10}"),
        (["record-b"], "raise RuntimeError('boom')"),
    )
    path, out = tmp_path / "05_x.ipynb", tmp_path / "out"
    out.mkdir()
    path.write_text(json.dumps(book))
    done = record.run_one((str(path), {"name": "one", "stage": "a", "set": {"N": 7}}, str(out), 1))
    saved = json.loads((out / "one.json").read_text())
    assert saved["result"] == {"n": 70} and done.startswith("one: ") and saved["set"] == {"N": 7}
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
            "source": "import inspect\ndef f(): pass\nRESULT['f'] = inspect.getsource(f)",
        }
    )
    book["cells"] += notebook((["exercise"], "raise RuntimeError('no exercise')"))["cells"]
    book["cells"][3]["source"] = "RESULT = {'n': N}"  # stage "all": every cell but widgets and exercises
    path.write_text(json.dumps(book))
    monkeypatch.setenv("COURSE_GPU_GIB", "12")
    record.run_one((str(path), {"name": "four", "stage": "all", "set": {}}, str(out), 1))
    whole = json.loads((out / "four.json").read_text())["result"]
    assert whole["n"] == 99 and whole["f"].strip() == "def f(): pass" and whole["peak_gib"] > 0
    assert whole["asked"]["COURSE_GPU_GIB"] == "12"
    target = tmp_path / "05.jsonl"
    assert record.merge(out, target) == 2 and record.merge(out, target) == 2


def test_recorded_runs_have_their_environment_and_follow_the_plan():
    recorded = runs.load("05")
    by_name = {r["name"]: r for r in recorded}
    for r in recorded:
        assert {"date", "card", "python", "torch", "transformers", "peft", "trl", "bitsandbytes"} <= set(
            r["environment"]
        ), r["name"]
        assert r["seconds"] > 0 and r["environment"]["jobs"] >= 1
        if r["stage"] == "tuned":
            assert len([e for e in r["result"]["log"] if "loss" in e]) == r["set"]["STEPS"]
    assert {p["name"] for p in plan_05.search()} <= set(by_name)
    confirmed = plan_05.confirm([r for r in recorded if r["name"].startswith("search-")])
    assert {p["name"] for p in confirmed} <= set(by_name)  # the confirmed settings are those that the search chose
    for p in confirmed:
        assert by_name[p["name"]]["set"] == p["set"]


def test_recorded_runs_rest_on_the_data_as_it_is():
    """Whoever changes a data file must record anew: a verdict on other rows is no verdict."""
    import hashlib

    for name, expected in plan_05.RECORDED_ON.items():
        assert (
            hashlib.sha256((course.ROOT / "data" / f"{name}.jsonl").read_bytes()).hexdigest().startswith(expected)
        ), name


USED = {"01": ("handbook", "handbook_articles", "routing", "policy", "extract", "sentiment"),
        "02": ("handbook", "routing", "routing_words", "policy", "extract", "sentiment", "tone"),
        "03": ("routing", "tone", "sentiment", "handbook_articles"),
        "10": ("tone", "general", "routing_words")}  # fmt: skip


@pytest.mark.parametrize(
    "number, plan, whole",
    [("01", plan_01, True), ("02", plan_02, True), ("03", plan_03, True), ("10", plan_10, True)],
)
def test_later_records_follow_their_plan_and_rest_on_the_data_as_it_is(number, plan, whole):
    """`whole`: every run of the plan is there; otherwise each run that is there belongs to it."""
    import hashlib

    recorded = {r["name"]: r for r in runs.load(number)}
    searched = [r for name, r in recorded.items() if name.startswith("search-")]
    wanted = {p["name"]: p for p in plan.search() + getattr(plan, "live", list)()}
    if whole:
        wanted |= {p["name"]: p for p in plan.confirm(searched)}
        assert {name for name in wanted if not name.startswith("live-")} <= set(recorded)
    now = {
        name: hashlib.sha256((course.ROOT / "data" / f"{name}.jsonl").read_bytes()).hexdigest()[:16]
        for name in USED[number]
    }
    for name, r in recorded.items():
        if name in wanted:
            assert r["set"] == wanted[name]["set"] and r["stage"] == wanted[name]["stage"], name
        else:
            assert not whole and name.startswith("confirm-"), name
        assert {k: r["environment"]["data_sha256"][k] for k in now} == now, name
        assert r["seconds"] > 0 and r["environment"]["card"] and r["environment"]["trl"]


def test_runs_helpers():
    with pytest.raises(ValueError, match="no recorded run"):
        runs.stack([])
    with pytest.raises(FileNotFoundError):
        runs.load("98")


def copy_of_a_notebook(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    book = notebook((["colab"], 'REPO = ""  # owner/name'))
    book["cells"].insert(0, {"cell_type": "markdown", "metadata": {}, "source": "# Title"})
    (folder / "00_a.ipynb").write_text(json.dumps(book))
    return folder / "00_a.ipynb"


def test_publish_writes_badge_and_cell_and_takes_them_back(tmp_path):
    path = copy_of_a_notebook(tmp_path)
    assert course.publish("me/course", tmp_path) == 1
    text = path.read_text()
    assert "github/me/course/blob/main/notebooks/00_a.ipynb" in text and 'REPO = \\"me/course\\"' in text
    assert course.publish("me/course", tmp_path) == 0  # twice is once
    (tmp_path / "README.md").write_text("git clone <this repository> course && cd course\n")
    course.publish("you/other", tmp_path)
    assert (tmp_path / "README.md").read_text().startswith("git clone https://github.com/you/other course &&")
    assert "me/course" not in path.read_text() and path.read_text().count("colab-badge") == 1
    course.publish("", tmp_path)
    assert "colab-badge" not in path.read_text() and 'REPO = \\"\\"' in path.read_text()
    assert (tmp_path / "README.md").read_text().startswith("git clone <this repository> course &&")
    with pytest.raises(SystemExit, match="owner/name"):
        course.publish("https://x", tmp_path)


def test_every_notebook_knows_the_address_of_the_repository():
    repo = (course.ROOT / ".repository").read_text(encoding="utf-8").strip()
    for path in course.notebooks():
        text = path.read_text(encoding="utf-8")
        assert f'REPO = \\"{repo}\\"' in text and ("colab-badge" in text) == bool(repo), path.name


def test_clean_outputs_keeps_what_teaches():
    import nbformat

    book = notebook(([], "x"))
    book["cells"][0]["outputs"] = [
        {"output_type": "stream", "name": "stderr", "text": "warning"},
        {"output_type": "stream", "name": "stdout", "text": f"at {course.ROOT}/x"},
        {
            "output_type": "display_data",
            "metadata": {},
            "data": {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "0%|"},
        },
        {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<progress value=3>"}},
    ]
    book["metadata"]["widgets"] = {"state": {}}
    node = nbformat.from_dict(book)
    course.clean_outputs(node)
    assert [o["text"] for o in node.cells[0].outputs] == ["at .../x"] and "widgets" not in node.metadata


def test_run_names_an_unknown_notebook():
    with pytest.raises(SystemExit, match="no notebook starts with"):
        course.notebooks("77")


def test_figures_show_what_they_are_given():
    plots.use_style()
    fig, ax = plt.subplots()
    plots.intervals(ax, {"a": Interval(0.5, 0.4, 0.6, 10, 5), "b": Interval(0.1, 0.0, 0.2, 10, 5)})
    assert [t.get_text() for t in ax.get_yticklabels()] == ["b", "a"]
    assert any("50%" == t.get_text() for t in ax.texts)
    fig, ax = plt.subplots()
    plots.losses(ax, [{"step": 1, "loss": "2.0"}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 1.5}], "run")
    assert [line.get_ydata().tolist() for line in ax.lines] == [[2.0, 1.0], [1.5]]
    plots.recorded(ax, [1, 2], np.array([[1, 2], [3, 4]]))
    assert ax.lines[-1].get_ydata().tolist() == [2.0, 3.0]
    plt.close("all")
