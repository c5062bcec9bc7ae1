"""The settings of one target: a typed value, complete and checked, or one error that lists every problem."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from tasks.core.command import Secret
from tasks.core.errors import SettingsError
from tasks.core.settings.check import file_of, inspect, project_root, value_problem
from tasks.core.settings.file import UnreadableFile, given_variable, parse, read
from tasks.core.settings.kinds import words
from tasks.core.settings.schema import BACKEND_PREFIX, BY_NAME, FRONTEND_PREFIX, SCHEMA, Setting
from tasks.core.settings.typed import Settings

__all__ = ["SCHEMA", "Setting", "Settings", "deploy_host", "display_name", "load"]


def load(path: Path) -> Settings:
    """Read, check and convert a settings file.

    Args:
        path: the file.
    Returns:
        The settings, defaults filled in.
    Raises:
        SettingsError: with every problem at once, "file:line: NAME: what is wrong"; no value is ever shown.
    """
    entries, problems = inspect(path)
    if problems:
        shown = display_name(path)
        start = "fab secrets.init" if path.name == ".env" else f"fab secrets.init --path {shown}"
        hint = f"edit {shown}, then fab secrets.check" if path.exists() else start
        raise SettingsError([problem.at(shown) for problem in problems], hint=hint)
    return _build(path, {name: entry.value for name, entry in entries.items()})


def deploy_host(path: Path) -> str | None:
    """Return DEPLOY_HOST, even from a file with problems elsewhere; None when it is not there or not usable."""
    try:
        entry = parse(read(path)[0]).entries.get("DEPLOY_HOST")
    except UnreadableFile:
        return None
    usable = entry is not None and value_problem(BY_NAME["DEPLOY_HOST"], entry.value) is None
    return (entry.value or None) if entry is not None and usable else None


def display_name(path: Path) -> str:
    """Return the path as short as it can be written from the current directory."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


class _Values:
    """Checked text by name, with the defaults; one accessor per type."""

    def __init__(self, given: Mapping[str, str], root: Path) -> None:
        self._given, self._root = given, root

    def maybe(self, name: str) -> str | None:
        return self._given.get(name) or BY_NAME[name].default

    def text(self, name: str) -> str:
        value = self.maybe(name)
        assert value is not None, name  # inspect() has reported what is missing
        return value

    def number(self, name: str) -> int:
        return int(self.text(name))

    def secret(self, name: str) -> Secret:
        return Secret(self.text(name))

    def maybe_secret(self, name: str) -> Secret | None:
        value = self.maybe(name)
        return None if value is None else Secret(value)

    def file(self, name: str) -> Path:
        return file_of(self.text(name), self._root)

    def maybe_file(self, name: str) -> Path | None:
        return None if self.maybe(name) is None else self.file(name)

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(shlex.split(self.maybe(name) or ""))

    def listed(self, name: str) -> tuple[str, ...]:
        return tuple(words(self.maybe(name) or ""))

    def host_keys(self, name: str) -> tuple[str, ...]:
        return tuple(" ".join(key.split()) for key in (self.maybe(name) or "").split(",") if key.strip())

    def switch(self, name: str) -> bool:
        return self.text(name) == "yes"

    def unless_off(self, name: str) -> str | None:
        value = self.text(name)
        return None if value == "off" else value

    def given_to(self, prefix: str) -> dict[str, Secret]:
        variables = ((given_variable(name), value) for name, value in self._given.items())
        return {variable[1]: Secret(value) for variable, value in variables if variable and variable[0] == prefix}


