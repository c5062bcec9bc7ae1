"""Rules that refuse: what each of them finds, and what it lets pass."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tasks.model import guards
from tasks.model.images import Resolved

GIB = 1 << 30


def entry(image: str, **changes: Any) -> dict[str, Any]:
    return {
        "image": image, "reference": image, "healthcheck": True, "volumes": {}, "anonymous": [], "binds": {},
        "tmpfs": [], "ports": [], "memory": GIB, "data_directory": None, **changes,
    }  # fmt: skip


def release() -> dict[str, Any]:
    return {
        "app": "shop",
        "placeholders": [],
        "settings": {"domains": ["shop.test"]},
        "services": {
            "postgres": entry(
                "postgres:17.12",
                volumes={"shop_data": "/var/lib/postgresql/data"},
                data_directory="/var/lib/postgresql/data",
            ),
            "redis": entry("redis:8.0.5", volumes={"shop_redis": "/data"}, data_directory="/data"),
            "grafana": entry("grafana:1", volumes={"shop_grafana": "/var/lib/grafana"}, memory=0),
            "backend": entry("shop/backend:1.0.0"),
            "nginx": entry("nginx:1.30.6", ports=[port(80), port(443)]),
        },
    }


def port(published: int, host_ip: str = "", protocol: str = "tcp") -> dict[str, Any]:
    return {"published": published, "target": published, "host_ip": host_ip, "protocol": protocol}


def judge(change: Any = None, *, old: Any = None, status: Any = None, resolved: Any = None) -> dict[str, str]:
    """The rules that refuse when `change` is made to what runs; `old` changes what runs, `status` what is seen."""
    before, after = release(), release()
    if old:
        old(before["services"])
    if change:
        change(after)
    seen = {
        "manifest": before, "volumes": ["shop_data", "shop_redis", "shop_grafana"], "memory": {"total": 8 * GIB},
        "drift": [], "neighbours": [], **(status or {}),
    }  # fmt: skip
    return dict(guards.judge(after, seen, resolved or {}))


def of(name: str, **changes: Any) -> Any:
    """The change of a service's facts."""
    return lambda made: made["services"][name].update(changes)


def test_nothing_speaks_against_what_runs_already() -> None:
    assert judge() == {}


def test_nothing_speaks_against_a_first_deploy() -> None:
    assert judge(status={"manifest": None, "volumes": []}) == {}


@pytest.mark.parametrize(
    ("change", "rule", "said"),
    [
        (of("redis", volumes={"shop_cache": "/data"}), "new-empty-volume", "shop_redis"),
        (of("redis", volumes={"shop_redis": "/elsewhere"}, data_directory=None), "new-empty-volume", "/elsewhere"),
        (of("postgres", reference="postgres:18.1"), "postgres-major", "17 -> 18"),
        (of("postgres", reference="postgres@sha256:" + "0" * 64), "postgres-major", "do not tell"),
        (of("postgres", reference="registry.test:5000/mine/postgres:18"), "postgres-major", "17 -> 18"),
        (of("redis", reference="redis:7-alpine"), "redis-major", "8 -> 7"),
        (of("postgres", data_directory="/var/lib/postgresql/18/docker"), "data-outside-volume", "18/docker"),
        (of("redis", volumes={}, binds={"/srv/redis": "/data"}), "data-outside-volume", "/data"),
        (of("postgres", data_directory="/var/lib/postgresql/data/sub"), "new-empty-volume", "shop_data/sub"),
        (of("postgres", binds={"/srv/pg": "/var/lib/postgresql/data/pg"}, data_directory="/var/lib/postgresql/data/pg"),
         "data-outside-volume", "data/pg"),
        (of("grafana", volumes={}), "data-outside-volume", "/var/lib/grafana"),
        (of("backend", anonymous=["/uploads"]), "data-outside-volume", "/uploads"),
        (of("redis", ports=[port(6379)]), "published-port", "6379/tcp"),
        (of("redis", ports=[port(6379, "0.0.0.0")]), "published-port", "6379/tcp"),
        (of("nginx", ports=[port(0)]), "published-port", "any/tcp"),
        (lambda made: made["services"].pop("redis"), "service-with-data-removed", "shop_redis"),
        (of("backend", memory=6 * GIB), "memory-overcommitted", "9216 MB"),
        (of("backend", healthcheck=False), "healthcheck-dropped", "backend"),
        (lambda made: made.update(placeholders=["backend: MAIL_KEY"]), "placeholder-secret", "MAIL_KEY"),
    ],
)  # fmt: skip
def test_a_change_that_loses_something_is_refused(change: Any, rule: str, said: str) -> None:
    found = judge(change)
    assert rule in found
    assert said in found[rule]
    assert "\n" not in found[rule]


