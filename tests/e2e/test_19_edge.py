"""The edge as strangers meet it: what they may ask, what they are told, and what happens when they ask too much."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.world import (
    APP,
    ROOT,
    SITE,
    Project,
    Watch,
    container_of,
    deep_health,
    inside,
    status,
    touched,
    visit,
    wait_until,
)
from tests.e2e.world import containers as running
from tests.lab.names import GRAFANA_DOMAIN, address, address6

CA = ROOT / ".lab" / "ca.pem"
EVERYWHERE = {
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "strict-origin-when-cross-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-embedder-policy": "credentialless",
    "x-permitted-cross-domain-policies": "none",
}
RATE, BURST = 30, 6


class Client:
    """Requests as they are written, to one address: no library that would tidy up a path."""

    def __init__(self, at: str, name: str = SITE) -> None:
        self.at, self.name = at, name

    def ask(
        self, path: str, headers: dict[str, str] | None = None, *, method: str = "GET", body: bytes | None = None
    ) -> http.client.HTTPResponse:
        context = ssl.create_default_context(cafile=CA)
        plain = socket.create_connection((self.at, 443), 10)
        connection = http.client.HTTPSConnection(self.name, context=context)
        connection.sock = context.wrap_socket(plain, server_hostname=self.name)
        connection._validate_path = lambda url: None  # type: ignore[attr-defined]
        connection.request(method, path, body=body, headers={"Host": self.name} | (headers or {}))
        answer = connection.getresponse()
        answer.text = answer.read().decode("utf-8", "replace")  # type: ignore[attr-defined]
        connection.close()
        return answer


V4, V6 = Client(address(1)), Client(address6(1))


@pytest.fixture(scope="module")
def strict(project: Project, deployed: Watch) -> Iterator[Project]:
    """The site with limits that a test can reach; who comes over IPv6 is let in while the site is closed."""
    saved = project.saved()
    project.set(
        API_RATE=str(RATE), API_BURST=str(BURST), PAGE_RATE="6000", PAGE_BURST="300", MAX_BODY_SIZE="64k",
        MAINTENANCE_ALLOW="fd31:213::/64", HTTP3="yes",
    )  # fmt: skip
    project.fab("firewall.apply", "-H", "lab", "--yes")
    project.fab("deploy", "-H", "lab", "--yes")
    yield project
    project.restore(saved)
    project.fab("firewall.apply", "-H", "lab", "--yes")
    project.fab("deploy", "-H", "lab", "--yes")


def log() -> list[dict[str, object]]:
    """nginx's access log, the newest last."""
    text = inside("sh", "-c", f"docker logs --tail 200 {container_of('nginx')} 2>/dev/null")
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", 200), ("/health", 200), ("/api/nothing", 404), ("/nothing", 404), ("/metrics", 404), ("/logo.svg", 200)],
)
def test_every_answer_has_each_header_once(strict: Project, path: str, expected: int) -> None:
    answer = V6.ask(path)
    assert answer.status == expected
    for name, value in EVERYWHERE.items():
        assert answer.headers.get_all(name) == [value], name
    policies = answer.headers.get_all("content-security-policy") or []
    assert len(policies) == 1
    html = (answer.getheader("content-type") or "").startswith("text/html")
    assert ("default-src 'none'" in policies[0]) or html
    assert answer.getheader("server") == "nginx"
    assert answer.getheader("x-powered-by") is None


def test_the_policy_of_a_page_is_its_own_with_the_nonce_of_its_scripts(strict: Project) -> None:
    answer = V6.ask("/")
    policy = answer.getheader("content-security-policy") or ""
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert nonce
    assert f'nonce="{nonce}"' in answer.text  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "path",
    [
        *("/metrics", "//metrics", "/./metrics", "/%6detrics", "/%6Detrics", "/api/../metrics", "/api/..%2fmetrics"),
        *("/metrics/", "/metrics?x=1", "/%2e/metrics", "/api/%2e%2e/metrics", "///metrics", "/ws/../metrics"),
    ],
)
def test_metrics_are_not_public_however_they_are_spelled(strict: Project, path: str) -> None:
    answer = V6.ask(path)
    assert answer.status == 404
    assert "# TYPE" not in answer.text  # type: ignore[attr-defined]


