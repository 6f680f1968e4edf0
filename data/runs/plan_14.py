"""The recorded notebook 14: own rows from the file to a served answer, on a real 1.5B; and its training at the shape of a 7B.

    python -m data.runs.plan_14 confirm > build/14_confirm.json    with COURSE_MODEL=qwen-1.5b
    python -m data.runs.plan_14 shape > build/14_shape.json        random weights at the shape of a 7B, 24 GB of memory

Confirm: the page to its end with seeds 3-5, each its own split by customer, all of its test rows: the table's column "1.5B, 8 GB"
(QLoRA) with the page's two epochs and with six, and its column "1.5B, 16 GB". Nothing is searched.
Shape: the page up to its training, with the column "7B, 24 GB", one epoch: 14 steps. On the page's rows, and on rows of about 1,000 tokens.
llama.cpp runs on the CPU, on `THREADS` threads. A confirming run writes 10 GB of files for a 1.5B. No rule of claims.toml asks these runs.
"""

from __future__ import annotations

import csv
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from helpers.hardware import CONTEXT_GIB
from helpers.recordings import pack

SEEDS = (3, 4, 5)
COLUMNS = {  # of the page's table: name, what it sets
    "8GB": {"RATE": 3e-4, "BATCH": 2, "ACCUMULATE": 8, "FOUR_BIT": True, "CHECKPOINTING": True},
    "16GB": {"RATE": 3e-4, "BATCH": 8, "ACCUMULATE": 2, "FOUR_BIT": False, "CHECKPOINTING": True},
    "7B-24GB": {"RATE": 2e-4, "BATCH": 2, "ACCUMULATE": 8, "FOUR_BIT": True, "CHECKPOINTING": True},
}
CONFIRMED = (("8GB", 2), ("8GB", 6), ("16GB", 6))  # column, epochs
SETTINGS = {"THREADS": 0, "SHAPE": "", "ROW_WORDS": 0, "CAP_GIB": 0.0}  # of `before` and `collect` alone
THREADS = 8


def confirm(model: str = "qwen-1.5b") -> list[dict]:
    """The page as it is first; of each setting all seeds before the next one."""
    common = {"TEST_ROWS": None, "THREADS": THREADS}
    return [
        {
            "name": f"confirm-{model}-{column}-e{epochs}-s{seed}",
            "stage": "all",
            "set": COLUMNS[column] | common | {"EPOCHS": epochs, "SEED": seed},
        }
        for column, epochs in CONFIRMED
        for seed in SEEDS
    ]


def shape(model: str = "qwen-1.5b") -> list[dict]:
    """Random weights: memory and time alone. `model` lends its tokenizer."""
    common = COLUMNS["7B-24GB"] | {"EPOCHS": 1, "SHAPE": "7B", "CAP_GIB": 24.0, "SEED": 0}
    long = {"ROW_WORDS": 700, "MAX_LENGTH": 1400}
    rows = {"own-rows": {}, "own-rows-batch-8": {"BATCH": 8, "ACCUMULATE": 2}, "1000-tokens": long}
    return [{"name": f"shape-7B-{name}", "stage": "shape", "set": common | more} for name, more in rows.items()]


def timed(base: type, trained: dict) -> type:
    """The trainer, which leaves in `trained` its log and when each step ended."""

    class Timed(base):
        def training_step(self, *args, **more):
            import torch

            loss = super().training_step(*args, **more)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            trained.setdefault("ends", {})[self.state.global_step] = (
                time.perf_counter()
            )  # of the step's last pass, at last
            return loss

        def train(self, *args, **more):
            start = time.perf_counter()
            done = super().train(*args, **more)
            trained["seconds"], trained["log"] = time.perf_counter() - start, self.state.log_history
            trained["steps"], trained["best"] = self.state.global_step, str(self.state.best_model_checkpoint)
            trained["peak_gib"], trained["reserved_gib"] = card_memory()
            return done

    return Timed


def card_memory() -> tuple[float, float]:
    """The card's peaks so far, allocated and reserved (GiB); zeros without one."""
    import torch

    if not torch.cuda.is_available():
        return 0.0, 0.0
    return torch.cuda.max_memory_allocated() / 2**30, torch.cuda.max_memory_reserved() / 2**30


