"""What a training run will need: GiB by part, tokens a second, hours and money, before anything is loaded.

- ``Shape.of(source)``    a model's numbers, from a Hub id, a folder, a config or a dict
- ``Plan(shape, ...)``    one run: ``memory()`` by part at the peak, ``seconds(card)``, ``hours()``, ``advice()``
- ``cost()``              money for hours, with the price's date
- ``calibrate(measured)`` fits what arithmetic does not give to recorded runs; ``recorded(kind)`` reads those

Weights, adapters, gradients, optimizer and loss (as trl 1.16 computes it) are arithmetic. Fitted: what a layer keeps, a
fixed rest, how far one card stays below its rates. Other cards' seconds are estimates from their vendor's sheets.

    python -m helpers.planner 7B --batch 1 --length 2048 --card "RTX 4090"
    python -m helpers.planner --fit          writes data/planner.json from the record
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
DATA = Path(__file__).resolve().parent.parent / "data"
FIT, PRICES = DATA / "planner.json", DATA / "prices.csv"
METHODS = ("full", "lora", "qlora")
LOSSES = {"sft": 1, "orpo": 2, "dpo": 2}  # sequences of one row or pair
OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "adamw_8bit", "sgd")
EIGHT_BIT = 2 + 2 * 4 / 256  # bytes: two states of one each, a float for 256 (tensors below 4,096 numbers: 32 bits)
KEPT = {"qlora": 16, "full": 20, "lora": 24}  # bytes a token and hidden unit that a plain layer keeps (tests count)
TILE = (4096, 32768)  # tokens and vocabulary of the logits that trl's loss holds at once
LOGITS = 12  # bytes a token and vocabulary entry in trl's ORPO, which holds all logits: counted, no run measured it
CONTEXT = 0.7  # GiB that CUDA itself takes of a card
UNPACK = 2.3  # seconds of unpacking 4-bit weights, over bytes / bandwidth: the recorded profile (a test compares)


class Card(NamedTuple):
    """GiB in all (nvidia-smi); dense 16-bit matrix operations and bytes of memory a second (vendor's sheet)."""

    gib: float
    rate: float
    bandwidth: float


CARDS = {  # rates with float32 sums: NVIDIA's data sheets of T4, A100, L4, H100 (SXM), H200; white papers GA102 and Ada
    "T4": Card(15360 / 1024, 65e12, 320e9),  # float16: it has no bfloat16
    "RTX 3060 12 GB": Card(12288 / 1024, 25.5e12, 360e9),  # a quarter of its "102 tensor TFLOPS", as the sheet of 3090
    "RTX 4060 Ti 16 GB": Card(16380 / 1024, 44.1e12, 288e9),  # an eighth of its "353 AI TOPS", as the sheet of 4090
    "RTX 3090": Card(24576 / 1024, 71e12, 936e9),
    "RTX 4090": Card(24564 / 1024, 165.2e12, 1008e9),
    "L4": Card(23034 / 1024, 121e12, 300e9),
    "A100 40 GB": Card(40960 / 1024, 312e12, 1555e9),
    "A100 80 GB": Card(81920 / 1024, 312e12, 2039e9),
    "H100": Card(81559 / 1024, 989e12, 3350e9),
    "H200": Card(143771 / 1024, 989e12, 4800e9),
}


def room(card: str) -> float:
    """GiB of a card of `CARDS` left for a run: all but CUDA's own 0.7. ValueError for another card.

    >>> round(room("RTX 4090"), 1)
    23.3
    """
    return _card(card).gib - CONTEXT


def _card(name: str) -> Card:
    if name not in CARDS:
        raise ValueError(f"card {name!r} is unknown: choose {', '.join(CARDS)}")
    return CARDS[name]


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
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        kv_heads = heads if config.get("num_key_value_heads") is None else config["num_key_value_heads"]
        numbers = {k: config[k] for k in FIELDS} | {"num_key_value_heads": kv_heads}
        if bad := {k: v for k, v in numbers.items() if not _whole(v)}:
            raise ValueError(f"impossible in the config: {bad}; whole numbers above 0 are needed")
        if not config.get("head_dim") and hidden % heads:
            raise ValueError(f"hidden_size {hidden} is no multiple of its {heads} heads, and head_dim is missing")
        return cls(
            config["vocab_size"], hidden, config["intermediate_size"], config["num_hidden_layers"], heads, kv_heads,
            config.get("head_dim") or hidden // heads, bool(config.get("tie_word_embeddings", True)),
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
        """Embedding, output head where it has its own, and norms: these stay in 16 bits. No biases."""
        return self.vocab * self.hidden * (1 if self.tied else 2) + (2 * self.layers + 1) * self.hidden

    @property
    def parameters(self) -> int:
        return self.linear_parameters + self.other_parameters

    def lora_parameters(self, rank: int) -> int:
        """Numbers that LoRA on all linear maps trains.

        >>> Shape.of(SHAPES["7B"]).lora_parameters(16)
        40370176
        """
        return self.layers * rank * sum(a + b for a, b in self.linears)


def _whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


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
        why = "neither a folder here nor a model that the Hub answered for: give the numbers as a dict, or a folder"
        raise ValueError(f"{source!r} is {why}") from error


@dataclass(frozen=True)
class Fit:
    """What is fitted to runs on one card (`share` of the sheet's rate that it reaches, bandwidth in bytes a second)."""

    kept: float  # bytes that layers keep, over those counted
    work: float  # bytes that a layer's backward pass holds beyond, for each token and hidden or intermediate unit
    lean: float  # what fused and compiled layers leave of these two
    rest: float  # GiB
    traffic: float  # how often a pass moves a layer's hidden and intermediate units through memory
    launch: float  # seconds that the processor needs to send a layer's pass to the card
    packed: float  # what 4-bit weights add to that, as a share of it
    swift: float  # what fused and compiled layers leave of these two
    share: float
    bandwidth: float

    @classmethod
    def load(cls) -> Fit:
        """The committed fit; FileNotFoundError where there is none yet."""
        if not FIT.exists():
            raise FileNotFoundError(f"data/{FIT.name} is not there: python -m helpers.planner --fit writes it")
        return cls(**json.loads(FIT.read_text(encoding="utf-8")))


# where `calibrate` starts: guesses, nothing measured
START = Fit(1, 6, 0.85, 0.1, 30, 1e-3, 0.5, 0.6, 0.7, 3350e9)


@dataclass(frozen=True)
class Plan:
    """One training run, without gradient accumulation. batch: rows (or pairs) a forward pass; length: tokens a row;
    checkpointing: share of layers that recompute; fused: a kernel for each norm, rotation and gated unit; compiled: the
    layers; precomputed: DPO's reference has answered beforehand. ValueError for what cannot be."""

    shape: Shape
    method: str = "qlora"
    loss: str = "sft"
    rank: int = 16
    batch: int = 4
    length: int = 1024
    checkpointing: float = 1.0
    optimizer: str = "adamw_8bit"
    fused: bool = False
    compiled: bool = False
    precomputed: bool = False

    def __post_init__(self):
        for name, allowed in (("method", METHODS), ("loss", LOSSES), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown: choose {', '.join(allowed)}")
        for name in ("rank", "batch", "length"):
            if not _whole(getattr(self, name)):
                raise ValueError(f"{name} {getattr(self, name)!r}: a whole number above 0 is needed")
        if not 0 <= self.checkpointing <= 1:
            raise ValueError(f"checkpointing {self.checkpointing} must lie in 0..1: the share of layers")

    @property
    def tokens(self) -> int:
        """Tokens of one forward pass."""
        return self.batch * self.length * LOSSES[self.loss]

    @property
    def trained(self) -> int:
        """Numbers that are trained."""
        return self.shape.parameters if self.method == "full" else self.shape.lora_parameters(self.rank)

    @property
    def _own(self) -> int:  # bytes of a trained number: bfloat16, or adapters in float32
        return 2 if self.method == "full" else 4

    @property
    def _again(self) -> float:  # share of layers that recompute, in whole layers
        return round(self.checkpointing * self.shape.layers) / self.shape.layers

    @property
    def _reference(self) -> bool:
        return self.loss == "dpo" and not self.precomputed

    @property
    def _forwards(self) -> float:  # passes through the layers: one, again where they recompute, and the reference
        return 1 + self._again + self._reference

    def _left(self, factor: float) -> float:  # fused and compiled take half of the way each: an assumption
        return factor ** ((self.fused + self.compiled) / 2)

    def memory(self, fit: Fit | None = None) -> dict[str, float]:
        """GiB by part at the peak; their sum is the peak: the highest of four moments. At the loss all layers are kept;
        at both ends of the backward pass one layer works, and gradients are none or all; then the optimizer steps.

        >>> parts = Plan(Shape.of(SHAPES["7B"])).memory(START)
        >>> round(parts["weights"], 2), round(parts["optimizer"], 2), parts["loss"]
        (5.17, 0.08, 0.0)
        """
        fit, s, n, full = fit or Fit.load(), self.shape, self.tokens, self.method == "full"
        other = 4 if self.loss == "orpo" and self.method == "qlora" else 2  # ORPO's trainer prepares in 32 bits
        weights = s.linear_parameters * (NF4_BYTES if self.method == "qlora" else 2) + s.other_parameters * other
        lean, again = self._left(fit.lean), self._again * s.layers
        units = KEPT[self.method] * s.hidden + 4 * s.kv_heads * s.head_dim + 8 * s.intermediate
        layer = n * lean * fit.kept * units
        inputs = n * again * 2 * s.hidden  # a recomputed layer keeps its input
        kept = (s.layers - again) * layer + inputs
        unpacked = 2 * s.hidden * s.intermediate if self.method == "qlora" else 0  # one map in 16 bits
        work = n * lean * fit.work * (s.hidden + s.intermediate) + unpacked
        gradients, head = self.trained * self._own, full * 2 * s.vocab * s.hidden
        moments = (
            {"activations": kept, "loss": self._loss()},
            {"activations": max(kept, inputs + layer) + work, "gradients": head},
            {"activations": layer + work, "gradients": gradients},
            {"optimizer": gradients if self.optimizer == "adamw_torch" else 0, "gradients": gradients},  # and a copy
        )
        always = {
            "weights": weights * (2 if full and self._reference else 1),
            "adapters": 0 if full else self.trained * (4 + 2 * (1 - self._again)),  # 16-bit copies in kept layers
            "gradients": 0, "optimizer": self._states(), "activations": 0, "loss": 0,
        }  # fmt: skip
        peak = max(moments, key=lambda parts: sum(parts.values()))
        return {k: (v + peak.get(k, 0)) / GIB for k, v in always.items()} | {"rest": fit.rest}

    def _states(self) -> float:
        """Bytes of the optimizer: two states as wide as the trained numbers, or in 8 bits (an embedding's in 32)."""
        if self.optimizer == "adamw_8bit":
            embedding = self.shape.vocab * self.shape.hidden if self.method == "full" else 0
            return self.trained * EIGHT_BIT + embedding * (8 - EIGHT_BIT)
        return 0.0 if self.optimizer == "sgd" else 2.0 * self._own * self.trained

    def _loss(self) -> float:
        """Bytes at the loss: last norm and hidden states (8 a unit), their gradients in 32 and 16 bits (6), a tile of
        logits, the head's gradient in 32 and 16 bits where it is trained. ORPO holds all logits."""
        s, n, full = self.shape, self.tokens, self.method == "full"
        if self.loss == "orpo":
            return n * (s.vocab * LOGITS + s.hidden * 8) + full * 2 * s.vocab * s.hidden
        return n * s.hidden * 14 + min(n, TILE[0]) * min(s.vocab, TILE[1]) * 2 + full * 6 * s.vocab * s.hidden

    def total(self, fit: Fit | None = None) -> float:
        """Peak GiB, without CUDA's own (`room` takes that off the card).

        >>> plan = Plan(Shape.of(SHAPES["7B"]))
        >>> plan.total(START) == sum(plan.memory(START).values())
        True
        """
        return sum(self.memory(fit).values())

    def operations(self) -> float:
        """Multiplications and additions of one step. Linear maps: 2 a weight and token forward, 2 for the input's
        gradient, 2 for the weight's if trained. Attention: 4 a token, unit and position before it (half the row), and
        2.5 times that backward (flash). Head: a linear map whose tiles are computed again on the way back (not ORPO).

        >>> plan = Plan(Shape.of(SHAPES["7B"]), batch=1, checkpointing=0.0)
        >>> round(plan.operations() / plan.tokens / plan.shape.linear_parameters, 1)
        4.6
        """
        s, full = self.shape, self.method == "full"
        linear = 2 * s.linear_parameters * (self._forwards + 1 + full)
        adapters = 0 if full else 2 * self.trained * (3 + self._again)
        attention = 2 * s.layers * s.heads * s.head_dim * self.length * (self._forwards + 2.5)
        head = 2 * s.vocab * s.hidden * (2 + (self.loss != "orpo") + full + self._reference)
        return self.tokens * (linear + adapters + attention + head)

    def seconds(self, card: str | float, fit: Fit | None = None) -> float:
        """Seconds an optimizer step on a card of `CARDS`, or on the recorded card at a matrix rate measured on it
        (operations a second). A name is an estimate for all but the recorded card. ValueError for an unknown one.

        >>> plan = Plan(Shape.of(SHAPES["7B"]))
        >>> plan.seconds("RTX 4090", START) > plan.seconds("H100", START)
        True
        """
        fit, s = fit or Fit.load(), self.shape
        if isinstance(card, str):
            rate, bandwidth = _card(card).rate * fit.share, _card(card).bandwidth
        else:
            rate, bandwidth = float(card), fit.bandwidth
        if not rate > 0:
            raise ValueError(f"matrix rate {card}: operations a second above 0 are needed, or a card's name")
        swift, passes = self._left(fit.swift), self._forwards + 2  # the way back moves about twice as much
        unpacked = 2.5 * s.linear_parameters * (self._forwards + 1) if self.method == "qlora" else 0  # 0.5 in, 2 out
        moved = self.tokens * s.layers * 2 * (s.hidden + s.intermediate) * passes
        step = 3 * self._own * self.trained + 2 * self._states()  # weights and states in and out, gradients in
        memory = UNPACK * unpacked + fit.traffic * swift * moved + step
        works = self.operations() / rate + memory / bandwidth
        sends = fit.launch * (1 + fit.packed * (self.method == "qlora")) * swift * s.layers * passes
        return float((works**4 + sends**4) ** 0.25)  # side by side: little above the longer of the two

    def hours(self, rows: int, epochs: float, card: str | float, fit: Fit | None = None) -> float:
        """Hours for `rows` rows (or pairs) of `length` tokens; padding counts. ValueError unless both are above 0.

        >>> plan = Plan(Shape.of(SHAPES["7B"]))
        >>> plan.hours(2000, 3, "H100", START) / plan.hours(1000, 3, "H100", START)
        2.0
        """
        if not _whole(rows) or not epochs > 0:
            raise ValueError(f"rows {rows!r}, epochs {epochs!r}: a whole number of rows and epochs above 0 are needed")
        return math.ceil(rows * epochs / self.batch) * self.seconds(card, fit) / 3600

    def largest_batch(self, gib: float, fit: Fit | None = None) -> int:
        """Largest batch, up to 4,096, whose peak stays within `gib`; 0 if not even one row does.

        >>> Plan(Shape.of(SHAPES["14B"]), method="full").largest_batch(room("RTX 4090"), START)
        0
        """
        fit = fit or Fit.load()
        peak = lambda batch: dataclasses.replace(self, batch=batch).total(fit)  # never falls
        return bisect_right(range(1, 4097), gib, key=peak)

    def advice(self, gib: float, fit: Fit | None = None) -> list[tuple[str, float]]:
        """What to change, one after the other, until the run fits: (change, peak GiB after it); empty if it fits.
        What costs least comes first, what saves nothing is left out; the last peak may still be above `gib`.

        >>> [change for change, _ in Plan(Shape.of(SHAPES["7B"]), "lora").advice(room("RTX 3060 12 GB"), START)]
        ['adapters on 4-bit weights']
        """
        fit, steps, now = fit or Fit.load(), [], self
        for change, text in (
            ({"optimizer": "adamw_8bit"}, "the optimizer in 8 bits"),
            ({"precomputed": True}, "the reference's answers computed beforehand"),
            ({"method": "qlora"}, "adapters on 4-bit weights"),
            ({"fused": True, "compiled": True}, "fused kernels and compiled layers"),
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


def cost(hours: float, prices, card: str, currency: str = "CNY") -> dict:
    """What `hours` on a card cost at its newest price: amount, currency, price (an hour), what, date.

    prices: a table, or the path of one, as `PRICES`. ValueError for a missing column, a price that is no number above
    0, negative hours, an unknown card, or one without such a price.

    >>> cost(10, PRICES, "RTX 4090")["date"]
    '2026-09'
    """
    import pandas as pd

    table = prices if isinstance(prices, pd.DataFrame) else pd.read_csv(prices)
    if missing := [k for k in ("what", "price", "currency", "unit", "date", "source") if k not in table]:
        raise ValueError(f"the table of prices lacks {', '.join(missing)}: see data/{PRICES.name}")
    if len(bad := table[~(pd.to_numeric(table["price"], errors="coerce") > 0)]):
        raise ValueError(f"price {bad['price'].iloc[0]} of {bad['what'].iloc[0]!r}: a number above 0 is needed")
    if not hours >= 0:
        raise ValueError(f"hours {hours}: 0 or more are needed")
    _card(card)
    table = table[(table["unit"] == "hour") & (table["currency"] == currency)]
    mine = table[table["what"].str.startswith(card + " ")].sort_values("date", kind="stable")
    if mine.empty:
        raise ValueError(f"no price of {card} in {currency}: there are {', '.join(table['what'])}; add a dated line")
    price, what, date = mine.iloc[-1][["price", "what", "date"]]
    return {"amount": hours * price, "currency": currency, "price": price, "what": what, "date": str(date)}


def recorded(kind: str) -> list[tuple[Plan, float, float]]:
    """(plan, peak GiB, seconds a step) of the recorded settings of a kind, "fit" or "check", that found room; of a setting
    that was measured in more than one process, the means.

    ValueError names what a setting lacks; FileNotFoundError where nothing is recorded.
    """
    from helpers import recordings

    found, keys = {}, ("method", "rank", "batch", "length", "checkpointing", "optimizer", "fused", "compiled")
    for run in recordings.load("09"):
        if run["name"].startswith(f"measure-{kind}-"):
            for s in (s for s in run["result"]["settings"] if s["fits"]):
                if missing := [k for k in (*keys, "peak_gib", "step") if k not in s]:
                    raise ValueError(f"a setting of {run['name']} lacks {', '.join(missing)}")
                own = {k: s[k] for k in keys} | {"compiled": bool(s["compiled"])}  # the record says how
                plan = Plan(Shape.of(run["set"]["SHAPE"]), **own)
                found.setdefault(plan, []).append((s["peak_gib"], s["step"]))
    return [(plan, *np.mean(times, axis=0).tolist()) for plan, times in found.items()]


def calibrate(measured: list[tuple[Plan, float, float]], rate: float, card: str = "H100") -> Fit:
    """Fit to recorded runs: (plan, peak GiB, seconds a step) each, on `card`, of measured matrix rate `rate`.

    Least squares of relative errors, no number below 0: four of memory, four of time. ValueError for fewer than six
    runs, impossible measurements, or runs that cannot tell two of the numbers apart.

    >>> calibrate([], 7e14)
    Traceback (most recent call last):
    ...
    ValueError: 0 runs: at least 6 are needed to fit 4 numbers of memory and 4 of time
    """
    if len(measured) < 6:
        raise ValueError(f"{len(measured)} runs: at least 6 are needed to fit 4 numbers of memory and 4 of time")
    if bad := [(gib, step) for _, gib, step in measured if not (0 < gib < math.inf and 0 < step < math.inf)]:
        raise ValueError(f"impossible measurement: (GiB, seconds) {bad[0]}")
    start = dataclasses.replace(START, share=rate / _card(card).rate, bandwidth=_card(card).bandwidth)
    fit = _least_squares(start, ("kept", "work", "lean", "rest"), Plan.total, measured, 1)
    seconds = lambda plan, fit: plan.seconds(rate, fit)
    return _least_squares(fit, ("traffic", "launch", "packed", "swift"), seconds, measured, 2)


def _least_squares(start: Fit, names: tuple, predict, measured: list, target: int) -> Fit:
    from scipy.optimize import least_squares

    first = np.array([getattr(start, k) for k in names])
    fit_of = lambda x: dataclasses.replace(start, **dict(zip(names, (x * first).tolist())))
    errors = lambda x: [predict(m[0], fit_of(x)) / m[target] - 1 for m in measured]
    ones = np.ones(len(names))
    slopes = least_squares(errors, ones, bounds=(0, np.inf), max_nfev=1).jac
    _, sizes, directions = np.linalg.svd(slopes)
    if sizes[-1] < 1e-3 * sizes[0]:
        unknown = [k for k, d in zip(names, directions[-1]) if abs(d) > 0.3]
        raise ValueError(f"these runs do not tell {', '.join(unknown)} (see Fit): add some that differ in it")
    return fit_of(least_squares(errors, ones, bounds=(0, np.inf), xtol=1e-12, ftol=1e-12).x)


def fit_record() -> Fit:
    """The fit of the recorded settings "fit", on the card and at the matrix rate that the record names."""
    from helpers import recordings

    ladder = next(r for r in recordings.load("09") if r["name"] == "measure-ladder")
    name = ladder["environment"]["card"]
    card = next((c for c in CARDS if c in name), name)
    return calibrate(recorded("fit"), ladder["result"]["matrix_rate"], card)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m helpers.planner", description="What a training run will need.")
    parser.add_argument("model", nargs="?", default="7B", help=f"{', '.join(SHAPES)}, a folder or a Hub id")
    parser.add_argument("--card", default="RTX 4090", help=", ".join(CARDS))
    parser.add_argument("--fit", action="store_true", help="write data/planner.json from the record")
    for field in dataclasses.fields(Plan)[1:]:
        value = {"type": type(field.default), "default": field.default}
        parser.add_argument(f"--{field.name}", **({"action": "store_true"} if field.default is False else value))
    options = vars(parser.parse_args(arguments))
    model, card, fit = options.pop("model"), options.pop("card"), options.pop("fit")
    try:
        if fit:
            text = json.dumps(dataclasses.asdict(fit_record()), indent=1) + "\n"
            FIT.write_text(text, encoding="utf-8")
            return print(text, end="")
        plan = Plan(Shape.of(SHAPES.get(model, model)), **options)
        peak, free, step = plan.total(), room(card), plan.seconds(card)
    except (ValueError, FileNotFoundError) as error:
        parser.exit(2, f"{error}\n")
    for part, gib in plan.memory().items():
        print(f"{part:12} {gib:6.2f} GiB")
    print(f"{'peak':12} {peak:6.2f} GiB of {free:.1f} on {card}; largest batch {plan.largest_batch(free)}")
    print(f"{plan.tokens / step:,.0f} tokens a second (estimated, unless this is the recorded card)")
    now = peak
    for change, now in plan.advice(free):
        print(f"change first: {change}, then {now:.2f} GiB")
    if now > free:
        print("that does not fit: take a smaller model or a larger card")


if __name__ == "__main__":
    main()
