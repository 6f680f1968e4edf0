"""helpers/own_rows.py: files as people have them, and rows of other forms."""

import gzip
import json

import pytest

from helpers import own_rows

ROW = {"prompt": "p", "completion": "c"}


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.json", json.dumps([ROW])),
        ("a.jsonl", json.dumps([ROW], indent=1)),  # an array under another name
        ("a.ndjson", json.dumps(ROW)),
        ("a.tsv", "prompt\tcompletion\np\tc\n"),
        ("a.csv", "prompt;completion\np;c\n"),
        ("a.csv", "prompt,completion,,\np,c,,\n,,,\n"),  # what a spreadsheet leaves
        ("A.CSV", "prompt,completion\r\np,c\r\n"),
    ],
)
def test_the_same_row_from_each_kind_of_file(tmp_path, name, text):
    assert own_rows.read(write(tmp_path / name, text)).rows == [ROW]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl"])
def test_a_gzip_is_read_whatever_its_name(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(json.dumps(ROW).encode()))
    assert own_rows.read(tmp_path / name).rows == [ROW]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("prompt,completion\np,NaN\n", "a missing value that some program wrote"),
        ("prompt,completion\np,#REF!\n", "a missing value"),
        ("prompt,completion\np\u200b,c\n", "a zero-width space"),
        ("prompt,completion\np\ufffd,c\n", "earlier wrong decoding"),
        ("prompt,completion\np\x1b[31m,c\n", "a control character"),
        ("prompt,completion\np\u202ec,c\n", "a mark of writing direction"),
        ('prompt,completion\np, "a, b"\n', "remove the space before a quote"),
        ("instruction,output\np,c\n", r"columns=\('instruction', 'input', 'output'\), optional"),
        ("prompt,completion\np,c,d\n", "3 values, the header has 2"),
        ("prompt,completion,,\np,c,,d\n", "4 values, the header has 2"),
        ("Prompt,Completion\np,c\n", r"columns=\('Prompt', 'Completion'\)"),
    ],
)
def test_what_cannot_be_meant_is_a_problem_with_its_cause(tmp_path, text, reason):
    with pytest.raises(own_rows.DataError, match=reason):
        own_rows.read(write(tmp_path / "a.csv", text))


@pytest.mark.parametrize(
    "text, reason",
    [
        ('{"prompt": "p", "prompt": "q", "completion": "c"}', "'prompt' stands twice"),
        ('{"prompt": "p", "completion": "c"},\n', "ends in a comma"),
        ('[{"prompt": "p"}', "begins like a JSON array and is none"),
        ('{"prompt": "p", "completion": 7}', "a int, expected text: put it in quotes"),
        ('{"prompt": "p", "completion": {"queue": 1}}', "write it with json.dumps"),
        ('{"prompt": [{"role": "user", "content": "p"}], "completion": "c"}', "chats .* are as trl takes them"),
        ('{"prompt": "p", "completion": NaN}', "'completion' is NaN: a missing value"),
        ('{"messages": []}', "form messages: own_rows.as_chat"),
        ('{"conversations": []}', "form ShareGPT"),
        ('{"instruction": "a", "output": "b"}', "form alpaca"),
    ],
)
def test_json_faults_and_other_forms_are_named(tmp_path, text, reason):
    with pytest.raises(own_rows.DataError, match=reason):
        own_rows.read(write(tmp_path / "a.jsonl", text))


