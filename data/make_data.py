"""Build every data set of the course from the hand-written wording, byte for byte the same each time.

    python -m data.make_data            write data/*.jsonl
    python -m data.make_data --check    say whether the files on disk are what this script writes

The wording in ``wording/*.txt`` was written by hand for this course: one line is one *family*, one scenario in one
voice. ``[a|b]`` is a choice, ``{slot}`` is filled here. Splits go by family, so a test row's wording was never trained on;
the handbook alone has its families, the articles, in every split, with other questions in each.
The functions below also make other sizes and difficulties: fewer queues, telling names, one to ten policy rules.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path

from helpers.company import PRIORITIES, PRODUCTS, QUEUES

HERE = Path(__file__).resolve().parent
SPLITS = ("train", "valid", "test")

MAX_CHARACTERS = 205  # of a ticket: keeps the whole row within 96 tokens (a test counts them)


# ---------------------------------------------------------------- wording files


def read_wording(name: str) -> dict[str, list[str]]:
    """`{section: [line, ...]}` of `wording/<name>.txt`; ValueError names the file, the line and the fault."""
    sections: dict[str, list[str]] = {}
    current = None
    path = HERE / "wording" / f"{name}.txt"
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.strip()
        if line.startswith("## "):
            current = sections.setdefault(line[3:].strip(), [])
        elif line and not line.startswith("# "):
            if current is None:
                raise ValueError(f"{path.name}, line {number}: text before the first '## section'")
            if line.count("[") != line.count("]") or re.search(r"\[[^\]]*\[", line):
                raise ValueError(f"{path.name}, line {number}: unbalanced or nested brackets: {line[:60]}")
            current.append(line)
    return sections


def expand(line: str, rng: random.Random, slots: dict[str, str]) -> str:
    """Choose one option of each `[a|b]`, fill the slots, tidy spaces and capitals.

    >>> expand("[my|the] {product} hums", random.Random(1), {"product": "Gale fan"})
    'my Gale fan hums'
    """
    text = re.sub(r"\[([^\]]*)\]", lambda m: rng.choice(m.group(1).split("|")), line)
    text = re.sub(r"\{(\w+)\}", lambda m: slots[m.group(1)], text)
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r" ([,.;:?!])", r"\1", text)
    return text


def sentence(text: str) -> str:
    """End with a mark, so that another sentence can follow."""
    return text if text[-1] in ".?!" else text + "."


def split_families(lines: list[str], counts: tuple[int, int, int], key: str) -> dict[str, list[tuple[int, str]]]:
    """Shuffle the families of one section once and deal them to train, valid, test: `{split: [(index, line)]}`."""
    if len(lines) < sum(counts):
        raise ValueError(f"{key}: {len(lines)} families, but the split needs {sum(counts)}")
    order = list(enumerate(lines))
    random.Random(f"split {key}").shuffle(order)
    train, valid = counts[0] + len(lines) - sum(counts), counts[1]  # spare families go to train
    return {"train": order[:train], "valid": order[train : train + valid], "test": order[train + valid :]}


def record(task: str, split: str, number: int, family: str, **texts) -> dict:
    """One line of a file: id, family, split, then the texts."""
    return {"id": f"{task}-{split}-{number:04d}", "family": family, "split": split, **texts}


def dumps(answer: dict) -> str:
    """JSON without spaces: every token of an answer is paid for."""
    return json.dumps(answer, separators=(",", ":"))


# ---------------------------------------------------------------- routing

ROUTING_SIZES = {"train": 4000, "valid": 320, "test": 640}


def product_slots(kind: str, rng: random.Random) -> dict[str, str]:
    """How a customer calls the product: catalogue name, kind, or range name alone."""
    name, plural, _ = PRODUCTS[kind]
    brand = name.split()[0]
    called = rng.choices([name, kind, brand], weights=[50, 35, 15])[0]
    called_many = rng.choices([f"{brand} {plural}", plural], weights=[60, 40])[0]
    return {
        "product": called,
        "products": called_many,
        "n": str(rng.randint(10, 200)),
        "order": str(rng.randint(1000, 9999)),
    }


def routing_rows(telling: bool = False, n_queues: int = 8, sizes: dict[str, int] | None = None) -> list[dict]:
    """Tickets with queue, priority and product; `telling=True` answers with names a reader understands.

    Queues are balanced in every split; the texts are the same for both namings and for every `sizes`' prefix.
    """
    sizes = sizes or ROUTING_SIZES
    bodies, cues = read_wording("routing"), read_wording("urgency")
    queues = list(QUEUES)[:n_queues]
    more = read_wording("routing_train")  # written without sight of the first file: train only
    body_split = {q: split_families(bodies[q], (20, 4, 8), f"routing {q}") for q in queues}
    for q in queues:
        body_split[q]["train"] += list(enumerate(more[q], len(bodies[q])))
    cue_split = {p: split_families(cues[p], (26, 5, 11), f"urgency {p}") for p in PRIORITIES}
    rows = []
    for split in SPLITS:
        rng, seen, turn = random.Random(f"routing {split}"), set(), {q: 0 for q in queues}
        for number in range(sizes[split]):
            queue = queues[number % len(queues)]
            families = body_split[queue][split]
            index, line = families[turn[queue] % len(families)]  # families in turn, so that each has equally many rows
            turn[queue] += 1
            while True:
                row, text = routing_ticket(queue, line, cue_split, split, rng, telling)
                if text not in seen and len(text) <= MAX_CHARACTERS:
                    break
            seen.add(text)
            task = "routing_words" if telling else "routing"
            rows.append(record(task, split, number, f"{queue}-{index:02d}", prompt=text, completion=dumps(row)))
    return rows


def routing_ticket(queue, line, cue_split, split, rng, telling) -> tuple[dict, str]:
    """One answer and its ticket: the body, with the clause that shows the priority before or after it."""
    kind = rng.choice(list(PRODUCTS))
    level = rng.choices(list(PRIORITIES), weights=[30, 30, 40])[0]
    body = sentence(expand(line, rng, product_slots(kind, rng)))
    cue = (
        ""
        if level == "p3" and rng.random() < 0.5
        else sentence(expand(rng.choice(cue_split[level][split])[1], rng, {}))
    )
    lower = body[0].islower()  # a ticket typed without capitals stays so
    parts = [body, cue] if rng.random() < 0.7 else [cue, body]
    text = " ".join(p for p in parts if p)
    if lower:
        text = text[0].lower() + text[1:] if not text.startswith("I ") else text
    return routing_answer(queue, level, kind, telling), text


def routing_answer(queue: str, level: str, kind: str, telling: bool) -> dict:
    """The record the desk's program wants.

    >>> routing_answer("delivery", "p1", "kettle", telling=False)
    {'queue': 'K7', 'priority': 1, 'product': 'N4'}
    """
    code, name = PRIORITIES[level]
    if telling:
        return {"queue": queue, "priority": name, "product": kind}
    return {"queue": QUEUES[queue], "priority": code, "product": PRODUCTS[kind][2]}


def routing_long_rows(n: int = 100) -> list[dict]:
    """Rambling tickets over the test families: asides that ask for nothing around one open matter."""
    bodies, cues, rambles = read_wording("routing"), read_wording("urgency"), read_wording("rambles")
    cue_split = {p: split_families(cues[p], (26, 5, 11), f"urgency {p}") for p in PRIORITIES}
    test = [(q, i, line) for q in QUEUES for i, line in split_families(bodies[q], (20, 4, 8), f"routing {q}")["test"]]
    rng, rows = random.Random("routing long"), []
    order = test * (n // len(test) + 1)
    rng.shuffle(order)
    for number, (queue, index, line) in enumerate(order[:n]):
        answer, ticket = routing_ticket(queue, line, cue_split, "test", rng, False)
        mine = next(k for k, v in PRODUCTS.items() if v[2] == answer["product"])
        asides = rng.sample(rambles["aside"], rng.choice([2, 3]))
        others = [k for k in PRODUCTS if k != mine]
        talk = [sentence(expand(a, rng, product_slots(rng.choice(others), rng))) for a in asides]
        place = rng.randint(1, len(talk))
        middle = talk[:place] + [ticket] + talk[place:]
        text = " ".join(
            [expand(rng.choice(rambles["opening"]), rng, {}), *middle, expand(rng.choice(rambles["closing"]), rng, {})]
        )
        rows.append(
            record("routing_long", "test", number, f"{queue}-{index:02d}", prompt=text, completion=dumps(answer))
        )
    return rows


# ---------------------------------------------------------------- extract

MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December"]  # fmt: skip
EXTRACT_SIZES = {"train": 1600, "valid": 200, "test": 500}
NUMBER_WORDS = ["two", "three", "four", "five", "six", "seven", "eight", "nine"]


def extract_rows(sizes: dict[str, int] | None = None) -> list[dict]:
    """Tickets and the fields they mention, in the company's form: order "4821", date "0314" (month, day), count, amount."""
    sizes = sizes or EXTRACT_SIZES
    families = split_families(read_wording("extract")["ticket"], (50, 12, 22), "extract")
    rows = []
    for split in SPLITS:
        rng, seen = random.Random(f"extract {split}"), set()
        for number in range(sizes[split]):
            index, line = families[split][number % len(families[split])]
            while True:
                slots, values = extract_slots(rng)
                text = expand(
                    line, rng, slots | product_slots(rng.choice(list(PRODUCTS)), rng) | {"order": slots["order"]}
                )
                if text not in seen and len(text) <= MAX_CHARACTERS:
                    break
            seen.add(text)
            answer = {k: v for k, v in values.items() if "{" + ("qty" if k == "count" else k) + "}" in line}
            rows.append(record("extract", split, number, f"ticket-{index:02d}", prompt=text, completion=dumps(answer)))
    return rows


