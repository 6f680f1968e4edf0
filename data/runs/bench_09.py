# ruff: noqa: F821  (names of FROM_THE_NOTEBOOK)
"""The bench of notebook 09: seconds and GiB of one training setting after the other, at a model's true shape.

Run by the recorder (`plan_09.collect`) after the notebook's cells; what a setting may say stands in `DEFAULT`. Nothing is
scored: the weights are random. The shape and the settings are the notebook's: `measure` takes them from its variables.
"""

from __future__ import annotations

import gc
import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import bitsandbytes as bnb
import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig
from torch._inductor.cudagraph_trees import reset_cudagraph_trees
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, Qwen2Config, TrainerCallback
from transformers.models.qwen2 import modeling_qwen2
from trl import SFTConfig, SFTTrainer

FROM_THE_NOTEBOOK = ("SHAPE", "SETTINGS", "SEED", "MODEL", "REVISION", "GPU", "BF16", "FP16", "COMPUTE")
STEPS, WARM = 8, 3  # optimizer steps of a setting; of these to warm up
RATE, ALPHA = 3e-4, 32  # high enough that eight steps are seen in the loss


def device_map():
    """Where a model goes, as `from_pretrained` wants it."""
    return {"": 0 if GPU else "cpu"}


def course_tokenizer():
    """The tokenizer of the notebook's model: a shape has none of its own."""
    return AutoTokenizer.from_pretrained(MODEL, revision=REVISION)


def random_model(**how):
    """A model with the numbers of `SHAPE` and random weights, always the same ones, in 16 bits."""
    torch.manual_seed(SEED)
    with torch.device("cuda" if GPU else "cpu"):
        return AutoModelForCausalLM.from_config(Qwen2Config(**SHAPE), dtype=COMPUTE, **how)


def folder():
    """Where the 4-bit weights of `SHAPE` lie, one folder a shape."""
    return Path(tempfile.gettempdir()) / "-".join(["shape", *(str(int(v)) for v in SHAPE.values())])


def write_four_bits():
    """`random_model` in NF4, quantized on the card, as a folder that `from_pretrained` reads."""
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=COMPUTE,
    )
    full = random_model()
    how = {"dtype": COMPUTE, "quantization_config": nf4, "device_map": device_map()}
    model = type(full).from_pretrained(None, config=full.config, state_dict=full.state_dict(), **how)
    part = Path(tempfile.mkdtemp(dir=folder().parent))
    model.save_pretrained(part)
    course_tokenizer().save_pretrained(part)  # so that other notebooks can load the folder
    try:
        part.rename(folder())  # whole or not at all
    except OSError:
        shutil.rmtree(part)  # another process was first


def row_lengths(s, n):
    """Tokens of `n` rows: all `length`, or spread as real rows are (log-normal, median a quarter of it)."""
    if not s["real"]:
        return np.full(n, s["length"])
    spread = np.random.default_rng(SEED).lognormal(np.log(s["length"] / 4), 0.6, n)
    return np.clip(spread, 16, s["length"]).astype(int)


