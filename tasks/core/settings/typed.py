"""The settings as one typed value, and what each container gets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.core.command import Secret
from tasks.core.settings.kinds import image_version
from tasks.model import urls

BACKEND_PORT = 8080
FRONTEND_PORT = 3000
INNER_PORT = 8080
"""Where nginx hands requests of the other containers to the backend; it is not published."""


@dataclass(frozen=True)
class Settings:
    """Every setting under its name in lower case, converted. An optional one that is not given is None.

    `path` is the file they come from; `backend_given` and `frontend_given` are the BACKEND_ENV_ and FRONTEND_ENV_
    variables without that prefix. drain_time and every *_timeout are in seconds, *_rate in requests a minute, the
    *_backup_days in days; sizes and prometheus_retention stay in the notation of Docker, nginx and Prometheus;
    migration_command is in words, none when there is no migration; permissions_policy, page_csp and fallback_csp are
    None when they are off. Files and directories are absolute paths.
    """

    path: Path
    app_name: str
    site_domain: str
    grafana_domain: str
    site_aliases: tuple[str, ...]
    grafana_public: bool
    public_address: str | None
    http_port: int
    https_port: int
    ipv6: bool
    http3: bool
    deploy_host: str | None
    deploy_user: str
    deploy_public_key_file: Path
    docker_source: str
    reboot_time: str | None
    acme_email: str
    acme_server: str
    trusted_ca_file: Path | None
    api_rate: int
    api_burst: int
    page_rate: int
    page_burst: int
    connections_per_address: int
    max_body_size: str
    client_timeout: int
    api_timeout: int
    websocket_timeout: int
    trusted_proxies: tuple[str, ...]
    maintenance_allow: tuple[str, ...]
    deep_health_public: bool
    hsts: str
    frame_options: str
    opener_policy: str
    resource_policy: str
    embedder_policy: str
    referrer_policy: str
    permissions_policy: str | None
    page_csp: str | None
    fallback_csp: str | None
    brotli: bool
    registry: str | None
    registry_user: str | None
    registry_password: Secret | None
    backend_image: str
    frontend_image: str
    backend_build: Path | None
    frontend_build: Path | None
    postgres_image: str
    redis_image: str
    nginx_image: str
    prometheus_image: str
    grafana_image: str
    node_exporter_image: str
    postgres_db: str
    postgres_user: str
    postgres_password: Secret
    redis_password: Secret
    grafana_admin_password: Secret
    claude_api_key: Secret | None
    openai_api_key: Secret | None
    health_timeout: int
    drain_time: int
    migration_command: tuple[str, ...]
    releases_keep: int
    postgres_memory: str
    redis_memory: str
    backend_memory: str
    frontend_memory: str
    prometheus_retention: str
    postgres_backup_days: int
    redis_backup_days: int
    backup_weeks: int
    backup_months: int
    backup_keep_last: int
    backup_time: str
    drill_time: str
    restore_undo_hours: int
    point_in_time_days: int
    backup_remotes: tuple[str, ...]
    backup_password: Secret | None
    backup_recovery_password: Secret | None
    backup_s3_access_key: Secret | None
    backup_s3_secret_key: Secret | None
    backup_sftp_host_keys: tuple[str, ...]
    backend_given: Mapping[str, Secret]
    frontend_given: Mapping[str, Secret]

    @property
    def version(self) -> str:
        """The version that is deployed: the tag of BACKEND_IMAGE, or the start of its digest when it has no tag."""
        return image_version(self.backend_image)

    @property
    def domains(self) -> list[str]:
        """The names the certificate must hold, the site's first."""
        return [self.site_domain, self.grafana_domain, *self.site_aliases]

    @property
    def site_url(self) -> str:
        """Where visitors find the site, without a trailing slash."""
        return urls.https_url(self.site_domain, self.https_port)

    @property
    def grafana_url(self) -> str:
        """Where the dashboards are, without a trailing slash."""
        return urls.https_url(self.grafana_domain, self.https_port)

    @property
    def images(self) -> dict[str, str]:
        """The image reference of every service, by the name of the service."""
        return {
            "postgres": self.postgres_image,
            "redis": self.redis_image,
            "backend": self.backend_image,
            "frontend": self.frontend_image,
            "nginx": self.nginx_image,
            "prometheus": self.prometheus_image,
            "grafana": self.grafana_image,
            "node-exporter": self.node_exporter_image,
        }

    @property
    def secrets(self) -> list[Secret]:
        """Everything that must not appear in any output, also as it is spelled inside a URL."""
        known = [self.postgres_password, self.redis_password, self.grafana_admin_password]
        known += [s for s in (self.registry_password, self.claude_api_key, self.openai_api_key) if s is not None]
        copies = (
            self.backup_password,
            self.backup_recovery_password,
            self.backup_s3_access_key,
            self.backup_s3_secret_key,
        )
        known += [s for s in copies if s is not None]
        # short given values are switches ("true", "8080"): masking them would blot out half of the output
        known += [s for s in (*self.backend_given.values(), *self.frontend_given.values()) if len(s.reveal()) >= 6]
        return list(dict.fromkeys([*known, *(Secret(urls.encode(s.reveal())) for s in known)]))

    def backend_environment(self) -> dict[str, str | Secret]:
        """The environment of the backend's container; whatever holds a secret is a Secret."""
        password, redis = self.postgres_password.reveal(), self.redis_password.reveal()
        environment: dict[str, str | Secret] = {
            "PORT": str(BACKEND_PORT),
            "SITE_URL": self.site_url,
            "GRAFANA_URL": self.grafana_url,
            "DATABASE_URL": Secret(urls.postgres_url(self.postgres_user, password, "postgres", self.postgres_db)),
            "REDIS_URL": Secret(urls.redis_url(redis, "redis")),
        }
        for name, key in (("CLAUDE_API_KEY", self.claude_api_key), ("OPENAI_API_KEY", self.openai_api_key)):
            if key is not None:
                environment[name] = key
        return environment | dict(self.backend_given)

    def frontend_environment(self) -> dict[str, str | Secret]:
        """The environment of the frontend's container; it gets no secret but those given as FRONTEND_ENV_*."""
        return {
            "PORT": str(FRONTEND_PORT),
            # Next.js listens on the address HOSTNAME names; Docker's own value would leave 127.0.0.1 deaf
            "HOSTNAME": "0.0.0.0",  # noqa: S104 - inside the container
            "SITE_URL": self.site_url,
            "GRAFANA_URL": self.grafana_url,
            # not the backend's own name: nginx's inner door moves with the switch, so that none of its requests is lost
            "API_URL": f"http://nginx:{INNER_PORT}",
        } | dict(self.frontend_given)

    def compose_environment(self) -> dict[str, str | Secret]:
        """Every variable the Compose file may name."""
        environment: dict[str, str | Secret] = {
            "APP_NAME": self.app_name,
            "VERSION": self.version,
            "HTTP_PORT": str(self.http_port),
            "HTTPS_PORT": str(self.https_port),
            "SITE_DOMAIN": self.site_domain,
            "GRAFANA_DOMAIN": self.grafana_domain,
            "SITE_URL": self.site_url,
            "GRAFANA_URL": self.grafana_url,
            "POSTGRES_DB": self.postgres_db,
            "POSTGRES_USER": self.postgres_user,
            "POSTGRES_PASSWORD": self.postgres_password,
            "REDIS_PASSWORD": self.redis_password,
            "GRAFANA_ADMIN_PASSWORD": self.grafana_admin_password,
            "PROMETHEUS_RETENTION": self.prometheus_retention,
            "POSTGRES_MEMORY": self.postgres_memory,
            "REDIS_MEMORY": self.redis_memory,
            "BACKEND_MEMORY": self.backend_memory,
            "FRONTEND_MEMORY": self.frontend_memory,
        }
        return environment | {f"{name.upper().replace('-', '_')}_IMAGE": image for name, image in self.images.items()}
