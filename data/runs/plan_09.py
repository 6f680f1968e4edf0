"""The recorded measurements of notebook 09: a ladder of recipes, and points for the planner, at true shapes with random weights.

    python -m data.runs.plan_09 try > build/09_try.json           every switch once, on two layers as wide as a 7B's
    python -m data.runs.plan_09 measure > build/09_measure.json   everything, by priority; each run lasts three minutes at most
    python -m data.runs.plan_09 names                             the names of those runs, in order
    python -m data.runs.plan_09 one NAME build/runs               that run; where it takes the best recipe, the best of the
                                                                  ladders that lie finished in the folder

Nothing is searched and no row is scored: seconds and gigabytes only. `ladder` changes one thing a rung; `fit` and `check` are
the settings on which the planner is fitted and those on which it is judged, chosen before any was measured.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import evaluate, planner
from helpers.planner import SHAPES

# what a user gets who names none of these things; and the last rung, unless a finished ladder has found a faster one
STOCK = {"optimizer": "adamw_torch_fused", "adapters": "trl"}
BEST = {"optimizer": "adamw_8bit", "fused": True, "compiled": "layer"}

# one change a rung; each keeps what the rungs above it changed
LADDER = (
    ("16-bit LoRA", {"method": "lora", "checkpointing": 0.0}),
    ("+ 4-bit weights", {"method": "qlora"}),
    ("+ recomputing layers", {"checkpointing": 1.0}),
    ("+ 8-bit optimizer", {"optimizer": "adamw_8bit"}),
    ("+ fused kernels", {"fused": True}),
    ("+ compiled layers", {"compiled": "layer"}),
)
FUSED = {"optimizer": "adamw_8bit", "fused": True}
COMPILED = (  # other ways to compile; "layer": inside the checkpoint, "checkpoint": with it, "parts": attention and MLP
    ("compiled, kernels not fused by hand", {"compiled": "layer"}),
    ("compiled with its checkpoint, not fused by hand", {"compiled": "checkpoint"}),
    ("compiled with its checkpoint, fused", {"compiled": "checkpoint", "fused": True}),
    ("attention and MLP compiled, fused", {"compiled": "parts", "fused": True}),
    ("compiled, not fused by hand, adapters in bfloat16", {"compiled": "layer", "adapters": "trl"}),
)
OTHERS = (  # beside the rung of fused kernels; trl's own loss comes in pieces
    ("all logits at once", {"loss": "logits"}),
    ("Liger's loss", {"loss": "liger"}),
    ("recomputed but for attention", {"keep": "attention"}),
)
OFFLOAD = {"offload": "all", "compiled": "layer"}  # with its checkpoint compiled, weights would travel too
ENDS = (  # from the best recipe
    ("best", {}),
    ("half of the layers recomputed", {"checkpointing": 0.5}),
    ("no layer recomputed", {"checkpointing": 0.0}),
    ("activations in main memory", OFFLOAD),
    ("inputs of layers in main memory", OFFLOAD | {"offload": "inputs"}),
    ("best, 8 x 1024", {"batch": 8}),
)
GRAPHS = (  # from the best recipe: a compiled layer is recorded once, then sent to the card as one call
    ("best", {}),
    ("best, CUDA graphs", {"cuda_graphs": True}),
    ("inside the checkpoint, CUDA graphs", {"compiled": "layer", "cuda_graphs": True}),
    ("no layer recomputed, CUDA graphs", {"checkpointing": 0.0, "cuda_graphs": True}),
    ("best, 8 x 1024, CUDA graphs", {"batch": 8, "cuda_graphs": True}),
    ("best, 1 x 2048, CUDA graphs", {"batch": 1, "length": 2048, "cuda_graphs": True}),
    ("packed to one length, CUDA graphs", {"real": True, "batching": "packed", "multiple": 4096, "cuda_graphs": True}),
    ("profile, CUDA graphs", {"profile": True, "cuda_graphs": True}),
)
LEAST = (  # 1 x 2,048, from the best recipe
    ("best", {}),
    ("activations in main memory", OFFLOAD),
    ("embedding in main memory", {"embedding": "main memory"}),
    ("both in main memory", OFFLOAD | {"embedding": "main memory"}),
    ("both, adapters in bfloat16", OFFLOAD | {"embedding": "main memory", "adapters": "trl"}),
)
SHORT = (  # a step of 05's size, 8 rows of 128 tokens, on 12 GB
    ("stock trl", {}),
    ("no layer recomputed", {"checkpointing": 0.0}),
    ("compiled inside the checkpoint", {"compiled": "layer"}),
    ("compiled with its checkpoint", {"compiled": "checkpoint"}),
    ("compiled, no layer recomputed", {"compiled": "checkpoint", "checkpointing": 0.0}),
    ("CUDA graphs", {"compiled": "checkpoint", "cuda_graphs": True}),
    ("CUDA graphs, no layer recomputed", {"compiled": "checkpoint", "cuda_graphs": True, "checkpointing": 0.0}),
)
REAL = (  # rows of real lengths; packed rows see only themselves: a mask by position for sdpa, by block for flex_attention
    ("padded, stock trl", STOCK | {"steps": 27}),
    ("padded", {"steps": 27}),
    ("padded, grouped by length", {"steps": 27, "batching": "grouped"}),
    ("padding-free", {"steps": 27, "batching": "free"}),
    ("packed", {"batching": "packed"}),
    ("packed, flex_attention", {"batching": "packed", "attention": "flex_attention"}),
    ("packed to one length, best", {"batching": "packed", "multiple": 4096}),  # the best recipe's switches are added
)
SIZES = ((1, 512), (1, 1024), (1, 2048), (1, 4096), (4, 512), (4, 1024), (4, 2048))  # rows x tokens
LARGER = ((2, 1024), (8, 1024), (16, 1024), (1, 8192))

BOTH = {"fused": True, "compiled": "layer"}
FIT = (  # shape, setting: 12; plain and with fused kernels and compiled layers
    ("0.5B", {"batch": 8, "length": 512}), ("0.5B", {"method": "lora", "checkpointing": 0.0, "batch": 4, "length": 1024}),
    ("1.5B", {"batch": 4, "length": 1024} | BOTH), ("1.5B", {"checkpointing": 0.0, "batch": 2, "length": 1024}),
    ("3B", {"batch": 2, "length": 2048}), ("3B", {"method": "lora", "batch": 4, "length": 512} | BOTH),
    ("7B", {"batch": 1, "length": 512} | BOTH), ("7B", {"batch": 4, "length": 1024}),
    ("7B", {"batch": 1, "length": 4096} | BOTH), ("7B", {"checkpointing": 0.0, "batch": 2, "length": 1024} | BOTH),
    ("7B", {"method": "lora", "batch": 4, "length": 1024}), ("14B", {"batch": 2, "length": 1024}),
)  # fmt: skip
CHECK = (  # 24, none of them among the 12
    ("0.5B", {"batch": 1, "length": 512}), ("0.5B", {"batch": 16, "length": 512} | BOTH),
    ("0.5B", {"method": "full", "batch": 4, "length": 1024}), ("0.5B", {"checkpointing": 0.0, "batch": 2, "length": 2048}),
    ("1.5B", {"batch": 1, "length": 4096}), ("1.5B", {"batch": 8, "length": 512} | BOTH),
    ("1.5B", {"method": "lora", "batch": 2, "length": 1024}),
    ("1.5B", {"method": "full", "batch": 2, "length": 1024, "optimizer": "adamw_8bit"}),
    ("1.5B", {"rank": 64, "batch": 4, "length": 1024}), ("3B", {"batch": 1, "length": 1024}),
    ("3B", {"batch": 8, "length": 1024} | BOTH), ("3B", {"checkpointing": 0.0, "batch": 1, "length": 2048}),
    ("3B", {"method": "lora", "checkpointing": 0.0, "batch": 1, "length": 1024}), ("7B", {"batch": 2, "length": 2048} | BOTH),
    ("7B", {"batch": 8, "length": 512}), ("7B", {"batch": 1, "length": 8192} | BOTH),
    ("7B", {"rank": 64, "batch": 2, "length": 1024}), ("7B", {"rank": 4, "batch": 1, "length": 1024} | BOTH),
    ("7B", {"checkpointing": 0.5, "batch": 2, "length": 1024} | BOTH), ("7B", {"method": "lora", "batch": 1, "length": 2048}),
    ("7B", {"optimizer": "adamw_8bit", "batch": 4, "length": 512, "fused": True}), ("14B", {"batch": 1, "length": 512}),
    ("14B", {"batch": 1, "length": 4096} | BOTH), ("14B", {"checkpointing": 0.5, "batch": 1, "length": 1024}),
)  # fmt: skip


def named(changes, **more) -> list[dict]:
    """Settings from (name, change) pairs; `more` holds for each unless its change says otherwise."""
    return [{"name": name} | more | change for name, change in changes]


def ladder() -> list[dict]:
    """Stock trl, then the rungs, at 4 x 1,024."""
    state, settings = {}, named([("stock trl", STOCK)])
    for name, change in LADDER:
        state |= change
        settings.append({"name": name} | state)
    return settings


def capped(kind: str, recipe: dict, cap: float, sizes) -> list[dict]:
    """What a card allows: cap = card - 0.7 GiB for the context; smallest first."""
    sizes = sorted(sizes, key=lambda size: size[0] * size[1])
    return [{"name": f"{cap} GiB, {b} x {t}, {kind}", "cap": cap, "batch": b, "length": t} | recipe for b, t in sizes]


def run(name: str, settings: list[dict], shape: dict) -> dict:
    """One process: the model is quantized once, then loaded for setting after setting."""
    return {"name": f"measure-{name}", "stage": "ladder", "set": {"SHAPE": shape, "SETTINGS": settings}}


def of_planner(kind: str, points, again: bool = False) -> list[dict]:
    """A run for each shape, the smallest first; `again`: a second time, in another process and with two steps more."""
    end, more = ("-again", {"steps": 10}) if again else ("", {})
    settings = lambda size: [
        {"name": f"{kind} {size} {i}"} | more | s for i, (of, s) in enumerate(points) if of == size
    ]
    return [run(f"{kind}-{size}{end}", settings(size), shape) for size, shape in SHAPES.items()]


def measure(best: dict = BEST, kernels: bool = True) -> list[dict]:
    """All runs by priority, those that need the best recipe after the ladders that find it; without `kernels` no Liger."""
    eager = FUSED | {"fused": kernels}
    seven = SHAPES["7B"]
    graphs = best | {"cuda_graphs": True}
    few = seven | {"vocab_size": 49152}  # the vocabulary of earlier notes
    real = named(REAL[:1], real=True) + named(REAL[1:-1], real=True, **eager) + named(REAL[-1:], real=True, **best)
    small = [("stock trl", STOCK), ("stock trl, 8 x 1024", STOCK | {"batch": 8}), ("best", best)]
    small += [
        ("best, CUDA graphs", graphs),
        ("best, 8 x 1024", best | {"batch": 8}),
        ("no layer recomputed", best | {"checkpointing": 0.0}),
    ]
    small += [(f"{name}, 1 x 2048", best | {"batch": 1, "length": 2048} | change) for name, change in LEAST[:2]]
    return [
        run("ladder", ladder(), seven),
        run("compiled", named(COMPILED, optimizer="adamw_8bit"), seven),
        run("peers", named([("stock trl", STOCK), ("stock trl, 8 x 1024", STOCK | {"batch": 8})]) + named(OTHERS, **eager), seven),
        run("ends", named(ENDS, **best), seven),
        run("profile", named([("stock trl", STOCK), ("best", best)], profile=True), seven),
        run("least", named([("stock trl", STOCK)], batch=1, length=2048) + named(LEAST, batch=1, length=2048, **best), seven),
        run("real", real, seven),
        *of_planner("fit", FIT),
        *of_planner("check", CHECK),
        *of_planner("fit", FIT, again=True),
        *of_planner("check", CHECK, again=True),
        run("graphs", named(GRAPHS, **best), seven),
        run("short", named(SHORT, batch=8, length=128, cap=11.3, steps=12, **STOCK), seven),
        run("caps-12-stock", capped("stock trl", STOCK, 11.3, SIZES), seven),
        run("caps-12-best", capped("best", best | {"compiled": "layer"}, 11.3, SIZES), seven),
        run("caps-12-graphs", capped("CUDA graphs", graphs, 11.3, [s for s in SIZES if s[0] * s[1] <= 2048]), seven),
        run("caps-24-best", capped("CUDA graphs", graphs, 23.3, SIZES + LARGER), seven),
        run("caps-24-stock", capped("stock trl", STOCK, 23.3, SIZES + LARGER), seven),
        run("few-words", named(small), few),
    ]  # fmt: skip


def rehearsal() -> list[dict]:
    """Every switch once, two runs for two cards."""
    shape = SHAPES["7B"] | {"num_hidden_layers": 2, "vocab_size": 32000}
    short = {"steps": 5, "batch": 2, "length": 512}
    eager = ladder()[:-1] + named([("full", {"method": "full"}), ("half", {"checkpointing": 0.5})])
    eager += named([("profile", STOCK | {"profile": True})]) + named(OTHERS, **FUSED)
    eager += named(REAL[1:5], real=True, **FUSED) + named([("3 GiB", {"cap": 3.0}), ("no room", {"cap": 0.5})])
    rest = ladder()[-1:] + named(COMPILED[:4], optimizer="adamw_8bit") + named(LEAST[4:], **BEST)
    rest += named(ENDS[4:5], **BEST) + named(REAL[5:6], real=True, **FUSED)
    rest += named([("packed, compiled", BEST | {"batching": "packed", "multiple": 1024})], real=True)
    rest += named([("plain again", {})])
    graphs = named(GRAPHS[1:] + SHORT[-1:], optimizer="adamw_8bit", compiled="checkpoint")
    runs = (("try-a", eager), ("try-b", rest), ("try-c", graphs))
    return [run("", [s | short for s in settings], shape) | {"name": name} for name, settings in runs]


def finished(folder: Path) -> tuple[dict, bool]:
    """From the ladders that lie finished: the fastest way to fuse and compile with all layers recomputed; and whether Liger
    runs here at all."""
    paths = [folder / f"measure-{name}.json" for name in ("ladder", "compiled")]
    settings = [
        s for p in paths if p.exists() for s in json.loads(p.read_text(encoding="utf-8"))["result"]["settings"]
    ]
    rungs = [s for s in settings if s["fits"] and s["optimizer"] == "adamw_8bit" and s["adapters"] == "float32"]
    fastest = max(rungs, key=lambda s: s["tokens_per_s"], default=BEST)
    kernels = any(s["fits"] for s in settings if s["fused"]) or not settings
    return {key: fastest[key] for key in BEST}, kernels


def collect(space: dict, stage: str) -> dict:
    """What a run keeps: every setting of the bench, the card's measured matrix rate, the shape's parameters."""
    from data.runs import bench_09

    shape, bench = planner.Shape.of(space["SHAPE"]), bench_09.measure(space)
    found = bench["found"]
    return {
        "settings": found,
        "matrix_rate": max(bench["rates"]),
        "matrix_rates": bench["rates"],
        "methods": {},
        "context_gib": round(bench["context"], 3),
        "parameters": shape.parameters,
        "linear_parameters": shape.linear_parameters,
        "headline": {s["name"]: s.get("tokens_per_s", s.get("error", "")) for s in found},
    }


def settings(runs: list[dict], name: str) -> list[dict]:
    """The settings of one recorded run."""
    return next(r for r in runs if r["name"] == f"measure-{name}")["result"]["settings"]


def hours(runs: list[dict], rows: int, tokens: int = 512, epochs: int = 3, on: str = "RTX 4090") -> float:
    """Hours for `rows` rows: measured at 8 x 512 on the recorded card, scaled to another by the published rates."""
    recorded_on = next(r for r in runs if r["name"] == "measure-ladder")["environment"]["card"]
    card = next(c for c in planner.CARDS if c in recorded_on)
    twice = settings(runs, "check-7B") + settings(runs, "check-7B-again")
    eight = [s for s in twice if (s["batch"], s["length"]) == (8, 512)]
    speed = eight[0]["tokens"] / np.mean([s["step"] for s in eight])
    return float(rows * tokens * epochs / (speed * planner.CARDS[on].rate / planner.CARDS[card].rate) / 3600)


def exactly(x: float) -> evaluate.Interval:
    """A number without an interval: a count, a price, one measurement."""
    return evaluate.Interval(float(x), float(x), float(x))


def bill(runs: list[dict], rows: int = 300, minutes: float = 5) -> tuple[float, float, float]:
    """Yuan for people (`minutes` a row) and for a rented 4090, and the median price of its hour."""
    prices = pd.read_csv(planner.PRICES)
    rented = prices[prices["what"].str.contains("4090") & (prices["currency"] == "CNY")]["price"].median()
    wage = prices.set_index("what")["price"]["a person who writes rows"]
    return rows * minutes / 60 * float(wage), hours(runs, rows) * float(rented), float(rented)


def measured(runs: list[dict]) -> dict:
    """Nothing was trained on a model's own weights: see `shapes`."""
    return {}


def shapes(runs: list[dict]) -> dict:
    """Q7a-Q7d, at the shape of a 7B with random weights."""
    held = next(s for s in settings(runs, "caps-12-stock") if (s["batch"], s["length"]) == (1, 2048))
    people, card, rented = bill(runs)
    return {
        "Q7a": exactly(held["reserved_gib"] if held["fits"] else float("inf")),
        "Q7b": {"1,000 rows": exactly(hours(runs, 1000)), "3,000 rows": exactly(hours(runs, 3000))},
        "Q7c": exactly(abs(rented - 2)),
        "Q7d": exactly(people / card),
    }


if __name__ == "__main__":
    from data.record import print_plan

    kind, *rest = sys.argv[1:] or [""]
    if kind == "names" and not rest:
        print("\n".join(r["name"] for r in measure()))
    elif kind == "one" and len(rest) == 2:
        json.dump([r for r in measure(*finished(Path(rest[1]))) if r["name"] == rest[0]], sys.stdout)
    else:
        print_plan(__doc__, measure=measure, **{"try": rehearsal})
