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
