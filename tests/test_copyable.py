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
    for word in ("helpers", "run_size.", "tasks.", "models.", "evaluate.", "hardware."):
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
    places = [source.index(word) for word in order]
    assert places == sorted(places)


def run_copied(folder, rows) -> str:
    """The copied cells as a script in `folder`, on these rows, two steps: its output."""
    chats = tasks.chat(rows, tasks.TASKS["routing_words"].system)
    (folder / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in chats), encoding="utf-8")
    source = copyable_source()
    assert source.count("SEED, STEPS = 0, 36") == 1
    (folder / "mine.py").write_text(source.replace("SEED, STEPS = 0, 36", "SEED, STEPS = 0, 2"), encoding="utf-8")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("COURSE_", "PYTHONPATH"))}
    env |= {"COURSE_MODEL": str(models.bundled()), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, "mine.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=800)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


@pytest.mark.slow
def test_copied_cells_make_an_adapter_and_other_rows_make_another(tmp_path):
    """The second run finds the first one's checkpoints beside it, and must not go on from them."""
    from safetensors.torch import load_file

    said, adapters = [], []
    for start in (0, 16):
        said.append(run_copied(tmp_path, tasks.load("routing_words", "train", n=32)[start : start + 16]))
        adapters.append(load_file(tmp_path / "adapter" / "adapter_model.safetensors"))
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["r"] == 16
    first, second = adapters
    moved = [name for name in first if "lora_B" in name and first[name].abs().sum() > 0]
    assert len(moved) == 210  # a learning rate of 0 would leave them at zero
    assert all((first[name] != second[name]).any() for name in moved)
    assert all("a fresh start" in text and "->" in text and "merged" in text for text in said)
    assert (tmp_path / "merged" / "model.safetensors").stat().st_size > 200_000_000
