"""Loading, checking answers, and reading other people's files."""

import json
import tracemalloc

import pytest

from helpers import own_rows, tasks


def write(path, text, encoding="utf-8"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


GOOD = '{"prompt": "Hi", "completion": "Hello"}\n'


def test_reads_jsonl_and_csv_alike(tmp_path):
    one = own_rows.read(write(tmp_path / "a.jsonl", GOOD + '{"prompt": "Bye, then", "completion": "See\\nyou"}\n'))
    two = own_rows.read(write(tmp_path / "a.csv", 'prompt,completion\nHi,Hello\n"Bye, then","See\nyou"\n'))
    assert one.rows == two.rows and not one.problems and one.total == 2


def test_byte_order_mark_is_not_part_of_a_name(tmp_path):
    assert own_rows.read(write(tmp_path / "a.csv", b"\xef\xbb\xbfprompt,completion\nHi,Hello\n")).rows
    assert own_rows.read(write(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + GOOD.encode())).rows


@pytest.mark.parametrize(
    "line, reason",
    [
        ("{broken", "not JSON"),
        ("[1, 2]", "a JSON list, expected an object"),
        ('{"prompt": "Hi"}', "no column 'completion' (it has prompt)"),
        ('{"prompt": "Hi", "completion": null}', "no column 'completion': it is empty"),
        ('{"prompt": "Hi", "completion": 7}', "'completion' is a int, expected text"),
        ('{"prompt": "Hi", "completion": "  "}', "'completion' is empty"),
        ('{"prompt": "Hi\\u0000", "completion": "x"}', "NUL"),
        ('{"prompt": "Hi\x00", "completion": "x"}', "NUL"),
        ('{"prompt": "Hi", "completion": "Hello"}', "the same as line 1"),
        ('{"prompt": "Hi", "completion": "Go away"}', "the same prompt as line 1 with another answer"),
        ('{"prompt": "' + "long " * 60 + '", "completion": "x"}', "more than 200"),
    ],
)
def test_each_bad_line_is_named_and_the_others_survive(tmp_path, line, reason):
    path = write(tmp_path / "a.jsonl", GOOD + line + "\n" + '{"prompt": "3", "completion": "c"}\n')
    report = own_rows.read(path, strict=False, max_length=200)
    assert [n for n, _ in report.problems] == [2] and reason in report.problems[0][1]
    assert len(report.rows) + len(report.problems) == report.total == 3
    with pytest.raises(own_rows.DataError, match="line 2"):
        own_rows.read(path, max_length=200)


def test_wrong_encodings(tmp_path):
    with pytest.raises(own_rows.DataError, match="UTF-16"):
        own_rows.read(write(tmp_path / "a.csv", "prompt,completion\nHi,Hello\n", "utf-16"))
    latin = write(tmp_path / "b.jsonl", GOOD.encode() + '{"prompt": "café", "completion": "x"}\n'.encode("latin-1"))
    report = own_rows.read(latin, strict=False)
    assert [n for n, _ in report.problems] == [2] and len(report.rows) == 1
    assert "not UTF-8 at byte 16" in report.problems[0][1] and "café" in report.problems[0][1]
    assert own_rows.read(latin, encoding="cp1252").rows[1]["prompt"] == "café"


def test_csv_faults(tmp_path):
    text = 'prompt,completion\nHi,Hello\nno comma here\n"a "quoted" word",x\nlast,row\n'
    report = own_rows.read(write(tmp_path / "a.csv", text), strict=False)
    assert [n for n, _ in report.problems] == [3, 4] and len(report.rows) == 2 and report.total == 4
    report = own_rows.read(
        write(tmp_path / "b.csv", 'prompt,completion\nHi,Hello\n"open,x\nnever,closed\n'), strict=False
    )
    assert report.problems[0][0] == 3 and "never closed" in report.problems[0][1]
    report = own_rows.read(write(tmp_path / "c.csv", "prompt;completion\nHi, you;Hello\n"))
    assert report.rows == [{"prompt": "Hi, you", "completion": "Hello"}]
    with pytest.raises(own_rows.DataError, match="no column prompt"):
        own_rows.read(write(tmp_path / "d.csv", "a,b\n1,2\n"))


def test_odd_files_are_named_and_nothing_crashes(tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        GOOD
        + '{"prompt": '
        + "9" * 5000
        + "}\n"
        + "[" * 100_000
        + "\n"
        + '{"prompt": "\\ud800", "completion": "x"}\n',
    )
    report = own_rows.read(path, strict=False)
    assert [n for n, _ in report.problems] == [2, 3, 4] and "surrogate" in report.problems[2][1]
    with pytest.raises(own_rows.DataError, match="stands twice"):
        own_rows.read(write(tmp_path / "b.csv", "prompt,completion,prompt\na,b,c\n"))
    with pytest.raises(own_rows.DataError, match="line 1: the header is not UTF-8"):
        own_rows.read(write(tmp_path / "c.csv", "prompté,completion\na,b\n".encode("latin-1")))
    with pytest.raises(own_rows.DataError):
        own_rows.read(write(tmp_path / "d.csv", b"prompt,completion\ra,b\r"))
    pairs = '{"prompt": "a", "chosen": "b", "rejected": "c"}\n{"prompt": "a", "chosen": "b", "rejected": "d"}\n'
    assert (
        len(own_rows.read(write(tmp_path / "e.jsonl", pairs), ("prompt", "chosen", "rejected"), one_answer=False).rows)
        == 2
    )


def test_no_rows_no_file_wrong_suffix(tmp_path):
    with pytest.raises(own_rows.DataError, match="no records"):
        own_rows.read(write(tmp_path / "a.jsonl", "\n\n"))
    with pytest.raises(own_rows.DataError, match="below its header"):
        own_rows.read(write(tmp_path / "a.csv", "prompt,completion\n"))
    with pytest.raises(own_rows.DataError, match="is not there"):
        own_rows.read(tmp_path / "missing.jsonl")
    with pytest.raises(own_rows.DataError, match="only .jsonl"):
        own_rows.read(write(tmp_path / "a.xlsx", "x"))


def test_report_shows_twenty_and_counts_the_rest(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD + "{bad\n" * 30)
    text = str(own_rows.read(path, strict=False))
    assert "1 of 31 records can be used, 30 problems" in text and "and 10 more" in text and text.count("line ") == 20


def test_preference_pairs_and_extra_columns(tmp_path):
    row = {"prompt": "Hi", "chosen": "Hello.", "rejected": "What?", "source": "mail"}
    report = own_rows.read(write(tmp_path / "a.jsonl", json.dumps(row)), columns=("prompt", "chosen", "rejected"))
    assert report.rows == [row]


@pytest.mark.slow
def test_a_million_short_rows_are_kept_once(tmp_path):
    path = tmp_path / "big.jsonl"
    with open(path, "w") as file:
        for i in range(1_000_000):
            file.write(f'{{"prompt": "{i}", "completion": "y"}}\n')
    report = own_rows.read(path)
    assert len(report.rows) == 1_000_000
    del report
    small = tmp_path / "small.jsonl"  # memory per row, traced on a part: tracing a million rows takes minutes
    small.write_text("".join(f'{{"prompt": "{i}", "completion": "y"}}\n' for i in range(50_000)))
    tracemalloc.start()
    report = own_rows.read(small)
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(report.rows) == 50_000 and peak < 1.3 * now + 2**20  # what is kept, not twice that


@pytest.mark.parametrize(
    "answer, exact, why",
    [
        ('{"queue":"K7","priority":1,"product":"N4"}', True, ""),
        ('{ "product": "N4", "queue": "K7", "priority": 1 }', True, ""),
        ('{"queue":"K7","priority":"1","product":"N4"}', False, "priority is '1', should be 1"),
        ('{"queue":"K7","priority":true,"product":"N4"}', False, "priority is True, should be 1"),
        ('{"queue":"K7","product":"N4"}', False, "priority is missing"),
        ('{"queue":"K7","priority":1,"product":"N4","x":2}', False, "unknown field 'x'"),
        ("K7", False, "not JSON"),
        ("[1]", False, "not a JSON object"),
        ("", False, "not JSON"),
    ],
)
def test_check_answer(answer, exact, why):
    verdict = tasks.check_answer("routing", answer, '{"queue":"K7","priority":1,"product":"N4"}')
    assert verdict.exact is exact and verdict.why.startswith(why) and bool(verdict.why) is not exact


def test_check_answer_field_that_should_not_be_there():
    verdict = tasks.check_answer("extract", '{"order":"4821","count":2}', '{"order":"4821"}')
    assert verdict.fields == {"order": True, "date": True, "count": False, "amount": True}
    assert verdict.why == "count should not be there"


def test_general_accepts_other_spellings():
    accepted = ["grey", "gray"]
    assert tasks.check_answer("general", "It is Gray.", "grey", accepted).exact
    assert not tasks.check_answer("general", "Greyhound", "grey", accepted).exact  # whole words
    assert not tasks.check_answer("general", "", "grey", accepted).exact


def test_load_draws_and_refuses():
    assert [r["id"] for r in tasks.load("routing", "test", n=5, seed=1)] == [
        r["id"] for r in tasks.load("routing", "test", n=5, seed=1)
    ]
    with pytest.raises(ValueError, match="has 640 rows"):
        tasks.load("routing", "test", n=641)
    with pytest.raises(ValueError, match="no set"):
        tasks.load("nothing")


def test_a_set_that_is_not_there_says_what_writes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "DATA", tmp_path)
    for ask in (lambda: tasks.load("handbook"), tasks.articles):
        with pytest.raises(FileNotFoundError, match="handbook.*make_data` writes it"):
            ask()


