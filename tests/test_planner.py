"""The planner: what it counts, what it refuses, and that a fit finds the numbers it was made from."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from helpers import hardware, planner, recordings
from helpers.planner import CARDS, PRICES, START, Fit, Plan, Shape, room

SEVEN = Shape.of(planner.SHAPES["7B"])
FIT = Fit(1.1, 7.5, 0.8, 0.25, 38, 1.3e-3, 0.5, 0.55, 0.72, 3350e9)
RATE = FIT.share * CARDS["H100"].rate
GIB = planner.GIB


def plan(size="7B", **settings):
    return Plan(Shape.of(planner.SHAPES[size]), **settings)


# ---------------------------------------------------------------- counted on real, tiny models


def test_parameters_are_those_of_the_published_models():
    """Qwen2.5-7B: 7.62e9 with the biases of q, k, v, which are not counted here; 0.5B: 0.494e9."""
    assert SEVEN.parameters == pytest.approx(7.62e9, rel=1e-3)
    assert Shape.of(planner.SHAPES["0.5B"]).parameters == pytest.approx(0.494e9, rel=1e-3)


def tiny(layers=2, hidden=128, intermediate=384, **more):
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=64, hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, use_cache=False,
        num_attention_heads=4, num_key_value_heads=1, tie_word_embeddings=True, **more,
    )  # fmt: skip


def adapted(model, rank=2):
    from peft import LoraConfig, get_peft_model

    maps = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    tuned = get_peft_model(model, LoraConfig(r=rank, target_modules=maps, task_type="CAUSAL_LM"))
    for p in tuned.parameters():
        p.data = p.data.float() if p.requires_grad else p.data
    tuned.enable_input_require_grads()
    return tuned


def test_parameters_and_adapters_agree_with_transformers_and_peft():
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    model, shape = AutoModelForCausalLM.from_config(config), Shape.of(config)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert shape.lora_parameters(8) == adapted(model, 8).get_nb_trainable_parameters()[0]


def kept_by_layers(method, layers, folder, monkeypatch, tokens=512, recompute=False, rank=2):
    """Bytes that the layers of a tiny model keep for the way back, under bfloat16 autocast as in the trainer."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    place = folder / f"{method}-{layers}"
    model = AutoModelForCausalLM.from_config(tiny(layers), dtype=torch.bfloat16)
    if method == "qlora":
        model.save_pretrained(place)
        four = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
        model = AutoModelForCausalLM.from_pretrained(place, quantization_config=four, dtype=torch.bfloat16)
        on = torch.is_autocast_enabled  # peft asks for CUDA's; here it is the CPU's
        monkeypatch.setattr(torch, "is_autocast_enabled", lambda *kind: on(*(kind or ("cpu",))))
    model = (model if method == "full" else adapted(model, rank)).train()
    if recompute:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    own, sizes = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

    def pack(tensor):
        place = tensor.untyped_storage()
        sizes[place.data_ptr()] = 0 if place.data_ptr() in own else place.nbytes()
        return tensor

    back = model.model if method == "full" else model.base_model.model.model
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), torch.autocast("cpu", torch.bfloat16):
        out = back(torch.arange(tokens)[None] % 64).last_hidden_state
    assert out.requires_grad
    return sum(sizes.values())


@pytest.mark.parametrize("method", planner.METHODS)
def test_a_layer_keeps_what_is_counted(method, tmp_path, monkeypatch):
    """Norms in float32, inputs of linear maps (16-bit LoRA: a copy for each), q, k, v, attention, gate, up, product."""
    shape, tokens, rank = Shape.of(tiny()), 256, 2
    three, two = (kept_by_layers(method, n, tmp_path, monkeypatch, tokens, rank=rank) for n in (3, 2))
    units = planner.KEPT[method] * shape.hidden + 4 * shape.kv_heads * shape.head_dim + 8 * shape.intermediate
    copies = 0 if method == "full" else 2 * shape.lora_parameters(rank) / shape.layers  # adapters in 16 bits
    assert three - two == pytest.approx(tokens * units + copies, rel=0.02)


def test_a_recomputed_layer_keeps_its_input(tmp_path, monkeypatch):
    three, two = (kept_by_layers("full", n, tmp_path, monkeypatch, recompute=True) for n in (3, 2))
    assert three - two == pytest.approx(512 * 2 * 128, rel=0.05)  # and a state of random numbers


