"""Between the plan and the deed, and what is pushed."""

from __future__ import annotations

import io
import json
import tarfile
from types import SimpleNamespace
from typing import Any

import pytest
from fake_plan import plan
from fake_session import FakeHost

from tasks.core.errors import ExitStatus, Refused, UsageError
from tasks.core.task import Report
from tasks.model import guards
from tasks.model.bundle import Bundle, File
from tasks.operations import agreement, deploy, hostprogram, prepare
from tasks.operations.prepare import Options, Prepared

GUARD = SimpleNamespace(rule="published-port", message="port 3001 would be open to everybody", accepted=False)
DRIFT = SimpleNamespace(rule="drift", message="nginx.conf was edited by hand and would be lost", accepted=False)


@pytest.fixture
def prepared(chosen: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A prepared deploy with such a plan."""

    def make(kind: str = "deploy", watched: bool = False, **more: Any) -> Prepared:
        facts: Any = SimpleNamespace(status={})
        return Prepared(kind, chosen, {"release": "r2"}, facts, b"", plan(**more), watched=watched)

    monkeypatch.setattr(agreement.planning, "describe", lambda plan, host: f"the plan for {host}")
    monkeypatch.setattr(agreement.planning, "moved", lambda id, plan: "the host has changed" if id != plan.id else None)
    return make


def reach(host: FakeHost, prepared: Prepared, **options: Any) -> None:
    agreement.reach(host, prepared, Options(**options))  # type: ignore[arg-type]


def test_a_plan_is_shown_and_agreed_to(prepared: Any) -> None:
    host = FakeHost()
    reach(host, prepared())
    assert host.shown.getvalue() == "the plan for vps\n"


@pytest.mark.parametrize(
    ("kind", "question"), [("deploy", "Deploy r2 on vps?"), ("rollback", "Roll back to r2 on vps?")]
)
def test_no_is_an_answer(prepared: Any, monkeypatch: pytest.MonkeyPatch, kind: str, question: str) -> None:
    host, asked = FakeHost(), list[str]()
    monkeypatch.setattr(host.out, "confirm", asked.append)
    with pytest.raises(Refused, match="not confirmed, nothing was changed"):
        reach(host, prepared(kind))
    assert asked == [question]
    reach(host, prepared(kind), yes=True)
    assert asked == [question]


def test_a_rule_that_refuses_is_named_with_how_to_accept_it(prepared: Any) -> None:
    with pytest.raises(Refused) as caught:
        reach(FakeHost(), prepared(refused=[GUARD, DRIFT], guards=[GUARD, DRIFT]), yes=True)
    assert caught.value.status is ExitStatus.REFUSED
    assert caught.value.one_line() == (
        "error: [vps] published-port: port 3001 would be open to everybody; drift: nginx.conf was edited by hand and "
        "would be lost. Next: if that is meant: --accept published-port --accept drift"
    )


def test_what_there_was_no_need_to_accept_is_said(prepared: Any) -> None:
    host = FakeHost()
    reach(host, prepared(guards=[GUARD]), accept=("published-port", "drift"))
    assert host.errors.getvalue() == "warning: nothing to accept: drift\n"


def test_a_rule_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(UsageError) as caught:
        prepare.check_rules(["drift", "no-such-rule"])
    assert "there is no rule no-such-rule" in caught.value.one_line()
    assert all(rule in caught.value.one_line() for rule in guards.RULES)


def test_a_disk_that_is_too_small_is_refused_with_what_it_needs_and_has(prepared: Any) -> None:
    with pytest.raises(Refused, match=r"need 2\.0 GiB, have 1\.0 GiB"):
        reach(FakeHost(), prepared(disk={"need": 2 << 30, "free": 1 << 30, "after": 0}), yes=True)


def test_another_plan_than_the_expected_one_is_refused_with_what_differs(prepared: Any) -> None:
    agreement.is_expected(FakeHost(), prepared(), "aaaaaa-bbbbbb")  # type: ignore[arg-type]
    agreement.is_expected(FakeHost(), prepared(), "")  # type: ignore[arg-type]
    with pytest.raises(Refused) as caught:
        agreement.is_expected(FakeHost(), prepared(), "cccccc-bbbbbb")  # type: ignore[arg-type]
    assert caught.value.one_line() == (
        "error: [vps] plan cccccc-bbbbbb no longer holds: the host has changed (it would be aaaaaa-bbbbbb now). "
        "Next: fab plan -H vps shows the new one"
    )


def test_an_empty_plan_is_the_end_of_it(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "prepare", lambda s, options: prepared(is_empty=True))
    host = FakeHost()
    report = deploy.deploy(host, Options())  # type: ignore[arg-type]
    assert (report.status, report.text, host.done) == (ExitStatus.OK, "the plan for vps", [])
    with pytest.raises(Refused):
        deploy.deploy(host, Options(expected="cccccc-dddddd"))  # type: ignore[arg-type]


def test_a_deploy_that_was_watched_to_its_end_is_verified_by_who_came_back(
    prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "prepare", lambda s, options: prepared(is_empty=True, watched=True))
    seen: list[Any] = []

    def verify(s: Any, prepared: Any, options: Any, before: Any, done: Any) -> Report:
        seen.append((before, done))
        return Report({}, "well")

    monkeypatch.setattr(deploy.transaction, "verify", verify)
    assert deploy.deploy(FakeHost(), Options()).text == "well"  # type: ignore[arg-type]
    assert seen == [([], {"release": "r1"})]


def files_of(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: content.read() for member in tar if (content := tar.extractfile(member))}


def test_what_the_host_has_is_not_pushed_again_unless_it_was_edited(
    chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"a": File(b"same"), "b": File(b"changed"), "c": File(b"edited there")}
    there = {name: {"sha256": file.sha256} for name, file in files.items() if name != "b"}
    status = {"manifest": {"files": there}, "drift": [{"path": "c", "state": "changed"}]}
    facts: Any = SimpleNamespace(status=status)
    bundle = Bundle("maicivy", "1", files, {}, {})
    monkeypatch.setattr(hostprogram, "install", lambda *_: None)
    host = FakeHost()
    deploy.push(host, Prepared("deploy", chosen, {"release": "r2"}, facts, b"", plan(), bundle))  # type: ignore[arg-type]
    assert host.done == [("receive",)]
    pushed = files_of(host.stdin[0])
    assert list(pushed) == ["manifest.json", "b", "c"]
    assert json.loads(pushed["manifest.json"]) == {"release": "r2"}


def test_images_made_here_are_sent_before_the_files(chosen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.operations import images

    host = FakeHost()
    monkeypatch.setattr(hostprogram, "install", lambda *_: host.done.append(("install",)))
    monkeypatch.setattr(images, "push", lambda s, settings, references: host.done.append(("images", *references)))
    facts: Any = SimpleNamespace(status={})
    built: Any = {"app:1": None, "web:1": None}
    bundle = Bundle("maicivy", "1", {}, {}, {})
    deploy.push(host, Prepared("deploy", chosen, {"release": "r2"}, facts, b"", plan(), bundle, built))  # type: ignore[arg-type]
    assert host.done == [("install",), ("images", "app:1", "web:1"), ("receive",)]
