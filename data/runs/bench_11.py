"""The small job of notebook 11 in other frameworks: what each one really feeds to the model, and the losses that it logs.

    python data/runs/bench_11.py --job build/11 --llamafactory lf --swift sw --xtuner xt --trl .venv --out data/runs/11.jsonl

Run it from the course's root with the course's Python. The job folder holds the files that the notebook writes from its one
dict: `llamafactory.yaml` with `dataset_info.json`, and `swift.yaml`. xtuner's file was written by hand: `xtuner_11.py` beside this
one, copied into the folder. trl has no such file: its settings stand in `train_trl`. Paths in the files are relative to the job
folder, but for the model's. Every framework starts by its own command in its own environment; `watch` only listens.
Lines of other names stay in the out file; `--only "swift" "xtuner, own template"` runs these lines alone. A run lasts 30 to 60 s.

The environments, made in November 2026 (Python 3.11; `torchaudio` and `torchvision` are stubs: only text is trained here):

    python3 -m venv lf && lf/bin/pip install torch==2.13.0 && lf/bin/pip install --no-deps llamafactory==0.9.5
    lf/bin/pip install torch==2.13.0 "accelerate<=1.11.0" "datasets<=4.0.0" "peft>=0.18,<=0.18.1" "transformers<=5.6.0" \
        "trl<=0.24.0" "av<=16" einops omegaconf pandas protobuf pydantic pyyaml scipy sentencepiece tiktoken fire "tyro<0.9" matplotlib
    echo '__version__ = "0.0.0"' > lf/lib/python3.11/site-packages/torchaudio.py

    python3 -m venv sw && sw/bin/pip install torch==2.13.0 && sw/bin/pip install torch==2.13.0 ms-swift==4.6.0

    python3 -m venv xt && xt/bin/pip install torch==2.13.0 && xt/bin/pip install --no-deps xtuner==0.2.0
    xt/bin/pip install torch==2.13.0 transformers==4.48.0 mmengine==0.10.6 "peft>=0.14,<0.16" "datasets>=3.2,<4" "accelerate<1.5" \
        einops loguru openpyxl scipy sentencepiece tiktoken scikit-image transformers-stream-generator "setuptools<81"
    mkdir -p xt/lib/python3.11/site-packages/torchvision/transforms && cd xt/lib/python3.11/site-packages/torchvision
    echo '__version__ = "0.0.0"' > __init__.py && touch transforms/__init__.py
    echo 'class InterpolationMode: BICUBIC = "bicubic"' > transforms/functional.py

Where an environment holds a file `install_minutes`, its number is recorded too.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib.metadata
import inspect
import json
import os
import re
import runpy
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JOB = {  # the config files say the same in each framework's words
    "TASK": "routing_words",
    "ROWS": 40,
    "ROWS_SEED": 0,
    "STEPS": 10,
    "BATCH": 4,
    "RANK": 16,
    "ALPHA": 32,
    "DROPOUT": 0.0,
    "RATE": 1e-3,
    "SCHEDULE": "constant",
    "BETAS": [0.9, 0.999],
    "WEIGHT_DECAY": 0.0,
    "CLIP": 1.0,
    "MAX_LENGTH": 256,
    "DTYPE": "float32",
    "CHECKPOINTING": False,
    "SEED": 42,
    "ORDER": "as in the file",
}
FILES = {  # a framework's config files; the first one is its command's argument
    "trl": (),
    "llamafactory": ("llamafactory.yaml", "dataset_info.json"),
    "swift": ("swift.yaml",),
    "xtuner": ("xtuner.py",),
}
XTUNER = Path(__file__).with_name("xtuner_11.py")
PACKAGES = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "tokenizers")
OWN_PACKAGE = {"llamafactory": "llamafactory", "swift": "ms-swift", "xtuner": "xtuner"}
VARIANTS = {
    "trl": ("", "no system message"),
    "llamafactory": ("", "no system message"),
    "swift": ("", "no system message"),
    "xtuner": ("", "own template"),
}
NOTES = {
    "trl": ["nothing patched"],
    "llamafactory": ["torchaudio is a stub of one line: data/mm_plugin.py imports it, for sound only"],
    "swift": [
        "nothing patched",
        "the model gets the labels from a batch's first trained position on alone (labels_kept): the others are written as -100",
    ],
    "xtuner": [
        "torchvision is a stub: it is imported at the start, for images only",
        "torch.cpu.is_bf16_supported, which torch does not have, is set to say no",
        "the model's folder is written anew for transformers 4.48: tokenizer class and rope_theta (`older_folder`)",
        "a cache of `datasets` of its own: it cannot read what the other frameworks' newer `datasets` wrote for the same file",
    ],
}


# ---------------------------------------------------------------- inside a framework's environment


def watch(framework: str, seen: dict) -> None:
    """Note what each forward pass is given, what is logged as loss, and when each optimizer step ended; change nothing."""
    from peft import PeftModelForCausalLM
    from torch.optim.optimizer import register_optimizer_step_post_hook

    seen |= {"ids": [], "labels": [], "losses": [], "ends": [], "padded_to": [], "padding_ids": [], "labels_kept": []}
    forward = PeftModelForCausalLM.forward

    @functools.wraps(forward)
    def noted_forward(self, *args, **batch):
        assert not args, "a batch without names: note it by hand"
        if "trainable" not in seen:
            seen["trainable"] = sum(p.numel() for p in self.parameters() if p.requires_grad)
            seen["dtypes"] = sorted({str(p.dtype) for p in self.parameters()})
        note_batch(batch, seen)
        return forward(self, **batch)

    PeftModelForCausalLM.forward = noted_forward

    def note_step(optimizer, *_):
        seen["ends"].append(time.perf_counter())
        group = optimizer.param_groups[0]
        seen["optimizer"] = {k: group[k] for k in ("lr", "betas", "eps", "weight_decay")}

    register_optimizer_step_post_hook(note_step)
    if framework == "xtuner":
        note_losses_of_mmengine(seen)
    else:
        note_losses_of_transformers(seen)


def note_batch(batch: dict, seen: dict) -> None:
    """The rows of one batch without their padding. Labels that a framework has cut on the left come back as -100."""
    ids, labels, mask = batch["input_ids"], batch["labels"], batch.get("attention_mask")
    width = ids.shape[1]
    seen["padded_to"].append(width)
    seen["labels_kept"].append(labels.shape[1])
    for row, wanted, real in zip(ids.tolist(), labels.tolist(), [None] * len(ids) if mask is None else mask.tolist()):
        wanted = [-100] * (width - len(wanted)) + wanted
        places = [i for i in range(width) if real is None or real[i]]
        seen["ids"].append([row[i] for i in places])
        seen["labels"].append([wanted[i] for i in places])
        seen["padding_ids"] = sorted({*seen["padding_ids"], *(row[i] for i in {*range(width)} - {*places})})


def note_losses_of_transformers(seen: dict) -> None:
    """LLaMA-Factory, ms-swift and trl build on transformers' trainer: its log, before it is rounded for the screen."""
    from transformers import Trainer

    log = Trainer.log

    @functools.wraps(log)
    def noted_log(self, logs, *args, **kwargs):
        if "loss" in logs:
            seen["losses"].append(float(logs["loss"]))
        return log(self, logs, *args, **kwargs)

    Trainer.log = noted_log