def test_the_states_of_adamw_are_as_wide_as_what_is_trained():
    import torch

    for dtype, method in ((torch.bfloat16, "full"), (torch.float32, "qlora")):
        weight = torch.zeros(1000, dtype=dtype, requires_grad=True)
        optimizer = torch.optim.AdamW([weight])
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        states = [v for v in optimizer.state[weight].values() if v.numel() > 1]
        mine = plan(method=method, optimizer="adamw_torch")
        assert mine._states() / mine.trained == sum(v.nbytes for v in states) / 1000


# ---------------------------------------------------------------- memory


def test_memory_moves_the_right_way():
    base = plan(batch=2, length=1024)
    for change in ({"batch": 4}, {"length": 2048}, {"rank": 64}, {"checkpointing": 0.0}, {"checkpointing": 0.5},
                   {"method": "lora"}, {"optimizer": "adamw_torch"}, {"loss": "dpo"}, {"loss": "orpo"}):  # fmt: skip
        assert dataclasses.replace(base, **change).total(FIT) > base.total(FIT), change
    for change in ({"fused": True}, {"compiled": True}, {"fused": True, "compiled": True}):
        assert dataclasses.replace(base, **change).total(FIT) < base.total(FIT), change
    assert list(base.memory(FIT)) == [
        "weights", "adapters", "gradients", "optimizer", "activations", "loss", "rest"]  # fmt: skip
    assert sum(base.memory(FIT).values()) == pytest.approx(base.total(FIT))
    assert base.memory(FIT)["weights"] == pytest.approx(5.17, abs=0.05)  # 4-bit maps, 16-bit embeddings


def test_full_tuning_peaks_with_gradients_or_with_activations_not_with_both():
    short, long = plan("1.5B", method="full", batch=1, length=64), plan("1.5B", method="full", batch=64, length=1024)
    number = short.trained / GIB
    parts = short.memory(FIT)
    assert parts["gradients"] == pytest.approx(2 * number) and parts["loss"] == 0
    assert parts["optimizer"] == pytest.approx((2.03 * number) + 5.97 * 151936 * 1536 / GIB, rel=0.01)
    parts = long.memory(FIT)
    assert parts["gradients"] < 0.2 * number * 2 and parts["activations"] > 3 * number  # of the head only
    torchs = dataclasses.replace(short, optimizer="adamw_torch").memory(FIT)
    assert torchs["optimizer"] == pytest.approx(6 * number)  # two states and, in the step, a copy
    assert torchs["optimizer"] - 2 * number == pytest.approx(
        dataclasses.replace(short, optimizer="adamw_torch_fused").memory(FIT)["optimizer"]
    )


def test_the_loss_holds_a_tile_or_all_logits():
    tokens, hidden, vocab = 4096, SEVEN.hidden, SEVEN.vocab
    assert plan()._loss() == 14 * tokens * hidden + 4096 * 32768 * 2
    assert plan(loss="orpo", batch=2)._loss() == tokens * (12 * vocab + 8 * hidden)
    assert plan(method="full")._loss() - plan()._loss() == 6 * vocab * hidden
    assert plan(loss="dpo", batch=2)._loss() == plan()._loss()


def test_dpo_on_all_weights_holds_a_reference_unless_its_answers_are_there():
    twice = plan("0.5B", method="full", loss="dpo").memory(FIT)["weights"]
    assert twice == 2 * plan("0.5B", method="full", loss="dpo", precomputed=True).memory(FIT)["weights"]
    assert plan(loss="dpo").memory(FIT)["weights"] == plan().memory(FIT)["weights"]  # adapters off: no second model


def test_the_largest_batch_fits_and_one_more_does_not():
    mine, found = plan(length=512), []
    fits = lambda batch, gib: dataclasses.replace(mine, batch=batch).total(FIT) <= gib
    for gib in (4, 7, 11.3, 15, 23.3, 79):
        n = mine.largest_batch(gib, FIT)
        assert (n == 0 or fits(n, gib)) and not fits(n + 1, gib)
        found.append(n)
    assert found == sorted(found) and found[0] == 0 < found[2]
    sizes = [dataclasses.replace(mine, batch=b).total(FIT) for b in range(1, 40)]
    assert sizes == sorted(sizes)
    assert dataclasses.replace(mine, method="full").largest_batch(11.3, FIT) == 0
    assert plan("0.5B", length=1).largest_batch(1e9, FIT) == 4096


