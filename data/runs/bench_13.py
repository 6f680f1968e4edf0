"""The script of notebook 13 on several cards: losses, exact match, tokens/s and GiB a card, each setting a JSON file.

    python -m data.runs.bench_13 --part shapes --out out/13          # random weights at the shape of a 7B, a 32B, a 72B
    python -m data.runs.bench_13 --part real --model FOLDER --out out/13   # a real model, also scored on the test tickets
    python -m data.runs.bench_13 --part selection --out out/13       # on a CPU: rows from a million vectors
    python -m data.runs.bench_13 --merge out/13                      # what lies there, as data/runs/13.jsonl

Run it from the course's root on a machine with two or four cards. `train.py` is taken from the notebook's own cells and runs
unchanged; only its job file and its launcher differ. Settings that are done are skipped. A setting that fails is recorded with
the last lines it printed: that a model does not fit on one card is a result. `capped.py` around `train.py` limits a card's memory.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from helpers import course, hardware, planner

ROOT = Path(__file__).resolve().parents[2]
TOKENS = 1024  # of each row
CONFIGS = {  # config.json's numbers; 32B and 72B from Qwen2.5's own
    "7B": planner.SHAPES["7B"],
    "32B": planner.SHAPES["7B"]
    | dict(
        hidden_size=5120, num_hidden_layers=64, intermediate_size=27648, num_attention_heads=40, num_key_value_heads=8
    ),
    "72B": planner.SHAPES["7B"]
    | dict(
        hidden_size=8192, num_hidden_layers=80, intermediate_size=29568, num_attention_heads=64, num_key_value_heads=8
    ),
}
SMALL_CARD = 24.0  # GiB, an RTX 4090's
JOB = {"revision": None, "rank": 16, "alpha": 32, "rate": 3e-4, "seed": 0, "save_every": 0, "four_bit": True}

# what `accelerate launch` reads
FSDP = """compute_environment: LOCAL_MACHINE
distributed_type: FSDP
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_reshard_after_forward: true
  fsdp_state_dict_type: FULL_STATE_DICT
  fsdp_cpu_ram_efficient_loading: false
mixed_precision: bf16
num_machines: 1
num_processes: {processes}
"""
DEEPSPEED = """compute_environment: LOCAL_MACHINE
distributed_type: DEEPSPEED
deepspeed_config:
  zero_stage: 2
mixed_precision: bf16
num_machines: 1
num_processes: {processes}
"""
CAPPED = """import os, runpy, sys
import torch
cap = float(os.environ["CARD_GIB"])
if cap and torch.cuda.is_available():
    card = int(os.environ.get("LOCAL_RANK", 0))
    torch.cuda.set_device(card)
    torch.cuda.set_per_process_memory_fraction(cap * 2**30 / torch.cuda.get_device_properties(card).total_memory, card)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


SHAPE_SETTINGS = (  # each group at once, on cards of its own: name, shape, launcher, cards, rows a pass, GiB a card (0: all of it)
    (("7B-1", "7B", "python", (0,), 4, 0), ("7B-fsdp-2", "7B", "fsdp", (2, 3), 4, 0)),
    (("7B-ddp-2", "7B", "ddp", (0, 1), 4, 0), ("7B-1-capped", "7B", "python", (2,), 4, SMALL_CARD)),
    (("7B-ddp-4", "7B", "ddp", (0, 1, 2, 3), 4, 0),),
    (("7B-fsdp-4", "7B", "fsdp", (0, 1, 2, 3), 4, 0),),
    (("32B-1-capped", "32B", "python", (2,), 1, SMALL_CARD), ("32B-1", "32B", "python", (3,), 1, 0)),
    (("32B-fsdp-2-capped", "32B", "fsdp", (2, 3), 1, SMALL_CARD),),
    (("72B-fsdp-4-capped", "72B", "fsdp", (0, 1, 2, 3), 1, SMALL_CARD),),
    (("72B-fsdp-2-capped", "72B", "fsdp", (0, 1), 1, SMALL_CARD), ("72B-1", "72B", "python", (2,), 1, 0)),
    (("7B-two-seen", "7B", "two seen", (0, 1), 4, 0), ("7B-fsdp-2-from-card", "7B", "fsdp from card", (2, 3), 4, 0)),
)
REAL_SETTINGS = (  # `routing_words`, 16 rows a step in every setting: name, launcher, cards, rows a pass; not recorded yet
    (("real-ddp-4", "ddp", (0, 1, 2, 3), 4),),
    (("real-1", "python", (0,), 8),),
    (("real-ddp-2", "ddp", (0, 1), 8),),
    (("real-fsdp-2", "fsdp", (0, 1), 8),),
    (("real-deepspeed-2", "deepspeed", (0, 1), 8),),
)


