"""Notebook 14 as its reader uses it: the copyable cells alone, in an empty folder, with another file."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from data import make_support
from helpers import models, tasks

ROOT = Path(__file__).resolve().parent.parent
CELLS = json.loads((ROOT / "notebooks" / "14_your_own_rows.ipynb").read_text(encoding="utf-8"))["cells"]
SOURCE = "\n\n".join("".join(c["source"]) for c in CELLS if "copyable" in c["metadata"].get("tags", []))
SETTINGS = {  # a line of the page: what the test puts there
    'FILE, CSV = "support.csv", {"sep": ","': 'FILE, CSV = "mine.csv", {"sep": ";"',
    'PROMPT, ANSWER = "Message", "Record"': 'PROMPT, ANSWER = "question", "reply"',
    'GROUP = "Customer"': 'GROUP = "who"',
    "MAX_LENGTH, NEW_TOKENS = 192, 40": "MAX_LENGTH, NEW_TOKENS = 128, 8",
    "EPOCHS, BATCH, ACCUMULATE = 2, 8, 1": "EPOCHS, BATCH, ACCUMULATE = 1, 4, 1",
}


def test_the_bundled_file_is_what_its_script_writes_and_has_its_flaws():
    text = (tasks.DATA / "support.csv").read_bytes().decode("utf-8")
    assert text == make_support.build()
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert len(rows) == 302 and len({r["Ticket ID"] for r in rows}) == 300
    assert {r["Source"] for r in rows} == {"mail", "chat", "form"}
    assert "\r\n" in text and "\n\n" in text and max(len(r["Message"]) for r in rows) > 1000
    assert any("\n" in r["Message"] for r in rows)


def test_copied_cells_name_nothing_of_ours():
    for word in ("helpers", "run_size", "tasks.", "models.", "hardware."):
        assert word not in SOURCE, word


def copied(folder: Path, rows: list[tuple], until: str = "") -> str:
    """The copied cells as a script in `folder` on these (who, question, reply), up to a text: what it printed."""
    with open(folder / "mine.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=";").writerows([("who", "question", "reply"), *rows])
    source = SOURCE
    for line, mine in SETTINGS.items():
        assert source.count(line) == 1, line
        source = source.replace(line, mine)
    if until:
        assert source.count(until) == 1, until
        source = source[: source.index(until)]
    (folder / "mine.py").write_text(source, encoding="utf-8")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("COURSE_", "PYTHONPATH"))}
    env |= {"COURSE_MODEL": str(models.bundled()), "HF_HUB_OFFLINE": "1", "CONVERTER": str(models.converter())}
    run = subprocess.run([sys.executable, "mine.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=800)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


def cell(words: str) -> str:
    """The one copyable cell that holds these words."""
    found = ["".join(c["source"]) for c in CELLS if c["cell_type"] == "code" and words in "".join(c["source"])]
    assert len(found) == 1, words
    return found[0]


def test_each_kind_of_file_is_read_as_text(tmp_path):
    import pandas as pd

    space = {"pd": pd, "json": json, "Path": Path, "CSV": {"sep": ";", "encoding": "cp1252"}}
    exec(cell("def read(path):"), space)
    (tmp_path / "a.csv").write_text('q;a\n007;NA\ncafé;"two\nlines"\n\n', encoding="cp1252")
    (tmp_path / "a.jsonl").write_text('{"q": "007", "a": null}\n\n{"q": 12, "a": {"k": [1]}}\n', encoding="utf-8")
    pd.DataFrame({"q": ["007", "x"], "a": ["NA", ""]}).to_excel(tmp_path / "a.xlsx", index=False)
    assert space["read"](tmp_path / "a.csv").values.tolist() == [["007", "NA"], ["café", "two\nlines"]]
    assert space["read"](tmp_path / "a.jsonl").values.tolist() == [["007", ""], ["12", '{"k": [1]}']]
    (tmp_path / "b.jsonl").write_text('{"q": "a\u2028b", "a": "c"}\n', encoding="utf-8")  # no end of a line of JSON
    assert space["read"](tmp_path / "b.jsonl").values.tolist() == [["a\u2028b", "c"]]
    assert space["read"](tmp_path / "a.xlsx").values.tolist() == [["007", "NA"], ["x", ""]]
    with pytest.raises(ValueError, match="give .csv, .jsonl or .xlsx"):
        space["read"](tmp_path / "a.parquet")


def test_a_text_with_an_unquoted_comma_shifts_no_column(tmp_path):
    import pandas as pd

    (tmp_path / "a.csv").write_text("q,a\nhello, there,x\nb,y\n")
    space = {"pd": pd, "json": json, "Path": Path, "CSV": {}, "FILE": tmp_path / "a.csv"}
    space |= {"PROMPT": "q", "ANSWER": "a", "GROUP": None}
    exec(cell("def read(path):"), space)
    with pytest.raises(ValueError, match="quote texts that hold commas"):
        exec(cell("table = read(FILE)"), space)


def test_held_out_customers_share_no_prompt_with_training_and_too_few_are_refused():
    import numpy as np
    import pandas as pd

    clean = pd.DataFrame({"who": [f"c{i % 12}" for i in range(60)], "q": [f"q{i % 50}" for i in range(60)]})
    space = {"pd": pd, "np": np, "clean": clean, "GROUP": "who", "PROMPT": "q", "SEED": 0}
    exec(cell("groups = clean[GROUP]"), space)
    parts = space["parts"]
    held = pd.concat([parts["test"], parts["valid"]])
    assert not set(parts["train"]["q"]) & set(held["q"]) and not set(parts["train"]["who"]) & set(held["who"])
    assert len(parts["test"]) and len(parts["valid"]) and len(parts["train"]) + len(held) < 60
    space["clean"] = clean.assign(who=[f"c{i % 9}" for i in range(60)])
    with pytest.raises(ValueError, match="9 groups are too few"):
        exec(cell("groups = clean[GROUP]"), space)
    space |= {"clean": clean.assign(who=""), "GROUP": "who"}  # blank: every row alone
    exec(cell("groups = clean[GROUP]"), space)
    assert space["groups"].nunique() == 60


def test_an_answer_in_a_fence_is_compared_by_its_json():
    space = {"json": json, "re": re}
    exec(cell("def same(").split("\n\ntest = ")[0], space)
    same, wanted = space["same"], '{"order":"1715","count":2}'
    for answer in (wanted, '{"count": 2, "order": "1715"}', f"```json\n{wanted}\n```", f"```\n{wanted}```"):
        assert same(answer, wanted) and same(wanted, answer), answer
    for answer in ('```json\n{"order":"1715"}\n```', f"Here it is: {wanted}", f"```json\n{wanted[:-1]}", "", "```"):
        assert not same(answer, wanted), answer
    assert same("a reply", "a reply") and same("```", "```") and not same("```\na reply\n```", "a reply")


def test_a_run_goes_on_from_its_newest_whole_checkpoint(tmp_path, capsys):
    from types import SimpleNamespace

    resumed = []
    state = SimpleNamespace(log_history=[], best_model_checkpoint="x")
    trainer = SimpleNamespace(state=state, train=lambda resume_from_checkpoint: resumed.append(resume_from_checkpoint))
    trainer.model = SimpleNamespace(parameters=lambda: [])
    space = {"Path": Path, "trainer": trainer, "folder": tmp_path / "none"}
    exec(cell("goes on from"), space)
    for step in (9, 27, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step < 100:  # the trainer writes its state last: this one was interrupted
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    exec(cell("goes on from"), space | {"folder": tmp_path})
    assert resumed == [None, str(tmp_path / "checkpoint-27")] and "from checkpoint-27" in capsys.readouterr().out


@pytest.mark.slow
def test_another_file_ends_in_a_served_answer_and_a_changed_one_in_another_adapter(tmp_path):
    rows = [
        (f"c{i % 12}", r["prompt"], r["completion"])
        for i, r in enumerate(tasks.load("sentiment", "train", n=40, seed=1))
    ]
    said = copied(tmp_path, rows)
    assert "goes on from the start" in said and "word for word" in said
    again = copied(tmp_path, rows, until="trainer.train(resume")
    assert "goes on from checkpoint-" in again  # the same rows and settings: the same run
    other = copied(tmp_path, rows[:-4], until="def knows(")
    assert "goes on from the start" in other
    made = {p.parent.parent.name: p for p in (tmp_path / "runs").glob("*/checkpoint-*/adapter_model.safetensors")}
    assert len({hashlib.sha256(p.read_bytes()).hexdigest() for p in made.values()}) == len(made) == 2
