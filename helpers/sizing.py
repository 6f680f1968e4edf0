"""How many test rows, how many training rows: what a difference needs, and what more rows would buy.

- ``design_effect()``   how much variance families of wording add; ``effective_rows()`` what the rows are worth then
- ``icc()``             how alike the rows of one family are, measured
- ``detectable()``      the smallest difference that n test rows can tell; ``rows_to_tell()`` the other way round
- ``fit_power_law()``   score against training rows as a `PowerLaw`: ceiling − scale · n^(−exponent)
- ``curve()``           the same with intervals: a `Curve` that predicts, and says what twice the rows would buy
- ``rows_to_target()``  training rows at which a target is first reached; ``rows_needed()`` with its interval
- ``stop_growing()``    walks over a grid of sizes: grow, measure more or stop; it never stops on a fall
- ``diagnose()``        rising, flat (enough, too few rows, poor rows), falling or noisy, and why
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from statistics import NormalDist

import numpy as np

# ---------------------------------------------------------------- test rows


def design_effect(rows: int, families: int, icc: float) -> float:
    """Variance of a mean of `rows` rows in `families` families, over that of as many unrelated rows.

    1 + (m − 1) · icc with m = rows / families (Kish, Survey Sampling, 1965, for families of one size).
    ValueError for more families than rows, or an icc outside 0..1.

    >>> design_effect(640, 64, 0.5)
    5.5
    """
    if not 1 <= families <= rows:
        raise ValueError(f"{families} families for {rows} rows: give 1 to {rows}, the families of these rows")
    if not 0 <= icc <= 1:
        raise ValueError(f"icc {icc} must lie in 0..1: measure it with icc(values, families)")
    return 1 + (rows / families - 1) * icc


def effective_rows(rows: int, families: int, icc: float) -> float:
    """How many unrelated rows tell as much: rows / design_effect. Never more than families / icc.

    >>> round(effective_rows(640, 64, 0.3))
    173
    """
    return rows / design_effect(rows, families, icc)


def icc(values, families) -> float:
    """Intraclass correlation, 0..1: 0 where rows of a family are no more alike than others, 1 where they all agree.

    values: (rows,) or (seeds, rows) of 0 and 1 (or of differences, for a paired comparison); families: (rows,) names.
    One-way ANOVA estimator, mean squares averaged over seeds (Donner & Koval, Biometrics 1980), clipped at 0.
    ValueError unless there are two families, one of which has two rows.

    >>> icc([1, 1, 0, 0], ["a", "a", "b", "b"]), icc([1, 0, 1, 0], ["a", "a", "b", "b"])
    (1.0, 0.0)
    """
    values, index, counts = _by_family(values, families)
    rows, k = values.shape[1], len(counts)
    if k < 2 or rows == k:
        raise ValueError(f"{rows} rows in {k} families: give at least two families, one of which has several rows")
    means = np.stack([np.bincount(index, v) for v in values]) / counts  # (seeds, families)
    between = (counts * (means - values.mean(1, keepdims=True)) ** 2).sum(1).mean() / (k - 1)
    within = ((values - means[:, index]) ** 2).sum(1).mean() / (rows - k)
    size = (rows - (counts**2).sum() / rows) / (k - 1)  # the mean family, allowing for unequal ones
    total = between + (size - 1) * within
    return float(max(0.0, (between - within) / total)) if total > 0 else 0.0


def detectable(
    n: int, p: float = 0.8, families: int | None = None, icc: float = 0.0, power: float = 0.8, level: float = 0.95,
    correlation: float = 0.0,
) -> float:  # fmt: skip
    """Smallest difference (a fraction: 0.05 is five points) that `n` test rows can tell when two scores lie about `p`.

    Two-proportion z formula: (z_level + z_power) · sqrt(2 p (1 − p) (1 − correlation) / effective rows), with n rows
    for each of two independent runs (`correlation` as in `rows_to_tell`). A result above 2 · min(p, 1 − p) cannot
    occur around p: these rows tell nothing there. ValueError for shares outside 0..1, or an icc without families.

    >>> round(detectable(400), 3), round(detectable(400, families=40, icc=0.3), 3)
    (0.079, 0.152)
    """
    _between(p=p, power=power, level=level)
    if not 0 <= correlation < 1:
        raise ValueError(f"correlation {correlation} must lie in 0..1, below 1: 0 for independent runs")
    worth = _count(n) if _families(families, icc) is None else effective_rows(_count(n), families, icc)
    return (_z((1 + level) / 2) + _z(power)) * math.sqrt(2 * p * (1 - p) * (1 - correlation) / worth)


def rows_to_tell(
    p1: float, p2: float, power: float = 0.8, level: float = 0.95, correlation: float = 0.0, families: int | None = None,
    icc: float = 0.0,
) -> float:  # fmt: skip
    """Test rows, for each run, needed to tell score `p1` from score `p2`: a whole number, or inf.

    Two-proportion z formula with the pooled variance under "no difference" (Fleiss, Statistical Methods for Rates and
    Proportions, 3rd ed. 2003, ch. 4, without continuity correction). `correlation`: of the two verdicts row by row,
    when both runs answer the same rows. `families`: how many the rows come from; inf when no number of rows from so
    few families is enough. `icc` is then that of the verdicts, or of their differences in a paired comparison.
    ValueError for p1 = p2, shares outside 0..1, or a correlation that such scores cannot have.

    >>> rows_to_tell(0.8, 0.85), rows_to_tell(0.8, 0.85, correlation=0.6)
    (906, 368)
    >>> rows_to_tell(0.8, 0.85, families=64, icc=0.3)
    inf
    """
    _between(p1=p1, p2=p2, power=power, level=level)
    if p1 == p2:
        raise ValueError(f"p1 and p2 are both {p1}: give two scores that differ by what matters to you")
    low, high = sorted((p1, p2))
    most = math.sqrt(low * (1 - high) / (high * (1 - low)))
    if not 0 <= correlation <= most:
        raise ValueError(f"correlation {correlation}: scores of {p1} and {p2} on the same rows allow 0..{most:.2f}")
    mean, v1, v2 = (p1 + p2) / 2, p1 * (1 - p1), p2 * (1 - p2)
    shared = 2 * correlation * math.sqrt(v1 * v2)
    z_level, z_power = _z((1 + level) / 2), _z(power)
    root = z_level * math.sqrt(2 * mean * (1 - mean) - shared) + z_power * math.sqrt(max(0.0, v1 + v2 - shared))
    alone = (root / (p2 - p1)) ** 2
    if _families(families, icc) is None or alone <= families:  # a family for every row
        return math.ceil(alone)
    room = 1 - alone * icc / families  # n = alone · (1 + (n / families − 1) · icc), solved for n
    return math.ceil(alone * (1 - icc) / room) if room > 1e-12 else math.inf


_z = NormalDist().inv_cdf


def _between(**shares) -> None:
    for name, value in shares.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} {value} must lie between 0 and 1: give a fraction, 0.8 for 80%")


def _count(n) -> int:
    if n < 1 or n != int(n):
        raise ValueError(f"n {n} must be a whole number of rows, at least 1")
    return int(n)


def _families(families, icc):
    if families is None and icc:
        raise ValueError(f"icc {icc} without families: say how many families the rows come from")
    if families is not None:
        design_effect(families, families, icc)  # its checks
    return families


def _by_family(values, families):
    """values as (seeds, rows), each row's family as an index (rows,), rows of each family (families,)."""
    values = np.atleast_2d(np.asarray(values, dtype=float))
    if values.ndim != 2 or values.shape[1] != len(families) or not values.size:
        raise ValueError(f"values {values.shape} but {len(families)} families: give (seeds, rows), one family a row")
    if not np.isfinite(values).all():
        raise ValueError("a value is NaN or infinite: find the row before averaging it away")
    if gaps := [i for i, name in enumerate(families) if name is None or name != name]:
        raise ValueError(f"row {gaps[0]} has no family: name it, or give each such row a name of its own")
    _, index, counts = np.unique(np.asarray(families), return_inverse=True, return_counts=True)
    return values, index, counts


