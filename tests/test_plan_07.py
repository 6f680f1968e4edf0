"""The plan of 07: its arms, the perplexity of an instruction, and its verdicts from runs that were made up here."""

import math

import numpy as np
import pytest

from data.runs import plan_07 as plan
from helpers import evaluate, recordings


def made(r, right=0.5, before=0.0, perplexity=10.0):
    bits = lambda share: recordings.pack([i < round(640 * share) for i in range(640)])
    result = {"exact": bits(right), "before": bits(before), "perplexity": perplexity}
    return r | {"model": "qwen-1.5b", "result": result}


def test_arms_share_their_rows():
    """What is compared has the same 200 rows of the goal, and the rows in other terms are other tickets."""
    said = lambda arm: [c["prompt"][1]["content"] for c in plan.arm_rows(arm, 4)]
    assert said("half") == said("match")[:200] == said("half+other")[:200] == said("half+terms")[:200]
    assert not set(said("half+terms")[:200]) & set(said("half+terms")[200:])
    answers = [c["completion"][0]["content"] for c in plan.arm_rows("half+terms", 4)]
    words = {row["completion"] for row in plan.tasks.load("routing_words", "train")}
    assert all(a in words for a in answers[:200]) and not any(a in words for a in answers[200:])
    assert plan.arm_rows("half+other", 4)[300]["prompt"][0]["content"] == plan.tasks.TASKS["extract"].system


def test_confirm_is_new_seeds_on_test_rows_with_names_of_their_own():
    runs = plan.confirm()
    assert len({r["name"] for r in runs}) == len(runs) == 7 * (len(plan.ARMS) + len(plan.WORDINGS)) + 5 * 2
    assert {r["set"]["SEED"] for r in runs} == set(range(3, 15)) and {r["set"]["EVAL_SPLIT"] for r in runs} == {"test"}
    assert {r["set"]["LEARNING_RATE"] for r in runs} == {3e-4} and all(r["plan"] == "plan_07" for r in runs)


def test_perplexity_is_of_the_instruction_alone():
    """Against a slower way: the loss of the whole message's tokens, cut by hand."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from helpers import models

    source = models.locate()
    tokenizer = AutoTokenizer.from_pretrained(source.path, revision=source.revision)
    model = AutoModelForCausalLM.from_pretrained(source.path, revision=source.revision, dtype=torch.float32)
    text = plan.WORDINGS["keywords"]
    whole = tokenizer(f"<|im_start|>system\n{text}<|im_end|>\n", return_tensors="pt")["input_ids"]
    ids, nats = whole[0].tolist(), []
    first = len(tokenizer("<|im_start|>system\n")["input_ids"])
    last = len(ids) - len(tokenizer("<|im_end|>\n")["input_ids"])
    for place in range(first, last):
        with torch.no_grad():
            chances = model(whole[:, :place]).logits[0, -1].double().softmax(-1)
        nats.append(-math.log(chances[ids[place]]))
    assert tokenizer.decode(ids[first:last]) == text
    assert plan.perplexity_of(model, tokenizer, text) == pytest.approx(math.exp(np.mean(nats)), rel=1e-3)
    assert plan.perplexity_of(model, tokenizer, plan.WORDINGS["letters"]) > plan.perplexity_of(
        model, tokenizer, plan.WORDINGS["a full sentence"]
    )


def test_verdicts_pair_the_arms_and_let_perplexity_choose_the_wordings():
    share = {"half": 0.5, "half+other": 0.48, "half+terms": 0.2, "other": 0.1, "match": 0.6, "terms": 0.0}
    odd = list(plan.WORDINGS)
    runs = []
    for r in plan.confirm():
        if r["stage"] == "wording":
            place = odd.index(r["set"]["WORDING"])
            right = {0: 0.4, 3: 0.7, 8: 0.3}.get(place, 0.9)  # the best is neither
            runs.append(made(r, right, perplexity={0: 50.0, 3: 5.0, 8: 900.0}.get(place, 100.0 + place)))
        else:
            runs.append(made(r, share[r["stage"]], before=0.02))
    found = plan.measured(runs)
    assert plan.wordings(runs)[0] == odd[3] and plan.wordings(runs)[-1] == odd[8]
    assert found["Q4b"].mean == pytest.approx(0.4, abs=0.002)
    assert found["Q4a"]["half of another task"].mean == pytest.approx(-0.02, abs=0.002)
    assert found["Q4a"]["half in other terms"].mean == pytest.approx(-0.3, abs=0.002)
    assert found["Q4a"]["another task alone"].mean == pytest.approx(0.08, abs=0.002)
    assert all(isinstance(i, evaluate.Interval) for i in found["Q4a"].values())
    cut = plan.measured([r for r in runs if r["set"]["SEED"] < 5])
    assert cut == {}, "two seeds decide nothing"
    assert "Q4b" not in plan.measured([r for r in runs if r["set"].get("WORDING") != odd[5]])


def test_the_first_gradient_that_is_no_number_is_noted_with_its_batch():
    """Passes of 2 x 3 tokens; the third leaves NaN, and so does the fourth."""
    import torch

    from data.runs import kernels_07

    class Trainer:
        def training_step(self, model, inputs):
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, float("nan") if seen.get("passes", 0) >= 2 else 1.0)
            return torch.tensor(0.5)

    seen, trainer, model = {}, Trainer(), torch.nn.Linear(2, 2)
    kernels_07.watched(trainer, seen)
    batch = {"input_ids": torch.zeros(2, 3), "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}
    for _ in range(4):
        trainer.training_step(model, batch)
    assert seen["passes"] == 4 and seen["first"]["pass"] == 3 and seen["first"]["tensors"] == 2
    assert seen["first"]["shape"] == [2, 3] and seen["first"]["tokens"] == [3, 2] and seen["first"]["loss"] == 0.5