def note_losses_of_mmengine(seen: dict) -> None:
    """xtuner builds on mmengine, which logs what `parse_losses` returns."""
    from mmengine.model import BaseModel

    parse = BaseModel.parse_losses

    @functools.wraps(parse)
    def noted_parse(self, losses):
        total, logged = parse(self, losses)
        seen["losses"].append(float(logged["loss"]))
        return total, logged

    BaseModel.parse_losses = noted_parse


def train_trl(job: Path) -> None:
    """The job in trl, with the settings that the other frameworks read from a file."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    path = os.environ["BENCH_MODEL"]
    rows = [json.loads(line)["messages"] for line in (job / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    settings = SFTConfig(
        output_dir=str(job / "out_trl"),
        max_length=256,
        train_sampling_strategy="sequential",
        per_device_train_batch_size=4,
        max_steps=10,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        activation_checkpointing=False,
        bf16=False,
        use_cpu=True,
        seed=42,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(path, dtype="float32"),
        processing_class=AutoTokenizer.from_pretrained(path),
        args=settings,
        train_dataset=Dataset.from_list([{"prompt": row[:-1], "completion": row[-1:]} for row in rows]),
        peft_config=LoraConfig(
            r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    trainer.train()


def start(framework: str, job: Path) -> None:
    """What the framework's command does, in this process."""
    config = str(job / FILES[framework][0]) if FILES[framework] else ""
    if framework == "trl":
        train_trl(job)
    elif framework == "llamafactory":  # llamafactory-cli train llamafactory.yaml
        from llamafactory.cli import main as command

        sys.argv = ["llamafactory-cli", "train", config]
        command()
    elif framework == "swift":  # swift sft swift.yaml: reads the file, then starts swift/cli/sft.py with its settings
        from swift.cli.main import parse_yaml_args

        settings = [config]
        parse_yaml_args(settings)
        sys.argv = ["sft", *settings]
        runpy.run_module("swift.cli.sft", run_name="__main__")
    elif framework == "xtuner":  # xtuner train xtuner.py --work-dir ...
        sys.argv = ["train.py", config, "--work-dir", str(job / "out_xtuner")]
        runpy.run_module("xtuner.tools.train", run_name="__main__")


