"""Speed of the frameworks of notebook 11 on one card: tokens/s, GiB and the loss of every step, each setting a JSON file.

    python -m data.runs.bench_11_speed --out OUT --work WORK --tokenizer FOLDER --sites SITES --cards 0 1 2 3
    python -m data.runs.bench_11_speed --merge OUT                  # what lies there, into data/runs/11.jsonl

Run it from the course's root, with the course's own packages. A folder with random NF4 weights of a 7B's shape and the rows are
written once; then every setting runs in a process of its own, which sees one card. All are fed the same rows in the same order:
chats of exactly 1,024 tokens, all of them trained, none of them padding. trl and Unsloth get the token ids, LLaMA-Factory and
ms-swift the chats; a checksum of each step's ids says whether they are the same. Settings that are done are skipped. One that
fails is recorded with the last lines of its log.

SITES holds a folder of packages for each framework (`unsloth`, `llamafactory`, `swift`), searched before the course's, and
`beside`, searched last. What was in them in November 2026, beside torch 2.11 and bitsandbytes 0.50:
unsloth and unsloth_zoo 2026.10.9 with transformers 5.17, trl 1.15, datasets 4.8.5, peft 0.21 (no xformers: torch's attention);
llamafactory 0.9.5 with transformers 5.6, trl 0.24, datasets 4.0, peft 0.18.1, accelerate 1.11;
ms-swift 4.6.0 with transformers 5.19, trl 0.29.1, datasets 4.8.4, peft 0.20.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib.metadata
import json
import os
import queue
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

from data.runs import bench_11

ROOT = Path(__file__).resolve().parents[2]
LENGTH, STEPS, BATCHES = 1024, 8, (4, 8)  # tokens a row; optimizer steps; rows a step
WARM = 2  # steps that are not counted: a compiler works in them
JOB = {
    "ROWS": "chats of random words, all tokens trained, no padding",
    "LENGTH": LENGTH,
    "RANK": 16,
    "ALPHA": 32,
    "DROPOUT": 0.0,
    "RATE": 2e-4,
    "SCHEDULE": "constant",
    "BETAS": [0.9, 0.999],
    "WEIGHT_DECAY": 0.0,
    "CLIP": 1.0,
    "OPTIMIZER": "adamw_torch_fused",
    "DTYPE": "bfloat16",
    "SEED": 42,
    "ORDER": "as in the file",
}
SETTINGS = {  # framework, and what is special about its recipe; the slowest to start come first
    "course": ("trl", "each layer compiled together with its checkpoint, adapters in float32"),
    "unsloth": ("unsloth", 'use_gradient_checkpointing="unsloth"'),
    "unsloth, plain checkpointing": ("unsloth", "use_gradient_checkpointing=True"),
    "swift": ("swift", "its own checkpointing"),
    "llamafactory": ("llamafactory", "its own checkpointing"),
    "trl": ("trl", "activation_checkpointing=True, nothing else"),
}
OWN_PACKAGES = {
    "trl": (),
    "unsloth": ("unsloth", "unsloth_zoo"),
    "llamafactory": ("llamafactory",),
    "swift": ("ms-swift",),
}
PACKAGES = ("torch", "triton", "transformers", "peft", "trl", "bitsandbytes", "datasets", "accelerate", "xformers")
NOTES = {
    "unsloth": ["no xformers, no torchao: torch's own attention"],
    "llamafactory": [
        "its transformers (5.6) divides by all labels of a row, the others by those that are predicted, one fewer: its loss is"
        " the others' times 1,023/1,024"
    ],
}
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


# ---------------------------------------------------------------- inside a framework's process


def watch(seen: dict) -> None:
    """Note each step's batch, loss and end, and the memory; change nothing. Loading does not count."""
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook
    from transformers import Trainer

    gpu = torch.cuda.is_available()
    seen |= {"losses": [], "ends": [], "ids_crc": [], "labels_crc": [], "trained_labels": [], "shapes": []}
    prepare = Trainer._prepare_inputs

    @functools.wraps(prepare)
    def noted_prepare(self, inputs):
        if "began" not in seen:
            trained = [p for p in self.model.parameters() if p.requires_grad]
            seen["trained_parameters"] = sum(p.numel() for p in trained)
            seen["trained_dtypes"] = sorted({str(p.dtype) for p in trained})
            seen["attention"] = getattr(self.model.config, "_attn_implementation", None)
            if gpu:
                torch.cuda.synchronize()
                seen["before_gib"] = gib(torch.cuda.memory_allocated())
                torch.cuda.reset_peak_memory_stats()
            seen["began"] = time.perf_counter()
        note_batch(inputs, seen)
        return prepare(self, inputs)

    Trainer._prepare_inputs = noted_prepare
    bench_11.note_losses_of_transformers(seen)

    def note_step(optimizer, *_):
        if gpu:
            torch.cuda.synchronize()
            seen["peak_gib"] = gib(torch.cuda.max_memory_allocated())
            seen["reserved_gib"] = gib(torch.cuda.max_memory_reserved())
        seen["ends"].append(time.perf_counter())
        group = optimizer.param_groups[0]
        seen["optimizer"] = {"kind": type(optimizer).__name__}
        seen["optimizer"] |= {k: group.get(k) for k in ("lr", "betas", "eps", "weight_decay", "fused")}

    register_optimizer_step_post_hook(note_step)


