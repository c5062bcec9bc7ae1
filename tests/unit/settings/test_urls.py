"""Passwords inside URLs."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest

from tasks.model import urls

AWKWARD = "$ # ' \" \\ = % & @ : / ? é\n"


def test_every_part_of_a_database_url_is_percent_encoded() -> None:
    url = urls.postgres_url("us@er", AWKWARD, "postgres", "my/db")
    parts = urlsplit(url)
    assert unquote(parts.password or "") == AWKWARD
    assert unquote(parts.username or "") == "us@er"
    assert (parts.hostname, parts.port) == ("postgres", 5432)
    assert unquote(parts.path) == "/my/db"
    assert parts.query == "sslmode=disable"


def test_a_redis_url_has_no_user_and_an_encoded_password() -> None:
    url = urls.redis_url("p@:/ é", "redis")
    assert url == "redis://:p%40%3A%2F%20%C3%A9@redis:6379/0"


@pytest.mark.parametrize("character", list(AWKWARD))
def test_no_character_of_a_password_is_left_that_a_url_gives_a_meaning(character: str) -> None:
    encoded = urls.encode(character)
    assert encoded.startswith("%")
    assert unquote(encoded) == character


def test_a_site_is_https_without_a_trailing_slash() -> None:
    assert urls.https_url("cv.site.test") == "https://cv.site.test"


def test_a_port_is_part_of_the_address_only_where_it_is_not_the_usual_one() -> None:
    assert urls.https_url("cv.site.test", 8443) == "https://cv.site.test:8443"
    assert urls.https_url("cv.site.test", 80) == "https://cv.site.test:80"
    assert urls.http_url("cv.site.test", 8080) == "http://cv.site.test:8080"
    assert urls.http_url("cv.site.test") == "http://cv.site.test"
