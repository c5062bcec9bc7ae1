"""From settings and what a host reports to a plan, with the files that are shipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_session import FakeHost
from host_in_order import status

from tasks.core.errors import ExitStatus, HostFailed, InfraError, Locked, Refused, UsageError
from tasks.core.session import Result
from tasks.core.transfer import TarEntry, tar_stream
from tasks.operations import busy, prepare
from tasks.operations.prepare import Options, Prepared

SETTINGS = {
    "SITE_DOMAIN": "cv.site.test",
    "GRAFANA_DOMAIN": "stats.site.test",
    "ACME_EMAIL": "me@site.test",
    "BACKEND_IMAGE": "r.test/maicivy/backend:1.2.3",
    "FRONTEND_IMAGE": "r.test/maicivy/frontend:1.2.3",
    "POSTGRES_PASSWORD": "postgres-Secret-1",
    "REDIS_PASSWORD": "redis-Secret-22",
    "GRAFANA_ADMIN_PASSWORD": "grafana-Secret-333",
}
COMPOSE = "docker-compose.prod.yml"


def resolved(words: tuple[str, ...], stdin: bytes) -> dict[str, Any]:
    """Every tag has a digest made of its name."""
    found = {
        name: {"digest": f"sha256:{name.encode().hex():0<64.64}", "id": None, "present": False, "bytes": 1000,
               "source": "registry", "volumes": [], "error": None, "hint": None}
        for name in json.loads(stdin)["images"]
    }  # fmt: skip
    return {"images": found}


class Desk:
    """A settings file, the shipped files, and a host in some state."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = root / ".env"
        self.host = FakeHost()
        self.host.settings_file = self.file
        self.host.answers["resolve"] = lambda words: resolved(words, self.host.stdin[-1])
        self.states: list[dict[str, Any]] = [status(None)]
        self.set()
        monkeypatch.setattr(prepare, "observe", self._observe)
        monkeypatch.setattr(busy, "observe", self._observe)

    def _observe(self, s: Any, settings: Any) -> Any:
        told = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return SimpleNamespace(status=told, docker=object())

    def set(self, **more: str) -> None:
        self.file.write_text("".join(f"{name}='{value}'\n" for name, value in {**SETTINGS, **more}.items()))
        self.file.chmod(0o600)

    def prepare(self, **options: Any) -> Prepared:
        return prepare.prepare(self.host, Options(**options))  # type: ignore[arg-type]

    def deployed(self) -> Prepared:
        """Deploy what the settings say; from here on the host has it."""
        made = self.prepare()
        self.states = [status(made.manifest)]
        self.host.done.clear()
        return made


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_a_first_deploy_pins_every_image_with_one_question(desk: Desk) -> None:
    made = desk.prepare()
    assert [words[0] for words in desk.host.done] == ["resolve"]
    assert made.plan.previous is None
    for service in made.manifest["services"].values():
        assert service["image"].endswith(service["pin"]["digest"])
    assert made.manifest["plan"] == made.plan.id
    assert made.manifest["accepted"] == []


def test_a_second_deploy_asks_nothing_and_has_nothing_to_do(desk: Desk) -> None:
    desk.deployed()
    made = desk.prepare()
    assert made.plan.is_empty, made.plan
    assert desk.host.done == []


def test_a_plan_keeps_its_id_until_the_host_or_the_target_moves(desk: Desk) -> None:
    desk.deployed()
    desk.set(BACKEND_ENV_X="1")
    first, second = desk.prepare().plan.id, desk.prepare().plan.id
    assert first == second
    desk.set(BACKEND_ENV_X="2")
    moved = desk.prepare().plan.id
    assert (moved[:6], moved[-6:] == first[-6:]) == (first[:6], False)


def test_only_the_reference_that_changed_is_looked_up(desk: Desk) -> None:
    before = desk.deployed().manifest["services"]
    desk.set(BACKEND_IMAGE="r.test/maicivy/backend:1.3.0")
    made = desk.prepare()
    assert [words[0] for words in desk.host.done] == ["resolve"]
    assert json.loads(desk.host.stdin[-1])["images"] == ["r.test/maicivy/backend:1.3.0"]
    assert made.manifest["services"]["redis"]["pin"] == before["redis"]["pin"]
    assert [(change.service, change.action) for change in made.plan.services] == [("backend", "switch")]


def test_tags_can_be_looked_up_anew(desk: Desk) -> None:
    desk.deployed()
    assert desk.prepare(anew=True).plan.is_empty
    assert len(json.loads(desk.host.stdin[-1])["images"]) == 8


def test_an_image_that_cannot_be_had_is_named_before_anything_is_touched(desk: Desk) -> None:
    desk.deployed()
    name = "r.test/maicivy/backend:9.9.9"
    desk.set(BACKEND_IMAGE=name)
    desk.host.answers["resolve"] = {"images": {name: {"error": "no such tag", "hint": "look at BACKEND_IMAGE"}}}
    with pytest.raises(HostFailed, match=rf"{name}: no such tag\. Next: look at BACKEND_IMAGE"):
        desk.prepare()
    assert [words[0] for words in desk.host.done] == ["resolve"]