def extract_slots(rng: random.Random) -> tuple[dict, dict]:
    """`(as a customer writes it, as the company keeps it)`."""
    order, month, day = str(rng.randint(1000, 9999)), rng.randint(1, 12), rng.randint(1, 28)
    count, amount = rng.randint(2, 9), rng.randint(12, 99)
    ending = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd"}.get(day, "th")
    name = MONTHS[month - 1]
    written = {
        "order": rng.choice([order, f"TM-{order}", f"no. {order}", f"#{order}", f"TM {order}"]),
        "date": rng.choice(
            [f"{day} {name}", f"{name} {day}{ending}", f"the {day}{ending} of {name}", f"{name[:3]} {day}"]
        ),
        "qty": rng.choice([str(count), NUMBER_WORDS[count - 2]]),
        "amount": rng.choice([f"${amount}", f"{amount} dollars", f"${amount}.00"]),
    }
    return written, {"order": order, "date": f"{month:02d}{day:02d}", "count": count, "amount": amount}


# ---------------------------------------------------------------- sentiment

SENTIMENT_SIZES = {"train": 800, "valid": 160, "test": 480}


def sentiment_rows(sizes: dict[str, int] | None = None) -> list[dict]:
    """Reviews and one word, good or bad."""
    sizes = sizes or SENTIMENT_SIZES
    wording = read_wording("sentiment")
    split_of = {s: split_families(wording[s], (22, 6, 12), f"sentiment {s}") for s in ("good", "bad")}
    rows = []
    for split in SPLITS:
        rng, seen = random.Random(f"sentiment {split}"), set()
        open_families = {s: list(split_of[s][split]) for s in split_of}  # a family leaves when its texts are used up
        for number in range(sizes[split]):
            label = ("good", "bad")[number % 2]
            while True:
                index, line = rng.choice(open_families[label])
                for _ in range(60):
                    if (text := expand(line, rng, product_slots(rng.choice(list(PRODUCTS)), rng))) not in seen:
                        break
                else:
                    open_families[label].remove((index, line))
                    continue
                break
            seen.add(text)
            rows.append(record("sentiment", split, number, f"{label}-{index:02d}", prompt=text, completion=label))
    return rows


