"""helpers.curves: every kind of curve, real and made; the callback; the advice."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers import curves, recordings

RNG = np.random.default_rng(0)


def falling(steps=100, fast=8.0, floor=0.02, noise=0.05):
    """A healthy curve: exponential fall to a floor, with noise in proportion to the loss."""
    return (3 * np.exp(-np.arange(steps) / fast) + floor) * (1 + noise * RNG.standard_normal(steps))


def with_jump(losses, at, height, width=8):
    losses = losses.copy()
    losses[at : at + width] += height
    return losses


MADE = {
    "healthy": falling(fast=4),
    "crawling": falling(fast=40),
    "oscillating": with_jump(falling(fast=4), 60, 1.5),
    "diverging": np.concatenate([np.linspace(3, 1, 20), np.linspace(1, 9, 80)]),
    "plateau then drop": np.concatenate([falling(fast=3, floor=0.5, steps=70), np.linspace(0.5, 0.05, 30)]),
    "nothing trained": np.full(50, 2.5),
    "nan": np.r_[falling(20), np.nan, falling(40)],
}


@pytest.mark.parametrize("kind", MADE)
def test_a_made_curve_is_named(kind):
    found = curves.diagnose(MADE[kind])
    assert found.kind == kind, found
    assert (
        (found.rate, found.advice) == curves.KINDS[kind]
        and found.advice in str(found)
        and found.evidence in str(found)
    )


def test_every_kind_is_made_here_or_in_a_test_below():
    assert set(curves.KINDS) == set(MADE) | {"overfitting"}


def test_overfitting_is_seen_in_the_validation_loss_alone():
    train = MADE["healthy"]
    assert curves.diagnose(train, valid=[2.0, 1.0, 0.9, 1.0, 1.2]).kind == "overfitting"
    assert "check 3" in curves.diagnose(train, valid=[2.0, 1.0, 0.9, 1.0, 1.2]).evidence
    assert curves.diagnose(train, valid=[2.0, 1.0, 0.9, 0.95]).kind == "healthy"  # 6% above the lowest: not yet
    assert curves.diagnose(train, valid=[0.9, 1.2]).kind == "healthy"  # two checks are no curve


def test_nan_names_the_first_logged_step_and_whose_it_is():
    assert "the loss of logged step 21 " in curves.diagnose(MADE["nan"]).evidence
    norms = np.r_[np.ones(4), np.inf, np.ones(95)]
    assert "the gradient of logged step 5 " in curves.diagnose(MADE["healthy"], grad_norms=norms).evidence
    assert (
        "the validation loss of logged step 2 " in curves.diagnose(MADE["healthy"], valid=[2.0, np.nan, 1.0]).evidence
    )


def test_gradients_that_are_all_zero_train_nothing_even_if_batches_differ():
    flat = 2.5 + 0.1 * RNG.standard_normal(50)
    assert curves.diagnose(flat, grad_norms=np.zeros(50)).kind == "nothing trained"
    assert (
        curves.diagnose(MADE["healthy"], grad_norms=np.r_[np.zeros(3), np.ones(97)]).kind == "healthy"
    )  # fp16's first steps


def test_noise_alone_is_no_climb_and_a_climb_is_measured_against_the_fall():
    noisy = 3 - np.linspace(0, 0.3, 100) + 0.1 * RNG.standard_normal(100)  # hardly falls, jumps by thirds of its fall
    assert curves.climb(noisy) == 0
    calm = falling(fast=4, noise=0)
    assert curves.climb(calm) == 0
    assert curves.climb(with_jump(calm, 60, 0.6, 20)) == pytest.approx(0.6 / 2, rel=0.2)


def test_fall_time_is_a_share_of_the_run_whatever_its_length():
    assert curves.fall_time(falling(100, 10, noise=0)) == pytest.approx(
        curves.fall_time(falling(400, 40, noise=0)), abs=0.03
    )
    assert curves.fall_time(np.linspace(2, 0, 200)) == pytest.approx(0.9, abs=0.05)


def test_too_few_losses_are_refused_with_what_to_do():
    with pytest.raises(ValueError, match="49 logged losses.*from 50 on; set logging_steps=1"):
        curves.diagnose(np.ones(49))


@pytest.mark.parametrize(
    "model, rate, kinds",
    [
        ("qwen-1.5b", 3e-5, {"crawling"}),
        ("qwen-1.5b", 3e-4, {"healthy"}),
        ("qwen-1.5b", 1e-2, {"diverging"}),
        (recordings.BUNDLED, 1e-4, {"crawling"}),
        (recordings.BUNDLED, 1e-2, {"diverging", "oscillating"}),
    ],
)
def test_recorded_curves_are_named_whatever_their_seed(model, rate, kinds):
    settings = {"TASK": "routing_words", "RANK": 16, "LEARNING_RATE": rate}
    runs = recordings.find(recordings.load("06", model), "search", "lora", **settings)
    assert len(runs) == 3
    assert {curves.diagnose(r["result"]["loss"], (), r["result"]["grad_norm"]).kind for r in runs} <= kinds


def test_the_advice_stops_at_the_ends_at_a_healthy_one_and_after_its_tries():
    slow, wild, good = MADE["crawling"], MADE["diverging"], MADE["healthy"]
    assert curves.follow(1, [slow, slow, slow].__getitem__, 3) == [1, 2]
    assert curves.follow(1, [wild, wild, wild].__getitem__, 3) == [1, 0]
    assert curves.follow(0, [slow, good, wild].__getitem__, 3) == [0, 1]
    assert curves.follow(2, [slow, slow, wild].__getitem__, 3) == [
        2,
        1,
    ]  # down to one that crawls: the lower of the two
    assert curves.follow(0, lambda at: slow, 6, tries=3) == [0, 1, 2]


def _log(watch, losses, norms=None, **arguments):
    control, state = SimpleNamespace(should_training_stop=False), SimpleNamespace(log_history=[], global_step=0)
    for step, loss in enumerate(losses, 1):
        state.global_step = step
        state.log_history.append(
            {"loss": str(loss), "step": step}
            | ({"grad_norm": str(norms[step - 1] if isinstance(norms, list) else norms)} if norms is not None else {})
        )
        watch.on_log(None, state, control, state.log_history[-1])
        if control.should_training_stop:
            break
    watch.on_log(None, state, control, {"train_loss": 1.0})  # what the trainer logs at the end
    watch.on_train_end(None, state, control)
    return state.global_step


def test_the_callback_stops_a_run_that_runs_away_or_is_no_number(capsys):
    assert _log(watch := curves.curve_watch(), [3.0, 8.9, 9.1, 1.0]) == 3  # three times where it began
    assert watch.diagnosis.kind == "diverging"
    assert "stopped at step 3: the loss is 9.10, it began at 3.00" in capsys.readouterr().out
    assert _log(curves.curve_watch(), [4.5, 4.5, 500.0, 480.0]) == 3  # an explosion does not raise its own limit
    assert _log(watch := curves.curve_watch(), [3.0, 2.0, float("nan"), 1.0]) == 3
    assert watch.diagnosis.kind == "nan"
    assert _log(curves.curve_watch(give_up=5), [3.0, 3.0, 9.1, 2.0]) == 4
    assert capsys.readouterr().out.count("stopped") == 2


def test_the_callback_reads_the_whole_curve_or_says_nothing():
    watch = curves.curve_watch()
    _log(watch, MADE["crawling"])
    assert watch.diagnosis.kind == "crawling"
    _log(watch := curves.curve_watch(), MADE["crawling"], norms=0.0)
    assert watch.diagnosis.kind == "nothing trained"
    _log(watch := curves.curve_watch(), MADE["crawling"][: curves.LEAST - 1])
    assert watch.diagnosis is None


def test_the_callback_stops_where_gradients_stay_no_numbers_though_the_loss_is_logged_as_0(capsys):
    """What a trainer logged after one batch had made the adapter NaN (07, fault 20); one such gradient alone is fp16's scaling."""
    nan = float("nan")
    assert _log(watch := curves.curve_watch(), [1.2, 0.1, 0.0, 0.0, 0.0], norms=[2.0, 0.5, nan, nan, nan]) == 4
    assert watch.diagnosis.kind == "nan" and "gradients are no numbers" in capsys.readouterr().out
    assert _log(curves.curve_watch(), [3.0, 2.9, 2.8, 2.7], norms=[nan, 1.0, nan, 1.0]) == 4
    assert _log(curves.curve_watch(), [3.0, 2.9, 2.8]) == 3  # a log without norms
