"""Asking a registry what a tag stands for: a real server on loopback plays the registry."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPMessage
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
    drip: float = 0  # seconds between two bytes
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
            if made.drip:
                for byte in data:
                    try:
                        self.wfile.write(bytes([byte]))
                    except OSError:
                        return  # nobody listens any more
                    time.sleep(made.drip)
                return
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
    threading.Thread(target=instance.serve_forever, args=(0.01,), daemon=True).start()
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


def test_a_token_is_asked_for_with_the_login_and_for_that_repository_only(server: Registry) -> None:
    server.serve("image")
    server.scheme = "bearer"
    look(server, Access(login_host=server.host, user="me", password="pa$$ word"))
    tokens = [(path, authorization) for path, authorization in server.asked if path.startswith("/token")]
    assert [authorization for _, authorization in tokens] == [f"Basic {b64encode(b'me:pa$$ word').decode()}"]
    assert tokens[0][0] == "/token?service=test&scope=repository%3Ashop%2Fapp%3Apull"
    rest = [authorization for path, authorization in server.asked[2:] if not path.startswith("/token")]
    assert set(rest) == {"Bearer let-me-in"}


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


def test_a_blob_is_taken_from_where_the_registry_redirects_to(server: Registry) -> None:
    server.serve("image")
    server.redirect[f"/v2/shop/app/blobs/{digest(CONFIG)}"] = f"http://localhost:{server.port}/elsewhere"
    server.answers["/elsewhere"] = CONFIG
    assert look(server).diff_ids == ("a", "b")


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("https://r.test/other", True),
        ("https://elsewhere.test/token", False),
        ("https://r.test:8443/token", False),
        ("http://r.test/token", False),
    ],
)
def test_a_password_follows_a_redirect_only_to_the_same_host_in_the_same_way(target: str, told: bool) -> None:
    asked = urllib.request.Request("https://r.test/token", headers={"Authorization": "Basic x"})
    made = registry._Redirects().redirect_request(asked, io.BytesIO(), 307, "", HTTPMessage(), target)
    assert made is not None
    assert made.has_header("Authorization") is told


def test_docker_hub_is_asked_through_its_mirror_and_official_images_have_their_place(server: Registry) -> None:
    server.serve("image", name="library/redis", tag="8")
    access = registry.access({"Mirrors": [f"http://{server.host}/"]}, "", "", "")
    assert look(server, access, "redis:8").digest == digest(IMAGE)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Docker Hub itself, which knows nothing, was asked."""
    asked: list[str] = []
    real = registry._Repository._open

    def watched(self: registry._Repository, url: str, headers: Mapping[str, str] = {}) -> bytes:
        if url.startswith("https://registry-1.docker.io/"):
            asked.append(url)
            raise OSError(113, "No route to host")
        return real(self, url, headers)

    monkeypatch.setattr(registry._Repository, "_open", watched)
    return asked


def test_docker_hub_itself_is_not_asked_when_a_mirror_answers(server: Registry, hub: list[str]) -> None:
    server.serve("image", name="library/redis", tag="8")
    look(server, Access(mirrors=(f"http://{server.host}", "http://127.0.0.1:1")), "redis:8")
    assert hub == []


def test_a_mirror_that_does_not_have_it_leaves_it_to_the_next_and_then_to_docker_hub(
    server: Registry, hub: list[str]
) -> None:
    with pytest.raises(NotAvailable, match="no route to host"):
        look(server, Access(mirrors=("http://127.0.0.1:1", f"http://{server.host}")), "redis:8")
    assert [path for path, _ in server.asked] == ["/v2/library/redis/manifests/8"]
    assert hub == ["https://registry-1.docker.io/v2/library/redis/manifests/8"]


def test_a_mirror_is_one_of_docker_hub_and_of_nothing_else(server: Registry) -> None:
    mirror = Access(mirrors=(f"http://{server.host}",))
    with pytest.raises(NotAvailable, match="refused"):
        look(server, mirror, "127.0.0.1:1/shop/app:1.0")
    assert server.asked == []


@pytest.mark.parametrize(
    ("status", "said"), [(429, "toomanyrequests"), (403, "denied"), (500, "status 500"), (404, "manifest unknown")]
)
def test_a_refusal_is_told_in_words(server: Registry, status: int, said: str) -> None:
    server.serve("image")
    server.status = status
    with pytest.raises(NotAvailable, match=said):
        look(server)


SCHEMA_1 = b'{"schemaVersion": 1, "fsLayers": []}'


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>", b"\xff", b"[]", b"{}", SCHEMA_1, b'{"manifests": [1]}', b"[" * 100_000],
    ids=["nothing", "html", "binary", "list", "object", "schema 1", "numbers", "nested"],
)
def test_what_is_no_answer_of_a_registry_is_not_taken_for_one(server: Registry, data: bytes) -> None:
    server.answers["/v2/shop/app/manifests/1.0"] = data
    with pytest.raises(NotAvailable):
        look(server)


