"""Building here and sending there: what is asked, what is sent, what is refused. Docker and the host are stand-ins."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.core import engine
from tasks.core.command import Command
from tasks.core.engine import Engine, LocalImage
from tasks.core.errors import ConnectionLost, HostFailed, InfraError, Locked, Refused, UsageError
from tasks.core.output import Console, Output
from tasks.core.session import Result
from tasks.operations import images, layers

ONE, TWO = "shop/backend:1", "shop/frontend:1"
BASE, TOP, OTHER = b"base" * 5000, b"top" * 100, b"other" * 999


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Workstation:
    """The engine here: images as layers by reference."""

    stock: dict[str, list[bytes]] = field(default_factory=lambda: {ONE: [BASE, TOP], TWO: [BASE, OTHER]})
    kind: Engine = field(default_factory=lambda: Engine("classic", "amd64"))
    platform: str = "linux/amd64"
    saves: list[list[str]] = field(default_factory=list)
    builds: list[tuple[str, str | None]] = field(default_factory=list)

    def config(self, reference: str) -> bytes:
        diff_ids = [sha(layer) for layer in self.stock[reference]]
        return json.dumps({"name": reference, "rootfs": {"diff_ids": diff_ids}}).encode()

    def inspect(self, references: list[str]) -> dict[str, LocalImage]:
        found = {}
        for name in references:
            if name in self.stock:
                image = sha(self.config(name)) if self.kind.store == "classic" else sha(name.encode())
                found[name] = LocalImage(name, image, tuple(map(sha, self.stock[name])), self.platform, ("/data",))
        return found

    @contextlib.contextmanager
    def saving(self, references: list[str]) -> Iterator[io.BytesIO]:
        self.saves.append(list(references))
        files: dict[str, bytes] = {}
        manifest = []
        for reference in references:
            names = [f"{sha(layer)[7:]}/layer.tar" for layer in self.stock[reference]]
            files.update(zip(names, self.stock[reference], strict=True))
            name = f"{sha(self.config(reference))[7:]}.json"
            files[name] = self.config(reference)
            manifest.append({"Config": name, "RepoTags": [reference], "Layers": names})
        files["manifest.json"] = json.dumps(manifest).encode()
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        yield io.BytesIO(out.getvalue())

    def build(self, reference: str, context: Path, platform: str | None, on_line: Callable[[str], None]) -> None:
        self.builds.append((reference, platform))
        on_line("Step 1/1")


@dataclass
class Host:
    """A session: what the host has (references to ids, stacks of layers), and what it was asked and sent."""

    out: Output
    has: dict[str, str] = field(default_factory=dict)
    have: dict[str, int] = field(default_factory=dict)
    store: str = "classic"
    arch: str = "amd64"
    free: int = 10**12
    asked: list[dict[str, Any]] = field(default_factory=list)
    loads: list[tuple[list[str], bytes]] = field(default_factory=list)
    final: dict[str, Any] | None = field(default_factory=lambda: {"event": "done", "data": {}})
    failure: Exception | None = None
    name: str = "vps"
    counters = SimpleNamespace(bytes_sent=7)

    def run(self, command: Command, *, stdin: bytes, **_options: Any) -> Result:
        assert command.argv[:2] == ("/usr/local/bin/shop", "missing-layers")
        question = json.loads(stdin)["images"]
        self.asked.append({item["reference"]: item["id"] for item in question})
        states = {
            item["reference"]: {
                "present": self.has.get(item["reference"]) == item["id"],
                "have": self.have.get(item["reference"], 0),
            }
            for item in question
        }
        answer = {"images": states, "store": self.store, "arch": self.arch, "free": self.free}
        return Result(0, json.dumps(answer).encode() + b"\n", "")

    def lines(self, command: Command, on_line: Callable[[str], None], *, stdin: Any, **_options: Any) -> Result:
        assert command.argv[:2] == ("/usr/local/bin/shop", "load")
        self.loads.append((list(command.argv[2:]), b"".join(stdin)))
        if self.final:
            on_line(json.dumps(self.final))
        if self.failure:
            raise self.failure
        return Result(0, b"", "")

    @property
    def sent(self) -> dict[str, bytes]:
        """The files of the one tar that was sent."""
        ((_, data),) = self.loads
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as tar:
            return {x.name: content.read() for x in tar if (content := tar.extractfile(x)) is not None}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Workstation:
    made = Workstation()
    monkeypatch.setattr(engine, "about", lambda: made.kind)
    for name in ("inspect", "saving", "build"):
        monkeypatch.setattr(engine, name, getattr(made, name))
    layers._survey.cache_clear()
    images._built.clear()
    return made


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def host(said: io.StringIO) -> Any:
    return Host(Output(Console(stdout=said, stderr=said)))


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    return SimpleNamespace(
        app_name="shop", backend_image=ONE, frontend_image=TWO, backend_build=tmp_path, frontend_build=None
    )


def test_what_is_missing_is_sent_in_one_stream_with_shared_layers_once(
    here: Workstation, host: Any, settings: Any, said: io.StringIO
) -> None:
    done = images.push(host, settings, [ONE, TWO])
    ids = {name: sha(here.config(name)) for name in (ONE, TWO)}
    assert done == {"images": ids, "sent": [ONE, TWO], "layers": len(BASE) + len(TOP) + len(OTHER), "wire": 0}
    assert host.asked == [ids], "one round trip for all"
    assert host.loads[0][0][:3] == [f"{ONE}={ids[ONE]}", f"{TWO}={ids[TWO]}", "--by"]
    assert sorted(data for name, data in host.sent.items() if len(data) in (len(BASE), len(TOP), len(OTHER))) == sorted(
        [BASE, TOP, OTHER]
    )
    assert "sending" in said.getvalue()


def test_layers_and_images_that_are_there_are_not_sent(here: Workstation, host: Any, settings: Any) -> None:
    host.has, host.have = {TWO: sha(here.config(TWO))}, {ONE: 1, TWO: 2}
    done = images.push(host, settings, [ONE, TWO])
    assert (done["sent"], done["layers"]) == ([ONE], len(TOP))
    assert here.saves == [[ONE], [ONE]]
    assert TOP in host.sent.values()
    assert BASE not in host.sent.values()


def test_with_nothing_to_send_it_says_so_and_saves_nothing(
    here: Workstation, host: Any, settings: Any, said: io.StringIO
) -> None:
    host.has = {ONE: sha(here.config(ONE))}
    assert images.push(host, settings, [ONE, ONE])["sent"] == []
    assert "nothing to send, on the host already: shop/backend:1" in said.getvalue()
    assert (here.saves, host.loads, len(host.asked)) == ([], [], 1)


def test_with_every_layer_there_the_image_is_sent_without_reading_any(
    here: Workstation, host: Any, settings: Any
) -> None:
    host.have = {ONE: 2}
    assert images.push(host, settings, [ONE])["layers"] == 0
    assert here.saves == [[ONE]], "once, to learn what it is made of"
    assert next(iter(host.sent)) == "manifest.json"


@pytest.mark.parametrize(("local", "remote"), [("containerd", "classic"), ("classic", "containerd")])
def test_where_containerd_keeps_images_the_id_is_the_one_over_there(
    here: Workstation, host: Any, settings: Any, said: io.StringIO, local: str, remote: str
) -> None:
    here.kind, host.store = replace(here.kind, store=local), remote
    host.have = {ONE: 1}
    ids = images.push(host, settings, [ONE])["images"]
    assert host.asked[-1] == ids
    if remote == "classic":
        assert ids == {ONE: sha(here.config(ONE))}
        assert BASE not in host.sent.values()
    else:
        assert f"blobs/sha256/{ids[ONE][7:]}" in host.sent
        assert {BASE, TOP} <= set(host.sent.values())
        assert "all are sent" in said.getvalue()


def test_an_offer_counts_bytes_per_image_and_a_shared_layer_once(here: Workstation, host: Any, settings: Any) -> None:
    host.have = {TWO: 0}
    offered = images.offer(host, settings, [ONE, TWO])
    assert {name: item.bytes for name, item in offered.items()} == {ONE: len(BASE) + len(TOP), TWO: len(OTHER)}
    first = offered[ONE]
    assert (first.digest, first.id, first.present, first.source, tuple(first.volumes)) == (
        None, sha(here.config(ONE)), False, "workstation", ("/data",),
    )  # fmt: skip
    host.has = {name: item.id for name, item in offered.items()}
    assert [(item.present, item.bytes) for item in images.offer(host, settings, [ONE]).values()] == [(True, 0)]
    assert host.loads == []


def test_an_image_for_another_platform_is_refused_with_how_to_build_it(
    here: Workstation, host: Any, settings: Any
) -> None:
    host.arch = "arm64"
    with pytest.raises(Refused, match="made for linux/amd64, the host is linux/arm64") as caught:
        images.push(host, settings, [ONE])
    assert "docker build --platform linux/arm64" in (caught.value.hint or "")
    assert host.loads == []


def test_a_host_without_room_is_refused_before_anything_is_sent(here: Workstation, host: Any, settings: Any) -> None:
    host.free = 10_000
    with pytest.raises(Refused, match="are free"):
        images.push(host, settings, [ONE])
    assert host.loads == []


@pytest.mark.parametrize(("reference", "cause"), [("shop/x:1", "not among"), (f"shop/x@{sha(b'')}", "names a digest")])
def test_what_is_not_here_or_no_tag_is_said_to_be_so(
    here: Workstation, host: Any, settings: Any, reference: str, cause: str
) -> None:
    with pytest.raises(UsageError, match=cause):
        images.push(host, settings, [ONE, reference])
    assert host.asked == []


@pytest.mark.parametrize(("status", "kind"), [(12, HostFailed), (8, Locked)])
def test_what_the_host_says_is_what_is_raised(
    here: Workstation, host: Any, settings: Any, status: int, kind: type[Exception]
) -> None:
    host.final = {"event": "failed", "data": {"status": status, "cause": "no space left", "hint": "free some"}}
    with pytest.raises(kind, match="no space left"):
        images.push(host, settings, [ONE])


def test_a_lost_connection_says_that_nothing_half_is_there_unless_the_host_had_said_more(
    here: Workstation, host: Any, settings: Any
) -> None:
    host.final, host.failure = None, ConnectionLost("the connection was lost", host="vps")
    with pytest.raises(ConnectionLost, match="not arrived whole is not taken in"):
        images.push(host, settings, [ONE])
    host.final = {"event": "done", "data": {}}
    images.push(host, settings, [ONE])


def test_an_image_that_changes_while_it_is_sent_is_an_error(
    here: Workstation, host: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers.survey(list(here.inspect([ONE]).values()))
    monkeypatch.setattr(engine, "saving", lambda references: contextlib.nullcontext(io.BytesIO(bytes(1024))))
    with pytest.raises(InfraError, match="docker save"):
        images.push(host, settings, [ONE])


def test_several_hosts_get_one_build_and_one_look_at_it(here: Workstation, host: Any, settings: Any) -> None:
    for _host in range(2):
        assert images.build(host, settings) == {ONE: sha(here.config(ONE))}
        images.offer(host, settings, [ONE])
    assert here.builds == [(ONE, None)]
    assert here.saves == [[ONE]]


def test_a_build_asks_for_the_platform_of_the_host(here: Workstation, host: Any, settings: Any) -> None:
    host.arch, here.platform = "arm64", "linux/arm64"
    images.build(host, settings)
    assert here.builds == [(ONE, "linux/arm64")]


def test_without_a_directory_there_is_nothing_to_build(here: Workstation, host: Any, settings: Any) -> None:
    settings.backend_build = None
    with pytest.raises(UsageError, match="nothing to build"):
        images.build(host, settings)
