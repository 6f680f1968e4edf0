"""The trainer's fields on the machines that readers have, without having them."""

import os

import pytest
import torch

from helpers import hardware
from helpers.hardware import Hardware

T4 = dict(gpus=("Tesla T4",), gpu_memory_gib=14.7, capability=(7, 5))
RTX3060 = dict(gpus=("RTX 3060",), gpu_memory_gib=11.8, capability=(8, 6))
RTX4090 = dict(gpus=("RTX 4090",), gpu_memory_gib=23.6, capability=(8, 9))
A100 = dict(gpus=("A100",), gpu_memory_gib=79.2, capability=(8, 0))
B1_5, B7 = 1.54e9, 7.6e9


@pytest.mark.parametrize(
    "machine, parameters, use_cpu, bf16, fp16, checkpointing, batch",
    [
        ({}, 0.135e9, True, False, False, False, 8),
        ({"cpu_bf16_faster": True}, 0.135e9, True, True, False, False, 8),
        (T4, 0.135e9, False, False, True, False, 8),
        (T4, B1_5, False, False, True, True, 8),
        (T4, B7, False, False, True, True, 4),
        (RTX3060, 0.135e9, False, True, False, False, 8),
        (RTX3060, B7, False, True, False, True, 2),
        (RTX4090, B7, False, True, False, True, 8),
        (A100, B7, False, True, False, True, 8),
    ],
)
def test_fields(machine, parameters, use_cpu, bf16, fp16, checkpointing, batch):
    hw = Hardware(**machine, parameters=parameters)
    assert (hw.use_cpu, hw.bf16, hw.fp16, hw.gradient_checkpointing, hw.batch_size) == (
        use_cpu,
        bf16,
        fp16,
        checkpointing,
        batch,
    )
    assert hw.batch_size * hw.accumulation == 8
    assert hw.compute_dtype is (torch.bfloat16 if bf16 else torch.float16 if fp16 else torch.float32)
    assert not (hw.bf16 and hw.fp16)


def test_the_trainer_accepts_the_fields(tmp_path):
    """On this machine: trl's own checks run on the values."""
    from trl import SFTConfig

    hw = hardware.detect()
    args = SFTConfig(
        output_dir=str(tmp_path),
        use_cpu=hw.use_cpu,
        bf16=hw.bf16,
        fp16=hw.fp16,
        gradient_checkpointing=hw.gradient_checkpointing,
        report_to="none",
    )
    assert args.bf16 == hw.bf16 and args.fp16 == hw.fp16


