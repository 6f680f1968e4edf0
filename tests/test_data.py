"""The data keeps its promises: splits by family, no near-duplicate across them, labels by the stated rules."""

import collections
import json
import re

import pytest

from data import make_data
from helpers import company, tasks

SETS = [name for name in make_data.FILES if name != "handbook_articles"]  # texts to read, not rows to answer
SPLIT_BY_FAMILY = [name for name in SETS if name != "handbook"]
MASKS = sorted(
    {w.lower() for name, plural, _ in company.PRODUCTS.values() for w in [*name.split(), plural]},
    key=len,
    reverse=True,
)


@pytest.mark.parametrize("name", list(make_data.FILES))
def test_rebuild_is_byte_for_byte(name):
    assert make_data.render(make_data.FILES[name]()) == (make_data.HERE / f"{name}.jsonl").read_bytes()


@pytest.mark.parametrize("name", SPLIT_BY_FAMILY)
def test_splits_go_by_family(name):
    """But for the handbook: a fact must be trained to be recalled, so its articles stand in all three splits.

    What is new in its test split is the wording of the questions; `test_no_handbook_question_in_two_splits` sees to it.
    """
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


@pytest.mark.parametrize("name", ["sentiment", "extract", "routing", "policy", "tone", "general", "handbook"])
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
    for queue in company.QUEUES:
        mine = {r["family"]: r["split"] for r in rows if r["family"].startswith(queue + "-")}
        counts = {s: sum(v == s for v in mine.values()) for s in make_data.SPLITS}
        assert counts["train"] >= 18 and counts["valid"] >= 4 and counts["test"] >= 8, (queue, counts)
    assert len({r["family"] for r in rows if r["split"] == "test"}) >= 60


def test_routing_labels_follow_the_tables():
    for row in tasks.load("routing"):
        answer, queue = json.loads(row["completion"]), row["family"].rsplit("-", 1)[0]
        assert answer["queue"] == company.QUEUES[queue]
        kind = next(k for k, v in company.PRODUCTS.items() if v[2] == answer["product"])
        name, plural, _ = company.PRODUCTS[kind]
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
    patterns = {company.PRIORITIES[p][0]: [pattern(line) for line in lines] for p, lines in wording.items()}
    for row in tasks.load("routing", "test") + tasks.load("routing", "valid"):
        answer = json.loads(row["completion"])["priority"]
        found = {level for level, some in patterns.items() if any(p.search(row["prompt"]) for p in some)}
        assert found == {answer} or (answer == 3 and not found), (row["id"], found, answer)


def test_the_two_namings_differ_in_names_alone():
    for codes, words in zip(tasks.load("routing"), tasks.load("routing_words")):
        assert codes["prompt"] == words["prompt"]
        c, w = json.loads(codes["completion"]), json.loads(words["completion"])
        assert c["queue"] == company.QUEUES[w["queue"]] and c["product"] == company.PRODUCTS[w["product"]][2]
        assert c["priority"] == {name: code for code, name in company.PRIORITIES.values()}[w["priority"]]


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
    assert set(lines) == set(make_data.FILES)
    for name, (total, train, valid, test, families) in lines.items():
        if name == "handbook_articles":  # no split: an article is its own family
            rows = [{"family": article["id"], "split": None} for article in tasks.articles()]
        else:
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


# ---------------------------------------------------------------- handbook

VERSIONS = {1: "completion", 2: "answer_v2"}


def holds(text: str, words: str) -> int:
    """How often `words` stand in `text` as whole words."""
    return len(re.findall(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.I))


def handbook_facts() -> dict:
    """`{fact: one of its rows}`."""
    return {row["fact"]: row for row in tasks.load("handbook") if row["fact"]}


def test_no_handbook_question_in_two_splits():
    owner = {}
    for row in tasks.load("handbook"):
        question = " ".join(re.findall(r"\w+", row["prompt"].lower()))
        assert owner.setdefault(question, row["id"]) == row["id"], row["prompt"]


def test_handbook_counts():
    rows, facts = tasks.load("handbook"), handbook_facts()
    assert len(tasks.articles()) == 60 and len(facts) == 120
    assert {fact[:3] for fact in facts} == {article["id"] for article in tasks.articles()}
    for split, each, missing in (("train", 4, 16), ("valid", 1, 8), ("test", 4, 32)):
        mine = [r for r in rows if r["split"] == split]
        per_fact = collections.Counter(r["fact"] for r in mine)
        assert per_fact.pop("") == missing and per_fact == dict.fromkeys(facts, each)
    changed = [fact for fact, row in facts.items() if row["completion"] != row["answer_v2"]]
    assert len(changed) >= 36 and len({fact[:3] for fact in changed}) >= 30


