"""The figures show what they are given."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from helpers import plots
from helpers.evaluate import Interval


def test_figures_show_what_they_are_given():
    plots.use_style()
    fig, ax = plt.subplots()
    plots.intervals(ax, {"a": Interval(0.5, 0.4, 0.6, 10, 5), "b": Interval(0.1, 0.0, 0.2, 10, 5)})
    assert [t.get_text() for t in ax.get_yticklabels()] == ["b", "a"]
    assert any("50%" == t.get_text() for t in ax.texts)
    fig, ax = plt.subplots()
    plots.losses(ax, [{"step": 1, "loss": "2.0"}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 1.5}], "run")
    assert [line.get_ydata().tolist() for line in ax.lines] == [[2.0, 1.0], [1.5]]
    plots.recorded(ax, [1, 2], np.array([[1, 2], [3, 4]]))
    assert ax.lines[-1].get_ydata().tolist() == [2.0, 3.0]
    plt.close("all")
