"""A hardened host of the lab with the demo application on it, and the table of what the scanners say.

`LAB_REUSE=1` takes the lab as it is, to work on one scanner; `AUDIT_HOST=4` takes host 4, under names of its own, so
that whatever the first one is used for goes on.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.audit import current, tools
from tests.audit.scores import Scores
from tests.e2e.world import FAB, ROOT, Project, inside
from tests.lab import engine, names
from tests.lab.docker import docker

NUMBER = int(os.environ.get("AUDIT_HOST", "1"))
UNLIMITED = {"API_RATE": "600000", "API_BURST": "5000", "PAGE_RATE": "600000", "PAGE_BURST": "5000"}
_SCORES = pytest.StashKey[Scores]()
_JUDGED = pytest.StashKey[str]()


@dataclass(frozen=True)
class Target:
    """The host that is judged.

    Attributes:
        project: the checkout it was made from.
        name: the alias of `-H`.
        container: the container that it is.
        address, address6: where it is on the lab's network.
        site, grafana: its names.
    """

    project: Project
    name: str
    container: str
    address: str
    address6: str
    site: str
    grafana: str

    @property
    def names(self) -> dict[str, str]:
        """Where its names lead."""
        return {self.site: self.address, self.grafana: self.address}

    def inside(self, *words: str) -> str:
        """What a command says in the host, as root."""
        return inside(*words, host=self.container)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """These tests throw the lab away: whoever names them runs them, and no `pytest -m ...` over everything."""
    if any("audit" in Path(word).parts for word in config.args):
        return None
    return collection_path.suffix == ".py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.audit)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SCORES] = Scores()
    config.stash[_JUDGED] = current.digest()


@pytest.fixture(scope="session")
def scores(pytestconfig: pytest.Config) -> Scores:
    """Where every test notes what its scanner said."""
    return pytestconfig.stash[_SCORES]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Show the table; keep it when every scanner was run and satisfied."""
    found = config.stash[_SCORES]
    if not found.made:
        return
    terminalreporter.section("scores")
    for row in found.table():
        terminalreporter.line(row)
    if why := _not_kept(terminalreporter, exitstatus, config):
        terminalreporter.line(f"docs/reference/scores.md is left as it was: {why}")
    else:
        current.SCORES.write_text(found.page())
        terminalreporter.line("docs/reference/scores.md written")


def _not_kept(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> str:
    """Why the scores of this run are not for keeping, "" when they are."""
    every = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    run = {Path(report.nodeid.split("::")[0]).name for report in terminalreporter.stats.get("passed", [])}
    if exitstatus:
        return "a target was missed"
    if every - run or config.option.keyword or any("::" in word for word in config.args):
        return "not every scanner was run"
    if os.environ.get("LAB_REUSE") or NUMBER != 1:
        return "the host was not made for it from nothing"
    if config.stash[_JUDGED] != current.digest():
        return "what is judged was changed meanwhile"
    return ""


@pytest.fixture(scope="session")
def scanners() -> None:
    """The image of the scanners."""
    tools.ensure()


@pytest.fixture(scope="session")
def target(scanners: None, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """The host, from bare to serving, made like any other: `fab setup --harden`, `fab deploy`."""
    if not os.environ.get("LAB_REUSE"):
        engine.ensure()
        for words in (["lab.down"], ["lab.up", "--hosts", str(NUMBER)]):
            done = subprocess.run([FAB, *words], cwd=ROOT, capture_output=True, text=True, timeout=3000, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    site, grafana = names.SITE_DOMAIN, names.GRAFANA_DOMAIN
    if NUMBER != 1:
        site, grafana = "audit.lab.test", "analytics.audit.lab.test"
        lead_there(site, grafana)
    made = Target(
        Project.make(tmp_path_factory.mktemp("project")), names.alias(NUMBER), names.container(NUMBER),
        names.address(NUMBER), names.address6(NUMBER), site, grafana,
    )  # fmt: skip
    made.project.set(SITE_DOMAIN=site, GRAFANA_DOMAIN=grafana, DEPLOY_HOST=made.name)
    made.project.fab("setup", "-H", made.name, "--harden", "--yes", timeout=900)
    made.project.fab("deploy", "-H", made.name, "--yes", timeout=900)
    return made


def lead_there(*wanted: str) -> None:
    """Make these names lead to the host: for the certificate authority and for the host itself."""
    at = names.address(NUMBER)
    for name in wanted:
        body = f'{{"host": "{name}.", "addresses": ["{at}"]}}'
        docker("exec", names.PEBBLE, "curl", "-sS", "--fail", "-d", body, "http://localhost:8055/add-a")
        script = f"grep -q ' {name}$' /etc/hosts || echo '{at} {name}' >> /etc/hosts"
        inside("sh", "-c", script, host=names.container(NUMBER))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A directory that is /out for a scanner."""
    path = tmp_path / "out"
    path.mkdir()
    return path


@pytest.fixture
def unlimited(target: Target) -> Iterator[None]:
    """The site without limits for one address: what is only told to come back later finds nothing."""
    saved = target.project.saved()
    target.project.set(**UNLIMITED)
    target.project.fab("deploy", "-H", target.name, "--yes")
    yield
    target.project.restore(saved)
    target.project.fab("deploy", "-H", target.name, "--yes")
