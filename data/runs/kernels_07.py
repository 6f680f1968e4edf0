"""Where a gradient first became NaN, by attention kernel: the training of notebook 14, on a card (fault 20 of notebook 07).

    COURSE_MODEL=qwen-1.5b python -m data.runs.kernels_07 OUT           # a JSON file a way, one process each
    python -m data.runs.kernels_07 --merge OUT                          # into data/runs/07.jsonl

Each way trains 14's cells for four epochs with seed 3 and looks at every gradient after each backward pass. cuDNN's attention is
torch's first choice on some cards; the other ways leave it out, or every fused kernel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

from data import record
from data.runs import plan_14

EPOCHS, SEED = 4, 3
QLORA, WHOLE = plan_14.COLUMNS["8GB"], plan_14.COLUMNS["16GB"]
WAYS = {  # name: what 14's settings block gets, kernels that are left out
    "qlora, torch's choice": (QLORA, ()),
    "qlora, no checkpointing, torch's choice": (QLORA | {"CHECKPOINTING": False}, ()),
    "qlora, without cuDNN": (QLORA, ("cudnn",)),
    "qlora, none fused": (QLORA, ("cudnn", "flash", "mem_efficient")),
    "16 bits, torch's choice": (WHOLE, ()),
    "16 bits, no checkpointing, torch's choice": (WHOLE | {"CHECKPOINTING": False}, ()),
}


def watched(trainer, seen: dict) -> None:
    """Notes in `seen` the first pass that left a gradient that is no number: its number, loss, padded shape and rows' tokens."""
    step = type(trainer).training_step

    def noted(self, model, inputs, *more, **named):
        shape, lengths = list(inputs["input_ids"].shape), inputs["attention_mask"].sum(1).tolist()
        loss = step(self, model, inputs, *more, **named)
        seen["passes"] = seen.get("passes", 0) + 1
        bad = [n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        if bad and "first" not in seen:
            seen["first"] = {"pass": seen["passes"], "loss": round(float(loss), 4), "shape": shape, "tokens": lengths}
            seen["first"] |= {"tensors": len(bad), "last": bad[-1]}
        return loss

    trainer.training_step = types.MethodType(noted, trainer)


def one(way: str, out: Path) -> None:
    """Trains one way in this process and writes its line."""
    import torch

    own, left_out = WAYS[way]
    os.chdir(record.ROOT / "notebooks")
    space: dict = {"__name__": "__main__"}
    notebook = json.loads(record.find_notebook("14").read_text(encoding="utf-8"))
    seen: dict = {}
    for place, (is_parameters, source) in enumerate(record.cells_to_run(notebook, "shape")):
        if "trainer.train(" in source:
            watched(space["trainer"], seen)
            source, stop, _ = source.partition("\nif trainer.state.best")  # there the page stops at NaN
            assert stop, "14's training cell has no such line any more"
        exec(compile(source, f"cell {place}", "exec"), space)
        if is_parameters:
            space.update(own | {"EPOCHS": EPOCHS, "SEED": SEED})
            torch.backends.cuda.enable_cudnn_sdp(True)  # the page leaves it out
            for kernel in left_out:
                getattr(torch.backends.cuda, f"enable_{kernel}_sdp")(False)
    losses = [entry["eval_loss"] for entry in space["trainer"].state.log_history if "eval_loss" in entry]
    number = lambda x: None if x != x else round(x, 4)  # JSON has no NaN
    seen["eval_loss"] = [number(loss) for loss in losses]
    seen["log"] = [
        [number(entry["loss"]), number(entry["grad_norm"])]
        for entry in space["trainer"].state.log_history
        if "loss" in entry
    ]
    line = {"notebook": "14_your_own_rows", "name": f"kernel-{way}", "stage": "kernel"}
    line |= {"set": own | {"EPOCHS": EPOCHS, "SEED": SEED, "LEFT_OUT": list(left_out)}, "model": space["SOURCE"].name}
    line |= {"result": seen, "environment": record.environment(record.find_notebook("14"))}
    (out / f"{way.replace(', ', '-').replace(' ', '_')}.json").write_text(json.dumps(line), encoding="utf-8")


def main() -> None:
    if sys.argv[1:2] == ["--merge"]:
        path = record.ROOT / "data" / "runs" / "07.jsonl"
        lines = {line["name"]: line for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
        lines |= {line["name"]: line for line in (json.loads(p.read_text()) for p in Path(sys.argv[2]).glob("*.json"))}
        path.write_text("".join(json.dumps(line) + "\n" for line in lines.values()), encoding="utf-8")
    elif len(sys.argv) == 3:
        one(sys.argv[2], Path(sys.argv[1]))
    elif len(sys.argv) == 2:
        out = Path(sys.argv[1]).resolve()
        out.mkdir(parents=True, exist_ok=True)
        for number, way in enumerate(WAYS):
            env = os.environ | {"COURSE_WORK": str(out / f"work-{number}"), "MPLBACKEND": "Agg"}
            subprocess.run([sys.executable, "-m", "data.runs.kernels_07", str(out), way], env=env, check=True)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