def lengthen(source: Path, target: Path, words: int) -> None:
    """The same file with messages of `words` words: what they say does not matter to random weights."""
    with open(source, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        said = row["Message"].split()[:40]
        row["Message"] = " ".join([str(i), *(said * (words // max(1, len(said)) + 1))][:words]) if said else ""
    with open(target, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def shape_folder(name: str, tokenizer: str) -> Path:
    """NF4 weights of that shape, made once (two processes at once make it twice, and the first stays)."""
    from data.runs import bench_13
    from helpers import models

    folder = models.cache_dir() / "models" / f"shape-{name}"
    if not folder.exists():
        own = folder.with_name(f"{folder.name}-{os.getpid()}")
        bench_13.write_shape(name, own, Path(tokenizer))
        if folder.exists():
            return own
        own.rename(folder)
    return folder


def before(space: dict, number: int, stages: list[str]) -> None:
    """Threads, a trainer that keeps its times, and for a shape its weights, its card and the length of its rows."""
    import torch

    if space["THREADS"]:
        torch.set_num_threads(space["THREADS"])
    space["trained"] = {}
    space["SFTTrainer"] = timed(space["SFTTrainer"], space["trained"])
    if space["CAP_GIB"] and torch.cuda.is_available():
        whole = torch.cuda.get_device_properties(0).total_memory / 2**30
        torch.cuda.set_per_process_memory_fraction(min(1.0, (space["CAP_GIB"] - CONTEXT_GIB) / whole))
    if space["SHAPE"]:
        space["MODEL"] = str(shape_folder(space["SHAPE"], space["MODEL"]))
        shown = f"shape-{space['SHAPE']}"  # this is no record of the model that lent its tokenizer
        space["SOURCE"] = replace(space["SOURCE"], name=shown)
    if space["ROW_WORDS"]:
        target = Path(os.environ["COURSE_WORK"]) / "long.csv"
        lengthen(Path(space["FILE"]), target, space["ROW_WORDS"])
        space["FILE"] = str(target)


def of_training(space: dict) -> dict:
    """Seconds, steps, losses and memory of the training."""
    trained, log = space["trained"], space["trained"]["log"]
    steps = np.diff(list(trained["ends"].values()))[1:]  # the first ones warm up
    return {
        "steps": trained["steps"],
        "train_s": round(trained["seconds"], 1),
        "step_s": round(float(np.median(steps)), 3)
        if len(steps)
        else None,  # one that follows an evaluation holds that, too
        "eval_losses": [round(entry["eval_loss"], 4) for entry in log if "eval_loss" in entry],
        "losses": [round(float(entry["loss"]), 4) for entry in log if "loss" in entry],
        "best": Path(trained["best"]).name,
        "train_peak_gib": round(trained["peak_gib"], 2),
        "train_reserved_gib": round(trained["reserved_gib"], 2),
        "rows": {name: len(part) for name, part in space["parts"].items()},
        "tokens": {name: round(float(space["tokens_of"](part)), 1) for name, part in space["parts"].items()},
    }


def collect(space: dict, stage: str) -> dict:
    """What the page measured; of a shape its training alone."""
    tokens = lambda part: part.apply(space["length"], axis=1).mean()  # of a row of that part
    result = of_training(space | {"tokens_of": tokens})
    if stage == "shape":
        weights = f"random weights at the shape of a {space['SHAPE']}"
        return result | {"weights": weights, "cap_gib": space["CAP_GIB"],
                         "headline": {k: result[k] for k in ("step_s", "train_reserved_gib")}}  # fmt: skip
    right, told, wanted = space["right"], space["told"], space["test"][space["ANSWER"]].tolist()
    asked, wrong = space["test"][space["PROMPT"]].tolist(), np.flatnonzero(~right["tuned"])
    apart = [i for i, (a, b) in enumerate(zip(space["served"], told["tuned"])) if a != b]
    show = lambda i: {"ticket": asked[i], "wanted": wanted[i], "tuned": told["tuned"][i], "served": space["served"][i],
                      "prompt": told["prompt, 5 rows"][i], "base": told["base"][i][:200]}  # fmt: skip
    share = {name: round(float(bits.mean()), 4) for name, bits in right.items()}
    result |= {
        "exact": {name: pack(bits) for name, bits in right.items()},
        "customers": np.unique(space["of_customer"], return_inverse=True)[1].tolist(),  # of each row
        "minus": {name: [round(float(x), 4) for x in pair] for name, pair in space["bounds"].items()},
        "everyday": {"before": pack(space["knows"](space["before"])), "after": pack(space["knows"](space["after"]))},
        "everyday_after": [text[:80] for text in space["after"][:6]],
        "read": {"rows": len(space["table"]), "empty": int(space["empty"].sum()), "twice": int(space["twice"].sum())},
        "trained_share": round(float(space["share"]), 4),
        "served_alike": pack([a == b for a, b in zip(space["served"], told["tuned"])]),
        "wrong": [show(i) for i in wrong[:4]],
        "served_otherwise": [show(i) for i in apart[:4]],
        "merged_in": "float32",
        "gguf_mib": round((space["folder"] / "mine.gguf").stat().st_size / 2**20, 1),
    }
    return result | {"headline": share}


def measured(runs: list[dict]) -> dict:
    """No rule of claims.toml rests on these runs."""
    return {}


if __name__ == "__main__":
    from data.record import print_plan

    print_plan(__doc__, confirm=confirm, shape=shape)
