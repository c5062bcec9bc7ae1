"""Images without a registry: built here, and sent to the host over SSH without the layers it has."""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tasks.core import engine, events, project, settings
from tasks.core.errors import ConnectionLost, InfraError, Refused, UsageError
from tasks.core.progress import Progress, size
from tasks.core.settings import Settings
from tasks.core.task import Report
from tasks.model import parcel as parcels
from tasks.model import saved
from tasks.model.images import Resolved
from tasks.operations import hostprogram, layers
from tasks.operations.layers import Comparison

if TYPE_CHECKING:
    from tasks.core.session import Session

_MARGIN = 64 << 20  # bytes that stay free on the host
# Level 1 makes the images 2.3 to 2.7 times smaller at 100 MB/s, which pays on every line below 500 Mbit/s; level 6
# takes a tenth off that again at a third of the speed.
_GZIP_LEVEL = 1

_lock = threading.Lock()
_built: set[tuple[str, Path, str | None]] = set()


def build(s: Session, chosen: Settings) -> dict[str, str]:
    """Build the images that BACKEND_BUILD and FRONTEND_BUILD name directories for, for the platform of the host.

    Shows the builds' output. Returns the id each image will have on the host, by reference as the settings have it.
    Raises UsageError when there is nothing to build, or no docker here; InfraError when a build fails.
    """
    contexts = {chosen.backend_image: chosen.backend_build, chosen.frontend_image: chosen.frontend_build}
    wanted = {reference: context for reference, context in contexts.items() if context is not None}
    if not wanted:
        raise UsageError("there is nothing to build", hint="set BACKEND_BUILD or FRONTEND_BUILD to a directory")
    here, there = engine.about(), layers.ask(s, chosen, {}, {})
    platform = None if here.architecture == there["arch"] else f"linux/{there['arch']}"
    with _lock:  # all hosts of one command line get the same image: built twice it could have two ids
        for reference, context in wanted.items():
            if (reference, context, platform) not in _built:
                s.out.step(f"build: {reference} from {context}{f' for {platform}' if platform else ''}")
                engine.build(reference, context, platform, lambda line: s.out.raw(f"    {line}"))
                _built.add((reference, context, platform))
    return dict(layers.compare(s, chosen, list(wanted)).ids)


def offer(s: Session, chosen: Settings, references: Sequence[str]) -> Mapping[str, Resolved]:
    """What the images here are, and how many bytes of layers (before compression) `push` has to send for each.

    Changes nothing. A layer that several images share counts for the first. Raises as `layers.compare`.
    """
    found = layers.compare(s, chosen, references)
    parts = _parts(found.parcel())
    return {
        reference: Resolved(
            digest=None,
            id=found.ids[reference],
            present=reference in found.present,
            bytes=parts.get(reference, 0),
            source="workstation",
            volumes=image.volumes,
        )
        for reference, image in found.local.items()
    }


def _parts(parcel: parcels.Parcel) -> dict[str, int]:
    """Bytes of layers to send, by reference."""
    left = {layer.blob: layer.size for layer in parcel.layers.values()}
    return {image.reference: sum(left.pop(layer.blob, 0) for layer in image.layers) for image in parcel.images}


def push(s: Session, chosen: Settings, references: Sequence[str]) -> dict[str, Any]:
    """Send the images that the host does not have, without the layers it has; says so when there is nothing to send.

    Returns {"images": {reference: id}, "sent": [reference], "layers": bytes of layers sent, "wire": bytes on the line}.
    Raises as `layers.compare`; Refused when the host's disk is too small; Locked or HostFailed as the host says;
    ConnectionLost. Whatever is raised, the host has an image whole or not at all.
    """
    found = layers.compare(s, chosen, references)
    result = {"images": dict(found.ids), "sent": found.absent, "layers": 0, "wire": 0}
    if not found.absent:
        s.out.info(f"nothing to send, on the host already: {', '.join(found.local)}")
        return result
    if found.store == "containerd":
        s.out.info("the host keeps images in containerd's store, which wants every layer: all are sent")
    parcel = found.parcel()
    needed = parcel.room + _MARGIN
    if needed > found.free:
        raise Refused(
            f"taking in the images needs {size(needed)} on the host, {size(found.free)} are free",
            host=s.name,
            hint="free some there: docker system df; docker image prune",
        )
    before = s.counters.bytes_sent
    _send(s, chosen, found, parcel)
    return {**result, "layers": parcel.content, "wire": s.counters.bytes_sent - before}


def _send(s: Session, chosen: Settings, found: Comparison, parcel: parcels.Parcel) -> None:
    expected = [f"{reference}={found.ids[reference]}" for reference in found.absent]
    command = hostprogram.command(chosen.app_name, "load", *expected, "--by", project.operator())
    renderer = events.Renderer(s.out)
    kept = sum(found.have[reference] for reference in found.absent) if found.store == "classic" else 0
    s.out.step(f"push: {', '.join(found.absent)}: layers to send: {len(parcel.layers)}, already there: {kept}")
    with contextlib.ExitStack() as stack:
        tar = stack.enter_context(engine.saving(found.absent)) if parcel.layers else None
        progress = s.out.progress("sending, compressed on the way:", parcel.size)
        try:
            result = s.lines(
                command,
                renderer.feed,
                stdin=_compressed(parcel, tar, progress),
                root=True,
                deadline=None,
                check=False,
            )
        except ConnectionLost as error:
            if renderer.final is None:
                raise ConnectionLost(
                    f"{error.cause}; what has not arrived whole is not taken in",
                    host=s.name,
                    hint="run the same again: what is there is not sent twice",
                ) from error
            events.verdict(renderer.final, s.name)
        else:
            events.verdict(renderer.final, s.name, exit_status=result.status, stderr=result.stderr)


def _compressed(parcel: parcels.Parcel, tar: BinaryIO | None, progress: Progress) -> Iterator[bytes]:
    packer = zlib.compressobj(_GZIP_LEVEL, wbits=zlib.MAX_WBITS | 16)  # 16: with gzip's header and checksum
    try:
        for chunk in parcel.stream(tar):
            yield packer.compress(chunk)
            progress.advance(len(chunk))
    except saved.Unreadable as error:
        raise InfraError(f"`docker save` here: {error}", hint="run the same again") from error
    yield packer.flush()
    progress.finish()  # and not later: Docker's work over there is not part of the speed


def push_named(s: Session, names: str) -> Report:
    """`push` for `names`, comma separated; the application's own two images without any."""
    chosen = settings.load(s.settings_file)
    references = [name.strip() for name in names.split(",") if name.strip()]
    done = push(s, chosen, references or [chosen.backend_image, chosen.frontend_image])
    if not done["sent"]:
        return Report(data=done)
    sent = f"{size(done['layers'])} of layers, {size(done['wire'])} on the line"
    return Report(data=done, text=f"{s.name}: {', '.join(done['sent'])} sent ({sent})")


def build_configured(s: Session) -> Report:
    """`build` for the settings of the host."""
    done = build(s, settings.load(s.settings_file))
    return Report(data={"images": done}, text="\n".join(f"{reference} is {image}" for reference, image in done.items()))