# ---------------------------------------------------------------- policy

POLICY_SIZES = {"train": 4000, "valid": 320, "test": 640}
REASONS = ("mind_sealed", "mind_opened", "broken", "wrong_item")
N_RULES = 8
RULES = (  # the desk's rules in order; the knob applies the first k of them
    "1. A broken item is repaired, a wrong item swapped, a change of mind refunded; the customer pays the post; the desk decides.",
    "2. A change of mind is refused after 30 days sealed, after 14 days opened.",
    "3. A broken item is swapped within 30 days and refused after 730.",
    "4. We pay the post for broken and wrong items, unless refused.",
    "5. A sale item gives a voucher instead of a refund.",
    "6. For members rule 2 allows twice the days.",
    "7. From $200 on the lead decides, unless refused.",
    "8. With 3 or more returns this year a refund becomes a voucher and the lead decides, unless refused.",
    "9. A gift gives a voucher instead of a refund, and we pay the post.",
    "10. A change of mind on an opened kettle, grinder or blender is refused.",
)


def policy_decision(facts: dict, n_rules: int = N_RULES) -> dict:
    """The decision under the first `n_rules` of `RULES`.

    facts: reason (one of REASONS), day, paid, sale, member, returns, gift, kind (a key of PRODUCTS).

    >>> policy_decision(dict(reason="mind_opened", day=20, paid=84, sale=True, member=True, returns=0, gift=False, kind="fan"))
    {'do': 'voucher', 'post': 'you', 'by': 'desk'}
    """
    reason, mind = facts["reason"], facts["reason"].startswith("mind")
    do = "refund" if mind else "repair" if reason == "broken" else "swap"
    post, by = "you", "desk"
    on = lambda rule: n_rules >= rule  # noqa: E731
    if on(2) and mind:
        allowed = (30 if reason == "mind_sealed" else 14) * (2 if on(6) and facts["member"] else 1)
        do = "refuse" if facts["day"] > allowed else do
    if on(3) and reason == "broken":
        do = "swap" if facts["day"] <= 30 else "refuse" if facts["day"] > 730 else "repair"
    if on(10) and reason == "mind_opened" and facts["kind"] in ("kettle", "grinder", "blender"):
        do = "refuse"
    if do == "refuse":
        return {"do": do, "post": "you", "by": "desk"}
    if on(4) and not mind:
        post = "us"
    many = on(8) and facts["returns"] >= 3
    if do == "refund" and ((on(5) and facts["sale"]) or many or (on(9) and facts["gift"])):
        do = "voucher"
    if on(9) and facts["gift"] and mind:
        post = "us"
    if (on(7) and facts["paid"] >= 200) or many:
        by = "lead"
    return {"do": do, "post": post, "by": by}


