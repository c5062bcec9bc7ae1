"""`fab ssl`: what the host is asked for, and what becomes of its answer."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from fake_session import FakeHost

from tasks.core.errors import ExitStatus, HostFailed, UsageError
from tasks.core.presented import Presented
from tasks.operations import ssl as operation

NAMES = ("cv.site.test", "www.site.test")
TIMER = {"state": "enabled", "active": True, "last": None, "next": None, "result": ""}
CERTIFICATE = {"names": list(NAMES), "serial": "0A"}
STORED: dict[str, Any] = {
    "installed": CERTIFICATE, "lineage": CERTIFICATE, "same": True, "pair": True, "served_is_installed": True,
    "authority": "https://ca.test", "renewal": {"on": True, "hook": True, "before": ""}, "certbot": "4.0.0",
    "asks_authority": False, "renews": None, "timer": TIMER,
}  # fmt: skip


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, chosen: Any) -> dict[str, str]:
    """The serial that is presented and where it was asked for; the settings are those of `chosen`."""
    chosen.site_domain, chosen.domains, chosen.trusted_proxies = NAMES[0], NAMES, ()
    chosen.public_address, chosen.https_port, chosen.trusted_ca_file = "203.0.113.10", 443, None
    monkeypatch.setattr(operation.settings, "load", lambda _: chosen)
    monkeypatch.setattr(operation, "_trust", lambda s, settings: "")
    seen = {"serial": "A", "address": ""}

    def presented(address: str, port: int, name: str) -> Presented:
        seen["address"] = address
        return Presented(NAMES, "An Authority", seen["serial"], time.time() - 86400, time.time() + 86400 * 44)

    monkeypatch.setattr(operation, "presented", presented)
    return seen


def test_a_good_certificate_ends_well(served: dict[str, str]) -> None:
    report = operation.status(FakeHost(certificate=STORED))
    assert (report.status, report.data["ok"]) == (ExitStatus.OK, True)
    assert served["address"] == "203.0.113.10"
    assert report.data["facts"]["installed"] == CERTIFICATE


def test_another_one_than_the_stored_is_unhealthy(served: dict[str, str]) -> None:
    served["serial"] = "B"
    report = operation.status(FakeHost(certificate=STORED))
    assert report.status == ExitStatus.UNHEALTHY
    assert "visitors get another certificate" in report.text
    assert [finding["grade"] for finding in report.data["findings"]] == ["error"]


def test_issuing_names_what_the_settings_name(served: dict[str, str]) -> None:
    done = {"event": "done", "data": {"status": 0, "changed": True}}
    host = FakeHost(certificate=done)
    report = operation.issue(host, force=True, check=False, wait=3)
    assert "the new certificate is served" in report.text
    [words] = host.words("certificate")
    assert words[:4] == ("certificate", "issue", "--force", "--skip-check")
    assert " ".join(words).count("--name") == 2
    assert "--name cv.site.test --name www.site.test" in " ".join(words)
    assert words[-2:] == ("--wait", "3")


def test_renewing_names_none(served: dict[str, str]) -> None:
    host = FakeHost(certificate={"event": "done", "data": {"status": 0, "changed": False}})
    assert "not due yet" in operation.renew(host, force=False, dry_run=False, wait=0).text
    assert "--name" not in host.words("certificate")[0]


def test_what_the_host_could_not_do_is_the_error(served: dict[str, str]) -> None:
    cause = "www.site.test does not resolve"
    host = FakeHost(certificate={"event": "failed", "data": {"status": 12, "cause": cause, "hint": "make a record"}})
    with pytest.raises(HostFailed, match=cause):
        operation.issue(host, force=False, check=True, wait=0)


def test_a_rehearsal_that_is_forced_is_refused(served: dict[str, str]) -> None:
    host: Any = SimpleNamespace()
    with pytest.raises(UsageError):
        operation.renew(host, force=True, dry_run=True, wait=0)
