"""What was done to a host, told in lines."""

from __future__ import annotations

from typing import Any

import pytest
from fake_session import FakeHost

from tasks.core.errors import HostFailed, Refused, UsageError
from tasks.core.session import Result
from tasks.operations import audit as operation

ENTRIES = [
    {"start": 86400.0, "end": 86412.4, "what": "setup", "target": None, "result": "done", "cause": "", "by": "ann@desk",
     "from": "198.51.100.7", "plan": None, "accepted": []},
    {"start": 60.0, "end": 99.0, "what": "deploy", "target": "r1", "result": "failed", "by": "ann@desk",
     "cause": "backend is not healthy",
     "from": None, "plan": "aaaaaa-bbbbbb", "accepted": ["published-port"]},
]  # fmt: skip


@pytest.fixture(autouse=True)
def _settings(chosen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation.settings, "load", lambda path: chosen)


def test_every_entry_is_a_line_and_what_explains_it_one_more() -> None:
    host = FakeHost(audit={"entries": ENTRIES})
    report = operation.audit(host, 7)  # type: ignore[arg-type]
    assert host.done == [("audit", "--lines", "7")]
    assert report.data == {"entries": ENTRIES}
    assert report.text.splitlines() == [
        "1970-01-02 00:00:00 UTC  done         setup  by ann@desk from 198.51.100.7, 12 s",
        "1970-01-01 00:01:00 UTC  failed       deploy r1  by ann@desk, 39 s",
        "    plan aaaaaa-bbbbbb; accepted published-port; backend is not healthy",
    ]


def test_a_host_where_nothing_was_done_says_so() -> None:
    assert operation.audit(FakeHost(audit={"entries": []}), 1).text == "vps: nothing has been done here yet"  # type: ignore[arg-type]


def test_a_senseless_number_contacts_nothing() -> None:
    host = FakeHost()
    with pytest.raises(UsageError):
        operation.audit(host, 0)  # type: ignore[arg-type]
    assert host.done == []


def test_a_host_whose_program_does_not_know_the_command_is_told_apart_from_a_failure() -> None:
    old = Result(2, b"", "usage: maicivy ...\nerror: invalid choice: 'audit'\n")
    with pytest.raises(Refused, match=r"older than this checkout.*fab setup"):
        operation.audit(FakeHost(audit=old), 5)  # type: ignore[arg-type]
    bare = Result(1, b"", "sudo: /usr/local/bin/maicivy: command not found\n")
    with pytest.raises(Refused, match="not set up"):
        operation.audit(FakeHost(audit=bare), 5)  # type: ignore[arg-type]
    said = b'{"event": "failed", "data": {"status": 12, "cause": "no space left", "hint": "free some"}}\n'
    with pytest.raises(HostFailed, match=r"no space left\. Next: free some"):
        operation.audit(FakeHost(audit=Result(12, said, "")), 5)  # type: ignore[arg-type]
