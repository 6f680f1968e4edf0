"""The plans of 12 and 14, and what they keep, from spaces that were made up here."""

import csv
import json
import types

import numpy as np
import pandas as pd
import torch
from notebook_cells import ROOT

from data import record
from data.runs import plan_12, plan_14
from helpers import recordings


def test_confirm_is_new_seeds_with_names_of_their_own():
    for plan, n in ((plan_12, 6), (plan_14, 9)):
        runs = plan.confirm()
        assert len({r["name"] for r in runs}) == len(runs) == n
        assert {r["set"]["SEED"] for r in runs} == {3, 4, 5}
        assert all(r["name"].startswith("confirm-qwen-1.5b-") for r in runs) and plan.measured(runs) == {}
    assert {r["set"]["TEST_ROWS"] for r in plan_14.confirm()} == {None}, "all of them"
    assert [r["stage"] for r in plan_12.whole()] == ["all"]


def test_the_pages_have_what_the_plans_set_and_call():
    for number, plan, runs in (
        ("12", plan_12, plan_12.confirm()),
        ("14", plan_14, plan_14.confirm() + plan_14.shape()),
    ):
        notebook = json.loads(record.find_notebook(number).read_text(encoding="utf-8"))
        for stage in {r["stage"] for r in runs}:
            cells = record.cells_to_run(notebook, stage)
            assert sum(is_parameters for is_parameters, _ in cells) == 1
            text = "\n".join(source for _, source in cells)
            for name in {key for r in runs for key in r["set"]} - set(plan.SETTINGS):
                assert name in text, (number, stage, name)
    parity = "\n".join(source for _, source in record.cells_to_run(notebook, "shape"))
    assert "trainer.train(" in parity and "xllamacpp.Server" not in parity


def test_the_table_of_14_is_what_is_recorded():
    page = (ROOT / "notebooks" / "14_your_own_rows.ipynb").read_text(encoding="utf-8")
    line = lambda name: [c.strip() for c in next(x for x in page.splitlines() if f"| `{name}`" in x).split("|")][2:6]
    for place, column in ((1, "8GB"), (2, "16GB"), (3, "7B-24GB")):
        own = plan_14.COLUMNS[column]
        assert line("BATCH`, `ACCUMULATE")[place] == f"{own['BATCH']}, {own['ACCUMULATE']}"
        assert line("FOUR_BIT")[place] == str(own["FOUR_BIT"]) and line("CHECKPOINTING")[place] == "True"
        assert float(line("RATE")[place].split()[0]) == own["RATE"]


def token(number):
    return types.SimpleNamespace(id=number)


def test_a_parting_names_the_place_and_how_near_a_tie_it_was():
    there = torch.log(torch.tensor([0.1, 0.5, 0.4]))
    tokenizer = types.SimpleNamespace(convert_ids_to_tokens=lambda i: "abc"[i])
    space = {"tokenizer": tokenizer, "first_parting": lambda form, i: (2, there, 2) if i else None}
    assert plan_12.parting(space, "q4_0", 0) is None
    found = plan_12.parting(space, "q4_0", 1)
    assert (found["place"], found["said"], found["transformers"], found["rank"]) == (2, "c", "b", 1)
    assert found["lead"] == found["behind"] == round(float(np.log(5 / 4)), 4)


def test_agreement_counts_tokens_up_to_the_parting():
    def reply(ids):
        return types.SimpleNamespace(
            choices=[types.SimpleNamespace(logprobs=types.SimpleNamespace(content=[*map(token, ids)]))]
        )

    class Tokenizer:
        def __call__(self, text, add_special_tokens):
            return {"input_ids": [int(c) for c in text]}

    space = {"tokenizer": Tokenizer(), "answers": {"transformers": ["1234", "567"]}}
    space["replies"] = {"f16": [reply([1, 2, 9, 4, 0]), reply([5, 6, 7, 0])]}
    assert plan_12.agreement(space, "f16") == (2 + 3, 4 + 3)


def test_the_timed_trainer_keeps_seconds_a_step_and_the_log():
    class Plain:
        def training_step(self, loss):
            return loss

        def train(self):
            self.state = types.SimpleNamespace(global_step=0, log_history=[], best_model_checkpoint="x/checkpoint-3")
            for step in range(5):
                self.state.global_step = step
                assert self.training_step(step) == self.training_step(step)
            self.state.global_step = 5
            self.state.log_history += [{"loss": 2.0}, {"eval_loss": 1.5}]

    trained = {}
    plan_14.timed(Plain, trained)().train()
    part = pd.DataFrame({"tokens": [3, 5]})
    kept = plan_14.of_training(
        {"trained": trained, "parts": {"train": part}, "tokens_of": lambda p: p["tokens"].mean()}
    )
    assert kept["steps"] == 5 and kept["step_s"] >= 0 and len(trained["ends"]) == 5
    assert (kept["eval_losses"], kept["losses"], kept["best"]) == ([1.5], [2.0], "checkpoint-3")
    assert kept["rows"] == {"train": 2} and kept["tokens"] == {"train": 4.0}


def test_long_rows_stay_different_and_empty_ones_empty(tmp_path):
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows([("Message", "Record"), ("one two", "x"), ("", "y"), ("one two", "x")])
    plan_14.lengthen(tmp_path / "a.csv", tmp_path / "b.csv", 50)
    rows = list(csv.DictReader(open(tmp_path / "b.csv", newline="")))
    assert [len(r["Message"].split()) for r in rows] == [50, 0, 50] and [r["Record"] for r in rows] == ["x", "y", "x"]
    assert rows[0]["Message"] != rows[2]["Message"]


def test_what_is_kept_is_small_and_is_json():
    bits = np.array([True, False])
    part = pd.DataFrame({"Message": ["a", "b"], "Record": ["x", "y"]})
    told = {name: ["x", "n"] for name in ("base", "prompt, 5 rows", "tuned")}
    state = {
        "steps": 1,
        "seconds": 1.0,
        "log": [],
        "best": "c",
        "peak_gib": 0.0,
        "reserved_gib": 0.0,
        "ends": {0: 1.0},
    }
    space = {
        "trained": state, "parts": {"train": part}, "length": lambda row: 3, "right": dict.fromkeys((*told, "served"), bits),
        "told": told, "test": part, "ANSWER": "Record", "PROMPT": "Message", "served": ["x", "m"], "of_customer": np.array(["p", "p"]),
        "bounds": {"base": np.array([0.0, 1.0])}, "knows": lambda replies: bits, "before": ["a", "b"], "after": ["a", "b"],
        "table": part, "empty": bits, "twice": bits, "share": torch.tensor(0.5),
    }  # fmt: skip

    class Folder:
        def __truediv__(self, name):
            return types.SimpleNamespace(stat=lambda: types.SimpleNamespace(st_size=2**20))

    kept = json.loads(json.dumps(plan_14.collect(space | {"folder": Folder()}, "all")))
    assert kept["exact"]["served"] == recordings.pack(bits) and kept["customers"] == [0, 0] and kept["gguf_mib"] == 1.0
    assert recordings.unpack(kept["served_alike"]).tolist() == [1, 0] and kept["wrong"][0]["served"] == "m"
    shape = plan_14.collect(space | {"SHAPE": "7B", "CAP_GIB": 24.0}, "shape")
    assert "random weights" in json.dumps(shape) and "exact" not in shape
