"""The lab's settings file: everything the toolkit asks for, with secrets that stay what they were."""

from __future__ import annotations

import re
import secrets

from . import names
from .catalogue import APP_VERSIONS, OFFICIAL

SECRETS = ("REGISTRY_PASSWORD", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "GRAFANA_ADMIN_PASSWORD")
# Names of the lab only: no setting of the toolkit goes by them yet.
NOT_SETTINGS = {"ALERTMANAGER_IMAGE"}


def values(kept: dict[str, str]) -> dict[str, str]:
    """Every setting by name; the secrets among `kept` are kept, the missing ones made."""
    return {
        "APP_NAME": "maicivy",
        "SITE_DOMAIN": names.SITE_DOMAIN,
        "GRAFANA_DOMAIN": names.GRAFANA_DOMAIN,
        "DEPLOY_HOST": names.alias(1),
        "DEPLOY_USER": "deploy",
        "DEPLOY_PUBLIC_KEY_FILE": ".lab/id_ed25519.pub",
        "DOCKER_SOURCE": "distribution",
        "ACME_EMAIL": f"admin@{names.SITE_DOMAIN}",
        "ACME_SERVER": f"https://{names.PEBBLE}:14000/dir",
        "TRUSTED_CA_FILE": ".lab/ca.pem",
        "HSTS": "full",
        "REGISTRY": names.PRIVATE_REGISTRY,
        "REGISTRY_USER": names.REGISTRY_USER,
        "BACKEND_IMAGE": f"{names.PRIVATE_REGISTRY}/maicivy/backend:{APP_VERSIONS[0]}",
        "FRONTEND_IMAGE": f"{names.PRIVATE_REGISTRY}/maicivy/frontend:{APP_VERSIONS[0]}",
        **{name: image for name, image in OFFICIAL.items() if name not in NOT_SETTINGS},
        "POSTGRES_DB": "maicivy",
        "POSTGRES_USER": "maicivy",
        "POSTGRES_MEMORY": "512m",
        "REDIS_MEMORY": "256m",
        "BACKEND_MEMORY": "256m",
        "FRONTEND_MEMORY": "512m",
        "HEALTH_TIMEOUT": "120",
        "RELEASES_KEEP": "5",
        "PROMETHEUS_RETENTION": "15d",
        "POSTGRES_BACKUP_DAYS": "30",
        "REDIS_BACKUP_DAYS": "7",
        **{name: kept.get(name) or secrets.token_urlsafe(24) for name in SECRETS},
    }


def render(settings: dict[str, str]) -> str:
    """The text of the settings file. Every value here is free of quotes and blanks, so none needs quoting."""
    head = "# Written by `fab lab.up` for the hosts of the lab. The secrets are kept as long as the lab is.\n"
    return head + "".join(f"{name}={value}\n" for name, value in settings.items())


def parse(text: str) -> dict[str, str]:
    """The values of a text that render() made."""
    return dict(re.findall(r"^([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE))
