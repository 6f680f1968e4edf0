"""Reading a loss curve: what is wrong with this run, by which number, and what to change.

- ``diagnose(losses, ...)``     one of `KINDS`, the number that says so, and what to do about it
- ``curve_watch()``             a trl callback: stops at NaN or at a run that runs away, and says at the end what the curve shows
- ``follow(start, curve_at)``   Q3's advice, "lower when it swings, raise when it crawls", played from a rate until it stops

The thresholds were found on 06's searched runs, 100 steps each (seeds 0-2; 135M and 1.5B): where the rate was right, nine tenths of the
fall were over by an eighth of the run. They belong to runs of about that length: a longer one at the same rate has fallen by a
smaller part of it. What a curve cannot show, and how often this reading is right on other tasks: 06, section 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FALL_BY = 0.125  # of the run: a fall that takes longer crawls
CLIMB = 0.05  # of the fall: a smoothed loss that climbs back by more swings
LEAST = 50  # logged losses: below, warm-up and smoothing alone take an eighth
LOST = 0.5  # of the fall: by more than this at the end, it diverged
KINDS = {  # kind: (what to do with the rate, advice)
    "nan": ("lower", "lower the rate tenfold; under fp16 use bf16 or float32; look for a row without a trained token"),
    "nothing trained": ("keep", "no weight moves: look for a rate of 0, frozen adapters, or labels that are all -100"),
    "diverging": ("lower", "lower the rate three- to tenfold"),
    "overfitting": ("keep", "stop where the validation loss was lowest; more rows help, fewer epochs too"),
    "oscillating": ("lower", "lower the rate threefold, or raise the batch size"),
    "crawling": ("raise", "raise the rate threefold, or train longer"),
    "plateau then drop": ("keep", "train on: it learnt in two stages, and may not be done"),
    "healthy": ("keep", "keep the rate; what it is worth, held-out rows say"),
}


@dataclass(frozen=True)
class Diagnosis:
    """What a curve shows: `kind` (one of `KINDS`), `evidence` with its number, `advice`, and `rate`: raise, lower or keep."""

    kind: str
    evidence: str

    @property
    def rate(self) -> str:
        return KINDS[self.kind][0]

    @property
    def advice(self) -> str:
        return KINDS[self.kind][1]

    def __str__(self) -> str:
        return f"{self.kind}: {self.evidence}; {self.advice}"


def smooth(losses, window: int) -> np.ndarray:
    """Moving average over `window` steps, centred, as long as `losses` (n,); at the ends over the steps that are there.

    >>> smooth([4.0, 2.0, 0.0], 3).tolist()
    [3.0, 2.0, 1.0]
    """
    losses, ones = np.asarray(losses, float), np.ones(window)
    return np.convolve(losses, ones, "same") / np.convolve(np.ones(len(losses)), ones, "same")


def fall_time(losses, share: float = 0.9) -> float:
    """By which part of the run (0 to 1) the smoothed loss has made `share` of its whole fall.

    >>> fast, slow = 3 * [4.0] + 57 * [0.1], np.linspace(4, 0, 60)
    >>> fall_time(fast) < FALL_BY < fall_time(slow)
    True
    """
    line, top = _line(losses)
    return int(np.argmax(line <= top - share * (top - line.min()))) / len(line)


def climb(losses) -> float:
    """How far the smoothed loss climbs above its own earlier low, as a share of the whole fall from the start; 0 where the climb
    is not more than the noise of single steps explains, infinite where it never fell.

    >>> climb([4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), climb(10 * [4.0])
    (0.0, inf)
    """
    line, top = _line(losses)
    fall, most = top - line.min(), (line - np.minimum.accumulate(line)).max()
    if fall <= 0:
        return float("inf")
    noise = (
        np.median(np.abs(np.diff(losses))) / 0.954
    )  # of one step; 0.954: a difference of two normal draws, its median size
    return float(most / fall) if most > 3 * noise / np.sqrt(_window(losses)) else 0.0


def _line(losses) -> tuple[np.ndarray, float]:
    """The smoothed curve, and the level it began at."""
    return smooth(losses, _window(losses)), float(np.mean(losses[:3]))


def _window(losses) -> int:
    return max(3, len(losses) // 10)


def diagnose(losses, valid=(), grad_norms=()) -> Diagnosis:
    """What the training losses of a run show; one a logged step (n,), from the first to the last.

    `valid`: validation losses, evenly spaced; `grad_norms`: one a logged step. ValueError below `LEAST` losses.

    >>> diagnose([4.0, 3.9, float("nan")] + 60 * [0.0]).kind
    'nan'
    >>> diagnose(np.linspace(4, 2, 100)).rate
    'raise'
    """
    losses, norms = np.asarray(losses, float), np.asarray(grad_norms, float)
    if len(losses) < LEAST:
        raise ValueError(
            f"{len(losses)} logged losses: a curve is read from {LEAST} on; set logging_steps=1, or train longer"
        )
    for name, values in (("loss", losses), ("gradient", norms), ("validation loss", np.asarray(valid, float))):
        if not np.isfinite(values).all():
            return Diagnosis(
                "nan", f"the {name} of logged step {int(np.argmin(np.isfinite(values))) + 1} is no number"
            )
    if (len(norms) and not norms.any()) or not np.ptp(losses):
        return Diagnosis(
            "nothing trained", "every gradient is 0" if len(norms) and not norms.any() else "every loss is the same"
        )
    line, top = _line(losses)
    low, end, climbed, slow = line.min(), line[-1], climb(losses), fall_time(losses)
    if end - low > LOST * max(top - low, 0) or climbed > 1:
        return Diagnosis(
            "diverging", f"from {top:.2f} by way of {low:.2f} to {end:.2f}, having climbed {line.max():.2f}"
        )
    if len(valid) > 2 and valid[-1] > 1.1 * min(valid):
        best = int(np.argmin(valid))
        return Diagnosis(
            "overfitting", f"validation loss {min(valid):.2f} at its check {best + 1}, {valid[-1]:.2f} at the last"
        )
    if climbed > CLIMB:
        return Diagnosis("oscillating", f"the smoothed loss climbed back by {climbed:.0%} of its fall")
    if at := _second_drop(line):
        return Diagnosis("plateau then drop", f"flat until step {at}, then less than half of that level")
    if slow > FALL_BY:
        return Diagnosis("crawling", f"nine tenths of the fall took {slow:.0%} of the run")
    return Diagnosis("healthy", f"nine tenths of the fall took {slow:.0%} of the run, climbing back {climbed:.0%}")


def _second_drop(line: np.ndarray) -> int:
    """The step at which a flat fifth of the run ends, if the loss is later less than half of it; 0 if there is none."""
    width = max(3, len(line) // 5)
    for end in range(len(line) - 1, 2 * width, -1):
        flat = line[end - width : end]
        if np.ptp(flat) < 0.15 * flat.mean() and line[end:].min() < 0.5 * flat.mean():
            return end
    return 0


def curve_watch(give_up: float = 3.0):
    """A callback for trl's and transformers' trainers: stops a run whose loss is no number or above `give_up` times its first, and
    keeps in `.diagnosis` why, or what the whole curve shows (None below `LEAST` logged steps).

    A trainer logs a loss that is no number as 0.0 (`logging_nan_inf_filter`). So a run is stopped, too, whose last two logged
    gradients are no numbers; one alone is what scaling in fp16 does at times.

    >>> curve_watch(give_up=3).diagnosis is None
    True
    """
    from transformers import TrainerCallback  # here, so that the rest of the module needs numpy alone

    class CurveWatch(TrainerCallback):
        diagnosis = None

        def on_log(self, args, state, control, logs=None, **_):
            logged = [e for e in state.log_history if "loss" in e]
            losses = [float(e["loss"]) for e in logged]
            broken = len(logged) > 1 and not any(np.isfinite(float(e.get("grad_norm", 0))) for e in logged[-2:])
            if self.diagnosis is None and losses and (broken or not losses[-1] <= give_up * losses[0]):
                control.should_training_stop = True
                found = f"the loss is {losses[-1]:.2f}, it began at {losses[0]:.2f}"
                if broken:
                    found = "the last two logged gradients are no numbers, whatever the loss says"
                kind = "nan" if broken or not np.isfinite(losses[-1]) else "diverging"
                self.diagnosis = Diagnosis(kind, f"stopped at step {state.global_step}: {found}")
                print(self.diagnosis)

        def on_train_end(self, args, state, control, **_):
            logs = [e for e in state.log_history if "loss" in e]
            valid = [float(e["eval_loss"]) for e in state.log_history if "eval_loss" in e]
            if self.diagnosis is None and len(logs) >= LEAST:
                norms = [float(e["grad_norm"]) for e in logs if "grad_norm" in e]
                self.diagnosis = diagnose([float(e["loss"]) for e in logs], valid, norms)

    return CurveWatch()


def follow(start: int, curve_at, rates: int, tries: int = 5) -> list[int]:
    """Places on a ladder of `rates` learning rates that the advice visits, the last of them its choice.

    `curve_at(place)` gives the losses of a run at that rate. It raises while the curve crawls, lowers while it swings or
    diverges, and stops at a healthy one, at either end, at a place it has seen (the lower of the two counts), after `tries` runs.

    >>> slow, wild = np.linspace(4, 2, 100), np.concatenate([np.linspace(4, 1, 50), np.linspace(1, 9, 50)])
    >>> follow(0, {0: slow, 1: slow, 2: wild}.get, 3)
    [0, 1, 2, 1]
    """
    path = [start]
    while True:
        move = {"raise": 1, "lower": -1, "keep": 0}[diagnose(curve_at(path[-1])).rate]
        after = min(max(path[-1] + move, 0), rates - 1)
        if after == path[-1]:
            return path
        if after in path:  # between a curve that crawls and one that swings: the lower
            return path if path[-1] < after else [*path, after]
        if len(path) == tries:
            return path
        path.append(after)
