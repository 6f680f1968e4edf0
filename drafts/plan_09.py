"""The recorded measurements of notebook 09: a ladder of recipes, and points for the planner, at true shapes with random weights.

    python data/runs/plan_09.py measure > build/09_measure.json       one run after the other, alone on the card

Nothing is searched and no row is scored: seconds and gigabytes only. `ladder` changes one thing a rung; `points` are the settings
on which the planner is fitted (`fit`) and those on which it is judged (`check`), chosen before any was measured.
"""

import itertools
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent.parent)]
from helpers.planner import SHAPES

# one change a rung; each keeps what the rungs above it changed
LADDER = (
    ("16-bit LoRA", {"method": "lora", "checkpointing": 0.0}),
    ("+ 4-bit weights", {"method": "qlora"}),
    ("+ recomputing layers", {"checkpointing": 1.0}),
    ("+ 8-bit optimizer", {"optimizer": "adamw_8bit"}),
    ("+ fused kernels", {"fused": True}),
    ("+ compiled layers", {"compiled": True}),
)
ENDS = (  # from the last rung
    ("half of the layers recomputed", {"checkpointing": 0.5}),
    ("no layer recomputed", {"checkpointing": 0.0}),
    ("activations in main memory", {"offload": True}),
)


def ladder() -> list[dict]:
    """Rungs, ends and real lengths, at 4 x 1,024."""
    state, settings = {}, []
    for name, change in LADDER:
        state |= change
        settings.append({"name": name} | state)
    settings += [{"name": name} | state | change for name, change in ENDS]
    real = {"real": True}
    settings += [{"name": "real lengths, padded"} | state | real, {"name": "real lengths, packed"} | state | real | {"packing": True}]
    return settings


STOCK = {"name": "stock trl", "optimizer": "adamw_torch_fused"}
BEST = {"optimizer": "adamw_8bit", "fused": True, "compiled": True}


def caps() -> list[dict]:
    """What a card of 12 or 24 GB allows: cap = card - 0.7 GiB for the context."""
    out = []
    for cap, length, batch in itertools.product((11.3, 23.3), (512, 1024, 2048, 4096, 8192), (1, 4)):
        if batch * length <= (8192 if cap < 12 else 16384):
            out += [{"name": f"{cap} GiB, {batch} x {length}", "cap": cap, "batch": batch, "length": length, "optimizer": "adamw_8bit"} | extra
                    for extra in ({}, {"fused": True})]  # fmt: skip
    return out


FIT = (  # shape, setting: 12
    ("0.5B", {"batch": 8, "length": 512}), ("0.5B", {"method": "lora", "checkpointing": 0.0, "batch": 4, "length": 1024}),
    ("1.5B", {"batch": 4, "length": 1024}), ("1.5B", {"checkpointing": 0.0, "batch": 2, "length": 1024}),
    ("3B", {"batch": 2, "length": 2048}), ("3B", {"method": "lora", "batch": 4, "length": 512}),
    ("7B", {"batch": 1, "length": 512}), ("7B", {"batch": 4, "length": 1024}),
    ("7B", {"batch": 1, "length": 4096}), ("7B", {"checkpointing": 0.0, "batch": 2, "length": 1024}),
    ("7B", {"method": "lora", "batch": 4, "length": 1024}), ("14B", {"batch": 2, "length": 1024}),
)  # fmt: skip
CHECK = (  # 24, none of them among the 12
    ("0.5B", {"batch": 1, "length": 512}), ("0.5B", {"batch": 16, "length": 512}), ("0.5B", {"method": "full", "batch": 4, "length": 1024}),
    ("0.5B", {"checkpointing": 0.0, "batch": 2, "length": 2048}), ("1.5B", {"batch": 1, "length": 4096}),
    ("1.5B", {"batch": 8, "length": 512}), ("1.5B", {"method": "lora", "batch": 2, "length": 1024}),
    ("1.5B", {"method": "full", "batch": 2, "length": 1024}), ("1.5B", {"rank": 64, "batch": 4, "length": 1024}),
    ("3B", {"batch": 1, "length": 1024}), ("3B", {"batch": 8, "length": 1024}), ("3B", {"checkpointing": 0.0, "batch": 1, "length": 2048}),
    ("3B", {"method": "lora", "checkpointing": 0.0, "batch": 1, "length": 1024}), ("7B", {"batch": 2, "length": 2048}),
    ("7B", {"batch": 8, "length": 512}), ("7B", {"batch": 1, "length": 8192}), ("7B", {"rank": 64, "batch": 2, "length": 1024}),
    ("7B", {"rank": 4, "batch": 1, "length": 1024}), ("7B", {"checkpointing": 0.5, "batch": 2, "length": 1024}),
    ("7B", {"method": "lora", "batch": 1, "length": 2048}), ("7B", {"optimizer": "adamw_8bit", "batch": 4, "length": 512}),
    ("14B", {"batch": 1, "length": 512}), ("14B", {"batch": 1, "length": 4096}), ("14B", {"checkpointing": 0.5, "batch": 1, "length": 1024}),
)  # fmt: skip


def measure() -> list[dict]:
    """One run a process: a model is made once, then measured setting by setting."""
    runs = [{"name": f"measure-{kind}", "stage": "ladder", "set": {"SHAPE": SHAPES["7B"], "SETTINGS": settings}}
            for kind, settings in (("peers", [STOCK]), ("ladder", ladder()), ("caps", caps()))]
    for size, (kind, points) in itertools.product(SHAPES, (("fit", FIT), ("check", CHECK))):
        mine = [{"name": f"{kind} {size} {i}"} | s for i, (of, s) in enumerate(points) if of == size]
        runs.append({"name": f"measure-{kind}-{size}", "stage": "ladder", "set": {"SHAPE": SHAPES[size], "SETTINGS": mine}})
    return runs


if __name__ == "__main__":
    from record import print_plan

    print_plan(__doc__, measure=measure)
