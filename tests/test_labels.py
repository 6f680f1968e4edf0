"""The label viewer and its checks: each fault planted, each fault named."""

import pytest

from helpers import labels as viewer

END, NL, BOS = 2, 198, 1


def row(tokenizer, tail):
    head = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, return_dict=False
    )
    return head + tail, [-100] * len(head) + tail


def test_a_sound_row_has_no_fault(bundled):
    ids, labels = row(bundled[1], bundled[1]("yes")["input_ids"] + [END, NL])
    assert viewer.check_labels(bundled[1], ids, labels, max_length=128) == []


def test_each_planted_fault_is_named(bundled):
    tokenizer = bundled[1]
    yes = tokenizer("yes")["input_ids"]
    ids, labels = row(tokenizer, yes + [NL])
    assert "will not stop" in viewer.check_labels(tokenizer, ids, labels)[0]
    ids, labels = row(tokenizer, yes + [END] + yes)
    assert "learns to go on" in viewer.check_labels(tokenizer, ids, labels)[0]
    ids, labels = row(tokenizer, yes + [END, NL])
    assert "learns nothing" in viewer.check_labels(tokenizer, ids, [-100] * len(ids))[0]
    assert "two BOS" in viewer.check_labels(tokenizer, [BOS] + ids, [-100] + labels)[0]
    cut, cut_labels = ids[: -len(yes) - 1], labels[:-3] + yes
    assert any(
        "was cut" in f for f in viewer.check_labels(tokenizer, cut + yes, cut_labels, max_length=len(cut + yes))
    )


def test_batch_names_the_row_and_padding_is_ignored(bundled):
    tokenizer = bundled[1]
    ids, labels = row(tokenizer, tokenizer("yes")["input_ids"] + [END, NL])
    good = {
        "input_ids": [ids + [END] * 3],
        "labels": [labels + [-100] * 3],
        "attention_mask": [[1] * len(ids) + [0] * 3],
    }
    viewer.check_batch(tokenizer, good)
    with pytest.raises(ValueError, match="row 1: 0 of"):
        viewer.check_batch(tokenizer, {"input_ids": [ids, ids], "labels": [labels, [-100] * len(ids)]})


def test_views_say_the_same(bundled):
    tokenizer = bundled[1]
    ids, labels = row(tokenizer, tokenizer("yes")["input_ids"] + [END, NL])
    view = viewer.show_labels(tokenizer, ids, labels)
    assert repr(view).endswith("«yes<|im_end|>⏎»")
    assert view._repr_html_().count(viewer.TRAINED_STYLE) == sum(y != -100 for y in labels)
    assert "&lt;|im_end|&gt;" in view.html  # marks are text, not markup
    with pytest.raises(ValueError, match="equal|one row"):
        viewer.show_labels(tokenizer, ids, labels[:-1])


def test_pad_equal_end_is_a_fault_only_by_value(bundled):
    assert viewer.check_pad(bundled[1], masked_by_position=True) is None
    assert "never trained" in viewer.check_pad(bundled[1], masked_by_position=False)


def test_the_least_share_is_that_asked_for_and_padding_does_not_count(bundled):
    """10 tokens, 4 of them trained, and 30 of padding."""
    ids, labels = [5] * 6 + [7, 7, END, NL], [-100] * 6 + [7, 7, END, NL]
    check = lambda share, pad: viewer.check_labels(
        bundled[1], ids + [END] * pad, labels + [-100] * pad, [1] * 10 + [0] * pad, min_share=share
    )
    assert check(0.4, 0) == check(0.4, 30) == []
    assert check(0.41, 0)[0] == check(0.41, 30)[0] and check(0.41, 0)[0].startswith("4 of 10 tokens are trained")


def test_a_whole_row_of_just_the_length_is_not_cut(bundled):
    ids, labels = row(bundled[1], bundled[1]("yes")["input_ids"] + [END, NL])
    assert viewer.check_labels(bundled[1], ids, labels, max_length=len(ids)) == []


def test_a_batch_is_checked_against_the_length_it_was_cut_to(bundled):
    ids, labels = row(bundled[1], bundled[1]("yes")["input_ids"] * 9)
    batch = {"input_ids": [ids], "labels": [labels]}
    for length, told in ((len(ids), True), (len(ids) + 1, False)):
        with pytest.raises(ValueError, match="will not stop") as fault:
            viewer.check_batch(bundled[1], batch, max_length=length)
        assert ("was cut" in str(fault.value)) is told


def test_two_trained_answers_end_twice(bundled):
    yes, ask = bundled[1]("yes")["input_ids"], bundled[1]("Sure?")["input_ids"]
    ids, labels = row(bundled[1], yes + [END, NL])
    ids, labels = ids + ask + yes + [END, NL], labels + [-100] * len(ask) + yes + [END, NL]
    assert viewer.check_labels(bundled[1], ids, labels) == []


def test_a_pad_token_of_its_own_is_sound():
    import types

    pads = types.SimpleNamespace(pad_token_id=0, eos_token_id=END, eos_token="<end>")
    assert viewer.check_pad(pads, masked_by_position=False) is None


def test_the_legend_counts_the_trained_tokens(bundled):
    ids, labels = row(bundled[1], bundled[1]("yes")["input_ids"] + [END, NL])
    assert (
        f">{len(ids) - labels.count(-100)} of {len(ids)} tokens trained"
        in viewer.show_labels(bundled[1], ids, labels).html
    )


def test_the_end_is_the_templates(bundled):
    """A turn that ends with another token than the end token is no fault; one that ends with neither is."""
    import copy

    tokenizer = copy.deepcopy(bundled[1])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "<end_of_turn>")
    turn = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    ids, labels = row(tokenizer, tokenizer("yes")["input_ids"] + [turn, NL])
    assert viewer.check_labels(tokenizer, ids, labels) == []
    assert "no end token" in viewer.check_labels(bundled[1], ids, labels)[0]
    (fault,) = viewer.check_labels(tokenizer, ids[:-2], labels[:-2])
    assert "<|im_end|>" in fault and "<end_of_turn>" in fault


def test_a_row_that_is_trained_whole_is_told_unless_that_is_meant(bundled):
    """As trl makes it of `messages`: the question is trained, too."""
    ids, _ = row(bundled[1], bundled[1]("yes")["input_ids"] + [END, NL])
    (fault,) = viewer.check_labels(bundled[1], ids, ids)
    assert "the question too" in fault and f"all {len(ids)} tokens" in fault
    assert viewer.check_labels(bundled[1], ids, ids, completion_only=False) == []
    padded = {"input_ids": [ids + [END]], "labels": [ids + [-100]], "attention_mask": [[1] * len(ids) + [0]]}
    with pytest.raises(ValueError, match="row 0: all"):
        viewer.check_batch(bundled[1], padded)
    viewer.check_batch(bundled[1], padded, completion_only=False)