def policy_facts(rng: random.Random) -> dict:
    """Random order facts, dense around the rules' limits."""
    reason = rng.choice(REASONS)
    day = (
        rng.randint(1, 75)
        if reason != "broken"
        else rng.choice([rng.randint(1, 60), rng.randint(61, 730), rng.randint(731, 999)])
    )
    return {
        "reason": reason, "day": day, "paid": rng.choice([rng.randint(20, 199), rng.randint(200, 380)]),
        "sale": rng.random() < 0.3, "member": rng.random() < 0.4, "returns": rng.choice([0, 0, 1, 2, 3, 4, 5]),
        "gift": rng.random() < 0.3, "kind": rng.choice(list(PRODUCTS)),
    }  # fmt: skip


def fact_tuple(facts: dict, n_rules: int) -> tuple:
    """What must not be equal across splits: every fact that the text shows."""
    shown = ("reason", "day", "paid", "sale", "member", "returns") + (("gift",) if n_rules >= 9 else ())
    return tuple(facts[k] for k in shown)


def policy_text(facts: dict, said: str, n_rules: int) -> str:
    """Order facts in one short line, then what the customer says."""
    flags = [k for k in ("sale", "member", "gift") if facts[k] and (k != "gift" or n_rules >= 9)]
    parts = [f"day {facts['day']}", f"${facts['paid']}", *flags, f"returns {facts['returns']}"]
    return f"[{', '.join(parts)}] {said}"


