"""Run the notebooks, build the site, publish the address: what `make` calls.

python -m helpers.course run [05]          executed copies and an HTML site in build/
python -m helpers.course run --in-place    for authors: refresh the committed outputs, cleaned
python -m helpers.course script 14         the copyable cells of a page as a plain script, on the screen
python -m helpers.course publish owner/name
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import os
import re
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/{repo}/blob/main/notebooks/{name})"


def notebooks(number: str | None = None) -> list[Path]:
    """Notebooks in order, or the one whose name starts with `number`.

    >>> notebooks("05")[0].name
    '05_sft.ipynb'
    """
    found = sorted((ROOT / "notebooks").glob(f"{number or ''}*.ipynb"))
    if not found:
        raise SystemExit(
            f"no notebook starts with {number!r}: choose from {', '.join(p.name[:2] for p in notebooks())}"
        )
    return found


def script(number: str) -> str:
    """The cells of a notebook that are tagged `copyable`, one after the other, with the text before each as comments.

    >>> "helpers" in script("14"), script("14").startswith("#")
    (False, True)
    """
    parts, said = [], ""
    for cell in json.loads(notebooks(number)[0].read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            said = "\n".join(f"# {line}".rstrip() for line in text.splitlines() if not line.startswith("|"))
        elif "copyable" in cell["metadata"].get("tags", []):
            parts += [said, text, ""] if said else [text, ""]
            said = ""
        else:
            said = ""
    if not parts:
        raise SystemExit(f"notebook {number} has no cells tagged copyable: 05 and 14 have")
    return "\n".join(parts)


def content_key(path: Path) -> str:
    """What an executed copy depends on: the notebook's cells, helpers, data, library versions, the sizes asked for."""
    from . import hardware

    cells = [[c["cell_type"], c["source"]] for c in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    digest = hashlib.sha256(json.dumps(cells).encode())
    folders = ((ROOT / "helpers", "*.py"), (ROOT / "helpers", "*.mplstyle"), (ROOT / "data", "*.py"), (ROOT / "data", "*.jsonl"),
               (ROOT / "data" / "runs", "*.jsonl"))  # fmt: skip
    for file in sorted(p for folder, pattern in folders for p in folder.glob(pattern)):
        digest.update(file.read_bytes())
    digest.update(json.dumps(hardware.versions()).encode())
    for name in ("COURSE_MODEL", "COURSE_SIZE", "COURSE_STEPS"):
        digest.update(f"{name}={os.environ.get(name, '')};".encode())
    return digest.hexdigest()


class PeakMemory(threading.Thread):
    """Watches the memory of one process and its children, twice a second; `gib` is the most seen. Pages that processes share
    count once (on Linux; elsewhere in each)."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.gib, self.stop = pid, 0.0, threading.Event()

    def run(self) -> None:
        import psutil

        while not self.stop.wait(0.5):
            try:
                process = psutil.Process(self.pid)
                family = [process, *process.children(recursive=True)]
                if len(family) == 1:
                    total = process.memory_info().rss
                else:
                    total = sum(getattr(p.memory_full_info(), "pss", p.memory_info().rss) for p in family)
                self.gib = max(self.gib, total / 2**30)
            except psutil.Error:
                return


def execute(path: Path, expected_s: float | None):
    """Run one notebook in its folder with a bar (name, elapsed, expected): `(notebook, seconds, peak GiB)`."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from tqdm import tqdm

    notebook = nbformat.read(path, as_version=4)
    expected = f"expected {expected_s / 60:.1f} min" if expected_s else "first run"
    client = NotebookClient(
        notebook, timeout=3600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    begin, watch = time.perf_counter(), None
    env = dict(os.environ, COURSE_BARS=os.environ.get("COURSE_BARS", "0"), PYTHONHASHSEED="0")
    try:
        bar = tqdm(notebook.cells, path.stem, unit="cell", postfix=expected)
        with bar, client.setup_kernel(env=env, cwd=str(path.parent)):
            watch = PeakMemory(client.km.provisioner.pid)
            watch.start()
            for index, cell in enumerate(bar):
                client.execute_cell(cell, index)
    except CellExecutionError as fault:
        raise SystemExit(
            f"{path.name} stopped: {str(fault).strip().splitlines()[-1]}\nOpen it with `make lab` and run to this "
            f"cell; finished notebooks are kept, so `make course` goes on from here."
        ) from fault
    except (DeadKernelError, CellTimeoutError) as fault:
        raise SystemExit(
            f"{path.name}: the kernel died or hung ({type(fault).__name__}), most often for want of memory (a notebook "
            "needs up to 4 GiB). Close other programs and repeat the command: finished notebooks are kept."
        ) from fault
    finally:
        if watch:
            watch.stop.set()
    return notebook, time.perf_counter() - begin, watch.gib


def smaller(png: str) -> str:
    """A picture (PNG in base64) with a palette of 128 colours, about a third as large: figures of lines lose nothing that shows.

    >>> import base64, io; from PIL import Image; made = io.BytesIO(); Image.new("RGB", (90, 60), "white").save(made, "PNG")
    >>> Image.open(io.BytesIO(base64.b64decode(smaller(base64.b64encode(made.getvalue()).decode())))).size
    (90, 60)
    """
    import base64
    import io

    from PIL import Image

    picture, made = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA")).convert("RGB")
    flat.quantize(128, dither=Image.Dither.NONE).save(made, "PNG", optimize=True)
    text = base64.b64encode(made.getvalue()).decode()
    return text if len(text) < len(png) else png


def clean_outputs(notebook) -> None:
    """Keep what teaches: no stderr, no widget views or state, no timestamps, no path of this machine, small pictures."""
    import nbformat

    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        kept = []
        for out in cell.outputs:
            if out.get("name") == "stderr":
                continue
            data = out.get("data", {})
            if "application/vnd.jupyter.widget-view+json" in data or "<progress" in data.get("text/html", ""):
                continue  # a progress bar: it says nothing once it is full
            if "image/png" in data:
                data["image/png"] = smaller(data["image/png"].strip())
            kept.append(json.loads(json.dumps(out).replace(str(ROOT), "...")))
        cell.outputs = [nbformat.from_dict(o) for o in kept]


def run(number: str | None, in_place: bool, again: bool) -> None:
    """Execute in order; up-to-date copies are kept, so that an interrupted run goes on where it was."""
    import nbformat

    made = lambda path: json.loads(path.read_text(encoding="utf-8"))["metadata"].get("course", {})
    chosen, executed = notebooks(number), BUILD / "notebooks"
    executed.mkdir(parents=True, exist_ok=True)
    for path in chosen:
        copy, key = executed / path.name, content_key(path)
        if copy.exists() and not again and not in_place:
            if made(copy).get("key") == key:
                print(f"{path.stem}: already run, nothing changed (--again repeats it)")
                continue
        notebook, seconds, peak = execute(path, made(path).get("seconds"))
        print(f"{path.stem}: {seconds / 60:.1f} min, peak {peak:.1f} GiB")
        notebook.metadata["course"] = {"seconds": round(seconds), "peak_gib": round(peak, 1)}
        clean_outputs(notebook)
        if in_place:
            nbformat.write(notebook, path)
        notebook.metadata["course"]["key"] = content_key(path)
        nbformat.write(notebook, copy)
    site(executed)
    print(f"\nSite: {(BUILD / 'site' / 'index.html').relative_to(ROOT)}; the claims: data/claims.md")


def site(executed: Path) -> None:
    """One HTML page a notebook and an index, in build/site."""
    import nbformat
    from nbconvert import HTMLExporter

    folder = BUILD / "site"
    folder.mkdir(parents=True, exist_ok=True)
    exporter, items = HTMLExporter(), []
    for path in sorted(executed.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        body, _ = exporter.from_notebook_node(notebook)
        body = re.sub(r'href="([\w]+)\.ipynb', r'href="\1.html', body)
        (folder / f"{path.stem}.html").write_text(body, encoding="utf-8")
        first = next(c.source for c in notebook.cells if c.cell_type == "markdown")
        title = first.lstrip("# ").splitlines()[0]
        question = (re.search(r"\*\*Question\.\*\* (.+)", first) or [None, ""])[1]
        course = notebook.metadata.get("course", {})
        items.append(
            f'<li><a href="{path.stem}.html">{html.escape(title)}</a><br>{html.escape(question)} '
            f"<small>{course.get('seconds', 0) / 60:.1f} min, {course.get('peak_gib', 0)} GiB</small></li>"
        )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>Adapting language models</title><style>body{font:17px/1.6 system-ui;max-width:46rem;margin:3rem auto;padding:0 1rem}"
        "li{margin:1rem 0}small{color:#666}</style><h1>Adapting language models</h1><ol start=0>"
        + "".join(items)
        + "</ol></html>"
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def publish(repo: str, root: Path = ROOT) -> int:
    """Write `owner/name` into `.repository`, every Colab badge and first cell, and the README; empty takes it back."""
    if repo and not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise SystemExit(f"{repo!r} is not owner/name: make publish REPO=owner/name")
    (root / ".repository").write_text(repo + "\n", encoding="utf-8")
    changed = 0
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        before = path.read_text(encoding="utf-8")
        notebook = json.loads(before)
        for place, cell in enumerate(notebook["cells"]):
            source = "".join(cell["source"])
            if place == 0:
                source = re.sub(r"^\[!\[Open in Colab\].*\n\n", "", source)
                source = BADGE.format(repo=repo, name=path.name) + "\n\n" + source if repo else source
            elif "colab" in cell.get("metadata", {}).get("tags", []):
                source = re.sub(r'^REPO = "[^"]*"', f'REPO = "{repo}"', source, flags=re.M)
            cell["source"] = source.splitlines(keepends=True)
        after = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed += 1
    readme = root / "README.md"
    if readme.exists():
        address = f"https://github.com/{repo}" if repo else "<this repository>"
        before = readme.read_text(encoding="utf-8")
        after = re.sub(r"(?<=^git clone )\S+( repository>)?(?= course)", address, before, flags=re.M)
        readme.write_text(after, encoding="utf-8")
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    one = actions.add_parser("run")
    one.add_argument("number", nargs="?")
    one.add_argument("--in-place", action="store_true")
    one.add_argument("--again", action="store_true")
    two = actions.add_parser("publish")
    two.add_argument("repo", nargs="?", default="")
    three = actions.add_parser("script")
    three.add_argument("number")
    args = parser.parse_args()
    if args.action == "script":
        print(script(args.number))
    elif args.action == "run":
        try:
            run(args.number, args.in_place, args.again)
        except KeyboardInterrupt:
            raise SystemExit("\nStopped. Finished notebooks are kept: repeat the command to go on.") from None
    else:
        print(f"{publish(args.repo)} notebooks changed")


if __name__ == "__main__":
    sys.exit(main())
