"""The edge: which containers nginx sends requests to, and that it really does."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from host import compose, durable, health, live
from host.certificate import EDGE, installed
from host.compose import Container
from host.config import Config
from host.errors import Failure, Status
from host.events import Step
from host.manifest import Manifest
from host.process import run
from host.releases import Release

FILE = "services.conf"
_LOADED = 15.0  # looks at a pace of `poll` that a reload may take until new workers answer
_RESOLVED = 1.0  # times `poll` that nginx gets to look up a new name before it is left with the name alone
_SERVER = re.compile(r"^upstream (\S+) \{[^}]*?server ([A-Za-z0-9_.-]+):\d+ resolve", re.M | re.S)


@dataclass(frozen=True)
class Target:
    """Where the requests of one service go: a container by its name, which survives its restarts, and its port.

    With `address` it is named by that too: nginx looks names up after a reload, and until then would have nobody.
    """

    container: str
    port: int
    address: str = ""


@dataclass(frozen=True)
class Workers:
    """The worker processes of nginx before a reload, by process id on the host; `container` is the one they are in."""

    container: str
    pids: frozenset[int]


NOBODY = Workers("", frozenset())


def render(targets: Mapping[str, Target], files: str) -> bytes:
    """The upstreams file for `targets` by service; `files` is the digest of what else nginx reads."""
    blocks = []
    for name, target in sorted(targets.items()):
        options = "max_fails=3 fail_timeout=5s;"
        servers = [f"    server {target.address}:{target.port} {options}"] if target.address else []
        servers.append(f"    server {target.container}:{target.port} resolve {options}")
        blocks.append("\n".join([f"upstream {name} {{", f"    zone {name} 64k;", *servers, "    keepalive 32;", "}"]))
    text = "# written at every switch: what is changed here by hand is lost\n" + "\n\n".join(blocks) + "\n"
    marker = hashlib.sha256(f"{files}\n{text}".encode()).hexdigest()[:16]
    return f'{text}\nmap $host $edge_marker {{\n    default "{marker}";\n}}\n'.encode()


def marker(text: bytes) -> str:
    """The marker that nginx shows once it has loaded `text`."""
    found = re.search(rb'\$edge_marker \{\s*default "([0-9a-f]+)"', text)
    return found[1].decode() if found else ""


def _text(config: Config) -> bytes:
    try:
        return (config.upstreams / FILE).read_bytes()
    except OSError:
        return b""


def serving(config: Config) -> dict[str, str]:
    """{service: name of the container nginx is pointed at}."""
    return dict(_SERVER.findall(_text(config).decode("utf-8", "replace")))


def expected(config: Config, manifest: Manifest) -> dict[str, Target]:
    """Where requests go now, and for services nginx does not know yet, where they will go first."""
    now = serving(config)
    return {
        name: Target(now.get(name) or f"{config.app}-{name}-1", switch.port)
        for name, switch in manifest.switched.items()
    }


def _files(config: Config, manifest: Manifest) -> str:
    edge = manifest.services.get(EDGE)
    return live.digest(edge, live.files(manifest, installed(config))) if edge else ""


def text_for(config: Config, manifest: Manifest) -> bytes:
    """The upstreams file as it has to be when no switch takes place."""
    return render(expected(config, manifest), _files(config, manifest))


def pointed(manifest: Manifest) -> frozenset[str]:
    """nginx, where it is pointed at containers: then `point` has it read its files, at the switch and not before."""
    return frozenset({EDGE} if manifest.switched and EDGE in manifest.services else ())


def prepare(config: Config, manifest: Manifest) -> None:
    """Have an upstreams file that knows every service: nginx does not start without one."""
    if manifest.switched.keys() - serving(config).keys():
        _write(config, text_for(config, manifest))


def _write(config: Config, text: bytes) -> None:
    if _text(config) != text:
        config.prepare()
        durable.write(config.upstreams / FILE, text, 0o644)
        durable.sync_directory(config.upstreams)


def loaded(container: Container, manifest: Manifest) -> str:
    """The marker of the configuration that the running nginx has loaded, "" when it does not tell."""
    words = manifest.services[EDGE].marker
    if not words:
        return ""
    done = run(["docker", "exec", container.id, *words], deadline=30, check=False)
    return done.text.strip() if done.status == 0 else ""


def workers(container: Container | None) -> Workers:
    """The worker processes nginx has now."""
    if container is None or container.state != "running":
        return NOBODY
    done = run(["docker", "top", container.id, "-eo", "pid,args"], deadline=30, check=False)
    lines = [line.split(None, 1) for line in done.text.splitlines()[1:]]
    return Workers(container.id, frozenset(int(words[0]) for words in lines if "worker process" in words[-1]))


def remaining(before: Workers) -> int:
    """How many of the workers are still there, with what they have not finished."""
    if not before.pids:
        return 0
    done = run(["docker", "top", before.container, "-eo", "pid,args"], deadline=30, check=False)
    if done.status != 0:
        return 0  # nginx itself is gone, and they with it
    now = {int(words[0]) for line in done.text.splitlines()[1:] if (words := line.split(None, 1))}
    return len(before.pids & now)


def point(
    config: Config, release: Release, targets: Mapping[str, Target], step: Step, check: Callable[[bytes], None]
) -> Workers:
    """Have nginx send the requests of each service to its target, and nowhere else; returns the workers before that.

    `check` tries the new upstreams file before nginx can see it. Raises Failure when that or nginx refuses it.
    """
    manifest = release.manifest
    names = {name: replace(target, address="") for name, target in targets.items()}
    final, before = render(names, _files(config, manifest)), _text(config)
    container = health.of_service(compose.containers(config), EDGE)
    if container is None or container.state != "running":
        raise Failure("nginx does not run", hint="read its log: docker ps -a", status=Status.UNHEALTHY)
    seen = loaded(container, manifest)
    if final == before and seen in (marker(final), ""):
        step.skip("nginx is pointed at the right containers")
        return NOBODY
    old = workers(container)
    try:
        # With the same names as before nginx knows their addresses already, if that is what it has loaded.
        if expected(config, manifest) != names or seen != marker(before):
            first = render(targets, _files(config, manifest))
            check(first)
            _load(config, manifest, container, first)
            time.sleep(_RESOLVED * config.poll)
        _load(config, manifest, container, final)
    except BaseException:
        _write(config, before or final)
        raise
    step.done(
        "nginx sends requests to " + ", ".join(target.container for target in names.values()),
        upstreams={name: target.container for name, target in names.items()},
    )
    return old


def _load(config: Config, manifest: Manifest, container: Container, text: bytes) -> None:
    _write(config, text)
    done = run(["docker", "exec", container.id, *manifest.services[EDGE].reload], deadline=60, check=False)
    if done.status != 0:
        raise Failure(
            f"nginx could not be reloaded: {done.last_line}", hint=f"read its log: docker logs {container.name}",
            status=Status.UNHEALTHY, data={"service": EDGE, "log": done.stderr.splitlines()[-20:]},
        )  # fmt: skip
    ends = time.monotonic() + _LOADED * config.poll
    while (seen := loaded(container, manifest)) != marker(text):
        if not manifest.services[EDGE].marker:
            return
        if time.monotonic() > ends:
            log = compose.log_tail(container)
            raise Failure(
                f"nginx was told to reload and goes on with its old configuration (marker {seen or 'unknown'})",
                hint=f"read its log: docker logs {container.name}", status=Status.UNHEALTHY,
                data={"service": EDGE, "log": log},
            )  # fmt: skip
        time.sleep(0.1)
