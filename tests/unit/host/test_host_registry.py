"""Asking a registry what a tag stands for: a real server on loopback plays the registry."""

from __future__ import annotations

import hashlib
import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from host import registry, resolve
from host.registry import Access, NotAvailable


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


CONFIG = json.dumps({"rootfs": {"diff_ids": ["a", "b"]}, "config": {"Volumes": {"/data": {}}}}).encode()
IMAGE = json.dumps({
    "config": {"digest": digest(CONFIG)}, "layers": [{"size": 100}, {"size": 20}],
}).encode()  # fmt: skip
INDEX = json.dumps({
    "manifests": [
        {"digest": "sha256:other", "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": digest(IMAGE), "platform": {"os": "linux", "architecture": "amd64"}},
    ]
}).encode()  # fmt: skip


@dataclass
class Registry:
    """What the server has, how it wants to be spoken to, and what it was asked."""

    port: int = 0
    answers: dict[str, bytes] = field(default_factory=dict)
    scheme: str = ""  # "", basic or bearer
    redirect: dict[str, str] = field(default_factory=dict)
    status: int = 200
    asked: list[tuple[str, str]] = field(default_factory=list)

    def serve(self, path: str, name: str = "shop/app", tag: str = "1.0") -> None:
        """Have an image under a name and tag; `path` is what the tag leads to: an index or an image."""
        base = f"/v2/{name}"
        self.answers[f"{base}/manifests/{tag}"] = INDEX if path == "index" else IMAGE
        self.answers[f"{base}/manifests/{digest(IMAGE)}"] = IMAGE
        self.answers[f"{base}/blobs/{digest(CONFIG)}"] = CONFIG

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def server() -> Iterator[Registry]:
    made = Registry()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

        def send(self, status: int, data: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization", "")
            made.asked.append((self.path, authorization))
            path = self.path.partition("?")[0]
            if path == "/token":
                good = not authorization or b64decode(authorization.split()[1]) == b"me:pa$$ word"
                return self.send(200, b'{"token": "let-me-in"}') if good else self.send(401, b"{}")
            if made.scheme == "bearer" and authorization != "Bearer let-me-in":
                realm = f'Bearer realm="http://{made.host}/token",service="test"'
                return self.send(401, b"{}", WWW_Authenticate=realm)
            if made.scheme == "basic" and not authorization.startswith("Basic "):
                return self.send(401, b"{}", WWW_Authenticate='Basic realm="x"')
            if made.scheme == "basic" and b64decode(authorization.split()[1]) != b"me:pa$$ word":
                return self.send(401, b"{}", WWW_Authenticate='Basic realm="x"')
            if path in made.redirect:
                return self.send(307, b"", Location=made.redirect[path])
            if made.status != 200:
                return self.send(made.status, b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}')
            if path not in made.answers:
                return self.send(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}')
            return self.send(200, made.answers[path])

    instance = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = instance.server_address[1]
    threading.Thread(target=instance.serve_forever, daemon=True).start()
    yield made
    instance.shutdown()
    instance.server_close()


def look(server: Registry, access: Access | None = None, reference: str = "") -> registry.Found:
    return registry.look_up(reference or f"{server.host}/shop/app:1.0", access or Access(), "amd64")


@pytest.mark.parametrize("kind", ["index", "image"])
def test_a_tag_stands_for_what_the_registry_serves_under_it(server: Registry, kind: str) -> None:
    server.serve(kind)
    found = look(server)
    assert found.digest == digest(INDEX if kind == "index" else IMAGE), "of an index its own, not one platform's"
    assert (found.sizes, found.diff_ids, found.volumes) == ((100, 20), ("a", "b"), ("/data",))


def test_a_platform_that_is_not_offered_is_said_to_be_missing(server: Registry) -> None:
    server.serve("index")
    with pytest.raises(NotAvailable, match="linux/riscv64"):
        registry.look_up(f"{server.host}/shop/app:1.0", Access(), "riscv64")


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_a_login_is_given_where_it_is_asked_for(server: Registry, scheme: str) -> None:
    server.serve("image")
    server.scheme = scheme
    login = Access(login_host=server.host, user="me", password="pa$$ word")
    assert look(server, login).digest == digest(IMAGE)
    assert server.asked[0][1] == "", "and not before"


@pytest.mark.parametrize(("scheme", "said"), [("basic", "unauthorized"), ("bearer", "unauthorized")])
def test_a_wrong_password_is_said_to_be_refused_and_is_not_shown(server: Registry, scheme: str, said: str) -> None:
    server.serve("image")
    server.scheme = scheme
    with pytest.raises(NotAvailable, match=said) as caught:
        look(server, Access(login_host=server.host, user="me", password="hunter2-hunter2"))
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Access(password="hunter2"))


def test_a_login_for_one_registry_is_not_told_to_another(server: Registry) -> None:
    server.serve("image")
    server.scheme = "basic"
    with pytest.raises(NotAvailable, match="credentials"):
        look(server, Access(login_host="registry.test", user="me", password="pa$$ word"))
    assert {authorization for _, authorization in server.asked} == {""}


def test_a_token_may_be_had_without_a_login(server: Registry) -> None:
    server.serve("image")
    server.scheme = "bearer"
    assert look(server).digest == digest(IMAGE)


def test_what_was_said_to_the_registry_is_not_told_to_where_it_redirects(server: Registry) -> None:
    server.serve("image")
    server.scheme = "basic"
    blob = f"/v2/shop/app/blobs/{digest(CONFIG)}"
    server.redirect[blob] = f"http://localhost:{server.port}/elsewhere"
    server.answers["/elsewhere"] = CONFIG
    login = Access(login_host=server.host, user="me", password="pa$$ word")
    # the same server by another name: it asks for a login again, and gets none there
    with pytest.raises(NotAvailable):
        look(server, login)
    elsewhere = [authorization for path, authorization in server.asked if path == "/elsewhere"]
    assert elsewhere
    assert set(elsewhere) == {""}


