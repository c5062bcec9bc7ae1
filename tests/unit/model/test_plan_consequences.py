"""What a change costs: which services switch without an outage, what is transferred, what the disk must hold."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.model.images import Resolved
from tasks.model.plan import consequences, services
from tasks.model.plan.types import FileChange, ImageChange


def service(**changes: Any) -> dict[str, Any]:
    return {
        "image": "shop/backend:1", "reference": "shop/backend:1", "pin": None, "definition": "d", "config": ["c"],
        "secrets": [], "env_files": [], "reload": None, "healthcheck": True, "switch": None, "grace": 40.0,
        "volumes": {}, "memory": 100, **changes,
    }  # fmt: skip


def container(name: str, number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "service": name, "name": f"shop-{name}-{number}", "id": f"{name}{number}", "image": "shop/backend:1",
        "image_id": "sha256:1", "state": "running", **changes,
    }  # fmt: skip


def actions(entry: dict[str, Any], name: str = "backend", **seen: Any) -> dict[str, tuple[str, str]]:
    manifest = {"services": {name: entry}, "environment": {}}
    status = {"manifest": {"services": {name: service()}}, "containers": [container(name)], **seen}
    return {item.service: (item.action, item.outage) for item in services.changes(manifest, status, ())}


SWITCH = {"port": 8080, "probe": "/"}


def test_a_service_with_a_switch_has_no_outage_whatever_changes() -> None:
    for change in ({"image": "shop/backend:2"}, {"definition": "other"}):
        assert actions(service(switch=SWITCH, **change)) == {"backend": ("switch", "none")}


def test_a_database_that_is_made_anew_is_away_for_its_grace_period_and_its_start() -> None:
    [(action, outage)] = actions(service(definition="x", volumes={"v": "/data"}, grace=60.0), "postgres").values()
    assert action == "recreate"
    assert "up to 60 s" in outage
    assert "data stays" in outage


def test_nginx_that_is_made_anew_is_the_outage_of_the_whole_site() -> None:
    [(action, outage)] = actions(service(image="nginx:2"), "nginx").values()
    assert (action, "whole site" in outage) == ("recreate", True)


def test_an_image_that_came_without_a_registry_is_compared_by_its_id() -> None:
    same, other = ({"digest": None, "id": f"sha256:{number}"} for number in (1, 2))
    assert actions(service(pin=same, switch=SWITCH)) == {}
    assert actions(service(pin=other, switch=SWITCH)) == {"backend": ("switch", "none")}


def test_of_two_containers_the_one_nginx_is_pointed_at_counts_and_the_other_is_left_over() -> None:
    status = {"containers": [container("backend"), container("backend", 2)], "upstreams": {"backend": "shop-backend-2"}}
    assert services.containers(status)["backend"]["name"] == "shop-backend-2"
    assert services.left_over({"services": {"backend": service(switch=SWITCH)}}, status) == ["shop-backend-1"]


def test_without_a_word_from_nginx_the_running_one_counts() -> None:
    status = {"containers": [container("backend", state="exited"), container("backend", 2)]}
    assert services.containers(status)["backend"]["name"] == "shop-backend-2"


def test_nginx_that_is_pointed_at_what_is_gone_is_pointed_at_what_is_there() -> None:
    made = {"services": {"backend": service(switch=SWITCH), "nginx": service()}}
    status = {"containers": [container("backend", 2)], "upstreams": {"backend": "shop-backend-1"}}
    assert services.astray(made, status) == {"shop-backend-1": "shop-backend-2"}
    assert services.edge([], astray=True) == "reload"
    assert services.astray(made, {**status, "upstreams": {"backend": "shop-backend-2"}}) == {}


def test_every_service_that_reads_an_env_file_gets_its_changes() -> None:
    made = {"services": {"worker": service(env_files=["backend.env"])}, "environment": {"backend": {"KEY": "new"}}}
    old = {"services": {"worker": service()}, "environment": {"backend": {"KEY": "old"}}}
    [change] = services.changes(made, {"manifest": old, "containers": [container("worker")]}, ())
    assert (change.action, change.reasons) == ("recreate", ("environment: KEY",))


def test_what_is_not_running_is_started_and_nobody_misses_it() -> None:
    stopped = [container("backend", state="exited")]
    changed = [FileChange("c/a.conf", "changed")]
    made = {"services": {"backend": service()}}
    [change] = services.changes(made, {"manifest": made, "containers": stopped}, changed)
    assert (change.action, change.outage) == ("start", "none")
    assert change.reasons == ("it is exited", "c/a.conf changed")
    made = {"services": {"backend": service(definition="x")}}
    old = {"services": {"backend": service()}}
    [change] = services.changes(made, {"manifest": old, "containers": stopped}, ())
    assert (change.action, change.outage) == ("recreate", "none")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "none"),
        ({"backend": "switch"}, "reload"),
        ({"nginx": "reload"}, "reload"),
        ({"nginx": "recreate"}, "restart"),
    ],
)
def test_what_happens_to_nginx_follows_from_the_rest(changes: dict[str, str], expected: str) -> None:
    made = [services.ServiceChange(name, action, ()) for name, action in changes.items()]
    assert services.edge(made) == expected


def test_an_image_of_two_services_is_transferred_once() -> None:
    manifest = {"services": {name: service(image="i:2", reference="i:2") for name in ("one", "two")}}
    found = list(services.images(manifest, {}, {"i:2": Resolved("sha256:x", None, False, 50, "registry")}))
    assert [(item.service, item.bytes) for item in found] == [("one", 50), ("two", 0)]


def space(free: int, *purposes: str, mount: str = "/") -> list[dict[str, Any]]:
    return [{"purpose": name, "mount": mount, "free": free, "total": 9 * free} for name in purposes]


def image(size: int, source: str = "registry") -> ImageChange:
    return ImageChange("backend", None, "b:2", size, source)


MB = 1 << 20
FILES = {"files": {"a": {"size": 1 * MB}}}


def test_what_goes_to_one_file_system_counts_together() -> None:
    disk = consequences.disk(FILES, {"space": space(1000 * MB, "images", "releases")}, [image(100 * MB)])
    assert disk["need"] == (300 + 2 + 64) * MB
    assert disk["after"] == (1000 - 302) * MB


def test_the_file_system_with_the_least_to_spare_is_the_one_that_counts() -> None:
    places = space(1000 * MB, "images") + space(10 * MB, "releases", mount="/opt")
    disk = consequences.disk(FILES, {"space": places}, [image(100 * MB)])
    assert disk["free"] == 10 * MB
    assert disk["need"] > disk["free"]


def test_a_host_that_does_not_say_has_no_shortage() -> None:
    assert consequences.disk(FILES, {}, [image(100 * MB)]) == {"need": 0, "free": 0, "after": 0}


def manifest(image: str, *words: str) -> dict[str, Any]:
    return {"services": {"backend": service(image=image)}, "settings": {"migration": list(words)}}


@pytest.mark.parametrize(
    ("old", "new", "due"),
    [
        (None, manifest("b:1", "migrate"), True),
        (manifest("b:1", "migrate"), manifest("b:1", "migrate"), False),
        (manifest("b:1", "migrate"), manifest("b:2", "migrate"), True),
        (manifest("b:1", "migrate"), manifest("b:1", "migrate", "--all"), True),
        (manifest("b:1"), manifest("b:1", "migrate"), True),
        (manifest("b:1", "migrate"), manifest("b:2"), False),
    ],
)
def test_a_migration_is_due_with_another_image_or_command(old: Any, new: dict[str, Any], due: bool) -> None:
    assert bool(consequences.migration(new, {"manifest": old})) is due


def test_a_rollback_names_the_migrations_between_and_no_others() -> None:
    names = [f"2026112{day}T100000Z-1" for day in range(1, 5)]
    results = {
        name: {"result": "healthy", "migrated": day != 1, "backup": f"/d/{day}"} for day, name in enumerate(names)
    }
    said = list(consequences.migrations_between(names[0], {"release": names[2], "results": results}))
    assert len(said) == 1
    assert names[2] in said[0]
    assert "/d/2" in said[0]


def test_both_versions_side_by_side_must_fit_or_it_is_said() -> None:
    made = {"services": {"backend": service(memory=60, switch=SWITCH), "redis": service(memory=30)}}
    assert not list(consequences.double_memory(made, {"memory": {"total": 150}}, ["backend"]))
    assert "side by side" in next(iter(consequences.double_memory(made, {"memory": {"total": 120}}, ["backend"])))
    assert not list(consequences.double_memory(made, {"memory": {"total": 120}}, []))


def with_rule(accepted: list[str], port: int = 8443) -> dict[str, Any]:
    ports = [{"published": port, "target": 443, "host_ip": "", "protocol": "tcp"}]
    return {
        "release": "r", "version": "1", "app": "shop", "files": {}, "accepted": accepted, "environment": {},
        "settings": {"domains": [], "migration": []},
        "services": {"nginx": service(image="nginx:1", ports=ports, healthcheck=True)},
    }  # fmt: skip


def refused(new: dict[str, Any], current: dict[str, Any] | None, kind: str = "deploy", **seen: Any) -> list[str]:
    from tasks.model import plan

    status = {"manifest": current, "release": "q", "certificate": {"names": [], "not_after": 9}, **seen}
    made = plan.compute(new, status, program="p", new={}, old={}, resolved={}, accepted=(), now=1.0, kind=kind)
    return [guard.rule for guard in made.refused]


def test_what_was_accepted_once_and_is_still_so_needs_no_new_word() -> None:
    assert refused(with_rule([]), with_rule(["published-port"])) == []


def test_the_same_rule_for_something_else_does() -> None:
    assert refused(with_rule([], port=9000), with_rule(["published-port"])) == ["published-port"]


def test_a_word_for_one_port_is_none_for_another_beside_it() -> None:
    new = with_rule([])
    new["services"]["redis"] = service(ports=[{"published": 6379, "target": 6379, "host_ip": "", "protocol": "tcp"}])
    assert refused(new, with_rule(["published-port"])) == ["published-port"]


def test_what_becomes_of_data_is_asked_each_time_also_on_the_way_back() -> None:
    target, current = with_rule(["postgres-major"], port=443), with_rule([], port=443)
    for made, reference in ((target, "postgres:17.1"), (current, "postgres:18.1")):
        made["services"]["postgres"] = service(reference=reference)
    assert refused(target, current, "rollback") == ["postgres-major"]


def test_what_runs_without_having_been_accepted_is_refused() -> None:
    assert refused(with_rule([]), with_rule([])) == ["published-port"]


def test_going_back_to_a_release_takes_what_was_accepted_for_it() -> None:
    assert refused(with_rule(["published-port"]), None, "rollback") == []
    assert refused(with_rule([]), None, "rollback") == ["published-port"]


def test_edits_by_hand_are_never_accepted_for_next_time() -> None:
    drift = [{"path": "live/nginx/nginx.conf", "state": "changed"}]
    accepted = with_rule(["published-port", "drift"])
    assert refused(accepted, accepted, drift=drift) == ["drift"]
    assert refused(accepted, None, "rollback", drift=drift) == ["drift"]
