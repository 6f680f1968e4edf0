"""data/runs/bench_11_speed.py without a card: its rows, the frameworks' files, seconds, and how lines are merged."""

import json

import pytest

from data.runs import bench_11, bench_11_speed
from helpers import models


def test_rows_are_exactly_as_long_as_said_and_the_same_as_chats_and_as_ids(tmp_path):
    from transformers import AutoTokenizer

    source = models.locate("")
    tokenizer = AutoTokenizer.from_pretrained(source.path, revision=source.revision)
    bench_11_speed.write_rows(tmp_path, tokenizer, 5)
    read = lambda name: [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
    chats, ids = read("rows.jsonl"), read("ids.jsonl")
    assert [len(row["input_ids"]) for row in ids] == [1024] * 5
    for chat, row in zip(chats, ids):
        assert tokenizer.apply_chat_template(chat["messages"], tokenize=True, return_dict=False) == row["input_ids"]
        assert [message["role"] for message in chat["messages"]] == ["system", "user", "assistant"]
    assert len({tuple(row["input_ids"]) for row in ids}) == 5


def job(**more):
    return bench_11_speed.JOB | {"STEPS": 8, "BATCH": 4, "model": "7B", "gpu": True} | more


def test_both_files_say_the_job_and_leave_checkpointing_to_the_framework():
    files = bench_11_speed.configs(job())
    assert files["dataset_info.json"]["rows"]["file_name"] == "rows.jsonl"
    for file in (files["llamafactory.yaml"], files["swift.yaml"]):
        assert (file["lora_rank"], file["lora_alpha"], file["learning_rate"]) == (16, 32, 2e-4)
        assert file["max_steps"] == 8 and file["per_device_train_batch_size"] == 4 and file["bf16"]
        assert file["optim"] == "adamw_torch_fused" and not any("checkpointing" in key for key in file)
    assert files["llamafactory.yaml"]["train_on_prompt"] and files["swift.yaml"]["loss_scale"] == "all"


def test_seconds_and_tokens_a_second_are_what_a_hand_finds():
    """Ends at 30, 34, 36, 37, 39 and 42 s: the steps took 20, 4, 2, 1, 2 and 3 s; without the first two the median is 2."""
    found = bench_11_speed.timing(10.0, [30.0, 34.0, 36.0, 37.0, 39.0, 42.0], [[4, 1024]] * 6)
    assert found["seconds"] == [20, 4, 2, 1, 2, 3] and found["first_step_s"] == 20
    assert found["tokens_per_s"] == 2048 and found["passes_a_step"] == 1
    twice = bench_11_speed.timing(0.0, [1.0, 2.0, 3.0, 4.0], [[4, 1024]] * 8)  # two passes a step: twice the tokens
    assert twice["tokens_per_s"] == 8192 and twice["passes_a_step"] == 2


def test_a_batch_is_the_same_above_or_behind_one_another():
    torch = pytest.importorskip("torch")
    ids = torch.arange(8).reshape(2, 4)
    seen = {key: [] for key in ("ids_crc", "labels_crc", "trained_labels", "shapes")}
    for shape in ((2, 4), (1, 8)):
        bench_11_speed.note_batch({"input_ids": ids.reshape(shape), "labels": ids.reshape(shape)}, seen)
    bench_11_speed.note_batch({"input_ids": ids.flip(0), "labels": torch.where(ids == 0, -100, ids)}, seen)
    assert seen["ids_crc"][0] == seen["ids_crc"][1] != seen["ids_crc"][2]
    assert seen["trained_labels"] == [8, 8, 7] and seen["shapes"] == [[2, 4], [1, 8], [2, 4]]


def test_merging_replaces_lines_of_the_same_name_and_keeps_the_others(tmp_path):
    record, out = tmp_path / "11.jsonl", tmp_path / "out"
    out.mkdir()
    for name, losses in (("trl", [1.0]), ("speed, trl, 4 x 1024", [2.0]), ("swift", [3.0])):
        bench_11.write({"name": name, "result": {"losses": losses}}, record)
    before = record.read_text().splitlines()
    for name in ("speed, trl, 4 x 1024", "speed, unsloth, 8 x 1024"):
        line = {"name": name, "result": {"losses": [4.0]}}
        (out / f"{bench_11_speed.slug(name)}.json").write_text(json.dumps(line))
    (out / "speed_swift_4_x_1024.part").write_text("{")  # one that is being written
    bench_11_speed.merge(out, record)
    after = record.read_text().splitlines()
    assert after[0] == before[0] and after[2] == before[2] and len(after) == 4
    names = {line["name"]: line["result"]["losses"] for line in map(json.loads, after)}
    assert names["speed, trl, 4 x 1024"] == names["speed, unsloth, 8 x 1024"] == [4.0]


def test_every_setting_names_a_framework_that_is_known():
    assert {framework for framework, _ in bench_11_speed.SETTINGS.values()} <= set(bench_11_speed.OWN_PACKAGES)
    names = {bench_11_speed.slug(f"speed, {s}, {b} x 1024") for s in bench_11_speed.SETTINGS for b in (4, 8)}
    assert len(names) == 12
