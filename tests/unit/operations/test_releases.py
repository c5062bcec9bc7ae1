"""Which release is meant, which may be gone back to, and how they are listed."""

from __future__ import annotations

from typing import Any

import pytest
from fake_session import FakeHost

from tasks.core.errors import ExitStatus, Refused
from tasks.operations import releases

A, B, C, D = (f"2026010{n}T000000Z-1.{n}.0" for n in (1, 2, 3, 4))
TWIN = "20260105T000000Z-1.1.0"


def host(current: str | None = C, **results: Any) -> dict[str, Any]:
    told = {A: "healthy", B: "failed", C: "healthy", D: "incomplete"} | results
    return {
        "release": current,
        "releases": sorted(told),
        "results": {name: {"result": result, "by": "ann@desk", "finished": 86400.0} for name, result in told.items()},
        "history": [],
    }


def test_without_a_name_it_is_the_last_one_before_the_current_that_served() -> None:
    assert releases.choose(host(), "", "vps") == A
    assert releases.choose(host(current=D), "", "vps") == C


@pytest.mark.parametrize("wanted", [A, "20260101", "20260101T000000Z-1", "1.1.0"])
def test_an_id_its_beginning_or_its_version_will_do(wanted: str) -> None:
    assert releases.choose(host(), wanted, "vps") == A


def test_a_later_release_can_be_gone_to_and_one_without_certificate_has_served() -> None:
    assert releases.choose(host(), D, "vps") == D


def test_the_current_one_is_no_error() -> None:
    assert releases.choose(host(), "1.3.0", "vps") == C


@pytest.mark.parametrize(
    ("wanted", "cause"),
    [
        ("20200101T000000Z-0.9.0", "release 20200101T000000Z-0.9.0 is not on this host"),
        (B, f"release {B} has never served on this host"),
        ("1.2.0", f"release {B} has never served on this host"),
        ("2026010", f"2026010 could be {A}, {C}, {D}"),
    ],
)
def test_what_cannot_be_gone_back_to_is_refused_with_the_choice_there_is(wanted: str, cause: str) -> None:
    with pytest.raises(Refused) as caught:
        releases.choose(host(), wanted, "vps")
    assert caught.value.status is ExitStatus.REFUSED
    assert cause in caught.value.one_line()
    assert f"Next: --to one of {A}, {D}" in caught.value.one_line()


def test_a_version_that_two_releases_have_is_refused_unless_only_one_of_them_served() -> None:
    with pytest.raises(Refused, match=f"could be {A}, {TWIN}"):
        releases.choose(host(**{TWIN: "healthy"}), "1.1.0", "vps")
    assert releases.choose(host(**{TWIN: "failed"}), "1.1.0", "vps") == A


def test_nothing_before_and_nothing_at_all_are_told_apart() -> None:
    with pytest.raises(Refused, match=f"no release before {A} is here that served.*--to one of {C}, {D}"):
        releases.choose(host(current=A), "", "vps")
    with pytest.raises(Refused, match="nothing is deployed here"):
        releases.choose(host(current=None), "", "vps")
    lonely = {**host(), "releases": [C]}
    with pytest.raises(Refused, match="there is none to go back to"):
        releases.choose(lonely, "", "vps")


def test_a_release_of_before_results_were_kept_has_served_when_the_history_says_so() -> None:
    status = {"release": C, "releases": [A, C], "results": {}, "history": [{"release": A, "applied": 1.0}]}
    assert releases.choose(status, "", "vps") == A


def test_the_table_marks_the_current_one_and_says_who_when_and_what_became_of_it() -> None:
    status = host()
    status["results"][A] |= {
        "migrated": True,
        "backup": "20261121T100000Z-1a2b",
        "plan": "aaaaaa-bbbbbb",
        "kind": "rollback",
    }
    status["results"][B] |= {"cause": "backend is not healthy"}
    rows = [releases.describe(status, name) for name in status["releases"]]
    lines = releases._table(rows).splitlines()
    assert lines[0].split() == ["release", "version", "when", "by", "result", "plan"]
    assert lines[1] == f"  {A}  1.1.0    1970-01-02 00:00:00  ann@desk  healthy, by rollback, migrated  aaaaaa-bbbbbb"
    assert [line[: len(C) + 2] for line in lines[1:5] if line.startswith("*")] == [f"* {C}"]
    assert f"{B}: backend is not healthy" in lines
    assert f"{A}: the database as it was before its migration is backup 20261121T100000Z-1a2b" in lines


def test_what_runs_is_said_in_a_few_words(chosen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases.settings, "load", lambda path: chosen)
    assert releases.serving(FakeHost(status={"release": C})) == f"release {C} serves"  # type: ignore[arg-type]
    assert releases.serving(FakeHost(status={"release": None})) == "no release serves"  # type: ignore[arg-type]
