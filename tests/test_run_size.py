"""Live sizes: what the environment asks for, and what a slow machine gets."""

import pytest

from helpers import run_size


def test_what_the_environment_asks_for(monkeypatch):
    monkeypatch.setenv("COURSE_STEPS", "0.05")
    assert run_size.steps(36) == 2 and not run_size.is_full()
    run_size.claim(False, "a shortened run asserts nothing")
    monkeypatch.setenv("COURSE_STEPS", "1")
    with pytest.raises(AssertionError, match="does not show it"):
        run_size.claim(False, "x")
    monkeypatch.setenv("COURSE_SIZE", "long")
    assert run_size.steps(36, 200) == 200 and run_size.choose(1, 2) == 2
    for name, value in (("COURSE_STEPS", "fast"), ("COURSE_STEPS", "0"), ("COURSE_SIZE", "huge")):
        monkeypatch.setenv(name, value)
        with pytest.raises(ValueError, match=name):
            run_size.steps(3)
        monkeypatch.setenv("COURSE_STEPS", "1")


def test_a_slow_machine_runs_half_of_the_steps_and_asserts_no_claim(monkeypatch, capsys):
    monkeypatch.delenv("COURSE_STEPS", raising=False)
    monkeypatch.setattr(run_size, "step_seconds", lambda: run_size.SLOW_STEP_S - 0.1)
    assert run_size.steps(36) == 36 and run_size.is_full()
    monkeypatch.setattr(run_size, "step_seconds", lambda: run_size.SLOW_STEP_S + 0.1)
    assert run_size.steps(36) == 18 and run_size.steps(3) == 2 and not run_size.is_full()
    run_size.claim(False, "something")
    assert "not checked in a shortened run (0.5 of the steps): something" in capsys.readouterr().out
    monkeypatch.setenv("COURSE_STEPS", "1")  # asked for by name: the reader's word counts
    assert run_size.steps(36) == 36 and run_size.is_full()


def test_the_speed_is_measured(monkeypatch):
    import time

    run_size.step_seconds.cache_clear()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    start = time.perf_counter()
    seconds = run_size.step_seconds()
    assert 0 < seconds < 1000 and time.perf_counter() - start < 30
    assert run_size.step_seconds() == seconds  # once a process
    run_size.step_seconds.cache_clear()
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert run_size.step_seconds() == 0
    run_size.step_seconds.cache_clear()


def test_a_step_is_thirty_layers_and_two_losses(monkeypatch):
    run_size.step_seconds.cache_clear()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    took = {"layer": [9, 0.3, 0.1, 0.2], "loss": [0.1, 0.5, 0.9, 0.7]}  # the best of the runs after the first counts
    monkeypatch.setattr(run_size.timeit, "repeat", lambda work, number, repeat: took[work.__name__][: number * repeat])
    assert run_size.step_seconds() == pytest.approx(4.0)
    run_size.step_seconds.cache_clear()


def test_a_long_run_without_a_number_of_its_own_takes_the_live_one(monkeypatch):
    monkeypatch.setenv("COURSE_STEPS", "1")
    monkeypatch.setenv("COURSE_SIZE", "long")
    assert run_size.steps(36) == 36
