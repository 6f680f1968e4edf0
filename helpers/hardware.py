"""What this machine has, what the trainer may use of it, and what to do about each problem.

- ``detect()``   a ``Hardware`` record: CPU, memory, disk, GPU, versions, mirrors
- ``Hardware.*`` the trainer's fields: ``use_cpu bf16 fp16 gradient_checkpointing compile_layers batch_size``
- ``doctor()``   the same as a page for people, each problem with its cure
- ``prepare()``  what every notebook calls first: one GPU, and memory that is kept
"""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import timeit
from dataclasses import dataclass, field
from pathlib import Path

import torch

GIB = 1024**3
PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets", "accelerate")
NEEDED_DISK_GIB, NEEDED_MEMORY_GIB = 2.0, 4.0
CONTEXT_GIB = 0.7  # what CUDA itself takes of a card before any tensor


@dataclass(frozen=True)
class Hardware:
    """One machine as the course sees it. Sizes in GiB; `capability` is CUDA's (major, minor), None without a GPU."""

    cpu: str = "unknown"
    cores: int = 1
    memory_gib: float = 8.0
    disk_gib: float = 10.0
    gpus: tuple[str, ...] = ()
    gpu_memory_gib: float = 0.0
    capability: tuple[int, int] | None = None
    cpu_bf16_faster: bool = False
    compiler: bool = False  # whether torch.compile can make kernels for the card
    parameters: float = 0.135e9  # of the model to train: decides batch and checkpointing
    row_tokens: int = 1024  # of the rows to train on: decides the batch
    versions: dict = field(default_factory=dict)
    python: str = platform.python_version()

    @property
    def device(self) -> str:
        """`cuda` where an NVIDIA GPU is usable, else `cpu` (Apple's MPS rounds differently: the course stays on its CPU)."""
        return "cuda" if self.capability else "cpu"

    @property
    def use_cpu(self) -> bool:
        """For `SFTConfig(use_cpu=...)`."""
        return self.capability is None

    @property
    def bf16(self) -> bool:
        """bfloat16 autocast: on GPUs from capability 8.0 (a T4 emulates it, slowly); on a CPU where a matmul was faster."""
        return self.capability >= (8, 0) if self.capability else self.cpu_bf16_faster

    @property
    def fp16(self) -> bool:
        """float16 with loss scaling: GPUs before capability 8.0. Never on a CPU."""
        return self.capability is not None and self.capability < (8, 0)

    @property
    def compute_dtype(self) -> torch.dtype:
        """What 4-bit weights are expanded to for a matrix product."""
        return torch.bfloat16 if self.bf16 else torch.float16 if self.fp16 else torch.float32

    @property
    def gradient_checkpointing(self) -> bool:
        """Recompute activations in the backward pass: needed from 1B parameters on; costs a third more time."""
        return self.capability is not None and self.parameters >= 1e9

    @property
    def batch_size(self) -> int:
        """Rows a forward pass; `accumulation` makes up the rest of an effective batch of 8.

        Short rows need less: with a 7B, 8 rows of 128 tokens fit where 1,024 tokens allow 2.
        """
        if self.capability is None or self.parameters < 1e9:
            return 8
        compiled = [n for n in (8, 4, 2, 1) if n * self.row_tokens >= 2048 and self._compiles(n)]
        if compiled:  # faster than more rows that are not compiled: 4 x 1,024 tokens than 8 x 1,024 (notebook 09)
            return compiled[0]
        room = self._room * 1024 / self.row_tokens
        return 8 if room > 12 else 4 if room > 7 else 2 if room > 4 else 1

    @property
    def compile_layers(self) -> bool:
        """Whether to `compile()` each layer: from 1B parameters and capability 8.0 on, where a compiler is installed and
        there is room for what it keeps (a 7B: 3 GiB for each 1,024 tokens of a step, measured in notebook 09) and 2.5 GiB
        beside it, since what was recorded for training stays when the model is evaluated.

        >>> card = dict(gpus=("RTX 4090",), gpu_memory_gib=24, capability=(8, 9), compiler=True)
        >>> hw = Hardware(parameters=7.6e9, row_tokens=1024, **card)
        >>> hw.compile_layers, hw.batch_size
        (True, 4)
        """
        return self._compiles(self.batch_size)

    def _compiles(self, batch: int) -> bool:
        kept = 3.5 * batch * self.row_tokens / 1024 * self.parameters / 7.6e9  # GiB
        return self.compiler and self.bf16 and self.gradient_checkpointing and self._room > kept + 2.5

    @property
    def _room(self) -> float:  # GiB beside the context and 4-bit weights with their scales
        return self.gpu_memory_gib - CONTEXT_GIB - 0.75 * self.parameters / 1e9

    @property
    def accumulation(self) -> int:
        """For `gradient_accumulation_steps`: batch_size × accumulation is always 8.

        >>> Hardware(gpus=("RTX 3060",), gpu_memory_gib=12, capability=(8, 6), parameters=7.6e9).accumulation
        4
        """
        return 8 // self.batch_size


