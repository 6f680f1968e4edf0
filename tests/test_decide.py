"""Decisions: cases written down with their answer before the code was asked; then the form of the answers."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from helpers import decide as d
from helpers.decide import Case, decide

# Each case: who wants what, its facts, and the methods that we expected before running the rules.
CASES = [
    (
        "a hospital wants discharge letters in house style; 40 letters, nothing set aside",
        dict(fixed_form=True, labelled_rows=40, can_host_weights=True),
        ("measure first",),
    ),
    (
        "the same hospital with 120 test letters, the prompt misses the style, still 40 other letters",
        dict(fixed_form=True, labelled_rows=40, test_rows=120, prompt_score=0.5, can_host_weights=True),
        ("measure first",),
    ),
    (
        "the same hospital a year later: 600 letters",
        dict(fixed_form=True, labelled_rows=600, test_rows=120, prompt_score=0.5, can_host_weights=True),
        ("tuning",),
    ),
    (
        "a shop's price questions, prices change daily",
        dict(needs_private_facts=True, facts_change_per_year=365, prompt_score=0.2, test_rows=200),
        ("retrieval",),
    ),
    (
        "the same shop, 5,000 old price answers at hand: old prices teach nothing",
        dict(
            needs_private_facts=True, facts_change_per_year=365, prompt_score=0.2, test_rows=200, labelled_rows=5000,
            can_host_weights=True,
        ),
        ("retrieval",),
    ),
    (
        "income tax due from a filled-in form: the law gives the formula",
        dict(exact_rules=True, target_score=1.0, labelled_rows=10_000),
        ("program",),
    ),
    (
        "postage from weight and country, nothing measured at all",
        dict(exact_rules=True, few_fixed_labels=True, queries_per_day=50_000),
        ("program",),
    ),
    (
        "support tickets into 8 queues, 6,000 sorted by hand last year",
        dict(few_fixed_labels=True, labelled_rows=6000, test_rows=640, prompt_score=0.7, queries_per_day=3000),
        ("classifier",),
    ),
    (
        "spam or not for 2 million mails a day within 20 ms, 50,000 labelled",
        dict(
            few_fixed_labels=True, labelled_rows=50_000, test_rows=2000, prompt_score=0.95, latency_s=0.02,
            queries_per_day=2_000_000,
        ),
        ("classifier",),
    ),
    (
        "tone of reviews in three labels, no labelled rows but a test, and a prompt that does it",
        dict(few_fixed_labels=True, test_rows=300, prompt_score=0.93),
        ("prompt",),
    ),
    (
        "12 codes of a lab's own for incident reports, 200 coded reports, the prompt confuses them",
        dict(few_fixed_labels=True, labelled_rows=200, test_rows=150, prompt_score=0.55, can_host_weights=True),
        ("tuning",),
    ),
    (
        "translate menus into English, the prompt is good enough",
        dict(prompt_score=0.95, target_score=0.9, test_rows=150),
        ("prompt",),
    ),
    (
        "minutes of meetings in a fixed layout, reached by a prompt with two examples; 800 old minutes",
        dict(fixed_form=True, prompt_score=0.92, test_rows=100, labelled_rows=800, can_host_weights=True),
        ("prompt",),
    ),
    (
        "an idea in a start-up: no rows, no prompt tried",
        dict(),
        ("measure first",),
    ),
    (
        "a prompt praised by all, tried on 12 questions",
        dict(prompt_score=1.0, test_rows=12),
        ("measure first",),
    ),
    (
        "an archive with 400 test questions that has gone straight for tuning, no prompt measured",
        dict(fixed_form=True, labelled_rows=3000, test_rows=400, can_host_weights=True),
        ("measure first",),
    ),
    (
        "a law office: answers from its own files with the passage named",
        dict(needs_private_facts=True, must_cite=True, prompt_score=0.1, test_rows=250, can_host_weights=True),
        ("retrieval",),
    ),
    (
        "a library: general questions, but every answer must name its source",
        dict(must_cite=True, prompt_score=0.4, test_rows=250),
        ("retrieval",),
    ),
    (
        "a bank's advisers: internal rules, answers as a four-part memo that prompts miss, 900 memos",
        dict(
            needs_private_facts=True, facts_change_per_year=12, must_cite=True, fixed_form=True, prompt_score=0.3,
            test_rows=200, labelled_rows=900, can_host_weights=True,
        ),
        ("retrieval", "tuning"),
    ),
    (
        "the same bank with 30 memos: look up first",
        dict(
            needs_private_facts=True, facts_change_per_year=12, must_cite=True, fixed_form=True, prompt_score=0.3,
            test_rows=200, labelled_rows=30, can_host_weights=True,
        ),
        ("retrieval",),
    ),
    (
        "which stock item an order line means, 4,000 lines, the catalogue changes weekly",
        dict(
            few_fixed_labels=True, needs_private_facts=True, facts_change_per_year=52, labelled_rows=4000,
            test_rows=300, prompt_score=0.5,
        ),
        ("retrieval", "tuning"),
    ),
    (
        "a publisher's blurbs in its own voice, 500 blurbs, no machine of its own",
        dict(fixed_form=True, labelled_rows=500, test_rows=100, prompt_score=0.6),
        ("tuning",),
    ),
    (
        "a two-person firm: a report form that prompts miss, no rows to learn from, nowhere to run a model",
        dict(fixed_form=True, test_rows=100, prompt_score=0.4),
        ("none of these",),
    ),
    (
        "proofs in number theory, the best prompt solves one in five, 60 worked examples",
        dict(prompt_score=0.2, test_rows=150, labelled_rows=60, can_host_weights=True),
        ("none of these",),
    ),
    (
        "next week's share prices, no rows",
        dict(prompt_score=0.5, target_score=0.8, test_rows=500),
        ("none of these",),
    ),
    (
        "doses for infusion pumps from free text: no mistake allowed",
        dict(fixed_form=True, prompt_score=0.97, target_score=1.0, test_rows=800, labelled_rows=5000),
        ("none of these",),
    ),
    (
        "word suggestions while typing, 50 ms, no labels",
        dict(prompt_score=0.9, target_score=0.8, test_rows=1000, latency_s=0.05, queries_per_day=10**6),
        ("none of these",),
    ),
    (
        "plain-language versions of contract clauses, 4,000 pairs, the prompt is nearly there",
        dict(prompt_score=0.7, target_score=0.8, test_rows=400, labelled_rows=4000, can_host_weights=True),
        ("tuning",),
    ),
    (
        "opening hours of 3 branches pasted into the prompt, which answers well; they change twice a year",
        dict(needs_private_facts=True, facts_change_per_year=2, prompt_score=0.97, target_score=0.95, test_rows=120),
        ("prompt",),
    ),
]  # fmt: skip


@pytest.mark.parametrize("who, facts, methods", CASES, ids=[c[0][:50] for c in CASES])
def test_written_cases(who, facts, methods):
    found = decide(Case(**facts))
    assert found.methods == methods, f"{who}\n{found}"
    assert found.next_step.endswith(".") and "{" not in found.next_step


def test_every_method_and_every_rule_occurs():
    found = [decide(Case(**facts)) for _, facts, _ in CASES]
    assert {m for f in found for m in f.methods} == {m for rule in d.RULES for m in rule.methods}
    assert {f.rule for f in found} == {r.name for r in d.RULES}
    assert len(CASES) >= 24


@pytest.mark.parametrize("who, facts, methods", CASES, ids=[c[0][:50] for c in CASES])
def test_every_reason_names_a_fact_of_its_case(who, facts, methods):
    case, names = Case(**facts), {f.name for f in fields(Case)}
    reasons = decide(case).reasons
    assert reasons and len(set(reasons)) == len(reasons)
    for reason in reasons:
        name, value = re.fullmatch(r"[A-Z].* \((\w+): (.+)\)\.", reason).groups()
        assert name in names and value == d.show(getattr(case, name)), reason
        assert "{" not in reason


def test_optional_facts_are_named_only_where_they_hold():
    few = decide(Case(must_cite=True, prompt_score=0.4, test_rows=250))
    assert not any("needs_private_facts" in r or "facts_change" in r for r in few.reasons)
    one = Case(prompt_score=0.95, test_rows=150, queries_per_day=9_999)
    many = Case(prompt_score=0.95, test_rows=150, queries_per_day=10_000)
    assert len(decide(many).reasons) == len(decide(one).reasons) + 1 and "10,000" in decide(many).reasons[-1]


def test_thresholds_are_where_the_conditions_say():
    base = dict(fixed_form=True, prompt_score=0.5, can_host_weights=True)
    assert decide(Case(**base, test_rows=99, labelled_rows=500)).methods == ("measure first",)
    assert decide(Case(**base, test_rows=100, labelled_rows=100)).methods == ("tuning",)
    assert decide(Case(**base, test_rows=100, labelled_rows=99)).rule == "form, few rows"
    label = dict(few_fixed_labels=True, prompt_score=0.5, test_rows=100)
    assert decide(Case(**label, labelled_rows=500)).methods == ("classifier",)
    assert decide(Case(**label, labelled_rows=499)).methods == ("tuning",)
    assert decide(Case(prompt_score=0.9, target_score=0.9, test_rows=100)).methods == ("prompt",)
    assert decide(Case(prompt_score=1.0, target_score=1.0, test_rows=100)).methods == ("prompt",)


def test_no_two_rules_share_a_name_or_a_condition():
    assert len({r.name for r in d.RULES}) == len({r.condition for r in d.RULES}) == len(d.RULES)


ERRORS = [
    ("prompt_score is 80", dict(prompt_score=80)),
    ("prompt_score is nan", dict(prompt_score=float("nan"))),
    ("target_score is -0.1", dict(target_score=-0.1)),
    ("target_score is None", dict(target_score=None)),
    ("labelled_rows is -1", dict(labelled_rows=-1)),
    ("test_rows is 1.5", dict(test_rows=1.5)),
    ("queries_per_day is -5", dict(queries_per_day=-5)),
    ("queries_per_day is inf", dict(queries_per_day=float("inf"))),
    ("facts_change_per_year is nan", dict(facts_change_per_year=float("nan"))),
    ("latency_s is 0", dict(latency_s=0)),
    ("latency_s is inf", dict(latency_s=float("inf"))),
]


@pytest.mark.parametrize("message, facts", ERRORS, ids=[e[0] for e in ERRORS])
def test_clear_errors(message, facts):
    with pytest.raises(ValueError, match=f"{message}.*: give"):
        Case(**facts)
    with pytest.raises(ValueError, match="type a number"):
        d.number("latency_s", "soon")


def test_widget_follows_the_facts():
    form = d.widget()
    *lines, out = form.children
    entries = {f.name: line.children[1] for f, line in zip(fields(Case), lines)}
    asked = [line.children[0].value for line in lines]
    assert len(entries) == len(fields(Case)) and len(set(asked)) == len(asked)
    assert "measure first" in out.value
    entries["test_rows"].value = 200
    entries["prompt_score"].value = "0.95"
    assert ">prompt\n" in out.value
    entries["prompt_score"].value = "95"
    assert "give a fraction" in out.value
    entries["prompt_score"].value = "a<b"
    assert "type a number" in out.value and "a&lt;b" in out.value
    entries["exact_rules"].value = True
    entries["prompt_score"].value = ""
    assert ">program\n" in out.value


def test_the_module_stands_alone():
    tree = ast.parse(Path(d.__file__).read_text(encoding="utf-8"))
    named = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in tree.body if hasattr(n, "names")}
    assert named == {"__future__", "math", "collections.abc", "dataclasses"}


def test_each_fact_alone_asks_for_retrieval():
    for fact in (dict(needs_private_facts=True), dict(facts_change_per_year=1), dict(must_cite=True)):
        assert decide(Case(prompt_score=0.5, test_rows=100, **fact)).methods == ("retrieval",)
    assert decide(Case(prompt_score=0.5, test_rows=100)).methods == ("none of these",)


def test_the_remaining_thresholds_are_where_the_conditions_say():
    known = dict(prompt_score=0.5, test_rows=100)
    assert decide(Case(**known, labelled_rows=1000)).rule == "many examples"
    assert decide(Case(**known, labelled_rows=999)).rule == "nothing known"
    assert decide(Case(**known, fixed_form=True, labelled_rows=1)).rule == "form, few rows"  # cannot host
    assert decide(Case(**known, fixed_form=True, can_host_weights=True)).rule == "form, few rows"
    assert decide(Case(**known, latency_s=0.1)).rule == "nothing known"  # a wait below 0.1 s has no time
    assert decide(Case(**known, latency_s=0.099)).rule == "no time"


def test_a_wait_below_a_second_is_worth_naming():
    label = dict(few_fixed_labels=True, prompt_score=0.5, test_rows=100, labelled_rows=500)
    named = lambda wait: any("latency_s" in r for r in decide(Case(**label, latency_s=wait)).reasons)
    assert (named(0.99), named(1.0), named(None)) == (True, False, False)
