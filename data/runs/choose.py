"""How the plans choose: from runs on valid rows the best setting of every arm, by one rule for all.

- ``scores(runs, ...)``      what every searched run scored, by setting and seed
- ``best_few(found, ...)``   the best settings by seed 0: the others get no further seeds
- ``means(found, ...)``      the mean over seeds 0-2 of every setting that has them
- ``best(found, ...)``       the setting with the highest mean

An arm is what is compared, such as a rank; its settings are what is tried for it, such as rates. Higher scores are better. Of
settings with equal scores the first is taken: name the one that you prefer, the lower rate, first.
"""

from __future__ import annotations

import math
import operator
import statistics

from helpers import recordings

SEEDS = (0, 1, 2)  # of a search; a thinned one begins with the first alone
MORE_SEEDS = SEEDS[1:]


def exact(run: dict, method: str = "tuned") -> float:
    """Whole-record exact match of one finished run."""
    return float(recordings.verdicts([run], method).mean())


def scores(runs: list[dict], score, *names: str) -> dict:
    """{setting: {seed: score}} of the search runs of one arm.

    score: function of a run. names: what tells settings apart; a setting is the value of that name in the run's "set", a tuple
    of values for several names. A run without a seed counts as seed 0. ValueError names a run whose score is NaN, and one whose
    setting and seed another has.

    >>> run = lambda rate, seed, right: {"name": "a", "set": {"RATE": rate, "SEED": seed}, "right": right}
    >>> scores([run(0.1, 0, 5), run(0.1, 1, 7), run(0.2, 0, 6)], lambda r: r["right"], "RATE")
    {0.1: {0: 5, 1: 7}, 0.2: {0: 6}}
    """
    found, setting_of = {}, operator.itemgetter(*names)
    for run in runs:
        by_seed, seed = found.setdefault(setting_of(run["set"]), {}), run["set"].get("SEED", 0)
        if seed in by_seed:
            raise ValueError(
                f"{run['name']}: another run has its {', '.join(names)} and seed: give the runs of one arm"
            )
        by_seed[seed] = score(run)
        if math.isnan(by_seed[seed]):
            raise ValueError(f"{run['name']}: its score is NaN, which is neither better nor worse than others")
    return found


def best_few(found: dict, settings: list | tuple, arm: str, few: int = 2) -> list:
    """The `few` best of an arm's `settings` by seed 0, the best first. SystemExit where one has no such run.

    >>> best_few({0.1: {0: 5}, 0.2: {0: 6}, 0.4: {0: 6}}, [0.1, 0.2, 0.4], "r=16")
    [0.2, 0.4]
    """
    if missing := [s for s in settings if SEEDS[0] not in found.get(s, {})]:
        raise SystemExit(f"{arm}: {len(missing)} searched runs are missing, the first is {missing[0]}")
    return sorted(settings, key=lambda s: -found[s][SEEDS[0]])[:few]


def means(found: dict, settings: list | tuple, arm: str, thinned: bool = False) -> dict:
    """{setting: mean over seeds 0-2} of an arm, in the order of `settings`; to nine digits, so that equal sums are a tie.

    thinned: settings that have seed 0 alone are left out. SystemExit names a setting with other seeds, or says that none is left.

    >>> means({0.1: {0: 5, 1: 7, 2: 6}, 0.2: {0: 4}}, [0.1, 0.2], "r=16", thinned=True)
    {0.1: 6.0}
    """
    whole = {}
    for setting in settings:
        by_seed = found.get(setting, {})
        if set(by_seed) == set(SEEDS):
            whole[setting] = round(statistics.fmean(by_seed.values()), 9)
        elif not thinned or set(by_seed) != {SEEDS[0]}:
            raise SystemExit(f"{len(by_seed)} search runs for {arm}, setting {setting}: {len(SEEDS)} are needed")
    if not whole:
        raise SystemExit(f"{arm}: no setting has three searched seeds; run the plan `thin` first")
    return whole


def best(found: dict, settings: list | tuple, arm: str, thinned: bool = False):
    """The setting of an arm with the highest of its `means`.

    >>> best({0.1: {0: 5, 1: 7, 2: 6}, 0.2: {0: 9, 1: 4, 2: 5}}, [0.1, 0.2], "r=16")
    0.1
    """
    whole = means(found, settings, arm, thinned)
    return max(whole, key=whole.get)