# ---------------------------------------------------------------- training rows: the curve


@dataclass(frozen=True)
class PowerLaw:
    """score(n) = ceiling − scale · n^(−exponent): the error falls to an offset of 1 − ceiling as a power of n.

    Hestness et al. 2017 (arXiv 1712.00409) for training, Zhang et al. 2024 (arXiv 2402.17193, eq. 1) for
    fine-tuning; both fit losses, so that a score follows it only roughly. Near the floor the law is not valid.
    """

    ceiling: float
    scale: float
    exponent: float

    def at(self, n):
        """Score at `n` training rows, a number or an array; ValueError unless n > 0.

        >>> PowerLaw(0.9, 5.0, 0.5).at(100)
        0.4
        """
        if np.any(np.asarray(n) <= 0):
            raise ValueError(f"n {n} must be above 0: the power law has no value at 0 rows")
        score = self.ceiling - self.scale * np.asarray(n, dtype=float) ** -self.exponent
        return float(score) if score.ndim == 0 else score


EXPONENTS = np.geomspace(0.01, 3, 120)  # tried one by one: the other two parameters then have a closed form


def fit_power_law(sizes, scores) -> PowerLaw:
    """Least squares with bounds: ceiling in [best mean score of a size, 1], scale ≥ 0, exponent in [0.01, 3].

    sizes, scores: (points,); several points of one size (seeds) are allowed. For each exponent the ceiling and the scale
    are solved exactly (variable projection, Golub & Pereyra 1973); the exponent is searched on a grid, and on a finer one
    between its neighbours. ValueError for fewer than 3 distinct sizes or scores outside 0..1.

    >>> fit = fit_power_law([50, 100, 200, 400], PowerLaw(0.9, 5, 0.5).at([50, 100, 200, 400]))
    >>> round(fit.ceiling, 3), round(fit.scale, 2), round(fit.exponent, 3)
    (0.9, 5.0, 0.5)
    """
    sizes, scores = _points(sizes, scores, least=3)
    sizes, index, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    means = np.bincount(index, scores)[None] / counts
    near, step = float(_best(sizes, means, counts, EXPONENTS)[2][0]), EXPONENTS[1] / EXPONENTS[0]
    finer = np.geomspace(near / step, near * step, 1001).clip(EXPONENTS[0], EXPONENTS[-1])
    ceiling, scale, exponent, _ = _best(sizes, means, counts, finer)
    return PowerLaw(float(ceiling[0]), float(scale[0]), float(exponent[0]))


