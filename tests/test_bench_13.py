"""The scripts that notebook 13 writes, without a card and without Ray's processes; and how its record is merged."""

import ast
import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.runs import bench_13
from helpers import selection


@pytest.fixture
def select_rows(tmp_path, monkeypatch):
    """The page's select_rows.py as a module; `ray` is not started by its functions."""
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    module = types.ModuleType("select_rows")
    exec(bench_13.page_script("select_rows.py"), module.__dict__)
    return module


def passes_a_step():
    """The page's function alone: the script around it trains."""
    tree = ast.parse(bench_13.page_script("train.py"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "passes_a_step"]
    names = {"sys": sys}
    exec(compile(ast.Module(found, []), "train.py", "exec"), names)
    return names["passes_a_step"]


def test_a_step_has_the_same_rows_with_any_number_of_processes():
    passes = passes_a_step()
    for processes in (1, 2, 4):
        assert passes(64, 8, 2, processes) * 2 * processes == 8
    with pytest.raises(SystemExit, match="4 rows are fewer than the 8 of one step"):
        passes(4, 8, 2, 1)
    with pytest.raises(SystemExit, match="6 rows a step do not divide into 1 processes of 4"):
        passes(64, 6, 4, 1)
    with pytest.raises(SystemExit, match="do not divide into 8 processes"):
        passes(64, 8, 2, 8)


def test_k_center_is_the_helper_s(select_rows):
    x = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    picks, radius = select_rows.k_center(x, 12)
    assert picks == selection.k_center_greedy(x, 12, first=0).tolist()
    assert radius == pytest.approx(selection.cover_radius(x, picks), rel=1e-4)


def shards(folder, sizes, seed=0):
    rng, start = np.random.default_rng(seed), 0
    for number, size in enumerate(sizes):
        vectors = rng.normal(size=(size, 4)).astype(np.float16)
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4)
        ids = np.arange(start, start + size)
        pq.write_table(pa.table({"id": ids, "vector": column}), folder / f"shard-{number:04}.parquet")
        start += size


def test_two_rounds_keep_the_bound_and_survive_small_shards(select_rows, tmp_path):
    """Every row lies within the two radii of a chosen one; a shard with fewer rows than k gives all of them."""
    shards(tmp_path, (50, 3, 40))
    tasks = [{"shard": str(path), "k": 5} for path in sorted(tmp_path.glob("shard-*"))]
    files = [select_rows.first_round(task)["picks"] for task in tasks]
    assert [len(pq.read_table(file)) for file in files] == [5, 3, 5] and not list(tmp_path.glob("*.part"))
    chosen, first, second = select_rows.second_round(files, 5)
    everything = np.concatenate(
        [select_rows.vectors(pq.read_table(path)) for path in sorted(tmp_path.glob("shard-*"))]
    )
    picks = select_rows.vectors(chosen)
    nearest = np.sqrt(((everything[:, None] - picks[None]) ** 2).sum(2)).min(1)
    assert len(chosen) == len(set(chosen["id"].to_pylist())) == 5 and nearest.max() <= first + second + 1e-4
    assert nearest.max() > 0.3 * (first + second)  # the bound says something


def test_a_finished_shard_is_not_computed_again_and_a_cut_one_is_named(select_rows, tmp_path):
    shards(tmp_path, (20, 20))
    task = {"shard": str(tmp_path / "shard-0000.parquet"), "k": 3}
    done = select_rows.first_round(task)["picks"]
    before = pq.read_table(done)["id"].to_pylist()
    stamp = Path(done).stat().st_mtime_ns
    assert select_rows.first_round(task)["picks"] == done and Path(done).stat().st_mtime_ns == stamp
    assert select_rows.first_round(task | {"k": 5})["picks"] != done  # another k, other picks
    shards(tmp_path, (20,), seed=1)  # a shard written anew
    os.utime(tmp_path / "shard-0000.parquet", ns=(stamp + 10**9, stamp + 10**9))
    assert select_rows.first_round(task)["picks"] == done and pq.read_table(done)["id"].to_pylist() != before
    whole = tmp_path / "shard-0001.parquet"
    assert select_rows.check(whole) == 20
    whole.write_bytes(whole.read_bytes()[:200])
    with pytest.raises(SystemExit, match="shard-0001.parquet is no whole Parquet file"):
        select_rows.check(whole)
    whole.write_bytes(b"")
    with pytest.raises(SystemExit, match="shard-0001.parquet is no whole Parquet file"):
        select_rows.check(whole)


def test_a_shape_has_the_numbers_of_its_name():
    """Parameters counted from the config numbers, in billions (Qwen2.5's own: 7.6, 32.8, 72.7)."""
    from helpers.planner import Shape

    for name, billions in (("7B", 7.6), ("32B", 32.8), ("72B", 72.7)):
        numbers = bench_13.CONFIGS[name]
        assert Shape.of(numbers).parameters / 1e9 == pytest.approx(billions, abs=0.1)


def test_launchers(tmp_path):
    ddp = bench_13.command("ddp", 4, tmp_path)
    assert ddp[ddp.index("--nproc-per-node") + 1] == "4" and ddp[-3:] == ["capped.py", "train.py", "job.json"]
    assert bench_13.command("python", 1, tmp_path)[1:] == ["capped.py", "train.py", "job.json"]
    bench_13.command("fsdp", 2, tmp_path)
    text = (tmp_path / "launch.yaml").read_text()
    assert "fsdp_version: 2" in text and "num_processes: 2" in text
    bench_13.command("deepspeed", 2, tmp_path)
    assert "zero_stage: 2" in (tmp_path / "launch.yaml").read_text()


def test_merge_replaces_a_setting_and_keeps_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_13, "ROOT", tmp_path)
    record = tmp_path / "data" / "runs" / "13.jsonl"
    record.parent.mkdir(parents=True)
    record.write_text('{"name": "a", "n": 1}\n{"name": "b", "n": 1}\n')
    new = tmp_path / "new"
    new.mkdir()
    (new / "b.json").write_text('{"name": "b", "n": 2}')
    (new / "c.json").write_text('{"name": "c", "n": 2}')
    bench_13.merge(new)
    assert [tuple(json.loads(line).values()) for line in record.read_text().splitlines()] == [
        ("a", 1),
        ("b", 2),
        ("c", 2),
    ]
