"""The data keeps its promises: splits by family, no near-duplicate across them, labels by the stated rules."""

import json
import re

import make_data
import pytest

from helpers import tasks

SETS = list(make_data.FILES)
MASKS = sorted(
    {w.lower() for name, plural, _ in make_data.PRODUCTS.values() for w in [*name.split(), plural]},
    key=len,
    reverse=True,
)


@pytest.mark.parametrize("name", SETS)
def test_rebuild_is_byte_for_byte(name):
    assert make_data.render(make_data.FILES[name]()) == (make_data.HERE / f"{name}.jsonl").read_bytes()


@pytest.mark.parametrize("name", SETS)
def test_splits_go_by_family(name):
    owner = {}
    for row in tasks.load(name):
        assert owner.setdefault(row["family"], row["split"]) == row["split"], row["family"]


@pytest.mark.parametrize("name", SETS)
def test_ids_are_unique_and_no_text_twice_in_a_split(name):
    rows = tasks.load(name)
    assert len({r["id"] for r in rows}) == len(rows)
    assert len({(r["split"], r["prompt"]) for r in rows}) == len(rows)


def shingles(text: str) -> set:
    """Word 3-grams with numbers, codes and names masked."""
    words = re.findall(r"[a-z]+|#", re.sub(r"\b(tm[ -]?)?\d+\S*", "#", text.lower()))
    words = ["@" if w in MASKS else w for w in words]
    return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


@pytest.mark.parametrize("name", ["sentiment", "extract", "routing", "policy", "tone", "general"])
def test_no_near_duplicate_across_splits(name):
    """Jaccard >= 0.7 on masked word 3-grams is a failure. MinHash finds candidates well below it; they are then counted exactly."""
    from datasketch import MinHash, MinHashLSH

    def minhash(grams):
        m = MinHash(num_perm=64, seed=1)
        m.update_batch([" ".join(g).encode() for g in grams])
        return m

    unique = {}
    for row in tasks.load(name):  # rows that mask to the same grams need one look
        unique.setdefault((row["split"], frozenset(shingles(row["prompt"]))), row["id"])
    index, kept = MinHashLSH(threshold=0.5, num_perm=64), {}
    items = [(split, grams, id_, minhash(grams)) for (split, grams), id_ in unique.items()]
    for split, grams, id_, m in items:
        if split != "train":
            index.insert(id_, m)
            kept[id_] = (split, grams)
    compared = 0
    for split, grams, id_, m in items:
        for other in index.query(m):
            if kept[other][0] != split:
                compared += 1
                jaccard = len(grams & kept[other][1]) / len(grams | kept[other][1])
                assert jaccard < 0.7, f"{id_} and {other}: {jaccard:.2f}"
    assert len(kept) > 20  # the index held something to compare with


def test_the_duplicate_detector_detects():
    a = "The Brook kettle from order TM-4821 hums all night and I cannot sleep"
    b = "The Gale fan from order 1234 hums all night and I cannot sleep"
    assert len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b)) >= 0.7


def test_routing_has_enough_families():
    rows = tasks.load("routing")
    for queue in make_data.QUEUES:
        mine = {r["family"]: r["split"] for r in rows if r["family"].startswith(queue + "-")}
        counts = {s: sum(v == s for v in mine.values()) for s in make_data.SPLITS}
        assert counts["train"] >= 18 and counts["valid"] >= 4 and counts["test"] >= 8, (queue, counts)
    assert len({r["family"] for r in rows if r["split"] == "test"}) >= 60


def test_routing_labels_follow_the_tables():
    for row in tasks.load("routing"):
        answer, queue = json.loads(row["completion"]), row["family"].rsplit("-", 1)[0]
        assert answer["queue"] == make_data.QUEUES[queue]
        kind = next(k for k, v in make_data.PRODUCTS.items() if v[2] == answer["product"])
        name, plural, _ = make_data.PRODUCTS[kind]
        assert any(w.lower() in row["prompt"].lower() for w in (kind, plural, name.split()[0])), row["prompt"]


