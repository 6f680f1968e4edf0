"""The claims: rules from data, verdicts from intervals, the ledger from the records."""

import re

import pytest
from notebook_cells import PATHS, ROOT, code_cells

from helpers import claims
from helpers.claims import CLAIMS, Rule


@pytest.mark.parametrize("side, sign", [("above", 1), ("below", -1)])
def test_a_rule_asks_where_the_whole_interval_lies(side, sign):
    rule = Rule("x", "points", side, 5)
    assert rule.holds((0, 0.0501, 0.09)) is (sign > 0)
    assert rule.holds((0, 0.01, 0.0499)) is (sign < 0)
    assert rule.holds((0, 0.0499, 0.0501)) is None
    assert Rule("x", "rows", side, 300).holds((250, 200, 299)) is (sign < 0)  # plain numbers are not scaled
    with pytest.raises(ValueError, match="wrong order"):
        rule.holds((0, 0.2, 0.1))
    with pytest.raises(ValueError, match="wrong order"):
        rule.holds((0, float("nan"), 0.1))


def test_a_rule_with_an_unknown_side_or_unit_is_refused():
    for side, unit in (("over", "points"), ("above", "percent")):
        with pytest.raises(ValueError, match="side above or below"):
            Rule("x", unit, side, 5)


def test_verdicts(monkeypatch):
    yes, no, wide = (0.1, 0.09, 0.11), (-0.5, -0.6, -0.4), (0, -0.5, 0.5)
    assert claims.verdict("Q1a", yes) == "holds" and claims.verdict("Q1a", no) == "does not hold"
    assert claims.verdict("Q1a", wide) == "not decided here (interval too wide)"
    assert "one alpha" in claims.verdict("Q1a", yes, "SmolLM2-135M-Instruct")
    assert claims.verdict("Q8e", (0, -0.01, 0.01)).startswith("holds if cost is counted in words")
    both = {"style": (0.96, 0.94, 0.98), "no new knowledge": (0.1, 0.05, 0.15)}
    assert claims.verdict("Q2i", both) == "holds"
    assert (
        claims.verdict("Q2i", both | {"no new knowledge": (0.4, 0.36, 0.45)})
        == "holds for style; not for no new knowledge"
    )
    assert (
        claims.verdict("Q2i", both | {"no new knowledge": (0.2, 0.1, 0.3)})
        == "holds for style; no new knowledge not decided"
    )
    assert claims.verdict("Q2i", {"style": both["style"]}) == "holds for style; no new knowledge not tested"
    assert claims.verdict("Q2i", {"style": (0.5, 0.4, 0.6), "no new knowledge": (0.9, 0.8, 0.95)}) == "does not hold"
    # one part fails and none holds: all would have to
    assert claims.verdict("Q2i", {"style": (0.5, 0.4, 0.6), "no new knowledge": (0.2, 0.1, 0.3)}) == "does not hold"
    with pytest.raises(ValueError, match="no part 'form'"):
        claims.verdict("Q2i", {"form": yes})
    with pytest.raises(ValueError, match="no rule yet"):
        claims.verdict("Q9a", yes)


def test_every_claim_has_its_clause_and_a_notebook_of_the_map():
    assert len(CLAIMS) == 33 and all(c.claim and c.clause for c in CLAIMS.values())
    assert {c.notebook for c in CLAIMS.values()} <= {f"{i:02d}" for i in range(15)}
    for c in CLAIMS.values():
        names = [r.name for r in c.rules]
        assert len(set(names)) == len(names) and (len(names) < 2 or all(names)), c.id
        assert {model for model, _ in c.reserve} <= set(claims.MODELS), c.id


def test_the_ledger_on_disk_is_what_the_records_say():
    assert (ROOT / "data" / "claims.md").read_text(encoding="utf-8") == claims.HEAD + claims.table() + "\n"


def test_readme_counts_the_verdicts_and_shows_rows_of_the_ledger():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    decided = claims.decisions()
    for kind, n in claims.count(decided).items():
        assert f"{n} {kind}" in readme, (n, kind)
    rows = re.findall(r"^\| (Q\w+) \|.*\| \*\*(.+?)\*\* \|$", readme, re.M)
    assert len(rows) >= 6
    for id, verdict in rows:
        assert decided[id][1] == verdict, id


def test_pages_show_the_verdicts_as_they_are_now():
    """The stored output of every cell that calls claims.show is what it prints now."""
    seen = 0
    for path in PATHS:
        for cell in code_cells(path):
            source = "".join(cell["source"])
            for call in re.findall(r"claims\.show\(([^)]*)\)", source):
                ids = re.findall(r"Q\w+", call)
                said = "".join("".join(o.get("text", "")) for o in cell["outputs"])
                assert claims.show(*ids) in said, (path.name, ids)
                seen += 1
    assert seen >= 2


def test_an_interval_that_touches_the_threshold_decides_nothing():
    for side in ("above", "below"):
        rule = Rule("x", "rows", side, 300)
        assert rule.holds((310, 300, 320)) is None and rule.holds((290, 280, 300)) is None


def test_a_condition_is_named_also_where_a_claim_fails_or_holds_in_part(monkeypatch):
    rules = tuple(Rule("m", "%", "above", 50, name) for name in ("a", "b"))
    monkeypatch.setitem(CLAIMS, "X", claims.Claim("X", "c", "z", "05", rules, "it rains"))
    yes, no = (0.7, 0.6, 0.8), (0.3, 0.2, 0.4)
    assert claims.verdict("X", {"a": yes, "b": yes}) == "holds if it rains"
    assert claims.verdict("X", {"a": no, "b": no}) == "does not hold (it rains)"
    assert claims.verdict("X", {"a": no, "b": yes}) == "holds for b; not for a (it rains)"


def test_every_unit_is_shown_with_its_factor():
    shown = {
        "points": "+120.0 points [+40.0, +230.0]", "%": "120% [40, 230]", "rows": "1 rows [0, 2]",
        "times": "1.20 times [0.40, 2.30]", "nats": "+1.200 nats [+0.400, +2.300]", "rho": "+1.20 [+0.40, +2.30]",
        "GiB": "1.2 GiB [0.4, 2.3]", "hours": "1.20 hours [0.40, 2.30]", "yuan": "1.20 yuan [0.40, 2.30]",
        "tasks": "1 tasks [0, 2]",
    }  # fmt: skip
    assert {unit: Rule("x", unit, "above", 0).show((1.2, 0.4, 2.3)) for unit in claims.UNITS} == shown
    assert Rule("x", "rows", "above", 0).show((1234, 1000, float("inf"))) == "1,234 rows [1,000, not reached]"


def test_rules_stand_in_the_order_asked_for():
    said = claims.rules("Q7a", "Q1a").splitlines()
    assert [line.split()[0] for line in said if not line.startswith(" ")] == ["Q7a", "Q1a"]
    assert said[-1].endswith("above -3 points")  # as it stood before the confirming run
