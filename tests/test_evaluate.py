"""Measuring: hand-computed answers on toys, then the real model against itself."""

import json

import numpy as np
import pytest

from helpers import evaluate, labels, tasks
from helpers.tasks import Verdict


def test_bootstrap_by_hand():
    same = evaluate.interval([1, 1, 1, 1], ["a", "a", "b", "b"])
    assert (same.mean, same.low, same.high, same.rows, same.families, same.seeds) == (1, 1, 1, 4, 2, 1)
    # two families, one all right, one all wrong: a resample has 0, 1 or 2 of the right one
    half = evaluate.interval([1] * 10 + [0] * 10, ["a"] * 10 + ["b"] * 10)
    assert (half.low, half.high) == (0, 1)


def test_families_make_the_interval_wider():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.integers(0, 2, 40), 10)  # ten rows of a family agree
    clustered = evaluate.interval(values, [f"f{i // 10}" for i in range(400)])
    alone = evaluate.interval(values, [f"r{i}" for i in range(400)])
    ratio = (clustered.high - clustered.low) / (alone.high - alone.low)
    assert 2.5 < ratio < 4.0  # the square root of ten


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    families = [f"f{i // 5}" for i in range(200)]
    hits = 0
    for trial in range(200):
        p = rng.beta(4, 2, 40).repeat(5)
        i = evaluate.interval(rng.random(200) < p, families, resamples=400, seed=trial)
        hits += i.low <= 4 / 6 <= i.high
    assert 0.88 <= hits / 200 <= 0.99


def test_many_seeds_are_resampled_with_the_families():
    values = np.array([[1.0] * 50, [0.0] * 50] * 8)  # sixteen seeds, half of them all right, half all wrong
    i = evaluate.interval(values, [str(k) for k in range(50)])
    assert i.seeds == 16 and i.low == 0.25 and i.high == 0.75  # binomial(16, 1/2): 4 and 12 of 16


def slow_random_effects(values, families, level=0.95):
    """The interval's two-way random effects by plain loops, from the model's own definition."""
    names = sorted(set(families))
    s, f, total = len(values), len(names), len(families)
    mean = sum(sum(v) for v in values) / (s * total)
    z = [[f * sum(x - mean for x, name in zip(v, families) if name == n) / total for n in names] for v in values]
    row = [sum(line) / f for line in z]
    column = [sum(z[i][j] for i in range(s)) / s for j in range(f)]
    ms_s = f * sum(r * r for r in row) / (s - 1)
    ms_f = s * sum(c * c for c in column) / (f - 1)
    ms_e = sum((z[i][j] - row[i] - column[j]) ** 2 for i in range(s) for j in range(f)) / ((s - 1) * (f - 1))
    both = max(ms_s + ms_f - ms_e, ms_s, ms_f)
    freedom = both**2 / (ms_s**2 / (s - 1) + ms_f**2 / (f - 1) + ms_e**2 / ((s - 1) * (f - 1)))
    from scipy import stats

    half = stats.t.ppf((1 + level) / 2, max(freedom, min(s, f) - 1)) * (both / (s * f)) ** 0.5
    return mean, mean - half, mean + half


def test_few_seeds_get_a_random_effects_t_interval():
    rng = np.random.default_rng(3)
    families = [f"f{k}" for k in rng.integers(0, 9, 60)]  # uneven families
    values = (rng.random((4, 60)) < rng.random((4, 1))).astype(float)
    i = evaluate.interval(values, families)
    mean, low, high = slow_random_effects(values.tolist(), families)
    assert tuple(i) == pytest.approx((mean, max(low, 0), min(high, 1)), abs=1e-12)  # verdicts: a share
    assert tuple(evaluate.interval(values - 1, families)) == pytest.approx((mean - 1, low - 1, high - 1), abs=1e-12)
    assert (i.rows, i.families, i.seeds) == (60, 9, 4)
    with pytest.raises(ValueError, match="two seeds"):
        evaluate.interval(values[:2], families)