def note_batch(batch: dict, seen: dict) -> None:
    """Checksums that do not depend on whether the rows lie above or behind one another."""
    ids, labels = (batch[key].cpu().long() for key in ("input_ids", "labels"))
    seen["ids_crc"].append(zlib.crc32(ids.numpy().tobytes()))
    seen["labels_crc"].append(zlib.crc32(labels.numpy().tobytes()))
    seen["trained_labels"].append(int((labels != -100).sum()))
    seen["shapes"].append(list(ids.shape))


def gib(n: int) -> float:
    """Bytes as GiB, to three digits."""
    return round(n / 2**30, 3)


def trl_settings(config, job: dict, **more):
    """trl's arguments, in the words that both of its versions know."""
    import torch

    gpu = torch.cuda.is_available()
    return config(
        output_dir="out",
        max_length=LENGTH,
        train_sampling_strategy="sequential",
        per_device_train_batch_size=job["BATCH"],
        gradient_accumulation_steps=1,  # Unsloth makes 2 of it where nothing is said
        max_steps=job["STEPS"],
        learning_rate=job["RATE"],
        lr_scheduler_type=job["SCHEDULE"],
        weight_decay=job["WEIGHT_DECAY"],
        max_grad_norm=job["CLIP"],
        optim=job["OPTIMIZER"],
        bf16=gpu,
        use_cpu=not gpu,
        seed=job["SEED"],
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        **more,
    )


def id_rows(path: str, labels: bool):
    """The rows as trl takes them. Unsloth also wants labels: its collator would leave out those that equal the padding."""
    from datasets import Dataset

    rows = [json.loads(line)["input_ids"] for line in Path(path).read_text().splitlines()]
    return Dataset.from_list([{"input_ids": row} | ({"labels": row} if labels else {}) for row in rows])


