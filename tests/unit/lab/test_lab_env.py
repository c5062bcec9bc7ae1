from pathlib import Path

from tasks.core import settings
from tests.lab import env, files


def test_the_first_time_every_secret_is_made_and_they_differ() -> None:
    found = env.values({})
    made = [found[name] for name in env.SECRETS]
    assert len(set(made)) == len(made)
    assert all(len(value) >= 24 for value in made)


def test_secrets_are_kept_and_everything_else_is_written_anew() -> None:
    first = env.values({})
    again = env.values({**first, "SITE_DOMAIN": "changed.by.hand", "ACME_SERVER": ""})
    assert {name: again[name] for name in env.SECRETS} == {name: first[name] for name in env.SECRETS}
    assert again["SITE_DOMAIN"] == "maicivy.lab.test"
    assert again["ACME_SERVER"] == "https://lab-pebble:14000/dir"


def test_an_empty_secret_is_made_again() -> None:
    assert env.values({"REDIS_PASSWORD": ""})["REDIS_PASSWORD"]


def test_what_is_rendered_is_read_back_the_same() -> None:
    found = env.values({})
    assert env.parse(env.render(found)) == found


def test_the_toolkit_takes_the_lab_s_settings_file_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "fabfile").mkdir()
    (tmp_path / ".lab").mkdir()
    (tmp_path / ".lab" / "ca.pem").write_text("")
    (tmp_path / ".lab" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA lab\n")
    path = tmp_path / ".lab" / "env"
    files.write(path, env.render(env.values({})), 0o600)
    loaded = settings.load(path)
    assert loaded.site_domain == "maicivy.lab.test"
    assert loaded.registry == "lab-registry:5001"


def test_a_secret_file_is_never_there_with_another_mode(tmp_path: Path) -> None:
    path = tmp_path / "env"
    assert files.write(path, "a", 0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not files.write(path, "a", 0o600)
    path.chmod(0o644)
    assert files.write(path, "a", 0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["env"]
