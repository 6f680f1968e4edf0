"""The runner: publishing, cleaning, names."""

import json

import pytest
from notebook_cells import notebook

from helpers import course


def copy_of_a_notebook(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    book = notebook((["colab"], 'REPO = ""  # owner/name'))
    book["cells"].insert(0, {"cell_type": "markdown", "metadata": {}, "source": "# Title"})
    (folder / "00_a.ipynb").write_text(json.dumps(book))
    return folder / "00_a.ipynb"


def test_publish_writes_badge_and_cell_and_takes_them_back(tmp_path):
    path = copy_of_a_notebook(tmp_path)
    assert course.publish("me/course", tmp_path) == 1
    text = path.read_text()
    assert "github/me/course/blob/main/notebooks/00_a.ipynb" in text and 'REPO = \\"me/course\\"' in text
    assert course.publish("me/course", tmp_path) == 0  # twice is once
    (tmp_path / "README.md").write_text("git clone <this repository> course && cd course\n")
    course.publish("you/other", tmp_path)
    assert (tmp_path / "README.md").read_text().startswith("git clone https://github.com/you/other course &&")
    assert "me/course" not in path.read_text() and path.read_text().count("colab-badge") == 1
    course.publish("", tmp_path)
    assert "colab-badge" not in path.read_text() and 'REPO = \\"\\"' in path.read_text()
    assert (tmp_path / "README.md").read_text().startswith("git clone <this repository> course &&")
    with pytest.raises(SystemExit, match="owner/name"):
        course.publish("https://x", tmp_path)


def test_every_notebook_knows_the_address_of_the_repository():
    repo = (course.ROOT / ".repository").read_text(encoding="utf-8").strip()
    for path in course.notebooks():
        text = path.read_text(encoding="utf-8")
        assert f'REPO = \\"{repo}\\"' in text and ("colab-badge" in text) == bool(repo), path.name


def test_clean_outputs_keeps_what_teaches():
    import nbformat

    book = notebook(([], "x"))
    book["cells"][0]["outputs"] = [
        {"output_type": "stream", "name": "stderr", "text": "warning"},
        {"output_type": "stream", "name": "stdout", "text": f"at {course.ROOT}/x"},
        {
            "output_type": "display_data",
            "metadata": {},
            "data": {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "0%|"},
        },
        {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<progress value=3>"}},
    ]
    book["metadata"]["widgets"] = {"state": {}}
    node = nbformat.from_dict(book)
    course.clean_outputs(node)
    assert [o["text"] for o in node.cells[0].outputs] == ["at .../x"] and "widgets" not in node.metadata


def test_run_names_an_unknown_notebook():
    with pytest.raises(SystemExit, match="no notebook starts with"):
        course.notebooks("77")
