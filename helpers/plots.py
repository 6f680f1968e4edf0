"""Figures of the course: one style, units on the axes, the finding as the title.

- ``use_style()``   `course.mplstyle`, once a notebook
- ``intervals()``   dots with 95% bars, one a line
- ``losses()``      training and validation loss over steps
- ``recorded()``    five seeds as a band behind the reader's own line
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#000000",
)
GREY = "#8a8a8a"


def use_style() -> None:
    """Load the course's style file."""
    plt.style.use(Path(__file__).with_name("course.mplstyle"))


def intervals(ax, items: dict):
    """Horizontal dots with bars, in percent. `items`: name → Interval (mean, low, high as fractions)."""
    names = list(items)
    for y, name in enumerate(reversed(names)):
        mean, low, high = (100 * x for x in items[name])
        ax.plot([low, high], [y, y], color=BLUE, lw=3, alpha=0.45, solid_capstyle="butt")
        ax.plot(mean, y, "o", color=BLUE)
        place = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center"}
        ax.annotate(f"{mean:.0f}%", (mean, y), fontsize=10, color=BLUE, **place)
    ax.set_yticks(range(len(names)), reversed(names))
    ax.set_ylim(-0.6, len(names) - 0.3)
    ax.grid(axis="y", visible=False)
    return ax


def losses(ax, log: list[dict], label: str = "", color: str = BLUE):
    """`trainer.state.log_history` as curves: training loss a line, validation loss a dashed line with dots."""
    train = [(e["step"], float(e["loss"])) for e in log if "loss" in e]
    valid = [(e["step"], float(e["eval_loss"])) for e in log if "eval_loss" in e]
    if train:
        ax.plot(*zip(*train), color=color, label=f"{label} training".strip())
    if valid:
        ax.plot(*zip(*valid), "o--", color=color, label=f"{label} validation".strip(), alpha=0.8)
    ax.set_xlabel("optimizer step")
    ax.set_ylabel("loss (nats per trained token)")
    return ax


def recorded(ax, steps, values, label: str = "recorded", color: str = GREY):
    """`values` (seeds, steps): the mean as a line, the range over seeds as a band."""
    values = np.asarray(values, dtype=float)
    ax.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.25, lw=0)
    ax.plot(steps, values.mean(0), color=color, label=f"{label} ({len(values)} seeds)")
    return ax