def _build(path: Path, given: Mapping[str, str]) -> Settings:
    v = _Values(given, project_root(path))
    return Settings(
        path=path,
        app_name=v.text("APP_NAME"),
        site_domain=v.text("SITE_DOMAIN"),
        grafana_domain=v.text("GRAFANA_DOMAIN"),
        site_aliases=v.listed("SITE_ALIASES"),
        grafana_public=v.switch("GRAFANA_PUBLIC"),
        public_address=v.maybe("PUBLIC_ADDRESS"),
        http_port=v.number("HTTP_PORT"),
        https_port=v.number("HTTPS_PORT"),
        ipv6=v.switch("IPV6"),
        http3=v.switch("HTTP3"),
        deploy_host=v.maybe("DEPLOY_HOST"),
        deploy_user=v.text("DEPLOY_USER"),
        deploy_public_key_file=v.file("DEPLOY_PUBLIC_KEY_FILE"),
        docker_source=v.text("DOCKER_SOURCE"),
        reboot_time=v.maybe("REBOOT_TIME"),
        acme_email=v.text("ACME_EMAIL"),
        acme_server=v.text("ACME_SERVER"),
        trusted_ca_file=v.maybe_file("TRUSTED_CA_FILE"),
        api_rate=v.number("API_RATE"),
        api_burst=v.number("API_BURST"),
        page_rate=v.number("PAGE_RATE"),
        page_burst=v.number("PAGE_BURST"),
        connections_per_address=v.number("CONNECTIONS_PER_ADDRESS"),
        max_body_size=v.text("MAX_BODY_SIZE"),
        client_timeout=v.number("CLIENT_TIMEOUT"),
        api_timeout=v.number("API_TIMEOUT"),
        websocket_timeout=v.number("WEBSOCKET_TIMEOUT"),
        trusted_proxies=v.listed("TRUSTED_PROXIES"),
        maintenance_allow=v.listed("MAINTENANCE_ALLOW"),
        deep_health_public=v.switch("DEEP_HEALTH_PUBLIC"),
        hsts=v.text("HSTS"),
        frame_options=v.text("FRAME_OPTIONS"),
        opener_policy=v.text("OPENER_POLICY"),
        resource_policy=v.text("RESOURCE_POLICY"),
        embedder_policy=v.text("EMBEDDER_POLICY"),
        referrer_policy=v.text("REFERRER_POLICY"),
        permissions_policy=v.unless_off("PERMISSIONS_POLICY"),
        page_csp=v.unless_off("PAGE_CSP"),
        fallback_csp=v.unless_off("FALLBACK_CSP"),
        brotli=v.switch("BROTLI"),
        registry=v.maybe("REGISTRY"),
        registry_user=v.maybe("REGISTRY_USER"),
        registry_password=v.maybe_secret("REGISTRY_PASSWORD"),
        backend_image=v.text("BACKEND_IMAGE"),
        frontend_image=v.text("FRONTEND_IMAGE"),
        backend_build=v.maybe_file("BACKEND_BUILD"),
        frontend_build=v.maybe_file("FRONTEND_BUILD"),
        postgres_image=v.text("POSTGRES_IMAGE"),
        redis_image=v.text("REDIS_IMAGE"),
        nginx_image=v.text("NGINX_IMAGE"),
        prometheus_image=v.text("PROMETHEUS_IMAGE"),
        grafana_image=v.text("GRAFANA_IMAGE"),
        node_exporter_image=v.text("NODE_EXPORTER_IMAGE"),
        postgres_db=v.text("POSTGRES_DB"),
        postgres_user=v.text("POSTGRES_USER"),
        postgres_password=v.secret("POSTGRES_PASSWORD"),
        redis_password=v.secret("REDIS_PASSWORD"),
        grafana_admin_password=v.secret("GRAFANA_ADMIN_PASSWORD"),
        claude_api_key=v.maybe_secret("CLAUDE_API_KEY"),
        openai_api_key=v.maybe_secret("OPENAI_API_KEY"),
        health_timeout=v.number("HEALTH_TIMEOUT"),
        drain_time=v.number("DRAIN_TIME"),
        migration_command=v.words("MIGRATION_COMMAND"),
        releases_keep=v.number("RELEASES_KEEP"),
        postgres_memory=v.text("POSTGRES_MEMORY"),
        redis_memory=v.text("REDIS_MEMORY"),
        backend_memory=v.text("BACKEND_MEMORY"),
        frontend_memory=v.text("FRONTEND_MEMORY"),
        prometheus_retention=v.text("PROMETHEUS_RETENTION"),
        postgres_backup_days=v.number("POSTGRES_BACKUP_DAYS"),
        redis_backup_days=v.number("REDIS_BACKUP_DAYS"),
        backup_weeks=v.number("BACKUP_WEEKS"),
        backup_months=v.number("BACKUP_MONTHS"),
        backup_keep_last=v.number("BACKUP_KEEP_LAST"),
        backup_time=v.text("BACKUP_TIME"),
        drill_time=v.text("DRILL_TIME"),
        restore_undo_hours=v.number("RESTORE_UNDO_HOURS"),
        point_in_time_days=v.number("POINT_IN_TIME_DAYS"),
        backup_remotes=v.listed("BACKUP_REMOTES"),
        backup_password=v.maybe_secret("BACKUP_PASSWORD"),
        backup_recovery_password=v.maybe_secret("BACKUP_RECOVERY_PASSWORD"),
        backup_s3_access_key=v.maybe_secret("BACKUP_S3_ACCESS_KEY"),
        backup_s3_secret_key=v.maybe_secret("BACKUP_S3_SECRET_KEY"),
        backup_sftp_host_keys=v.host_keys("BACKUP_SFTP_HOST_KEYS"),
        backend_given=v.given_to(BACKEND_PREFIX),
        frontend_given=v.given_to(FRONTEND_PREFIX),
    )