def can_compile() -> bool:
    """Whether `torch.compile` finds what it needs for a GPU: Triton, a C compiler and Python's headers (rented images
    without developer packages lack the latter two)."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return bool(importlib.util.find_spec("triton") and compiler and headers.exists())


def keep_memory() -> bool:
    """Let glibc keep freed memory for the next tensor instead of giving it back to the system; False where there is no glibc.

    A training step frees and takes hundreds of large blocks. Asking the system for each costs a page fault every 4 kB:
    on two cores in a container a step of the bundled model took 6 to 8 s with that and 4 to 5 s without (measured).
    """
    settings = ((-3, 32 * 2**20), (-1, 512 * 2**20))  # M_MMAP_THRESHOLD (its largest), M_TRIM_THRESHOLD
    return (glibc := _glibc()) is not None and all(glibc.mallopt(key, value) for key, value in settings)


def free_memory() -> None:
    """Give back what is no longer used: Python's cycles (a trainer and its model hold each other), the GPU's cache, and what
    `keep_memory` has kept. For between two models."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if glibc := _glibc():
        glibc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:  # another system's library: nothing is kept there
        return None


def prepare() -> str:
    """What a notebook does before it loads a model: one GPU at most, memory kept; one line that says so, or what is wrong.

    Attention leaves cuDNN's kernel out: on a Hopper card with torch 2.11 its gradients were NaN for padded batches of exactly 64
    tokens (seen in November 2026), and one such batch makes the adapter NaN for good. With two GPUs visible the trainer would split every batch (DataParallel). Importing bitsandbytes already touches CUDA, so
    `CUDA_VISIBLE_DEVICES` must be set before the first import; the notebooks do.

    >>> prepare()
    'at most one GPU in use'
    """
    keep_memory()
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    torch.backends.cuda.enable_cudnn_sdp(False)
    if torch.cuda.is_initialized() and torch.cuda.device_count() > 1:
        return f"{torch.cuda.device_count()} GPUs are in use: restart the kernel and run the import cell first"
    return "at most one GPU in use"


def bf16_faster_on_cpu(repeats: int = 5, margin: float = 1.3) -> bool:
    """Whether a training step's matrix product is faster in bfloat16 than in float32, by `margin` at least.

    Where the processor has bfloat16 units it is two to three times as fast; elsewhere the casts of a step cost more than a
    few percent gained.
    """

    def seconds(dtype):
        a, b = torch.randn(768, 576).to(dtype), torch.randn(576, 1536).to(dtype)  # 8 rows of 96 tokens, SmolLM2's MLP
        return min(timeit.repeat(lambda: a @ b, number=1, repeat=repeats + 1)[1:])  # the first one warms up

    return margin * seconds(torch.bfloat16) < seconds(torch.float32)


def detect(parameters: float = 0.135e9, row_tokens: int = 1024) -> Hardware:
    """Look at this machine. `parameters`: of the model to train, 0.135e9 for the bundled one; `row_tokens`: of its rows.

    `COURSE_GPU_GIB=12` imitates a smaller card: this process then gets 12 GiB less `CONTEXT_GIB`, and an error above that.
    """
    gpu = torch.cuda.is_available()
    card_gib = imitate_card(torch.cuda.get_device_properties(0).total_memory / GIB) if gpu else 0.0
    return Hardware(
        cpu=cpu_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=round(memory_bytes() / GIB, 1),
        disk_gib=round(shutil.disk_usage(Path.cwd()).free / GIB, 1),
        gpus=tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())) if gpu else (),
        gpu_memory_gib=round(card_gib, 1),
        capability=torch.cuda.get_device_capability(0) if gpu else None,
        cpu_bf16_faster=not gpu and bf16_faster_on_cpu(),
        compiler=gpu and can_compile(),
        parameters=parameters,
        row_tokens=row_tokens,
        versions=versions(),
    )


def imitate_card(total_gib: float) -> float:
    """The card's memory in GiB: its own, or the smaller one that `COURSE_GPU_GIB` imitates. ValueError for other than a number."""
    text = os.environ.get("COURSE_GPU_GIB", "")
    if not text:
        return total_gib
    try:
        wanted = float(text)
    except ValueError:
        wanted = 0.0
    if not CONTEXT_GIB < wanted <= total_gib:
        room = f"above {CONTEXT_GIB} and at most this card's {total_gib:.1f}"
        raise ValueError(f"COURSE_GPU_GIB={text!r}: give a number of GiB {room}")
    torch.cuda.set_per_process_memory_fraction((wanted - CONTEXT_GIB) / total_gib)
    return wanted


