"""Each exercise: the hidden solution passes its check, the untouched stub does not."""

import re

import pytest
from notebook_cells import PATHS, read, source, tags


def exercises(path):
    """`(stub, check, solution)` of each exercise, in order."""
    cells = read(path)["cells"]
    found = []
    for i, cell in enumerate(cells):
        if "exercise" in tags(cell):
            check = next(c for c in cells[i:] if "exercise-check" in tags(c))
            solution = next(c for c in cells[i:] if "solution" in tags(c))
            found.append((source(cell), source(check), re.search(r"```python\n(.*?)```", source(solution), re.S)[1]))
    return found


ALL_EXERCISES = [(f"{p.stem[:2]}-{k + 1}", *e) for p in PATHS for k, e in enumerate(exercises(p))]


@pytest.mark.parametrize("name, stub, check, solution", ALL_EXERCISES, ids=[e[0] for e in ALL_EXERCISES])
def test_solution_passes_and_stub_does_not(name, stub, check, solution, capsys):
    exec(compile(solution + "\n" + check, name, "exec"), {})
    assert "solved" in capsys.readouterr().out
    exec(compile(stub + "\n" + check, name, "exec"), {})
    said = capsys.readouterr().out
    assert "not started" in said and "solved" not in said


def test_every_notebook_has_an_exercise():
    assert {e[0][:2] for e in ALL_EXERCISES} == {p.stem[:2] for p in PATHS}