def policy_rows(n_rules: int = N_RULES, sizes: dict[str, int] | None = None) -> list[dict]:
    """Tickets with order facts, and the decision under the first `n_rules` rules. No fact tuple stands in two splits."""
    sizes = sizes or POLICY_SIZES
    wording = read_wording("policy")
    split_of = {r: split_families(wording[r], (12, 3, 5), f"policy {r}") for r in REASONS}
    owner: dict[tuple, str] = {}
    rows = []
    for split in ("test", "valid", "train"):  # the small splits first, so that a larger pool does not change them
        rng, turn = random.Random(f"policy {split}"), {r: 0 for r in REASONS}
        for number in range(sizes[split]):
            while True:
                facts = policy_facts(rng)
                if owner.setdefault(fact_tuple(facts, n_rules), split) == split:
                    break
            families = split_of[facts["reason"]][split]
            index, line = families[turn[facts["reason"]] % len(families)]
            turn[facts["reason"]] += 1
            said = expand(line, rng, product_slots(facts["kind"], rng))
            text = policy_text(facts, said, n_rules)
            rows.append(
                record(
                    "policy",
                    split,
                    number,
                    f"{facts['reason']}-{index:02d}",
                    prompt=text,
                    completion=dumps(policy_decision(facts, n_rules)),
                    facts=facts,
                )
            )
    order = {s: i for i, s in enumerate(SPLITS)}
    return sorted(rows, key=lambda r: (order[r["split"]], r["id"]))


# ---------------------------------------------------------------- general, tone


def general_rows() -> list[dict]:
    """Short everyday items: a third to choose on (valid), two thirds to report (test). Families are the sections' items themselves."""
    rows, counts = [], {"valid": 0, "test": 0}
    for section, lines in read_wording("general").items():
        order = list(enumerate(lines))
        random.Random(f"general {section}").shuffle(order)
        for place, (index, line) in enumerate(order):
            question, _, answers = line.partition(" | ")
            accepted = [a.strip() for a in answers.split(" / ")]
            split = "valid" if place < len(lines) // 3 else "test"
            rows.append(
                record(
                    "general",
                    split,
                    counts[split],
                    f"{section}-{index:02d}",
                    prompt=question.strip(),
                    completion=accepted[0],
                    accepted=accepted,
                )
            )
            counts[split] += 1
    return sorted(rows, key=lambda r: (r["split"] == "test", r["id"]))


def tone_rows() -> list[dict]:
    """Reply pairs: the desk's style (chosen) against an ordinary reply (rejected)."""
    files = [HERE / "wording" / f"{name}.txt" for name in ("tone", "tone_a", "tone_b", "tone_c", "tone_d")]
    text = "\n\n".join(file.read_text(encoding="utf-8") for file in files)
    blocks = [b for b in re.split(r"\n\s*\n", text) if re.search(r"^T: ", b, re.M)]
    order = list(range(len(blocks)))
    random.Random("tone").shuffle(order)
    rows = []
    for place, index in enumerate(order):
        split = "test" if place < len(blocks) // 5 else "valid" if place < 3 * len(blocks) // 10 else "train"
        texts = dict(re.findall(r"^([TCR]): (.*)$", blocks[index], re.M))
        rows.append(
            record(
                "tone", split, index, f"pair-{index:04d}", prompt=texts["T"], chosen=texts["C"], rejected=texts["R"]
            )
        )
    return sorted(rows, key=lambda r: (SPLITS.index(r["split"]), r["id"]))


