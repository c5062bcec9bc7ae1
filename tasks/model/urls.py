"""Connection and public URLs, every part percent-encoded."""

from urllib.parse import quote


def postgres_url(user: str, password: str, host: str, database: str, *, port: int = 5432) -> str:
    """Return a libpq URL without TLS: the database is only reachable on the release's own Docker network."""
    return f"postgres://{encode(user)}:{encode(password)}@{host}:{port}/{encode(database)}?sslmode=disable"


def redis_url(password: str, host: str, *, port: int = 6379, database: int = 0) -> str:
    """Return a Redis URL of the default user (no user name before the colon)."""
    return f"redis://:{encode(password)}@{host}:{port}/{database}"


def https_url(domain: str, port: int = 443) -> str:
    """Return the public address of a site, without a trailing slash and without HTTPS's own port."""
    return _url("https", domain, port, 443)


def http_url(domain: str, port: int = 80) -> str:
    """The same for plain HTTP."""
    return _url("http", domain, port, 80)


def _url(scheme: str, domain: str, port: int, usual: int) -> str:
    return f"{scheme}://{domain}" + (f":{port}" if port != usual else "")


def encode(part: str) -> str:
    """Return `part` with everything but letters, digits and ``_.-~`` percent-encoded, as UTF-8."""
    return quote(part, safe="")
