"""The planner: what it counts, what it refuses, and that a fit finds the numbers it was made from."""

import dataclasses
import json

import numpy as np
import pytest

from helpers import planner
from helpers.planner import Fit, Plan, Shape

SEVEN = Shape.of(planner.SHAPES["7B"])
FIT = Fit(14.0, 12.0, 8.0, 0.6, 1.4, 6e-12, 1.2e-4)


def test_parameters_are_those_of_the_published_models():
    """Qwen2.5-7B: 7.62e9 with the biases of q, k, v, which are not counted here; 0.5B: 0.494e9."""
    assert SEVEN.parameters == pytest.approx(7.62e9, rel=1e-3)
    assert Shape.of(planner.SHAPES["0.5B"]).parameters == pytest.approx(0.494e9, rel=1e-3)


def test_parameters_and_adapters_agree_with_transformers_and_peft():
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    model, shape = AutoModelForCausalLM.from_config(config), Shape.of(config)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    tuned = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert shape.lora_parameters(8) == tuned.get_nb_trainable_parameters()[0]


def test_a_folder_is_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(planner.SHAPES["3B"]), encoding="utf-8")
    assert Shape.of(tmp_path) == Shape.of(planner.SHAPES["3B"])
    with pytest.raises(FileNotFoundError, match="no config.json"):
        Shape.of(tmp_path.parent)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"vocab_size": None}, "lacks vocab_size"),
        ({"hidden_size": -4}, "impossible"),
        ({"num_hidden_layers": 2.5}, "impossible"),
        ({"hidden_size": 3585}, "no multiple"),
    ],
)
def test_a_config_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Shape.of(planner.SHAPES["7B"] | change)


@pytest.mark.parametrize(
    "change", [{"method": "lroa"}, {"batch": 0}, {"length": 1.5}, {"rank": -1}, {"checkpointing": 2}, {"optimizer": "?"}, {"loss": "ppo"}]
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(change):
    with pytest.raises(ValueError):
        Plan(SEVEN, **change)


def test_memory_moves_the_right_way():
    plan = Plan(SEVEN, batch=2, length=1024)
    for change in ({"batch": 4}, {"length": 2048}, {"rank": 64}, {"checkpointing": 0.0}, {"method": "lora"}, {"optimizer": "adamw_torch"}):
        assert dataclasses.replace(plan, **change).total(FIT) > plan.total(FIT), change
    assert sum(plan.memory(FIT).values()) == pytest.approx(plan.total(FIT))
    assert plan.memory(FIT)["weights"] == pytest.approx(5.17, abs=0.05)  # 4-bit maps, 16-bit embeddings


def test_the_largest_batch_fits_and_one_more_does_not():
    plan = Plan(SEVEN, length=512)
    n = plan.largest_batch(11.3, FIT)
    fits = lambda batch: dataclasses.replace(plan, batch=batch).total(FIT) <= 11.3
    assert n >= 1 and fits(n) and not fits(n + 1)
    assert dataclasses.replace(plan, method="full").largest_batch(11.3, FIT) == 0


def test_advice_ends_where_it_fits():
    plan = Plan(SEVEN, method="full", checkpointing=0.0, optimizer="adamw_torch", batch=8)
    steps = plan.advice(11.3, FIT)
    assert steps and steps[-1][1] <= 11.3 < steps[-2][1]
    assert Plan(SEVEN, batch=1, length=256).advice(23.3, FIT) == []


def test_a_fit_finds_the_numbers_it_was_made_from():
    plans = [Plan(Shape.of(planner.SHAPES[size]), method=m, batch=b, length=n, checkpointing=c)
             for size in ("0.5B", "7B") for m, b, n, c in (("qlora", 4, 1024, 1.0), ("lora", 1, 2048, 0.0), ("qlora", 2, 512, 0.5),
                                                            ("qlora", 1, 4096, 1.0))]  # fmt: skip
    found = planner.calibrate([(p, p.total(FIT), p.seconds(7e14, FIT)) for p in plans], 7e14)
    for p in plans:
        assert p.total(found) == pytest.approx(p.total(FIT), rel=1e-3)
        assert p.seconds(7e14, found) == pytest.approx(p.seconds(7e14, FIT), rel=1e-3)
    with pytest.raises(ValueError, match="at least 6"):
        planner.calibrate([], 7e14)


def test_the_committed_fit_is_that_of_the_record_and_holds_on_the_settings_it_was_not_fitted_to():
    from helpers import runs

    rate = next(r for r in runs.load("09") if r["name"] == "measure-ladder")["result"]["matrix_rate"]
    again = planner.calibrate(planner.recorded("fit"), rate)
    assert np.allclose(list(dataclasses.astuple(again)), list(dataclasses.astuple(Fit.load())), rtol=0.01)
    errors = [abs(plan.total() / gib - 1) for plan, gib, _ in planner.recorded("check")]
    assert np.quantile(errors, 0.9) < 0.10
