"""The twelve tasks and the four teachers: same tickets, right answers, splits by family, short prompts."""

import json

import pytest

from data import teachers
from helpers import company, difficulty, models, tasks


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(models.locate("").path)


@pytest.mark.parametrize("name", difficulty.NAMES)
def test_a_task_is_sound(name, tokenizer):
    task = difficulty.task(name)
    assert len(tokenizer(task["system"])["input_ids"]) <= 12
    assert max(len(tokenizer(r["completion"])["input_ids"]) for r in task["rows"][::17]) <= 20
    owner = {}
    for r in task["rows"]:
        assert owner.setdefault(r["family"], r["split"]) == r["split"] and r["prompt"].strip() and r["completion"]
    answers = {r["completion"] for r in task["rows"]}
    kind, _, knob = name.partition("-")
    if kind == "codes":
        assert len(answers) == int(knob) and all(a in task["rules"] for a in answers)


def test_pairs_share_their_tickets():
    for known, opaque in (("names-8", "codes-8"), ("routing_words", "routing")):
        a, b = difficulty.task(known)["rows"], difficulty.task(opaque)["rows"]
        assert [r["prompt"] for r in a] == [r["prompt"] for r in b] and a[0]["completion"] != b[0]["completion"]
    assert difficulty.task("routing")["rows"][7]["completion"] == tasks.load("routing")[7]["completion"]
    words = difficulty.task("names-8")["rows"][5]
    assert company.QUEUES[words["completion"]] == difficulty.task("codes-8")["rows"][5]["completion"]


def test_sixteen_codes_are_the_queue_and_whether_it_is_urgent():
    assert len(set(difficulty.SIXTEEN.values())) == 16
    for whole, one in zip(difficulty.task("routing")["rows"][:50], difficulty.task("codes-16")["rows"][:50]):
        answer = json.loads(whole["completion"])
        queue = next(q for q, c in company.QUEUES.items() if c == answer["queue"])
        assert one["completion"] == difficulty.SIXTEEN[queue, answer["priority"] == 1]


def test_every_teacher_tells_the_same_three_things():
    rows = tasks.load("routing", "train", n=400, seed=0)
    for pick in (0, -1):
        words = {name: options[pick] for name, options in teachers.wording().items()}
        for teacher in teachers.TEACHERS:
            for row in rows:
                assert teachers.read_answer(teachers.teach(row, teacher, words)) == json.loads(row["completion"])
    with pytest.raises(ValueError, match="no teacher 'x'"):
        teachers.teach(rows[0], "x")


def test_the_logs_are_many_and_whole():
    lines = teachers.wording()["log"]
    assert len(lines) == len(set(lines)) >= 40
    for line in lines:
        assert all(line.count("{" + slot + "}") >= 1 for slot in ("queue", "priority", "product")), line
    used = {teachers.teach(r, "raw logs")[:6] for r in tasks.load("routing", "train", n=300)}
    assert len(used) > 30
    assert all(len(options) == 4 for name, options in teachers.wording().items() if name != "log")


def test_an_answer_is_read_from_what_it_says():
    assert teachers.read_answer("K7 then X9, N4 and G7, 3 or 1") == {"queue": "K7", "priority": 3, "product": "N4"}
    assert teachers.read_answer('{"why":"level 2","queue":"K7","priority":1}') == {"queue": "K7", "priority": 1}
    assert teachers.read_answer("12 of 31, X99, n4") == {}


def test_a_policy_prompt_holds_its_own_rules_and_no_other():
    from data import make_data

    for n in (1, 3, 8, 10):
        said = difficulty.task(f"policy-{n}")["rules"]
        assert [rule in said for rule in make_data.RULES[:11]] == [i < n for i in range(len(make_data.RULES[:11]))]


def test_the_first_code_of_a_pair_is_the_urgent_one():
    import re

    task = difficulty.task("codes-16")
    pairs = {q: (first, second) for first, second, q in re.findall(r"(\w\d) or (\w\d) \((\w+):", task["rules"])}
    assert len(pairs) == 8
    for whole, one in zip(difficulty.task("routing_words")["rows"][:50], task["rows"][:50]):
        answer = json.loads(whole["completion"])
        assert one["completion"] == pairs[answer["queue"]][answer["priority"] != "urgent"]


def test_sizes_and_system_prompts_are_those_of_the_task():
    assert sum(r["split"] == "train" for r in difficulty.task("extract")["rows"]) == 4000
    assert difficulty.task("names-8")["system"] == "Tallowmere desk. Route the ticket: one queue."
    assert difficulty.task("codes-8")["system"] == "Tallowmere desk. Route the ticket: one code."