def test_handbook_rows_point_at_articles():
    ids = {article["id"] for article in tasks.articles()}
    rows = tasks.load("handbook", "test")
    assert {row["article"] for row in rows} == ids | {""}
    assert [a["id"] for a in tasks.articles(2)] == sorted(ids) and set(tasks.articles(2)[0]) == {"id", "title", "text"}
    assert tasks.check_answer("handbook", " 38 months.", "38 months").exact
    with pytest.raises(ValueError, match="choose 1 or 2"):
        tasks.articles(0)


def test_prose_comes_from_python_itself(bundled):
    blocks = tasks.prose(1024, bundled[1], block=256)
    assert [len(b) for b in blocks] == [256] * 4
    assert sum(len(bundled[1](t)["input_ids"]) for t in tasks.prose()) > 20480  # enough for the recorded probe


def test_each_rule_of_style_alone():
    good = "Hello Bo. Your toaster burns one side. On Friday we will send another. Warm regards, the Tallowmere desk"
    assert all(tasks.desk_style(good).values())
    broken = {
        "greeting": good.replace("Hello", "Dear"),
        "promise": good.replace("we will", "we may"),
        "day": good.replace("On Friday", "Soon"),
        "closing": good + " team",
        "calm": good.replace("side.", "side!"),
    }
    for rule, reply in broken.items():
        assert [k for k, kept in tasks.desk_style(reply).items() if not kept] == [rule]


