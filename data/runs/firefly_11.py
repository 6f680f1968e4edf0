"""Firefly's config of notebook 11's job, read by Firefly's own parser; nothing is trained.

    python -m data.runs.firefly_11 CHECKOUT COMMIT       # a checkout of github.com/yangjianxin1/Firefly and its commit

Its script wants fp16 or bf16 and packages of 2023, so it was not run. What can be checked without them: whether the file is one
that its parser takes, with every key known and every value as it was meant, and whether a key that it does not know is refused.
The line goes into data/runs/11.jsonl; the file itself is made by `config`.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path

from data.runs import bench_11


def config() -> dict:
    """The job (`bench_11.JOB`) in Firefly's words; `bf16` because its script refuses float32."""
    job = bench_11.JOB
    return {
        "model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "train_file": "rows.jsonl",
        "template_name": "qwen",
        "task_type": "sft",
        "train_mode": "lora",
        "lora_rank": job["RANK"],
        "lora_alpha": job["ALPHA"],
        "lora_dropout": job["DROPOUT"],
        "max_seq_length": job["MAX_LENGTH"],
        "per_device_train_batch_size": job["BATCH"],
        "gradient_accumulation_steps": 1,
        "max_steps": job["STEPS"],
        "learning_rate": job["RATE"],
        "lr_scheduler_type": job["SCHEDULE"],
        "weight_decay": job["WEIGHT_DECAY"],
        "max_grad_norm": job["CLIP"],
        "gradient_checkpointing": job["CHECKPOINTING"],
        "bf16": True,
        "seed": job["SEED"],
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "remove_unused_columns": False,
        "output_dir": "out/firefly",
    }


def parsed(file: Path, arguments: type) -> dict:
    """What the parser of Firefly's `train.py` makes of a file: {key: value}. ValueError for a key that it does not know."""
    from transformers import HfArgumentParser, TrainingArguments

    own, training = HfArgumentParser((arguments, TrainingArguments)).parse_json_file(json_file=str(file))
    return {
        key: getattr(part, key)
        for part in (training, own)
        for key in json.loads(file.read_text())
        if hasattr(part, key)
    }


def main(checkout: Path, commit: str) -> None:
    """Reads the file, then one with a misspelt key, and writes the line."""
    sys.path.insert(0, str(checkout))
    from component.argument import CustomizedArguments

    meant = config()
    here = meant | {"use_cpu": True}  # transformers refuses bf16 where no card is, unless that is said
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "firefly.json"
        file.write_text(json.dumps(here))
        found = parsed(file, CustomizedArguments)
        file.write_text(json.dumps(here | {"lora_rnak": 16}))
        try:
            parsed(file, CustomizedArguments)
            refused = ""
        except ValueError as error:
            refused = str(error)[:200]
    plain = lambda value: getattr(value, "value", value)  # an enumeration's text
    other = {
        key: [value, str(plain(found.get(key)))] for key, value in meant.items() if plain(found.get(key)) != value
    }
    line = {
        "notebook": "11_frameworks",
        "name": "firefly, config alone",
        "stage": "parsed",
        "set": meant,
        "result": {"keys": len(meant), "known": len(found) - 1, "read_otherwise": other, "misspelt": refused},
        "environment": {
            "date": datetime.date.today().isoformat(),
            "firefly": commit,
            "python": sys.version.split()[0],
            "transformers": importlib.metadata.version("transformers"),
        },
    }
    bench_11.write(line, bench_11.ROOT / "data" / "runs" / "11.jsonl")
    print(json.dumps(line["result"], indent=1))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2])