@pytest.mark.parametrize("seeds", [3, 5, 7, 14])
@pytest.mark.parametrize("seed_sd, family_sd", [(0.05, 0.0), (0.05, 0.2), (0.0, 0.2), (0.1, 0.1)])
def test_the_t_interval_covers_what_it_promises(seeds, seed_sd, family_sd):
    """On variances like the recorded ones (seeds up to 5 points, families up to 20), uneven families."""
    rng = np.random.default_rng(0)
    counts = rng.integers(2, 19, 64)
    index, hits = np.repeat(np.arange(64), counts), 0
    names = [str(k) for k in index]
    for _ in range(600):
        y = rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, family_sd, 64)[index]
        y = y + rng.normal(0, 0.1, (seeds, 64))[:, index] + rng.normal(0, 0.3, (seeds, len(index)))
        i = evaluate.interval(y, names)
        hits += i.low <= 0 <= i.high
    assert 0.92 <= hits / 600 <= 0.985


def test_uneven_families_weigh_as_their_rows():
    """A bootstrap mean divides by the rows it drew: a large family that is right moves the bounds as far as it should."""
    values, families = [1] * 9 + [0], ["a"] * 9 + ["b"]
    i = evaluate.interval(values, families)
    assert (i.mean, i.low, i.high) == (0.9, 0.0, 1.0)  # drawn: aa 1, ab 0.9, bb 0
    rng = np.random.default_rng(0)
    drawn = [np.concatenate([[1] * 9 if k == 0 else [0] for k in rng.integers(0, 2, 2)]).mean() for _ in range(4000)]
    assert set(np.round(drawn, 3)) == {0.0, 0.9, 1.0}


def test_over_seeds_is_a_t_interval():
    i = evaluate.over_seeds([0.1, 0.3, 0.2, 0.6])
    assert tuple(i) == pytest.approx((0.3, 0.3 - 3.182446 * 0.216025 / 2, 0.3 + 3.182446 * 0.216025 / 2), abs=1e-5)
    with pytest.raises(ValueError, match="at least two"):
        evaluate.over_seeds([0.1])


def test_an_interval_in_words():
    i = evaluate.Interval(0.123, -0.02, 0.3, 64, 8, 5)
    assert str(i) == "0.123 [-0.020, 0.300] (rows 64, families 8, seeds 5)"
    assert i.percent() == "12% [-2, 30]" and i.percent(signed=True, digits=1) == "+12.3 points [-2.0, +30.0]"


def test_paired_is_narrower_than_two_separate_intervals():
    rng = np.random.default_rng(2)
    families = [f"f{i // 4}" for i in range(200)]
    b = (rng.random(200) < rng.random(50).repeat(4)).astype(int)
    a = np.where(rng.random(200) < 0.1, 1, b)
    d = evaluate.difference(a, b, families)
    assert d.mean == pytest.approx((a - b).mean()) and d.high - d.low < (lambda i: i.high - i.low)(
        evaluate.interval(a, families)
    )
    assert d.low > 0


def test_clear_errors():
    with pytest.raises(ValueError, match="3 values but 2 families"):
        evaluate.interval([1, 2, 3], ["a", "b"])
    with pytest.raises(ValueError, match="NaN"):
        evaluate.interval([1, float("nan")], ["a", "b"])
    with pytest.raises(ValueError, match="same rows"):
        evaluate.difference([1, 2], [1, 2, 3], ["a", "b"])
    with pytest.raises(ValueError, match="2 answers for 1 rows"):
        evaluate.ReportCard([{"family": "a"}], None).add("x", ["1", "2"])
    with pytest.raises(ValueError, match="0 answers for 0 rows"):
        evaluate.ReportCard([], None).add("x", [])
    for gap in (None, float("nan")):
        with pytest.raises(ValueError, match="row 1 has no family: name it"):
            evaluate.interval([1, 0, 1], ["a", gap, "b"])


