"""What a training run will need: GiB by part, tokens a second, hours and money, before anything is loaded.

- ``Shape.of(source)``    a model's numbers, from a Hub id, a folder, a config or a dict; experts are counted apart
- ``Plan(shape, ...)``    one run, on one card or several: ``memory()`` by part at the peak, ``seconds(card)``, ``hours()``, ``advice()``
- ``cost()``              money for hours, with the price's date
- ``calibrate(measured)`` fits what arithmetic does not give to recorded runs; ``recorded(kind)`` reads those

Weights, adapters, gradients, optimizer and loss (as trl 1.16 computes it) are arithmetic. Fitted: what a layer keeps, a
fixed rest, how far one card stays below its rates. Other cards' seconds are estimates from their vendor's sheets.

    python -m helpers.planner 7B --batch 1 --length 2048 --card "RTX 4090"
    python -m helpers.planner 14B --method full --gpus 8 --sharded --card H100
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
EIGHT_BIT = 2 + 2 * 4 / 256  # bytes: two states of one each, a float for 256 (tensors below 4,096 numbers: 32 bits)
OPTIMIZERS = {  # transformers' names: bytes of the states of a number; None: two as wide as the number
    "adamw_torch": None, "adamw_torch_fused": None, "adamw_8bit": EIGHT_BIT, "adamw_bnb_8bit": EIGHT_BIT, "sgd": 0,
    "paged_adamw_8bit": EIGHT_BIT, "paged_adamw": 8, "paged_adamw_32bit": 8,
}  # fmt: skip
KEPT = {"qlora": 16, "full": 20, "lora": 24}  # bytes a token and hidden unit that a plain layer keeps (tests count)
TILE = (4096, 32768)  # tokens and vocabulary of the logits that trl's loss holds at once
LOGITS = 12  # bytes a token and vocabulary entry in trl's ORPO, which holds all logits: counted, no run measured it
CONTEXT = 0.7  # GiB that CUDA itself takes of a card
HOST = 25e9  # bytes a second between a card and main memory: PCIe 4.0 x16 in practice, an estimate
STASH = 5  # tensors that trl's activation offloading leaves on the card (max_fwd_stash_size)
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
    """The numbers of a decoder-only model with gated feed-forward layers (Llama, Qwen, Mistral, SmolLM), or with experts in
    their place (Mixtral, Qwen MoE, DeepSeek, gpt-oss)."""

    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool
    experts: int = 0  # routed ones of a layer; 0: a dense model
    active: int = 0  # of them, those that work on one token
    expert_width: int = 0
    shared_width: int = 0  # of the experts that work on every token, together
    dense_layers: int = 0  # layers without experts
    latent: tuple = ()  # DeepSeek's attention: ranks of queries (0: none) and of keys, rotary and value width

    @classmethod
    def of(cls, source) -> Shape:
        """From a dict or config object, a folder with `config.json`, or a Hub id (asks the network).

        ValueError names a missing or impossible number, experts under unknown names, or a config.json that cannot be read;
        FileNotFoundError a folder without config.json.

        >>> Shape.of({"vocab_size": 100, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        ...           "num_attention_heads": 4}).parameters
        88640
        """
        config = _config(source)
        experts = _experts(config)
        if missing := [k for k in FIELDS if config.get(k) is None]:
            raise ValueError(f"the config lacks {', '.join(missing)}: a decoder-only language model has them all")
        optional = ("num_key_value_heads", "head_dim", "moe_intermediate_size", "kv_lora_rank", "v_head_dim")
        numbers = {k: config[k] for k in FIELDS} | {k: config[k] for k in optional if config.get(k) is not None}
        numbers |= {k: v for k, v in experts.items() if v}
        if bad := {k: v for k, v in numbers.items() if not _whole(v)}:
            raise ValueError(f"impossible in the config: {bad}; whole numbers above 0 are needed")
        vocab, hidden, intermediate, layers, heads = (int(config[k]) for k in FIELDS)
        kv_heads = int(numbers.get("num_key_value_heads", heads))
        if heads % kv_heads:
            raise ValueError(
                f"num_key_value_heads {kv_heads}: impossible, they must divide num_attention_heads {heads}"
            )
        if "head_dim" not in numbers and hidden % heads:
            raise ValueError(f"hidden_size {hidden} is no multiple of its {heads} heads, and head_dim is missing")
        head_dim, latent = int(numbers.get("head_dim", hidden // heads)), ()
        if "kv_lora_rank" in numbers:
            ranks = ("q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "v_head_dim")
            if missing := [k for k in (*ranks[2:], "qk_nope_head_dim") if not _whole(config.get(k))]:
                raise ValueError(f"the config has kv_lora_rank but lacks {', '.join(missing)}")
            latent = tuple(int(config.get(k) or 0) for k in ranks)
            head_dim = latent[2] + int(config["qk_nope_head_dim"])
        tied = bool(config.get("tie_word_embeddings", True))
        return cls(vocab, hidden, intermediate, layers, heads, kv_heads, head_dim, tied, **experts, latent=latent)

    @property
    def attention(self) -> list[tuple[int, int]]:
        """(in, out) of the linear maps of a layer's attention: q, k, v, o; DeepSeek's go through low ranks."""
        h, q, kv = self.hidden, self.heads * self.head_dim, self.kv_heads * self.head_dim
        if not self.latent:
            return [(h, q), (h, kv), (h, kv), (q, h)]
        low, rank, rope, v = self.latent
        queries = [(h, low), (low, q)] if low else [(h, q)]
        return [*queries, (h, rank + rope), (rank, q + self.heads * (v - rope)), (self.heads * v, h)]

    @property
    def linears(self) -> list[tuple[int, int]]:
        """(in, out) of the linear maps of a dense layer: of its attention, then gate, up, down."""
        h, i = self.hidden, self.intermediate
        return [*self.attention, (h, i), (h, i), (i, h)]

    @property
    def sparse(self) -> int:
        """Layers with experts."""
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def _maps(self) -> list[tuple[int, int, int]]:  # how many, in, out: of all layers, without routed experts
        found = [(self.layers, *sides) for sides in self.attention]
        for n, width in ((self.layers - self.sparse, self.intermediate), (self.sparse, self.shared_width)):
            found += [(2 * n, self.hidden, width), (n, width, self.hidden)] if width else []
        return found

    @property
    def expert_parameters(self) -> int:
        """Routed experts and their routers. bitsandbytes leaves them in 16 bits: transformers 5 holds a layer's experts in one
        tensor, which is no linear map (a test loads one)."""
        return self.sparse * self.hidden * self.experts * (1 + 3 * self.expert_width)

    @property
    def linear_parameters(self) -> int:
        return sum(n * a * b for n, a, b in self._maps) + self.expert_parameters

    @property
    def active_linear_parameters(self) -> int:
        """Those that work on one token: what a step computes with."""
        return self.linear_parameters - 3 * self.sparse * self.hidden * self.expert_width * (
            self.experts - self.active
        )

    @property
    def other_parameters(self) -> int:
        """Embedding, output head where it has its own, and norms: these stay in 16 bits. No biases."""
        return self.vocab * self.hidden * (1 if self.tied else 2) + (2 * self.layers + 1) * self.hidden

    @property
    def parameters(self) -> int:
        return self.linear_parameters + self.other_parameters

    @property
    def active_parameters(self) -> int:
        """All but the experts that a token does not meet; `parameters` of a dense model.

        >>> mixtral = dict(vocab_size=32000, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
        ...     num_attention_heads=32, num_key_value_heads=8, num_local_experts=8, num_experts_per_tok=2, tie_word_embeddings=False)
        >>> shape = Shape.of(mixtral); round(shape.parameters / 1e9, 1), round(shape.active_parameters / 1e9, 1)
        (46.7, 12.9)
        """
        return self.active_linear_parameters + self.other_parameters

    @property
    def width(self) -> int:
        """Feed-forward units of a layer that work on one token: the intermediate size, or those of its active experts."""
        return self.active * self.expert_width + self.shared_width if self.experts else self.intermediate

    def lora_parameters(self, rank: int) -> int:
        """Numbers that LoRA on all linear maps trains; of each expert, peft gives the joint gate and up map twice the rank.

        >>> Shape.of(SHAPES["7B"]).lora_parameters(16)
        40370176
        """
        h, w, e = self.hidden, self.expert_width, self.experts
        of_experts = self.sparse * (h + e + e * (2 * (h + 2 * w) + (w + h)))
        return rank * (sum(n * (a + b) for n, a, b in self._maps) + of_experts)


def _whole(value) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value > 0


def _experts(config: dict) -> dict:
    """The fields of `Shape` that a config with experts fills; none for a dense model. ValueError where they cannot be counted."""
    names = ("num_local_experts", "num_experts", "n_routed_experts")  # Mixtral and gpt-oss, Qwen, DeepSeek
    name = next((k for k in names if config.get(k)), None)
    if name is None:
        unknown = [k for k, v in config.items() if "experts" in k and _whole(v) and v > 1]
        if unknown and not any(k in config for k in names):
            raise ValueError(
                f"{unknown[0]}: experts by this name are not counted; give num_experts, num_experts_per_tok"
            )
        return {}
    if config.get("num_experts_per_tok") is None:
        raise ValueError(f"the config has {name} but lacks num_experts_per_tok: how many of them work on a token")
    count, active, layers = config[name], config["num_experts_per_tok"], config.get("num_hidden_layers")
    width = config.get("moe_intermediate_size") or config.get("intermediate_size")
    config.setdefault("intermediate_size", width)
    if not all(map(_whole, (count, active, width, layers))) or active > count:
        what = f"{active!r} of {count!r} experts of width {width!r} in {layers!r} layers"
        raise ValueError(f"impossible in the config: {what}")
    shared = config.get("n_shared_experts") or config.get("num_shared_experts") or 0
    first, step = config.get("first_k_dense_replace") or 0, config.get("decoder_sparse_step") or 1
    alone = config.get("mlp_only_layers") or ()
    dense = sum(i < first or i in alone or (i + 1) % step > 0 for i in range(layers))
    shared = int(config.get("shared_expert_intermediate_size") or shared * width)
    found = {"experts": count, "active": active, "expert_width": width, "shared_width": shared, "dense_layers": dense}
    return {k: int(v) for k, v in found.items()}


def _config(source) -> dict:
    """A copy of the config's numbers; of a model that also sees or hears, those of its language model."""
    config = source.to_dict() if hasattr(source, "to_dict") else source
    if not isinstance(config, dict):
        config = _read(source)
    inner = next(filter(None, map(config.get, ("text_config", "llm_config", "thinker_config"))), None)
    if inner is not None and config.get("num_hidden_layers") is None:
        return {k: v for k, v in config.items() if k == "tie_word_embeddings"} | _config(inner)
    return dict(config)


