"""Choosing rows by what they hold: which hundred of four thousand to label, to keep, or to train on.

- ``k_center_greedy()``   spread out: each pick is the row farthest from all picks so far
- ``nearest_to_center()`` close in: rows most similar to the centre of the largest K-Means cluster
- ``representatives()``   both, in the paper's order: close in first, then spread out among those
- ``stratified()``        equal shares of each label, at random inside
- ``cover_radius()``      how far the worst-served row is from its nearest pick
- ``keep_best()``         the k rows with the highest (or lowest) score

Source: Chen et al., 2023, "Maybe Only 0.5% Data Is Needed" (arXiv 2305.09246); k-center greedy is farthest-first traversal
(Gonzalez, 1985; core-sets for deep learning: Sener and Savarese, 2018, arXiv 1708.00489).
"""

from __future__ import annotations

import numpy as np


def as_matrix(vectors) -> np.ndarray:
    """`vectors` as (rows, dimensions) float32 or float64; ValueError says which row cannot be used."""
    x = np.asarray(vectors)
    if x.ndim != 2 or not x.size:
        raise ValueError(f"vectors of shape {x.shape}: give (rows, dimensions), one row a text")
    if x.dtype not in (np.float32, np.float64):  # float16 squares overflow at 256
        x = x.astype(np.float32)
    if x.dtype == np.float32 and max(x.max(), -x.min()) > 1e17:  # their squares overflow, too
        x = x.astype(np.float64)
    finite = np.concatenate([np.isfinite(block).all(1) for block in _blocks(x)])
    if not finite.all():
        raise ValueError(f"row {int(finite.argmin())} holds NaN or infinity: embed its text again or remove it")
    return x


def _blocks(x: np.ndarray) -> list[np.ndarray]:
    """Views of 8,192 rows: what is computed on one after the other needs no second matrix."""
    return [x[start : start + 8192] for start in range(0, len(x), 8192)]


def _count(k: int, rows: int) -> int:
    if int(k) != k or not 0 < k <= rows:
        raise ValueError(f"k={k}: choose between 1 and the {rows} rows there are")
    return int(k)


def k_center_greedy(vectors, k: int, first: int | None = None) -> np.ndarray:
    """Indices of `k` rows in the order picked: (k,). Each is the row farthest (Euclidean) from its nearest earlier pick.

    vectors: (rows, dimensions). `first`: the row to begin with; by default the one nearest to the mean. Ties go to the
    lowest index, and duplicates of a pick come last. On unit vectors Euclidean order is cosine order.

    The picks are exactly those of the definition in float64: distances come from one matrix-vector product a pick, and rows within its
    rounding error of the farthest are measured again without it. Memory: the matrix and a few numbers a row.

    >>> k_center_greedy([[0.0, 0], [1, 0], [10, 0], [10, 9]], 3, first=0).tolist()
    [0, 3, 2]
    >>> k_center_greedy([[1.0, 2.0]], 2)
    Traceback (most recent call last):
    ...
    ValueError: k=2: choose between 1 and the 1 rows there are
    """
    x = as_matrix(vectors)
    k = _count(k, len(x))
    squares = np.einsum("ij,ij->i", x, x)
    slack = 4 * (x.shape[1] + 4) * np.finfo(x.dtype).eps * float(squares.max())  # of the product's rounding error
    if first is None:
        mean = x.mean(0, dtype=np.float64)
        first = int(np.concatenate([((block - mean) ** 2).sum(1) for block in _blocks(x)]).argmin())
    if not 0 <= first < len(x):
        raise ValueError(f"first={first}: there are {len(x)} rows, numbered from 0")
    picks, exact = [first], {}
    near = np.full(len(x), np.inf, x.dtype)  # squared distance to the nearest pick, as the product gives it
    open_ = np.ones(len(x), bool)
    open_[first] = False
    while len(picks) < k:
        center = x[picks[-1]]
        np.minimum(near, squares + squares[picks[-1]] - 2 * (x @ center), out=near)
        near[picks[-1]] = -np.inf
        rivals = np.flatnonzero(near >= near.max() - 2 * slack)
        rivals = rivals[open_[rivals]]
        best = rivals[0] if len(rivals) == 1 else _farthest(x, rivals, picks, exact)
        picks.append(int(best))
        open_[best] = False
    return np.array(picks)