def test_a_changed_file_is_fetched_for_its_difference(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.deployed()
    tree = prepare.project.read_tree()
    name = "monitoring/prometheus/prometheus.yml"
    old = tree[name]
    tree[name] += b"# a remark\n"
    monkeypatch.setattr(prepare.project, "read_tree", lambda: tree)
    desk.host.answers["show"] = Result(0, b"".join(tar_stream([TarEntry(name, old)])), "")
    made = desk.prepare()
    assert desk.host.done == [("show", "current", name)]
    assert "+# a remark" in next(file.diff for file in made.plan.files if file.path == name)


def test_an_accepted_rule_is_recorded_and_one_that_was_not_needed_is_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.deployed()
    tree = prepare.project.read_tree()
    tree[COMPOSE] = tree[COMPOSE].replace(b'    user: "472:0"\n', b'    user: "472:0"\n    ports: ["3001:3000"]\n')
    monkeypatch.setattr(prepare.project, "read_tree", lambda: tree)
    desk.host.answers["show"] = Result(0, b"".join(tar_stream([])), "")
    assert [guard.rule for guard in desk.prepare().plan.refused] == ["published-port"]
    made = desk.prepare(accept=("published-port", "drift"))
    assert made.plan.refused == []
    assert made.manifest["accepted"] == ["published-port"]
    assert made.plan.id == desk.prepare().plan.id, "accepting changes nothing about what is done"


def test_a_host_that_is_not_set_up_is_refused_with_what_to_do(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "observe", lambda s, settings: SimpleNamespace(status=None, docker=None))
    desk.host.target.environment = "staging"
    with pytest.raises(Refused, match=r"not set up yet. Next: fab setup -H vps --env staging"):
        desk.prepare()


def test_wrong_words_on_the_command_line_contact_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "observe", lambda *_: pytest.fail("contacted"))
    with pytest.raises(UsageError):
        desk.prepare(accept=("nonsense",))
    tree = {**prepare.project.read_tree(), COMPOSE: b"nothing: to run\n"}
    monkeypatch.setattr(prepare.project, "read_tree", lambda: tree)
    with pytest.raises(InfraError) as caught:
        desk.prepare()
    assert caught.value.status is ExitStatus.SETTINGS


def holder(release: str) -> dict[str, Any]:
    return {"what": f"deploy of {release}", "who": "me@desk", "since": 0.0, "unit": f"maicivy-apply-{release}"}


@pytest.fixture
def running(desk: Desk) -> Callable[[], Prepared]:
    """Begin a deploy; from here on the host is busy with it, and then through with it."""

    def begin() -> Prepared:
        before = desk.states[0]
        made = desk.prepare()
        manifest = json.dumps(made.manifest).encode()
        desk.host.answers["show"] = Result(0, b"".join(tar_stream([TarEntry("manifest.json", manifest)])), "")
        desk.states = [{**before, "busy": holder(made.release)}, status(made.manifest)]
        desk.host.done.clear()
        return made

    return begin


def test_a_deploy_that_finds_itself_running_watches_it_and_plans_anew(
    desk: Desk, running: Callable[[], Prepared]
) -> None:
    desk.deployed()
    desk.set(BACKEND_IMAGE="r.test/maicivy/backend:1.3.0")
    made = running()
    again = desk.prepare()
    assert desk.host.done == [("show", made.release, "manifest.json"), ("attach",)]
    assert (again.watched, again.plan.is_empty) == (True, True)


def test_a_deploy_of_something_else_is_not_ours(desk: Desk, running: Callable[[], Prepared]) -> None:
    desk.deployed()
    desk.set(BACKEND_ENV_X="theirs")
    made = running()
    desk.set(BACKEND_ENV_X="ours")
    with pytest.raises(Locked, match=f"busy: deploy of {made.release} by me@desk"):
        desk.prepare()
    assert "attach" not in [words[0] for words in desk.host.done]


def test_it_can_be_waited_for_and_the_plan_is_made_after_it(desk: Desk, running: Callable[[], Prepared]) -> None:
    desk.deployed()
    desk.set(BACKEND_ENV_X="theirs")
    made = running()
    desk.set(BACKEND_ENV_X="ours")
    again = desk.prepare(wait=60)
    assert (again.plan.previous, again.watched) == (made.release, False)


def test_a_plan_of_a_busy_host_is_shown_with_a_warning(desk: Desk, running: Callable[[], Prepared]) -> None:
    desk.deployed()
    running()
    desk.prepare(wait=None)
    assert "is running here: what it changes is not in this plan" in desk.host.errors.getvalue()


def test_images_made_here_are_pinned_by_id_and_a_plan_says_what_sending_costs(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.model.images import Resolved
    from tasks.operations import images

    desk.deployed()
    name, image = SETTINGS["BACKEND_IMAGE"], "sha256:" + "e" * 64
    monkeypatch.setattr(images, "build", lambda s, settings: {name: image})
    monkeypatch.setattr(
        images, "offer", lambda s, settings, names: {name: Resolved(None, image, False, 5000, "workstation", ())}
    )
    made = desk.prepare(build=True)
    assert made.manifest["services"]["backend"]["pin"] == {"digest": None, "id": image}
    assert made.manifest["services"]["backend"]["image"] == name
    assert [(change.service, change.bytes, change.source) for change in made.plan.images] == [
        ("backend", 5000, "workstation")
    ]
    assert list(made.built) == [name]
    assert desk.host.done == []
