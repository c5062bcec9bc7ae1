"""Fill the lab's registry: the stand-ins under their official names, the application under its own."""

from __future__ import annotations

import json

from . import catalogue
from .docker import docker, inspect
from .names import CACHE, REGISTRY
from .say import say, timed

RECORD = CACHE / "published.json"


def ensure() -> None:
    """Push what the registry does not have yet. The record beside its storage makes asking it unnecessary."""
    table = [i for i in catalogue.images() if i.stands_for]
    identity = {name: item["Id"] for name, item in inspect("image", [i.local for i in table]).items()}
    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    todo = [i for i in table if i.stands_for and known.get(i.stands_for) != identity[i.local]]
    if not todo:
        return
    # The engine speaks plain HTTP only to 127.0.0.0/8, so the open door is published there, on a port that is free.
    port = docker("port", REGISTRY, "5000/tcp").splitlines()[0].rsplit(":", 1)[1]
    with timed(f"published {len(todo)} images to the lab's registry"):
        for image in todo:
            assert image.stands_for
            name = f"127.0.0.1:{port}/{catalogue.repository(image.stands_for)}"
            docker("tag", image.local, name)
            try:
                docker("push", name)
            finally:
                docker("image", "rm", name, check=False)
            known[image.stands_for] = identity[image.local]
            RECORD.write_text(json.dumps(known, indent=1))
            say(f"  {image.stands_for}")