def test_priority_follows_the_clause():
    """Every row carries a clause of its own priority's section, or, for the third, none; and none of another's."""

    def pattern(line):  # any expansion of the line, as it stands in a ticket
        parts = re.split(r"\[([^\]]*)\]", line.rstrip(".!? "))
        options = [
            "(" + "|".join(map(re.escape, p.split("|"))) + ")" if i % 2 else re.escape(p) for i, p in enumerate(parts)
        ]
        return re.compile("".join(options).replace(r"\ ", r"\s*"), re.I)

    wording = make_data.read_wording("urgency")
    patterns = {make_data.PRIORITIES[p][0]: [pattern(line) for line in lines] for p, lines in wording.items()}
    for row in tasks.load("routing", "test") + tasks.load("routing", "valid"):
        answer = json.loads(row["completion"])["priority"]
        found = {level for level, some in patterns.items() if any(p.search(row["prompt"]) for p in some)}
        assert found == {answer} or (answer == 3 and not found), (row["id"], found, answer)


def test_the_two_namings_differ_in_names_alone():
    for codes, words in zip(tasks.load("routing"), tasks.load("routing_words")):
        assert codes["prompt"] == words["prompt"]
        c, w = json.loads(codes["completion"]), json.loads(words["completion"])
        assert c["queue"] == make_data.QUEUES[w["queue"]] and c["product"] == make_data.PRODUCTS[w["product"]][2]
        assert c["priority"] == {name: code for code, name in make_data.PRIORITIES.values()}[w["priority"]]


def test_extract_labels_are_in_the_text():
    words = dict(zip(make_data.NUMBER_WORDS, range(2, 10)))
    for row in tasks.load("extract"):
        answer, text = json.loads(row["completion"]), row["prompt"]
        assert answer, row["id"]
        if "order" in answer:
            assert answer["order"] in text
        if "amount" in answer:
            assert re.search(rf"\b{answer['amount']}\b", text)
        if "count" in answer:
            others = [answer.get("order"), str(answer.get("amount")), str(int(answer.get("date", "0000")[2:])), "00"]
            digits = [n for n in re.findall(r"\d+", text)]
            for other in others:
                if other in digits:
                    digits.remove(other)
            spelled = [str(n) for w, n in words.items() if re.search(rf"\b{w}\b", text, re.I)]
            assert str(answer["count"]) in digits + spelled, text
        if "date" in answer:
            month, day = make_data.MONTHS[int(answer["date"][:2]) - 1], int(answer["date"][2:])
            assert month[:3] in text and re.search(rf"\b{day}(st|nd|rd|th)?\b", text), text


def test_policy_labels_and_facts():
    by_split = {}
    for row in tasks.load("policy"):
        facts = row["facts"]
        assert json.loads(row["completion"]) == make_data.policy_decision(facts)
        assert row["prompt"].startswith(f"[day {facts['day']}, ${facts['paid']}")
        assert row["family"].rsplit("-", 1)[0] == facts["reason"]
        by_split.setdefault(row["split"], set()).add(make_data.fact_tuple(facts, make_data.N_RULES))
    assert (
        not by_split["train"] & by_split["test"]
        and not by_split["train"] & by_split["valid"]
        and not by_split["valid"] & by_split["test"]
    )


def case(**changes):
    facts = {
        "reason": "mind_sealed",
        "day": 10,
        "paid": 50,
        "sale": False,
        "member": False,
        "returns": 0,
        "gift": False,
        "kind": "fan",
    }
    return facts | changes


@pytest.mark.parametrize(
    "changes, rules, expected",
    [
        ({}, 8, ("refund", "you", "desk")),
        ({"day": 31}, 8, ("refuse", "you", "desk")),
        ({"day": 31}, 1, ("refund", "you", "desk")),  # without rule 2 there is no limit
        ({"day": 60, "member": True}, 8, ("refund", "you", "desk")),
        ({"day": 61, "member": True}, 8, ("refuse", "you", "desk")),
        ({"day": 31, "member": True}, 5, ("refuse", "you", "desk")),  # members count from rule 6 on
        ({"reason": "mind_opened", "day": 14}, 8, ("refund", "you", "desk")),
        ({"reason": "mind_opened", "day": 15}, 8, ("refuse", "you", "desk")),
        ({"sale": True}, 8, ("voucher", "you", "desk")),
        ({"sale": True}, 4, ("refund", "you", "desk")),
        ({"paid": 200}, 8, ("refund", "you", "lead")),
        ({"paid": 200, "day": 99}, 8, ("refuse", "you", "desk")),
        ({"returns": 3}, 8, ("voucher", "you", "lead")),
        ({"returns": 3}, 7, ("refund", "you", "desk")),
        ({"reason": "broken", "day": 30}, 8, ("swap", "us", "desk")),
        ({"reason": "broken", "day": 31}, 8, ("repair", "us", "desk")),
        ({"reason": "broken", "day": 731}, 8, ("refuse", "you", "desk")),
        ({"reason": "broken", "day": 31}, 3, ("repair", "you", "desk")),  # we pay from rule 4 on
        ({"reason": "wrong_item", "day": 70}, 8, ("swap", "us", "desk")),
        ({"gift": True}, 9, ("voucher", "us", "desk")),
        ({"gift": True}, 8, ("refund", "you", "desk")),
        ({"reason": "mind_opened", "day": 3, "kind": "kettle"}, 10, ("refuse", "you", "desk")),
        ({"reason": "mind_opened", "day": 3, "kind": "kettle"}, 9, ("refund", "you", "desk")),
    ],
)
def test_policy_rules_one_by_one(changes, rules, expected):
    assert tuple(make_data.policy_decision(case(**changes), rules).values()) == expected


