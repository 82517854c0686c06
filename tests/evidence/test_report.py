from __future__ import annotations

from interlock.evidence.report import Report


def test_a_report_is_good_only_if_something_was_checked_and_nothing_failed() -> None:
    report = Report()
    assert report.as_dict() == {"ok": False, "claims": []}
    report.add("the seal", "verified", "sealed", "s1")
    report.add("the content", "not verifiable")
    assert report.as_dict()["ok"]
    report.add("the journal", "failed", "entry 3", "s1")
    assert not report.ok
    assert report.lines() == [
        "      verified  session s1: the seal (sealed)",
        "not verifiable  the content",
        "        failed  session s1: the journal (entry 3)",
        "FAILED: 1 verified, 1 not verifiable, 1 failed",
    ]
    assert report.as_dict()["ok"] is False
    assert [claim.name for claim in report.failures] == ["the journal"]
