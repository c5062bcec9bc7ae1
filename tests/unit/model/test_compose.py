"""Reading the Compose file."""

from __future__ import annotations

import re

import pytest
import yaml

from tasks.core import project
from tasks.model import compose, notation

LIVE = "/opt/shop/live"


def parse(text: str, **environment: str) -> dict[str, compose.Service]:
    return compose.parse(text.encode(), environment, LIVE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "one"),
        ("x${A}y${A}", "xoney" + "one"),
        ("$$A", "$A"),
        ("$${A}", "${A}"),
        ("$A", "one"),
        ("${EMPTY}", ""),
        ("${EMPTY:-word}", "word"),
        ("${EMPTY-word}", ""),
        ("${MISSING-word}", "word"),
        ("${MISSING:-}", ""),
        ("${A:+set}", "set"),
        ("${MISSING:+set}", ""),
        ("${A:?must}", "one"),
        ("no variable", "no variable"),
    ],
)
def test_variables_are_filled_in_as_compose_does(text: str, expected: str) -> None:
    assert compose.interpolate(text, {"A": "one", "EMPTY": ""}) == expected


def test_a_value_that_looks_like_a_variable_is_not_filled_in_again() -> None:
    assert compose.interpolate("${A}", {"A": "${B} $C $$"}) == "${B} $C $$"


@pytest.mark.parametrize("text", ["${MISSING}", "$MISSING", "${EMPTY:?must}"])
def test_a_variable_that_nothing_provides_is_named(text: str) -> None:
    with pytest.raises(compose.ComposeError, match=r"MISSING|EMPTY"):
        compose.interpolate(text, {"EMPTY": ""})


def test_only_mounts_below_the_live_directory_are_the_releases() -> None:
    services = parse(
        """
        services:
          web:
            image: nginx:1
            volumes:
              - ${ROOT}/live/nginx:/etc/edge:ro
              - ${ROOT}/live/secrets/web:/run/secrets:ro
              - ${ROOT}/shared/tls:/etc/tls:ro
              - data:/data
              - {type: bind, source: /opt/shop/live/more, target: /more}
        """,
        ROOT="/opt/shop",
    )
    assert services["web"].mounts == ("more", "nginx", "secrets/web")


def test_another_image_or_another_way_to_reload_is_not_another_definition() -> None:
    one = parse("services: {a: {image: 'x:1', x-reload: [kill]}}")["a"]
    two = parse("services: {a: {image: 'x:2', x-reload: [kick]}}")["a"]
    assert one.definition == two.definition
    assert (one.image, two.image) == ("x:1", "x:2")


def test_any_other_key_is_another_definition() -> None:
    assert (
        parse("services: {a: {image: x, mem_limit: 1g}}")["a"].definition
        != parse("services: {a: {image: x, mem_limit: 2g}}")["a"].definition
    )


def test_a_variable_with_another_value_is_another_definition() -> None:
    text = "services: {a: {image: x, environment: {K: '${V}'}}}"
    assert parse(text, V="1")["a"].definition != parse(text, V="2")["a"].definition


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not YAML"),
        ("a: 1", "no services"),
        ("services: [a]", "no services"),
        ("services: {a: {}}", "no image"),
        ("services: {a: {image: x, x-reload: kill}}", "list of words"),
    ],
)
def test_a_file_that_cannot_be_deployed_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(compose.ComposeError, match=reason) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


