"""Record a notebook's experiment at full size: its own cells, many settings and seeds, one JSON a run.

    python -m data.record 05 --plan build/05_search.json --out build/runs --jobs 8     on a GPU
    python -m data.record 05 --merge build/runs                                          into data/runs/05.jsonl

A plan is a list of runs: ``{"name": ..., "stage": ..., "set": {"RANK": 16, ...}}``. A run executes, in order, the code cells
tagged ``record`` and those tagged ``record-<stage>``, or with stage ``all`` every one but widgets and exercises; after the cell
tagged ``parameters`` the run's settings replace the notebook's constants. A stage ``sft+dpo`` runs the cells of `sft`, then those of
`dpo` alone; before each of the two the plan's ``before(space, number, stages)`` may change variables. At last the plan's
``collect(space, stage)`` takes from the cells' variables what the run keeps (what it reads and no page defines stands in the
plan's ``SETTINGS``); it is written with the environment as soon as the
run ends, and finished runs are skipped on a repeat. The plan is `data/runs/plan_NN.py`, or the one that a run names.
The notebook therefore stays the one place where the experiment is written.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import inspect
import json
import linecache
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_RECORDED = {"colab", "exercise", "exercise-check", "nbval-ignore-output"}  # of stage "all": they want a reader


def find_notebook(number: str) -> Path:
    """The one notebook whose name starts with `number`."""
    found = sorted((ROOT / "notebooks").glob(f"{number}_*.ipynb"))
    if len(found) != 1:
        raise SystemExit(f"{len(found)} notebooks start with {number}_: name one, such as 05")
    return found[0]


def plan_of(path: str | Path, run: dict):
    """The plan that a run names, or that of its notebook, `data/runs/plan_NN.py`: its `collect` takes what a run keeps."""
    return importlib.import_module(f"data.runs.{run.get('plan', f'plan_{Path(path).name[:2]}')}")


def cells_to_run(notebook: dict, stage: str, first: bool = True) -> list[tuple[bool, str]]:
    """`(is the parameters cell, source)` of every cell that a stage executes, in order; of a later one without those of all."""
    chosen, asked = [], {f"record-{stage}", *(["record"] if first else [])}
    for cell in notebook["cells"]:
        tags = cell.get("metadata", {}).get("tags", [])
        wanted = NOT_RECORDED.isdisjoint(tags) if stage == "all" else asked & set(tags)
        if cell["cell_type"] == "code" and wanted:
            chosen.append(("parameters" in tags, "".join(cell["source"])))
    if first and not any(is_parameters for is_parameters, _ in chosen):
        raise ValueError(f"no cell tagged both parameters and record: stage {stage!r} has nothing to set")
    return chosen


def environment(notebook: Path | None = None) -> dict:
    """Versions, card, date, notebook and data: what a recorded number rests on."""
    import hashlib

    import torch

    from helpers import hardware

    return {
        "date": datetime.date.today().isoformat(),
        "card": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU only",
        "python": sys.version.split()[0],
        **hardware.versions(),
        "notebook_sha256": hashlib.sha256(notebook.read_bytes()).hexdigest()[:16] if notebook else "",
        "data_sha256": {
            p.stem: hashlib.sha256(p.read_bytes()).hexdigest()[:16] for p in sorted((ROOT / "data").glob("*.jsonl"))
        },
    }


def broken_weights(trainer) -> int:
    """How many trained tensors of a trainer's model hold NaN or infinity; 0 without a trainer."""
    model = getattr(trainer, "model", None)
    trained = [p for p in model.parameters() if p.requires_grad] if model is not None else []
    return sum(not bool(p.isfinite().all()) for p in trained)