def test_two_gpus_become_one(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert hardware.prepare() == "at most one GPU in use" and os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    hardware.prepare()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"  # the reader's choice stays
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert "restart the kernel" in hardware.prepare()  # too late: say so
    two = Hardware(gpus=("T4", "T4"), gpu_memory_gib=14.7, capability=(7, 5))
    assert any("2 GPUs are visible" in what for what, _ in hardware.problems(two))


@pytest.mark.parametrize(
    "machine, word",
    [
        ({"memory_gib": 2.0}, "of memory"),
        ({"disk_gib": 0.5}, "of disk free"),
        ({"versions": {"trl": "missing"}}, "trl is not installed"),
        (RTX3060 | {"gpu_memory_gib": 8.0, "parameters": B7}, "about 12 to train|7B model"),
        (RTX3060 | {"gpu_memory_gib": 16.0, "parameters": 32.8e9}, "too few to train 32.8e9 parameters"),
        (T4, "no bfloat16"),
    ],
)
def test_each_problem_has_a_cure(machine, word):
    import re

    found = hardware.problems(Hardware(**machine))
    assert any(re.search(word, what + cure) for what, cure in found)
    assert all(cure for _, cure in found)
    assert "mend it:" in hardware.doctor(Hardware(**machine))


def test_detect_sees_this_machine():
    hw = hardware.detect()
    assert hw.cores >= 1 and hw.memory_gib > 1 and hw.disk_gib > 0 and "missing" not in hw.versions.values()
    assert hw.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert "PROBLEM" in hardware.doctor(hw) or "none found" in hardware.doctor(hw)


def test_a_smaller_card_can_be_imitated(monkeypatch):
    given = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", given.append)
    monkeypatch.delenv("COURSE_GPU_GIB", raising=False)
    assert hardware.imitate_card(80.0) == 80.0 and not given
    monkeypatch.setenv("COURSE_GPU_GIB", "12")
    assert hardware.imitate_card(80.0) == 12.0 and given == [pytest.approx(11.3 / 80)]


@pytest.mark.parametrize("wrong", ["a lot", "0.5", "-12", "81", "nan"])
def test_an_impossible_card_is_refused(monkeypatch, wrong):
    monkeypatch.setenv("COURSE_GPU_GIB", wrong)
    with pytest.raises(ValueError, match="above 0.7 and at most this card's 80.0"):
        hardware.imitate_card(80.0)


def test_short_rows_allow_a_larger_batch():
    long, short = (Hardware(**(RTX3060 | {"parameters": B7, "row_tokens": n})) for n in (1024, 128))
    assert long.batch_size == 2 and short.batch_size == 8
    assert all(hw.batch_size * hw.accumulation == 8 for hw in (long, short))


@pytest.mark.parametrize(
    "change, compiled, batch",
    [
        ({}, True, 8),
        ({"gpu_memory_gib": 12}, False, 8),
        ({"gpu_memory_gib": 12, "row_tokens": 1024}, False, 2),
        ({"row_tokens": 1024}, True, 2),
        ({"row_tokens": 2048}, True, 1),
        ({"row_tokens": 1024, "gpu_memory_gib": 24}, True, 4),  # 8 rows have room, but not compiled
        ({"row_tokens": 512, "gpu_memory_gib": 24}, True, 8),
        ({"row_tokens": 1024, "gpu_memory_gib": 24, "compiler": False}, False, 8),
        ({"capability": (7, 5)}, False, 8),
        ({"parameters": 0.135e9}, False, 8),
        ({"capability": None, "gpus": ()}, False, 8),
    ],
)
def test_layers_are_compiled_where_there_is_room_and_a_compiler(change, compiled, batch):
    card = RTX3060 | {"gpu_memory_gib": 16, "parameters": B7, "row_tokens": 128, "compiler": True}
    hw = Hardware(**(card | change))
    assert (hw.compile_layers, hw.batch_size) == (compiled, batch)


def test_a_compiler_needs_triton_a_c_compiler_and_headers(monkeypatch, tmp_path):
    found = {"triton": True, "gcc": "/usr/bin/gcc"}
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(hardware.importlib.util, "find_spec", found.get)
    monkeypatch.setattr(hardware.shutil, "which", found.get)
    monkeypatch.setattr(hardware.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert not hardware.can_compile()
    (tmp_path / "Python.h").touch()
    assert hardware.can_compile()
    for lost in ("gcc", "triton"):
        kept = found.pop(lost)
        assert not hardware.can_compile()
        found[lost] = kept


def test_detect_reads_card_model_and_rows(monkeypatch):
    """A T4 as CUDA reports it: no bfloat16; and what is asked for arrives in the record."""
    import types

    import torch

    card = {"is_available": True, "device_count": 1, "get_device_name": "Tesla T4", "get_device_capability": (7, 5),
            "get_device_properties": types.SimpleNamespace(total_memory=15 * 2**30)}  # fmt: skip
    for name, value in card.items():
        monkeypatch.setattr(torch.cuda, name, lambda *a, v=value: v)
    monkeypatch.setattr(hardware, "can_compile", lambda: True)
    hw = hardware.detect(1.5e9, 256)
    assert (hw.fp16, hw.bf16, hw.use_cpu, hw.compute_dtype) == (True, False, False, torch.float16)
    assert (hw.parameters, hw.row_tokens, hw.gpu_memory_gib, hw.gpus) == (1.5e9, 256, 15.0, ("Tesla T4",))
    assert hw.gradient_checkpointing and not hw.compile_layers
    for name in ("get_device_capability",):
        monkeypatch.setattr(torch.cuda, name, lambda *a: (8, 9))
    assert hardware.detect(1.5e9, 256).bf16


def test_a_containers_limit_counts(monkeypatch):
    whole = hardware.memory_bytes()
    texts = {"memory.max": str(2**30)}
    monkeypatch.setattr(hardware.Path, "read_text", lambda self: texts.get(self.name, "max"))
    assert hardware.memory_bytes() == min(whole, 2**30)
    texts["memory.max"] = "max"
    assert hardware.memory_bytes() >= whole


def test_a_mirror_is_reported_where_there_is_one(monkeypatch):
    import subprocess

    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    assert hardware.pip_mirror()
    monkeypatch.delenv("PIP_INDEX_URL")
    for code in (0, 1):
        monkeypatch.setattr(subprocess, "run", lambda *a, c=code, **k: subprocess.CompletedProcess(a, c))
        assert hardware.pip_mirror() is (code == 0)


def test_peak_memory_is_in_gib():
    """Of this process, which has torch loaded: between a tenth of a GiB and what the system says it holds at most."""
    import psutil

    now = psutil.Process().memory_info().rss / 2**30
    assert (
        0.1 < hardware.peak_memory_gib()
        and now * 0.9 <= hardware.peak_memory_gib() <= psutil.virtual_memory().total / 2**30
    )


def test_memory_is_kept_and_given_back():
    assert hardware.prepare() == "at most one GPU in use"
    hardware.free_memory()  # on any system, without an error


def test_bfloat16_must_be_faster_by_the_margin(monkeypatch):
    for seconds, margin, faster in ((0.5, 1.3, True), (0.8, 1.3, False), (0.8, 1.2, True), (1.1, 1.3, False)):
        clock = {torch.bfloat16: seconds, torch.float32: 1.0}
        took = lambda work, number, repeat, c=clock: (
            [9.0] + [c[work().dtype]] * (repeat - number)
        )  # warm after the first
        monkeypatch.setattr(hardware.timeit, "repeat", took)
        assert hardware.bf16_faster_on_cpu(margin=margin) is faster


def test_a_card_of_12_gib_may_train_a_7b():
    assert not any("7B" in what for what, _ in hardware.problems(Hardware(**RTX3060, parameters=B7)))
    card = RTX3060 | {"gpu_memory_gib": 16.0}  # the planner: 10.5 GiB
    assert not any("7B" in what for what, _ in hardware.problems(Hardware(**card, parameters=14.8e9)))


def test_the_peak_of_a_card_is_the_most_that_was_reserved(monkeypatch):
    held = {"is_available": True, "max_memory_allocated": 3, "memory_allocated": 1, "memory_reserved": 2 * 2**30,
            "max_memory_reserved": 5 * 2**30}  # fmt: skip
    for name, value in held.items():
        monkeypatch.setattr(torch.cuda, name, lambda *a, v=value: v)
    assert hardware.peak_memory_gib() == 5.0


def test_attention_leaves_out_the_kernel_whose_gradients_were_no_number():
    """See `prepare`: cuDNN's attention made NaN of padded batches of 64 tokens on Hopper cards."""
    torch.backends.cuda.enable_cudnn_sdp(True)
    hardware.prepare()
    assert not torch.backends.cuda.cudnn_sdp_enabled()