def train_trl(job: dict, seen: dict) -> None:
    """Stock trl; or the course's recipe: 05's float32 adapters, and 09's layers compiled together with their checkpoint."""
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    watch(seen)
    gpu = torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(
        job["model"], dtype=torch.bfloat16 if gpu else torch.float32, device_map={"": 0 if gpu else "cpu"}
    )
    lora = LoraConfig(
        r=job["RANK"], lora_alpha=job["ALPHA"], lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    trainer = SFTTrainer(
        model=model,
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
        args=trl_settings(SFTConfig, job, activation_checkpointing=True),
        train_dataset=id_rows(job["ids"], labels=False),
        peft_config=lora,
    )
    if job["setting"] == "course":
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        for layer in trainer.model.get_base_model().model.layers:
            layer.compile()
    trainer.train()


def train_unsloth(job: dict, seen: dict) -> None:
    """As Unsloth's own notebooks do it: its loader, its adapters, then trl's trainer, which it has changed on import."""
    from unsloth import FastLanguageModel  # isort: skip  (before transformers, trl and peft, or it cannot change them)
    from trl import SFTConfig, SFTTrainer

    watch(seen)
    model, tokenizer = FastLanguageModel.from_pretrained(job["model"], max_seq_length=LENGTH, load_in_4bit=True)
    model = FastLanguageModel.get_peft_model(
        model,
        r=job["RANK"],
        lora_alpha=job["ALPHA"],
        lora_dropout=0.0,
        target_modules=LINEAR,
        bias="none",
        use_gradient_checkpointing=True if "plain" in job["setting"] else "unsloth",
        random_state=job["SEED"],
    )
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        args=trl_settings(SFTConfig, job),
        train_dataset=id_rows(job["ids"], labels=True),
    )
    seen["collator"] = type(trainer.data_collator).__name__
    trainer.train()