# ---------------------------------------------------------------- handbook

QUESTIONS = {"train": 4, "valid": 1, "test": 4}  # of each fact, in the order of the wording file
MISSING = {"train": 16, "valid": 8, "test": 32}  # questions that no article answers
NO_ANSWER = "not in the handbook"


def read_handbook(name: str = "handbook") -> tuple[list[dict], list[str]]:
    """`(articles, questions without an answer)` of `wording/<name>.txt`; ValueError names the file, the line, the fault.

    An article: id, title, text with `{1}` and `{2}`, facts: two dicts of old, new and nine questions.
    """
    path = HERE / "wording" / f"{name}.txt"
    articles, missing = [], []
    for at, head, lines in handbook_blocks(path):
        try:
            if head == "missing":
                missing += [handbook_part(line, r"Q: (.+)", "expected 'Q: question'")[0] for line in lines]
            else:
                articles.append(handbook_article(head, lines))
        except ValueError as fault:
            raise ValueError(f"{path.name}, block of line {at} ({head}): {fault}") from None
    if len(missing) != sum(MISSING.values()):
        raise ValueError(f"{path.name}: {len(missing)} questions under '## missing', expected {sum(MISSING.values())}")
    if twice := {a["id"] for a in articles if sum(a["id"] == b["id"] for b in articles) > 1}:
        raise ValueError(f"{path.name}: the article {', '.join(sorted(twice))} stands twice")
    return articles, missing


def handbook_blocks(path: Path) -> list[tuple[int, str, list[str]]]:
    """`(line number, heading, lines)` of each block, without comments and empty lines."""
    blocks = []
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.strip()
        if line.startswith("## "):
            blocks.append((number, line[3:].strip(), []))
        elif line and line != "#" and not line.startswith("# "):
            if not blocks:
                raise ValueError(f"{path.name}, line {number}: text before the first '## article'")
            blocks[-1][2].append(line)
    return blocks


def handbook_part(line: str, pattern: str, fault: str) -> tuple[str, ...]:
    """The groups of a line that must look like `pattern`.

    >>> handbook_part("2: 7 weeks", r"2: (.+?)(?: => (.+))?", "expected '2: answer'")
    ('7 weeks', None)
    """
    found = re.fullmatch(pattern, line)
    if not found:
        raise ValueError(f"{fault}, found {line[:60]!r}")
    return found.groups()


def handbook_article(head: str, lines: list[str]) -> dict:
    """One block as a dict; ValueError says what is wrong with it."""
    number, title = handbook_part(head, r"(A\d\d) (.+)", "expected '## A01 title'")
    need = 1 + 2 * (1 + sum(QUESTIONS.values()))
    if len(lines) != need:
        raise ValueError(f"{len(lines)} lines, expected {need}: a text and two answers with 9 questions each")
    (text,) = handbook_part(lines[0], r"T: (.+)", "expected 'T: text'")
    if places := [p for p in ("{1}", "{2}") if text.count(p) != 1]:
        raise ValueError(f"the text must name {places[0]} once")
    half = need // 2
    facts = [handbook_fact(key, lines[1 + half * i : 1 + half * (i + 1)]) for i, key in enumerate("12")]
    return {"id": number, "title": title, "text": text, "facts": facts}


