"""What a chat looks like in tokens, and which of them the loss sees.

- ``show_labels()``   the label viewer: trained tokens in colour for people, in brackets as text
- ``check_labels()``  end token trained, one BOS at most, enough trained, nothing cut: the faults that cost a week
- ``end_of_turn()``   the token with which the template ends a turn: not always the tokenizer's end token
- ``check_pad()``     pad and end token: the same id is safe only when padding is masked by position
"""

from __future__ import annotations

import html
from itertools import groupby

IGNORED = -100  # torch.nn.CrossEntropyLoss skips this label

TRAINED_STYLE = "background:#cfe3f5;border-bottom:2px solid #0b62a4"
MASKED_STYLE = "color:#777"


class LabelView:
    """Shown by Jupyter as coloured HTML; as text, one line with each run of trained tokens in «guillemets». A newline is a ⏎."""

    def __init__(self, tokenizer, ids, labels):
        pieces = [tokenizer.decode([int(i)]).replace("\n", "⏎") for i in ids]
        trained = [int(y) != IGNORED for y in labels]
        runs = groupby(zip(trained, pieces), key=lambda pair: pair[0])
        runs = [(on, "".join(piece for _, piece in run)) for on, run in runs]
        self.text = "".join(f"«{run}»" if on else run for on, run in runs)
        spans = [
            f'<span style="{TRAINED_STYLE if on else MASKED_STYLE};padding:1px 2px;margin:1px">{html.escape(piece)}</span>'
            for on, piece in zip(trained, pieces)
        ]
        legend = (
            f"{sum(trained)} of {len(spans)} tokens trained (blue, underlined); the grey ones are read, not learned"
        )
        self.html = f'<div style="line-height:2;font-family:monospace">{"<wbr>".join(spans)}</div><div>{legend}</div>'

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def show_labels(tokenizer, ids, labels) -> LabelView:
    """View of one row: `ids` and `labels` of equal length; −100 is not trained. End a cell with it."""
    if len(ids) != len(labels):
        raise ValueError(f"{len(ids)} ids but {len(labels)} labels: they must be one row of one batch")
    return LabelView(tokenizer, ids, labels)


def end_of_turn(tokenizer) -> int:
    """The token with which the chat template ends an assistant's turn; the end token where it ends with none.

    >>> from transformers import AutoTokenizer
    >>> from helpers import models
    >>> tokenizer = AutoTokenizer.from_pretrained(models.locate("").path)
    >>> tokenizer.decode([end_of_turn(tokenizer)])
    '<|im_end|>'
    """
    ids = []
    if tokenizer.chat_template:
        said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        ids = tokenizer.apply_chat_template(said, return_dict=False)
    last = next((i for i in reversed(ids) if tokenizer.decode([i]).strip()), None)  # behind it, whitespace
    marks = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return last if last in marks else tokenizer.eos_token_id


def check_labels(
    tokenizer, ids, labels, attention_mask=None, max_length: int | None = None, min_share: float = 0.01,
    completion_only: bool = True,
) -> list[str]:  # fmt: skip
    """Faults of one collated row in words; an empty list means sound.

    1. An end is among the trained labels (the end token, or the token with which the template ends a turn), and only
    template whitespace follows it. 2. At most one BOS. 3. At least `min_share` of the tokens are trained, and, where
    `completion_only` is meant, not all. 4. The row was not cut at `max_length`.
    """
    used = [True] * len(ids) if attention_mask is None else list(map(int, attention_mask))
    ids, labels = ([int(x) for x, keep in zip(row, used) if keep] for row in (ids, labels))
    trained, faults = [i for i, y in enumerate(labels) if y != IGNORED], []
    if not trained or len(trained) < min_share * len(ids):
        faults.append(
            f"{len(trained)} of {len(ids)} tokens are trained: the template or the completion column does not match "
            "what the trainer expects, so it learns nothing"
        )
    if completion_only and trained and len(trained) == len(ids):
        cure = "give prompt and completion in two columns, or say completion_only=False"
        faults.append(f"all {len(ids)} tokens are trained, the question too: {cure}")
    stops = {tokenizer.eos_token_id, end_of_turn(tokenizer)} - {None}
    ends = [i for i in trained if labels[i] in stops]
    if trained and not ends:
        names = " or ".join(map(tokenizer.decode, sorted(stops)))
        faults.append(f"no end token ({names}) among the trained labels: the tuned model will not stop")
    elif after := tokenizer.decode([labels[i] for i in trained if i > ends[-1]] if trained else []).strip():
        faults.append(f"{after!r} is trained after the end token: the model learns to go on")
    if tokenizer.bos_token_id is not None and ids[:2] == [tokenizer.bos_token_id] * 2:
        bos = tokenizer.bos_token
        faults.append(f"the row starts with two BOS tokens ({bos}): tokenizer and template each add one")
    if max_length is not None and len(ids) >= max_length and not (ends and ends[-1] >= len(ids) - 3):
        cut = f"the row was cut at {max_length} tokens: its answer has no end"
        faults.append(f"{cut}; raise max_length or drop the row")
    return faults


def check_batch(tokenizer, batch, max_length: int | None = None, **options) -> None:
    """`check_labels`, with its options, for every row of a collated batch; ValueError lists row and fault."""
    faults = []
    for row, (ids, labels) in enumerate(zip(batch["input_ids"], batch["labels"])):
        mask = batch["attention_mask"][row] if "attention_mask" in batch else None
        faults += [f"row {row}: {f}" for f in check_labels(tokenizer, ids, labels, mask, max_length, **options)]
    if faults:
        raise ValueError("\n".join(faults))


def check_pad(tokenizer, masked_by_position: bool) -> str | None:
    """The fault in words where pad = end and the collator masks by value; None when sound.

    With one id for both, a collator that masks *every* pad id masks the real end tokens too: no row teaches to stop.
    """
    if tokenizer.pad_token_id != tokenizer.eos_token_id or masked_by_position:
        return None
    return (
        f"pad and end are both {tokenizer.eos_token} (id {tokenizer.eos_token_id}) and this collator masks by value: "
        "the end token is never trained. Use trl's collator, or give padding a token of its own."
    )