def test_advice_ends_where_it_fits():
    steps = plan(method="full", checkpointing=0.0, optimizer="adamw_torch", batch=8).advice(11.3, FIT)
    assert steps and steps[-1][1] <= 11.3 < steps[-2][1]
    assert plan(batch=1, length=256).advice(23.3, FIT) == []
    fused = "fused kernels and compiled layers"
    assert fused in dict(steps) and fused not in dict(plan(batch=64).advice(11.3, dataclasses.replace(FIT, lean=1.0)))
    assert plan("14B", length=8192).advice(4.0, FIT)[-1][1] > 4.0


# ---------------------------------------------------------------- time and money


def test_operations_of_head_reference_and_attention():
    sft, tokens, head = plan(), 4096, 2 * SEVEN.vocab * SEVEN.hidden
    linear, attention = 2 * SEVEN.linear_parameters, 2 * SEVEN.layers * SEVEN.hidden * 1024
    assert sft.operations() == tokens * (3 * linear + 8 * sft.trained + 4.5 * attention + 3 * head)
    assert plan(method="full").operations() == tokens * (4 * linear + 4.5 * attention + 4 * head)
    dpo = plan(loss="dpo", batch=2).operations() - plan(loss="dpo", batch=2, precomputed=True).operations()
    assert dpo == pytest.approx(tokens * (linear + attention + head))
    assert plan(loss="orpo", batch=2).operations() == pytest.approx(sft.operations() - tokens * head)


def test_time_moves_the_right_way():
    base = plan()
    for change in ({"batch": 8}, {"length": 2048}, {"loss": "dpo"}, {"method": "full"}):
        assert dataclasses.replace(base, **change).seconds("H100", FIT) > base.seconds("H100", FIT), change
    for change in ({"checkpointing": 0.0}, {"method": "lora"}, {"fused": True}, {"compiled": True}):
        assert dataclasses.replace(base, **change).seconds("H100", FIT) < base.seconds("H100", FIT), change
    assert base.seconds("H100", FIT) == pytest.approx(base.seconds(RATE, FIT))  # the recorded card, by name or rate
    assert base.hours(1000, 3, RATE, FIT) == pytest.approx(750 * base.seconds(RATE, FIT) / 3600)


def test_cards_are_what_their_drivers_and_sheets_say():
    assert round(room("RTX 3060 12 GB"), 1) == 11.3 and round(room("RTX 4090"), 1) == 23.3
    assert all(0 < c.rate < 1e15 and 1e11 < c.bandwidth < 5e12 for c in CARDS.values())
    for call in (room, lambda c: plan().seconds(c, FIT), lambda c: planner.cost(1, PRICES, c)):
        with pytest.raises(ValueError, match="'RTX 9999' is unknown: choose T4, RTX 3060"):
            call("RTX 9999")


def test_the_newest_price_comes_with_its_date():
    assert planner.cost(10, PRICES, "RTX 4090") == {
        "amount": pytest.approx(19.8), "currency": "CNY", "price": 1.98, "what": "RTX 4090 24 GB (AutoDL)",
        "date": "2026-09",
    }  # fmt: skip
    table = pd.read_csv(PRICES)
    assert table.notna().all().all() and table["date"].str.match(r"20\d\d-\d\d").all()


@pytest.mark.parametrize(
    "change, hours, currency, message",
    [
        (lambda t: t.drop(columns="date"), 1, "CNY", "lacks date"),
        (lambda t: t.assign(price=-1.0), 1, "CNY", "price -1.0 of 'RTX 4090"),
        (lambda t: t.assign(price="cheap"), 1, "CNY", "price cheap of"),
        (lambda t: t, -1, "CNY", "hours -1"),
        (lambda t: t, 1, "EUR", "no price of RTX 4090 in EUR"),
    ],
)
def test_prices_that_cannot_be_are_refused(change, hours, currency, message):
    with pytest.raises(ValueError, match=message):
        planner.cost(hours, change(pd.read_csv(PRICES)), "RTX 4090", currency)


# ---------------------------------------------------------------- what is refused


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
        ({"num_key_value_heads": 0}, "impossible"),
        ({"hidden_size": 3585}, "no multiple"),
    ],
)
def test_a_config_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Shape.of(planner.SHAPES["7B"] | change)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"method": "lroa"}, "choose full"),
        ({"loss": "ppo"}, "choose sft"),
        ({"optimizer": "?"}, "choose adamw_torch"),
        ({"batch": 0}, "batch 0"),
        ({"length": 1.5}, "length 1.5"),
        ({"rank": -1}, "rank -1"),
        ({"checkpointing": 2}, "checkpointing 2"),
        ({"checkpointing": "half"}, "checkpointing half"),
        ({"checkpointing": None}, "checkpointing None"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        plan(**change)


def test_impossible_rates_rows_and_epochs_are_refused():
    with pytest.raises(ValueError, match="matrix rate 0"):
        plan().seconds(0, FIT)
    for rows, epochs in ((0, 3), (1.5, 3), (10, 0)):
        with pytest.raises(ValueError, match="rows"):
            plan().hours(rows, epochs, "H100", FIT)


def test_without_a_fit_it_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "FIT", tmp_path / "planner.json")
    with pytest.raises(FileNotFoundError, match="--fit writes it"):
        plan().total()


