"""Sizing: curves whose answer is known, simulated rows whose variance is known, textbook numbers."""

import ast
import math
from pathlib import Path

import numpy as np
import pytest

from helpers import sizing
from helpers.sizing import Estimate, PowerLaw

GRID = (50, 100, 200, 400, 800)


def verdicts(law, families, per_family, seeds, rng, sizes=GRID, spread=0.6):
    """Verdicts (seeds, rows) at each size: a family moves the logit by the same amount at all sizes and seeds."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    weights = weights / weights.sum()

    def shift(p):  # the logit whose mean over families is p
        low, high = -20.0, 20.0
        for _ in range(60):
            middle = (low + high) / 2
            mean = (weights / (1 + np.exp(-(middle + spread * nodes)))).sum()
            low, high = (middle, high) if mean < p else (low, middle)
        return middle

    effect = rng.normal(0, spread, families).repeat(per_family)
    runs = {}
    for n in sizes:
        p = 1 / (1 + np.exp(-(shift(law.at(n)) + effect)))
        runs[n] = (rng.random((seeds, len(p))) < p).astype(int)
    return runs, np.arange(families).repeat(per_family)


# ---------------------------------------------------------------- test rows


def test_textbook_numbers():
    assert sizing.rows_to_tell(0.80, 0.85) == pytest.approx(906, abs=2)
    assert sizing.rows_to_tell(0.85, 0.80) == sizing.rows_to_tell(0.80, 0.85) == sizing.rows_to_tell(0.15, 0.20)
    assert sizing.rows_to_tell(0.5, 0.6) == pytest.approx(388, abs=1)  # Fleiss' tables, without correction
    assert sizing.rows_to_tell(0.80, 0.85, power=0.9) > sizing.rows_to_tell(0.80, 0.85)
    assert sizing.rows_to_tell(0.80, 0.85, level=0.99) > sizing.rows_to_tell(0.80, 0.85)


def test_detectable_and_rows_to_tell_are_two_sides_of_one_formula():
    for options in ({}, {"correlation": 0.5}, {"families": 300, "icc": 0.1}, {"power": 0.9, "level": 0.99}):
        n = sizing.rows_to_tell(0.80, 0.85, **options)
        assert sizing.detectable(n, p=0.825, **options) == pytest.approx(0.05, rel=0.01)


def test_the_power_is_what_it_says():
    """Simulated comparisons of 0.80 with 0.85 on the rows asked for: four in five come out significant."""
    rng, n = np.random.default_rng(0), sizing.rows_to_tell(0.80, 0.85)
    a, b = rng.binomial(n, 0.80, 4000) / n, rng.binomial(n, 0.85, 4000) / n
    mean = (a + b) / 2
    significant = np.abs(b - a) > 1.96 * np.sqrt(2 * mean * (1 - mean) / n)
    assert significant.mean() == pytest.approx(0.80, abs=0.03)


def test_the_power_of_a_paired_comparison():
    rng, p1, p2 = np.random.default_rng(1), 0.80, 0.85
    rho = 0.6
    n = sizing.rows_to_tell(p1, p2, correlation=rho)
    both = p1 * p2 + rho * math.sqrt(p1 * (1 - p1) * p2 * (1 - p2))
    counts = rng.multinomial(n, [both, p1 - both, p2 - both, 1 - p1 - p2 + both], 4000)
    difference, discordant = counts[:, 2] - counts[:, 1], counts[:, 1] + counts[:, 2]
    assert (np.abs(difference) > 1.96 * np.sqrt(discordant)).mean() == pytest.approx(0.80, abs=0.04)


def test_few_families_set_a_limit_that_no_number_of_rows_passes():
    assert sizing.rows_to_tell(0.80, 0.85, families=200, icc=0.3) == math.inf
    assert 906 < sizing.rows_to_tell(0.80, 0.85, families=400, icc=0.3) < math.inf
    assert sizing.rows_to_tell(0.80, 0.85, families=2000, icc=0.3) == 906  # a family for every row
    assert sizing.effective_rows(10**6, 64, 0.3) == pytest.approx(64 / 0.3, rel=0.001)


def test_design_effect_agrees_with_simulated_families():
    rng, families, m = np.random.default_rng(2), 40, 8
    p = rng.beta(4, 2, (3000, families)).repeat(m, axis=1)  # icc of a beta-binomial: 1 / (4 + 2 + 1)
    rows = rng.random(p.shape) < p
    ratio = rows.mean(1).var() / ((4 / 6) * (2 / 6) / (families * m))
    assert sizing.design_effect(families * m, families, 1 / 7) == pytest.approx(ratio, rel=0.08)
    measured = np.mean([sizing.icc(r, np.arange(families).repeat(m)) for r in rows[:200]])
    assert measured == pytest.approx(1 / 7, abs=0.015)


def test_icc_with_seeds_and_unequal_families():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 12, 300)
    families = np.arange(300).repeat(sizes)
    p = rng.beta(2, 2, 300).repeat(sizes)
    assert sizing.icc(rng.random((4, len(p))) < p, families) == pytest.approx(1 / 5, abs=0.03)
    assert sizing.icc(rng.random(len(p)) < 0.5, families) == pytest.approx(0, abs=0.03)
    assert sizing.icc(np.ones(4), ["a", "a", "b", "b"]) == 0


# ---------------------------------------------------------------- the curve


@pytest.mark.parametrize(
    "law",
    [PowerLaw(0.9, 5, 0.5), PowerLaw(0.95, 1.5, 0.2), PowerLaw(0.7, 40, 1.1), PowerLaw(1.0, 3, 0.35)],
    ids=str,
)
def test_noiseless_law_is_recovered(law):
    fit = sizing.fit_power_law(GRID, law.at(np.array(GRID)))
    assert (fit.ceiling, fit.scale, fit.exponent) == pytest.approx((law.ceiling, law.scale, law.exponent), rel=0.02)


def test_fit_agrees_with_a_general_optimizer():
    from scipy.optimize import least_squares

    rng = np.random.default_rng(4)
    for _ in range(10):
        y = np.clip(PowerLaw(0.85, 4, 0.5).at(np.array(GRID)) + rng.normal(0, 0.03, len(GRID)), 0, 1)
        fit, low = sizing.fit_power_law(GRID, y), y.max()
        x = np.array(GRID) / 200
        error = lambda v: v[0] - v[1] * x ** -v[2] - y  # noqa: B023
        starts = [(low + 1e-6, 0.2, b) for b in (0.1, 0.5, 1, 2)] + [(1 - 1e-6, 0.2, b) for b in (0.1, 0.5)]
        best = min(least_squares(error, s, bounds=([low, 0, 0.01], [1, np.inf, 3])).cost for s in starts)
        assert ((fit.at(np.array(GRID)) - y) ** 2).sum() <= 2 * best + 1e-6
        assert low <= fit.ceiling <= 1 and fit.scale >= 0 and 0.01 <= fit.exponent <= 3.0001


def test_flat_and_falling_scores_give_a_law_within_its_bounds():
    flat = sizing.fit_power_law(GRID, [0.6] * 5)
    assert flat.at(3200) == pytest.approx(0.6, abs=1e-6)
    falling = sizing.fit_power_law(GRID, [0.6, 0.55, 0.5, 0.45, 0.4])
    assert falling.scale >= 0 and falling.ceiling >= 0.6  # the law cannot fall: look at diagnose()


def test_repeated_sizes():
    law = PowerLaw(0.9, 5, 0.5)
    scores = law.at(np.array(GRID)).tolist()
    swayed = sizing.fit_power_law((*GRID, 400), [*scores, 0.5])
    assert swayed.at(400) < law.at(400)


def test_the_interval_at_the_largest_size_covers_the_truth():
    law, rng, hits, gains = PowerLaw(0.92, 5, 0.5), np.random.default_rng(5), 0, 0
    for trial in range(40):
        c = sizing.curve(*verdicts(law, 80, 4, 3, rng), resamples=300, seed=trial)
        _, low, high = c.predict(800)
        hits += low <= law.at(800) <= high
        _, low, high = c.gain(400)
        gains += low <= law.at(800) - law.at(400) <= high
    assert hits >= 34, hits  # 85% of 40
    assert gains >= 30, gains


def test_curve_carries_its_points_and_its_limits():
    law = PowerLaw(0.92, 5, 0.5)
    runs, families = verdicts(law, 60, 5, 3, np.random.default_rng(6))
    c = sizing.curve(runs, families, resamples=200)
    assert c.sizes == GRID and len(c.points) == 5 and c.refits.shape == (200, 3)
    assert [p.mean for p in c.points] == pytest.approx([runs[n].mean() for n in GRID])
    assert all(p.low < p.mean < p.high for p in c.points)
    assert not c.predict(800).extrapolated and c.predict(801).extrapolated
    assert not c.gain(400).extrapolated and c.gain(401).extrapolated and c.gain(300, 3).extrapolated
    assert "(extrapolated)" in str(c.predict(5000)) and "(" not in str(c.predict(100))
    width = lambda e: e.high - e.low
    assert width(c.predict(8000)) > width(c.predict(400)) and c.gain(400).mean > c.gain(400, 1.5).mean > 0
    again = sizing.curve(dict(reversed(runs.items())), families, resamples=200)
    assert again.predict(400) == c.predict(400)  # the order of the sizes is theirs, not the dict's


def test_rows_to_target():
    assert sizing.rows_to_target([100, 200, 400], [0.2, 0.5, 0.8], 0.5) == 200
    assert sizing.rows_to_target([400, 100, 200], [0.8, 0.2, 0.5], 0.65) == pytest.approx(math.sqrt(200 * 400))
    assert sizing.rows_to_target([100, 200, 400], [0.2, 0.5, 0.8], 0.81) == math.inf
    assert sizing.rows_to_target([100, 200, 400], [0.2, 0.5, 0.8], 0.1) == 100
    # a later fall, for want of steps, does not undo a crossing
    crossed = 100 * 2 ** ((0.55 - 0.2) / (0.6 - 0.2))
    assert sizing.rows_to_target([100, 200, 400, 800], [0.2, 0.6, 0.4, 0.8], 0.55) == pytest.approx(crossed)
    assert sizing.rows_to_target([100, 100, 200], [0.1, 0.3, 0.5], 0.35) == pytest.approx(
        100 * 2**0.5
    )  # seeds averaged
    # several seeds of one size are averaged
    assert sizing.rows_to_target([100, 100, 200, 200], [0.1, 0.3, 0.7, 0.9], 0.5) == pytest.approx(math.sqrt(20000))


# ---------------------------------------------------------------- step by step


def verdict(*gain, worth=0.02):
    return sizing._verdict(Estimate(*gain), 1.0, 0.0, worth)[0]


def test_a_gain_has_a_verdict():
    assert verdict(0.10, 0.05, 0.15) == "grow"
    assert verdict(0.00, -0.015, 0.015) == "stop"
    assert verdict(-0.10, -0.15, -0.05) == "fall"
    assert verdict(0.05, -0.02, 0.12) == "measure more"
    assert verdict(0.01, 0.005, 0.03) == "measure more"  # a gain, but is it worth it?
    assert verdict(0.05, 0.03, 0.07, worth=0.1) == "stop"


def test_stop_growing_stops_where_the_curve_flattens():
    rng, base = np.random.default_rng(7), np.random.default_rng(8).random(600)
    families = np.arange(600) // 3
    share = {50: 0.3, 100: 0.6, 200: 0.8, 400: 0.802, 800: 0.95}
    runs = {n: np.tile(base < p, (2, 1)).astype(int) for n, p in share.items()}  # two seeds that agree
    walk = sizing.stop_growing(runs, families, worth=0.02)
    assert (walk.size, walk.stopped, [s.verdict for s in walk.steps]) == (200, True, ["grow", "grow", "stop"])
    assert "200 -> 400" in walk.steps[-1].reason and "below 0.02" in walk.steps[-1].reason
    del runs[400], runs[800]
    assert (sizing.stop_growing(runs, families).size, sizing.stop_growing(runs, families).stopped) == (200, False)
    few = {n: (rng.random((1, 30)) < 0.5).astype(int) for n in (50, 100)}
    walk = sizing.stop_growing(few, np.arange(30))
    assert walk.steps[0].verdict == "measure more" and not walk.stopped and "seeds would tell" in walk.steps[0].reason


FITTED = [1.0, 1.0, 1.0, 0.99, 0.98]
DIAGNOSES = [
    ("a rising curve", [0.2, 0.35, 0.5, 0.62, 0.72], FITTED, "rising"),
    ("rising from the floor, late", [0.1, 0.1, 0.12, 0.2, 0.35], FITTED, "rising"),
    ("risen and saturated", [0.4, 0.7, 0.88, 0.91, 0.915], FITTED, "flat: enough"),
    ("high from the start", [0.90, 0.91, 0.91, 0.92, 0.92], FITTED, "flat: enough"),
    ("learned by heart, at the floor", [0.10, 0.11, 0.12, 0.12, 0.13], FITTED, "flat: too few rows"),
    ("contradictory labels", [0.30, 0.31, 0.30, 0.31, 0.30], [0.95, 0.8, 0.65, 0.5, 0.4], "flat: poor rows"),
    ("never fitted", [0.20, 0.21, 0.21, 0.20, 0.21], [0.4, 0.4, 0.35, 0.35, 0.3], "flat: poor rows"),
    ("worse with every step", [0.6, 0.55, 0.45, 0.4, 0.3], FITTED, "falling"),
    ("up, then down for good", [0.4, 0.6, 0.65, 0.5, 0.4], FITTED, "falling"),
    ("up and down", [0.5, 0.3, 0.6, 0.35, 0.55], FITTED, "noisy"),
    ("small wobbles on a clear rise", [0.1, 0.3, 0.28, 0.6, 0.75], FITTED, "rising"),
]


@pytest.mark.parametrize("name, held, train, label", DIAGNOSES, ids=[d[0] for d in DIAGNOSES])
def test_diagnose(name, held, train, label):
    found = sizing.diagnose(GRID, held, train, floor=0.1)
    assert found.label == label and f"{held[-1]:.2f}" in found.reason


def test_diagnose_measures_noise_from_the_seeds():
    held = [[0.1, 0.5], [0.2, 0.5], [0.0, 0.7]]  # means 0.30, 0.35, 0.35
    assert sizing.diagnose([100, 200, 400], held, [1, 1, 1], floor=0.1).label == "noisy"
    calm = [[0.30, 0.30], [0.35, 0.35], [0.35, 0.35]]
    assert sizing.diagnose([100, 200, 400], calm, [[1, 1], [1, 1], [1, 1]], floor=0.1).label == "flat: too few rows"
    assert sizing.diagnose([100, 200, 400], calm, [1, 1, 1], floor=0.1, noise=0.2).label == "noisy"
    assert sizing.diagnose([100, 200, 400], calm, [1, 1, 1], floor=0.1, enough=0.2).label == "flat: enough"
    assert sizing.diagnose([100, 200, 400], [0.2, 0.3, 0.4], [1, 1, 1], floor=0.1, flat=0.2).label.startswith("flat")


# ---------------------------------------------------------------- errors and form

RUNS = {n: np.tile([1, 0], (2, 5)) for n in (50, 100, 200)}
ERRORS = [
    ("families for 10 rows", lambda: sizing.design_effect(10, 11, 0.1)),
    ("0 families", lambda: sizing.design_effect(10, 0, 0.1)),
    ("icc 1.5", lambda: sizing.effective_rows(10, 5, 1.5)),
    ("at least two families", lambda: sizing.icc([1, 0], ["a", "a"])),
    ("several rows", lambda: sizing.icc([1, 0], ["a", "b"])),
    ("one family a row", lambda: sizing.icc([1, 0, 1], ["a", "b"])),
    ("NaN", lambda: sizing.icc([1, float("nan")], ["a", "a"])),
    ("row 1 has no family", lambda: sizing.icc([1, 0, 1], ["a", None, "a"])),
    ("p 80 must", lambda: sizing.detectable(100, p=80)),
    ("power 1 must", lambda: sizing.detectable(100, power=1)),
    ("level 0 must", lambda: sizing.detectable(100, level=0)),
    ("whole number", lambda: sizing.detectable(0)),
    ("whole number", lambda: sizing.detectable(10.5)),
    ("correlation 1", lambda: sizing.detectable(100, correlation=1)),
    ("without families", lambda: sizing.detectable(100, icc=0.2)),
    ("without families", lambda: sizing.rows_to_tell(0.8, 0.9, icc=0.2)),
    ("families for 100 rows", lambda: sizing.detectable(100, families=200)),
    ("icc -1", lambda: sizing.rows_to_tell(0.8, 0.9, families=10, icc=-1)),
    ("p2 1.2", lambda: sizing.rows_to_tell(0.8, 1.2)),
    ("both 0.8", lambda: sizing.rows_to_tell(0.8, 0.8)),
    (r"allow 0\.\.0.84", lambda: sizing.rows_to_tell(0.80, 0.85, correlation=0.9)),
    ("n 0 must", lambda: PowerLaw(0.9, 5, 0.5).at(0)),
    ("2 distinct sizes", lambda: sizing.fit_power_law([50, 50, 100], [0.1, 0.2, 0.3])),
    ("one length", lambda: sizing.fit_power_law([50, 100, 200], [0.1, 0.2])),
    ("a score", lambda: sizing.fit_power_law([50, 100, 200], [10, 20, 30])),
    ("a score", lambda: sizing.fit_power_law([50, 100, 200], [0.1, float("nan"), 0.3])),
    ("a size", lambda: sizing.fit_power_law([0, 100, 200], [0.1, 0.2, 0.3])),
    ("no runs", lambda: sizing.curve({}, [])),
    ("2 distinct sizes", lambda: sizing.curve({n: RUNS[n] for n in (50, 100)}, range(10))),
    ("one family a row", lambda: sizing.curve(RUNS, range(9))),
    ("one seed at 50, 200 rows", lambda: sizing.curve(RUNS | {50: RUNS[50][:1], 200: RUNS[200][0]}, range(10))),
    ("0 or 1", lambda: sizing.curve(RUNS | {400: RUNS[50] * 0.5}, range(10))),
    ("a size", lambda: sizing.curve(RUNS | {0: RUNS[50]}, range(10))),
    ("factor 1", lambda: sizing.curve(RUNS, range(10)).gain(100, 1)),
    ("n 0", lambda: sizing.curve(RUNS, range(10)).predict(0)),
    ("target 80", lambda: sizing.rows_to_target([50, 100], [0.1, 0.2], 80)),
    ("1 distinct sizes", lambda: sizing.rows_to_target([50, 50], [0.1, 0.2], 0.5)),
    ("worth 0", lambda: sizing.stop_growing(RUNS, range(10), worth=0)),
    ("a step needs two", lambda: sizing.stop_growing({50: RUNS[50]}, range(10))),
    ("one entry for each size", lambda: sizing.diagnose([1, 2, 3], [0.1] * 3, [0.1] * 2, 0)),
    ("floor 1", lambda: sizing.diagnose([1, 2, 3], [0.1] * 3, [0.1] * 3, 1)),
    ("must rise", lambda: sizing.diagnose([1, 3, 2], [0.1] * 3, [0.1] * 3, 0)),
    ("2 distinct sizes", lambda: sizing.diagnose([1, 2], [0.1] * 2, [0.1] * 2, 0)),
    ("a score", lambda: sizing.diagnose([1, 2, 3], [0.1] * 3, [90, 90, 90], 0)),
]


@pytest.mark.parametrize("message, call", ERRORS, ids=[f"{i}: {m}" for i, (m, _) in enumerate(ERRORS)])
def test_clear_errors(message, call):
    with pytest.raises(ValueError, match=message):
        call()


def test_estimate_unpacks_and_the_module_stands_alone():
    assert tuple(Estimate(0.5, 0.4, 0.6, True)) == (0.5, 0.4, 0.6)
    tree = ast.parse(Path(sizing.__file__).read_text(encoding="utf-8"))
    named = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in tree.body if hasattr(n, "names")}
    assert named == {"__future__", "math", "dataclasses", "statistics", "numpy"}


def test_a_walk_does_not_stop_at_the_floor():
    rng = np.random.default_rng(0)
    flat_low = {n: rng.random((3, 400)) < 0.02 for n in (25, 100, 400)}
    walk = sizing.stop_growing(flat_low | {1600: rng.random((3, 400)) < 0.7}, np.arange(400))
    assert walk.size == 1600 and "floor" in walk.steps[0].reason
    high = {n: rng.random((3, 2000)) < 0.8 for n in (25, 100)}
    assert sizing.stop_growing(high, np.arange(2000), worth=0.05).stopped
    assert not sizing.stop_growing(high, np.arange(2000), worth=0.05, floor=0.75).stopped


def test_a_fall_is_no_reason_to_stop():
    up, down = np.tile([1, 1, 1, 0], (3, 50)), np.tile([1, 1, 0, 0], (3, 50))
    walk = sizing.stop_growing({100: down, 200: up, 400: down}, np.arange(200))
    assert not walk.stopped and [s.verdict for s in walk.steps] == ["grow", "fall"]
    assert "steps are missing" in walk.steps[-1].reason


def test_icc_of_uneven_families_equals_the_textbook_sums():
    rng = np.random.default_rng(0)
    families = np.repeat(np.arange(12), rng.integers(1, 9, 12))
    values = (rng.random((3, len(families))) < rng.random(12)[families]).astype(float)
    rows, k = len(families), 12
    between = within = 0.0
    for v in values:
        for f in range(k):
            mine = v[families == f]
            between += len(mine) * (mine.mean() - v.mean()) ** 2 / (k - 1) / 3
            within += ((mine - mine.mean()) ** 2).sum() / (rows - k) / 3
    size = (rows - sum((families == f).sum() ** 2 for f in range(k)) / rows) / (k - 1)
    expected = (between - within) / (between + (size - 1) * within)
    assert sizing.icc(values, families) == pytest.approx(expected, abs=1e-12) and expected > 0.05


def test_resampled_means_divide_by_the_rows_drawn_and_draw_seeds():
    """Two families, 9 rows and 1; two seeds that disagree: every resample is one of the few values it can be."""
    families = ["a"] * 9 + ["b"]
    runs = {100: np.array([[1] * 9 + [0], [0] * 10]), 200: np.array([[1] * 10, [0] * 10])}
    _, means, drawn = sizing._resample(runs, families, 400, 0)
    assert means.tolist() == [0.45, 0.5]
    one = {0.0, 0.9, 1.0}  # of seed 0 at 100 rows: bb, ab, aa
    assert set(np.round(drawn[:, 0], 3)) <= {round(w * x, 3) for w in (0, 0.5, 1) for x in one}
    assert len(set(np.round(drawn[:, 1], 3))) == 3  # 0, half, 1: how often each seed was drawn


def test_rows_needed_gives_a_95_percent_interval():
    rng = np.random.default_rng(1)
    families = np.arange(300) // 3
    runs = {n: rng.random((4, 300)) < p for n, p in ((50, 0.3), (200, 0.55), (800, 0.8))}
    e = sizing.rows_needed(runs, families, 0.6, resamples=1000)
    mean, drawn = sizing._rows_drawn(runs, families, 0.6, 1000, 0)
    assert e.mean == mean and 0.94 <= ((drawn >= e.low) & (drawn <= e.high)).mean() <= 0.96


def test_points_have_the_binomial_95_percent_interval():
    """100 rows, each a family, half of them right: the middle 95% of binomial(100, 1/2) are 40 to 60."""
    runs = {n: np.tile(np.arange(100) < k, (2, 1)) for n, k in ((50, 30), (100, 50), (200, 50))}  # seeds that agree
    c = sizing.curve(runs, np.arange(100), resamples=4000)
    assert (c.points[1].low, c.points[1].high) == pytest.approx((0.40, 0.60), abs=0.011)
    assert c.points[1] == c.points[2]  # a resample draws the same families for all sizes


def test_resamples_are_drawn_by_their_number_and_seed():
    rng = np.random.default_rng(9)
    families = np.arange(120) // 3
    runs = {n: rng.random((3, 120)) < p for n, p in ((50, 0.3), (100, 0.5), (200, 0.7))}
    other = {n: rng.random((3, 120)) < p for n, p in ((50, 0.2), (100, 0.4), (200, 0.6))}
    for ask in (
        lambda seed: sizing.curve(runs, families, 50, seed).points,
        lambda seed: sizing.rows_ratio(other, families, runs, families, 0.5, 50, seed),
        lambda seed: sizing.stop_growing(runs, families, resamples=50, seed=seed).steps[0].gain,
    ):
        assert ask(1) == ask(1) != ask(2)
    assert sizing._rows_drawn(runs, families, 0.5, 7, 0)[1].shape == (7,)
    gain = sizing.stop_growing(runs, families, resamples=1).steps[0].gain
    assert gain.low == gain.high  # one resample has no width


def test_a_ratio_of_rows_counts_what_is_not_reached_once_as_the_largest_size_and_once_as_inf():
    none, all_ = np.zeros((2, 10)), np.ones((2, 10))
    ratio = lambda a, b: tuple(sizing.rows_ratio(a, np.arange(10), b, np.arange(10), 0.5, resamples=20))
    assert ratio({100: none, 400: none}, {50: none, 200: none}) == (2.0, 0.0, math.inf)
    assert ratio({100: none, 400: none}, {50: all_, 200: all_}) == (8.0, 8.0, math.inf)
    assert ratio({100: all_, 400: all_}, {50: none, 200: none}) == (0.5, 0.0, 0.5)


def walked(*right):
    """The walk over sizes whose first `right` of 1,000 rows are right: small differences, told sharply."""
    runs = {100 * 2**i: np.arange(1000)[None] < k for i, k in enumerate(right)}
    return [s.verdict for s in sizing.stop_growing(runs, np.arange(1000), worth=0.05).steps]


def test_the_floor_is_compared_with_the_larger_size_and_a_small_drop_is_no_fall():
    assert walked(95, 105) == ["stop"] and walked(85, 95) == ["grow"] and walked(105, 95) == ["grow"]
    assert walked(300, 290) == ["stop"] and walked(300, 270) == ["stop"] and walked(300, 200) == ["fall"]


def test_what_a_step_is_worth_counts_at_the_threshold_itself():
    assert verdict(0.02, 0.01, 0.03, worth=0.02) == "grow"  # a mean of at least worth
    assert verdict(0.00, -0.02, 0.02, worth=0.02) == "measure more"  # an upper bound that is not below it
    assert verdict(0.05, 0.00, 0.10, worth=0.02) == "measure more"  # a lower bound that is not above 0


def test_a_diagnosis_by_each_of_its_numbers():
    said = lambda held, train=(1, 1, 1, 1), floor=0.1, sizes=(100, 200, 400, 800): sizing.diagnose(
        sizes, held, train, floor
    )
    # 4 points more for eight times the rows: 1.3 a doubling, less than 2
    assert said([0.2, 0.4, 0.44], (1, 1, 1), sizes=(100, 200, 1600)).label == "flat: too few rows"
    assert said([0.2, 0.4, 0.44], (1, 1, 1), sizes=(100, 200, 400)).label == "rising"
    # two falls in a row from the best size, by more than twice `change` together
    assert said([0.3, 0.5, 0.44, 0.38]).label == "falling" and said([0.3, 0.5, 0.46, 0.41]).label != "falling"
    # the train score falls by 8 or by 11 points as rows are added, and stays above 0.8
    assert said([0.3, 0.3, 0.3, 0.3], (0.95, 0.93, 0.9, 0.87)).label == "flat: too few rows"
    assert said([0.3, 0.3, 0.3, 0.3], (0.95, 0.93, 0.9, 0.84)).label == "flat: poor rows"
    # three quarters of the way from a floor of 0.5 to 1 are 0.875
    assert said([0.88, 0.88, 0.89, 0.88], floor=0.5).label == "flat: enough"
    assert said([0.86, 0.86, 0.87, 0.86], floor=0.5).label == "flat: too few rows"


def test_the_noise_is_that_of_a_difference_of_two_means():
    """Two seeds 4 points apart: variance 0.0008, of a mean 0.0004, of a difference 0.0008."""
    found = sizing.diagnose([100, 200, 400], [[0.3, 0.34], [0.36, 0.4], [0.4, 0.44]], [1, 1, 1], floor=0.1)
    assert "noise ±0.06" in found.reason  # 0.0554; that of one mean would be 0.0392


FALLS = {
    "from the start": lambda n: 0.8 - 0.09 * np.log2(n / 50),
    "from a peak": lambda n: 0.8 - 0.06 * np.log2(n / 200) ** 2,
}


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_law_that_does_not_hold_says_so(seeds):
    """Falling curves and one with a jump are told every time, flat and rising ones hardly ever; 20 each."""
    told = {}
    s_shaped = lambda n: 0.1 + 0.8 / (1 + (200 / n) ** 3)
    sound = {"law": PowerLaw(0.92, 5, 0.5).at, "slow law": PowerLaw(0.95, 1.5, 0.2).at, "flat": lambda n: 0.6}
    for name, at in (FALLS | sound | {"jump": s_shaped}).items():
        rng, law = np.random.default_rng(10), type("", (), {"at": staticmethod(at)})
        curves = [sizing.curve(*verdicts(law, 60, 4, seeds, rng), resamples=100, seed=i) for i in range(20)]
        told[name] = [c.fault for c in curves]
    assert all(all("falls from" in f for f in told[name]) for name in FALLS)
    assert all("law misses the score at" in f for f in told["jump"])
    assert sum(bool(f) for name in sound for f in told[name]) <= 3
    c = curves[-1]
    assert c.fault in str(c.predict(400)) and c.fault in str(c.gain(400)) and not c.points[0].fault


def test_what_one_seed_says_of_a_step_is_marked():
    runs = {n: np.arange(1000)[None] < k for n, k in ((100, 300), (200, 400))}
    assert "one seed" in sizing.stop_growing(runs, np.arange(1000)).steps[0].reason
    runs = {n: np.tile(v, (2, 1)) for n, v in runs.items()}
    assert "one seed" not in sizing.stop_growing(runs, np.arange(1000)).steps[0].reason
