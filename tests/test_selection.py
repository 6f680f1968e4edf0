"""k-center greedy equals its definition, ties and duplicates included; the others do what they say; bad input is named."""

import numpy as np
import pytest

from helpers import selection


def plain(x, k, first):
    """The definition, in float64, with loops: farthest row, lowest index first."""
    x = np.asarray(x, dtype=np.float64)
    picks = [first]
    while len(picks) < k:
        best, far = None, -1.0
        for i in range(len(x)):
            d = min(((x[i] - x[p]) ** 2).sum() for p in picks)
            if i not in picks and d > far:
                best, far = i, d
        picks.append(best)
    return picks


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["normal", "unit", "ties", "duplicates", "shifted"])
def test_k_center_is_the_definition(seed, kind):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(5, 60)), int(rng.integers(1, 12))
    x = rng.normal(size=(n, d))
    if kind == "unit":
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    if kind == "ties":
        x = rng.integers(0, 3, (n, d))
    if kind == "duplicates":
        x = x[rng.integers(0, max(2, n // 3), n)]
    if kind == "shifted":
        x = x * 1e-3 + 50  # differences far below the size of the numbers
    x = x.astype(np.float32)
    first = int(rng.integers(n))
    assert selection.k_center_greedy(x, n, first).tolist() == plain(x, n, first)


def test_k_center_starts_near_the_mean_and_lists_each_row_once():
    x = np.random.default_rng(0).normal(size=(9000, 4)).astype(np.float32)
    picks = selection.k_center_greedy(x, 200)
    assert len(set(picks.tolist())) == 200
    assert picks[0] == ((x - x.mean(0)) ** 2).sum(1).argmin()
    assert (
        selection.cover_radius(x, picks) < selection.cover_radius(x, picks[:20]) < selection.cover_radius(x, range(20))
    )


def test_k_center_memory_is_at_most_twice_the_matrix():
    import tracemalloc

    x = np.random.default_rng(0).normal(size=(40_000, 96)).astype(np.float32)
    tracemalloc.start()
    selection.k_center_greedy(x, 12)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < x.nbytes  # beside the matrix itself


@pytest.mark.parametrize("kind", [np.float16, np.float64, list])
def test_number_formats(kind):
    x = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float16)
    given = x.tolist() if kind is list else x.astype(kind)
    assert selection.k_center_greedy(given, 10, 0).tolist() == plain(x, 10, 0)


@pytest.mark.parametrize("scale", [1e19, -1e30])
def test_numbers_whose_squares_overflow_are_picked_like_small_ones(scale):
    x = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32)
    assert selection.k_center_greedy(x * np.float32(scale), 9).tolist() == selection.k_center_greedy(x, 9).tolist()


def test_bad_vectors_are_named():
    good = np.ones((4, 3), np.float32)
    bad = good.copy()
    bad[2, 1] = np.nan
    for function in (selection.k_center_greedy, selection.nearest_to_center, selection.representatives):
        with pytest.raises(ValueError, match="row 2 holds NaN"):
            function(bad, 2)
        with pytest.raises(ValueError, match="shape"):
            function(np.ones(4), 2)
        with pytest.raises(ValueError, match="choose"):
            function(good, 5)
    with pytest.raises(ValueError, match="row 0 is a zero vector"):
        selection.nearest_to_center(np.zeros((3, 2)), 1, clusters=1)
    with pytest.raises(ValueError, match="first=9"):
        selection.k_center_greedy(good, 1, first=9)
    assert selection.k_center_greedy([[1.0, 2.0]], 1).tolist() == [0]  # one row is fine
    assert selection.k_center_greedy(np.zeros((3, 2)), 3).tolist() == [0, 1, 2]  # all alike: in order


def test_nearest_and_representatives():
    rng = np.random.default_rng(0)
    big, small = rng.normal(0, 0.05, (60, 3)) + [1, 0, 0], rng.normal(0, 0.05, (20, 3)) + [0, 1, 0]
    x = np.concatenate([small, big])
    near = selection.nearest_to_center(x, 30, clusters=2)
    assert (near >= 20).all()  # all from the large cluster
    both = selection.representatives(x, 10, share=0.5, clusters=2)
    assert set(both) <= set(selection.nearest_to_center(x, 40, clusters=2).tolist()) and len(set(both)) == 10
    assert selection.cover_radius(x[near], range(10)) >= 0
    assert set(selection.representatives(x, 10, share=1.0, clusters=2)) == set(
        selection.nearest_to_center(x, 80, clusters=2)[
            selection.k_center_greedy(x[selection.nearest_to_center(x, 80, clusters=2)], 10)
        ]
    )
    with pytest.raises(ValueError, match="share=0.05"):
        selection.representatives(x, 10, share=0.05)


def test_stratified_is_balanced_and_random():
    labels = ["a"] * 90 + ["b"] * 9 + ["c"]
    picks = selection.stratified(labels, 19, seed=1)
    counts = {n: sum(labels[i] == n for i in picks) for n in "abc"}
    assert counts == {"a": 9, "b": 9, "c": 1} and len(set(picks.tolist())) == 19
    assert picks.tolist() != selection.stratified(labels, 19, seed=2).tolist()
    assert sorted(selection.stratified(labels, 100).tolist()) == list(range(100))
    with pytest.raises(ValueError, match="k=101"):
        selection.stratified(labels, 101)


def test_keep_best_names_nan():
    with pytest.raises(ValueError, match="score 1 is NaN"):
        selection.keep_best([1.0, np.nan], 1)
    assert selection.keep_best([3, 3, 1], 2).tolist() == [0, 1]


def test_stratified_draws_at_random_within_a_label():
    labels = ["a"] * 50 + ["b"] * 50
    picks = [tuple(sorted(selection.stratified(labels, 10, seed=s).tolist())) for s in range(5)]
    assert len(set(picks)) == 5 and all(sum(i < 50 for i in p) == 5 for p in picks)
    assert tuple(sorted(selection.stratified(labels, 10, seed=3).tolist())) == picks[3]


def test_the_clusters_and_their_seed_are_those_of_sklearn():
    from sklearn.cluster import KMeans

    x = np.random.default_rng(3).normal(size=(90, 5))
    found = set()
    for clusters, seed in ((3, 0), (3, 5), (11, 5)):
        kmeans = KMeans(clusters, n_init=3, random_state=seed).fit(x)
        sizes = [int((kmeans.labels_ == c).sum()) for c in range(clusters)]
        center, labels = selection.largest_cluster(x, clusters, seed)
        assert (labels == kmeans.labels_).all()
        assert center == pytest.approx(kmeans.cluster_centers_[sizes.index(max(sizes))])
        cosine = [float(row @ center) / float((row @ row) ** 0.5) for row in x]
        nearest = sorted(range(90), key=lambda i: -cosine[i])[:8]  # noqa: B023
        assert selection.nearest_to_center(x, 8, clusters, seed).tolist() == nearest
        assert set(selection.representatives(x, 8, 8 / 90, clusters, seed).tolist()) == set(nearest)
        found.add(tuple(nearest))
    assert len(found) == 3


def test_a_share_of_just_k_rows_is_enough():
    x = np.random.default_rng(4).normal(size=(100, 3))
    assert 0.29 * 100 < 29  # as floats
    assert len(selection.representatives(x, 29, share=0.29)) == 29
