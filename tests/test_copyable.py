"""The cells of 05 marked `copyable`, in order, in an empty folder, without our helpers: a tuned adapter comes out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import models, tasks

ROOT = Path(__file__).resolve().parent.parent


def copyable_source() -> str:
    cells = json.loads((ROOT / "notebooks" / "05_sft.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if "copyable" in c["metadata"].get("tags", []))


def test_copyable_cells_need_nothing_of_ours():
    source = copyable_source()
    for word in ("helpers", "budget.", "tasks.", "models.", "evaluate.", "hardware."):
        assert word not in source, word
    order = [
        "AutoModelForCausalLM.from_pretrained",
        "LoraConfig(",
        "SFTConfig(",
        "trainer.train(",
        "save_model(",
        "PeftModel.from_pretrained",
        ".generate(",
    ]
    places = [source.index(word) for word in order[:1]] + [source.index(word) for word in order[1:]]
    assert places == sorted(places)


@pytest.mark.slow
def test_copied_cells_make_an_adapter(tmp_path):
    rows = tasks.chat(tasks.load("routing_words", "train", n=16), tasks.TASKS["routing_words"].system)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    source = copyable_source()
    assert source.count("STEPS = 36") == 1
    (tmp_path / "mine.py").write_text(source.replace("STEPS = 36", "STEPS = 2"), encoding="utf-8")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("COURSE_", "PYTHONPATH"))}
    env |= {"COURSE_MODEL": str(models.bundled()), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size > 10_000_000
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["r"] == 16
    assert "B matrices have moved" in run.stdout and "->" in run.stdout