def rows_of(s, n):
    """Rows of token ids, which trl takes as they are: 50 phrases, some frequent, so there is much to learn."""
    rng = np.random.default_rng(SEED)
    phrases = rng.integers(100, SHAPE["vocab_size"], (50, 8))
    often = 1 / np.arange(1, 51)
    rows = [phrases[rng.choice(50, k // 8 + 1, p=often / often.sum())].ravel()[:k] for k in row_lengths(s, n)]
    return Dataset.from_list([{"input_ids": row.tolist()} for row in rows])


DEFAULT = {
    "method": "qlora",
    "rank": 16,
    "batch": 4,
    "length": 1024,
    "steps": None,
    "cap": 0.0,
    "checkpointing": 1.0,
    "keep": "",
    "offload": "",
    "embedding": "card",
    "optimizer": "adamw_torch",
    "adapters": "float32",
    "fused": False,
    "compiled": "",
    "cuda_graphs": False,
    "loss": "trl",
    "attention": "sdpa",
    "real": False,
    "batching": "padded",
    "multiple": None,
    "profile": False,
}


def settings_of(s):
    """The arguments of trl's trainer: a rung is one of these lines, or a line of the next cells."""
    checkpoint = {"offload": True} if s["offload"] == "inputs" else {}
    if 0 < s["checkpointing"] < 1:
        checkpoint["every_n_layers"] = round(1 / s["checkpointing"])
    return SFTConfig(
        output_dir=str(Path(tempfile.gettempdir()) / "ladder"),
        max_steps=s["steps"],
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=not GPU,
        bf16=BF16,
        fp16=FP16,
        seed=SEED,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        per_device_train_batch_size=s["batch"],
        optim=s["optimizer"],
        activation_checkpointing=s["checkpointing"] > 0,  # the new name of gradient_checkpointing
        activation_checkpointing_kwargs=checkpoint or None,
        activation_offloading=s["offload"] == "all",
        train_sampling_strategy="group_by_length" if s["batching"] == "grouped" else "random",
        packing=s["batching"] == "packed",
        padding_free=s["batching"] == "free",
        max_length=None if s["batching"] == "free" else s["length"],
        pad_to_multiple_of=s["multiple"],
    )


PLAIN = {n: getattr(modeling_qwen2, n) for n in ("apply_rotary_pos_emb", "Qwen2RMSNorm", "Qwen2MLP")}


def model_of(s):
    """The model of a setting; "fused": norms, rotary positions and gated units in one kernel each, by Liger."""
    for name, plain in PLAIN.items():  # Liger changes the library itself: undo it for the next setting
        setattr(modeling_qwen2, name, plain)
    if s["method"] == "qlora":
        model = AutoModelForCausalLM.from_pretrained(
            folder(), dtype=COMPUTE, device_map=device_map(), attn_implementation=s["attention"]
        )
    else:
        model = random_model(attn_implementation=s["attention"])
    if s["fused"]:  # a compiler cannot look into Liger's rotary positions: it makes its own
        from liger_kernel.transformers import apply_liger_kernel_to_qwen2

        apply_liger_kernel_to_qwen2(
            rope=not s["compiled"],
            rms_norm=True,
            swiglu=True,
            cross_entropy=False,
            fused_linear_cross_entropy=False,
            model=model,
        )
    is_plain = all(getattr(modeling_qwen2, n) is plain for n, plain in PLAIN.items())
    assert is_plain != s["fused"] == any("liger" in m.forward.__module__ for m in model.modules())
    return model


class OtherLoss(SFTTrainer):
    """Not trl's loss: "logits" makes the logits of all tokens at once, "liger" is Liger's fused loss."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if self.kind == "logits":
            return model(**inputs, use_cache=False, num_items_in_batch=num_items_in_batch).loss
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        whole, labels = model.get_base_model(), inputs.pop("labels")
        with torch.autocast("cuda", dtype=COMPUTE):
            hidden = whole.model(**inputs, use_cache=False).last_hidden_state[:, :-1]
            loss = LigerFusedLinearCrossEntropyLoss(reduction="sum")(
                whole.lm_head.weight, hidden.reshape(-1, hidden.shape[-1]), labels[:, 1:].reshape(-1)
            )
        return loss / num_items_in_batch


def trainer_of(s, clock, seen):
    """The trainer of one setting, before the changes that no argument makes."""
    lora = LoraConfig(
        r=s["rank"], lora_alpha=ALPHA, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM"
    )
    rows = rows_of(s, s["steps"] * s["batch"] * (4 if s["batching"] == "packed" else 1))
    kind = SFTTrainer if s["loss"] == "trl" else OtherLoss
    trainer = kind(
        model=model_of(s),
        args=settings_of(s),
        processing_class=course_tokenizer(),
        train_dataset=rows,
        peft_config=None if s["method"] == "full" else lora,
        callbacks=[clock],
    )
    trainer.data_collator = counted(trainer.data_collator, seen)
    trainer.kind = s["loss"]
    if s["adapters"] == "float32" and s["method"] != "full":  # "trl": bfloat16 on 4-bit weights
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return trainer


def compile_layers(layers, how, graphs):
    """Kernels made for what a decoder layer computes; `graphs`: recorded, then sent to the card as one call."""
    plain, mode = modeling_qwen2.Qwen2DecoderLayer, "reduce-overhead" if graphs else None

    class CompiledLayer(plain):  # transformers puts its checkpoint around what a layer class calls `forward`
        forward = torch.compile(plain.forward.__wrapped__, mode=mode)

    for layer in layers:
        if how == "layer":
            layer.__class__ = CompiledLayer
        elif how == "checkpoint":  # the compiler sees the checkpoint too
            layer.compile(mode=mode)
        elif how == "parts":
            layer.self_attn.compile()
            layer.mlp.compile()


def adjust(trainer, s):
    """What no argument does."""
    model = trainer.model if s["method"] == "full" else trainer.model.get_base_model()
    compile_layers(model.model.layers, s["compiled"], s["cuda_graphs"])
    if s["keep"] == "attention":  # its result is not computed again; trl's argument for it fails on adapters
        from trl.models import enable_selective_activation_checkpointing

        enable_selective_activation_checkpointing(model)
    if s["embedding"] == "main memory":  # the table is only looked up
        table, device = model.get_input_embeddings(), model.device
        rows = table.weight.data.cpu()
        table.weight.data = torch.empty(0, dtype=rows.dtype, device=device)
        table.forward = lambda ids: torch.nn.functional.embedding(ids.cpu(), rows).to(device)


class Clock(TrainerCallback):
    """When each optimizer step ended; with `profile`, what ran in the two steps after the warm-up."""

    def __init__(self, profile):
        self.ends, self.began = [], 0.0
        kinds = torch.profiler.ProfilerActivity
        what = [kinds.CUDA if GPU else kinds.CPU]
        self.profiler = torch.profiler.profile(activities=what) if profile else None

    def on_step_end(self, args, state, control, **kwargs):
        self.ends.append(now())
        if self.profiler and state.global_step == WARM:
            self.profiler.start()
            self.began = now()
        if self.profiler and state.global_step == WARM + 2:
            self.profiler.stop()


def now():
    """Seconds on a clock, after the GPU has finished what it was asked to do."""
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def counted(collate, seen):
    """The trainer's collator, noting of each batch its tokens and its positions, padding included."""

    def collate_and_count(examples):
        batch = collate(examples)
        seen.append((sum(len(e["input_ids"]) for e in examples), batch["input_ids"].numel()))
        return batch

    return collate_and_count


def matrix_rate(n=8192, repeats=50):
    """Operations a second of a large bfloat16 matrix product (median): what the card gives at best."""
    if not GPU:
        return 0.0
    a, b, product = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 11)]
    for mark in marks:  # the first ten warm the card up
        torch.mm(a, b, out=product)
        mark.record()
    torch.cuda.synchronize()
    times = [x.elapsed_time(y) / 1000 for x, y in zip(marks[10:], marks[11:])]
    return float(2 * n**3 / np.median(times))


KERNELS = {  # the first pattern that a kernel's name matches
    "4-bit unpacking": "quantizeblock|_4bit|quantize_blockwise",
    "optimizer": "optimizer|adam|multi_tensor|lpnorm",
    "attention": "flash|fmha|attention|sdpa|flex",
    "loss": "^_?(forward|backward)_kernel|cross_entropy|nll_loss|softmax",
    "matrix products": "gemm|gemv|cutlass|nvjet|cublas|xmma|split_?k|dot_kernel|aten::(addmm|mm|bmm)$",
    "copies and casts": "mem(cpy|set)|copy|catarray|_to_copy",
}


def shares(clock):
    """Seconds of two steps by kind of kernel, "idle" is what none fills; and the fifteen longest kernels."""
    found, longest = dict.fromkeys([*KERNELS, "elementwise and norms"], 0.0), []
    for event in clock.profiler.key_averages():
        if event.is_user_annotation or GPU != ("CUDA" in str(event.device_type)):
            continue
        seconds = (event.self_device_time_total if GPU else event.self_cpu_time_total) / 1e6
        kind = next((k for k, names in KERNELS.items() if re.search(names, event.key, re.I)), None)
        found[kind or "elementwise and norms"] += seconds
        longest.append((round(seconds, 5), event.key[:90]))
    found["idle"] = max(0.0, clock.ends[WARM + 1] - clock.began - sum(found.values()))
    return {"shares": {k: round(v, 4) for k, v in found.items()}, "longest": sorted(longest, reverse=True)[:15]}


def gib(count="memory_allocated"):
    """GiB of GPU memory by the counter of `torch.cuda` named `count`; 0.0 without a GPU."""
    return round(getattr(torch.cuda, count)() / 2**30, 3) if GPU else 0.0


def clean(cap=0.0):
    """A card as if nothing had run, at most `cap` GiB of it for this process; says so if something stayed."""
    bnb.optim.GlobalOptimManager.get_instance().module_weight_config_triple.clear()  # it keeps each embedding
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    reset_cudagraph_trees()
    gc.collect()
    if not GPU:
        return {}
    total = torch.cuda.get_device_properties(0).total_memory / 2**30
    torch.cuda.set_per_process_memory_fraction(min(1.0, cap / total) if cap else 1.0)
    torch.cuda.empty_cache()
    return {"left_gib": gib()} if gib() > 0.1 else {}


def outcome(trainer, clock, seen):
    """The numbers of a finished run: after the warm-up, from the end of a step to the end of the next."""
    logs = [e for e in trainer.state.log_history if "loss" in e]
    seconds = np.diff(clock.ends)[WARM - 1 :]
    tokens, positions = np.array(seen[WARM : len(clock.ends)], dtype=float).T
    compiler = torch._dynamo.utils.counters
    return {
        "step": round(float(np.median(seconds)), 4),
        "tokens": round(float(tokens.mean()), 1),
        "tokens_per_s": round(float(tokens.sum() / seconds.sum()), 1),
        "steps_s": seconds.round(4).tolist(),
        "padding": round(float(1 - tokens.sum() / positions.sum()), 3),
        "peak_gib": gib("max_memory_allocated"),
        "reserved_gib": gib("max_memory_reserved"),
        "loss": [round(float(e["loss"]), 4) for e in logs],
        "grad_norm": [round(float(e["grad_norm"]), 4) for e in logs],
        "graphs": compiler["stats"]["unique_graphs"],
        "breaks": sum(compiler["graph_break"].values()),
    }


def measured(setting):
    """One setting. `fits` is False where memory ran out, None after another error."""
    s, seen, found, trainer, start = DEFAULT | {"steps": STEPS} | setting, [], {}, None, time.perf_counter()
    clock = Clock(s["profile"])
    clean(s["cap"])
    try:
        trainer = trainer_of(s, clock, seen)
        adjust(trainer, s)
        found["before_gib"] = gib()
        if GPU:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()  # loading does not count
        _ = trainer.train()
        found |= outcome(trainer, clock, seen) | (shares(clock) if s["profile"] else {}) | {"fits": True}
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {error}".replace("\n", " ")[:300]
        found["fits"] = False if "out of memory" in str(error).lower() else None
    del trainer
    return s | found | clean() | {"all_s": round(time.perf_counter() - start, 1)}


def measure(space: dict) -> dict:
    """Every setting of `SETTINGS`, one after the other: {"found": ..., "rates": ..., "context": GiB}."""
    globals().update({name: space[name] for name in FROM_THE_NOTEBOOK})
    try:  # before anything is measured, and under no cap
        if any((DEFAULT | s)["method"] == "qlora" for s in SETTINGS) and not (folder() / "config.json").exists():
            write_four_bits()
    except Exception as error:
        print("no 4-bit folder:", error, file=sys.stderr)
    if SETTINGS:
        clean()
    rates, found = [matrix_rate() if SETTINGS else 0.0], []
    for setting in SETTINGS:
        found.append(measured(setting))
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)  # if this process dies, its log has them
    try:
        rates.append(matrix_rate() if SETTINGS else 0.0)
        free, total = torch.cuda.mem_get_info() if GPU else (0, 0)
        context = (total - free) / 2**30 - gib("memory_reserved")
    except RuntimeError:  # the card does not answer after an error
        context = 0.0
    return {"found": found, "rates": rates, "context": context}
