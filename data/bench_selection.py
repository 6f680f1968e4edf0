"""How fast is `selection.k_center_greedy`, against the plain numpy loop and packages that do the same?

    python -m data.bench_selection                    ratios at one size, growth with rows and picks, memory
    python -m data.bench_selection --rows 100000      the large case: 100,000 x 384 float32

Packages are compared where they are installed (pip install scikit-activeml fpsample). All run one after another in this process on
the same vectors and must pick the same rows; times are the best of three, so that a busy machine shows less.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc

import numpy as np

from helpers import selection


def vectors(rows: int, dimensions: int = 384, seed: int = 0) -> np.ndarray:
    """Unit vectors in 50 loose clusters, as sentence embeddings of a data set lie: (rows, dimensions) float32."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(50, dimensions))
    x = centers[rng.integers(0, 50, rows)] + rng.normal(0, 1.2, (rows, dimensions))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def plain(x: np.ndarray, k: int) -> list[int]:
    """The loop that everyone writes: distances to the newest pick by subtraction, a running minimum, an argmax."""
    picks, near = [0], np.full(len(x), np.inf)
    while len(picks) < k:
        near = np.minimum(near, ((x - x[picks[-1]]) ** 2).sum(1))
        picks.append(int(near.argmax()))
    return picks


def activeml(x: np.ndarray, k: int) -> list[int]:
    """`skactiveml.pool.k_greedy_center`, begun with row 0 labelled."""
    from skactiveml.pool import k_greedy_center

    labels = np.full(len(x), np.nan)
    labels[0] = 0
    return [0, *map(int, k_greedy_center(x, labels, batch_size=k - 1, random_state=0)[0])]


def fpsample(x: np.ndarray, k: int) -> list[int]:
    """`fpsample.fps_sampling`, a compiled farthest-point sampling for point clouds of any dimension."""
    import fpsample as package

    return list(map(int, package.fps_sampling(x, k, start_idx=0)))


def ours(x: np.ndarray, k: int) -> list[int]:
    """`helpers.selection.k_center_greedy`."""
    return selection.k_center_greedy(x, k, first=0).tolist()


def best_of(function, *args, times: int = 3) -> tuple[float, list[int]]:
    """`(seconds, result)`: the fastest of `times` runs."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        result = function(*args)
        seconds.append(time.perf_counter() - begin)
    return min(seconds), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--picks", type=int, default=200)
    args = parser.parse_args()
    x = vectors(args.rows)
    mine, picks = best_of(ours, x, args.picks)
    print(f"{args.rows} x {x.shape[1]} float32, {args.picks} picks: {mine:.2f} s here")
    for function in (plain, activeml, fpsample):
        try:
            seconds, other = best_of(function, x, args.picks)
        except ImportError:
            print(f"  {function.__name__:9} not installed")
            continue
        same = sum(a == b for a, b in zip(other, picks))
        print(
            f"  {function.__name__:9} takes {seconds / mine:5.2f} times as long; {same} of {len(picks)} picks in the same place"
        )
    print("growth:")
    for rows, k in (
        (args.rows // 4, args.picks),
        (args.rows // 2, args.picks),
        (args.rows, args.picks),
        (args.rows, args.picks * 2),
    ):
        print(f"  {rows:7} rows, {k:5} picks: {best_of(ours, x[:rows], k)[0]:6.2f} s")
    tracemalloc.start()
    ours(x, 20)
    print(f"memory beside the matrix: {tracemalloc.get_traced_memory()[1] / x.nbytes:.2f} times the matrix")


if __name__ == "__main__":
    main()