class TestShippedFile:
    """Promises of files/docker-compose.prod.yml that hold whatever the settings are."""

    document = yaml.safe_load((project.FILES / "docker-compose.prod.yml").read_bytes())

    def test_it_has_exactly_the_eight_services(self) -> None:
        assert sorted(self.document["services"]) == [
            "backend",
            "frontend",
            "grafana",
            "nginx",
            "node-exporter",
            "postgres",
            "prometheus",
            "redis",
        ]

    def test_only_nginx_publishes_ports_and_only_http_and_https(self) -> None:
        published = {name: body["ports"] for name, body in self.document["services"].items() if "ports" in body}
        assert published == {"nginx": ["${HTTP_PORT}:80", "${HTTPS_PORT}:443", "${QUIC_PUBLISH}:443/udp"]}

    @pytest.mark.parametrize("service", sorted(document["services"]))
    def test_every_service_is_confined(self, service: str) -> None:
        body = self.document["services"][service]
        assert body["cap_drop"] == ["ALL"]
        assert body["security_opt"] == ["no-new-privileges:true"]
        assert body["read_only"] is True
        assert int(body["user"].split(":")[0]) > 0
        assert body["mem_limit"]
        assert body["pids_limit"] > 0
        assert body["restart"] == "unless-stopped"
        assert body["logging"]["options"]["max-size"]
        assert body["healthcheck"]["test"]
        assert "docker.sock" not in str(body)

    @pytest.mark.parametrize("service", ["postgres", "redis"])
    def test_databases_are_on_an_internal_network_alone(self, service: str) -> None:
        networks = self.document["services"][service]["networks"]
        assert networks == ["data"]
        assert self.document["networks"]["data"]["internal"] is True

    def test_no_health_check_needs_curl(self) -> None:
        checks = [str(body["healthcheck"]["test"]) for body in self.document["services"].values()]
        assert not [check for check in checks if "curl" in check]

    def test_no_single_file_is_mounted(self) -> None:
        sources = [
            volume.split(":")[0] for body in self.document["services"].values() for volume in body.get("volumes", ())
        ]
        assert not [source for source in sources if source.startswith("${APP_ROOT}") and "." in source.split("/")[-1]]

    def test_volumes_and_networks_have_fixed_names(self) -> None:
        named = {**self.document["volumes"], **self.document["networks"]}
        assert all(body["name"] == "${APP_NAME}_" + key for key, body in named.items())