def inside(folder: Path) -> None:
    """Run the setting in this process and write what was seen, with the versions of its stack."""
    job = json.loads((folder / "job.json").read_text())
    sys.path.append(job["beside"])
    framework, seen = SETTINGS[job["setting"]][0], {}
    if framework == "unsloth":
        train_unsloth(job, seen)
    elif framework == "trl":
        train_trl(job, seen)
    else:
        watch(seen)
        bench_11.start(framework, folder)
    import torch

    found = {"card": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU only"}
    found["python"] = sys.version.split()[0]
    for name in (*OWN_PACKAGES[framework], *PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    seen.setdefault("began", seen["ends"][0])  # were the first batch not noted: then the first step's time is 0
    (folder / "seen.json").write_text(json.dumps({"seen": seen, "environment": found}, default=str), encoding="utf-8")


# ---------------------------------------------------------------- outside


def write_rows(work: Path, tokenizer, n: int) -> None:
    """`n` chats of exactly `LENGTH` tokens, made of fifty phrases so that there is something to learn; and their ids."""
    import numpy as np

    rng = np.random.default_rng(0)
    words = sorted(token[1:] for token in tokenizer.get_vocab() if re.fullmatch("Ġ[a-z]{3,}", token))
    phrases = np.array(words)[rng.integers(0, len(words), (50, 8))]

    def chat(number, more):
        answer = " ".join(["The", *more])
        texts = (("system", "Go on."), ("user", f"Text {number}"), ("assistant", answer))
        return [{"role": role, "content": text} for role, text in texts]

    chats, ids = [], []
    for i in range(n):
        encode = functools.partial(tokenizer.apply_chat_template, tokenize=True, return_dict=False)
        missing = LENGTH - len(encode(chat(i, [])))  # a word with its space is one token
        picked = phrases[rng.integers(0, 50, missing // 8 + 1)].ravel()[:missing]
        chats.append({"messages": chat(i, picked.tolist())})
        ids.append({"input_ids": list(encode(chats[-1]["messages"]))})
        assert len(ids[-1]["input_ids"]) == LENGTH, (i, len(ids[-1]["input_ids"]))
    for name, rows in (("rows.jsonl", chats), ("ids.jsonl", ids)):
        (work / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def configs(job: dict) -> dict:
    """The files of LLaMA-Factory and ms-swift, as notebook 11 writes them, for a card."""
    on_cpu = {} if job["gpu"] else {"use_cpu": True}
    both = {
        "lora_rank": job["RANK"],
        "lora_alpha": job["ALPHA"],
        "lora_dropout": job["DROPOUT"],
        "per_device_train_batch_size": job["BATCH"],
        "gradient_accumulation_steps": 1,
        "max_steps": job["STEPS"],
        "learning_rate": job["RATE"],
        "lr_scheduler_type": job["SCHEDULE"],
        "adam_beta2": job["BETAS"][1],
        "weight_decay": job["WEIGHT_DECAY"],
        "max_grad_norm": job["CLIP"],
        "optim": job["OPTIMIZER"],
        "bf16": job["gpu"],
        "seed": job["SEED"],
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "output_dir": "out",
    } | on_cpu
    llamafactory = {
        "model_name_or_path": job["model"],
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_target": "all",
        "dataset_dir": ".",
        "dataset": "rows",
        "template": "smollm2",  # ChatML; the rows bring their own system message
        "train_on_prompt": True,
        "cutoff_len": LENGTH,
        "disable_shuffling": True,
        "overwrite_output_dir": True,
    }
    swift = {
        "model": job["model"],
        "model_type": "qwen2",
        "check_model": False,
        "torch_dtype": "bfloat16" if job["gpu"] else "float32",
        "template": "chatml",
        "loss_scale": "all",
        "tuner_type": "lora",
        "target_modules": ["all-linear"],
        "dataset": ["rows.jsonl"],
        "dataset_shuffle": False,
        "train_dataloader_shuffle": False,
        "split_dataset_ratio": 0,
        "max_length": LENGTH,
        "warmup_ratio": 0.0,
        "add_version": False,
    } | ({} if job["gpu"] else {"fp16": False})
    tags = {f"{role}_tag": role for role in ("role", "content", "user", "assistant", "system")}
    about = {"file_name": "rows.jsonl", "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": tags}
    return {
        "llamafactory.yaml": llamafactory | both,
        "dataset_info.json": {"rows": about},
        "swift.yaml": swift | both,
    }


def slug(name: str) -> str:
    """A file name: speed_trl_4_x_1024."""
    return re.sub("[^a-z0-9]+", "_", name)


def timing(began: float, ends: list[float], shapes: list) -> dict:
    """Seconds of each step; tokens a second by the median step after the first `WARM`, of what was fed.

    shapes: (rows, tokens) of every forward pass: a framework may make several of a step where nothing is said.
    """
    seconds = [after - before for before, after in zip([began, *ends], ends)]
    fed = sum(rows * tokens for rows, tokens in shapes) / len(ends)
    return {
        "seconds": [round(s, 4) for s in seconds],
        "first_step_s": round(seconds[0], 2),
        "passes_a_step": len(shapes) / len(ends),
        "tokens_per_s": round(fed / statistics.median(seconds[WARM:]), 1),
    }


def run(name: str, job: dict, work: Path, sites: Path, card: int, limit: int) -> dict:
    """One line of the record: what was seen, or the last lines before it failed."""
    folder = work / slug(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(work / "rows.jsonl", folder)
    (folder / "job.json").write_text(json.dumps(job | {"beside": str(sites / "beside")}))
    for file, content in configs(job).items():  # JSON is YAML
        (folder / file).write_text(json.dumps(content, indent=1))
    framework, recipe = SETTINGS[job["setting"]]
    paths = [str(sites / framework), *os.environ.get("PYTHONPATH", "").split(os.pathsep), str(ROOT)]
    env = os.environ | {
        "CUDA_VISIBLE_DEVICES": str(card),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(folder / "cache"),  # an older `datasets` fails on a newer one's files
        "MODELSCOPE_CACHE": str(folder / "modelscope"),
        "UNSLOTH_DISABLE_STATISTICS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "8",
        "TORCHINDUCTOR_COMPILE_THREADS": "8",  # settings run side by side
    }
    command = [sys.executable, "-m", "data.runs.bench_11_speed", "--inside", str(folder)]
    began = time.time()
    with open(folder / "log.txt", "w") as log:
        child = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            code = child.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            code = f"stopped after {limit} s"
    line = {
        "notebook": "11_frameworks",
        "name": name,
        "stage": "speed",
        "set": {key: value for key, value in job.items() if key.isupper()} | {"RECIPE": recipe},
        "model": "7B shape, random weights, NF4",
    }
    today = {"date": datetime.date.today().isoformat()}
    log = [part.rstrip()[:300] for part in (folder / "log.txt").read_text(errors="replace").splitlines()]
    if code != 0 or not (folder / "seen.json").exists():
        errors = [part for part in log if "Error" in part]
        return line | {"result": {"failed": code, "error": errors[-4:], "log": log[-15:]}, "environment": today}
    found = json.loads((folder / "seen.json").read_text())
    seen = found["seen"]
    result = timing(seen.pop("began"), seen.pop("ends"), seen["shapes"]) | seen
    said = [part for part in log if "Unsloth" in part][:20]
    result |= {"all_s": round(time.time() - began, 1), "notes": NOTES.get(framework, []), "said": said}
    return line | {"result": result, "environment": today | found["environment"]}


def bench(asked) -> None:
    """Every setting that is not done yet, one at a time on each card."""
    import torch
    from transformers import AutoTokenizer

    from data.runs import bench_13

    out, work, sites, gpu = asked.out.resolve(), asked.work.resolve(), asked.sites.resolve(), torch.cuda.is_available()
    out.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    write_rows(work, AutoTokenizer.from_pretrained(asked.tokenizer), max(BATCHES) * asked.steps)
    model = asked.model or work / "7B"
    if not model.exists():
        bench_13.write_shape("7B", model, asked.tokenizer, packed_as=torch.uint8)
    if gpu:
        torch.cuda.empty_cache()
    print("rows and weights: written", flush=True)
    left: queue.Queue = queue.Queue()
    for batch in asked.batches:
        for setting in SETTINGS:
            job = JOB | {"STEPS": asked.steps, "BATCH": batch, "AT_ONCE": len(asked.cards), "setting": setting}
            job |= {"model": str(model.resolve()), "ids": str(work / "ids.jsonl"), "gpu": gpu}
            name = f"speed, {setting}, {batch} x {LENGTH}"
            if not (out / f"{slug(name)}.json").exists() and (not asked.only or setting in asked.only):
                left.put((name, job))

    def worker(card):
        while True:
            try:
                name, job = left.get_nowait()
            except queue.Empty:
                return
            line = run(name, job, work, sites, card, asked.limit)
            part = out / f"{slug(name)}.part"
            part.write_text(json.dumps(line), encoding="utf-8")
            part.rename(part.with_suffix(".json"))
            r = line["result"]
            keys = ("failed", "error", "tokens_per_s", "peak_gib", "first_step_s", "all_s", "losses", "ids_crc")
            print(name, {key: r[key] for key in keys if key in r}, flush=True)

    workers = [threading.Thread(target=worker, args=(card,)) for card in asked.cards]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()


def merge(folder: Path, record: Path) -> None:
    """The settings' lines into the record: in place of those of the same names; other lines stay."""
    for path in sorted(folder.glob("speed_*.json")):
        bench_11.write(json.loads(path.read_text(encoding="utf-8")), record)
    print(f"{record.name}: {len(record.read_text(encoding='utf-8').splitlines())} lines")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench_11_speed")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--model", type=Path, help="a folder of NF4 weights, instead of random ones in a 7B's shape")
    parser.add_argument("--sites", type=Path, default=Path("sites"))
    parser.add_argument("--cards", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--only", nargs="+", help='settings, such as "trl" "unsloth, plain checkpointing"')
    parser.add_argument("--limit", type=int, default=150, help="seconds of one setting")
    parser.add_argument("--merge", type=Path)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        inside(asked.inside)
    elif asked.merge:
        merge(asked.merge, ROOT / "data" / "runs" / "11.jsonl")
    else:
        bench(asked)


if __name__ == "__main__":
    main()
