"""Prompt, retrieval, tuning, or none? A few facts about a case, an ordered list of rules, and an answer with reasons.

- ``Case``       the facts, in plain names
- ``decide()``   the first rule that fits: a `Decision` with methods, reasons and the next step
- ``RULES``      the rules in their order, each with its condition and methods
- ``widget()``   a form that shows the decision for the chosen facts
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields

# Rules of thumb (ours): change them for your case, and the conditions and the reasons change with them.
TEST_ROWS = 100  # fewer place a score of 80% no better than within 8 points (95%, by the binomial formula)
TUNING_ROWS = 100  # fewer have rarely taught a form
CLASSIFIER_ROWS = 500  # from here a linear classifier is worth an hour
MANY_ROWS = 1000  # from here a trial at tuning is worth its price even when no form explains the miss
SHORT_WAIT = 0.1  # seconds: a language model that writes an answer rarely fits
MANY_QUERIES = 10_000  # a day: the length of the prompt shows on the bill


def ask(question: str, default):
    """A field of `Case` with its default and the question that the form shows."""
    return field(default=default, metadata={"ask": question})


@dataclass(frozen=True, kw_only=True)
class Case:
    """One reader's case. Scores are fractions of held-out rows, 0..1; ValueError for values that cannot be.

    >>> Case(prompt_score=85)
    Traceback (most recent call last):
    ...
    ValueError: prompt_score is 85: give a fraction from 0 to 1, 0.8 for 80%
    """

    needs_private_facts: bool = ask("Do answers depend on facts that the model cannot have seen?", False)
    facts_change_per_year: int = ask("How many times a year do these facts change?", 0)
    must_cite: bool = ask("Must an answer name its source?", False)
    fixed_form: bool = ask("Must the output follow a form or a behaviour?", False)
    few_fixed_labels: bool = ask("Is the answer one of a few known labels?", False)
    exact_rules: bool = ask("Does the answer follow from rules that a program could apply?", False)
    prompt_score: float | None = ask("Score of the best prompt on held-out rows (empty: not measured)", None)
    target_score: float = ask("Score that is good enough", 0.9)
    test_rows: int = ask("How many held-out rows with a right answer?", 0)
    labelled_rows: int = ask("How many other rows with a right answer?", 0)
    queries_per_day: int = ask("How many queries a day?", 100)
    latency_s: float | None = ask("Longest acceptable wait in seconds (empty: any)", None)
    can_host_weights: bool = ask("Can you run a model of your own?", False)

    def __post_init__(self):
        for name in ("prompt_score", "target_score"):
            value = getattr(self, name)
            if value is None and name == "prompt_score":
                continue
            if value is None or not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}: give a fraction from 0 to 1, 0.8 for 80%")
        for name in ("facts_change_per_year", "test_rows", "labelled_rows", "queries_per_day"):
            value = getattr(self, name)
            if not value >= 0 or value % 1:  # also NaN and infinity
                raise ValueError(f"{name} is {value}: give a whole number, 0 or more")
        if self.latency_s is not None and not (self.latency_s > 0 and math.isfinite(self.latency_s)):
            raise ValueError(f"latency_s is {self.latency_s}: give seconds above 0, or None if any wait will do")

    @property
    def needs_facts(self) -> bool:
        """Whether something must be looked up: private facts, facts that change, or sources to cite."""
        return self.needs_private_facts or self.facts_change_per_year > 0 or self.must_cite

    @property
    def needs_form(self) -> bool:
        """Whether a behaviour is asked for: a form, or one of a few labels."""
        return self.fixed_form or self.few_fixed_labels


@dataclass(frozen=True)
class Decision:
    """What to do: `methods`, `reasons` (each ends with the fact that led there), and `next_step`."""

    methods: tuple[str, ...]
    reasons: tuple[str, ...]
    next_step: str
    rule: str

    def __str__(self) -> str:
        return "\n".join([" + ".join(self.methods), *(f"- {r}" for r in self.reasons), f"Next: {self.next_step}"])


@dataclass(frozen=True)
class Rule:
    """One rule. `because`: lines "fact: sentence"; a fact with "?" is named only where it holds."""

    name: str
    condition: str
    applies: Callable[[Case], bool]
    methods: tuple[str, ...]
    because: str
    next_step: str


FACTS = """needs_private_facts?: The model cannot have seen these facts: they must stand before it when it answers
facts_change_per_year?: Facts tuned into weights are stale after the next change; a looked-up text is not
must_cite?: Only a text that was looked up can be named as the source"""
MISSED = "prompt_score: The best prompt stays below the target of {c.target_score:g}"
FORM = """fixed_form?: A form or a behaviour is what examples teach
few_fixed_labels?: Keeping to a few labels is a behaviour that examples teach"""
TUNE = "Tune with LoRA on {c.labelled_rows:,} rows, compare with the best prompt on the same {c.test_rows:,} test rows"

# fmt: off
RULES = (  # name, condition, test, methods, reasons, next step
    Rule("exact rules", "the answer follows from exact rules", lambda c: c.exact_rules, ("program",),
         "exact_rules: A program that applies the rules is right every time, and can be read and tested",
         "Write the rules as code; use a classifier or a model only to read free text into the fields they need."),
    Rule("no test", f"fewer than {TEST_ROWS} held-out rows", lambda c: c.test_rows < TEST_ROWS, ("measure first",),
         f"test_rows: With fewer than {TEST_ROWS} held-out rows a score is uncertain by more than 8 points or so",
         f"Set aside at least {TEST_ROWS} real rows with right answers: they place a score of 80% within 8 points; "
         f"{4 * TEST_ROWS} rows halve that."),
    Rule("prompt not measured", "no prompt has been measured", lambda c: c.prompt_score is None, ("measure first",),
         "prompt_score: Nobody knows yet whether a prompt is enough",
         "Score the plain question, a prompt with rules, and one with examples on the {c.test_rows:,} test rows."),
    Rule("never wrong", "target of 1, and the prompt is below it",
         lambda c: c.target_score >= 1 > c.prompt_score, ("none of these",),
         "target_score: No prompt, retrieval or tuning is right every time\nprompt_score: The best prompt is not either",
         "Let a person check every answer, or find the target at which mistakes are still affordable."),
    Rule("labels and rows", f"a few fixed labels, no facts to look up, at least {CLASSIFIER_ROWS} labelled rows",
         lambda c: c.few_fixed_labels and not c.needs_facts and c.labelled_rows >= CLASSIFIER_ROWS, ("classifier",),
         """few_fixed_labels: One of a few labels can be predicted without writing text
