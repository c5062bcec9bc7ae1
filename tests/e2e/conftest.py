"""The lab, once for all end-to-end tests: a bare host that is set up, deployed to, and then put through its paces."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.http11 import Site
from tests.e2e.world import AWKWARD, FAB, ROOT, SITE, Project, Watch
from tests.lab import engine
from tests.lab.names import address

# what the application gets from the first deploy on: a value that survives this survives any
SECRETS = {
    "POSTGRES_PASSWORD": "pg " + AWKWARD,
    "REDIS_PASSWORD": "redis " + AWKWARD,
    "GRAFANA_ADMIN_PASSWORD": "grafana "
    + AWKWARD.replace("${HOME}", "$HOME"),  # Grafana replaces ${...} itself: refused
    "CLAUDE_API_KEY": "sk-claude " + AWKWARD + "\nsecond line\tand tab",
    "OPENAI_API_KEY": "sk-openai-" + "0123456789" * 5,
    "BACKEND_ENV_LETTER": "backend " + AWKWARD + "\n\n# not a comment\nLAST='line'",
    "FRONTEND_ENV_LETTER": "frontend " + AWKWARD + "\\",
}


# the load comes from one address: what is limited has tests of its own
UNLIMITED = {"API_RATE": "600000", "API_BURST": "5000", "PAGE_RATE": "600000", "PAGE_BURST": "5000"}

DRAIN = 8  # seconds: more than the slowest request of the load, less than the default, for these tests have no time


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
    # the quick ones first: they say sooner what is wrong
    items.sort(key=lambda item: item.get_closest_marker("e2e") is not None)


@pytest.fixture(scope="session")
def lab() -> None:
    """A lab with one bare host. What was there before is taken away: these tests begin at the beginning.

    LAB_REUSE=1 takes the lab as it is, to work on one test; those about bareness then fail.
    """
    if os.environ.get("LAB_REUSE"):
        return
    engine.ensure()  # `lab.down` asks the engine what there is, and does not start one for that
    for words in (["lab.down"], ["lab.up"]):
        done = subprocess.run([FAB, *words], cwd=ROOT, capture_output=True, text=True, timeout=3000, check=False)
        print(done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def project(lab: None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout with the lab's settings, made as awkward as settings can be."""
    made = Project.make(tmp_path_factory.mktemp("project"))
    made.set(**SECRETS, **UNLIMITED, DRAIN_TIME=str(DRAIN))
    return made


@pytest.fixture(scope="session")
def secret_values() -> list[str]:
    """Parts of every secret that would show in any quoting."""
    return ["0123456789" * 5, *(value.split(" ")[0] + " a$b" for value in SECRETS.values() if " a$b" in value)]


@pytest.fixture(scope="session")
def ready(project: Project, secret_values: list[str]) -> Watch:
    """The host after `fab setup`, and what was seen of its processes' arguments meanwhile."""
    with Watch(secret_values) as watch:
        project.fab("setup", "-H", "lab", "--yes", timeout=900)
    return watch


@pytest.fixture(scope="session")
def deployed(project: Project, ready: Watch, secret_values: list[str]) -> Watch:
    """The host after the first deploy."""
    with Watch(secret_values) as watch:
        project.fab("deploy", "-H", "lab", "--yes", timeout=900)
    return watch


@pytest.fixture
def restored(project: Project, deployed: Watch) -> Iterator[Project]:
    """The checkout, put back and deployed again afterwards when the test changed it."""
    saved = project.saved()
    yield project
    if project.restore(saved):
        project.fab("deploy", "-H", "lab", "--yes")


@pytest.fixture(scope="module")
def ground(project: Project, deployed: Watch) -> Iterator[Project]:
    """The checkout for a module whose tests go on from one another; put back and deployed at its end."""
    saved = project.saved()
    yield project
    shutil.rmtree(project.root / "hooks", ignore_errors=True)
    project.restore(saved)
    project.fab("deploy", "-H", "lab", "--yes")


@pytest.fixture(scope="session")
def site(deployed: Watch) -> Site:
    """The site on the first host, for the load."""
    return Site(address(1), SITE, ROOT / ".lab" / "ca.pem")