def _points(sizes, scores, least: int):
    """sizes and scores as arrays (points,), in order of size, checked."""
    sizes, scores = np.asarray(sizes, dtype=float), np.asarray(scores, dtype=float)
    if sizes.ndim != 1 or sizes.shape != scores.shape:
        raise ValueError(f"sizes {sizes.shape}, scores {scores.shape}: give two lists of one length")
    if not np.isfinite(sizes).all() or (sizes <= 0).any():
        raise ValueError("a size is not above 0: give training rows, such as 50, 100, 200")
    if not (np.isfinite(scores) & (scores >= 0) & (scores <= 1)).all():
        raise ValueError("a score is NaN or outside 0..1: give fractions, 0.8 for 80%")
    if len(np.unique(sizes)) < least:
        raise ValueError(f"{len(np.unique(sizes))} distinct sizes: at least {least} are needed, measure one more")
    order = np.argsort(sizes, kind="stable")
    return sizes[order], scores[order]


def _best(sizes, means, weights, exponents):
    """Best ceiling, scale, exponent and squared error, each (fits,), for means (fits, sizes) over these exponents."""
    middle = np.exp(np.log(sizes).mean())
    x = (sizes / middle) ** -exponents[:, None]  # (exponents, sizes): score = ceiling − s · x
    w = weights / weights.sum()
    y, low = means[:, None, :], means.max(1)[:, None]  # (fits, 1, sizes), (fits, 1)
    mx, my = x @ w, y @ w  # (exponents,), (fits, 1)
    spread = ((x - mx[:, None]) ** 2) @ w
    slope = np.maximum(0, -((y - my[..., None]) * (x - mx[:, None])) @ w / spread)
    free = (np.clip(my + slope * mx, low, 1), slope)
    x2 = (x**2) @ w
    edges = [(c, np.maximum(0, ((c[..., None] - y) * x) @ w / x2)) for c in (low + 0 * mx, np.ones_like(free[0]))]
    options = [free, *edges]  # exact where the free optimum lies within the bounds; on their edges otherwise
    errors = np.stack([((c[..., None] - s[..., None] * x - y) ** 2) @ w for c, s in options])
    flat = errors.transpose(1, 0, 2).reshape(len(means), -1)  # (fits, options · exponents)
    option, b = np.divmod(flat.argmin(1), len(exponents))
    fits = np.arange(len(means))
    ceiling, scale = (np.stack([o[i] for o in options])[option, fits, b] for i in (0, 1))
    return ceiling, scale * middle ** exponents[b], exponents[b], flat.min(1)


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95% interval; `mean, low, high = estimate` works. `extrapolated`: beyond the largest size; `fault`: why
    the law that it rests on does not hold."""

    mean: float
    low: float
    high: float
    extrapolated: bool = False
    fault: str = field(default="", repr=False)

    def __iter__(self):
        return iter((self.mean, self.low, self.high))

    def __str__(self) -> str:
        notes = " (extrapolated)" * self.extrapolated + f" (do not trust it: {self.fault})" * bool(self.fault)
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]{notes}"


@dataclass(frozen=True)
class Curve:
    """A fitted learning curve: `points` are the measured sizes, `refits` (resamples, 3) the law's bootstrap; `fault` says where
    the points fall or the law misses them ("" where it fits): then read the points, and believe no prediction."""

    fit: PowerLaw
    sizes: tuple[int, ...]
    points: tuple[Estimate, ...]
    refits: np.ndarray
    fault: str = ""

    def _scores(self, n) -> np.ndarray:  # of each resample's law
        ceiling, scale, exponent = self.refits.T
        return ceiling - scale * np.asarray(n, dtype=float)[..., None] ** -exponent

    def predict(self, n) -> Estimate:
        """Score at `n` training rows. `extrapolated` beyond the largest size: the interval then trusts the law."""
        return Estimate(self.fit.at(n), *_middle(self._scores(n)), n > max(self.sizes), self.fault)

    def gain(self, n, factor: float = 2) -> Estimate:
        """What `factor` times the rows would buy: score(factor · n) − score(n). ValueError unless factor > 1."""
        if factor <= 1:
            raise ValueError(f"factor {factor} must be above 1: 2 asks what twice the rows would buy")
        mean, gains = self.fit.at(factor * n) - self.fit.at(n), self._scores(factor * n) - self._scores(n)
        return Estimate(mean, *_middle(gains), factor * n > max(self.sizes), self.fault)


def curve(runs: dict, families, resamples: int = 500, seed: int = 0) -> Curve:
    """Learning curve with intervals, from runs at several sizes that were all scored on the same test rows.

    runs: training rows -> array (seeds, rows) of 0 and 1; families: (rows,) names. Each resample draws families (the
    same for all sizes) and, for each size, seeds; then the law is fitted anew (exponents from a grid, 5% apart). With
    few seeds the interval is a little too wide: the luck of single rows counts among families and among seeds.
    A score that falls, or points that the law misses by more than 2 points and 3 standard errors, stand in `Curve.fault`.
    ValueError for one seed (its 95% intervals held the truth 58 to 90 times in 100), fewer than 3 sizes, verdicts other than 0
    and 1, or a family too many or too few.

    >>> law, rng = PowerLaw(0.9, 5, 0.5), np.random.default_rng(0)
    >>> c = curve({n: rng.random((3, 400)) < law.at(n) for n in (50, 100, 200, 400)}, np.arange(400) // 4)
    >>> abs(c.predict(400).mean - law.at(400)) < 0.03, c.predict(800).extrapolated, c.gain(200).extrapolated
    (True, True, False)
    """
    sizes, means, resampled = _resample(runs, families, resamples, seed)
    fit = fit_power_law(sizes, means)
    if alone := [n for n in sizes if np.ndim(runs[n]) < 2 or len(runs[n]) < 2]:
        raise ValueError(
            f"one seed at {', '.join(map(str, alone))} rows: its interval is too narrow; run two more seeds"
        )
    refits = np.stack(_best(np.array(sizes, float), resampled, np.ones(len(sizes)), EXPONENTS)[:3], axis=1)
    points = tuple(Estimate(float(m), *_middle(r)) for m, r in zip(means, resampled.T))
    found = Curve(fit, sizes, points, refits)
    return replace(found, fault=_fault(found, means, resampled))


def _fault(found: Curve, means, resampled) -> str:
    """What is wrong with a law for these points; resampled: (resamples, sizes)."""
    sizes, peak = np.array(found.sizes), int(means.argmax())
    fall = means[peak] - means[-1]
    if fall > 0.02 and np.quantile(resampled[:, peak] - resampled[:, -1], 0.025 / len(sizes)) > 0:
        return (
            f"the score falls from {means[peak]:.2f} at {sizes[peak]} rows to {means[-1]:.2f}, which no power law does"
        )
    off = means - found.fit.at(sizes)
    spread = (resampled - found._scores(sizes).T).std(0)
    worst = int(np.abs(off).argmax())
    if abs(off[worst]) > 0.02 and (np.abs(off) > 3 * spread).any():
        return f"the power law misses the score at {sizes[worst]} rows by {abs(off[worst]):.2f}"
    return ""


def _resample(runs: dict, families, resamples: int, seed: int):
    """Sizes in order, their means (sizes,), and the means of every resample (resamples, sizes)."""
    if not runs:
        raise ValueError("no runs: give training rows -> verdicts (seeds, rows), such as {100: ..., 200: ...}")
    sizes, rng, columns, means, pick = tuple(sorted(runs)), np.random.default_rng(seed), [], [], None
    for size in sizes:
        values, index, counts = _by_family(runs[size], families)
        if not np.isin(values, (0, 1)).all():
            raise ValueError(f"runs at {size} rows: verdicts must be 0 or 1, one for each test row")
        if pick is None:  # the same families for all sizes
            pick = rng.integers(0, len(counts), (resamples, len(counts)))
        sums = np.stack([np.bincount(index, v) for v in values])  # (seeds, families)
        times = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), resamples)  # whole: no share above 1
        drawn = (times[:, :, None] * sums[:, pick].transpose(1, 0, 2)).sum((1, 2))
        columns.append(drawn / (len(sums) * counts[pick].sum(1)))
        means.append(values.mean())
    return sizes, np.array(means), np.stack(columns, axis=1)


def _middle(values) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def rows_to_target(sizes, scores, target: float) -> float:
    """Training rows at which the score first reaches `target`.

    sizes, scores: (points,); several points of one size (seeds) are averaged. Between two sizes the score is read linearly in
    log(rows). Later falls do not undo a crossing: the first size whose mean reaches the target counts. inf when none does
    ("censored": more than the largest); the smallest size when that reaches it at once ("at most that"). ValueError for a
    target outside 0..1 or fewer than 2 sizes.

    >>> rows_to_target([100, 400], [0.4, 0.8], 0.6), rows_to_target([100, 400], [0.4, 0.8], 0.9)
    (200.0, inf)
    """
    sizes, scores = _points(sizes, scores, least=2)
    if not 0 <= target <= 1:
        raise ValueError(f"target {target} must lie in 0..1: give a fraction, 0.8 for 80%")
    sizes, index, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    means = np.bincount(index, scores) / counts
    reached = np.flatnonzero(means >= target - 1e-12)
    if not len(reached):
        return math.inf
    i = reached[0]
    if i == 0:
        return float(sizes[0])
    share = (target - means[i - 1]) / (means[i] - means[i - 1])
    return round(float(np.exp(np.interp(share, [0, 1], np.log(sizes[i - 1 : i + 1])))), 6)


def rows_needed(runs: dict, families, target: float, resamples: int = 500, seed: int = 0) -> Estimate:
    """`rows_to_target` of measured runs with its 95% interval; runs, families: as for `curve`, at least 2 sizes.

    Each resample draws families and seeds. A bound of inf: not reached within the measured sizes; of 0: reached at the
    smallest size, and perhaps before.

    >>> low, high = np.tile([0, 1, 0, 0], (3, 50)), np.tile([1, 1, 1, 0], (3, 50))
    >>> rows_needed({100: low, 400: high}, np.arange(200), 0.5).mean
    200.0
    >>> rows_needed({100: high, 400: high}, np.arange(200), 0.5)  # at most 100
    Estimate(mean=100.0, low=0.0, high=100.0, extrapolated=False)
    """
    mean, found = _rows_drawn(runs, families, target, resamples, seed)
    low, high = np.sort(found)[[int(0.025 * resamples), math.ceil(0.975 * resamples) - 1]]
    return Estimate(mean, 0.0 if low == min(runs) else float(low), float(high))


def _rows_drawn(runs: dict, families, target: float, resamples: int, seed: int) -> tuple[float, np.ndarray]:
    """Rows to the target, and those of every resample (resamples,), inf where not reached. Two tasks on the same test rows share
    their draws of families under the same `seed`: so a ratio of their rows is paired."""
    sizes, means, resampled = _resample(runs, families, resamples, seed)
    return rows_to_target(sizes, means, target), np.array([rows_to_target(sizes, s, target) for s in resampled])


def rows_ratio(a: dict, families_a, b: dict, families_b, target: float, resamples=500, seed: int = 0) -> Estimate:
    """Rows to `target` of `a` over those of `b`, with its 95% interval, resample by resample; arguments as for `rows_needed`.

    A target not reached means more than the largest size, and no more is known. So the lower bound counts it as the largest
    size above the line and as inf below it, the upper bound the other way; the mean (a median) counts it as the largest size.

    >>> low, high = np.tile([0, 1, 0, 0], (3, 50)), np.tile([1, 1, 1, 0], (3, 50))
    >>> ratio = rows_ratio({100: low, 400: low}, np.arange(200), {100: low, 400: high}, np.arange(200), 0.5, resamples=40)
    >>> round(ratio.mean, 1), ratio.high  # above 25% never reaches half: at least 400 rows over 200
    (2.0, inf)
    """
    above, below = (_rows_drawn(v, f, target, resamples, seed)[1] for v, f in ((a, families_a), (b, families_b)))
    above_least, below_least = np.minimum(above, max(a)), np.minimum(below, max(b))
    low = np.quantile(above_least / below, 0.025, method="lower")
    high = np.quantile(above / below_least, 0.975, method="higher")
    return Estimate(float(np.median(above_least / below_least)), float(low), float(high))


# ---------------------------------------------------------------- step by step


@dataclass(frozen=True)
class Step:
    """One step of the walk: from `size` to `larger` training rows, its paired gain, and what it says."""

    size: int
    larger: int
    gain: Estimate
    verdict: str
    reason: str


@dataclass(frozen=True)
class Walk:
    """Where the walk ended. `stopped`: by the rule; otherwise the grid ended first, and more rows may still pay."""

    size: int
    stopped: bool
    steps: tuple[Step, ...]


def stop_growing(runs: dict, families, worth=0.02, floor: float = 0.0, resamples: int = 2000, seed: int = 0) -> Walk:
    """Go through the sizes in order; stop at the first whose next step's gain has its upper 95% bound below `worth`.

    floor: the score without training. A curve that still lies within 10 points of it is flat because nothing has been
    learned yet, not because there is nothing more to learn: such a step does not stop the walk. Nor does a fall, a gain
    whose mean lies below -`worth`: more rows do not harm by themselves, so steps are missing or the new rows are poor.

    runs, families: as for `curve`, at least two sizes, each about twice the one before. The gain is paired: a resample
    draws the same families for both sizes. "measure more" does not stop the walk: not knowing is no reason to stop,
    and the step says so. The step beyond the stop had to be run to know it. ValueError for fewer than 2 sizes, or worth ≤ 0.

    >>> same = np.tile([1, 1, 1, 0], (2, 50))
    >>> walk = stop_growing({100: same * 0, 200: same, 400: same}, np.arange(200)); walk.size, walk.stopped
    (200, True)
    """
    if not worth > 0:
        raise ValueError(f"worth {worth} must be above 0: the smallest gain that pays for a step, 0.02 for two points")
    sizes, means, resampled = _resample(runs, families, resamples, seed)
    if len(sizes) < 2:
        raise ValueError(f"one size, {sizes[0]}: a step needs two, add runs with about twice the rows")
    steps = []
    for i in range(len(sizes) - 1):
        gain = Estimate(float(means[i + 1] - means[i]), *_middle(resampled[:, i + 1] - resampled[:, i]))
        verdict, why = _verdict(gain, means[i + 1], floor, worth)
        alone = any(np.ndim(runs[n]) < 2 or len(runs[n]) < 2 for n in sizes[i : i + 2])
        why += "; one seed: another may say otherwise" * alone
        reason = f"{sizes[i]} -> {sizes[i + 1]} rows: {gain}, {verdict}: {why}"
        steps.append(Step(sizes[i], sizes[i + 1], gain, verdict, reason))
        if verdict == "stop":
            return Walk(sizes[i], True, tuple(steps))
    return Walk(sizes[-1], False, tuple(steps))


def _verdict(gain: Estimate, reached: float, floor: float, worth: float) -> tuple[str, str]:
    """What the gain of one step, up to the score `reached`, says, and why."""
    if gain.high < worth and reached < floor + 0.10:
        return "grow", "still at the floor, more rows are needed"
    if gain.high < worth and gain.mean < -worth:
        return "fall", "steps are missing, or the added rows are poor: no reason to stop"
    if gain.high < worth:
        return "stop", f"even the upper bound is below {worth:g}"
    if gain.low > 0 and gain.mean >= worth:
        return "grow", "a gain, more rows are needed"
    return "measure more", f"the interval allows less and more than {worth:g}: more test rows or seeds would tell"


@dataclass(frozen=True)
class Diagnosis:
    """A learning curve in one of six labels, with the reason in a sentence."""

    label: str
    reason: str


def diagnose(
    sizes, scores_by_size, train_scores_by_size, floor: float, change: float = 0.05, flat: float = 0.02, fitted: float = 0.8,
    enough: float = 0.75, noise: float | None = None,
) -> Diagnosis:  # fmt: skip
    """Tell a flat curve from too few rows apart from a flat curve from poor rows.

    sizes: at least 3 training sizes, in rising order; scores_by_size, train_scores_by_size: for each size one score,
    or one a seed, on held-out rows and on the rows trained on; floor: the score without training (base or guessing).
    change: a rise or fall over the grid that counts; flat: a last gain per doubling below this is none; fitted: a
    train score at which the rows are learned; enough: share of the way from floor to 1; noise: 95% half-width of a
    difference of two sizes, measured from the seeds where None. In this order:

    1. falling: down over the grid by more than noise, or down twice in a row from the best size
    2. noisy: ups and downs, or the noise, exceed `change` and the trend
    3. rising: up by more than noise and `change`, and the last step still gains
    4. flat: enough (held-out is high), poor rows (train is low, or falls as rows are added: labels that contradict
       each other cannot be fitted), too few rows (train is fitted, held-out lags)

    Wrong labels that are learned by heart look like too few rows: read 30 rows before collecting more. The thresholds
    are rules of thumb (ours); Viering & Loog (arXiv 2103.10948) review the shapes that learning curves take.
    ValueError for lengths that differ, sizes out of order, or scores or floor outside 0..1.

    >>> diagnose([100, 200, 400], [0.10, 0.12, 0.13], [1.0, 1.0, 0.99], floor=0.1).label
    'flat: too few rows'
    >>> diagnose([100, 200, 400], [0.30, 0.31, 0.30], [0.9, 0.7, 0.5], floor=0.1).label
    'flat: poor rows'
    """
    from sklearn.isotonic import isotonic_regression

    sizes = list(sizes)
    entries = (len(sizes), len(scores_by_size), len(train_scores_by_size))
    if len(set(entries)) > 1:
        raise ValueError("{} sizes, {} scores, {} train scores: give one entry for each size".format(*entries))
    if not 0 <= floor < 1:
        raise ValueError(f"floor {floor} must lie in 0..1, below 1: the score without training")
    seeds = [np.atleast_1d(np.asarray(s, dtype=float)) for s in scores_by_size]
    held, train = np.array([s.mean() for s in seeds]), np.array([np.mean(t) for t in train_scores_by_size])
    _points(sizes, held, least=3), _points(sizes, train, least=3)
    if sizes != sorted(set(sizes)):
        raise ValueError(f"sizes {sizes} must rise, each once: put several seeds of a size into one entry")
    if noise is None and all(len(s) > 1 for s in seeds):
        noise = 1.96 * math.sqrt(2 * np.mean([s.var(ddof=1) / len(s) for s in seeds]))
    trends = [isotonic_regression(held, increasing=way) for way in (True, False)]
    trend = min(trends, key=lambda fit: ((fit - held) ** 2).sum())
    noise = max(noise or 0.0, 2 * float(np.sqrt(((trend - held) ** 2).mean())))
    rise, peak = float(trend[-1] - trend[0]), int(held.argmax())
    story = f"held-out {held[0]:.2f} -> {held[-1]:.2f}, train {train[0]:.2f} -> {train[-1]:.2f}, noise ±{noise:.2f}"
    after = np.diff(held[peak:])
    drop = float(held[peak] - held[-1])
    slide = len(after) >= 2 and (after[-2:] < 0).all() and (after <= flat).all() and drop > 2 * change
    last = float(trend[-1] - trend[-2]) / math.log2(sizes[-1] / sizes[-2])
    if rise <= -max(change, noise) or slide:
        label, why = "falling", "more rows make it worse, the added ones are poor or mismatched"
    elif noise > change and abs(rise) <= noise:
        label, why = "noisy", "the differences are within noise, measure more rows or seeds"
    elif rise >= max(change, noise) and last >= flat:
        label, why = "rising", f"the last doubling gained {last:.2f}, grow"
    elif held[-1] >= floor + enough * (1 - floor):
        label, why = "flat: enough", "high and flat, more rows would buy little"
    elif train[-1] < fitted or train[0] - train[-1] >= 2 * change:
        label, why = (
            "flat: poor rows",
            "the rows cannot be fitted, do labels contradict each other, or were steps too few?",
        )
    else:
        label, why = "flat: too few rows", "fitted but not carried over, more and more varied rows are needed"
    return Diagnosis(label, f"{story}: {why}")
