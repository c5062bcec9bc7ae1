"""What a deploy would do: manifests and observations in, plan out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.model import compose, manifest, plan
from tasks.model.bundle import Bundle, File

NOW = 1_000_000.0
PROGRAM = "p" * 64


class _Settings:
    """Only what a manifest takes from the settings."""

    releases_keep = 5
    health_timeout = 120
    acme_server = "https://ca.test/dir"
    acme_email = "ops@shop.test"
    domains = ("shop.test", "stats.shop.test")
    registry = registry_user = None
    drain_time = 30
    migration_command: tuple[str, ...] = ()
    postgres_user = postgres_db = "shop"
    http_port, https_port = 80, 443


def service(name: str, **changes: Any) -> compose.Service:
    fields = {
        "name": name,
        "image": f"{name}:1",
        "user": "101:101",
        "definition": f"definition of {name}",
        "mounts": (name, f"secrets/{name}"),
        "env_files": (f"{name}.env",) if name == "backend" else (),
        "check": None,
        "reload": ("reload",) if name == "nginx" else None,
        "has_healthcheck": True,
    }
    return compose.Service(**(fields | changes))


def make(
    files: Mapping[str, bytes] = {}, images: Mapping[str, str] = {}, environment: Mapping[str, str] = {}
) -> tuple[Bundle, dict[str, Any]]:
    """A stack of nginx (reloads), grafana (restarts) and backend (has an environment)."""
    content = {
        "docker-compose.prod.yml": b"services",
        "nginx/nginx.conf": b"one\ntwo\n",
        "grafana/board.json": b"{}",
        "secrets/grafana/admin": b"hunter2-hunter2",
        "backend.env": repr(sorted(environment.items())).encode(),
        **files,
    }
    bundle = Bundle(
        app="shop",
        version="1",
        files={
            path: File(data, 0o600 if secret else 0o644, secret)
            for path, data in content.items()
            for secret in [path.startswith("secrets/") or path.endswith(".env")]
        },
        services={name: service(name, image=images.get(name, f"{name}:1")) for name in ("nginx", "grafana", "backend")},
        environment={"backend": dict(environment)},
        references={name: images.get(name, f"{name}:1") for name in ("nginx", "grafana", "backend")},
    )
    origin = manifest.Origin(datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC), "me@here", None)
    return bundle, manifest.build(bundle, _Settings(), origin)  # type: ignore[arg-type]


def observed(**changes: Any) -> dict[str, Any]:
    """A host on which `make()` is deployed and runs."""
    _, current = make()
    return {
        "program": PROGRAM,
        "release": "20261121T100000Z-1",
        "manifest": copy.deepcopy(current),
        "drift": [],
        "containers": [
            {
                "service": name,
                "name": f"shop-{name}-1",
                "id": name,
                "image": f"{name}:1",
                "state": "running",
                "health": "healthy",
            }
            for name in ("nginx", "grafana", "backend")
        ],
        "last": {"release": "20261121T100000Z-1", "result": "done"},
        "certificate": {"names": ["shop.test", "stats.shop.test"], "not_after": NOW + 1},
        "unit": {"shop.service": "enabled"},
        **changes,
    }


def compute(wanted: tuple[Bundle, dict[str, Any]], status: Mapping[str, Any], **contents: bytes) -> plan.Plan:
    made, described = wanted
    new = {path: file.data for path, file in made.files.items() if not file.secret}
    return plan.compute(described, status, program=PROGRAM, new=new, old=contents, resolved={}, accepted=(), now=NOW)


def actions(made: plan.Plan) -> dict[str, str]:
    return {change.service: change.action for change in made.services}


def test_a_host_as_it_should_be_has_nothing_to_do() -> None:
    made = compute(make(), observed())
    assert made.is_empty
    assert "nothing to do" in plan.describe(made, "vps")


def test_a_rollback_to_a_release_that_is_the_same_moves_to_it_all_the_same() -> None:
    described, status = make()[1], observed()
    back = plan.compute(
        described, status, program=PROGRAM, new={}, old={}, resolved={}, accepted=(), now=NOW, kind="rollback"
    )
    assert (back.files, back.services, back.is_empty) == ((), (), False)
    assert described["release"] in plan.describe(back, "vps")


def test_an_edit_by_hand_is_shown_as_what_a_deploy_takes_away() -> None:
    status = observed(drift=[{"path": "live/nginx/nginx.conf", "state": "changed"}])
    made = compute(make(), status, **{"live/nginx/nginx.conf": b"one\ntwo\nmine\n", "nginx/nginx.conf": b"one\ntwo\n"})
    assert "-mine" in made.files[0].diff
    status["interrupted"] = "20261122T000000Z-2"
    assert compute(make(), status).files[0].action == "changed by a deploy that has not ended"


def test_a_secret_file_edited_on_the_host_is_named_and_marked() -> None:
    made = compute(make(), observed(drift=[{"path": "backend.env", "state": "changed"}]), **{"backend.env": b"KEY=1"})
    assert [(file.secret, file.diff) for file in made.files] == [(True, "")]


def test_who_and_when_do_not_make_a_difference() -> None:
    status = observed()
    status["manifest"] |= {"created": "2020", "by": "somebody@else", "revision": "abc", "release": "old"}
    assert compute(make(), status).is_empty


def test_a_first_deploy_creates_everything() -> None:
    empty = observed(release=None, manifest=None, containers=[], last=None, certificate=None, unit={})
    made = compute(make(), empty)
    assert actions(made) == {"nginx": "create", "grafana": "create", "backend": "create"}
    assert {file.action for file in made.files} == {"added"}
    assert [line.split(":")[0] for line in made.other] == ["certificate", "systemd"]


def test_a_changed_file_reloads_the_service_that_can_and_touches_no_other() -> None:
    wanted = make(files={"nginx/nginx.conf": b"one\nthree\n"})
    made = compute(wanted, observed(), **{"nginx/nginx.conf": b"one\ntwo\n"})
    assert actions(made) == {"nginx": "reload"}
    assert "-two" in made.files[0].diff
    assert "+three" in made.files[0].diff
    assert plan.files_to_compare(wanted[1], observed()) == ["nginx/nginx.conf"]


def test_a_changed_file_restarts_the_service_that_cannot_reload() -> None:
    assert actions(compute(make(files={"grafana/board.json": b"{1}"}), observed())) == {"grafana": "restart"}


def test_a_new_and_a_removed_file_of_a_service_count_as_well() -> None:
    assert actions(compute(make(files={"nginx/more.conf": b""}), observed())) == {"nginx": "reload"}
    status = observed()
    status["manifest"]["files"]["nginx/gone.conf"] = status["manifest"]["files"]["nginx/nginx.conf"]
    assert actions(compute(make(), status)) == {"nginx": "reload"}


def test_a_changed_secret_restarts_its_service_and_is_not_shown() -> None:
    wanted = make(files={"secrets/grafana/admin": b"correct-horse"})
    made = compute(wanted, observed())
    assert actions(made) == {"grafana": "restart"}
    text = plan.describe(made, "vps") + str(made.to_json())
    assert "correct-horse" not in text
    assert "hunter2" not in text
    assert "secret, not shown" in text
    assert plan.files_to_compare(wanted[1], observed()) == []


def test_a_changed_variable_recreates_its_service_and_is_named_without_its_value() -> None:
    made = compute(make(environment={"API_KEY": "fingerprint"}), observed())
    assert actions(made) == {"backend": "recreate"}
    assert made.services[0].reasons == ("environment: API_KEY",)


def test_another_image_recreates_its_service_alone() -> None:
    made = compute(make(images={"backend": "backend:2"}), observed())
    assert actions(made) == {"backend": "recreate"}
    assert made.images == (plan.ImageChange("backend", "backend:1", "backend:2", None, None),)
    assert "backend:1 -> backend:2" in plan.describe(made, "vps")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s["containers"].pop(0), {"nginx": "create"}),
        (lambda s: s["containers"][0].update(state="exited"), {"nginx": "start"}),
        (lambda s: s["containers"][2].update(image="backend:0"), {"backend": "recreate"}),
        (
            lambda s: s["containers"].append(
                {"service": "old", "name": "shop-old-1", "id": "o", "image": "x", "state": "running"}
            ),
            {"old": "remove"},
        ),
        (lambda s: s["manifest"]["services"]["nginx"].update(definition="other"), {"nginx": "recreate"}),
    ],
)
def test_what_runs_is_compared_and_not_only_what_was_pushed(
    change: Callable[[dict[str, Any]], object], expected: dict[str, str]
) -> None:
    status = observed()
    change(status)
    assert actions(compute(make(), status)) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"program": "q" * 64}, "host program"),
        ({"certificate": None}, "certificate: issue one"),
        ({"certificate": {"names": ["shop.test"], "not_after": NOW + 1}}, "does not cover stats.shop.test"),
        ({"certificate": {"names": list(_Settings.domains), "not_after": NOW - 1}}, "expired"),
        ({"unit": {"shop.service": "disabled"}}, "enable shop.service"),
        ({"last": {"release": "x", "result": "failed"}}, "did not finish"),
    ],
)
def test_what_else_is_not_in_order_is_named(changes: dict[str, Any], said: str) -> None:
    made = compute(make(), observed(**changes))
    assert not made.is_empty
    assert said in "".join(made.other)


def test_a_file_edited_on_the_host_is_put_right_and_reaches_its_service() -> None:
    made = compute(make(), observed(drift=[{"path": "live/nginx/nginx.conf", "state": "changed"}]))
    assert [(file.path, file.action) for file in made.files] == [("live/nginx/nginx.conf", "changed by hand")]
    assert actions(made) == {"nginx": "reload"}


def test_a_binary_file_is_named_without_a_diff() -> None:
    wanted = make(files={"nginx/nginx.conf": b"\xff\xfe"})
    made = compute(wanted, observed(), **{"nginx/nginx.conf": b"x"})
    assert [(file.action, file.diff) for file in made.files] == [("changed", "")]


def test_a_plan_is_json_all_through() -> None:
    import json

    assert json.loads(json.dumps(compute(make(), observed()).to_json()))["empty"] is True
