"""Reading the Compose file."""

from __future__ import annotations

import pytest
import yaml

from tasks.core import project
from tasks.model import compose

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
        assert published == {"nginx": ["${HTTP_PORT}:80", "${HTTPS_PORT}:443"]}

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