def versions() -> dict[str, str]:
    """Installed versions of the course's packages; `missing` where one is not there."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def memory_bytes() -> int:
    """Physical memory, or the container's limit where that is smaller."""
    import psutil  # ipykernel and accelerate bring it

    total = psutil.virtual_memory().total
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup v2, v1
        try:
            limit = (Path("/sys/fs/cgroup") / name).read_text().strip()
        except OSError:
            continue
        if limit.isdigit():
            total = min(total, int(limit))
    return total


def pip_mirror() -> bool:
    """Whether pip is told to use another index than pypi.org, in the environment or in its own settings."""
    if os.environ.get("PIP_INDEX_URL"):
        return True
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    return subprocess.run(command, capture_output=True).returncode == 0


def peak_memory_gib() -> float:
    """The most memory that this process has held so far: on the GPU if it was used, else on the CPU (GiB).

    >>> peak_memory_gib() > 0
    True
    """
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_reserved() / GIB
    try:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset / GIB


def problems(hw: Hardware) -> list[tuple[str, str]]:
    """`(what is wrong, how to mend it)` for each problem found; empty when all is well.

    >>> problems(Hardware(memory_gib=2, versions={"torch": "2.13.0"}))[0][0]
    '2.0 GiB of memory: a notebook needs up to 4'
    """
    setup = "run `make setup`, or the install cell at the top on Colab"
    found = [(f"{name} is not installed", setup) for name, version in hw.versions.items() if version == "missing"]
    gpu, (major, minor) = bool(hw.capability), hw.capability or (0, 0)
    unseen = shutil.which("nvidia-smi") and not gpu and not hw.versions.get("torch", "").endswith("+cpu")
    for wrong, what, cure in (
        (hw.memory_gib < NEEDED_MEMORY_GIB, f"{hw.memory_gib:.1f} GiB of memory: a notebook needs up to 4",
         "close other programs, or use a free Colab CPU machine (12 GiB)"),
        (hw.disk_gib < NEEDED_DISK_GIB, f"{hw.disk_gib:.1f} GiB of disk free: the model and checkpoints need 2",
         "free some, or set COURSE_CACHE to a folder on another disk"),
        (len(hw.gpus) > 1, f"{len(hw.gpus)} GPUs are visible, the notebooks train on one",
         "set CUDA_VISIBLE_DEVICES=0 before the first import; the notebooks do, so restart the kernel"),
        (hw.fp16, f"{''.join(hw.gpus[:1])} has no bfloat16 (capability {major}.{minor} < 8.0)",
         "nothing to do: fp16 with float32 adapters is used"),
        (gpu and hw.parameters >= 7e9 and (hw.gpu_memory_gib < 11 or hw._room < 1),
         f"{hw.gpu_memory_gib:.0f} GiB on the GPU: too few to train {hw.parameters / 1e9:.1f}e9 parameters in 4 bits (a 7B model "
         "needs about 12)", "set COURSE_MODEL=Qwen/Qwen2.5-1.5B-Instruct, or unset it; helpers.planner says what fits"),
        (unseen, "an NVIDIA driver is here, but torch sees no GPU",
         "if you meant to use it: check `nvidia-smi`, and that torch is a CUDA build; else carry on, on the CPU"),
    ):  # fmt: skip
        if wrong:
            found.append((what, cure))
    return found


def doctor(hw: Hardware | None = None) -> str:
    """The machine on one page, problems last, each with its cure.

    >>> print(doctor(Hardware(cpu="toy", cores=2)).splitlines()[0])
    CPU        toy, 2 cores
    """
    hw = hw or detect()
    compute = str(hw.compute_dtype).removeprefix("torch.")
    card = "none that torch can use: the notebooks run on the CPU, as they were written"
    if hw.capability:
        card = f"{hw.gpus[0]}, {hw.gpu_memory_gib:.1f} GiB, capability {hw.capability[0]}.{hw.capability[1]}"
    lines = [
        f"CPU        {hw.cpu}, {hw.cores} cores",
        f"memory     {hw.memory_gib:.1f} GiB, disk free {hw.disk_gib:.0f} GiB",
        f"GPU        {card}",
        # adapters: a step of 3e-4 is often below half of bfloat16's spacing, and fp16's loss scaler refuses half precision
        f"numbers    compute {compute}, adapters float32, "
        f"batch {hw.batch_size} × {hw.accumulation}, checkpointing {'on' if hw.gradient_checkpointing else 'off'}",
        f"python     {hw.python}; " + ", ".join(f"{k} {v}" for k, v in hw.versions.items()),
        f"mirrors    HF_ENDPOINT {os.environ.get('HF_ENDPOINT') or 'not set (huggingface.co)'}; "
        f"pip index {'a mirror' if pip_mirror() else 'not set (pypi.org)'}",
    ]
    found = problems(hw)
    lines += [f"PROBLEM    {what}\n   mend it: {cure}" for what, cure in found] or ["problems   none found"]
    return "\n".join(lines)