@pytest.mark.parametrize(
    "name, text", [("a.csv", "prompt,completion\n怎么,c\n"), ("a.json", '[{"prompt":"怎么","completion":"c"}]')]
)
@pytest.mark.parametrize("mark, encoding", [(b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")])
def test_utf_16_is_named_and_read_where_asked(tmp_path, name, text, mark, encoding):
    (tmp_path / name).write_bytes(mark + text.encode(encoding))
    with pytest.raises(own_rows.DataError, match="is UTF-16: read.*encoding='utf-16'"):
        own_rows.read(tmp_path / name)
    assert own_rows.read(tmp_path / name, encoding="UTF16").rows == [{"prompt": "怎么", "completion": "c"}]


def test_a_file_in_another_encoding_shows_how_it_would_read(tmp_path):
    text = "prompt,completion\n我的包裹到哪里了？,请提供订单号\n怎么退货,请联系客服\n"
    path = write(tmp_path / "a.csv", text, "gb18030")
    with pytest.raises(own_rows.DataError, match="我的包裹到哪里了.*encoding='gb18030'"):
        own_rows.read(path)
    assert own_rows.read(path, encoding="gb18030").rows[1] == {"prompt": "怎么退货", "completion": "请联系客服"}


def test_the_cure_of_an_encoding_is_said_at_its_first_line_and_an_array_is_never_shortened(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"Prompt;completion\np;\nq;caf\xe9\nr;caf\xe9\n")
    report = None
    with pytest.raises(own_rows.DataError) as fault:
        report = own_rows.read(tmp_path / "a.csv", columns=("Prompt", "completion"))
    lines = str(fault.value).splitlines()
    assert report is None and "encoding='cp1252'" in lines[2] and lines[3].endswith("as above")
    (tmp_path / "b.json").write_bytes(
        b'[{"prompt": "p", "completion": "c"}\n,{"prompt": "caf\xe9", "completion": "c"}\n]'
    )
    with pytest.raises(own_rows.DataError, match="line 2: not UTF-8"):
        own_rows.read(tmp_path / "b.json", strict=False)


def test_a_line_in_another_encoding_spoils_its_whole_record(tmp_path):
    head, tail = b'prompt,completion\np,"one\n', b'\nthree"\nq,c\nr,"never closed\n'
    (tmp_path / "a.csv").write_bytes(head + "退货".encode("gbk") + tail)
    report = own_rows.read(tmp_path / "a.csv", strict=False)
    assert report.rows == [{"prompt": "q", "completion": "c"}]
    assert [number for number, _ in report.problems] == [3, 6] and "not UTF-8" in report.problems[0][1]
    good = json.dumps(ROW).encode()
    (tmp_path / "a.jsonl").write_bytes(good.replace(b'"p"', b'"caf\xe9"') + b"\n" + good)
    report = own_rows.read(tmp_path / "a.jsonl", strict=False)
    assert report.rows == [ROW] and len(report.problems) == 1


SAID = [{"role": "user", "content": "Hi"}]
FORMS = [
    {"messages": [*SAID, {"role": "assistant", "content": "Ho"}]},
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
    {"instruction": "Hi", "input": "", "output": "Ho"},
    {"prompt": "Hi", "completion": "Ho"},
    {"prompt": SAID, "completion": [{"role": "assistant", "content": "Ho"}]},
    {"conversation": [{"human": "Hi", "assistant": "Ho"}]},  # as Firefly and ms-swift have it
    {"query": "Hi", "response": "Ho"},  # ms-swift
    {"messages": [  # LLaMA-Factory's newer files: text in parts
        {"role": "user", "content": [{"type": "text", "value": "H"}, {"type": "text", "value": "i"}], "loss_weight": 0.0},
        {"role": "assistant", "content": [{"type": "text", "text": "Ho"}]},
    ]},
]  # fmt: skip


@pytest.mark.parametrize("row", FORMS, ids=lambda row: own_rows.form_of(row))
def test_every_form_becomes_the_same_chat_and_keeps_what_it_does_not_use(row):
    chat = own_rows.as_chat(row | {"id": 7})
    assert chat == {"id": 7, "prompt": SAID, "completion": [{"role": "assistant", "content": "Ho"}]}


def test_system_and_history_come_first_and_in_order():
    row = {"instruction": "c", "input": "d", "output": "e", "system": "s", "history": [["a", "b"]]}
    chat = own_rows.as_chat(row)
    assert [m["content"] for m in chat["prompt"]] == ["s", "a", "b", "c\nd"] and set(chat) == {"prompt", "completion"}


@pytest.mark.parametrize(
    "row, reason",
    [
        ({"text": "x"}, "neither messages, ShareGPT"),
        ({"messages": SAID}, "nothing to learn"),
        ({"messages": [*SAID, {"role": "assistant", "content": "Ho"}], "label": False}, "keep the wanted rows"),
        ({"messages": SAID, "chosen": "a", "rejected": "b"}, "'chosen' would be lost: own_rows.as_pair"),
        ({"chosen_messages": SAID, "rejected_messages": SAID}, "own_rows.as_pair"),
        ({"conversation": [{"human": "Hi", "assistant": None}]}, "NoneType content"),
        ({"conversations": "Hi"}, "'conversations' is no list of turns"),
        ({"messages": ["Hi", "Ho"]}, "'messages' is no list of turns"),
        ({"prompt": None, "completion": "Ho"}, "a turn has no text"),
        ({"instruction": "Hi", "output": None}, "a turn has no text"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role 'tool'"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "list content"),
        ({"prompt": "a", "completion": "b", "tools": [1]}, "'tools' would be lost"),
        ({"messages": [*SAID, {"role": "assistant", "content": "", "tool_calls": [1]}]}, "'tool_calls' would be lost"),
    ],
)
def test_what_would_be_lost_is_refused(row, reason):
    with pytest.raises(own_rows.DataError, match=reason):
        own_rows.as_chat(row)


@pytest.mark.parametrize(
    "row, way",
    [
        ({"text": "Once upon a time."}, "plain text: there is no question in it"),
        ({"prompt": "Q", "chosen": "a", "rejected": "b"}, r"preference pair: own_rows.as_pair\(row\) converts one"),
        ({"conversations": [], "tools": "[1]"}, "own_rows.as_chat.row. refuses the first: the column 'tools'"),
        ({"query": "Q", "response": "A"}, r"query and response: own_rows.as_chat\(row\) converts one"),
    ],
)
def test_a_file_of_another_form_is_named_with_what_to_do(tmp_path, row, way):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(own_rows.DataError, match=way):
        own_rows.read(path)


def test_columns_that_are_named_are_read_whatever_their_form(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"query": "Q", "response": "A"}\n')
    assert own_rows.read(path, columns=("query", "response")).rows == [{"query": "Q", "response": "A"}]


def test_the_key_is_all_that_is_asked_and_an_optional_column_may_be_empty(tmp_path):
    row = lambda said, given="", asked="Translate.": {"instruction": asked, "input": given, "output": said}
    rows = [row("a", "x"), row("b", "y"), row("c", asked="Hi"), {"instruction": "Bye", "output": "d"}]
    path = write(tmp_path / "a.json", json.dumps([*rows, row("e", "x"), rows[0]]))
    columns, optional = ("instruction", "input", "output"), ("input",)
    report = own_rows.read(path, columns, strict=False, optional=optional)
    assert report.rows == rows
    assert report.problems[0] == (
        5,
        "the same instruction, input as row 1 with another answer: decide which is right",
    )
    assert report.problems[1][0] == 6 and report.problems[1][1].startswith("the same as row 1")
    (tmp_path / "b.json").write_text(json.dumps(rows[::-1]))  # the first row lacks the column
    assert own_rows.read(tmp_path / "b.json", columns, optional=optional).rows == rows[::-1]
    said = own_rows.read(path, columns, strict=False, optional=optional, one_answer=False)
    assert said.rows == [*rows, row("e", "x")] and [number for number, _ in said.problems] == [6]
    with pytest.raises(own_rows.DataError, match="row 3: 'input' is empty"):
        own_rows.read(path, columns)


@pytest.mark.parametrize("row", FORMS[:3], ids=lambda row: own_rows.form_of(row))
def test_the_line_that_a_refusal_names_converts_the_whole_file(tmp_path, monkeypatch, row):
    import datasets

    monkeypatch.chdir(tmp_path)
    rows = [row, json.loads(json.dumps(row).replace("Hi", "Hey"))]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    with pytest.raises(own_rows.DataError) as fault:
        own_rows.read(path)
    line = str(fault.value).split("converts one: ")[1]
    assert eval(line, {"own_rows": own_rows, "datasets": datasets}) == list(map(own_rows.as_chat, rows))


@pytest.mark.parametrize("name, write_as", [("a.xlsx", "to_excel"), ("a.csv", "to_excel"), ("a.csv", "to_parquet")])
def test_a_workbook_or_parquet_file_is_named_whatever_its_suffix(tmp_path, monkeypatch, name, write_as):
    import pandas

    monkeypatch.chdir(tmp_path)
    getattr(pandas.DataFrame([{"prompt": "007", "completion": "NA"}]), write_as)("made.xlsx", index=False)
    (tmp_path / "made.xlsx").rename(name)
    with pytest.raises(own_rows.DataError, match="is a") as fault:
        own_rows.read(name)
    eval(str(fault.value)[str(fault.value).index("pandas.") :].split(" makes ")[0], {"pandas": pandas})
    assert own_rows.read("rows.jsonl", strict=False).rows == [{"prompt": "007", "completion": "NA"}]


def test_a_folder_and_an_unknown_encoding_are_named(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(own_rows.DataError, match="is a folder"):
        own_rows.read(tmp_path / "a.csv")
    with pytest.raises(own_rows.DataError, match="'utf8x' is unknown: utf-8, gb18030"):
        own_rows.read(write(tmp_path / "b.csv", "prompt,completion\np,c\n"), encoding="utf8x")


def test_rows_of_a_json_array_are_named_by_their_place_not_by_a_line(tmp_path):
    """A pretty-printed array has several lines a row: line 3 would be another row, or a brace."""
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}, {"prompt": "a", "completion": "b"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=2))
    with pytest.raises(own_rows.DataError, match="(?s)row 3: the same as row 1: remove one.*Mend these rows"):
        own_rows.read(tmp_path / "rows.json")
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(own_rows.DataError, match="(?s)line 3: the same as line 1: remove one.*Mend these lines"):
        own_rows.read(tmp_path / "rows.jsonl")
