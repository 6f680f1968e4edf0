"""build_nb.py SRC OUT: '=== md' / '=== code tags=a b' blocks; @@LORA@@ @@ARGS@@ @@TRAINER@@ @@FLOAT@@ @@COLAB@@ come from 05."""
import json, sys, hashlib
five = json.load(open("notebooks/05_sft.ipynb"))["cells"]
src = lambda c: "".join(c["source"])
recipe = [src(c) for c in five if "recipe" in c["metadata"].get("tags", [])]
fill = dict(zip(("@@LORA@@", "@@ARGS@@", "@@TRAINER@@", "@@FLOAT@@"), recipe)) | {"@@COLAB@@": src(five[1])}
assert len(recipe) == 4
cells, kind, tags, buf = [], None, [], []
def flush():
    if kind is None: return
    text = "\n".join(buf).strip("\n")
    for k, v in fill.items(): text = text.replace(k, v)
    cid = hashlib.sha256(f"{len(cells)} {text}".encode()).hexdigest()[:8]
    c = {"cell_type": "markdown" if kind == "md" else "code", "id": cid, "metadata": {"tags": tags} if tags else {}, "source": text.splitlines(keepends=True)}
    if kind == "code": c |= {"execution_count": None, "outputs": []}
    cells.append(c)
for line in open(sys.argv[1], encoding="utf-8").read().splitlines():
    if line.startswith("=== "):
        flush(); parts = line.split(); kind = parts[1]
        tags = line.split("tags=")[1].split() if "tags=" in line else []; buf = []
    else: buf.append(line)
flush()
meta = json.load(open("notebooks/05_sft.ipynb"))["metadata"]; meta.pop("course", None)
json.dump({"cells": cells, "metadata": meta, "nbformat": 4, "nbformat_minor": 5}, open(sys.argv[2], "w"), indent=1, ensure_ascii=False)
print(len(cells), "cells")
