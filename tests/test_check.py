"""What the self-checks say to a reader."""

import pytest

from helpers import check


@pytest.mark.parametrize(
    "guess, said",
    [
        (" c ", "Right: C (it shrinks)."),
        ("C", "Right: C (it shrinks)."),
        ("B", "You said B. Measured: C (it shrinks)."),
        (..., "No guess entered. Measured: C (it shrinks)."),
    ],
)
def test_a_guess_is_read_without_spaces_and_case(guess, said, capsys):
    check.prediction(guess, "C", "it shrinks")
    assert capsys.readouterr().out == said + "\n"


def test_each_way_an_exercise_can_end(capsys):
    def said(function):
        check.try_exercise("2", function, lambda f: f(2) == 4 and f(3) == 9, "square it")
        return capsys.readouterr().out

    assert said(lambda x: x * x) == "Exercise 2: solved.\n"
    assert said(lambda x: 2 * x) == "Exercise 2: not yet. Hint: square it\n"
    assert said(lambda x: ...).startswith("Exercise 2: not started.")
    assert said(lambda x: x / 0) == (
        "Exercise 2: not yet. Hint: square it (your code raised ZeroDivisionError: division by zero)\n"
    )