@pytest.mark.parametrize(
    "change",
    [
        of("postgres", reference="postgres:17.13", image="postgres:17.13"),
        of("redis", ports=[port(6379, "127.0.0.1")]),
        of("redis", ports=[port(6379, "::1")]),
        of("nginx", ports=[port(80), port(443), port(443, "", "udp")]),
        of("backend", volumes={"shop_uploads": "/uploads"}),
        lambda made: made["services"].pop("backend"),
        lambda made: made["services"].update(db=made["services"].pop("postgres")),
        of("backend", memory=4 * GIB),
    ],
)
def test_a_change_that_loses_nothing_is_let_through(change: Any) -> None:
    assert judge(change) == {}


def test_a_volume_that_is_gone_from_the_host_would_be_a_new_one() -> None:
    assert "gone" in judge(status={"volumes": ["shop_data", "shop_grafana"]})["new-empty-volume"]


def test_a_volume_is_not_gone_when_the_engine_does_not_answer() -> None:
    assert judge(status={"volumes": [], "docker": None}) == {}


def test_a_volume_that_somebody_else_makes_is_not_looked_for_among_those_of_the_project() -> None:
    change = of("grafana", external=["shop_grafana"])
    assert judge(change, status={"volumes": ["shop_data", "shop_redis"]}) == {}


def test_a_database_that_had_no_named_volume_before_gets_a_new_and_empty_one() -> None:
    def before(services: dict[str, Any]) -> None:
        services["redis"]["volumes"] = {"shop_other": "/other"}

    assert "shop_redis" in judge(old=before)["new-empty-volume"]


def test_what_an_image_declares_as_its_data_must_be_in_a_volume() -> None:
    def found(*volumes: str) -> dict[str, Resolved]:
        return {"postgres:17.12": Resolved(None, None, True, 0, "registry", volumes)}

    assert judge(resolved=found("/var/lib/postgresql/data")) == {}
    assert "/backup" in judge(resolved=found("/backup"))["data-outside-volume"]


def test_memory_of_the_other_applications_counts_as_well() -> None:
    others = [{"app": "other", "domains": [], "release": "x", "memory": 5 * GIB}]
    assert "5120 MB are other applications" in judge(status={"neighbours": others})["memory-overcommitted"]


def test_a_project_of_another_name_for_the_same_domain_is_a_renamed_one() -> None:
    one = {"app": "oldname", "domains": ["shop.test"], "release": "x", "memory": 0}
    assert "oldname" in judge(status={"neighbours": [one]})["project-renamed"]
    assert judge(status={"neighbours": [{**one, "domains": ["staging.test"]}]}) == {}


def test_files_edited_by_hand_are_not_overwritten_silently() -> None:
    drift = [{"path": "live/nginx/nginx.conf", "state": "changed"}]
    assert "live/nginx/nginx.conf" in judge(status={"drift": drift})["drift"]


def test_what_a_deploy_that_was_cut_off_left_is_no_edit_by_hand() -> None:
    drift = [{"path": "live/nginx/nginx.conf", "state": "changed"}]
    assert judge(status={"drift": drift, "interrupted": "20261122T100000Z-1"}) == {}
    assert judge(status={"drift": drift, "busy": {"what": "deploy of 20261122T100000Z-1"}}) == {}


def test_a_release_of_before_these_facts_were_recorded_is_judged_without_them() -> None:
    bare = {name: {"image": item["image"], "healthcheck": True} for name, item in release()["services"].items()}

    def before(services: dict[str, Any]) -> None:
        services.clear()
        services.update(copy.deepcopy(bare))

    assert judge(old=before) == {}


def test_every_rule_has_its_sentence_and_no_other_is_given() -> None:
    import inspect
    import re

    source = inspect.getsource(guards)
    named = set(re.findall(r'yield\s*\(?\s*"([a-z-]+)"', source)) | {"postgres-major", "redis-major"}
    assert named == set(guards.RULES)