def _farthest(x, rivals, picks: list[int], exact: dict) -> int:
    """The rival with the largest true distance to its nearest pick; `exact` keeps (picks seen, distance) of each."""
    best, distance = -1, -1.0
    for i in map(int, rivals):
        seen, mine = exact.get(i, (0, np.inf))
        if seen < len(picks) and mine > distance:
            difference = x[picks[seen:]].astype(np.float64) - x[i]
            mine = min(mine, float((difference**2).sum(1).min()))
            exact[i] = (len(picks), mine)
        if mine > distance:
            best, distance = i, mine
    return best


def cover_radius(vectors, picks) -> float:
    """Largest Euclidean distance of any row to its nearest pick.

    >>> cover_radius([[0.0], [1.0], [5.0]], [0, 2])
    1.0
    """
    from sklearn.metrics import pairwise_distances_argmin_min

    x = as_matrix(vectors)
    return float(pairwise_distances_argmin_min(x, x[list(picks)])[1].max())


def largest_cluster(vectors, clusters: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """K-Means: `(centre of the cluster with the most rows (dimensions,), cluster of each row (rows,))`."""
    from sklearn.cluster import KMeans

    x = as_matrix(vectors)
    found = KMeans(_count(clusters, len(x)), n_init=3, random_state=seed).fit(x)
    return found.cluster_centers_[np.bincount(found.labels_).argmax()], found.labels_


def nearest_to_center(vectors, k: int, clusters: int = 8, seed: int = 0) -> np.ndarray:
    """The `k` rows with the highest cosine to the largest cluster's centre, best first: (k,).

    ValueError for a zero vector, which has no direction.

    >>> nearest_to_center([[1.0, 0], [0.9, 0.1], [0.8, 0.1], [0, 1]], 2, clusters=2).tolist()
    [1, 2]
    """
    x = as_matrix(vectors)
    k, norms = _count(k, len(x)), np.linalg.norm(x, axis=1)
    if (norms == 0).any():
        raise ValueError(f"row {int((norms == 0).argmax())} is a zero vector, which has no direction: remove it")
    center, _ = largest_cluster(x, clusters, seed)
    return np.argsort(-(x @ center) / norms, kind="stable")[:k]


def representatives(vectors, k: int, share: float = 0.5, clusters: int = 8, seed: int = 0) -> np.ndarray:
    """The paper's core-set: the `share` of rows nearest to the task's centre, then `k` of these spread out: (k,).

    share: between k / rows and 1. At 1 it is k-center greedy alone, at k / rows the nearest rows alone.
    """
    x = as_matrix(vectors)
    keep = round(share * len(x))
    if not k <= keep <= len(x):
        raise ValueError(f"share={share} keeps {keep} of {len(x)} rows: choose a share from {k / len(x):.3f} to 1")
    close = nearest_to_center(x, keep, clusters, seed)
    return close[k_center_greedy(x[close], k)]


def stratified(labels, k: int, seed: int = 0) -> np.ndarray:
    """`k` rows with equal shares of every label, at random inside each: (k,), shuffled. A rare label gives all it has.

    >>> sorted(stratified(["a"] * 8 + ["b"] * 2, 4).tolist())[-2:]
    [8, 9]
    """
    names, index = np.unique(np.asarray(labels), return_inverse=True)
    k, rng = _count(k, len(index)), np.random.default_rng(seed)
    queues = [list(rng.permutation(np.flatnonzero(index == i))) for i in range(len(names))]
    picks: list[int] = []
    while len(picks) < k:
        for queue in [queues[i] for i in rng.permutation(len(queues))]:
            if queue and len(picks) < k:
                picks.append(int(queue.pop()))
    return rng.permutation(picks)


def keep_best(scores, k: int, high: bool = True) -> np.ndarray:
    """Indices of the `k` highest (or lowest) scores, best first; ties go to the lowest index. ValueError for NaN.

    >>> keep_best([0.2, 0.9, 0.5], 2).tolist(), keep_best([0.2, 0.9, 0.5], 1, high=False).tolist()
    ([1, 2], [0])
    """
    scores = np.asarray(scores, dtype=float)
    if np.isnan(scores).any():
        raise ValueError(f"score {int(np.isnan(scores).argmax())} is NaN: find out why before sorting by it")
    return np.argsort(-scores if high else scores, kind="stable")[: _count(k, len(scores))]