def inside(framework: str, job: Path, dump: Path) -> None:
    """Run the framework's training and write what was seen, with the versions in this environment."""
    import torch

    if framework == "xtuner":
        torch.cpu.is_bf16_supported = lambda *_: False
    seen: dict = {}
    watch(framework, seen)
    start(framework, job)
    found = {"card": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU only"}
    found["python"] = sys.version.split()[0]
    for name in filter(None, (OWN_PACKAGE.get(framework), *PACKAGES)):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    dump.write_text(json.dumps({"seen": seen, "environment": found}), encoding="utf-8")


# ---------------------------------------------------------------- outside


def write_rows(job: Path) -> None:
    """The job's rows as chats, one JSON line each: trl, LLaMA-Factory, ms-swift and xtuner all read this form."""
    from helpers import tasks

    rows = tasks.load(JOB["TASK"], "train", n=JOB["ROWS"], seed=JOB["ROWS_SEED"])
    chats = [c["prompt"] + c["completion"] for c in tasks.chat(rows, tasks.TASKS[JOB["TASK"]].system)]
    lines = [json.dumps({"messages": chat}, ensure_ascii=False) + "\n" for chat in chats]
    (job / "rows.jsonl").write_text("".join(lines), encoding="utf-8")


def variant_of(job: Path, framework: str, variant: str) -> Path:
    """A folder with the job changed in one thing; the job itself where nothing is to change."""
    if not variant:
        return job
    folder = job / variant.replace(" ", "_")
    folder.mkdir(exist_ok=True)
    shutil.copy(job / "rows.jsonl", folder)
    for name in FILES[framework]:
        text = (job / name).read_text(encoding="utf-8")
        if variant == "own template":  # the framework's own ChatML
            text, changed = re.subn(
                "(?m)^prompt_template = .*$",
                "from xtuner.utils import PROMPT_TEMPLATE\nprompt_template = PROMPT_TEMPLATE.qwen_chat",
                text,
            )
            assert changed == 1, f"{name} has {changed} lines that begin with `prompt_template = `"
        (folder / name).write_text(text, encoding="utf-8")
    if variant == "no system message":
        rows = [json.loads(line) for line in (job / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
        lines = [json.dumps({"messages": row["messages"][1:]}, ensure_ascii=False) + "\n" for row in rows]
        (folder / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def older_folder(model: Path, folder: Path) -> None:
    """The same weights and tokenizer in a folder that transformers 4.48 reads: it knows neither `TokenizersBackend` nor
    `rope_parameters`, and would take a rope_theta of 10,000 without a word."""
    folder.mkdir(exist_ok=True)
    config = json.loads((model / "config.json").read_text())
    config |= {"rope_theta": config.pop("rope_parameters")["rope_theta"], "torch_dtype": config.pop("dtype")}
    tokenizer = json.loads((model / "tokenizer_config.json").read_text())
    tokenizer = {k: v for k, v in tokenizer.items() if k.endswith("_token") or k == "model_max_length"}
    tokenizer |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": (model / "chat_template.jinja").read_text(encoding="utf-8"),
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    for name in ("model.safetensors", "tokenizer.json"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to((model / name).resolve())


def config_lines(framework: str, job: Path) -> int:
    """Lines that a user writes: of the config files, or of `train_trl` with its imports; neither empty ones nor comments."""
    texts = [(job / name).read_text(encoding="utf-8") for name in FILES[framework]] or [inspect.getsource(train_trl)]
    return sum(
        bool(line.strip()) and not line.lstrip().startswith(("#", '"""')) for t in texts for line in t.split("\n")
    )


def run(framework: str, variant: str, job: Path, environment: Path, model: str) -> dict:
    """One line of the record."""
    folder, name = variant_of(job, framework, variant), ", ".join(filter(None, (framework, variant)))
    if framework == "xtuner":
        older_folder(Path(model), folder / "model_for_xtuner")
    dump = folder / f"seen_{framework}.json"
    dump.unlink(missing_ok=True)
    python = environment.absolute() / "bin" / "python"
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "BENCH_MODEL": model}
    offline["HF_DATASETS_CACHE"] = str(
        folder / f"cache_{framework}"
    )  # an older `datasets` fails on a newer one's files
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    command = [python, __file__, "--job", folder, "--inside", framework, "--dump", dump]
    began = time.perf_counter()
    with open(folder / f"log_{framework}.txt", "w") as log:
        done = subprocess.run(
            command, env=os.environ | offline | {"PATH": path}, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    seconds = time.perf_counter() - began
    if not dump.exists():
        raise SystemExit(f"{name} failed with {done.returncode}: see {log.name}")
    found = json.loads(dump.read_text(encoding="utf-8"))
    seen, minutes = found["seen"], environment / "install_minutes"
    ends = seen.pop("ends")
    assert len(ends) == len(seen["losses"]) == JOB["STEPS"], (name, len(ends), seen["losses"])
    assert len(seen["ids"]) == JOB["STEPS"] * JOB["BATCH"], (name, len(seen["ids"]))
    result = {
        **seen,
        "seconds_per_step": round(statistics.mean(b - a for a, b in zip(ends, ends[1:])), 3),  # steps 2 to 10
        "seconds": round(seconds, 1),
        "config_lines": config_lines(framework, job),
        "install_minutes": float(minutes.read_text()) if minutes.exists() else None,
        "notes": NOTES[framework],
    }
    print(f"{name}: {seconds:.0f} s, {result['seconds_per_step']} s a step, losses {seen['losses']}")
    return {
        "notebook": "11_frameworks",
        "name": name,
        "stage": "run",
        "set": JOB,
        "model": "SmolLM2-135M-Instruct",
        "result": result,
        "environment": {"date": datetime.date.today().isoformat(), **found["environment"]},
    }


def write(line: dict, out: Path) -> None:
    """Put a line into the record: in place of the one of the same name, else at the end."""
    lines = {}
    if out.exists():
        lines = {r["name"]: r for r in map(json.loads, out.read_text(encoding="utf-8").splitlines())}
    lines[line["name"]] = line
    out.write_text("".join(json.dumps(r, separators=(",", ":")) + "\n" for r in lines.values()), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--job", type=Path, required=True, help="folder of the config files")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "runs" / "11.jsonl")
    parser.add_argument("--only", nargs="+", help='names of lines, such as "xtuner, own template"')
    for framework in FILES:
        parser.add_argument(f"--{framework}", type=Path, help=f"environment of {framework}")
    parser.add_argument("--inside", choices=FILES, help=argparse.SUPPRESS)
    parser.add_argument("--dump", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    job = args.job.resolve()
    if args.inside:
        return inside(args.inside, job, args.dump)
    sys.path.insert(0, str(ROOT))
    from helpers import models

    write_rows(job)
    shutil.copy(XTUNER, job / "xtuner.py")
    model = models.locate("").path
    for framework, variants in VARIANTS.items():
        for variant in variants if getattr(args, framework) else ():
            if not args.only or ", ".join(filter(None, (framework, variant))) in args.only:
                write(run(framework, variant, job, getattr(args, framework), model), args.out)


if __name__ == "__main__":
    main()