def _read(source) -> dict:
    if not isinstance(source, (str, Path)):
        raise ValueError(f"a {type(source).__name__} is no model: give a dict or config, a folder or a Hub id")
    path = Path(source)
    if path.is_dir():
        if not (path / "config.json").exists() and (path / "adapter_config.json").exists():
            base = _read(path / "adapter_config.json").get("base_model_name_or_path")
            raise ValueError(
                f"{source} holds an adapter on {base}: plan with that model's folder, and the adapter's rank"
            )
        path = path / "config.json"
        if not path.exists():
            raise FileNotFoundError(f"{source} has no config.json: name the folder of a model")
    if path.is_file():
        try:
            config = json.loads(path.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            what = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"is no JSON ({error})"
            raise ValueError(f"{path} {what}: fetch it again, or save it as UTF-8") from error
        if not isinstance(config, dict):
            raise ValueError(f"{path} holds a {type(config).__name__}, not an object of numbers: fetch it again")
        return config
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
    """One training run, without gradient accumulation. batch: rows (or pairs) a forward pass and card; length: tokens a row;
    checkpointing: share of layers that recompute; fused: a kernel for each norm, rotation and gated unit; compiled: the
    layers; precomputed: DPO's reference has answered beforehand; offload: what layers keep waits in main memory (trl's
    activation_offloading). gpus: cards, each with everything on it (DDP) or, `sharded`, with its part of weights, gradients
    and optimizer (FSDP, ZeRO-3). ValueError for what cannot be."""

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
    offload: bool = False
    gpus: int = 1
    sharded: bool = False

    def __post_init__(self):
        for name, allowed in (("method", METHODS), ("loss", LOSSES), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown: choose {', '.join(allowed)}")
        for name in ("rank", "batch", "length", "gpus"):
            if not _whole(getattr(self, name)):
                raise ValueError(f"{name} {getattr(self, name)!r}: a whole number above 0 is needed")
            object.__setattr__(self, name, int(getattr(self, name)))  # NumPy's would overflow
        if self.rank > self.shape.hidden:
            raise ValueError(f"rank {self.rank} exceeds the hidden size {self.shape.hidden}: 8 to 128 are usual")
        if not isinstance(self.checkpointing, int | float) or not 0 <= self.checkpointing <= 1:
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

    def _linear_bytes(self, shape: Shape) -> float:
        small, experts = NF4_BYTES if self.method == "qlora" else 2, shape.expert_parameters
        return (shape.linear_parameters - experts) * small + experts * 2

    def memory(self, fit: Fit | None = None) -> dict[str, float]:
        """GiB a card by part at the peak; their sum is the peak: the highest of four moments. At the loss all layers are kept;
        at both ends of the backward pass one layer works, and gradients are none or all; then the optimizer steps.

        Recorded: of what layers keep, fused kernels or compiled layers alone save as much as both; of what a working layer
        holds beyond, kernels alone do. Paged states lie in memory that the driver moves off the card: they count 0.
        Sharded: weights, adapters, gradients and states / gpus; activations and loss are each card's own (Rajbhandari et al. 2020,
        ZeRO, arXiv 1910.02054, stage 3). Gathered, as four recorded settings of accelerate's FSDP2 show (within 4%): embedding and
        head whole and a buffer as large as one of them, and three layers: at work, on its way, and a buffer. Tied: not measured.

        >>> parts = Plan(Shape.of(SHAPES["7B"])).memory(START)
        >>> round(parts["weights"], 2), round(parts["optimizer"], 2), parts["loss"]
        (5.17, 0.08, 0.0)
        """
        fit, s, n, full = fit or Fit.load(), self.shape, self.tokens, self.method == "full"
        other = 4 if self.loss == "orpo" and self.method == "qlora" else 2  # ORPO's trainer prepares in 32 bits
        weights = self._linear_bytes(s) + s.other_parameters * other
        part, again = self.gpus if self.sharded else 1, self._again * s.layers
        units = KEPT[self.method] * s.hidden + 4 * s.kv_heads * s.head_dim + 8 * s.width
        layer = n * fit.kept * units * (fit.lean if self.fused or self.compiled else 1)
        inputs = n * again * 2 * s.hidden  # a recomputed layer keeps its input
        kept = (s.layers - again) * layer + inputs
        if self.offload:  # the last tensors are still on their way
            most = STASH * n * 2 * (s.hidden if again == s.layers else max(s.hidden, s.width))
            kept, inputs = min(kept, most), min(inputs, most)
        unpacked = 2 * s.hidden * s.intermediate if self.method == "qlora" else 0  # one map in 16 bits
        work = n * fit.work * (s.hidden + s.width) * (fit.lean if self.fused else 1) + unpacked
        gradients, head = self.trained * self._own / part, full * 2 * s.vocab * s.hidden / part
        moments = (
            {"activations": kept, "loss": self._loss()},
            {"activations": max(kept, inputs + layer) + work, "gradients": head},
            {"activations": layer + work, "gradients": gradients},
            {"optimizer": gradients if self.optimizer == "adamw_torch" else 0, "gradients": gradients},  # and a copy
        )
        always = {
            "weights": weights * (2 if full and self._reference else 1) / part,
            "adapters": 0 if full else self.trained * (4 + 2 * (1 - self._again)) / part,  # 16-bit copies in kept layers
            "gradients": 0, "optimizer": 0 if self.optimizer.startswith("paged") else self._states() / part, "activations": 0, "loss": 0,
        }  # fmt: skip
        if part > 1:
            one_layer = self._linear_bytes(dataclasses.replace(s, layers=1, dense_layers=0))
            always["gathered"] = (2 if s.tied else 3) * 2 * s.vocab * s.hidden + 3 * one_layer
        peak = max(moments, key=lambda parts: sum(parts.values()))
        return {k: (v + peak.get(k, 0)) / GIB for k, v in always.items()} | {"rest": fit.rest}

    def _states(self) -> float:
        """Bytes of the optimizer: two states as wide as the trained numbers, or as `OPTIMIZERS` says (in 8 bits: but for an
        embedding's, 32)."""
        each = OPTIMIZERS[self.optimizer]
        if each == EIGHT_BIT:
            embedding = self.shape.vocab * self.shape.hidden if self.method == "full" else 0
            return self.trained * each + embedding * (8 - each)
        return self.trained * (2.0 * self._own if each is None else each)

    def _loss(self) -> float:
        """Bytes at the loss: last norm and hidden states (8 a unit), their gradients in 32 and 16 bits (6), a tile of
        logits, the head's gradient in 32 and 16 bits where it is trained. ORPO holds all logits."""
        s, n, full = self.shape, self.tokens, self.method == "full"
        if self.loss == "orpo":
            return n * (s.vocab * LOGITS + s.hidden * 8) + full * 2 * s.vocab * s.hidden
        return n * s.hidden * 14 + min(n, TILE[0]) * min(s.vocab, TILE[1]) * 2 + full * 6 * s.vocab * s.hidden

    def total(self, fit: Fit | None = None) -> float:
        """Peak GiB a card, without CUDA's own (`room` takes that off the card).

        >>> plan = Plan(Shape.of(SHAPES["7B"]))
        >>> plan.total(START) == sum(plan.memory(START).values())
        True
        """
        return sum(self.memory(fit).values())

    def operations(self) -> float:
        """Multiplications and additions of one step and card. Linear maps (of experts, those active): 2 a weight and token
        forward, 2 for the input's gradient, 2 for the weight's if trained. Attention: 4 a token, unit and position before it
        (half the row), 2.5 times that backward (flash). Head: a map whose tiles are computed again on the way back (not ORPO).

        >>> plan = Plan(Shape.of(SHAPES["7B"]), batch=1, checkpointing=0.0)
        >>> round(plan.operations() / plan.tokens / plan.shape.linear_parameters, 1)
        4.6
        """
        s, full = self.shape, self.method == "full"
        linear = 2 * s.active_linear_parameters * (self._forwards + 1 + full)
        met = dataclasses.replace(s, experts=s.active)
        adapters = 0 if full else 2 * met.lora_parameters(self.rank) * (3 + self._again)
        attention = 2 * s.layers * s.heads * s.head_dim * self.length * (self._forwards + 2.5)
        head = 2 * s.vocab * s.hidden * (2 + (self.loss != "orpo") + full + self._reference)
        return self.tokens * (linear + adapters + attention + head)

    def seconds(self, card: str | float, fit: Fit | None = None) -> float:
        """Seconds an optimizer step on a card of `CARDS`, or on the recorded card at a matrix rate measured on it
        (operations a second). A name is an estimate for all but the recorded card. What several cards tell each other is not
        counted; what is offloaded or paged travels at `HOST`. ValueError for an unknown card.

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
        swift = fit.swift ** ((self.fused + self.compiled) / 2)  # half of the way each: an assumption
        passes = self._forwards + 2  # the way back moves about twice as much
        four = s.linear_parameters - s.expert_parameters if self.method == "qlora" else 0
        unpacked = 2.5 * four * (self._forwards + 1)  # 0.5 in, 2 out
        moved = self.tokens * s.layers * 2 * (s.hidden + s.width) * passes
        states = self._states() / (self.gpus if self.sharded else 1)
        step = 3 * self._own * self.trained + 2 * states  # weights and states in and out, gradients in
        memory = UNPACK * unpacked + fit.traffic * swift * moved + step
        away = 2 * states if self.optimizer.startswith("paged") else 0
        if self.offload:
            units = 2 * s.hidden if self._again else KEPT[self.method] * s.hidden + 8 * s.width
            away += 2 * self.tokens * s.layers * units
        works = self.operations() / rate + memory / bandwidth + away / HOST
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
        return math.ceil(rows * epochs / (self.batch * self.gpus)) * self.seconds(card, fit) / 3600

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
            ({"offload": True}, "activations in main memory"),
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
    if plan.shape.experts:
        counts = f"{plan.shape.parameters / 1e9:.1f}e9 parameters, {plan.shape.active_parameters / 1e9:.1f}e9 work on a token"
        print(f"{counts}; experts and their routers are held in 16 bits")
    for part, gib in plan.memory().items():
        print(f"{part:12} {gib:6.2f} GiB")
    print(f"{'peak':12} {peak:6.2f} GiB of {free:.1f} on {card}; largest batch {plan.largest_batch(free)}")
    on = f" on {plan.gpus} cards, without what they tell each other" * (plan.gpus > 1)
    print(f"{plan.gpus * plan.tokens / step:,.0f} tokens a second{on} (estimated, unless this is the recorded card)")
    now = peak
    for change, now in plan.advice(free):
        print(f"change first: {change}, then {now:.2f} GiB")
    if now > free:
        print("that does not fit: take a smaller model or a larger card")


if __name__ == "__main__":
    main()