def toy_card():
    rows = [{"prompt": f"t{i}", "family": f"f{i}"} for i in range(4)]
    card = evaluate.ReportCard(
        rows, lambda a, r: Verdict(a == "y", {"answer": a == "y"}, "" if a == "y" else f"{a}, should be y")
    )
    card.add("base", ["n", "n", "y", "n"], 4.0)
    card.add("tuned", ["y", "y", "n", "n"], 2.0)
    return card


def test_report_card():
    card = toy_card()
    table = card.table()
    assert table.loc["base", "whole record"].startswith("25%") and table.loc["tuned", "s / answer"] == "0.50"
    card.note("tuned", prose_loss="3.2")
    assert card.table().loc["tuned", "prose loss"] == "3.2" and card.table().loc["base", "prose loss"] == ""
    assert card.difference("tuned", "base").mean == 0.25
    text = card.wins_and_losses("tuned", "base")
    assert (
        "tuned right, base wrong: 2 of 4" in text
        and "tuned wrong, base right: 1 of 4" in text
        and "n, should be y" in text
    )


def test_cached_computes_once(tmp_path):
    calls = []

    def work(model, rows):
        calls.append(model)
        return {"score": rows / 6}

    for _ in range(2):
        assert evaluate.cached(tmp_path, work, "a", 3) == {"score": 0.5}
    assert calls == ["a"]
    assert evaluate.cached(tmp_path, work, "b", 3) == {"score": 0.5} and calls == ["a", "b"]
    assert len(list(tmp_path.iterdir())) == 2  # nothing half-written stays


def test_shared_prefix_leaves_every_row_something():
    assert evaluate.shared_prefix([[1, 2], [1, 2]]) == 1
    assert evaluate.shared_prefix([[1, 2, 3], [1, 2]]) == 1
    assert evaluate.shared_prefix([[1], [2]]) == 0


