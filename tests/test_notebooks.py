"""The form of a notebook: opening, sizes, outputs, figures in prose, one recipe."""

import ast
import json
import re

import pytest
from notebook_cells import PATHS, ROOT, code_cells, read, source, tags

ids = [p.stem for p in PATHS]
OPENING = ("**Question.**", "**You will be able to**", "**Before you start.**", "**Cost.**", "**Made with.**")
CLOSING = ("## What we measured", "## Traps", "## Exercises", "## Sources")
MAX_BYTES = 500_000
MAX_CELLS, MAX_LINES, MOST_LINES, MAX_WIDTH = 55, 25, 15, 96  # nine in ten cells have at most MOST_LINES


def output_text(cell):
    parts = []
    for out in cell.get("outputs", []):
        parts += ["".join(out.get("text", []))] + [
            "".join(v) for k, v in out.get("data", {}).items() if k.startswith("text/")
        ]
    return "\n".join(parts)


def test_there_are_notebooks():
    assert {"00_start_here", "05_sft"} <= set(ids)


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_opening_and_closing(path):
    cells = read(path)["cells"]
    first = source(cells[0])
    assert re.match(rf"(\[!\[.*\n\n)?# {path.stem[:2]} · ", first)
    places = [first.find(f) for f in OPENING]
    assert -1 not in places and places == sorted(places), dict(zip(OPENING, places))
    text = "\n".join(source(c) for c in cells if c["cell_type"] == "markdown")
    places = [text.find(f) for f in CLOSING]
    assert -1 not in places and places == sorted(places), dict(zip(CLOSING, places))
    promises = len(re.findall(r"^\d+\. ", first, re.M))
    titles = [i for i, c in enumerate(cells) if source(c).startswith(("## What we measured", "## Traps"))]
    said = "\n".join(output_text(c) for c in cells[titles[0] : titles[1]] if c["cell_type"] == "code")
    assert len(re.findall(r"^\d+\. ", said, re.M)) == promises  # each promise comes back with its number
    assert any("parameters" in tags(c) for c in cells) and "colab" in tags(cells[1])


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_cells_are_small(path):
    cells = code_cells(path)
    lengths = [len(source(c).splitlines()) for c in cells]
    assert len(cells) <= MAX_CELLS
    assert max(lengths) <= MAX_LINES and sum(n > MOST_LINES for n in lengths) <= 0.1 * len(lengths), sorted(lengths)[
        -8:
    ]
    for cell in cells:
        assert max(map(len, source(cell).splitlines()), default=0) <= MAX_WIDTH, source(cell)[:80]
    kinds = [c["cell_type"] for c in read(path)["cells"]]
    # a sentence between code cells; a guess and its check may touch
    assert "code,code,code,code" not in ",".join(kinds)
    words = [
        len(source(c).split()) for c in read(path)["cells"] if c["cell_type"] == "markdown" and "|---" not in source(c)
    ]
    assert sorted(words)[len(words) // 2] <= 60


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_a_lesson_keeps_the_recording_elsewhere(path):
    text = "\n".join(source(c) for c in code_cells(path))
    for word in ("RESULT", "METHOD ==", "FIRST ==", "def bits(", "verdict ="):
        assert word not in text, word
    assert not re.search(r"[\"'](holds|does not hold)", text), "a verdict is computed by its rule, not on the page"


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_next_is_the_next_number_that_exists(path):
    said = re.findall(r"\*\*Next:\*\* \[(\w+)\]\(\1\.ipynb\)", "\n".join(source(c) for c in read(path)["cells"]))
    later = [p.stem for p in PATHS if p.stem > path.stem]
    assert said == [later[0] if later else PATHS[0].stem]


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_outputs_are_committed_and_thin(path):
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size <= MAX_BYTES
    assert "widgets" not in read(path)["metadata"]
    assert not re.search(r"/(home|root|work|tmp|Users)/", text), "a path of a machine"
    assert read(path)["metadata"]["kernelspec"]["name"] == "python3"
    for cell in code_cells(path):
        assert cell["execution_count"] is not None, source(cell)[:60]  # else nbval would compare nothing
        for out in cell["outputs"]:
            assert out["output_type"] != "error" and out.get("name") != "stderr"
            assert "widget-view" not in json.dumps(out) and "object at 0x" not in json.dumps(out)
    pictures = sum("image/png" in out.get("data", {}) for c in code_cells(path) for out in c["outputs"])
    assert pictures >= 1


def unprinted(cells) -> list[str]:
    """Figures with a unit in running text that no output above them shows (predictions, tables, sources left out)."""
    above, missing = "", []
    for cell in cells:
        if cell["cell_type"] == "code":
            above += output_text(cell) + "\n"
            continue
        text = re.sub(r"<details>.*?</details>", "", source(cell), flags=re.S)
        if text.startswith(("## Sources", "## Traps", "# ")):
            continue
        running = "\n".join(line for line in text.splitlines() if not line.startswith((">", "|")))
        running = running.replace("95% interval", "interval")  # a level, nothing measured
        for number in re.findall(r"(?<![\w.,])(\d+(?:[.,]\d+)?) ?(?:%|points|nats|GiB|MiB|s\b)", running):
            if not re.search(rf"(?<![\d.]){re.escape(number)}(?![\d])", above):
                missing.append(f"{number} in {running[:60]!r}")
    return missing


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_every_figure_in_prose_was_printed_above(path):
    assert unprinted(read(path)["cells"]) == []


def test_the_check_of_figures_sees_a_wrong_one():
    def cell(kind, text, out=""):
        return {"cell_type": kind, "source": text, "outputs": [{"text": out}] if out else []}

    told = [cell("code", "print(x)", "accuracy 42%"), cell("markdown", "It reached 42% and 3 nats.")]
    assert len(unprinted(told)) == 1 and unprinted(told)[0].startswith("3 in")
    assert unprinted([cell("code", "", "142%"), cell("markdown", "It reached 42%.")])


@pytest.mark.parametrize("path", PATHS, ids=ids)
def test_links_between_notebooks_exist(path):
    for cell in read(path)["cells"]:
        for target in re.findall(r"\]\((\w+\.ipynb)\)", source(cell)):
            assert (path.parent / target).exists(), target
    assert "@@" not in path.read_text(encoding="utf-8") + (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_recipe_is_the_same_word_for_word():
    recipes = {p.stem: [source(c) for c in code_cells(p) if "recipe" in tags(c)] for p in PATHS}
    recipes = {name: cells for name, cells in recipes.items() if cells}
    assert len(recipes) >= 2 and all(cells == recipes["05_sft"] for cells in recipes.values())


TRAINS = re.compile(r"\w*Trainer\(|(?<!model)\.train\(")


def test_helpers_never_train():
    assert (
        TRAINS.search("x = SFTTrainer(model)")
        and TRAINS.search("trainer.train()\nx")
        and not TRAINS.search("model.train(was)")
    )
    for path in (ROOT / "helpers").glob("*.py"):
        assert not TRAINS.search(path.read_text(encoding="utf-8")), path.name


def test_helpers_can_be_copied_out_alone():
    """At module level: standard library, numpy, torch, matplotlib; of the siblings company and tasks, and the data's makers."""
    import sys

    allowed = set(sys.stdlib_module_names) | {"numpy", "torch", "matplotlib", "__future__", "company", "tasks", "data"}
    for path in (ROOT / "helpers").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or "."]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                assert name.split(".")[0] in allowed, (path.name, name)


def test_public_functions_have_docstrings():
    for path in [
        *(ROOT / "helpers").glob("*.py"),
        *(ROOT / "data").glob("*.py"),
        *(ROOT / "data" / "runs").glob("*.py"),
    ]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path.name
        for node in tree.body:
            if (
                isinstance(node, ast.FunctionDef | ast.ClassDef)
                and not node.name.startswith("_")
                and node.name != "main"
            ):
                assert ast.get_docstring(node), (path.name, node.name)
