"""The namespace of `fab --list`."""

import sys
from pathlib import Path

# fab puts this directory on the path, not its parent; and it stays free of other modules, which would shadow the
# standard library's (a secrets.py here would be found before `secrets`)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from invoke.collection import Collection

from tasks import (
    audit,
    backup,
    deploy,
    doctor,
    firewall,
    health,
    images,
    lab,
    maintenance,
    rebuild,
    restore,
    secrets,
    setup,
    ssl,
    trust,
)
from tasks.core.executor import install

install()

ns = Collection(
    *(setup.setup, deploy.plan, deploy.deploy, deploy.rollback, deploy.releases, rebuild.rebuild),
    *(health.health, doctor.doctor, audit.audit, trust.trust),
)
ns.add_collection(Collection.from_module(backup, name="backup"))
ns.add_collection(Collection.from_module(firewall, name="firewall"))
ns.add_collection(Collection.from_module(images, name="images"))
ns.add_collection(Collection.from_module(maintenance, name="maintenance"))
ns.add_collection(Collection.from_module(restore, name="restore"))
ns.add_collection(Collection.from_module(secrets, name="secrets"))
ns.add_collection(Collection.from_module(ssl, name="ssl"))
ns.add_collection(Collection.from_module(lab, name="lab"))
# tasks never read the terminal or a pipe by accident
ns.configure({"run": {"in_stream": False}})
