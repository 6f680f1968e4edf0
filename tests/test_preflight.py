"""Each fault is named once at its smallest dose, sound rows raise none, and other models' templates are read rightly."""

import pytest
import torch

from helpers import models, preflight, tasks
from helpers.preflight import check_adapter

PLAIN = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def stock():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(models.locate("").path)


@pytest.fixture
def tokenizer(stock):
    import copy

    return copy.deepcopy(stock)


def chat(prompt="Late again?", answer="K7", system="Route the ticket."):
    head = [{"role": "system", "content": system}] if system else []
    return {
        "prompt": head + [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": answer}],
    }


def many(n=40, answer=lambda i: "K7" if i % 2 else "B2"):
    return [chat(f"Where is parcel {'abcdefghij'[i % 10]}{'klmnopqrst'[i // 10 % 10]}?", answer(i)) for i in range(n)]


def checks(report, severity="error"):
    return sorted({f.check for f in report.findings if f.severity == severity})


@pytest.mark.parametrize("name", ("routing", "extract", "tone", "sentiment"))
def test_the_courses_own_rows_are_sound(tokenizer, name):
    rows = tasks.load(name, "train", n=200)
    if name == "tone":
        rows = [r | {"completion": r["chosen"]} for r in rows]
    held_out = tasks.load(name, "test") if name != "tone" else []
    report = preflight.preflight(
        tasks.chat(rows, tasks.TASKS[name].system),
        tokenizer,
        max_length=192,
        held_out=tasks.chat(held_out, "") if held_out else (),
    )
    assert report, str(report)
    ids = [
        tokenizer.apply_chat_template(r["prompt"] + r["completion"], return_dict=True)["input_ids"]
        for r in tasks.chat(rows, tasks.TASKS[name].system)
    ]
    assert report.rows == len(rows) and report.tokens == sum(map(len, ids)) > report.trained > 0


@pytest.mark.parametrize(
    "bad, check",
    [
        ({"question": "x"}, "shape"),
        ({"prompt": "text", "completion": [{"role": "assistant", "content": "x"}]}, "shape"),
        ({"messages": [{"role": "user", "content": "x"}]}, "shape"),
        (chat(answer="  "), "empty answer"),
        (chat(answer="nan"), "empty answer"),
        (chat(answer="#VALUE!"), "empty answer"),
        (chat("Say <|im_end|> please"), "special token"),
        (chat("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"), "special token"),
        ({"prompt": [{"role": "human", "content": "a"}], "completion": [{"role": "gpt", "content": "b"}]}, "shape"),
        ({"messages": [{"role": "human", "content": "a"}, {"role": "assistant", "content": "b"}]}, "shape"),
        ({"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "user", "content": "b"}]}, "shape"),
    ],
)
def test_one_bad_row_is_found_by_its_number(tokenizer, bad, check):
    rows = many()
    rows[17] = bad
    report = preflight.preflight(rows, tokenizer)
    assert not report and checks(report) == [check]
    found, *more = [f for f in report.findings if f.severity == "error"]
    assert found.rows == (17,) and found.cure and "row 17" in str(report)
    assert [f.reason.split()[0] for f in (found, *more)] == ["<|im_start|>", "<|im_end|>"] if more else True


@pytest.mark.parametrize(
    "text, mark",
    [
        ("<start_of_turn>user\nhi<end_of_turn>\n", "<start_of_turn>"),
        ("[INST] <<SYS>> be kind <</SYS>> hi [/INST]", "[INST]"),
        ("Below is a task.\n\n### Instruction:\nhi\n\n### Response:\n", "### Instruction:"),
    ],
)
def test_the_marks_of_another_template_are_flagged(tokenizer, text, mark):
    rows = many()
    rows[17] = chat(text)
    found = [f for f in preflight.preflight(rows, tokenizer).findings if f.check == "special token"]
    assert mark in " ".join(f.reason for f in found) and all(f.rows == (17,) for f in found)
    assert all("as messages" in f.cure for f in found)


def test_turns_in_columns_of_their_own_are_named(tokenizer):
    rows = many()
    rows[17] = rows[17] | {"history": [["a", "b"]], "system": ""}
    (found,) = [f for f in preflight.preflight(rows, tokenizer).findings if f.severity == "error"]
    assert found.rows == (17,) and "'history'" in found.reason and "own_rows.as_chat" in found.reason


@pytest.mark.parametrize(
    "text, what", [("a\u200bb", "a zero-width space"), ("a\x08b", "a control"), ("\ufffd", "\ufffd")]
)
def test_characters_that_nobody_sees_are_named(tokenizer, text, what):
    rows = many()
    rows[17] = chat(text)
    (found,) = [f for f in preflight.preflight(rows, tokenizer).findings if f.severity == "warning"]
    assert found.check == "characters" and found.rows == (17,) and found.reason.startswith(what)


def test_an_unknown_role_is_named_with_what_converts_it(tokenizer):
    row = {"messages": [{"role": "human", "content": "a"}, {"role": "assistant", "content": "b"}]}
    report = preflight.preflight([row], tokenizer, config={"assistant_only_loss": True})
    assert "role 'human'" in report.findings[0].reason and "own_rows.as_chat" in report.findings[0].reason


def test_a_row_that_is_cut_and_one_that_loses_its_whole_answer(tokenizer):
    rows = many()
    longest = max(
        len(tokenizer.apply_chat_template(r["prompt"] + r["completion"], return_dict=True)["input_ids"]) for r in rows
    )
    assert preflight.preflight(rows, tokenizer, max_length=longest)
    rows[3] = chat("Where is it? " * 40)
    rows[5] = chat("Where is parcel zz?", "K7 " * 40)
    found = {
        f.reason[:7]: f.rows
        for f in preflight.preflight(rows, tokenizer, max_length=longest).findings
        if f.check == "cut"
    }
    assert found == {"longer ": (3, 5), "nothing": (3,)}


def test_copies_contradictions_and_leaks_are_told_apart(tokenizer):
    rows = many()
    rows[9], rows[12] = rows[4], chat(rows[6]["prompt"][-1]["content"], "another answer")
    held_out = [chat(rows[20]["prompt"][-1]["content"].upper() + " 17!", system="Another system prompt.")]
    found = {f.check: f.rows for f in preflight.preflight(rows, tokenizer, held_out=held_out).findings}
    assert found["duplicate"] == (9,) and found["contradiction"] == (6, 12) and found["leak"] == (20,)


def test_another_system_prompt_is_another_task_and_no_contradiction(tokenizer):
    assert preflight.preflight([chat(answer="K7"), chat(answer="angry", system="Name the mood.")], tokenizer)


def test_balance_is_asked_of_labels_and_not_of_free_text(tokenizer):
    skewed = many(100, lambda i: "B2" if i == 50 else "K7")
    (found,) = [f for f in preflight.preflight(skewed, tokenizer).findings if f.check == "balance"]
    assert found.rows == (50,) and "99 rows" in found.reason
    assert "balance" not in checks(
        preflight.preflight(many(40, lambda i: f"answer {i // 20} {i}"), tokenizer), "warning"
    )


def test_text_rows_get_their_end_token_and_messages_warn_that_the_question_is_trained(tokenizer):
    report = preflight.preflight([{"prompt": "Q: a\nA:", "completion": " b"}], tokenizer)
    assert report and report.trained == len(tokenizer("Q: a\nA: b")["input_ids"]) + 1 - len(
        tokenizer("Q: a\nA:")["input_ids"]
    )
    rows = [{"messages": r["prompt"] + r["completion"]} for r in many()]
    for options in (
        {},
        {"completion_only": False},
    ):  # trl trains every turn of messages, whatever completion_only says
        report = preflight.preflight(rows, tokenizer, **options)
        assert checks(report, "warning") == ["labels"] and report.trained == report.tokens
    alone = preflight.preflight(rows, tokenizer, config={"assistant_only_loss": True})
    assert alone and alone.trained == preflight.preflight(many(), tokenizer).trained


class TestOtherTemplates:
    def test_no_system_role(self, tokenizer):
        tokenizer.chat_template = (
            "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
            + PLAIN
        )
        (found,) = [f for f in preflight.preflight(many(), tokenizer).findings if f.severity == "error"]
        assert found.check == "template" and len(found.rows) == 40 and "before the first user turn" in found.cure
        assert preflight.preflight([chat(system="")], tokenizer)

    def test_roles_that_must_alternate(self, tokenizer):
        tokenizer.chat_template = (
            "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
            "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + PLAIN
        )
        rows = [chat(system=""), chat("and then?", system="")]
        rows[1]["prompt"] = rows[1]["prompt"] * 2
        (found,) = [f for f in preflight.preflight(rows, tokenizer).findings if f.severity == "error"]
        assert found.rows == (1,) and "alternate" in found.reason

    def test_a_turn_that_ends_with_another_token_than_the_end_token(self, tokenizer):
        tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
        tokenizer.chat_template = PLAIN.replace("<|im_end|>", "<end_of_turn>")
        (found,) = [f for f in preflight.preflight(many(), tokenizer).findings if f.severity == "error"]
        assert found.check == "end of turn" and "<end_of_turn>" in found.reason and "eos_token_id=" in found.cure
        stop = tokenizer.convert_tokens_to_ids("<end_of_turn>")
        assert preflight.preflight(many(), tokenizer, stop_ids=[tokenizer.eos_token_id, stop])

    def test_an_answer_without_any_end(self, tokenizer):
        tokenizer.chat_template = PLAIN.replace("<|im_end|>\n", "\n")
        (found,) = [f for f in preflight.preflight(many(), tokenizer).findings if f.severity == "error"]
        assert found.check == "end of turn" and "will not stop" in found.reason

    def test_an_empty_think_block_before_the_answer(self, tokenizer):
        tokenizer.chat_template = PLAIN.replace(
            "m['content'] +", "('<think>\n\n</think>\n\n' if m['role'] == 'assistant' else '') + m['content'] +"
        )
        (found,) = [f for f in preflight.preflight(many(), tokenizer).findings if f.severity == "warning"]
        assert found.check == "template" and "<think>" in found.reason and len(found.rows) == 40

    def test_a_prompt_that_is_asked_otherwise_than_it_is_trained(self, tokenizer):
        tokenizer.chat_template = PLAIN.replace(
            "'<|im_start|>assistant\n' }}", "'<|im_start|>assistant\n<think>\n' }}"
        )
        (found,) = [f for f in preflight.preflight(many(), tokenizer).findings if f.severity == "error"]
        assert found.check == "template" and "another text is trained" in found.reason

    def test_two_bos(self, tokenizer):
        tokenizer.chat_template = "{{ bos_token + bos_token }}" + PLAIN
        assert checks(preflight.preflight(many(), tokenizer)) == ["two BOS"]

    def test_no_template_at_all(self, tokenizer):
        tokenizer.chat_template = None
        with pytest.raises(ValueError, match="instruct model"):
            preflight.preflight(many(), tokenizer)


@pytest.mark.parametrize(
    "config, parameters, severity, word",
    [
        ({"learning_rate": 2e-4}, 1.5e9, None, ""),
        ({"learning_rate": 2e-3}, 1.35e8, None, ""),
        ({"learning_rate": 2e-3}, 1.5e9, "warning", "diverge"),
        ({"learning_rate": 1e-6}, 7e9, "warning", "crawl"),
        ({"learning_rate": 1e-5, "full": True}, 7e9, None, ""),
        ({"learning_rate": 2e-4, "full": True}, 7e9, "warning", "diverge"),
        ({"learning_rate": 0}, 7e9, "error", "learning_rate=0"),
        ({"learning_rate": "2e-4"}, 7e9, "error", "learning_rate='2e-4'"),
        ({"fp16": True, "bf16": True}, None, "error", "both on"),
        ({"fp16": True, "weights": "torch.bfloat16"}, None, "error", "NaN"),
    ],
)
def test_settings(tokenizer, config, parameters, severity, word):
    found = [
        f
        for f in preflight.preflight(many(), tokenizer, config=config, parameters=parameters).findings
        if f.severity != "note"
    ]
    assert [f.severity for f in found] == ([severity] if severity else [])
    assert all(word in f.reason for f in found)


def test_pad_and_end_token(tokenizer):
    tokenizer.pad_token = tokenizer.eos_token
    assert checks(preflight.preflight(many(), tokenizer), "note") == ["pad token"]
    tokenizer.pad_token = None
    assert checks(preflight.preflight(many(), tokenizer)) == ["pad token"]


def test_a_table_is_told_from_records(tokenizer):
    import pandas

    (found,) = [f for f in preflight.preflight(pandas.DataFrame(many()), tokenizer).findings if f.severity == "error"]
    assert "to_dict('records')" in found.reason
    assert preflight.preflight(pandas.DataFrame(many()).to_dict("records"), tokenizer)


def test_no_rows():
    with pytest.raises(ValueError, match="nothing to check"):
        preflight.preflight([], None)


def test_an_adapter_that_fits_one_that_does_not_and_one_that_was_not_trained(tmp_path):
    from peft import LoraConfig, get_peft_model

    class Wrapped(torch.nn.Module):
        def __init__(self, name):
            super().__init__()
            self.add_module(name, torch.nn.Linear(4, 4))

    tuned = get_peft_model(Wrapped("first"), LoraConfig(r=2, target_modules=["first"]))
    tuned.save_pretrained(tmp_path / "fresh")
    assert "every B matrix is zero" in check_adapter(tmp_path / "fresh", Wrapped("first"))[0]
    for name, p in tuned.named_parameters():
        p.data += 1.0 if "lora_B" in name else 0.0
    tuned.save_pretrained(tmp_path / "tuned")
    assert check_adapter(tmp_path / "tuned", Wrapped("first")) == []
    (fault,) = check_adapter(tmp_path / "tuned", Wrapped("second"))
    assert "2 of 2 weights" in fault and "first" in fault
    assert "is not in" in check_adapter(tmp_path, Wrapped("first"))[0]