def page_script(name: str) -> str:
    """A script of the notebook, from its `%%writefile` cells."""
    cells = json.loads((ROOT / "notebooks" / "13_beyond_one_machine.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]).split("\n", 1) for cell in cells]
    parts = [body[1] for body in code if body[0].split()[:1] == ["%%writefile"] and body[0].split()[-1] == name]
    assert parts, f"notebook 13 writes no {name}"
    return "\n".join(parts)


def write_script(folder: Path) -> None:
    """The notebook's `train.py`, and `capped.py` beside it."""
    (folder / "train.py").write_text(page_script("train.py"), encoding="utf-8")
    (folder / "capped.py").write_text(CAPPED, encoding="utf-8")


def write_shape(name: str, folder: Path, tokenizer: Path, packed_as=None) -> None:
    """A folder with NF4 weights of that shape: one random layer, quantized once, under every layer's name.

    `packed_as`: the dtype that holds the 4-bit numbers; FSDP wants that of the other weights, most folders have uint8.
    """
    import torch
    from bitsandbytes.functional import quantize_4bit
    from safetensors.torch import save_file
    from transformers import Qwen2Config

    storage = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    packed_as = packed_as or storage
    config = Qwen2Config(max_position_embeddings=4096, **CONFIGS[name])
    width, middle = config.hidden_size, config.intermediate_size
    keys = width // config.num_attention_heads * config.num_key_value_heads
    of_attention = {
        "q_proj": (width, width),
        "k_proj": (keys, width),
        "v_proj": (keys, width),
        "o_proj": (width, width),
    }
    of_mlp = {"gate_proj": (middle, width), "up_proj": (middle, width), "down_proj": (width, middle)}
    torch.manual_seed(0)
    layer = {
        "input_layernorm.weight": torch.ones(width, dtype=storage),
        "post_attention_layernorm.weight": torch.ones(width, dtype=storage),
    }
    for block, matrices in (("self_attn", of_attention), ("mlp", of_mlp)):
        for matrix, size in matrices.items():
            full = (0.02 * torch.randn(size)).to(storage)
            packed, state = quantize_4bit(
                full, blocksize=64, compress_statistics=True, quant_type="nf4", quant_storage=packed_as
            )
            layer[f"{block}.{matrix}.weight"] = packed.cpu()
            for key, value in state.as_dict(packed=True).items():
                layer[f"{block}.{matrix}.weight.{key}"] = value.cpu()
            if matrix in ("q_proj", "k_proj", "v_proj"):
                layer[f"{block}.{matrix}.bias"] = torch.zeros(size[0], dtype=storage)
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    files = {}
    for i in range(config.num_hidden_layers):
        files[f"layer-{i:02}.safetensors"] = {f"model.layers.{i}.{key}": value for key, value in layer.items()}
    ends = {"model.norm.weight": torch.ones(width, dtype=storage)}
    for key in ("model.embed_tokens.weight", "lm_head.weight"):
        ends[key] = (0.02 * torch.randn(config.vocab_size, width)).to(storage).cpu()
    files["ends.safetensors"] = ends
    index = {
        "metadata": {"total_size": 0},
        "weight_map": {key: file for file, tensors in files.items() for key in tensors},
    }
    for file, tensors in files.items():
        save_file(tensors, part / file, metadata={"format": "pt"})
    (part / "model.safetensors.index.json").write_text(json.dumps(index))
    kind = "bfloat16" if storage == torch.bfloat16 else "float32"
    quantization = dict(
        quant_method="bitsandbytes", load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    )
    quantization |= dict(bnb_4bit_compute_dtype=kind, bnb_4bit_quant_storage=str(packed_as).removeprefix("torch."))
    config = config.to_dict() | {
        "architectures": ["Qwen2ForCausalLM"],
        "quantization_config": quantization,
        "dtype": kind,
    }
    (part / "config.json").write_text(json.dumps(config))
    for file in tokenizer.glob("*"):
        if file.name.startswith(("tokenizer", "special", "vocab", "merges", "chat_template", "added")):
            shutil.copy(file, part)
    part.rename(folder)


def random_rows(path: Path, n: int) -> None:
    """`n` rows of token ids, all `TOKENS` long, made of fifty phrases so that there is something to learn."""
    import numpy as np

    rng = np.random.default_rng(0)
    phrases = rng.integers(100, 40_000, (50, 8))
    rows = [phrases[rng.integers(0, 50, TOKENS // 8)].ravel().tolist() for _ in range(n)]
    path.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in rows))


def command(launcher: str, processes: int, folder: Path) -> list[str]:
    """How the launcher starts `train.py` with that many processes."""
    script = ["capped.py", "train.py", "job.json"]
    ports = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    if launcher in ("python", "two seen"):
        return [sys.executable, *script]
    if launcher == "ddp":
        return [sys.executable, "-m", "torch.distributed.run", *ports, "--nproc-per-node", str(processes), *script]
    with socket.socket() as free:
        free.bind(("", 0))
        port = str(free.getsockname()[1])
    text = (DEEPSPEED if launcher == "deepspeed" else FSDP).format(processes=processes)
    (folder / "launch.yaml").write_text(text)
    return [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        "launch.yaml",
        "--main_process_port",
        port,
        *script,
    ]


def run(
    name: str, launcher: str, cards: tuple[int, ...], job: dict, cap: float, work: Path, seconds: int = 200
) -> dict:
    """One setting in a folder of its own: what `train.py` wrote, or the last lines before it failed."""
    import torch

    folder = work / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_script(folder)
    (folder / "job.json").write_text(json.dumps(job))
    processes = 1 if launcher == "two seen" else len(cards)
    env = os.environ | {
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, cards)),
        "CARD_GIB": str(cap),
        "OMP_NUM_THREADS": "4",
    }
    if launcher == "deepspeed":  # kept apart: other libraries change what they do when they see it
        env["PYTHONPATH"] = os.environ.get("DEEPSPEED_PATH", "") + ":" + os.environ.get("PYTHONPATH", "")
    began = time.time()
    with open(folder / "log.txt", "w") as log:
        child = subprocess.Popen(
            command(launcher, processes, folder), cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            code = child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            code = "timeout"
    line = {
        "name": name,
        "launcher": launcher,
        "processes": processes,
        "cards": len(cards),
        "cap_gib": cap,
        "stage": "run",
        "set": job,
    }
    line |= {
        "wall_s": round(time.time() - began, 1),
        "date": datetime.date.today().isoformat(),
        "versions": hardware.versions(),
    }
    line["card"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    results = list(folder.glob("run-*/result.json"))
    if code == 0 and results:
        return line | {"result": json.loads(results[0].read_text())}
    text = (folder / "log.txt").read_text(errors="replace").splitlines()
    errors = [part for part in text if "Error" in part] or text[-3:]
    return line | {"failed": code, "error": [part.strip()[:300] for part in errors[:4]]}


def score(folder: Path, model: str, rows: int) -> dict:
    """Exact match of the adapter in `folder` on the test tickets, and the verdicts as bits."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    from helpers import evaluate, recordings, tasks

    half = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=half
    )
    where = {"": 0 if torch.cuda.is_available() else "cpu"}
    base = AutoModelForCausalLM.from_pretrained(
        model, quantization_config=nf4, dtype=half, device_map=where, use_safetensors=True
    )
    tuned = PeftModel.from_pretrained(base, next(folder.glob("run-*/adapter"))).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.padding_side = "left"
    test = tasks.load("routing_words", "test", n=rows, seed=0 if rows < 640 else None)
    prompts = [chat["prompt"] for chat in tasks.chat(test, tasks.TASKS["routing_words"].system)]
    answers = evaluate.generate(tuned, tokenizer, prompts, 24, 160)
    right = [
        tasks.check_answer("routing_words", a, row["completion"]).exact for a, row in zip(answers, test, strict=True)
    ]
    return {"n": len(right), "exact": sum(right) / len(right), "bits": recordings.pack(right)}


def shapes(out: Path, work: Path, tokenizer: Path, only: list[str], steps: int = 8) -> None:
    """Every setting with random weights that is not done yet."""
    work.mkdir(parents=True, exist_ok=True)
    random_rows(work / "rows.jsonl", 16 * steps)

    def one(setting):
        name, shape, launcher, cards, a_pass, cap = setting
        job = JOB | {
            "model": str(work / shape),
            "rows": str(work / "rows.jsonl"),
            "rows_a_pass": a_pass,
            "steps": steps,
        }
        job |= {
            "rows_a_step": a_pass * (1 if launcher == "two seen" else len(cards)),
            "load_on_cpu": launcher == "fsdp",
            "checkpointing": True,
        }
        keep(run(name, launcher, cards, job, cap, work) | {"shape": shape, "tokens_a_row": TOKENS}, out)

    with ThreadPoolExecutor() as pool:
        needed = dict.fromkeys(s[1] for group in SHAPE_SETTINGS for s in group)
        written = {}
        for shape in needed:  # one after the other, while the first ones train
            before = list(written.values())

            def write(shape=shape, before=before):
                for earlier in before:
                    earlier.result()
                if not (work / shape).exists():
                    write_shape(shape, work / shape, tokenizer)
                print(f"{shape}: written", flush=True)

            written[shape] = pool.submit(write)
        for group in SHAPE_SETTINGS:
            left = [s for s in group if not (out / f"{s[0]}.json").exists() and (not only or s[0] in only)]
            for setting in left:
                written[setting[1]].result()
            list(pool.map(one, left))


def real(out: Path, work: Path, model: str, only: list[str], steps: int, test_rows: int) -> None:
    """Every setting with the real model that is not done yet, and its score."""
    from helpers import tasks

    work.mkdir(parents=True, exist_ok=True)
    tickets = tasks.chat(tasks.load("routing_words", "train", n=4000, seed=0), tasks.TASKS["routing_words"].system)
    (work / "tickets.jsonl").write_text("".join(json.dumps(ticket) + "\n" for ticket in tickets), encoding="utf-8")

    def one(setting):
        name, launcher, cards, a_pass = setting
        job = JOB | {
            "model": model,
            "rows": str(work / "tickets.jsonl"),
            "rows_a_pass": a_pass,
            "rows_a_step": 16,
            "steps": steps,
        }
        job |= {"load_on_cpu": launcher == "fsdp", "checkpointing": False}
        return run(name, launcher, cards, job, 0, work) | {"task": "routing_words"}

    with ThreadPoolExecutor() as pool:
        for group in REAL_SETTINGS:
            left = [s for s in group if not (out / f"{s[0]}.json").exists() and (not only or s[0] in only)]
            for line in list(pool.map(one, left)):
                if "result" in line:
                    line["score"] = score(work / line["name"], model, test_rows)
                keep(line, out)


def selection(
    out: Path, work: Path, sizes=(125_000, 250_000, 500_000, 1_000_000), rows: int = 25_000, k: int = 200
) -> None:
    """The notebook's `select_rows.py` on ever more shards of one folder, and the choice from all rows at once beside it."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from helpers import embed, tasks

    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "select_rows.py").write_text(page_script("select_rows.py"), encoding="utf-8")
    real_vectors = embed.sentences(
        [row["prompt"] for row in tasks.load("routing_words", "train", n=1000, seed=0)], bar=False
    )
    rng = np.random.default_rng(0)
    folder, exact = work / "vectors", work / "exact.py"
    folder.mkdir()
    exact.write_text(EXACT)

    def watched(command: list[str]) -> tuple[float, float, str]:
        """Seconds, GiB at the peak of all its processes together, and what it printed."""
        began = time.time()
        child = subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        peak = course.PeakMemory(child.pid)
        peak.start()
        said, _ = child.communicate()
        peak.stop.set()
        assert child.returncode == 0, command
        return time.time() - began, peak.gib, said

    for size in sizes:
        for number in range(len(list(folder.glob("shard-*"))), size // rows):
            x = real_vectors[rng.integers(0, len(real_vectors), rows)]
            x = (x + rng.normal(0, 0.01, x.shape)).astype(np.float16)
            column = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
            ids = np.arange(number * rows, (number + 1) * rows)
            pq.write_table(pa.table({"id": ids, "vector": column}), folder / f"shard-{number:04}.parquet")
        for picks in folder.glob("picks-*"):
            picks.unlink()
        wall, peak, said = watched([sys.executable, "select_rows.py", "vectors", str(k)])
        line = {
            "name": f"selection-{size}",
            "part": "selection",
            "rows": size,
            "rows_a_shard": rows,
            "k": k,
            "stage": "run",
            "set": {},
        }
        line |= {
            "wall_s": round(wall, 1),
            "peak_gib": round(peak, 2),
            "said": said.strip(),
            "cpu": "two cores, AVX-512",
        }
        known = (
            out / f"{line['name']}.json"
        )  # the rows chosen are the same in every run: only the time is measured again
        if known.exists() and json.loads(known.read_text())["said"] == line["said"]:
            old = json.loads(known.read_text())
            line |= {key: old[key] for key in ("radius", "at_once_radius")}
            line["walls_s"] = [*old["walls_s"], line["wall_s"]]
            line["wall_s"] = min(line["walls_s"])  # of several runs the least disturbed
        else:
            _, _, radii = watched([sys.executable, "exact.py", str(k)])
            line |= dict(zip(("radius", "at_once_radius"), map(float, radii.split()), strict=True))
            line["walls_s"] = [line["wall_s"]]
        line["date"] = datetime.date.today().isoformat()
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{line['name']}.json").write_text(json.dumps(line))
        print(line, flush=True)


EXACT = """import sys
from pathlib import Path
import numpy as np
import pyarrow.parquet as pq
import select_rows
tables = [pq.read_table(path) for path in sorted(Path("vectors").glob("shard-*.parquet"))]
x = np.concatenate([select_rows.vectors(table) for table in tables])
squares = (x * x).sum(1)
near = np.full(len(x), np.inf, np.float32)
for row in pq.read_table("vectors/selected.parquet")["id"].to_pylist():
    near = np.minimum(near, squares + squares[row] - 2 * (x @ x[row]))
print(float(np.sqrt(near.max())), select_rows.k_center(x, int(sys.argv[1]))[1])
"""


def keep(line: dict, out: Path) -> None:
    """Write the setting's file whole, and say in one line how it went."""
    line["set"] = {key: value for key, value in line["set"].items() if key not in ("model", "rows")}
    out.mkdir(parents=True, exist_ok=True)
    part = out / f"{line['name']}.part"
    part.write_text(json.dumps(line))
    part.rename(out / f"{line['name']}.json")
    r = line.get("result")
    if r:
        tokens = line["set"]["rows_a_step"] * line.get("tokens_a_row", 0)
        print(
            line["name"],
            f"{line['wall_s']:.0f} s",
            [round(p, 2) for p in r["peak_gib"]],
            [round(s, 2) for s in r["step_s"][-3:]],
            f"{tokens / sorted(r['step_s'])[len(r['step_s']) // 2]:.0f} tokens/s",
            list(r["losses"].values())[-1],
            line.get("score", {}).get("exact"),
            flush=True,
        )
    else:
        print(line["name"], f"{line['wall_s']:.0f} s", "FAILED", line["failed"], line["error"], flush=True)


def merge(folder: Path) -> None:
    """data/runs/13.jsonl from the settings' files: those of other names stay."""
    path = ROOT / "data" / "runs" / "13.jsonl"
    lines = {line["name"]: line for line in map(json.loads, path.read_text().splitlines())} if path.exists() else {}
    lines |= {line["name"]: line for line in (json.loads(p.read_text()) for p in sorted(folder.glob("*.json")))}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines.values()), encoding="utf-8")
    print(f"{path.name}: {len(lines)} settings")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("shapes", "real", "selection"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench_13")
    parser.add_argument("--model", default="")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--test-rows", type=int, default=640)
    parser.add_argument("--merge", type=Path)
    asked = parser.parse_args()
    if asked.merge:
        merge(asked.merge)
    elif asked.part == "shapes":
        shapes(asked.out.resolve(), asked.work.resolve(), asked.tokenizer, asked.only, asked.steps or 8)
    elif asked.part == "selection":
        selection(asked.out.resolve(), asked.work.resolve())
    else:
        real(asked.out.resolve(), asked.work.resolve(), asked.model, asked.only, asked.steps or 150, asked.test_rows)