def test_every_chosen_reply_keeps_the_style_and_most_rejected_do_not():
    rows = tasks.load("tone")
    assert all(all(tasks.desk_style(r["chosen"]).values()) for r in rows)
    assert sum(all(tasks.desk_style(r["rejected"]).values()) for r in rows) < 0.25 * len(rows)


def test_a_seed_draws_and_the_first_n_are_the_first_n():
    first = tasks.load("routing", "train", n=20)
    drawn = tasks.load("routing", "train", n=20, seed=1)
    assert [r["id"] for r in first] == [r["id"] for r in tasks.load("routing", "train")[:20]]
    assert (
        {r["id"] for r in drawn}
        != {r["id"] for r in first}
        != {r["id"] for r in tasks.load("routing", "train", n=20, seed=2)}
    )
    assert drawn == tasks.load("routing", "train", n=20, seed=1)


@pytest.mark.parametrize("day", "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())
def test_every_day_of_the_week_is_a_day(day):
    assert tasks.desk_style(f"Hello. We will send it on {day}.")["day"]
    assert not tasks.desk_style("Hello. We will send it soon.")["day"]


def test_a_row_is_over_long_by_all_its_columns_together(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"prompt": "123456", "completion": "1234"}\n{"prompt": "123456", "completion": "123456"}\n')
    report = own_rows.read(path, strict=False, max_length=10)
    assert (
        len(report.rows) == 1
        and report.problems == [(2, report.problems[0][1])]
        and "length 12" in report.problems[0][1]
    )


def test_a_repeated_row_names_the_line_of_the_first_and_length_is_counted_as_asked(tmp_path):
    path = write(
        tmp_path / "a.jsonl", "\n\n" + GOOD + "{bad\n" + '{"prompt": "One two three", "completion": "x"}\n' + GOOD
    )
    report = own_rows.read(path, strict=False)
    assert report.problems[-1] == (6, "the same as line 3: remove one") and len(report.rows) == 2
    words = lambda text: len(text.split())
    assert len(own_rows.read(path, strict=False, max_length=4, length=words).rows) == 2
    report = own_rows.read(path, strict=False, max_length=3, length=words)
    assert len(report.rows) == 1 and report.problems[1][1].startswith("length 4, more than 3")


def test_a_draw_depends_on_its_seed_and_none_is_refused():
    one, two = ([r["id"] for r in tasks.load("routing", "test", n=30, seed=s)] for s in (1, 2))
    assert one != two and len(set(one)) == len(set(two)) == 30
    for n in (0, -1):
        with pytest.raises(ValueError, match=f"n={n}: routing test has 640 rows"):
            tasks.load("routing", "test", n=n)


def test_a_chat_is_system_user_and_assistant():
    assert tasks.chat([{"prompt": "Hi", "completion": "Hello"}], "Be brief.") == [
        {
            "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
            "completion": [{"role": "assistant", "content": "Hello"}],
        }
    ]


def test_more_prose_than_there_is_is_refused_not_filled_with_empty_blocks():
    words = lambda text, add_special_tokens: {"input_ids": text.split()}
    with pytest.raises(ValueError, match=r"prose of 10000000 tokens was asked for; the texts hold \d+: ask for fewer"):
        tasks.prose(10**7, words)
    assert {len(block) for block in tasks.prose(2048, words)} == {256}


@pytest.mark.parametrize(
    "answer, accepted, right",
    [
        ("答案是巴黎。", "巴黎", True),
        ("首都是Paris。", "Paris", True),
        ("東京です", "東京", True),
        ("수도는 파리입니다", "파리", True),
        ("答案是巴西。", "巴黎", False),
        ("I like Parisian food", "Paris", False),
        ("13", "3", False),
    ],
)
def test_an_accepted_answer_is_found_within_a_script_without_spaces(answer, accepted, right):
    assert tasks.check_answer("general", answer, accepted, [accepted]).exact is right


WANTED = '{"queue": "K7", "priority": 1, "product": "N4"}'


@pytest.mark.parametrize(
    "answer, fenced, why",
    [
        (f"```json\n{WANTED}\n```", True, "right, but inside a code fence: ask for JSON without a fence"),
        (f"Here it is:\n```\n{WANTED}\n```\nAnything else?", True, "right, but inside a code fence"),
        (f"```json\n{WANTED.replace('K7', 'B2')}\n```", False, "inside a code fence: queue is 'B2', should be 'K7'"),
        ("```json\n{\n```", False, "inside a code fence: not JSON"),
        ("```", False, "not JSON"),
        (f"Here it is: {WANTED}", True, "right, but with words around it: ask for JSON alone"),
        (f"{WANTED}\n\nAnything else?", True, "right, but with words around it"),
        (f"{WANTED}\n{WANTED}", False, "not JSON"),
        (f"Here it is: {WANTED.replace('K7', 'B2')}", False, "not JSON: 'Here it is"),
        ("<think>\nIt is late {", False, "not JSON"),
        (f"<think>\nB2?\n</think>\n\n```json\n{WANTED}\n```", True, "right, but inside a code fence"),
    ],
)
def test_json_in_a_fence_is_wrong_and_told_apart(answer, fenced, why):
    verdict = tasks.check_answer("routing", answer, WANTED)
    assert not verdict.exact and not any(verdict.fields.values()) and verdict.fenced is fenced
    assert verdict.why.startswith(why)


def test_thoughts_before_an_answer_are_not_looked_at():
    assert tasks.check_answer("routing", f"<think>\nB2?\n</think>\n\n{WANTED}", WANTED).exact
    assert tasks.check_answer("sentiment", "<think>\n\n</think>\n\nGood.", "good").exact
    assert not tasks.check_answer("general", "<think>Paris? No.</think>Rome", "Paris", ["Paris"]).exact


@pytest.mark.parametrize(
    "more, reason",
    [
        ({"history": [["a", "b"]]}, "row 1: its 'history' would be lost; own_rows.as_chat"),
        ({"system": "Be brief."}, "its 'system' would be lost"),
        ({"completion": {"queue": "K7"}}, "'completion' is a dict, not text; json.dumps"),
        ({"prompt": [{"role": "user", "content": "a"}]}, "'prompt' is a list, not text"),
    ],
)
def test_a_chat_loses_nothing_of_a_row(more, reason):
    row = {"prompt": "a", "completion": "b"}
    assert len(tasks.chat([row | {"history": [], "system": None}], "s")) == 1
    with pytest.raises(ValueError, match=reason):
        tasks.chat([row, row | more], "s")


def test_own_rows_are_asked_for_their_columns():
    rows = [{"question": "a", "answer": "b"}]
    with pytest.raises(ValueError, match="row 0 lacks prompt, completion, it has question, answer"):
        tasks.chat(rows, "s")
    (chat,) = tasks.chat(rows, "s", columns=("question", "answer"))
    assert chat["prompt"][1]["content"] == "a" and chat["completion"][0]["content"] == "b"
    with pytest.raises(ValueError, match="no set 'mine': choose one of sentiment"):
        tasks.check_answer("mine", "a", "b")
