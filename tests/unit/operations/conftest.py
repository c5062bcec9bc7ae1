"""Settings to go with a host that answers from a script."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def chosen() -> Any:
    return SimpleNamespace(
        app_name="maicivy", registry="r.test", registry_user="me", registry_password=None, secrets=[],
        site_domain="cv.site.test", site_url="https://cv.site.test",
    )  # fmt: skip