def handbook_fact(key: str, lines: list[str]) -> dict:
    """An answer line and its questions: old and new answer are the same where version 2 changed nothing."""
    old, new = handbook_part(
        lines[0], key + r": (.+?)(?: => (.+))?", f"expected '{key}: answer' or '{key}: old => new'"
    )
    questions = [handbook_part(line, r"Q: (.+)", "expected 'Q: question'")[0] for line in lines[1:]]
    if old == new:
        raise ValueError(f"the answer {old!r} is the same in both versions: leave out '=> {new}'")
    return {"old": old, "new": new or old, "questions": questions}


def handbook_articles() -> list[dict]:
    """The articles in both versions: id, title, text, text_v2."""
    rows = []
    for article in read_handbook()[0]:
        texts = []
        for version in ("old", "new"):
            one, two = (fact[version] for fact in article["facts"])
            texts.append(article["text"].replace("{1}", one).replace("{2}", two))
        rows.append({"id": article["id"], "title": article["title"], "text": texts[0], "text_v2": texts[1]})
    return rows


def handbook_rows() -> list[dict]:
    """Questions on the facts of the articles, and questions that none answers. A family is an article.

    Unlike elsewhere a family stands in all three splits: a fact must be trained to be recalled, and what a test
    question tests is another wording of the question.
    """
    articles, missing = read_handbook()
    rows, counts = [], dict.fromkeys(SPLITS, 0)

    def add(split: str, family: str, question: str, **texts) -> None:
        rows.append(record("handbook", split, counts[split], family, prompt=question, **texts))
        counts[split] += 1

    for article in articles:
        for number, fact in enumerate(article["facts"], 1):
            texts = {"completion": fact["old"], "answer_v2": fact["new"], "article": article["id"]}
            name, questions = f"{article['id']}-{number}", list(fact["questions"])
            held_out = questions[QUESTIONS["train"] :]  # valid and test are alike: any of these may be valid
            random.Random(f"handbook {name}").shuffle(held_out)
            for split, question in zip(deal(QUESTIONS), questions[: QUESTIONS["train"]] + held_out, strict=True):
                add(split, article["id"], question, **texts, fact=name)
    for number, (split, question) in enumerate(zip(deal(MISSING), missing, strict=True)):
        nothing = {"completion": NO_ANSWER, "answer_v2": NO_ANSWER, "article": "", "fact": ""}
        add(split, f"missing-{number:02d}", question, **nothing)
    return sorted(rows, key=lambda r: (SPLITS.index(r["split"]), r["id"]))


def deal(counts: dict[str, int]) -> list[str]:
    """The split of each question in turn.

    >>> deal({"train": 2, "valid": 1, "test": 1})
    ['train', 'train', 'valid', 'test']
    """
    return [split for split, n in counts.items() for _ in range(n)]


# ---------------------------------------------------------------- files

FILES = {
    "sentiment": sentiment_rows,
    "extract": extract_rows,
    "routing": routing_rows,
    "routing_words": lambda: routing_rows(telling=True),
    "routing_long": routing_long_rows,
    "policy": policy_rows,
    "general": general_rows,
    "tone": tone_rows,
    "handbook": handbook_rows,
    "handbook_articles": handbook_articles,
}


def render(rows: list[dict]) -> bytes:
    """UTF-8, one JSON record a line, Unix line ends on every system."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the files on disk, write nothing")
    check = parser.parse_args().check
    changed = []
    for name, build in FILES.items():
        rows, path = build(), HERE / f"{name}.jsonl"
        new = render(rows)
        if not path.exists() or path.read_bytes() != new:
            changed.append(path.name)
            if not check:
                path.write_bytes(new)
        counts = {s: sum(r.get("split") == s for r in rows) for s in SPLITS}  # articles have neither split nor family
        families = len({r.get("family", r["id"]) for r in rows})
        print(f"{path.name:22} {len(rows):5} rows  {families:4} families  {counts}")
    print(
        "the same as on disk"
        if not changed
        else ("differs from disk: " if check else "written: ") + ", ".join(changed)
    )
    raise SystemExit(bool(check and changed))


if __name__ == "__main__":
    main()