# ---------------------------------------------------------------- the fit

LEAN = {"fused": True, "compiled": True}
TWELVE = [plan(size, **settings) for size, settings in (
    ("0.5B", {"batch": 8, "length": 512}), ("0.5B", {"method": "lora", "checkpointing": 0.0}),
    ("1.5B", LEAN), ("1.5B", {"checkpointing": 0.0, "batch": 2}),
    ("3B", {"batch": 2, "length": 2048}), ("3B", LEAN | {"method": "lora", "length": 512}),
    ("7B", LEAN | {"batch": 1, "length": 512}), ("7B", {}), ("7B", LEAN | {"batch": 1, "length": 4096}),
    ("7B", LEAN | {"checkpointing": 0.0, "batch": 2}), ("7B", {"method": "lora"}), ("14B", {"batch": 2}))]  # fmt: skip


def measured(plans, noise=0.0):
    rng = np.random.default_rng(0)
    return [(p, p.total(FIT) * rng.normal(1, noise), p.seconds(RATE, FIT) * rng.normal(1, noise)) for p in plans]


def test_a_fit_finds_the_numbers_it_was_made_from():
    found = planner.calibrate(measured(TWELVE), RATE)
    assert np.allclose(dataclasses.astuple(found), dataclasses.astuple(FIT), rtol=1e-3)
    other = planner.calibrate(measured(TWELVE), RATE, "H200")
    assert other.bandwidth == CARDS["H200"].bandwidth


def test_a_fit_of_noisy_runs_predicts_others():
    found = planner.calibrate(measured(TWELVE, noise=0.03), RATE)
    for p in (plan("14B", batch=1, length=4096), plan("3B", batch=8), plan("7B", rank=64, **LEAN)):
        assert p.total(found) == pytest.approx(p.total(FIT), rel=0.05)
        assert p.seconds(RATE, found) == pytest.approx(p.seconds(RATE, FIT), rel=0.10)


def test_runs_that_cannot_tell_are_refused():
    with pytest.raises(ValueError, match="at least 6"):
        planner.calibrate(measured(TWELVE[:5]), RATE)
    with pytest.raises(ValueError, match="do not tell lean"):
        planner.calibrate(measured([dataclasses.replace(p, fused=False, compiled=False) for p in TWELVE]), RATE)
    with pytest.raises(ValueError, match="do not tell"):
        planner.calibrate(measured([plan(batch=b) for b in range(1, 13)]), RATE)
    with pytest.raises(ValueError, match="impossible measurement"):
        planner.calibrate([(p, float("nan"), 1.0) for p in TWELVE], RATE)
    with pytest.raises(ValueError, match="'B300' is unknown"):
        planner.calibrate(measured(TWELVE), RATE, "B300")


def record(plans, lacks=()):
    keys = ("method", "rank", "batch", "length", "checkpointing", "optimizer", "fused", "compiled")
    settings = lambda size: [
        {k: getattr(p, k) for k in keys if k not in lacks} | {"fits": True, "peak_gib": gib, "step": s, "loss": [11.9]}
        for p, gib, s in measured(plans) if p.shape == Shape.of(planner.SHAPES[size])
    ]  # fmt: skip
    ladder = {"name": "measure-ladder", "result": {"matrix_rate": RATE},
              "environment": {"card": "NVIDIA H100 80GB HBM3"}}  # fmt: skip
    return [ladder] + [
        {"name": f"measure-fit-{size}", "set": {"SHAPE": planner.SHAPES[size]}, "result": {"settings": settings(size)}}
        for size in planner.SHAPES
    ]


def test_the_record_is_read_and_written_as_a_fit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(planner, "FIT", tmp_path / "planner.json")
    monkeypatch.setattr(recordings, "load", lambda notebook: record(TWELVE))
    planner.main(["--fit"])
    assert np.allclose(dataclasses.astuple(Fit.load()), dataclasses.astuple(FIT), rtol=1e-3)
    assert json.loads(capsys.readouterr().out) == dataclasses.asdict(Fit.load())
    monkeypatch.setattr(recordings, "load", lambda notebook: record(TWELVE, lacks=("fused",)))
    with pytest.raises(ValueError, match="measure-fit-0.5B lacks fused"):
        planner.fit_record()