def test_deep_health_answers_the_host_and_not_the_public(strict: Project) -> None:
    assert V6.ask("/health/deep").status == 404
    assert deep_health()["status"] == 200


def test_a_name_that_is_not_ours_gets_nothing(strict: Project) -> None:
    context = ssl.create_default_context(cafile=CA)
    with socket.create_connection((address(1), 443), 10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="stranger.lab.test")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        Client(address(1)).ask("/", {"Host": "stranger.lab.test"})
    with socket.create_connection((address(1), 80), 10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: stranger.lab.test\r\n\r\n")
        try:
            assert plain.recv(100) == b""
        except ConnectionResetError:
            pass  # just as good


def test_who_visits_is_known_in_both_families_and_cannot_be_made_up(strict: Project) -> None:
    for client, network in ((V4, "172.31.213."), (V6, "fd31:213::")):
        sent = {"X-Request-ID": "mine", "X-Forwarded-For": "203.0.113.66"}
        identity = client.ask("/api/nothing", sent).getheader("x-request-id")
        assert identity
        assert identity != "mine"
        [line] = [line for line in log() if line["request_id"] == identity]
        assert str(line["remote_addr"]).startswith(network)
        assert line["upstream_status"] == "404"


def test_too_many_api_requests_are_answered_429_in_json_and_nothing_else_is_counted(strict: Project) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: V4.ask("/api/nothing"), range(4 * BURST)))
    refused = [answer for answer in answers if answer.status == 429]
    assert {answer.status for answer in answers} == {404, 429}
    assert len(refused) >= 2 * BURST
    assert int(refused[0].getheader("retry-after") or 0) == BURST * 60 // RATE
    assert json.loads(refused[0].text)["error"] == "too_many_requests"  # type: ignore[attr-defined]
    assert refused[0].headers.get_all("x-content-type-options") == ["nosniff"]
    assert V4.ask("/health").status == 200
    assert V4.ask("/").status == 200
    assert V6.ask("/api/nothing").status == 404, "another visitor is another count"


def test_a_body_that_is_too_large_is_refused(strict: Project) -> None:
    assert V6.ask("/api/visits", method="POST", body=b"x" * 70_000).status == 413


