"""The losses written by hand in notebook 10 against trl's trainers, their gradients and limits; the check of pairs."""

import math

import pytest
import torch
import torch.nn.functional as F
from notebook_cells import PATHS, code_cells, source, tags

from helpers import models, tasks
from helpers.own_rows import DataError, as_pair, check_pairs

PAGE: dict = {"torch": torch, "F": F}
for cell in code_cells(next(p for p in PATHS if p.stem.startswith("10_"))):
    if "definitions" in tags(cell):  # the very cells that the reader sees
        exec(source(cell), PAGE)
completion_logps, dpo_loss, orpo_loss, log_odds = (
    PAGE[name] for name in ("completion_logps", "dpo_loss", "orpo_loss", "log_odds")
)

SYSTEM = tasks.TASKS["tone"].system


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(models.locate("").path)


def tiny(tokenizer, seed):
    """A two-layer model with random weights, large enough to disagree with another seed's."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=2, initializer_range=0.3)  # fmt: skip
    return LlamaForCausalLM(config).eval()


def pairs(n=4):
    return tasks.load("tone", "train", n=n)


def settings(tmp_path):
    return dict(output_dir=str(tmp_path), use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False,
                per_device_train_batch_size=4, max_length=192, report_to="none", max_steps=1)  # fmt: skip


def test_dpo_equals_trl(tokenizer, tmp_path):
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    def message(role, text):
        return [{"role": role, "content": text}]

    data = Dataset.from_list(
        [
            {
                "prompt": message("system", SYSTEM) + message("user", r["prompt"]),
                "chosen": message("assistant", r["chosen"]),
                "rejected": message("assistant", r["rejected"]),
            }
            for r in pairs()
        ]
    )
    model, reference = tiny(tokenizer, 0), tiny(tokenizer, 1)
    trainer = DPOTrainer(
        model=model,
        ref_model=reference,
        args=DPOConfig(beta=0.3, **settings(tmp_path)),
        train_dataset=data,
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(trainer.model, batch)
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    mine = []
    for m in (model, reference):
        logits = m(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        mine += completion_logps(logits, labels).chunk(2)
    ours = dpo_loss(*mine, beta=0.3)
    assert abs(float(theirs.detach()) - math.log(2)) > 1e-3  # not the trivial value
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_orpo_equals_trl(tokenizer, tmp_path):
    orpo = pytest.importorskip("trl.experimental.orpo", reason="trl has moved ORPO: the hand-written loss remains")
    from datasets import Dataset

    data = Dataset.from_list([{k: r[k] for k in ("prompt", "chosen", "rejected")} for r in pairs()])
    model = tiny(tokenizer, 0)
    trainer = orpo.ORPOTrainer(
        model=model,
        args=orpo.ORPOConfig(beta=0.25, **settings(tmp_path)),
        train_dataset=data,
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    model.eval()  # the same forward pass for both
    theirs, metrics = trainer.get_batch_loss_metrics(model, batch)

    def side(name):
        ids, mask = batch[f"{name}_input_ids"], batch[f"{name}_attention_mask"]
        logits = model(ids, attention_mask=mask).logits
        return logits, ids.masked_fill(mask == 0, -100), batch[f"{name}_labels"]

    logits, whole, labels = side("chosen")
    nll = F.cross_entropy(logits[:, :-1].flatten(0, 1), whole[:, 1:].flatten())  # over prompt and answer, as trl does
    chosen = completion_logps(logits, labels, average=True)
    logits, _, labels = side("rejected")
    rejected = completion_logps(logits, labels, average=True)
    odds_term = orpo_loss(chosen, rejected, beta=0.25) + chosen.mean()  # ours without its own SFT term
    assert torch.allclose(nll + odds_term, theirs, atol=1e-4)
    margin = log_odds(chosen) - log_odds(rejected)
    assert abs(float(margin.mean()) - metrics["log_odds_chosen"]) < 1e-4
    assert abs(float(chosen.mean()) - metrics["logps/chosen"]) < 1e-4
    assert abs(float(rejected.mean()) - metrics["logps/rejected"]) < 1e-4


def test_gradients_push_the_right_way():
    for loss in (
        lambda c, r: orpo_loss(c, r, 0.5),
        lambda c, r: dpo_loss(c, r, torch.tensor([-1.0]), torch.tensor([-1.0]), 0.5),
    ):
        chosen, rejected = torch.tensor([-1.2], requires_grad=True), torch.tensor([-0.9], requires_grad=True)
        loss(chosen, rejected).backward()
        assert chosen.grad < 0 < rejected.grad  # a step down the gradient raises the chosen, lowers the rejected


def test_log_odds_keep_their_digits():
    p = torch.tensor([1e-12, 1e-3, 0.5, 1 - 1e-9], dtype=torch.float64)
    assert torch.allclose(log_odds(p.log()), torch.logit(p), rtol=1e-6)


def test_average_and_sum():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 6, 11), torch.randint(0, 11, (3, 6))
    labels[:, :2] = -100
    expected = torch.stack(
        [
            sum(torch.log_softmax(logits[i, t - 1], -1)[labels[i, t]] for t in range(1, 6) if labels[i, t] != -100)
            for i in range(3)
        ]
    )
    assert torch.allclose(completion_logps(logits, labels), expected, atol=1e-5)
    assert torch.allclose(completion_logps(logits, labels, average=True), expected / 4, atol=1e-5)


GOOD = {"prompt": "My kettle leaks.", "chosen": "Hello. We will send one.", "rejected": "Call again some day, ok?"}


@pytest.mark.parametrize(
    "row, reason",
    [
        ({"prompt": "p", "chosen": "a"}, "no 'rejected'"),
        ({"prompt": "p", "chosen": "a", "rejected": None}, "no 'rejected'"),
        ({"prompt": "p", "chosen": "a", "rejected": "  "}, "'rejected' is empty"),
        ({"prompt": "p", "chosen": "a", "rejected": "a "}, "equal"),
        ({"prompt": "p", "chosen": 3, "rejected": "b"}, "'chosen' is int"),
        ({"prompt": "p", "chosen": "a", "rejected": "nan"}, "a missing value that some program wrote"),
        ({"chosen": "a", "rejected": "b"}, "no 'prompt'"),
        ({"prompt": "x" * 99, "chosen": "a", "rejected": "b"}, "cut to nothing"),
        ("text", "not a record"),
        (GOOD | {"chosen": GOOD["rejected"], "rejected": GOOD["chosen"]}, "row 1 prefers the other answer"),
        (GOOD, "the same pair as row 1"),
        (
            {
                "chosen": [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "x"}],
                "rejected": [{"role": "user", "content": "B?"}, {"role": "assistant", "content": "y"}],
            },
            "different prompts",
        ),
    ],
)
def test_each_fault_is_told_with_its_row(row, reason):
    report = check_pairs([GOOD, row], strict=False, max_length=80)
    assert len(report.rows) == 1 and [n for n, _ in report.problems] == [2]
    assert reason in report.problems[0][1]
    with pytest.raises(DataError, match="row 2"):
        check_pairs([GOOD, row], max_length=80)


ASK, SAID = {"role": "user", "content": "Where is it?"}, lambda text: [{"role": "assistant", "content": text}]
REPEATED = "My order 17 has not come."


@pytest.mark.parametrize(
    "row, reason",
    [
        ({"prompt": REPEATED, "chosen": f"{REPEATED} It will.", "rejected": f"{REPEATED} So?"}, "repeats the prompt"),
        ({"prompt": REPEATED, "chosen": f"{REPEATED} It will.", "rejected": "So what?"}, "repeats the prompt"),
        (
            {"prompt": "我的包裹在哪里？", "chosen": "我的包裹在哪里？在路上。", "rejected": "不知道。"},
            "repeats the prompt",
        ),
        ({"prompt": [ASK], "chosen": SAID("Where is it? Here."), "rejected": SAID("No idea.")}, "repeats the prompt"),
        (
            {"prompt": [ASK], "chosen": [ASK, *SAID("a")], "rejected": [ASK, *SAID("b")]},
            "repeat the prompt or hold turns",
        ),
        (
            {"prompt": [ASK], "chosen": [{"role": "user", "content": "a"}], "rejected": SAID("b")},
            "'chosen' is of the role 'user'",
        ),
        (
            {"prompt": [ASK], "chosen": SAID("a"), "rejected": [{"role": "gpt", "content": "b"}]},
            "'rejected' is of the role 'gpt'",
        ),
        (
            {"prompt": [ASK, *SAID("x")], "chosen": SAID("a"), "rejected": SAID("b")},
            "'prompt' is of the role 'assistant'",
        ),
        (
            {"chosen": [*SAID("x"), *SAID("a")], "rejected": [*SAID("x"), *SAID("b")]},
            "'prompt' is of the role 'assistant'",
        ),
        ({"prompt": "Q", "chosen": SAID("a"), "rejected": SAID("b")}, "prompt is text, chosen is messages"),
        ({"prompt": [ASK], "chosen": "a", "rejected": "b"}, "prompt is messages, chosen is text"),
        ({"prompt": "Q", "chosen": SAID("a"), "rejected": "b"}, "rejected is text: trl takes one form"),
        ({"prompt": ["Q"], "chosen": SAID("a"), "rejected": SAID("b")}, "not of messages"),
        ({"prompt": 7, "chosen": "a", "rejected": "b"}, "'prompt' is int"),
        ({"prompt": "Q", "chosen": [7], "rejected": "b"}, "'chosen' is list: give text"),
        (
            {"conversations": [], "chosen": {"from": "gpt", "value": "a"}, "rejected": {}},
            "as_pair.row. converts ShareGPT",
        ),
    ],
)
def test_pairs_that_would_train_something_else_are_told(row, reason):
    with pytest.raises(DataError, match=reason) as fault:
        check_pairs([GOOD, row])
    assert str(fault.value).count("row 2") == 1  # one reason each


def test_answers_that_begin_as_a_short_prompt_does_are_fine():
    assert check_pairs([{"prompt": "Hi", "chosen": "Hi there.", "rejected": "Hi you."}]).rows
    system = {"role": "system", "content": "Be kind."}
    assert check_pairs([{"prompt": [system, ASK], "chosen": SAID("a"), "rejected": SAID("b")}]).rows


def test_pairs_of_other_forms_become_trls():
    expected = {"id": 3, "prompt": [ASK], "chosen": SAID("a"), "rejected": SAID("b")}
    turn = lambda text: {"from": "gpt", "value": text}
    for row in (
        {"conversations": [{"from": "human", "value": "Where is it?"}], "chosen": turn("a"), "rejected": turn("b")},
        {"instruction": "Where is it?", "input": "", "chosen": "a", "rejected": "b"},
        {"prompt": "Where is it?", "chosen": SAID("a"), "rejected": "b"},
        expected,
    ):
        assert as_pair(row | {"id": 3}) == expected and check_pairs([as_pair(row)]).rows
    with pytest.raises(DataError, match="no 'rejected'"):
        as_pair({"prompt": "Q", "chosen": "a"})


def test_messages_with_an_implicit_prompt_are_fine():
    ask = {"role": "user", "content": "A?"}
    row = {
        "chosen": [ask, {"role": "assistant", "content": "x"}],
        "rejected": [ask, {"role": "assistant", "content": "y"}],
    }
    assert check_pairs([row]).rows == [row]


def test_a_leak_by_length_is_seen_and_the_courses_own_pairs_have_none():
    short = [{"prompt": f"p{i}", "chosen": "a longer answer", "rejected": "short"} for i in range(60)]
    assert check_pairs(short).leaks and "gives the label away" in str(check_pairs(short))
    assert check_pairs(short).longer_wins == 1.0
    even = [row | {"chosen": "as long", "rejected": "as lang", "prompt": f"q{i}"} for i, row in enumerate(short)]
    assert check_pairs(even).longer_wins == 0.5 and not check_pairs(even).leaks  # a tie counts half
    swapped = [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in short[:45]]  # 45 of 60: 25%
    rest = [row | {"prompt": f"r{i}"} for i, row in enumerate(short[:15])]
    assert check_pairs(swapped + rest).longer_wins == 0.25 and check_pairs(swapped + rest).leaks
    own = check_pairs(tasks.load("tone"), strict=False)
    assert own.problems == [] and len(own.rows) == len(tasks.load("tone"))
    assert not own.leaks and 0.4 < own.longer_wins < 0.6


def test_nothing_at_all():
    with pytest.raises(DataError, match="no pairs"):
        check_pairs([])


def test_a_leak_must_be_beyond_chance():
    """Four pairs, all longer, are 0.5 away where chance allows 0.49; three, where it allows 0.57; 100: 0.098."""
    pair = lambda i, longer: {
        "prompt": f"p{i}", "chosen": "long answer" if longer else "no", "rejected": "no" if longer else "long answer"
    }  # fmt: skip
    for n, longer, leaks in ((4, 4, True), (3, 3, False), (100, 61, True), (100, 60, False), (50, 31, False)):
        report = check_pairs([pair(i, i < longer) for i in range(n)])
        assert report.longer_wins == pytest.approx(longer / n) and report.leaks is leaks, (n, longer)


def test_a_prompt_of_just_the_length_leaves_nothing_and_length_is_counted_as_asked():
    row = {"prompt": "one two three", "chosen": "a", "rejected": "b"}
    words = lambda text: len(text.split())
    assert check_pairs([row], max_length=4, length=words).rows == [row]
    with pytest.raises(DataError, match="the prompt alone has 3 of 3"):
        check_pairs([row], max_length=3, length=words)


def test_log_odds_keep_their_digits_in_32_bits_too():
    """Against 40 decimal digits: 1 - exp(log p) itself has none left near p = 1."""
    from decimal import Decimal, localcontext

    log_p = torch.tensor([-1e-6, -1e-3, -0.69, -0.7, -5.0, -20.0])
    with localcontext(prec=40):
        chances = [Decimal(float(x)).exp() for x in log_p]
        expected = torch.tensor([float((p / (1 - p)).ln()) for p in chances])
    assert torch.allclose(log_odds(log_p), expected, rtol=1e-5)


def whole(answer, question="Q"):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def test_pairs_of_whole_conversations_as_public_files_have_them():
    """UltraFeedback and Firefly write the question into both answers, and again beside them; LLaMA-Factory names them otherwise."""
    wanted = {"prompt": whole("")[:1], "chosen": whole("a")[1:], "rejected": whole("b")[1:]}
    firefly = {"prompt": "Q", "chosen": whole("a"), "rejected": whole("b"), "messages": whole("a"), "score_chosen": 9}
    assert as_pair(firefly) == wanted | {"score_chosen": 9}
    assert as_pair({"chosen_messages": whole("a"), "rejected_messages": whole("b")}) == wanted
    assert check_pairs([as_pair(firefly)]).rows
    with pytest.raises(DataError, match="'prompt' or 'messages' differs from the turns inside"):
        as_pair(firefly | {"prompt": "Another question"})
    with pytest.raises(DataError, match="follow different prompts"):
        as_pair(firefly | {"rejected": whole("b", "Another question")})