def test_handbook_rows_agree_with_their_fact():
    """All nine questions of a fact have the same answers, the family is the article, and missing ones have none."""
    facts = handbook_facts()
    for row in tasks.load("handbook"):
        if row["article"]:
            same = facts[row["fact"]]
            assert row["family"] == row["article"] == row["fact"][:3]
            assert (row["completion"], row["answer_v2"]) == (same["completion"], same["answer_v2"])
        else:
            assert row["family"].startswith("missing-") and row["fact"] == ""
            assert row["completion"] == row["answer_v2"] == make_data.NO_ANSWER


@pytest.mark.parametrize("version", [1, 2])
def test_articles_name_their_answers_once(version):
    texts = {article["id"]: article["text"] for article in tasks.articles(version)}
    for fact, row in handbook_facts().items():
        assert holds(texts[row["article"]], row[VERSIONS[version]]) == 1, (fact, texts[row["article"]])
    for number, text in texts.items():
        assert 25 <= len(text.split()) <= 50 and not re.search(r"[{}]", text), (number, text)


def test_version_two_differs_in_the_changed_facts_alone():
    changed = {r["article"] for r in handbook_facts().values() if r["completion"] != r["answer_v2"]}
    assert changed == {a["id"] for a, b in zip(tasks.articles(1), tasks.articles(2), strict=True) if a != b}


def test_handbook_lengths(bundled):
    """Answers of 8 tokens, articles of 80, the system prompt of 12 at most."""
    length = lambda text: len(bundled[1](text)["input_ids"])
    assert length(tasks.TASKS["handbook"].system) <= 12
    for row in handbook_facts().values():
        assert max(length(row["completion"]), length(row["answer_v2"])) <= 8, row["fact"]
    for version in VERSIONS:
        assert max(length(article["text"]) for article in tasks.articles(version)) <= 80


@pytest.mark.parametrize("column", VERSIONS.values())
def test_handbook_answers_cannot_be_guessed(column):
    """No constant answer scores well, and no question holds its own answer."""
    rows = [r for r in tasks.load("handbook") if r["article"]]
    asked = [r[column] for r in rows if r["split"] == "test"]
    assert collections.Counter(asked).most_common(1)[0][1] < 0.05 * len(asked)
    for row in rows:
        assert not holds(row["prompt"], row[column]), row["prompt"]


BLOCK = ["## A01 Fan", "T: It has {1} and {2}.", "1: old => new", *["Q: a?"] * 9, "2: this", *["Q: b?"] * 9]


@pytest.mark.parametrize(
    "change, fault",
    [
        ({0: "text"}, "bad.txt, line 2: text before the first"),
        ({0: "## Fan"}, "block of line 2 .*expected '## A01 title'"),
        ({1: "T: It has {1}."}, "line 2 .A01 Fan.: the text must name [{]2} once"),
        ({1: "T: It has {1} and {1} and {2}."}, "the text must name [{]1} once"),
        ({1: "It has {1} and {2}."}, "expected 'T: text'"),
        ({2: "1: same => same"}, "the same in both versions"),
        ({2: "old"}, "expected '1: answer'"),
        ({3: "a?"}, "expected 'Q: question', found 'a[?]'"),
        ({21: ""}, "20 lines, expected 21"),
        ({13: "2: this"}, "expected 'Q: question', found '2: this'"),
    ],
)
def test_broken_handbook_names_its_block_and_the_fault(change, fault, tmp_path, monkeypatch):
    (tmp_path / "wording").mkdir()
    lines = [change.get(place, line) for place, line in enumerate(BLOCK)]
    missing = ["## missing", *["Q: c?"] * sum(make_data.MISSING.values())]
    (tmp_path / "wording" / "bad.txt").write_text("\n".join(["# a comment", *lines, "", *missing]), encoding="utf-8")
    monkeypatch.setattr(make_data, "HERE", tmp_path)
    with pytest.raises(ValueError, match=fault):
        make_data.read_handbook("bad")


@pytest.mark.parametrize(
    "blocks, missing, fault", [(1, 55, "55 questions under '## missing', expected 56"), (2, 56, "A01 stands twice")]
)
def test_a_whole_handbook_is_counted(blocks, missing, fault, tmp_path, monkeypatch):
    (tmp_path / "wording").mkdir()
    text = "\n".join(BLOCK * blocks + ["## missing", *["Q: c?"] * missing])
    (tmp_path / "wording" / "bad.txt").write_text(text, encoding="utf-8")
    monkeypatch.setattr(make_data, "HERE", tmp_path)
    with pytest.raises(ValueError, match=fault):
        make_data.read_handbook("bad")