def test_http3_is_offered_and_spoken(strict: Project) -> None:
    assert V6.ask("/").getheader("alt-svc") == 'h3=":443"; ma=86400'
    words = ["docker", "run", "--rm", "--network", "lab", "--entrypoint", "curl", "-v", f"{CA}:/ca.pem:ro", "lab/vps"]
    words += ["-sS", "--http3-only", "--cacert", "/ca.pem", "--resolve", f"{SITE}:443:{address(1)}", "-o", "/dev/null"]
    words += ["-w", "%{http_version} %{http_code}", f"https://{SITE}/health"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "3 200", done.stderr


def test_pages_are_compressed_once(strict: Project) -> None:
    answer = V6.ask("/", {"Accept-Encoding": "gzip"})
    assert answer.headers.get_all("content-encoding") == ["gzip"]


@pytest.mark.parametrize(
    ("sent", "compressed"),
    [
        ({}, True),
        ({"Referer": f"https://{SITE}/page"}, True),
        ({"Referer": "https://elsewhere.test/"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, True),
    ],
)
def test_what_another_sites_page_asks_for_is_not_compressed(
    strict: Project, sent: dict[str, str], compressed: bool
) -> None:
    answer = V6.ask("/", {"Accept-Encoding": "gzip"} | sent)
    assert answer.status == 200
    assert (answer.getheader("content-encoding") == "gzip") is compressed
    assert answer.headers.get_all("x-frame-options") == ["DENY"]


def test_grafana_shows_one_dashboard_and_no_way_in(strict: Project) -> None:
    grafana = Client(address(1), GRAFANA_DOMAIN)
    front = grafana.ask("/")
    assert front.status == 302
    assert "/public-dashboards/" in (front.getheader("location") or "")
    assert grafana.ask("/health").status == 200
    for path in (
        *("/login", "//login", "/public/../login", "/public/..%2flogin", "/api/health", "/explore", "/metrics"),
        *("/api/ds/query", "/api/datasources/proxy/1/", "/api/public/dashboards/" + "0" * 32),
    ):
        assert grafana.ask(path).status in (400, 404), path


def test_grafana_is_administered_through_a_tunnel(strict: Project) -> None:
    """As docs/how-to/dashboards.md says it."""
    fields = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    inner = inside("docker", "inspect", "-f", fields, f"{APP}-grafana-1").strip()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["ssh", "-F", str(ROOT / ".lab/ssh_config"), "-l", "deploy", "-N", "-o", "ExitOnForwardFailure=yes"]
    tunnel = subprocess.Popen([*words, "-L", f"127.0.0.1:{port}:{inner}:3000", "lab"], stdin=subprocess.DEVNULL)
    try:

        def health() -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/api/health")
                return connection.getresponse().status
            except OSError:
                return 0

        assert wait_until("the tunnel", lambda: health() == 200, 15)
    finally:
        tunnel.terminate()
        tunnel.wait(10)


def test_the_site_is_closed_with_a_message_and_opened_again(strict: Project) -> None:
    message = "Back at 10 é <script>alert(1)</script> \"quoted\" $HOME 'x'"
    before = running()
    strict.fab("maintenance.on", "-H", "lab", "--message", message)
    try:
        page = V4.ask("/")
        assert (page.status, page.getheader("retry-after")) == (503, "300")
        assert "Back at 10 é &lt;script&gt;" in page.text  # type: ignore[attr-defined]
        assert page.headers.get_all("x-frame-options") == ["DENY"]
        api = V4.ask("/api/nothing")
        assert api.status == 503
        assert json.loads(api.text)["message"] == message  # type: ignore[attr-defined]
        assert V4.ask("/_next/static/x.js").status == 503
        assert V4.ask("/health").status == 200
        assert V6.ask("/").status == 200, "MAINTENANCE_ALLOW names this address"
        assert deep_health()["status"] == 200
        report = strict.json("health", "-H", "lab")
        assert report["ok"] is True
        assert any(check["name"] == "maintenance" for check in report["checks"])
        strict.fab("deploy", "-H", "lab", "--yes")  # nothing to do, and no complaint
    finally:
        strict.fab("maintenance.off", "-H", "lab")
    assert V4.ask("/").status == 200
    assert status()["maintenance"] is None
    assert touched(before) == {}, "nothing was restarted for it"
    assert "already" in strict.fab("maintenance.off", "-H", "lab").stdout


def test_who_cannot_be_reached_is_told_by_a_page_of_ours(strict: Project) -> None:
    frontend = container_of("frontend")
    inside("docker", "stop", "-t", "1", frontend)
    try:
        page = V6.ask("/")
        assert page.status in (502, 504)  # refused, or nobody at that address any more
        assert page.getheader("retry-after") == "10"
        assert "Just a moment" in page.text  # type: ignore[attr-defined]
        assert V6.ask("/_edge/style.css").status == 200
        assert V6.ask("/_edge/unavailable.html").status == 404, "only when there is a reason"
    finally:
        inside("docker", "start", frontend)
    wait_until("the page", lambda: V6.ask("/").status == 200, seconds=30)


def test_an_answer_over_plain_http_leads_to_https(strict: Project) -> None:
    answer = visit(f"http://{SITE}/a/b?c=d")
    assert (answer.status, answer.headers["location"]) == (308, f"https://{SITE}/a/b?c=d")
    assert inside("sh", "-c", f"docker exec {APP}-nginx-1 sh -c 'id -u; cat /proc/1/status | grep CapEff'").split() == [
        "101", "CapEff:", "0000000000000000",
    ]  # fmt: skip
