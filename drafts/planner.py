"""What a training run will need: GiB by part, tokens a second, hours and money, before anything is loaded.

- ``Shape.of(source)``      a model's numbers, from a Hub id, a folder, a config or a dict
- ``Plan(shape, ...)``      what is to be trained and how; ``plan.memory()`` says where each gigabyte goes
- ``plan.seconds(card)``    seconds an optimizer step on a card of known matrix rate
- ``plan.largest_batch``, ``plan.advice``   what fits, and what to change first when it does not
- ``calibrate(measured)``   fits the constants that no arithmetic gives to recorded runs; ``recorded(kind)`` reads those

Most of the memory is arithmetic: weights, adapters, gradients, optimizer. What is fitted: bytes of activations kept for a
token, those of the loss, a fixed rest; and how far the card stays below its matrix rate. `data/planner.json` holds the fit.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GIB = 2**30
NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8  # 4 bits, a byte for 64 weights, a float for 256 of those bytes
FIELDS = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_NAMES = (*FIELDS, "num_key_value_heads", "tie_word_embeddings")
SHAPES = {  # the numbers in Qwen2.5's config.json files
    size: dict(zip(_NAMES, numbers))
    for size, numbers in {
        "0.5B": (151936, 896, 4864, 24, 14, 2, True),
        "1.5B": (151936, 1536, 8960, 28, 12, 2, True),
        "3B": (151936, 2048, 11008, 36, 16, 2, True),
        "7B": (152064, 3584, 18944, 28, 28, 4, False),
        "14B": (152064, 5120, 13824, 48, 40, 8, False),
    }.items()
}
FIT = Path(__file__).resolve().parent.parent / "data" / "planner.json"
METHODS = ("full", "lora", "qlora")
LOSSES = {"sft": 1, "orpo": 2, "dpo": 2}  # sequences of one row or pair
STATE_BYTES = {"adamw_torch": 8.0, "adamw_8bit": 2.03, "sgd": 0.0}  # a trained number in float32


@dataclass(frozen=True)
class Shape:
    """The numbers of a decoder-only model with gated feed-forward layers (Llama, Qwen, Mistral, SmolLM)."""

    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool

    @classmethod
    def of(cls, source) -> Shape:
        """From a dict or config object, a folder with `config.json`, or a Hub id (asks the network).

        ValueError names a missing or impossible number; FileNotFoundError a folder without config.json.

        >>> Shape.of({"vocab_size": 100, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        ...           "num_attention_heads": 4}).parameters
        88640
        """
        config = _config(source)
        if missing := [k for k in FIELDS if config.get(k) is None]:
            raise ValueError(f"the config lacks {', '.join(missing)}: a decoder-only language model has them all")
        numbers = {k: config[k] for k in FIELDS}
        if bad := {k: v for k, v in numbers.items() if not isinstance(v, int) or v < 1}:
            raise ValueError(f"impossible in the config: {bad}; whole numbers above 0 are needed")
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        if not config.get("head_dim") and hidden % heads:
            raise ValueError(f"hidden_size {hidden} is no multiple of num_attention_heads {heads}, and head_dim is missing")
        return cls(
            config["vocab_size"], hidden, config["intermediate_size"], config["num_hidden_layers"], heads,
            config.get("num_key_value_heads") or heads, config.get("head_dim") or hidden // heads,
            bool(config.get("tie_word_embeddings", True)),
        )  # fmt: skip

    @property
    def linears(self) -> list[tuple[int, int]]:
        """(in, out) of the seven linear maps of a layer: q, k, v, o, gate, up, down."""
        h, q, kv, i = self.hidden, self.heads * self.head_dim, self.kv_heads * self.head_dim, self.intermediate
        return [(h, q), (h, kv), (h, kv), (q, h), (h, i), (h, i), (i, h)]

    @property
    def linear_parameters(self) -> int:
        return self.layers * sum(a * b for a, b in self.linears)

    @property
    def other_parameters(self) -> int:
        """Embedding, output head where it has its own, and norms: these stay in 16 bits."""
        return self.vocab * self.hidden * (1 if self.tied else 2) + (2 * self.layers + 1) * self.hidden

    @property
    def parameters(self) -> int:
        return self.linear_parameters + self.other_parameters

    def lora_parameters(self, rank: int) -> int:
        """Numbers that LoRA on all linear maps trains."""
        return self.layers * rank * sum(a + b for a, b in self.linears)


def _config(source) -> dict:
    if isinstance(source, dict):
        return source
    if hasattr(source, "to_dict"):
        return source.to_dict()
    folder = Path(source)
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise FileNotFoundError(f"{folder} has no config.json: name the folder of a model")
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(source)).to_dict()
    except OSError as error:
        raise ValueError(
            f"{source!r} is neither a folder here nor a model that the Hub answered for (is there a network?): "
            "give the numbers as a dict, or a folder"
        ) from error


@dataclass(frozen=True)
class Fit:
    """What is fitted. activations: bytes of one layer for a token, in units of hidden and of intermediate size; loss: bytes
    for a token and vocabulary entry; rest: GiB. Time: share of the matrix rate lost, seconds to unpack a weight, a layer's launch.
    """

    hidden: float
    intermediate: float
    loss: float
    rest: float
    slowness: float
    unpack: float
    launch: float

    @classmethod
    def load(cls) -> Fit:
        return cls(**json.loads(FIT.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Plan:
    """One training run. batch: rows (or pairs) a forward pass; length: tokens a row; checkpointing: share of layers."""

    shape: Shape
    method: str = "qlora"
    loss: str = "sft"
    rank: int = 16
    batch: int = 4
    length: int = 1024
    checkpointing: float = 1.0
    optimizer: str = "adamw_8bit"

    def __post_init__(self):
        for name, allowed in (("method", METHODS), ("loss", LOSSES), ("optimizer", STATE_BYTES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown: choose {', '.join(allowed)}")
        for name in ("rank", "batch", "length"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)!r}: a whole number above 0 is needed")
        if not 0 <= self.checkpointing <= 1:
            raise ValueError(f"checkpointing {self.checkpointing} must lie in 0..1, the share of layers that recompute")

    @property
    def tokens(self) -> int:
        """Tokens of one forward pass."""
        return self.batch * self.length * LOSSES[self.loss]

    @property
    def trained(self) -> int:
        return self.shape.parameters if self.method == "full" else self.shape.lora_parameters(self.rank)

    def memory(self, fit: Fit | None = None) -> dict[str, float]:
        """GiB by part: weights, adapters and gradients, optimizer, activations, loss, rest. Their sum is the peak."""
        fit, s = fit or Fit.load(), self.shape
        full = self.method == "full"
        weights = s.linear_parameters * (NF4_BYTES if self.method == "qlora" else 2) + s.other_parameters * 2
        own = 2 if full else 4  # bytes of a trained number: bfloat16, or adapters in float32
        parts = {
            "weights": weights,
            "adapters": 0 if full else self.trained * own,
            "gradients": self.trained * own,
            "optimizer": self.trained * STATE_BYTES[self.optimizer] * own / 4,
            "activations": self.tokens * self._activation_units() @ np.array([fit.hidden, fit.intermediate, 2.0]),
            "loss": self._loss_units() * fit.loss,
        }
        return {k: float(v) / GIB for k, v in parts.items()} | {"rest": fit.rest}

    def _activation_units(self) -> np.ndarray:
        """What a token keeps: layers kept whole × (hidden, intermediate), and inputs of recomputed layers."""
        s = self.shape
        recomputed = self.checkpointing * s.layers
        whole = s.layers - recomputed + (1 if recomputed else 0)  # one layer at a time comes back
        return np.array([whole * s.hidden, whole * s.intermediate, recomputed * s.hidden])

    def _loss_units(self) -> float:
        """Logits held at once: all tokens of ORPO, at most 4,096 of the others (computed in pieces)."""
        held = self.tokens if self.loss == "orpo" else min(self.tokens, 4096)
        return float(held * self.shape.vocab)

    def total(self, fit: Fit | None = None) -> float:
        """Peak GiB."""
        return sum(self.memory(fit).values())

    def operations(self) -> float:
        """Multiplications and additions of one step: 2 a weight and token forward, as many backward (twice with all weights
        trained), and again forward where layers recompute."""
        s = self.shape
        passes = 2 + self.checkpointing + (1 if self.method == "full" else 0)
        attention = 2 * s.layers * s.heads * s.head_dim * self.length  # causal: half of 4
        head = 2 * s.vocab * s.hidden * 2
        return self.tokens * (passes * (2 * s.linear_parameters + attention) + head)

    def _time_units(self, rate: float) -> np.ndarray:
        passes = 2 + self.checkpointing
        unpacked = passes * self.shape.linear_parameters if self.method == "qlora" else 0.0
        return np.array([self.operations() / rate, unpacked, passes * self.shape.layers])

    def seconds(self, rate: float, fit: Fit | None = None) -> float:
        """Seconds a step on a card that multiplies matrices at `rate` operations a second (bfloat16, dense)."""
        fit = fit or Fit.load()
        return float(self._time_units(rate) @ np.array([fit.slowness, fit.unpack, fit.launch]))

    def largest_batch(self, gib: float, fit: Fit | None = None) -> int:
        """Largest batch whose peak stays within `gib`; 0 if not even one row does."""
        fits = lambda b: dataclasses.replace(self, batch=b).total(fit) <= gib
        if not fits(1):
            return 0
        low, high = 1, 2
        while fits(high) and high < 4096:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def advice(self, gib: float, fit: Fit | None = None) -> list[tuple[str, float]]:
        """What to change, one after the other, until the run fits: (change, peak GiB after it). Empty if it fits already.

        The order is by what costs least: 8-bit optimizer, 4-bit weights, recomputing, a smaller batch, shorter rows.
        """
        steps, now = [], self
        for change, text in (
            ({"optimizer": "adamw_8bit"}, "the optimizer in 8 bits"),
            ({"method": "qlora"}, "adapters on 4-bit weights"),
            ({"checkpointing": 1.0}, "gradient checkpointing in all layers"),
            ({"batch": 1}, "batch 1 with gradient accumulation"),
            ({"length": max(1, self.length // 2)}, "rows half as long"),
        ):
            if now.total(fit) <= gib:
                break
            after = dataclasses.replace(now, **change)
            if after.total(fit) < now.total(fit):
                now = after
                steps.append((text, now.total(fit)))
        return steps


def recorded(kind: str) -> list[tuple[Plan, float, float]]:
    """(plan, peak GiB, seconds a step) of the recorded settings of a kind, "fit" or "check", that found room on the card."""
    from helpers import runs

    out = []
    for run in runs.load("09"):
        if run["name"].startswith(f"measure-{kind}-"):
            shape = Shape.of(run["set"]["SHAPE"])
            for s in run["result"]["settings"]:
                own = {k: s[k] for k in ("method", "rank", "batch", "length", "checkpointing", "optimizer")}
                out += [(Plan(shape, **own), s["peak_gib"], s["step"])] if s["fits"] else []
    return out


def calibrate(measured: list[tuple[Plan, float, float]], rate: float) -> Fit:
    """Fit to recorded runs: (plan, peak GiB, seconds a step) each, on a card of matrix rate `rate`.

    Relative errors count, by non-negative least squares; at least 6 runs. What arithmetic knows is taken off first.
    """
    from scipy.optimize import nnls

    if len(measured) < 6:
        raise ValueError(f"{len(measured)} runs: at least 6 are needed to fit 4 numbers of memory and 3 of time")
    rows, targets, times, seconds = [], [], [], []
    known = Fit(0, 0, 0, 0, 0, 0, 0)
    for plan, peak, step in measured:
        units = plan._activation_units() * plan.tokens / GIB
        rest = peak - sum(plan.memory(known).values())  # the inputs of recomputed layers are known: 2 bytes
        rows.append(np.array([units[0], units[1], plan._loss_units() / GIB, 1.0]) / peak)
        targets.append(rest / peak)
        times.append(plan._time_units(rate) / step)
        seconds.append(1.0)
    memory, _ = nnls(np.array(rows), np.array(targets))
    time, _ = nnls(np.array(times), np.array(seconds))
    return Fit(*map(float, memory), *map(float, time))


if __name__ == "__main__":
    from helpers import runs

    rate = next(r for r in runs.load("09") if r["name"] == "measure-ladder")["result"]["matrix_rate"]
    FIT.write_text(json.dumps(dataclasses.asdict(calibrate(recorded("fit"), rate)), indent=1) + "\n", encoding="utf-8")
    print(FIT.read_text(encoding="utf-8"))
