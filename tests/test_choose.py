"""data/runs/choose.py: the rule by which every plan chooses, on made-up scores."""

import itertools

import pytest

from data.runs import choose

RATES = [0.1, 0.2, 0.4]


def run(seed, score, **settings):
    own = settings if seed is None else settings | {"SEED": seed}
    return {"name": f"search-s{seed}", "set": own, "score": score}


def scores(runs, *names):
    return choose.scores(runs, lambda r: r["score"], *names)


def found(*by_rate):
    """{rate: {seed: score}} from the scores of each rate, seeds from 0 on."""
    return {rate: dict(enumerate(values)) for rate, values in zip(RATES, by_rate, strict=True)}


def test_runs_are_told_apart_by_what_is_named():
    runs = [run(1, 5, RATE=0.1, BETA=1), run(0, 7, RATE=0.1, BETA=1), run(0, 6, RATE=0.1, BETA=2)]
    assert scores(runs, "RATE", "BETA") == {(0.1, 1): {0: 7, 1: 5}, (0.1, 2): {0: 6}}
    assert scores([run(None, 7, SHOTS=8)], "SHOTS") == {8: {0: 7}}  # greedy decoding has no seed
    with pytest.raises(ValueError, match="search-s0: another run has its RATE and seed"):
        scores(runs, "RATE")
    with pytest.raises(ValueError, match="search-s2: its score is NaN"):
        scores([*runs, run(2, float("nan"), RATE=0.1, BETA=1)], "RATE", "BETA")


def test_the_best_few_are_the_highest_by_seed_0_alone():
    later = found([5, 9, 9], [6, 0, 0], [7, 0, 0])
    assert choose.best_few(later, RATES, "r=16") == [0.4, 0.2]
    assert choose.best_few(later, RATES, "r=16", 1) == [0.4]
    assert choose.best_few(later, RATES[:2], "r=16", 1) == [0.2]  # of the arm's own settings


def test_of_equal_settings_the_first_named_is_taken():
    equal = found([5, 5, 5], [5, 5, 5], [5, 5, 5])
    for order in itertools.permutations(RATES):
        assert choose.best_few(equal, order, "r=16") == list(order[:2])
        assert choose.best(equal, order, "r=16") == order[0]


@pytest.mark.parametrize("order", itertools.permutations([0.1, 0.2, 0.3]))
def test_equal_sums_tie_whatever_their_parts(order):
    """0.1 + 0.2 + 0.3 is not 0.6 in floating point, and in another order it is: a tie must not hang on that."""
    parts = {0.1: dict(enumerate([0.2, 0.2, 0.2])), 0.2: dict(enumerate(order))}
    assert choose.best(parts, [0.1, 0.2], "r=16") == 0.1 and choose.best(parts, [0.2, 0.1], "r=16") == 0.2


def test_the_best_has_the_highest_mean_over_all_seeds():
    uneven = found([6, 6, 6], [9, 4, 4], [2, 2, 8])  # highest first seed, highest last seed: neither is best
    assert choose.means(uneven, RATES, "r=16") == pytest.approx({0.1: 6, 0.2: 17 / 3, 0.4: 4})
    assert choose.best(uneven, RATES, "r=16") == 0.1
    assert choose.best(uneven, RATES[1:], "r=16") == 0.2
    assert choose.best(found([-3, -3, -3], [-1, -1, -1], [-2, -2, -2]), RATES, "r=16") == 0.2


def test_a_thinned_search_leaves_out_settings_with_seed_0_alone():
    thinned = found([5, 5, 5], [9], [6, 6, 6])
    assert choose.best(thinned, RATES, "r=16", thinned=True) == 0.4
    assert list(choose.means(thinned, RATES, "r=16", thinned=True)) == [0.1, 0.4]
    with pytest.raises(SystemExit, match="1 search runs for r=16, setting 0.2: 3 are needed"):
        choose.best(thinned, RATES, "r=16")
    with pytest.raises(SystemExit, match="r=16: no setting has three searched seeds; run the plan `thin` first"):
        choose.best(found([5], [9], [6]), RATES, "r=16", thinned=True)


@pytest.mark.parametrize("seeds", [{}, {0: 6, 1: 6}, {1: 6}, {1: 6, 2: 6, 3: 6}, {0: 6, 1: 6, 2: 6, 3: 6}])
def test_an_unfinished_search_is_named(seeds):
    part = found([5, 5, 5], [5, 5, 5], [5]) | {0.4: seeds}
    for thinned in (True, False):
        with pytest.raises(SystemExit, match=f"{len(seeds)} search runs for r=16, setting 0.4: 3 are needed"):
            choose.best(part, RATES, "r=16", thinned)


def test_a_setting_without_seed_0_is_named():
    with pytest.raises(SystemExit, match="r=16: 2 searched runs are missing, the first is 0.2"):
        choose.best_few({0.1: {0: 5}, 0.2: {1: 6}}, RATES, "r=16")