def test_docker_hub_is_asked_through_its_mirror_and_official_images_have_their_place(server: Registry) -> None:
    server.serve("image", name="library/redis", tag="8")
    access = registry.access({"Mirrors": [f"http://{server.host}/"]}, "", "", "")
    assert look(server, access, "redis:8").digest == digest(IMAGE)


@pytest.mark.parametrize(
    ("status", "said"), [(429, "toomanyrequests"), (403, "denied"), (500, "status 500"), (404, "manifest unknown")]
)
def test_a_refusal_is_told_in_words(server: Registry, status: int, said: str) -> None:
    server.serve("image")
    server.status = status
    with pytest.raises(NotAvailable, match=said):
        look(server)


@pytest.mark.parametrize("data", [b"<html>", b"[]", b"x" * (registry._LIMIT + 1)])
def test_what_is_no_answer_of_a_registry_is_not_taken_for_one(server: Registry, data: bytes) -> None:
    server.answers["/v2/shop/app/manifests/1.0"] = data
    with pytest.raises(NotAvailable):
        look(server)


def test_an_answer_with_another_digest_than_asked_for_is_refused(server: Registry) -> None:
    server.serve("image")
    server.answers[f"/v2/shop/app/blobs/{digest(CONFIG)}"] = CONFIG + b" "
    with pytest.raises(NotAvailable, match="digest"):
        look(server)


def test_nobody_there_is_told_as_such() -> None:
    with pytest.raises(NotAvailable, match="refused"):
        registry.look_up("127.0.0.1:1/shop/app:1", Access(), "amd64")


def test_silence_is_a_timeout(server: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(registry, "_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NotAvailable, match="timeout"):
        registry.look_up(f"127.0.0.1:{silent.getsockname()[1]}/shop/app:1", Access(), "amd64")


@pytest.mark.parametrize(
    ("reference", "host", "path", "tag"),
    [
        ("redis", "docker.io", "library/redis", "latest"),
        ("redis:8", "docker.io", "library/redis", "8"),
        ("prom/prometheus:v3", "docker.io", "prom/prometheus", "v3"),
        ("index.docker.io/redis:8", "docker.io", "library/redis", "8"),
        ("localhost/x:1", "localhost", "x", "1"),
        ("r.test:5000/a/b/c:1", "r.test:5000", "a/b/c", "1"),
        ("redis@sha256:" + "0" * 64, "docker.io", "library/redis", ""),
    ],
)
def test_references_are_taken_apart_as_docker_does(reference: str, host: str, path: str, tag: str) -> None:
    found = registry.parse(reference)
    assert (found.host, found.path, found.tag) == (host, path, tag)


@pytest.mark.parametrize("reference", ["", "UPPER/case:1", "a b", "x:1:2", "-x/../y:1"])
def test_what_is_no_reference_is_refused(reference: str) -> None:
    with pytest.raises(NotAvailable):
        registry.parse(reference)


# -- what the host answers about its own images and those of a registry


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> dict[str, resolve.Local]:
    """The images of the host, by name."""
    there: dict[str, resolve.Local] = {}
    monkeypatch.setattr(resolve, "local", there.get)
    return there


def one(server: Registry, chains: list[tuple[str, ...]] | None = None) -> dict[str, Any]:
    return resolve._one(f"{server.host}/shop/app:1.0", Access(), "amd64", chains or [])


def test_what_is_still_to_be_transferred_are_the_layers_above_those_that_are_here(
    server: Registry, images: Any
) -> None:
    server.serve("image")
    assert one(server)["bytes"] == 120
    assert one(server, [("a", "x"), ("b",)])["bytes"] == 20
    assert one(server, [("a", "b", "c")])["bytes"] == 0


def test_an_image_that_is_here_costs_nothing(server: Registry, images: Any) -> None:
    server.serve("image")
    name = f"{server.host}/shop/app"
    images[f"{name}:1.0"] = resolve.Local("sha256:1", (f"{name}@{digest(IMAGE)}",), ())
    answer = one(server)
    assert (answer["digest"], answer["present"], answer["bytes"]) == (digest(IMAGE), True, 0)


def test_a_tag_that_was_moved_is_what_the_registry_says_now(server: Registry, images: Any) -> None:
    server.serve("image")
    name = f"{server.host}/shop/app"
    images[f"{name}:1.0"] = resolve.Local("sha256:1", (f"{name}@sha256:before",), ())
    assert one(server)["digest"] == digest(IMAGE)


def test_an_image_that_was_sent_here_is_what_no_registry_knows_better(server: Registry, images: Any) -> None:
    server.serve("image")
    images[f"{server.host}/shop/app:1.0"] = resolve.Local("sha256:1", (), ("/up",))
    answer = one(server)
    assert (answer["digest"], answer["id"], answer["source"]) == (None, "sha256:1", "host")
    assert answer["volumes"] == ["/up"]
    assert server.asked == []


def test_without_the_registry_the_image_that_is_here_will_do(server: Registry, images: Any) -> None:
    name = f"{server.host}/shop/app"
    images[f"{name}:1.0"] = resolve.Local("sha256:1", (f"{name}@sha256:before",), ())
    answer = one(server)
    assert (answer["digest"], answer["source"], answer["error"]) == ("sha256:before", "host", None)


def test_what_nobody_has_is_an_error_with_a_hint(server: Registry, images: Any) -> None:
    answer = one(server)
    assert f"{server.host}/shop/app:1.0" in answer["error"]
    assert "no such tag" in answer["error"]
    assert answer["hint"]
