"""What a backup or a restore that was cut off left is taken away, and the old data serve."""

from __future__ import annotations

from host import releases
from host.backup import catalog, client, policy, refill, restore
from host.config import Config
from host.errors import Failure
from host.events import Journal


def due(config: Config) -> bool:
    """Was a restore cut off?"""
    return any((config.state / name).exists() for name in (restore.MARK, refill.MARK))


def repair(config: Config, journal: Journal) -> None:
    """Do it, as far as there is anything. The caller holds the host's lock. Raises Failure when a server refuses."""
    if releases.current_id(config) is None:
        return
    client.sweep(config)
    catalog.sweep(config)
    if not due(config):
        return
    refill.repair(config, journal)
    if not restore.running(config):
        raise Failure("postgres does not run: a restore that was cut off cannot be ended", hint="start it: fab deploy")
    restore.repair(config, policy.load(config), journal)
