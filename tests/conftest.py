"""Shared by all tests: the checkout on the path, the bundled model loaded once."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["COURSE_BARS"] = "0"
for name in ("COURSE_STEPS", "COURSE_SIZE", "COURSE_MODEL", "COURSE_WORK"):
    os.environ.pop(name, None)  # a reader's own settings must not change what the tests expect

import pytest


@pytest.fixture(scope="session")
def bundled():
    """(model in float32, tokenizer) of the bundled model."""
    from helpers import models

    return models.load(models.locate(""), bits=32)