def test_an_answer_without_end_is_not_read_to_its_end(server: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    server.serve("image")
    monkeypatch.setattr(registry, "_LIMIT", len(IMAGE) - 1)
    with pytest.raises(NotAvailable, match=f"more than {len(IMAGE) - 1} bytes"):
        look(server)
    monkeypatch.setattr(registry, "_LIMIT", max(len(IMAGE), len(CONFIG)))
    assert look(server).digest == digest(IMAGE)


def test_an_answer_with_another_digest_than_asked_for_is_refused(server: Registry) -> None:
    server.serve("image")
    server.answers[f"/v2/shop/app/blobs/{digest(CONFIG)}"] = CONFIG + b" "
    with pytest.raises(NotAvailable, match="digest"):
        look(server)


def test_a_reference_by_digest_is_served_that_very_digest_or_nothing(server: Registry) -> None:
    server.serve("image")
    assert look(server, reference=f"{server.host}/shop/app:1.0@{digest(IMAGE)}").digest == digest(IMAGE)
    other = digest(b"another")
    server.answers[f"/v2/shop/app/manifests/{other}"] = IMAGE
    with pytest.raises(NotAvailable, match="digest"):
        look(server, reference=f"{server.host}/shop/app:1.0@{other}")


def test_nobody_there_is_told_as_such() -> None:
    with pytest.raises(NotAvailable, match="refused"):
        registry.look_up("127.0.0.1:1/shop/app:1", Access(), "amd64")


def test_silence_is_a_timeout(server: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(registry, "_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NotAvailable, match="timeout"):
        registry.look_up(f"127.0.0.1:{silent.getsockname()[1]}/shop/app:1", Access(), "amd64")


def test_an_answer_that_drips_is_a_timeout_as_well(server: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_TIMEOUT", 0.2)
    server.serve("image")
    server.drip = 0.02  # each piece in time, the whole not
    with pytest.raises(NotAvailable, match="timeout"):
        look(server)


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 70}.test"])
def test_what_cannot_be_the_name_of_a_host_is_one_that_is_not_found(host: str) -> None:
    with pytest.raises(NotAvailable, match="no such host"):
        registry.look_up(f"{host}/shop/app:1", Access(), "amd64")


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


def test_the_login_for_docker_hub_is_not_told_to_its_mirrors(server: Registry, hub: list[str]) -> None:
    server.serve("image", name="library/redis", tag="8")
    settings = {"Mirrors": [f"http://{server.host}/"]}
    access = registry.access(settings, "docker.io", "me", "somebody else's")
    server.scheme = "basic"
    with pytest.raises(NotAvailable, match="no route to host"):  # left to Docker Hub itself
        look(server, access, "redis:8")
    assert len(hub) == 1
    server.scheme = "bearer"
    assert look(server, access, "redis:8").digest == digest(IMAGE), "with a token for anybody"
    assert [authorization for _, authorization in server.asked if authorization.startswith("Basic")] == []


def test_docker_hub_itself_is_told_its_login_with_mirrors_and_without() -> None:
    for mirrors in ((), ("http://mirror.test",)):
        access = Access(mirrors=mirrors, login_host="docker.io", user="me", password="x")
        asked = registry._Repository("https://registry-1.docker.io", registry.parse("redis:8"), access)
        assert asked._log_in('Basic realm="x"') == f"Basic {b64encode(b'me:x').decode()}"


@pytest.mark.parametrize(
    ("base", "realm", "told"),
    [
        ("https://r.test", "https://auth.test/token", True),
        ("https://r.test", "http://auth.test/token", False),
        ("http://r.test", "http://r.test/token", True),  # an insecure registry of the engine's own settings
    ],
)
def test_a_registry_with_tls_cannot_have_the_password_sent_without(
    monkeypatch: pytest.MonkeyPatch, base: str, realm: str, told: bool
) -> None:
    asked: list[str] = []

    def answer(self: registry._Repository, url: str, headers: Mapping[str, str] = {}) -> bytes:
        asked.append(headers.get("Authorization", ""))
        return b'{"token": "t"}'

    monkeypatch.setattr(registry._Repository, "_open", answer)
    plain = frozenset({"r.test"} if base.startswith("http:") else ())
    access = Access(plain=plain, login_host="r.test", user="me", password="hunter2")
    repository = registry._Repository(base, registry.parse("r.test/shop/app:1"), access)
    challenge = f'Bearer realm="{realm}",service="x"'
    if told:
        assert repository._log_in(challenge) == "Bearer t"
        assert asked == [f"Basic {b64encode(b'me:hunter2').decode()}"]
    else:
        with pytest.raises(NotAvailable, match="plain http"):
            repository._log_in(challenge)
        assert asked == []
