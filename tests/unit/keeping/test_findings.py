"""Findings are all counted, and the first of each kind listed."""

from __future__ import annotations

from clouddesktop.keeping.findings import Finding, Findings, FindingState


def test_many_of_a_kind_do_not_hide_others() -> None:
    """A hundred are listed; the rest is a number; another kind has its own hundred."""
    findings = Findings()
    for number in range(150):
        findings.add(Finding(kind="many", subject=str(number), what="W.", why="Y.", remedy="R."))
    findings.add(Finding(kind="one", what="W.", why="Y.", remedy="R.", state=FindingState.MENDED))
    assert len(list(findings)) == 101
    assert findings.count(FindingState.WRONG) == 150
    assert findings.count(FindingState.MENDED) == 1
    assert findings.unlisted == {"many (wrong)": 50}