labelled_rows: That is enough for a classifier without a language model, which learns in seconds
queries_per_day?: It costs next to nothing a query\nlatency_s?: It answers within milliseconds""",
         "Fit TF-IDF and logistic regression, and score it on the same {c.test_rows:,} test rows as the prompt "
         "({c.prompt_score:g}): keep the simplest that reaches {c.target_score:g}."),
    Rule("no time", f"a wait below {SHORT_WAIT:g} s",
         lambda c: c.latency_s is not None and c.latency_s < SHORT_WAIT, ("none of these",),
         f"latency_s: Below {SHORT_WAIT:g} s a language model rarely has time to write an answer",
         f"Prepare answers ahead of time, or label {CLASSIFIER_ROWS} rows for a classifier if a few labels would do."),
    Rule("prompt is enough", "the prompt reaches the target",
         lambda c: c.prompt_score >= c.target_score, ("prompt",),
         """prompt_score: The best prompt reaches the target of {c.target_score:g}: stop here
facts_change_per_year?: Facts written into the prompt must be renewed at every change
must_cite?: A source can be named only if it stands in the prompt
queries_per_day?: A long prompt is paid for with every query: try a shorter one, or a smaller model""",
         "Use it, keep the {c.test_rows:,} test rows, and score it again whenever the prompt or the model changes."),
    Rule("facts and form", f"facts to look up and a form not reached, at least {TUNING_ROWS} labelled rows",
         lambda c: c.needs_facts and c.needs_form and c.labelled_rows >= TUNING_ROWS, ("retrieval", "tuning"),
         f"{MISSED}\n{FACTS}\n{FORM}\nlabelled_rows: These are enough to tune on, with the looked-up texts in the prompt",
         "Build retrieval first and score it with the best prompt; tune only if the form is still missed."),
    Rule("facts", "facts that it cannot have seen, that change, or that must be cited",
         lambda c: c.needs_facts, ("retrieval",),
         f"{MISSED}\n{FACTS}",
         "Measure the search alone first (is the right text among the first 5?), then the answers with it."),
    Rule("form, own weights", f"a form or labels not reached, at least {TUNING_ROWS} labelled rows, can host weights",
         lambda c: c.needs_form and c.labelled_rows >= TUNING_ROWS and c.can_host_weights, ("tuning",),
         f"{MISSED}\n{FORM}\nlabelled_rows: Tuning needs {TUNING_ROWS} or more\n"
         "can_host_weights: A tuned model of your own can be run\nqueries_per_day?: A tuned model needs no long prompt",
         TUNE + "; for labels, a classifier too."),
    Rule("form, hosted", f"a form or labels not reached, at least {TUNING_ROWS} labelled rows, cannot host weights",
         lambda c: c.needs_form and c.labelled_rows >= TUNING_ROWS, ("tuning",),
         f"{MISSED}\n{FORM}\nlabelled_rows: Tuning needs {TUNING_ROWS} or more\n"
         "can_host_weights: Only tuning at a provider is left",
         "Ask whether the rows may go to a provider that tunes and hosts; if not, none of these until you can host."),
    Rule("form, few rows",
         f"a form or labels not reached, fewer than {TUNING_ROWS} labelled rows, and some rows or weights to host",
         lambda c: c.needs_form and (c.labelled_rows > 0 or c.can_host_weights), ("measure first",),
         f"{MISSED}\n{FORM}\nlabelled_rows: Tuning needs about {TUNING_ROWS}: collect first",
         f"Collect {TUNING_ROWS} rows with answers as they should be; try the best of them as examples in the prompt."),
    Rule("many examples", f"neither facts nor form, at least {MANY_ROWS} labelled rows",
         lambda c: c.labelled_rows >= MANY_ROWS, ("tuning",),
         f"{MISSED}\nlabelled_rows: So many examples are worth a trial, though neither facts nor form explain the miss",
         TUNE + ", at a provider if you cannot host; try a larger model as well."),
    Rule("nothing known", "none of the above", lambda c: True, ("none of these",),
         f"{MISSED}\nneeds_private_facts: There is nothing to look up\n"
         "labelled_rows: There are too few rows to learn from",
         "Try a larger model, a simpler task, a lower target, or a person who does the hard part."),
)
# fmt: on


def decide(case: Case) -> Decision:
    """The first of RULES that applies. Its reasons end with the fact in brackets: "... (test_rows: 40)."

    >>> d = decide(Case(fixed_form=True, prompt_score=0.6, labelled_rows=400, test_rows=200, can_host_weights=True))
    >>> d.methods, d.reasons[0]
    (('tuning',), 'The best prompt stays below the target of 0.9 (prompt_score: 0.6).')
    """
    rule = next(r for r in RULES if r.applies(case))
    reasons = []
    for line in rule.because.splitlines():
        fact, _, sentence = line.partition(": ")
        name = fact.rstrip("?")
        if name == fact or notable(case, name):
            reasons.append(f"{sentence.format(c=case)} ({name}: {show(getattr(case, name))}).")
    return Decision(rule.methods, tuple(reasons), rule.next_step.format(c=case), rule.name)


def notable(case: Case, fact: str) -> bool:
    """Whether an optional fact is worth naming: true, above 0, many queries, a wait below 1 s."""
    value = getattr(case, fact)
    if fact == "queries_per_day":
        return value >= MANY_QUERIES
    return value is not None and value < 1 if fact == "latency_s" else bool(value)


def show(value) -> str:
    """A fact's value in words.

    >>> show(True), show(None), show(12000), show(0.85)
    ('yes', 'not given', '12,000', '0.85')
    """
    if value is None or isinstance(value, bool):
        return {None: "not given", True: "yes", False: "no"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def widget():
    """A form with every fact of a case; the decision below it follows each change. Needs ipywidgets and a notebook."""
    from html import escape

    import ipywidgets

    def entry(f):
        wide = {"layout": {"width": "420px"}, "style": {"description_width": "0px"}}
        if isinstance(f.default, bool):
            return ipywidgets.Checkbox(f.default, indent=False, layout={"width": "420px"})
        if isinstance(f.default, int):
            return ipywidgets.BoundedIntText(f.default, min=0, max=10**9, **wide)
        text = "" if f.default is None else f"{f.default:g}"
        return ipywidgets.Text(text, placeholder="not given", continuous_update=False, **wide)

    entries, out = {f.name: entry(f) for f in fields(Case)}, ipywidgets.HTML()

    def update(_=None):
        try:
            values = {n: e.value if not isinstance(e.value, str) else number(n, e.value) for n, e in entries.items()}
            text = str(decide(Case(**values)))
        except ValueError as fault:
            text = str(fault)
        out.value = f"<pre style='white-space: pre-wrap'>{escape(text)}</pre>"

    for e in entries.values():
        e.observe(update, names="value")
    update()
    lines = [ipywidgets.VBox([ipywidgets.Label(f.metadata["ask"]), entries[f.name]]) for f in fields(Case)]
    return ipywidgets.VBox([*lines, out])


def number(name: str, text: str) -> float | None:
    """What was typed: a number, or None where nothing was.

    >>> number("latency_s", " "), number("latency_s", "0,5")
    (None, 0.5)
    """
    try:
        return float(text.strip().replace(",", ".")) if text.strip() else None
    except ValueError:
        raise ValueError(f"{name} is {text!r}: type a number such as 0.8, or leave it empty") from None