@pytest.mark.slow
def test_shared_prefix_and_batching_do_not_change_the_answers(bundled):
    """Plain generation one row at a time against batches behind a repeated cache: the same texts."""
    model, tokenizer = bundled
    shots = tasks.load("sentiment", "train", n=4)
    head = [{"role": "system", "content": tasks.TASKS["sentiment"].system}]
    for row in shots:
        head += [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
    prompts = [head + [{"role": "user", "content": r["prompt"]}] for r in tasks.load("sentiment", "test", n=6)]
    alone = [evaluate.generate(model, tokenizer, [p], max_new_tokens=8, reuse_prefix=False)[0] for p in prompts]
    assert evaluate.generate(model, tokenizer, prompts, max_new_tokens=8, batch_size=4) == alone
    assert evaluate.generate(model, tokenizer, prompts, max_new_tokens=8, batch_size=4, reuse_prefix=False) == alone
    assert len(set(alone)) > 1 or alone[0]  # the model said something


@pytest.mark.slow
def test_one_pass_exact_match_equals_generation(bundled):
    """In float32, row by row: the one pass says exact where, and only where, generation gives the answer."""
    model, tokenizer = bundled
    rows = tasks.load("general", "test", n=16)
    prompts = [c["prompt"] for c in tasks.chat(rows, "Answer in a few words.")]
    said = evaluate.generate(model, tokenizer, prompts, max_new_tokens=40)
    kept = [i for i, text in enumerate(said) if text and len(tokenizer(text)["input_ids"]) < 38]  # those that stopped
    assert len(kept) >= 6
    prompts = [prompts[i] for i in kept]
    # every other row gets what the model did not say
    wanted = [said[i] if place % 2 else "Not " + said[i] for place, i in enumerate(kept)]
    generated = [said[i] == want for i, want in zip(kept, wanted)]
    scores = evaluate.score_completions(model, tokenizer, prompts, wanted, batch_size=3)
    assert scores.exact.tolist() == generated and any(generated) and not all(generated)
    assert (scores.correct <= scores.tokens).all() and 0 < scores.token_accuracy < 1


@pytest.mark.slow
def test_scores_do_not_depend_on_the_batch(bundled):
    model, tokenizer = bundled
    rows = tasks.load("extract", "test", n=7)
    prompts, answers = [c["prompt"] for c in tasks.chat(rows, "Be brief.")], [r["completion"] for r in rows]
    one = evaluate.score_completions(model, tokenizer, prompts, answers, batch_size=1)
    many = evaluate.score_completions(model, tokenizer, prompts, answers, batch_size=7)
    np.testing.assert_allclose(one.nll, many.nll, rtol=1e-3)
    assert (one.tokens == many.tokens).all() and evaluate.perplexity(one) > 1


@pytest.mark.slow
def test_perplexity_equals_the_models_own_loss(bundled):
    """One row: our summed negative log-likelihood is the model's loss over the same labels."""
    import torch

    model, tokenizer = bundled
    prompt = [{"role": "user", "content": "Say yes."}]
    head = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
    tail = tokenizer("yes")["input_ids"] + [tokenizer.eos_token_id]
    ids = torch.tensor([head + tail])
    labels = torch.tensor([[-100] * len(head) + tail])
    with torch.inference_mode():
        loss = model(ids, labels=labels).loss.item()
    ours = evaluate.score_completions(model, tokenizer, [prompt], ["yes"])
    assert ours.nll[0] / ours.tokens[0] == pytest.approx(loss, rel=1e-4)


def test_no_sweep_reads_the_test_rows():
    """In every recorded plan, each search run names `valid`; test rows appear only in confirming runs."""
    from pathlib import Path

    root = Path(tasks.DATA) / "runs"
    seen = 0
    for path in root.glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            run = json.loads(line)
            own, kind = run["set"], run["name"].split("-")[0]
            if run["stage"] in (
                "cost",
                "ladder",
                "all",
                "run",
                "parsed",
                "speed",
                "kernel",
            ):  # seconds, memory, NaN: no quality
                continue
            default = "test" if kind == "live" or run["stage"] == "parity" else None  # the page's own
            named = own.get("SPLIT") or own.get("EVAL_SPLIT") or default
            scored = set(own["GRADED"]) if "GRADED" in own else {named}
            if kind == "search":
                assert scored == {"valid"} and own.get("SEED", 0) in (0, 1, 2), run["name"]
            else:
                assert kind in ("confirm", "live") and scored <= {"valid", "test"}, run["name"]
                assert "test" in scored and own.get("SEED", 3) in range(3, 17), run["name"]
            seen += 1
    assert seen


# ---------------------------------------------------------------- the model's numbers against slow, plain ones


@pytest.fixture(scope="module")
def tiny():
    """A two-layer model with random weights and dropout, and the bundled tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from helpers import models

    tokenizer = AutoTokenizer.from_pretrained(models.locate("").path)
    models.prepare_tokenizer(tokenizer)
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                         num_key_value_heads=2, initializer_range=0.4, attention_dropout=0.5)  # fmt: skip
    return LlamaForCausalLM(config), tokenizer


ASKED = [
    [{"role": "user", "content": text}] for text in ("Hi", "Is the grüne kettle late? " * 5, "One more question.")
]


def test_scores_equal_a_plain_loop_on_ragged_rows(tiny):
    """Row by row without padding, token by token; multi-byte text and answers of several lengths."""
    import torch

    model, tokenizer = tiny
    answers = ["yes", "Grüße, the kettle №4 will come on Thursday.", "K7"]
    ours = evaluate.score_completions(model, tokenizer, ASKED, answers, batch_size=2, bar=False)
    model.eval()
    for i, (prompt, answer) in enumerate(zip(ASKED, answers)):
        head = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        tail = tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        with torch.inference_mode():
            log_p = model(torch.tensor([head + tail])).logits[0].log_softmax(-1)
        places = range(len(head) - 1, len(head) + len(tail) - 1)
        nll = -sum(float(log_p[place, token]) for place, token in zip(places, tail))
        right = sum(int(log_p[place].argmax()) == token for place, token in zip(places, tail))
        assert ours.nll[i] == pytest.approx(nll, rel=1e-4)
        assert (ours.tokens[i], ours.correct[i], bool(ours.exact[i])) == (len(tail), right, right == len(tail))


def test_an_answer_that_does_not_stop_is_not_exact(tiny):
    """What the model says first, without its going on: every token right but the end."""
    import torch

    model, tokenizer = tiny
    model.eval()
    head = tokenizer.apply_chat_template(ASKED[0], add_generation_prompt=True, return_dict=False)
    with torch.inference_mode():
        first = int(model(torch.tensor([head])).logits[0, -1].argmax())
        then = int(model(torch.tensor([head + [first]])).logits[0, -1].argmax())
    assert then != tokenizer.eos_token_id and tokenizer(tokenizer.decode([first]))["input_ids"] == [first]
    scores = evaluate.score_completions(model, tokenizer, ASKED[:1], [tokenizer.decode([first])], bar=False)
    assert (scores.correct[0], scores.tokens[0], bool(scores.exact[0])) == (1, 2, False)


def test_prose_loss_is_per_token_and_each_block_its_own(tiny):
    import torch

    model, _ = tiny
    blocks = [[5, 9, 200, 31, 7], [40, 41, 42, 43, 44], [3, 3, 3, 3, 3]]
    ours = evaluate.prose_loss(model, blocks, batch_size=2, bar=False)
    model.eval()
    for loss, block in zip(ours, blocks):
        ids = torch.tensor([block])
        with torch.inference_mode():
            assert loss == pytest.approx(float(model(ids, labels=ids).loss), rel=1e-4)


def test_a_measurement_leaves_the_model_as_it_was(tiny):
    model, tokenizer = tiny
    for mode in (True, False):
        for cache in (True, False):
            model.train(mode)
            model.config.use_cache = cache
            evaluate.prose_loss(model, [[1, 2, 3]], bar=False)
            evaluate.generate(model, tokenizer, ASKED[:1], max_new_tokens=2, bar=False)
            assert model.training is mode and model.config.use_cache is cache


def test_a_card_compares_the_field_that_is_asked_for():
    rows = [{"prompt": f"t{i}", "family": f"f{i}"} for i in range(4)]
    verdicts = {"a": (True, True), "b": (False, True), "c": (False, False)}
    card = evaluate.ReportCard(
        rows, lambda a, r: Verdict(all(verdicts[a]), dict(zip(("queue", "level"), verdicts[a])), a)
    )
    card.add("one", ["a", "a", "b", "c"])
    card.add("two", ["b", "c", "b", "a"])
    assert card.difference("one", "two").mean == 0.25
    assert card.difference("one", "two", "queue").mean == 0.25
    assert card.difference("one", "two", "level").mean == 0.0
    said = card.wins_and_losses("one", "two", show=9)
    assert "one right, two wrong: 2 of 4" in said and "one wrong, two right: 1 of 4" in said
    assert "t2" not in said  # both wrong: neither a win nor a loss


def answers_one_by_one(model, tokenizer, prompts, limit):
    """Greedy answers without batch, padding or cache: the whole text is read again for every token."""
    import torch

    model.eval()
    said = []
    for prompt in prompts:
        ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
        head = len(ids)
        with torch.inference_mode():
            while len(ids) < head + limit and tokenizer.eos_token_id not in ids[head:]:
                ids = ids + [int(model(torch.tensor([ids])).logits[0, -1].argmax())]
        said.append(tokenizer.decode(ids[head:], skip_special_tokens=True).strip())
    return said


@pytest.mark.parametrize("shared", ["", "The desk answers within a day, on every day but Sunday. " * 4])
def test_answers_in_batches_are_those_of_one_row_at_a_time(tiny, shared):
    """In the order given, up to the limit given; with a long common beginning and without."""
    model, tokenizer = tiny
    head = [{"role": "system", "content": shared or "Hi"}]
    prompts = [head + prompt for prompt in ASKED]
    alone = answers_one_by_one(model, tokenizer, prompts, 5)
    assert evaluate.generate(model, tokenizer, prompts, max_new_tokens=5, batch_size=2, bar=False) == alone
    assert len(set(alone)) == 3


def test_the_level_that_is_asked_for_is_used():
    values = np.array([[1.0] * 50, [0.0] * 50] * 8)  # sixteen seeds: the right ones drawn are binomial(16, 1/2)
    families = [str(k) for k in range(50)]
    half = evaluate.interval(values, families, level=0.5)
    assert (half.low, half.high) == (7 / 16, 9 / 16)  # P(X <= 6) = 0.23, P(X <= 7) = 0.40
    same = evaluate.difference(values + 1, np.ones_like(values), families, level=0.5)
    assert (same.mean, same.low, same.high) == (0.5, 7 / 16, 9 / 16)
    i = evaluate.over_seeds([0.1, 0.3, 0.2, 0.6], level=0.9)  # t of 3 degrees of freedom, 95th percentile: 2.353363
    assert tuple(i) == pytest.approx((0.3, 0.3 - 2.353363 * 0.216025 / 2, 0.3 + 2.353363 * 0.216025 / 2), abs=1e-5)
    rng = np.random.default_rng(5)
    families = [f"f{k}" for k in rng.integers(0, 7, 40)]
    values = (rng.random((3, 40)) < 0.6).astype(float)
    i = evaluate.interval(values, families, level=0.8)
    assert tuple(i) == pytest.approx(slow_random_effects(values.tolist(), families, 0.8), abs=1e-12)


@pytest.mark.parametrize("seeds", [3, 14, 15])
def test_three_to_fourteen_seeds_get_the_t_interval_also_where_seeds_differ_more_than_families(seeds):
    rng = np.random.default_rng(6)
    families = [f"f{k}" for k in rng.integers(0, 11, 70)]
    values = (
        rng.random((seeds, 70)) < np.linspace(0.1, 0.9, seeds)[:, None]
    ) + 1.0  # no verdicts: not held within 0 and 1
    t = slow_random_effects(values.tolist(), families)
    assert (tuple(evaluate.interval(values, families)) == pytest.approx(t, abs=1e-12)) is (
        seeds <= evaluate.T_SEEDS == 14
    )


def test_a_bootstrap_draws_by_its_seed():
    rng = np.random.default_rng(7)
    values, families = rng.random(90), [f"f{k}" for k in rng.integers(0, 20, 90)]
    zero, one, again = (evaluate.interval(values, families, seed=s) for s in (0, 1, 1))
    assert (zero.low, zero.high) != (one.low, one.high) == (again.low, again.high)


def test_totals_are_over_tokens_not_over_rows():
    scores = evaluate.Scores(np.array([2.0, 2.0]), np.array([1, 4]), np.array([1, 2]), np.array([True, False]))
    assert scores.token_accuracy == 3 / 5
    assert evaluate.perplexity(scores) == pytest.approx(np.exp(4 / 5))


def test_a_table_gives_each_field_its_own_score_and_a_list_as_many_rows_as_asked():
    rows = [{"prompt": f"t{i}", "family": f"f{i}"} for i in range(8)]
    verdicts = {"a": (True, True), "b": (False, True), "c": (False, False)}
    card = evaluate.ReportCard(
        rows, lambda a, r: Verdict(all(verdicts[a]), dict(zip(("queue", "level"), verdicts[a])), a)
    )
    card.add("one", list("aaaaaabc"))
    card.add("two", list("bbbbbbbb"))
    line = card.table().loc["one"]
    assert [line[k].split()[0] for k in ("whole record", "queue", "level")] == ["75%", "75%", "88%"]
    assert [card.table().loc["two", k].split()[0] for k in ("queue", "level")] == ["0%", "100%"]
    for show, shown in ((1, 1), (5, 5), (9, 6)):
        assert card.wins_and_losses("one", "two", show=show).count("  ticket  ") == shown


def test_a_changed_function_is_measured_anew(tmp_path):
    def one():
        def work(x):
            return x + 1

        return work

    def two():
        def work(x):
            return x + 2

        return work

    assert [evaluate.cached(tmp_path, f(), 1) for f in (one, two, one)] == [2, 3, 2]


# ---------------------------------------------------------------- templates, cut answers, own rows

PLAIN = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THINK = PLAIN.replace(
    "m['content'] +", "('<think>\n\n</think>\n\n' if m['role'] == 'assistant' else '') + m['content'] +"
)


@pytest.fixture
def spoken(tiny):
    import copy

    tokenizer = copy.deepcopy(tiny[1])
    tokenizer.chat_template = PLAIN
    return tokenizer


def test_answers_are_scored_as_the_template_ends_and_frames_them(spoken):
    """The ids that training sees, without the whitespace behind the turn."""
    head = evaluate.encode_prompts(spoken, ASKED[:1])
    tail = lambda text: evaluate.encode_answers(spoken, ASKED[:1], head, [text])[0]
    yes = spoken("yes")["input_ids"]
    assert tail("yes") == yes + [spoken.eos_token_id]
    spoken.chat_template = THINK
    assert spoken.decode(tail("yes")) == "<think>\n\n</think>\n\nyes<|im_end|>"
    spoken.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    spoken.chat_template = PLAIN.replace("<|im_end|>", "<end_of_turn>")
    turn = spoken.convert_tokens_to_ids("<end_of_turn>")
    assert labels.end_of_turn(spoken) == turn != spoken.eos_token_id
    head = evaluate.encode_prompts(spoken, ASKED[:1])
    assert tail("yes") == yes + [turn]
    spoken.chat_template = PLAIN.replace("<|im_end|>\n", "\n")  # ends with nothing
    head = evaluate.encode_prompts(spoken, ASKED[:1])
    assert tail("yes") == yes + [spoken.eos_token_id]


def test_a_greedy_answer_is_exact_where_a_turn_ends_with_another_token(tiny, spoken):
    """The model made to say one token and then the template's end: 1 of 1, where eos alone would give 0."""
    import torch

    model, turn = tiny[0], 16  # of the vocabulary's special tokens, not the end token
    spoken.chat_template = PLAIN.replace("<|im_end|>", spoken.decode([turn]))
    assert labels.end_of_turn(spoken) == turn != spoken.eos_token_id
    said = spoken("yes", add_special_tokens=False)["input_ids"]
    wanted = iter(said + [turn])
    logits = torch.full((1, len(said) + 2, len(spoken)), -1.0)
    for place, token in enumerate(wanted):
        logits[0, place, token] = 5.0

    class Says(torch.nn.Module):
        config, training = model.config, False

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, ids, **kw):
            import types

            return types.SimpleNamespace(logits=logits[:, : kw["logits_to_keep"]])

    assert evaluate.score_completions(Says(), spoken, ASKED[:1], ["yes"], bar=False).exact.tolist() == [True]


