"""Having every image a release names on this host before anything is touched."""

from __future__ import annotations

import base64
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from host import durable
from host.config import Config
from host.errors import Failure, one_line
from host.events import Step
from host.manifest import Settings
from host.process import run
from host.releases import Release

_PASSWORD = "secrets/registry/password"  # noqa: S105  (a path, not a password)
_PULL = 1800.0  # seconds for one image: a slow line, a large image
_ATTEMPTS = 3
_HUB = "https://index.docker.io/v1/"  # the name Docker itself uses for Docker Hub in config.json
_PASSING = re.compile(
    r"timeout|timed out|connection reset|unexpected EOF|50[0234] |TLS handshake|temporary failure", re.I
)


def missing(images: list[str]) -> list[str]:
    """Those of `images` that are not on this host."""
    if (
        not images
        or run(["docker", "image", "inspect", "--format", "{{.Id}}", *images], deadline=60, check=False).status == 0
    ):
        return []
    return [
        image
        for image in images
        if run(["docker", "image", "inspect", "--format", "{{.Id}}", image], deadline=60, check=False).status != 0
    ]


_SPACE = "free some: docker system df"
_CREDENTIALS = "check REGISTRY_USER and REGISTRY_PASSWORD"
_TAG = "check the tag in the settings, or push the image"
_NAME = "check its name and tag in the settings, or push the image"
# What `docker pull` says (lower case) -> the cause -> what to do. The first that matches is it.
_RULES = (
    ("no space left on device", "no space left on the disk", _SPACE),
    ("toomanyrequests", "{host} limits how often this host may pull", "wait an hour, or set REGISTRY_USER"),
    ("manifest unknown", "{host} has no such tag", _TAG),
    ("not found: manifest", "{host} has no such tag", _TAG),
    ("incorrect username or password", "{host} refuses the user or password", _CREDENTIALS),
    ("no basic auth credentials", "{host} wants a user and a password", "set REGISTRY_USER and REGISTRY_PASSWORD"),
    ("unauthorized", "{host} refuses the user or password", _CREDENTIALS),
    (
        "pull access denied",
        "{host} has no such image, or it is private",
        "check its name; a private one: REGISTRY_USER",
    ),
    ("denied", "{host} does not allow it", "check what REGISTRY_USER may read"),
    ("no such host", "the name of {host} cannot be resolved", "check REGISTRY and the host's DNS"),
    (
        "server gave http response to https",
        "{host} speaks plain http",
        "list it in insecure-registries, or give it TLS",
    ),
    (
        "signed by unknown authority",
        "the certificate of {host} is not trusted",
        "set TRUSTED_CA_FILE and run fab setup",
    ),
    ("connection refused", "{host} refuses connections", "check that the registry runs"),
    ("not found", "{host} has no such image", _NAME),
    ("timeout", "{host} does not answer", "check the host's network and try again"),
)


def explain(image: str, said: str) -> Failure:
    """Why an image could not be pulled, from what `docker pull` said."""
    first = image.partition("/")[0] if "/" in image else ""
    host = first if "." in first or ":" in first or first == "localhost" else "Docker Hub"
    for sign, cause, hint in _RULES:
        if sign in said.lower():
            return Failure(f"image {image} cannot be pulled: {cause.format(host=host)}", hint=hint)
    lines = [line for line in said.splitlines() if line.strip()]
    said = one_line(lines[-1] if lines else "no reason given")
    return Failure(f"image {image} cannot be pulled: {said}", hint="try it on the host: docker pull")


@contextmanager
def credentials(config: Config, settings: Settings, release: Path) -> Iterator[dict[str, str]]:
    """The environment for `docker pull`: a private DOCKER_CONFIG with the registry's password, gone afterwards."""
    password = release / _PASSWORD
    if not settings.registry_user or not password.is_file():
        yield {}
        return
    config.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    for stale in config.run.glob("docker-*"):
        shutil.rmtree(stale, ignore_errors=True)  # of an apply that was killed; only one runs at a time
    directory = Path(tempfile.mkdtemp(prefix="docker-", dir=config.run))  # born 0700
    try:
        secret = password.read_bytes().decode().rstrip("\r\n")
        token = base64.b64encode(f"{settings.registry_user}:{secret}".encode()).decode()
        server = settings.registry.partition("/")[0]
        if server in ("", "docker.io", "index.docker.io", "registry-1.docker.io"):
            server = _HUB
        durable.write(directory / "config.json", json.dumps({"auths": {server: {"auth": token}}}).encode(), 0o600)
        yield {"DOCKER_CONFIG": str(directory)}
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _pull(image: str, env: dict[str, str], step: Step, label: str) -> None:
    layers: dict[str, bool] = {}
    told = [0.0]

    def progress(line: str) -> None:
        layer, separator, what = line.partition(": ")
        if not separator or not re.fullmatch(r"[0-9a-f]{12}", layer):
            return
        layers[layer] = layers.get(layer, False) or what in ("Pull complete", "Already exists")
        if time.monotonic() - told[0] > 1.0 and what == "Pull complete":
            told[0] = time.monotonic()
            ready = sum(layers.values())
            step.output(f"{label}: {ready} of {len(layers)} layers", image=image, layers=len(layers), ready=ready)

    for attempt in range(1, _ATTEMPTS + 1):
        done = run(["docker", "pull", image], deadline=_PULL, env=env, check=False, on_line=progress)
        if done.status == 0:
            return
        said = done.stderr or done.text
        if attempt == _ATTEMPTS or not _PASSING.search(said):
            raise explain(image, said)
        step.output(f"{label}: {one_line(done.last_line)}; trying again", image=image)
        time.sleep(2 * attempt)


def identity(name: str) -> str | None:
    """The id of a local image, None when there is none of that name."""
    done = run(["docker", "image", "inspect", "--format", "{{.Id}}", name], deadline=60, check=False)
    return done.text.strip() or None if done.status == 0 else None


def _name_again(release: Release, step: Step) -> None:
    """Images that came without a registry are known by their id: have the tag of each stand for that again."""
    for service in release.manifest.services.values():
        wanted = service.pin.id if service.pin and not service.pin.digest else None
        if wanted is None or identity(service.image) == wanted:
            continue
        if identity(wanted) is None:
            raise Failure(
                f"image {service.image} is not here as it was sent ({wanted[:19]})",
                hint="send it again: fab images.push, or fab deploy --build",
            )
        run(["docker", "tag", wanted, service.image], deadline=60)
        step.output(f"{service.image} stands for {wanted[:19]} again")


def ensure(config: Config, release: Release, step: Step) -> None:
    """Pull the images of the release that are not here yet. Raises Failure naming the first one that cannot be had."""
    _name_again(release, step)
    images = sorted({service.image for service in release.manifest.services.values()})
    needed = missing(images)
    if not needed:
        step.skip(f"all {len(images)} images are here")
        return
    settings = release.manifest.settings
    with credentials(config, settings, release.path) as env:
        for number, image in enumerate(needed, 1):
            label = f"image {number} of {len(needed)}: {image}"
            began = time.monotonic()
            step.output(f"{label}: pulling", image=image)
            _pull(image, env, step, label)
            step.output(f"{label}: here after {time.monotonic() - began:.0f} s", image=image)
    step.done(f"{len(needed)} of {len(images)} images pulled", pulled=needed)


def remove(images: set[str]) -> None:
    """Give back the space of images no kept release names; the ones still in use stay (Docker refuses)."""
    for image in sorted(images):
        run(["docker", "image", "rm", image], deadline=120, check=False)
