"""data/runs/plan_11.py and bench_11.py: what Q9b is measured from, and that xtuner's hand-written file says the same job."""

import ast

import pytest

from data.runs import bench_11, plan_11


def made(name, losses):
    return {"name": name, "stage": "run", "result": {"losses": losses}}


def test_the_largest_distance_from_trl_is_measured_for_each_framework_that_ran():
    runs = [made("trl", [4.0, 3.0]), made("swift", [4.0, 3.2]), made("xtuner", [9.0, 9.0])]
    found = plan_11.measured(runs)["Q9b"]
    assert set(found) == {"ms-swift"} and found["ms-swift"].mean == pytest.approx(0.2)
    assert plan_11.measured(runs[:1]) == {} and plan_11.measured(runs[1:]) == {}


def test_the_file_for_xtuner_says_the_job_of_the_others():
    said = {}
    for node in ast.walk(ast.parse(bench_11.XTUNER.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword):
            try:
                said.setdefault(node.arg, []).append(ast.literal_eval(node.value))
            except ValueError:  # a name or a call
                continue
    job = bench_11.JOB
    wanted = {
        "r": job["RANK"],
        "lora_alpha": job["ALPHA"],
        "lora_dropout": job["DROPOUT"],
        "lr": job["RATE"],
        "betas": tuple(job["BETAS"]),
        "weight_decay": job["WEIGHT_DECAY"],
        "max_norm": job["CLIP"],
        "max_length": job["MAX_LENGTH"],
        "batch_size": job["BATCH"],
        "max_iters": job["STEPS"],
        "seed": job["SEED"],
        "use_activation_checkpointing": job["CHECKPOINTING"],
        "data_files": ["rows.jsonl"],
        "shuffle": False,
    }
    assert {name: said[name] for name in wanted} == {name: [value] for name, value in wanted.items()}


def test_lines_are_counted_in_one_way(tmp_path):
    (tmp_path / "swift.yaml").write_text("a: 1\n\n# no setting\nb:\n- c\n", encoding="utf-8")
    assert bench_11.config_lines("swift", tmp_path) == 3


def test_fireflys_file_says_the_job_and_a_misspelt_key_is_refused(tmp_path):
    """With a parser of the same kind: own keys in a dataclass, the rest transformers' own."""
    import dataclasses
    import json

    from data.runs import bench_11, firefly_11

    meant = firefly_11.config()
    assert (meant["lora_rank"], meant["lora_alpha"], meant["max_steps"]) == tuple(
        bench_11.JOB[k] for k in ("RANK", "ALPHA", "STEPS")
    )
    assert (meant["learning_rate"], meant["per_device_train_batch_size"]) == (
        bench_11.JOB["RATE"],
        bench_11.JOB["BATCH"],
    )
    own = {k: v for k, v in meant.items() if k in ("model_name_or_path", "train_file", "template_name", "task_type", "train_mode",
                                                   "lora_rank", "lora_alpha", "lora_dropout", "max_seq_length")}  # fmt: skip
    arguments = dataclasses.make_dataclass(
        "Own", [(k, type(v), dataclasses.field(default=None)) for k, v in own.items()]
    )
    file = tmp_path / "firefly.json"
    file.write_text(json.dumps(meant | {"use_cpu": True, "output_dir": str(tmp_path)}))
    found = firefly_11.parsed(file, arguments)
    assert (
        found["lora_rank"] == meant["lora_rank"]
        and found["learning_rate"] == meant["learning_rate"]
        and len(found) == len(meant) + 1
    )
    file.write_text(json.dumps(meant | {"use_cpu": True, "lora_rnak": 16}))
    with pytest.raises(ValueError, match="lora_rnak"):
        firefly_11.parsed(file, arguments)


def test_lines_of_other_kinds_do_not_count():
    run = lambda name, losses: {"name": name, "stage": "run", "result": {"losses": losses}}
    runs = [run("trl", [1.0, 0.5]), run("swift", [1.0, 0.52]), {"name": "parsed", "stage": "parsed", "result": {}}]
    assert plan_11.measured(runs)["Q9b"]["ms-swift"].mean == pytest.approx(0.02)