def test_an_answer_is_scored_up_to_where_the_model_stops(tiny, spoken):
    """A template that ends a turn with two tokens, as Phi's: what follows the first is never generated."""
    model, turn = tiny[0], 16
    spoken.chat_template = PLAIN.replace("<|im_end|>", spoken.decode([turn]) + "\n<|im_end|>")
    score = lambda: evaluate.score_completions(model, spoken, ASKED[:1], ["yes"], bar=False).tokens[0]
    stop, whole = model.generation_config.eos_token_id, score()
    try:
        model.generation_config.eos_token_id = [spoken.eos_token_id, turn]
        assert score() == whole - 2 == len(spoken("yes")["input_ids"]) + 1
    finally:
        model.generation_config.eos_token_id = stop


def qwen3():
    """The published template, which trl carries."""
    from pathlib import Path

    import trl

    return (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text(encoding="utf-8")


def test_a_model_that_can_think_is_asked_as_rows_without_thoughts_train_it(spoken):
    spoken.chat_template = qwen3()
    head = evaluate.encode_prompts(spoken, ASKED[:1])
    assert spoken.decode(head[0]).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    tail = evaluate.encode_answers(spoken, ASKED[:1], head, ["yes"])[0]
    said = [*ASKED[0], {"role": "assistant", "content": "yes"}]
    assert spoken.apply_chat_template(said, tokenize=False) == spoken.decode(head[0] + tail) + "\n"
    assert spoken.decode(tail) == "yes<|im_end|>"


def test_a_template_that_refuses_a_prompt_is_quoted_with_the_cure(spoken):
    spoken.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + PLAIN
    )
    with pytest.raises(
        ValueError, match=r"refuses prompt 1 \(system, user\): System role.*before the first user turn"
    ):
        evaluate.encode_prompts(spoken, [ASKED[0], [{"role": "system", "content": "Be brief."}, *ASKED[0]]])


