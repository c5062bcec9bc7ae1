"""What is said about a certificate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.core.presented import Presented
from tasks.model import ssl as model

NOW, DAY = 1_800_000_000.0, 86400.0
NAMES = ("cv.site.test", "stats.site.test")
GOOD = Presented(NAMES, "An Authority", "0A", NOW - 10 * DAY, NOW + 35 * DAY, False, False, "EC 256")
STORED: dict[str, Any] = {
    "installed": {"names": list(NAMES), "serial": "0A"}, "lineage": {"names": list(NAMES)}, "same": True, "pair": True,
    "served_is_installed": True, "authority": "https://ca.test", "certbot": "4.0.0", "renews": NOW + 20 * DAY,
    "renewal": {"on": True, "hook": True, "before": ""}, "asks_authority": False,
    "timer": {"state": "enabled", "active": True, "last": NOW - DAY, "next": NOW + DAY, "result": "success"},
}  # fmt: skip


def found(served: Presented = GOOD, untrusted: str = "", **stored: Any) -> list[str]:
    views = dict.fromkeys(NAMES, served)
    return [item.what for item in model.judge(STORED | stored, views, untrusted, wanted=NAMES, now=NOW)]


def test_a_certificate_that_is_well_has_no_findings() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("served", "untrusted", "expected"),
    [
        (replace(GOOD, not_after=NOW - 3 * DAY), "expired", "the certificate served has expired 3.0 days ago"),
        (replace(GOOD, not_before=NOW + DAY), "", "the certificate served counts from"),
        (replace(GOOD, not_after=NOW + 2 * DAY), "", "less than a quarter of its life is left (2.0 days)"),
        (replace(GOOD, revoked=True), "", "the certificate served has been revoked by its issuer"),
        (replace(GOOD, self_signed=True), "self-signed", "the certificate served signed itself"),
        (GOOD, "unable to get local issuer certificate", "browsers would not trust it: unable to get local issuer"),
        (replace(GOOD, names=NAMES[:1]), "", "the certificate served does not cover stats.site.test"),
        (Presented(error="TLS is refused"), "", "cv.site.test: TLS is refused"),
    ],
)
def test_each_fault_of_what_is_served_has_one_line(served: Presented, untrusted: str, expected: str) -> None:
    [line] = found(served, untrusted)
    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"installed": None}, "no certificate is installed for nginx"),
        ({"pair": False}, "the installed certificate and its key do not belong together"),
        ({"served_is_installed": False}, "nginx does not serve the installed certificate"),
        ({"installed": {"names": NAMES, "serial": "0B"}}, "visitors get another certificate (of An Authority)"),
        ({"renewal": {"on": False, "hook": True}}, "certbot is told not to renew it"),
        ({"renewal": {"on": True, "hook": False}}, "certbot would renew it and tell nobody"),
        ({"timer": STORED["timer"] | {"last": NOW - 9 * DAY}}, "certbot's timer has not run for 9.0 days"),
        ({"lineage": None}, "certbot has no certificate: nothing will be renewed"),
        ({"same": False}, "certbot's certificate is not the one installed: the hook has failed"),
        ({"installed": {"names": [*NAMES, "old.test"], "serial": "A"}}, "it still covers old.test"),
        ({"certbot": ""}, "certbot is not installed"),
        ({"timer": STORED["timer"] | {"state": "masked"}}, "certbot's timer is masked: nothing renews the certificate"),
        ({"timer": STORED["timer"] | {"active": False}}, "certbot's timer is not running"),
        ({"timer": STORED["timer"] | {"result": "exit-code"}}, "the last run of certbot's timer failed (exit-code)"),
        ({"renews": NOW - 5 * DAY}, "it was to be renewed on"),
    ],
)
def test_each_fault_of_what_is_stored_has_one_line(stored: dict[str, Any], expected: str) -> None:
    [line] = found(**stored)
    assert line.startswith(expected)


def test_a_proxy_that_is_meant_to_be_there_may_have_its_own_certificate() -> None:
    stored = STORED | {"installed": {"names": NAMES, "serial": "0B"}}
    views = dict.fromkeys(NAMES, GOOD)
    [finding] = model.judge(stored, views, "", wanted=NAMES, now=NOW, proxied=True)
    assert finding.grade == "warning"


def test_a_rehearsal_is_not_mended_by_issuing_again() -> None:
    stored = STORED | {"authority": "https://acme-staging-v02.api.letsencrypt.org/directory"}
    [finding] = model.judge(stored, dict.fromkeys(NAMES, GOOD), "unknown issuer", wanted=NAMES, now=NOW)
    assert finding.fix == "put the real ACME_SERVER back, then fab deploy"


@pytest.mark.parametrize(("asks", "said"), [(True, "earlier when the authority asks"), (False, "by the schedule of")])
def test_whose_schedule_it_is_renewed_by_is_said(asks: bool, said: str) -> None:
    facts = model.facts(STORED | {"asks_authority": asks}, GOOD, now=NOW)
    assert said in model.describe(facts, [], colour=False)
    assert ("earlier" in model.describe(facts, [], colour=False)) is asks


def test_what_cannot_be_known_is_said_to_be_unknown() -> None:
    facts = model.facts(STORED, replace(GOOD, revoked=None), now=NOW)
    assert "cannot be known" in model.describe(facts, [], colour=False)
    assert facts["days_left"] == 35.0