def run_one(job: tuple) -> str:
    """Execute one run in this process and write its JSON; a run that fails leaves its traceback in `<name>.error`."""
    path, run, out, jobs = job
    from helpers import hardware

    target = Path(out) / f"{run['name']}.json"
    if target.exists():
        return f"{run['name']}: already there"
    start, here = time.perf_counter(), os.getcwd()
    space: dict = {"__name__": "__main__"}
    os.chdir(ROOT / "notebooks")
    work = tempfile.mkdtemp(prefix="record-")
    os.environ["COURSE_WORK"] = work
    try:
        notebook, plan = json.loads(Path(path).read_text(encoding="utf-8")), plan_of(path, run)
        stages, before = run["stage"].split("+"), getattr(plan, "before", lambda *_: None)
        for number, stage in enumerate(stages):
            if number:
                before(space, number, stages)
            cells = cells_to_run(notebook, getattr(plan, "CELLS", {}).get(stage, stage), number == 0)
            for place, (is_parameters, source) in enumerate(cells):
                name = f"{Path(path).name}, {stage} {number}, recorded cell {place}"
                linecache.cache[name] = len(source), None, source.splitlines(True), name  # for tracebacks and inspect
                exec(compile(source, name, "exec"), space)
                if is_parameters:
                    own = getattr(plan, "SETTINGS", {})  # what only this plan's `collect` reads
                    if unknown := [k for k in run["set"] if k not in space and k not in own]:
                        raise KeyError(f"{run['name']} sets {unknown}, which the parameters cell does not define")
                    space.update(own | run["set"])
                    before(space, 0, stages)
        result = plan.collect(space, run["stage"])
        if broken := broken_weights(space.get("trainer")):  # a trainer logs a loss that is no number as 0
            result["broken_weights"] = broken
        if run["stage"] == "all":
            asked = ("COURSE_MODEL", "COURSE_GPU_GIB", "COURSE_STEPS")
            result["asked"] = {name: os.path.basename(os.environ.get(name, "")) for name in asked}
            result["peak_gib"] = round(hardware.peak_memory_gib(), 2)
        record = {
            "notebook": Path(path).stem,
            **run,
            "model": space["SOURCE"].name if "SOURCE" in space else "",
            "result": result,
            "seconds": round(time.perf_counter() - start, 1),
            "environment": environment(Path(path)) | {"jobs": jobs},
        }
        part = target.with_suffix(".part")
        part.write_text(json.dumps(record), encoding="utf-8")
        os.replace(part, target)
        return f"{run['name']}: {record['seconds']:.0f} s  {result.get('headline', '')}"
    except Exception:
        target.with_suffix(".error").write_text(traceback.format_exc(), encoding="utf-8")
        return f"{run['name']}: FAILED, see {target.with_suffix('.error').name}"
    finally:
        os.chdir(here)
        shutil.rmtree(work, ignore_errors=True)


def _quiet_worker() -> None:
    import matplotlib

    matplotlib.use("Agg")
    os.environ.update(COURSE_BARS="0", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")
    sys.stdout = open(os.devnull, "w")


def print_plan(usage: str, **kinds) -> None:
    """The command line of a plan: a kind, and a folder of finished runs where the kind chooses by them; JSON out. A kind with a
    parameter `model` gets the name of the one that COURSE_MODEL asks for."""
    kind, *rest = sys.argv[1:] or [""]
    if kind not in kinds:
        raise SystemExit(usage)
    parameters = inspect.signature(kinds[kind]).parameters
    if len(rest) != sum(p.default is p.empty for p in parameters.values()):
        raise SystemExit(usage)
    more = {}
    if "model" in parameters and os.environ.get("COURSE_MODEL"):
        from helpers import models

        more["model"] = models.locate().name
    found = [[json.loads(p.read_text(encoding="utf-8")) for p in sorted(Path(f).glob("search-*.json"))] for f in rest]
    json.dump(kinds[kind](*found, **more), sys.stdout, indent=0)


def merge(out: Path, target: Path) -> int:
    """One line a run, sorted by name, into `target`; runs already in it stay unless recorded anew. Prints which of the new ones
    ended with weights that are no numbers: too high a rate does that, and so does a kernel (07, fault 20), which is no result."""
    runs = {}
    if target.exists():
        runs = {r["name"]: r for r in map(json.loads, target.read_text(encoding="utf-8").splitlines())}
    new = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(out.glob("*.json"))]
    if broken := [r["name"] for r in new if r["result"].get("broken_weights")]:
        print(
            f"{len(broken)} of {len(new)} runs ended with broken weights, look before you keep them: {', '.join(broken)}"
        )
    runs |= {r["name"]: r for r in new}
    target.write_text(
        "".join(json.dumps(runs[name], separators=(",", ":")) + "\n" for name in sorted(runs)), encoding="utf-8"
    )
    return len(runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", help="its number, such as 05")
    parser.add_argument("--plan", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "runs")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side on one card")
    parser.add_argument(
        "--share", default="1/1", help="2/3: the second of three machines or cards takes every third run"
    )
    parser.add_argument(
        "--reuse", type=int, default=1, help="runs a process; above 1 its peak of memory means nothing"
    )
    parser.add_argument("--merge", type=Path, help="folder of finished runs to merge into data/runs/<number>.jsonl")
    args = parser.parse_args()
    if args.merge:
        target = ROOT / "data" / "runs" / f"{args.notebook}.jsonl"
        print(f"{target.name}: {merge(args.merge, target)} runs")
        return
    if args.plan is None:
        raise SystemExit("name a plan: --plan build/05_search.json")
    args.out.mkdir(parents=True, exist_ok=True)
    plan = json.loads(args.plan.read_text(encoding="utf-8"))
    first, of = map(int, args.share.split("/"))
    plan = plan[first - 1 :: of]
    path, begin = find_notebook(args.notebook), time.perf_counter()
    jobs = [(str(path), run, str(args.out.resolve()), args.jobs) for run in plan]
    # a fresh process a run: the card counts the peak of its memory by process
    with multiprocessing.get_context("spawn").Pool(args.jobs, _quiet_worker, maxtasksperchild=args.reuse) as pool:
        for done, line in enumerate(pool.imap_unordered(run_one, jobs, chunksize=1), 1):
            print(f"[{done}/{len(jobs)}, {time.perf_counter() - begin:.0f} s] {line}", flush=True)


if __name__ == "__main__":
    main()