def test_answers_that_were_cut_are_counted(tiny):
    """One model that ends its turn at once, and one that never does."""
    import torch

    model, tokenizer = tiny
    said = evaluate.generate(model, tokenizer, ASKED, max_new_tokens=3, batch_size=2, bar=False)
    ids = [tokenizer.apply_chat_template(p, add_generation_prompt=True, return_dict=False) for p in ASKED]
    ended = []
    for row in ids:
        out = model.generate(
            torch.tensor([row]), max_new_tokens=3, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )
        ended.append(bool((out[0, len(row) :] == tokenizer.eos_token_id).any()))
    assert said.cut.tolist() == [not e for e in ended] and said.cut.any()
    stop = model.generation_config.eos_token_id
    try:  # every token is an end: nothing is cut
        model.generation_config.eos_token_id = list(range(len(tokenizer)))
        assert not evaluate.generate(model, tokenizer, ASKED, max_new_tokens=3, bar=False).cut.any()
    finally:
        model.generation_config.eos_token_id = stop
    assert evaluate.generate(model, tokenizer, []) == [] and not len(evaluate.generate(model, tokenizer, []).cut)


def test_a_card_tells_cut_and_fenced_answers_apart():
    rows = [
        {"prompt": "t", "family": f"f{i}", "completion": '{"queue":"K7","priority":1,"product":"N4"}'}
        for i in range(4)
    ]
    card = evaluate.ReportCard(rows, lambda a, r: tasks.check_answer("routing", a, r["completion"]))
    right = rows[0]["completion"]
    answers = evaluate.Answers([right, f"```json\n{right}\n```", right[:9], "{}"])
    answers.cut = np.array([False, False, True, False])
    card.add("one", answers)
    line = card.table().loc["one"]
    assert line["cut short"] == line["right but wrapped"] == "25%" and line["whole record"].startswith("25%")
    card.add("one", [right] * 4)
    assert {"cut short", "right but wrapped"}.isdisjoint(card.table().columns)
    card.add("kept", list(answers), cut=[True] * 4)  # as a file gives it back
    assert card.table().loc["kept", "cut short"] == "100%"


