"""Where the site is looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fake_session import FakeHost

from tasks.core.visit import Answer, Served
from tasks.operations import health


class Visitor:
    """Notes where it is sent; the site is well and sends plain HTTP to its HTTPS port."""

    front = 200
    seen: list[str]
    address: str

    def __init__(self, address: str, ca_file: Any) -> None:
        type(self).address, type(self).seen = address, []

    def get(self, url: str) -> Answer:
        self.seen.append(url)
        if url.startswith("http://"):
            return Answer(308, {"location": "https://cv.site.test:8443/"}, "")
        hidden = url.endswith(("/metrics", "/health/deep"))
        return Answer(404 if hidden else self.front if url.endswith("8443/") else 200, {}, "")

    def certificate(self, name: str, port: int) -> Served:
        self.seen.append(f"{name} {port}")
        return Served(0.0, 9e9, "CA")


@pytest.fixture
def chosen() -> Any:
    return SimpleNamespace(
        site_domain="cv.site.test", site_url="https://cv.site.test:8443", grafana_url="https://stats.site.test:8443",
        http_port=8080, https_port=8443, public_address="203.0.113.9", trusted_ca_file=None, deep_health_public=False,
    )  # fmt: skip


def test_a_site_on_other_ports_is_looked_at_there(chosen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "Visitor", Visitor)
    checks = health.outside(FakeHost(), chosen)  # type: ignore[arg-type]
    assert [check.name for check in checks if not check.ok] == []
    assert sorted(Visitor.seen) == [
        "cv.site.test 8443",
        "http://cv.site.test:8080/",
        "https://cv.site.test:8443/",
        "https://cv.site.test:8443/health",
        "https://cv.site.test:8443/health/deep",
        "https://cv.site.test:8443/metrics",
        "https://stats.site.test:8443/health",
    ]
    assert Visitor.address == "203.0.113.9"


def test_a_site_that_is_closed_is_well_as_long_as_it_says_so(chosen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "Visitor", Visitor)
    monkeypatch.setattr(Visitor, "front", 503)
    for closed, failed in ((True, []), (False, ["https /"])):
        checks = health.outside(FakeHost(), chosen, closed=closed)  # type: ignore[arg-type]
        assert [check.name for check in checks if not check.ok] == failed


def test_deep_health_that_anybody_can_read_is_a_fault_unless_it_is_meant_to_be(
    chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "Visitor", Visitor)
    chosen.deep_health_public = True
    failed = [check.name for check in health.outside(FakeHost(), chosen) if not check.ok]  # type: ignore[arg-type]
    assert failed == ["https /health/deep"]  # this site hides it


def test_a_redirect_to_another_port_is_not_well(chosen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen.site_url = "https://cv.site.test"
    monkeypatch.setattr(health, "Visitor", Visitor)
    failed = [check for check in health.outside(FakeHost(), chosen) if not check.ok]  # type: ignore[arg-type]
    assert [(check.name, check.detail) for check in failed] == [("http redirect", "308 to https://cv.site.test:8443/")]


def test_the_checks_come_in_the_same_order_however_long_each_takes(
    chosen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "Visitor", Visitor)
    names = [[check.name for check in health.outside(FakeHost(), chosen)] for _ in range(5)]  # type: ignore[arg-type]
    assert all(each == names[0] for each in names)
    assert (names[0][0], names[0][-1]) == ("http redirect", "certificate")
