"""data/runs/plan_11.py and bench_11.py: what Q9b is measured from, and that xtuner's hand-written file says the same job."""

import ast

import pytest

from data.runs import bench_11, plan_11


def made(name, losses):
    return {"name": name, "result": {"losses": losses}}


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
