"""Which image a tag stands for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_session import FakeHost

from tasks.core.command import Secret
from tasks.core.errors import HostFailed
from tasks.model.images import Pin, Resolved
from tasks.operations import pins

DIGEST, OTHER, ID = "sha256:" + "a" * 64, "sha256:" + "b" * 64, "sha256:" + "c" * 64
CURRENT = {
    "services": {
        "backend": {"reference": "r.test/app:1", "pin": {"digest": DIGEST, "id": None}},
        "frontend": {"reference": "local/web:1", "pin": {"digest": None, "id": ID}},
        "redis": {"reference": "redis:8", "pin": {"digest": None, "id": None}},
        "nginx": {"image": "nginx:1"},
    }
}


def found(digest: str | None = OTHER, **more: Any) -> dict[str, Any]:
    return {"digest": digest, "id": ID, "present": False, "bytes": 7, "source": "registry", "volumes": []} | more


def test_what_the_current_release_pins_stays_and_nobody_is_asked(chosen: Any) -> None:
    host = FakeHost()
    made = pins.choose(host, chosen, ["r.test/app:1", "local/web:1"], CURRENT, built={}, anew=False)  # type: ignore[arg-type]
    assert made.pins == {"r.test/app:1": Pin(DIGEST, None), "local/web:1": Pin(None, ID)}
    assert (made.resolved, host.done) == ({}, [])


def test_what_it_does_not_pin_is_asked_for_at_once_with_the_password_on_stdin(chosen: Any) -> None:
    chosen.registry_password = Secret("hunter22")
    host = FakeHost(resolve={"images": {"r.test/app:2": found(), "redis:8": found(None, source="host", present=True)}})
    made = pins.choose(  # type: ignore[arg-type]
        host, chosen, ["r.test/app:2", "local/web:1", "redis:8", "redis:8"], CURRENT, built={}, anew=False
    )
    assert host.done == [("resolve",)]
    assert json.loads(host.stdin[0]) == {
        "images": ["r.test/app:2", "redis:8"], "registry": "r.test", "user": "me", "password": "hunter22"
    }  # fmt: skip
    assert made.pins["r.test/app:2"] == Pin(OTHER, ID)
    assert made.pins["redis:8"] == Pin(None, ID)
    assert set(made.resolved) == {"r.test/app:2", "redis:8"}
    assert made.resolved["r.test/app:2"].bytes == 7


def test_tags_are_looked_up_anew_when_that_is_asked_for(chosen: Any) -> None:
    host = FakeHost(resolve={"images": {"r.test/app:1": found()}})
    made = pins.choose(host, chosen, ["r.test/app:1"], CURRENT, built={}, anew=True)  # type: ignore[arg-type]
    assert made.pins == {"r.test/app:1": Pin(OTHER, ID)}


def test_what_was_built_here_is_pinned_by_its_id_whatever_was_pinned_before(chosen: Any) -> None:
    built = {"r.test/app:1": Resolved(None, ID, False, 9, "workstation", ())}
    host = FakeHost()
    made = pins.choose(host, chosen, ["r.test/app:1", "local/web:1"], CURRENT, built=built, anew=False)  # type: ignore[arg-type]
    assert made.pins["r.test/app:1"] == Pin(None, ID)
    assert (made.resolved, host.done) == (built, [])


def test_an_image_that_cannot_be_had_is_named_with_the_hosts_reason(chosen: Any) -> None:
    wrong = found(error="denied for hunter22", hint="look at REGISTRY_PASSWORD")
    host = FakeHost(resolve={"images": {"r.test/app:2": wrong, "redis:9": found(error="no such tag", hint="x")}})
    chosen.secrets = [Secret("hunter22")]
    with pytest.raises(HostFailed) as caught:
        pins.choose(host, chosen, ["r.test/app:2", "redis:9"], None, built={}, anew=False)  # type: ignore[arg-type]
    assert caught.value.one_line() == (
        "error: [vps] r.test/app:2: denied for ***; redis:9: no such tag. Next: look at REGISTRY_PASSWORD"
    )
