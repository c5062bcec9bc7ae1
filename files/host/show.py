"""Handing out files of a release, never secret ones."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from pathlib import Path
from typing import BinaryIO

from host import manifest, releases
from host.config import Config
from host.errors import Failure, Status

_LIVE = "live/"
_SIZE = 1 << 20  # bytes of one file


def _public(found: releases.Release, path: str) -> None:
    """Raise Failure unless `path` in live/ is one that every container may read."""
    inner = path.removeprefix(_LIVE)
    entry = found.manifest.files.get(inner)
    services = found.manifest.services.values()
    public = any(inner.startswith(f"{prefix}/") for service in services for prefix in service.config)
    hidden = {"secrets", *(prefix for service in services for prefix in service.secrets)}
    secret = (entry and entry.secret) or any(inner.startswith(f"{prefix}/") for prefix in hidden)
    if manifest.bad_path(inner) or secret or not public:
        raise Failure(f"{path[:100]} is not shown", hint="secrets are compared by digest", status=Status.FAILED)


def _read(base: Path, inner: str) -> bytes:
    """At most a megabyte (of the manifest: all) of a plain file below `base`; no link is followed on the way to it."""
    path = base / inner
    if path.parent.resolve() != (base.resolve() / inner).parent:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        return stream.read(manifest.SIZE_LIMIT if inner == manifest.NAME else _SIZE)


def show(config: Config, release: str, paths: list[str], out: BinaryIO) -> None:
    """Write a tar of `paths` of `release` ("current" is one) to `out`. Raises Failure for secret or unknown paths."""
    found = releases.load(config, release)
    for path in [path for path in paths if path.startswith(_LIVE)]:
        _public(found, path)
    for path in [path for path in paths if not path.startswith(_LIVE)]:
        entry = found.manifest.files.get(path)
        if path != manifest.NAME and entry is None:
            raise Failure(
                f"release {found.id} has no file {path[:100]!r}", hint="see its manifest", status=Status.FAILED
            )
        if entry is not None and entry.secret:
            raise Failure(
                f"{path} is secret and is not shown", hint="secrets are compared by digest", status=Status.FAILED
            )
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in paths:
            try:
                data = _read(config.root if path.startswith(_LIVE) else found.path, path)
            except (OSError, RuntimeError):  # RuntimeError: links that lead in a circle
                if path.startswith(_LIVE):
                    continue  # somebody made a link or a directory of it: that is drift without a text
                raise Failure(f"{path} of release {found.id} cannot be read", hint="deploy again") from None
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
