"""What the tests of notebooks share: reading cells."""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell.get("metadata", {}).get("tags", [])


def code_cells(path):
    return [c for c in read(path)["cells"] if c["cell_type"] == "code"]


def notebook(*cells):
    """A notebook as a dict, of (tags, source) pairs."""
    return {
        "cells": [
            {
                "cell_type": "code",
                "metadata": {"tags": list(tags)},
                "source": source,
                "outputs": [],
                "execution_count": 1,
            }
            for tags, source in cells
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