def test_of_a_setting_measured_twice_the_mean_counts(monkeypatch):
    once = record(TWELVE)
    again = json.loads(json.dumps([r | {"name": f"{r['name']}-again"} for r in once[1:]]))
    for s in (s for r in again for s in r["result"]["settings"]):
        s["step"] *= 2
    monkeypatch.setattr(recordings, "load", lambda notebook: once + again)
    steps = {p: s for p, _, s in measured(TWELVE)}
    found = planner.recorded("fit")
    assert len(found) == 12 and all(s == pytest.approx(1.5 * steps[p]) for p, _, s in found)


def test_the_command_line_prints_parts_peak_speed_and_advice(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(planner, "FIT", tmp_path / "planner.json")
    planner.FIT.write_text(json.dumps(dataclasses.asdict(START)), encoding="utf-8")
    planner.main(["7B", "--batch", "1", "--length", "2048", "--card", "RTX 4090"])
    said = capsys.readouterr().out
    assert all(word in said for word in ("weights", "rest", "peak", "of 23.3 on RTX 4090", "tokens a second"))
    assert "change first" not in said
    planner.main(["14B", "--method", "full", "--card", "T4"])
    said = capsys.readouterr().out
    assert "change first: adapters on 4-bit weights" in said
    for wrong in (["7B", "--card", "RTX 9999"], ["7B", "--batch", "0"]):
        with pytest.raises(SystemExit):
            planner.main(wrong)
        assert "unknown" in (said := capsys.readouterr().err) or "batch 0" in said


def test_the_committed_fit_is_that_of_the_record_and_holds_on_the_settings_it_was_not_fitted_to():
    assert np.allclose(dataclasses.astuple(planner.fit_record()), dataclasses.astuple(Fit.load()), rtol=0.01)
    rate = next(r for r in recordings.load("09") if r["name"] == "measure-ladder")["result"]["matrix_rate"]
    checked = planner.recorded("check")
    assert np.quantile([abs(p.total() / gib - 1) for p, gib, _ in checked], 0.9) < 0.10
    assert np.quantile([abs(p.seconds(rate) / s - 1) for p, _, s in checked], 0.9) < 0.25


def test_the_time_to_unpack_is_that_of_the_recorded_profile():
    profile = next(r for r in recordings.load("09") if r["name"] == "measure-profile")
    stock, shape = profile["result"]["settings"][0], Shape.of(profile["set"]["SHAPE"])
    card = planner.CARDS[next(c for c in planner.CARDS if c in profile["environment"]["card"])]
    at_best = 2.5 * shape.linear_parameters * 3 / card.bandwidth  # three passes through the layers
    assert stock["shares"]["4-bit unpacking"] / 2 / at_best == pytest.approx(planner.UNPACK, rel=0.2)


def test_cuda_takes_the_same_of_a_card_everywhere():
    assert planner.CONTEXT == hardware.CONTEXT_GIB


def test_orpo_on_4_bit_weights_holds_the_embeddings_in_32_bits():
    more = plan(loss="orpo").memory(FIT)["weights"] - plan().memory(FIT)["weights"]
    assert more == pytest.approx(2 * SEVEN.other_parameters / GIB)
    lora = [plan(loss=loss, method="lora").memory(FIT)["weights"] for loss in ("sft", "orpo")]
    assert lora[0] == lora[1]


def test_an_optimizer_without_states_holds_none():
    assert plan(optimizer="sgd").memory(FIT)["optimizer"] == 0


def test_an_epoch_ends_with_a_smaller_batch():
    base = plan(batch=4)
    assert base.hours(5, 1, RATE, FIT) == pytest.approx(2 * base.seconds(RATE, FIT) / 3600)
    assert base.hours(5, 2, RATE, FIT) == pytest.approx(3 * base.seconds(RATE, FIT) / 3600)


def test_a_card_is_as_slow_as_its_own_memory():
    """Launches and operations set to nothing: what is left is bytes moved over the card's own bandwidth."""
    quiet = dataclasses.replace(FIT, launch=0.0, share=1e12)
    seconds = {c: plan().seconds(c, quiet) for c in ("H100", "H200", "RTX 4090")}
    assert seconds["H200"] / seconds["H100"] == pytest.approx(3350 / 4800)
    assert seconds["RTX 4090"] / seconds["H100"] == pytest.approx(3350 / 1008)


def test_a_step_of_the_optimizer_moves_weights_states_and_gradients():
    """4 bytes a number read and written, its gradient read, two states of 4 bytes read and written."""
    still = dataclasses.replace(FIT, launch=0.0, share=1e12, traffic=0.0)
    mine = plan(method="lora", optimizer="adamw_torch_fused")
    assert mine.seconds("H100", still) == pytest.approx(mine.trained * (3 * 4 + 2 * 8) / 3350e9)


def test_fused_and_compiled_save_half_of_the_way_each():
    lean = dataclasses.replace(FIT, swift=0.64, share=1e12, launch=0.0)
    moved = lambda **on: (
        plan(method="lora", **on).seconds("H100", lean)
        - plan(method="lora", **on).seconds("H100", dataclasses.replace(lean, traffic=0.0))
    )
    assert moved(fused=True) / moved() == moved(compiled=True) / moved() == pytest.approx(0.8)
    assert moved(fused=True, compiled=True) / moved() == pytest.approx(0.64)


# ---------------------------------------------------------------- experts, other configs, offloading, several cards

MIXTRAL = {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2, "tie_word_embeddings": False}  # fmt: skip
QWEN3_30B = {"vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 48, "num_attention_heads": 32,
             "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
             "decoder_sparse_step": 1, "mlp_only_layers": [], "tie_word_embeddings": False}  # fmt: skip
DEEPSEEK_V3 = {"vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432, "num_hidden_layers": 61, "num_attention_heads": 128,
               "num_key_value_heads": 128, "n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048,
               "n_shared_experts": 1, "first_k_dense_replace": 3, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
               "qk_nope_head_dim": 128, "v_head_dim": 128, "tie_word_embeddings": False}  # fmt: skip
QWEN2_57B = {"vocab_size": 151936, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
             "num_key_value_heads": 4, "num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 2560,
             "shared_expert_intermediate_size": 20480, "tie_word_embeddings": False}  # fmt: skip


@pytest.mark.parametrize(
    "config, total, active",
    [(MIXTRAL, 46.7, 12.9), (QWEN3_30B, 30.5, 3.3), (DEEPSEEK_V3, 671, 37), (QWEN2_57B, 57.4, 14.2)],
)
def test_experts_count_as_published_in_memory_all_of_them_in_time_those_active(config, total, active):
    shape = Shape.of(config)
    assert shape.parameters / 1e9 == pytest.approx(total, rel=0.005)
    assert shape.active_parameters / 1e9 == pytest.approx(active, rel=0.02)
    mine = Plan(shape, method="full", checkpointing=0.0)
    assert mine.memory(FIT)["weights"] == pytest.approx(2 * shape.parameters / GIB)
    head = shape.vocab * shape.hidden
    linear = 6 * (shape.active_parameters - shape.other_parameters) + 8 * head  # its tiles are computed again
    attention = 2 * shape.layers * shape.heads * shape.head_dim * 1024 * 3.5
    assert mine.operations() / mine.tokens == pytest.approx(linear + attention)
    assert SEVEN.active_parameters == SEVEN.parameters and SEVEN.expert_parameters == 0


def test_experts_agree_with_transformers_bitsandbytes_and_peft(tmp_path):
    """A layer without and one with experts: parameters, what 4 bits leave alone, and what peft's adapters train."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, Qwen3MoeConfig

    config = lambda **more: Qwen3MoeConfig(
        vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, head_dim=16,
        num_key_value_heads=2, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, **more,
    )  # fmt: skip
    model, shape = AutoModelForCausalLM.from_config(mixed := config(mlp_only_layers=[0])), Shape.of(mixed)
    norms = sum(p.numel() for n, p in model.named_parameters() if "q_norm" in n or "k_norm" in n)  # not counted
    assert shape.dense_layers == 1 and shape.parameters == sum(p.numel() for p in model.parameters()) - norms
    model.save_pretrained(tmp_path)
    four = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=BitsAndBytesConfig(load_in_4bit=True))
    packed = 2 * sum(p.numel() for p in four.parameters() if p.dtype == torch.uint8)
    assert packed == shape.linear_parameters - shape.expert_parameters
    model, shape = AutoModelForCausalLM.from_config(config()), Shape.of(config())
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert shape.lora_parameters(2) == tuned.get_nb_trainable_parameters()[0]


def test_experts_that_cannot_be_counted_are_refused():
    mixtral = lambda **change: Shape.of(MIXTRAL | change)
    for change, message in (
        ({"num_experts_per_tok": None}, "lacks num_experts_per_tok"),
        ({"num_experts_per_tok": 9}, "9 of 8 experts"),
        ({"num_local_experts": "8"}, "'8' experts"),
        ({"moe_intermediate_size": -1}, "width -1"),
    ):
        with pytest.raises(ValueError, match=message):
            mixtral(**change)
    unknown = {k: v for k, v in MIXTRAL.items() if "experts" not in k} | {"moe_num_experts": 64}
    with pytest.raises(ValueError, match="moe_num_experts: experts by this name"):
        Shape.of(unknown)
    assert Shape.of(MIXTRAL | {"num_local_experts": 0}).experts == 0
    with pytest.raises(ValueError, match="kv_lora_rank but lacks v_head_dim"):
        Shape.of(DEEPSEEK_V3 | {"v_head_dim": None})


def test_the_language_model_inside_a_config_is_found():
    whole = {"model_type": "a model that sees", "tie_word_embeddings": False, "text_config": planner.SHAPES["3B"]}
    assert Shape.of(whole) == Shape.of(planner.SHAPES["3B"])  # its own word on ties counts
    inner = {k: v for k, v in planner.SHAPES["7B"].items() if k != "tie_word_embeddings"}
    assert Shape.of({"tie_word_embeddings": False, "text_config": inner}) == SEVEN
    assert Shape.of({"llm_config": planner.SHAPES["7B"]}) == SEVEN  # InternVL
    assert Shape.of({"thinker_config": {"text_config": planner.SHAPES["7B"]}}) == SEVEN  # Qwen Omni


@pytest.mark.parametrize(
    "text, message",
    [
        (b'{"vocab_size": ', "is no JSON .*fetch it again"),
        (b"[1, 2]", "holds a list, not an object"),
        (json.dumps(planner.SHAPES["7B"]).encode("utf-16"), "is not UTF-8"),
    ],
)
def test_a_config_file_that_cannot_be_read_is_named_with_its_cure(tmp_path, text, message):
    (tmp_path / "config.json").write_bytes(text)
    for source in (tmp_path, tmp_path / "config.json"):
        with pytest.raises(ValueError, match=message):
            Shape.of(source)
    with pytest.raises(ValueError, match="a list is no model"):
        Shape.of([1])
    (tmp_path / "config.json").unlink()
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "a/base"}')
    with pytest.raises(ValueError, match="an adapter on a/base: plan with that model"):
        Shape.of(tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"head_dim": "x"}, "'head_dim': 'x'"),
        ({"num_key_value_heads": 56}, "56: impossible, they must divide num_attention_heads 28"),
        ({"num_key_value_heads": 5}, "they must divide"),
    ],
)
def test_heads_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Shape.of(planner.SHAPES["7B"] | change)


def test_numpys_integers_are_whole_numbers_and_a_rank_stays_within_the_model():
    few = plan(batch=np.int16(40), length=np.int32(1024), rank=np.int64(16))
    assert few == plan(batch=40) and few.tokens == 40960  # of 16 bits they would overflow
    assert Shape.of(planner.SHAPES["7B"] | {"hidden_size": np.int64(3584)}) == SEVEN
    assert plan(rank=3584).rank == 3584
    for rank in (3585, 10**6):
        with pytest.raises(ValueError, match=f"rank {rank} exceeds the hidden size 3584"):
            plan(rank=rank)


def test_recorded_settings_without_checkpointing_and_with_offloading_are_within_10_percent():
    """What the fit has not seen: either switch alone, no layer recomputed; activations in main memory."""
    seen = 0
    for run in recordings.load("09"):
        for s in run["result"].get("settings", ()) if run["name"].startswith("measure-") else ():
            plain = s.get("loss") != "logits" and not s["keep"] and s["embedding"] == "card" and not s["real"]
            if s["fits"] and plain and (s["checkpointing"] == 0 or s["offload"]):
                own = {
                    k: s[k]
                    for k in ("method", "rank", "batch", "length", "checkpointing", "optimizer", "fused")
                    if k in s
                }
                mine = Plan(
                    Shape.of(run["set"]["SHAPE"]), **own, compiled=bool(s["compiled"]), offload=bool(s["offload"])
                )
                assert mine.total() == pytest.approx(s["peak_gib"], rel=0.10), (run["name"], s["name"])
                seen += 1
    assert seen >= 12
    few = Shape.of(planner.SHAPES["7B"] | {"vocab_size": 49152})
    alone = Plan(few, checkpointing=0.0, fused=True)  # measured by another hand: 21.3
    assert alone.total() == pytest.approx(21.3, rel=0.10)


def test_offloading_takes_what_layers_keep_and_costs_time():
    for share in (0.0, 0.5, 1.0):
        here = plan(batch=4, length=4096, checkpointing=share)
        away = dataclasses.replace(here, offload=True)
        assert away.total(FIT) < here.total(FIT) and away.seconds(RATE, FIT) > here.seconds(RATE, FIT)
    assert "activations in main memory" in dict(plan(batch=1, length=32768).advice(9.0, FIT))


def test_paged_states_lie_outside_of_the_card():
    for name, bytes_each in (("paged_adamw_8bit", 2 + 8 / 256), ("paged_adamw_32bit", 8), ("paged_adamw", 8)):
        mine = plan(optimizer=name)
        assert mine.memory(FIT)["optimizer"] == 0 and mine._states() == mine.trained * bytes_each
        assert mine.seconds(RATE, FIT) > plan(optimizer="adamw_8bit").seconds(RATE, FIT)
    assert plan(optimizer="adamw_bnb_8bit").memory(FIT) == plan(optimizer="adamw_8bit").memory(FIT)


def test_memory_of_several_cards():
    """DDP: everything on each. Sharded: weights, gradients and states over the cards, activations whole; embedding and head gathered."""
    one = plan(method="full", batch=1, length=256)
    ddp, sharded = dataclasses.replace(one, gpus=4), dataclasses.replace(one, gpus=4, sharded=True)
    assert ddp.memory(FIT) == one.memory(FIT) == dataclasses.replace(one, sharded=True).memory(FIT)
    weights, layer = 2 * SEVEN.parameters, 2 * SEVEN.linear_parameters / SEVEN.layers
    parts = {k: v * GIB for k, v in sharded.memory(FIT).items()}
    assert parts["weights"] == pytest.approx(weights / 4)
    assert parts["gathered"] == pytest.approx(3 * layer + 3 * 2 * SEVEN.vocab * SEVEN.hidden)
    assert parts["gradients"] == pytest.approx(weights / 4) and parts["optimizer"] == pytest.approx(one._states() / 4)
    long = plan(batch=16)
    held = lambda p: sum(p.memory(FIT)[k] for k in ("activations", "loss"))
    assert held(dataclasses.replace(long, gpus=4, sharded=True)) == pytest.approx(held(long))
    assert dataclasses.replace(one, gpus=2).hours(1000, 3, RATE, FIT) == pytest.approx(one.hours(500, 3, RATE, FIT))
    with pytest.raises(ValueError, match="gpus 0"):
        plan(gpus=0)
    assert plan("14B", method="full", batch=1).total(FIT) > room("H100") > plan(
        "14B", method="full", batch=1, gpus=4, sharded=True).total(FIT)  # fmt: skip


def test_the_command_line_plans_several_cards(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(planner, "FIT", tmp_path / "planner.json")
    planner.FIT.write_text(json.dumps(dataclasses.asdict(START)), encoding="utf-8")
    planner.main(["14B", "--method", "full", "--gpus", "8", "--sharded", "--card", "H100", "--batch", "1"])
    said = capsys.readouterr().out
    assert "gathered" in said and "change first" not in said and "tokens a second on 8 cards" in said
    monkeypatch.setitem(planner.SHAPES, "mixtral", MIXTRAL)
    planner.main(["mixtral"])
    assert "46.7e9 parameters, 12.9e9 work on a token" in (said := capsys.readouterr().out) and "does not fit" in said


def test_memory_of_several_cards_as_recorded():
    """Every shape of data/runs/13.jsonl that ran, within 8%: one card, copies, slices; 7B, 32B and 72B."""
    from data.runs import bench_13

    lines = [json.loads(line) for line in (planner.DATA / "runs" / "13.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "shape" in line and "result" in line and line["launcher"] != "fsdp from card"]
    assert {line["shape"] for line in lines} == {"7B", "32B", "72B"} and len(lines) >= 9
    for line in lines:
        numbers = bench_13.CONFIGS[line["shape"]]
        many = {"gpus": line["processes"], "sharded": line["launcher"] == "fsdp"}
        mine = Plan(Shape.of(numbers), batch=line["set"]["rows_a_pass"], length=1024, optimizer="adamw_torch", **many)
        assert mine.total() == pytest.approx(max(line["result"]["peak_gib"]), rel=0.08), line["name"]
