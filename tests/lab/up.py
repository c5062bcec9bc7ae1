"""The three things one does with the lab, whole: up, down, status."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import build, catalogue, engine, files, lock, publish, world
from .docker import LabError, docker
from .names import CACHE, MOST_HOSTS, NETWORK, PEBBLE, REGISTRY, STORAGE, address, alias, container
from .say import say


def up(hosts: int = 1, fresh: bool = False) -> None:
    """Bring the lab to at least `hosts` hosts, from whatever is there. `fresh`: host 1 is thrown away and made anew."""
    if not 1 <= hosts <= MOST_HOSTS:
        raise LabError(f"--hosts must be 1 to {MOST_HOSTS}")
    with lock.alone():
        _up(hosts, fresh)


def _up(hosts: int, fresh: bool) -> None:
    began = time.monotonic()
    engine.ensure()
    build.ensure()
    settings = files.settings()
    key = files.key()
    numbers = world.ensure(hosts, fresh)
    with ThreadPoolExecutor(4) as pool:
        publishing = pool.submit(publish.ensure)
        password = pool.submit(files.registry_password, settings["REGISTRY_PASSWORD"])
        authority = files.authorities()
        list(pool.map(lambda number: files.trust(number, authority), numbers))
        keys = dict(zip(numbers, pool.map(lambda number: files.admit(number, key), numbers), strict=True))
        for task in (publishing, password):
            task.result()
    files.write(files.KNOWN_HOSTS, files.known_hosts(keys))
    files.write(files.SSH_CONFIG, files.ssh_config(numbers))
    where = ", ".join(f"{alias(n)} ({address(n)})" for n in numbers)
    say(f"the lab is up: {where} ({time.monotonic() - began:.1f} s)")


def down(with_images: bool = False) -> None:
    """Remove the lab. Images and the registry's storage stay for the next time unless `with_images`."""
    if not engine.answers():
        raise LabError("no Docker engine answers. Next: start it, then `fab lab.down` again")
    with lock.alone():
        began = time.monotonic()
        gone = world.down()
        files.remove()
        if with_images:
            _empty_cache()
            say(f"removed {build.remove()} images and the caches")
        say(
            f"removed {', '.join(gone)} ({time.monotonic() - began:.1f} s)"
            if gone
            else "the lab is not up: nothing to remove"
        )


def _empty_cache() -> None:
    """Remove what is kept between two labs. The registry's storage is root's: another user lets a container do it."""
    for path in [p for p in CACHE.iterdir() if p.name != lock.FILE]:
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except PermissionError:
            docker("run", "--rm", "-v", f"{CACHE}:/cache", "lab/base-trixie", "rm", "-rf", f"/cache/{path.name}")


def status() -> dict[str, Any]:
    """What there is: engine, hosts, services, images that a next `up` would build. Reads only."""
    if not engine.answers():
        return {"up": False, "engine": False, "hosts": [], "services": [], "outdated_images": [], "network": NETWORK}
    running = {item["Name"].lstrip("/"): item for item in world.containers()}
    hosts = [
        {
            "alias": alias(n),
            "container": container(n),
            "address": address(n),
            "state": running[container(n)]["State"]["Status"],
        }
        for n in world.host_numbers()
    ]
    services = [
        {"container": n, "state": running[n]["State"]["Status"] if n in running else "missing"}
        for n in (REGISTRY, PEBBLE, STORAGE)
    ]
    healthy = bool(hosts) and all(x["state"] == "running" for x in [*hosts, *services]) and files.SSH_CONFIG.exists()
    return {
        "up": healthy, "engine": True, "hosts": hosts, "services": services, "network": NETWORK,
        "outdated_images": [i.local for i in build.outdated(catalogue.images())],
    }  # fmt: skip


def status_text(found: dict[str, Any]) -> str:
    """`status()` for people."""
    if not found["engine"]:
        return "no Docker engine answers"
    lines = ["the lab is up" if found["up"] else "the lab is not up (fab lab.up)"]
    lines += [f"  {h['alias']:<13} {h['address']:<15} {h['state']}" for h in found["hosts"]]
    lines += [f"  {s['container']:<13} {'':<15} {s['state']}" for s in found["services"]]
    if found["outdated_images"]:
        lines.append(
            f"  {len(found['outdated_images'])} images would be built first: {', '.join(found['outdated_images'])}"
        )
    return "\n".join(lines)


def dns(number: int) -> None:
    """Make every name point at host `number`, as the ACME authority sees it."""
    if number not in world.host_numbers():
        raise LabError(f"there is no host {number}. Next: fab lab.up --hosts {number}")
    body = f'{{"ip": "{address(number)}"}}'
    docker("exec", PEBBLE, "curl", "-sS", "--fail", "-d", body, "http://localhost:8055/set-default-ipv4")
    say(f"every name now points at {alias(number)} ({address(number)})")
