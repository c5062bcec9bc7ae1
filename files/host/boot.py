"""What systemd calls: `up` at boot, `stop` at shutdown."""

from __future__ import annotations

from host import apply, certificate, compose, edge, live, loaded, lock, releases, state
from host.backup import refill, repair
from host.config import Config
from host.errors import Failure, Status
from host.events import Journal
from host.health import of_service
from host.process import run
from host.releases import Release

_STOP = 600.0  # seconds: databases get the grace period their definition gives them


def all_well(config: Config, release: Release) -> bool:
    """Does everything run from the files of the release already, and nothing besides?"""
    found, manifest = compose.containers(config), release.manifest
    if any((of_service(found, name) or _NONE).state != "running" for name in manifest.services):
        return False
    if edge.pointed(manifest) and {c.service: c.name for c in found if c.service in manifest.switched} != edge.serving(
        config
    ):
        return False
    tls = certificate.installed(config)
    if len(found) != len(manifest.services) or state.marked(config) or live.compare(config.live, manifest, tls):
        return False
    return not loaded.stale(config, manifest, found, tls)


_NONE = compose.Container("", "", "", "missing", "", 0, 0, False, "", "")


def up(config: Config, journal: Journal, wait: float) -> dict[str, object]:
    """Have the current release run, repairing what a power cut in the middle of a deploy left.

    Waits `wait` seconds for the lock, but takes it only when there is something to do (a deploy that hands over to
    systemd holds it). An unhealthy service is a warning here: the unit must become active, for only then does a
    shutdown stop the containers in their own time. Returns the data of the done event; raises Failure.
    """
    if releases.current_id(config) is None:
        return {"message": "nothing is deployed yet"}
    if not repair.due(config) and all_well(config, releases.load(config, "current")):
        return {"message": "everything runs"}
    info = {"who": "systemd", "what": "start", "unit": f"{config.app}.service"}
    with lock.held(config.lock, config.app, info, wait, on_wait=lambda f: journal.warn(f"waiting: {f.cause}")):
        release = releases.load(config, "current")  # only now nobody can switch it any more
        cut_off = state.marked(config)
        if cut_off and cut_off != release.id:
            journal.warn(f"the deploy of {cut_off} was cut off: going back to {release.id}")
        if repair.due(config):
            refill.repair(config, journal)  # before Redis starts with what is half exchanged
        try:
            # Without a deploy cut off the containers are right as they are, whatever a newer Compose thinks of them.
            try:
                apply.repair(config, journal, recreate=cut_off is not None)
            finally:
                if repair.due(config):  # the application may be unwell because its database is closed
                    repair.repair(config, journal)
        except Failure as failure:
            if failure.status != Status.UNHEALTHY or not compose.containers(config):
                raise
            journal.warn(f"{failure.cause}. {failure.hint}", "health", **failure.data)
            return {"message": f"release {release.id} is up, but {failure.cause}", "release": release.id}
    return {"message": f"release {release.id} is up", "release": release.id}


def stop(config: Config) -> dict[str, object]:
    """Stop every container within its own grace period. Needs no lock: a shutdown does not wait."""
    if releases.current_id(config) is None:
        return {"message": "nothing is deployed yet"}
    run(compose.stop(config, releases.load(config, "current")), deadline=_STOP)
    return {"message": "stopped"}