class TestFacts:
    """What the rules and the plan need to know of a service."""

    @staticmethod
    def of(body: dict, **top: object) -> compose.Service:
        import json

        text = json.dumps({"services": {"it": {"image": "x:1", **body}}, **top}).encode()
        return compose.parse(text, {}, "/opt/app/live")["it"]

    def test_a_named_volume_has_the_name_it_gets_on_the_host(self) -> None:
        found = self.of(
            {"volumes": ["data:/data", "/anonymous", "/etc/x:/x:ro"]}, volumes={"data": {"name": "shop_data"}}
        )
        assert found.volumes == {"shop_data": "/data"}
        assert found.anonymous == ("/anonymous",)
        assert found.binds == {"/etc/x": "/x"}

    def test_a_volume_without_a_name_of_its_own_is_called_as_compose_calls_it(self) -> None:
        volumes = {"data": None, "theirs": {"external": True}}
        found = self.of({"volumes": ["data:/data", "theirs:/theirs"]}, name="shop", volumes=volumes)
        assert found.volumes == {"shop_data": "/data", "theirs": "/theirs"}
        assert found.external == ("theirs",)

    @pytest.mark.parametrize("check", [{"disable": True}, {"test": "NONE"}, {"test": ["NONE"]}])
    def test_a_health_check_that_is_switched_off_is_none(self, check: dict) -> None:
        assert self.of({"healthcheck": check}).has_healthcheck is False

    def test_long_forms_of_mounts_are_read_as_well(self) -> None:
        mounts = [
            {"type": "volume", "source": "data", "target": "/data"},
            {"type": "volume", "target": "/loose"},
            {"type": "tmpfs", "target": "/run"},
            {"type": "bind", "source": "/srv", "target": "/srv"},
        ]
        found = self.of({"volumes": mounts, "tmpfs": ["/tmp:uid=1"]}, volumes={"data": None})
        assert (found.volumes, found.anonymous, found.tmpfs) == ({"data": "/data"}, ("/loose",), ("/run", "/tmp"))

    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ("80:80", [notation.Port(80, 80)]),
            ("127.0.0.1:9090:90/udp", [notation.Port(9090, 90, "127.0.0.1", "udp")]),
            ("[::1]:9090:90", [notation.Port(9090, 90, "::1")]),
            ("8080", [notation.Port(0, 8080)]),
            (8080, [notation.Port(0, 8080)]),
            ("8000-8001:80-81", [notation.Port(8000, 80), notation.Port(8001, 81)]),
            ({"target": 80, "published": "8080", "host_ip": "10.0.0.1"}, [notation.Port(8080, 80, "10.0.0.1")]),
            ({"target": 80}, [notation.Port(0, 80)]),
        ],
    )
    def test_ports_are_read_in_every_form(self, written: object, expected: list) -> None:
        assert notation.published(written) == expected

    @pytest.mark.parametrize("written", ["a:b", "1-3:1-2", ""])
    def test_a_port_that_is_none_is_refused(self, written: str) -> None:
        with pytest.raises(ValueError):
            notation.published(written)

    @pytest.mark.parametrize(
        ("written", "seconds"), [("1m30s", 90), ("40s", 40), ("500ms", 0.5), ("1h", 3600), (10, 10)]
    )
    def test_durations_are_read_as_compose_writes_them(self, written: object, seconds: float) -> None:
        assert notation.seconds(written) == seconds

    def test_a_duration_that_is_none_is_refused(self) -> None:
        with pytest.raises(compose.ComposeError, match="it"):
            self.of({"stop_grace_period": "soon"})

    @pytest.mark.parametrize(
        ("image", "body", "directory"),
        [
            ("postgres:17.12", {}, "/var/lib/postgresql/data"),
            ("postgres:18.1", {}, "/var/lib/postgresql/18/docker"),
            ("registry.test:5000/x/postgres:18@sha256:" + "0" * 64, {}, "/var/lib/postgresql/18/docker"),
            ("postgres:18.1", {"environment": {"PGDATA": "/data"}}, "/data"),
            ("postgres:18.1", {"environment": ["PGDATA=/data"]}, "/data"),
            ("redis:8", {}, "/data"),
            ("redis:8", {"command": ["redis-server", "--dir", "/var/redis"]}, "/var/redis"),
            ("nginx:1", {}, None),
        ],
    )
    def test_where_a_database_keeps_its_data_is_known(self, image: str, body: dict, directory: str | None) -> None:
        assert compose.data_directory(image, body) == directory

    def test_the_memory_limit_may_be_written_in_two_places(self) -> None:
        assert self.of({"mem_limit": "512m"}).memory == 512 << 20
        assert self.of({"deploy": {"resources": {"limits": {"memory": "1g"}}}}).memory == 1 << 30
        assert self.of({}).memory == 0

    def test_how_a_service_is_switched_is_no_part_of_its_definition(self) -> None:
        plain, switched = self.of({}), self.of({"x-switch": {"port": 80, "probe": "/up"}})
        assert switched.switch == compose.Switch(80, "/up")
        assert plain.definition == switched.definition

    @pytest.mark.parametrize("value", [{}, {"port": "x"}, "8080", {"probe": "/"}])
    def test_a_switch_without_a_port_is_refused(self, value: object) -> None:
        with pytest.raises(compose.ComposeError, match="x-switch"):
            self.of({"x-switch": value})

    @pytest.mark.parametrize("part", [{"ports": ["8080:8080"]}, {"container_name": "the-backend"}])
    def test_a_service_that_can_run_only_once_cannot_be_switched(self, part: dict) -> None:
        with pytest.raises(compose.ComposeError, match="beside"):
            self.of({"x-switch": {"port": 80}, **part})


def test_what_backs_a_volume_up_is_said_in_the_file() -> None:
    text = b"""
name: ${APP}
services: {a: {image: x}}
volumes:
  data: {name: "${APP}_d", x-backup: files}
  plain:
"""
    assert compose.backups(text, {"APP": "shop"}) == {"shop_d": "files", "shop_plain": ""}
    with pytest.raises(compose.ComposeError, match="x-backup is one of"):
        compose.backups(text.replace(b"files", b"tape"), {"APP": "shop"})


def test_every_volume_of_the_bundle_has_its_backup() -> None:
    text = project.read_tree()["docker-compose.prod.yml"]
    names = dict.fromkeys(re.findall(r"[A-Z_0-9]+", text.decode()), "x")
    assert set(compose.backups(text, names).values()) == {"postgres", "redis", "grafana", "none"}
