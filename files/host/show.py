"""Handing out files of a release, never secret ones."""

from __future__ import annotations

import io
import tarfile
from typing import BinaryIO

from host import manifest, releases
from host.config import Config
from host.errors import Failure, Status


def show(config: Config, release: str, paths: list[str], out: BinaryIO) -> None:
    """Write a tar of `paths` of `release` ("current" is one) to `out`. Raises Failure for secret or unknown paths."""
    found = releases.load(config, release)
    for path in paths:
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
                data = (found.path / path).read_bytes()
            except OSError:
                raise Failure(f"{path} of release {found.id} cannot be read", hint="deploy again") from None
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