@pytest.mark.parametrize("rules", [1, 4, 10])
def test_policy_knob_makes_data(rules):
    rows = make_data.policy_rows(rules, {"train": 60, "valid": 10, "test": 20})
    assert len(rows) == 90 and all(
        json.loads(r["completion"]) == make_data.policy_decision(r["facts"], rules) for r in rows
    )


def test_every_label_is_frequent_enough_to_learn():
    rows = [json.loads(r["completion"]) for r in tasks.load("policy", "train")]
    assert {r["do"] for r in rows} == {"refund", "voucher", "swap", "repair", "refuse"}
    for value in ("refund", "voucher", "swap", "repair", "refuse"):
        assert sum(r["do"] == value for r in rows) > 200


@pytest.mark.parametrize("name", ["sentiment", "extract", "routing", "routing_words", "policy"])
def test_length_budget(name, bundled):
    """Whole rows of 96 tokens, answers of 20, system prompts of 12 at most: minutes hang on it."""
    tokenizer, task = bundled[1], tasks.TASKS[name]
    assert len(tokenizer(task.system)["input_ids"]) <= 12
    rows = tasks.load(name)
    texts = [
        tokenizer.apply_chat_template(c["prompt"] + c["completion"], tokenize=False)
        for c in tasks.chat(rows, task.system)
    ]
    lengths = [len(i) for i in tokenizer(texts)["input_ids"]]
    answers = [len(i) for i in tokenizer([r["completion"] for r in rows])["input_ids"]]
    tickets = sorted(len(i) for i in tokenizer([r["prompt"] for r in rows])["input_ids"])
    assert (
        sum(n > 96 for n in lengths) <= 2 and max(lengths) <= 98
    )  # two of 4,960 routing rows have 98; the card says so
    assert max(answers) <= 20, max(answers)
    assert tickets[len(rows) // 2] <= 40 and tickets[95 * len(rows) // 100] <= 80


def test_card_counts_are_true():
    """Every `| set | rows | ...` line of the data card against the files."""
    card = (make_data.HERE / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(\w+)` \|" + r" (\d+) \|" * 5, card, re.M)
    lines = {name: [int(n) for n in numbers] for name, *numbers in found}
    assert set(lines) == set(SETS)
    for name, (total, train, valid, test, families) in lines.items():
        rows = tasks.load(name)
        counted = [
            len(rows),
            *(sum(r["split"] == s for r in rows) for s in make_data.SPLITS),
            len({r["family"] for r in rows}),
        ]
        assert counted == [total, train, valid, test, families], name


def test_wording_has_no_open_slots_and_no_leftover_brackets():
    for name in SETS:
        for row in tasks.load(name):
            text = row["prompt"].split("] ", 1)[-1] if name == "policy" else row["prompt"]
            assert not re.search(r"[{}\[\]|]", text), (row["id"], text)


def test_broken_wording_file_names_its_line(tmp_path, monkeypatch):
    (tmp_path / "wording").mkdir()
    (tmp_path / "wording" / "bad.txt").write_text("## a\nfine [x|y]\nbroken [x|y\n")
    monkeypatch.setattr(make_data, "HERE", tmp_path)
    with pytest.raises(ValueError, match="bad.txt, line 3"):
        make_data.read_wording("bad")