def test_a_card_of_own_rows_needs_no_family_and_no_prompt():
    rows = [{"question": f"q{i}", "answer": "y"} for i in range(4)]
    card = evaluate.ReportCard(rows, lambda a, r: Verdict(a == r["answer"], {"answer": a == r["answer"]}, "no"))
    card.add("one", ["y", "y", "n", "y"]), card.add("two", ["n"] * 4)
    assert card.table().loc["one", "whole record"].startswith("75%") and len(set(card.families)) == 4
    blank = evaluate.ReportCard([row | {"family": gap} for row, gap in zip(rows, ("", None, "a", "a"))], card.check)
    assert blank.families == ["row 0", "row 1", "a", "a"]
    assert "ticket  q0" in card.wins_and_losses("one", "two") and card.difference("one", "two").families == 4


def test_what_is_kept_is_what_is_read_again(tmp_path):
    def work():
        return {"pair": (1, 2)}

    assert evaluate.cached(tmp_path, work) == evaluate.cached(tmp_path, work) == {"pair": [1, 2]}


def test_a_share_of_verdicts_lies_within_0_and_1_and_a_difference_may_leave_it():
    nearly = np.ones((3, 40))
    nearly[0, :3] = 0
    families = [str(i // 2) for i in range(40)]
    share = evaluate.interval(nearly, families)
    assert share.high == 1.0 and share.low < share.mean < 1
    apart = evaluate.difference(nearly, np.ones((3, 40)), families)
    assert apart.low < apart.mean < 0 < apart.high
