"""The id of a plan tells whether it is still the same plan, and what moved when it is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tasks.model import plan
from tests.unit.model.test_plan import compute, make, observed


def again(change: Any) -> plan.Plan:
    status = observed()
    change(status)
    return compute(make(), status)


def test_the_same_host_and_target_have_the_same_id_whoever_asks_and_when() -> None:
    first = compute(make(), observed())
    status = copy.deepcopy(observed())
    status["containers"].reverse()
    status["clock"] = {"time": 5}
    assert compute(make(), status).id == first.id
    assert plan.moved(first.id, first) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(release="20261122T000000Z-2"),
        lambda s: s.update(program="q" * 64),
        lambda s: s["drift"].append({"path": "live/nginx/nginx.conf", "state": "changed"}),
        lambda s: s["containers"][0].update(id="another"),
        lambda s: s["containers"][0].update(state="exited"),
        lambda s: s["last"].update(result="failed"),
        lambda s: s.update(interrupted="20261122T000000Z-2"),
        lambda s: s.update(upstreams={"backend": "shop-backend-2"}),
        lambda s: s.update(unit={}),
        lambda s: s.update(neighbours=[{"app": "other", "domains": [], "release": "x", "memory": 0}]),
    ],
)
def test_a_host_that_moved_is_told_from_a_target_that_did(change: Any) -> None:
    first = compute(make(), observed())
    later = again(change)
    assert plan.moved(first.id, later) == "the host is not as it was then"


def test_another_target_is_told_from_a_host_that_moved() -> None:
    first = compute(make(), observed())
    later = compute(make(images={"backend": "backend:2"}), observed())
    assert plan.moved(first.id, later) == "what would be deployed is not what it was then"


def test_both_may_have_moved() -> None:
    status = observed(release="20261122T000000Z-2")
    later = compute(make(images={"backend": "backend:2"}), status)
    said = plan.moved(compute(make(), observed()).id, later)
    assert said == "the host is not as it was then and what would be deployed is not what it was then"


@pytest.mark.parametrize("text", ["", "x", "000000", "000000-00000g", "latest"])
def test_what_is_no_id_is_said_to_be_none(text: str) -> None:
    assert plan.moved(text, compute(make(), observed())) == "that is not the id of a plan"
