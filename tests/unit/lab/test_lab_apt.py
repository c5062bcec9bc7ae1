import pytest

from tests.lab.apt import Mirror, find_mirror, machine_mirror

ONE_LINE = """\
# deb http://commented.example/debian trixie main
deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] http://mirror.example/debian/ trixie main contrib  # ours
deb-src http://sources.example/debian trixie main
deb http://mirror.example/debian-security trixie-security main
"""
DEB822 = """\
# a comment above
Types: deb deb-src
# http://snapshot.example/archive
URIs: https://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBFkB: not a field
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: https://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


def test_reads_the_archive_and_the_security_archive_of_the_one_line_format() -> None:
    assert find_mirror([("sources.list", ONE_LINE)]) == Mirror(
        "http://mirror.example/debian", "http://mirror.example/debian-security"
    )


def test_reads_both_of_the_deb822_format_with_continued_fields_and_an_inline_key() -> None:
    assert find_mirror([("debian.sources", DEB822)]) == Mirror(
        "https://mirror.example/debian", "https://mirror.example/debian-security"
    )


def test_the_first_archive_wins_over_several_files() -> None:
    files = [("a.list", "deb http://first.example/debian trixie main\n"), ("b.sources", DEB822)]
    assert find_mirror(files) == Mirror("http://first.example/debian", "https://mirror.example/debian-security")


@pytest.mark.parametrize(
    "text",
    [
        "deb https://deb.nodesource.com/node_20.x nodistro main\n",
        "deb http://archive.ubuntu.com/ubuntu noble main universe\n",
        "deb http://mirror.example/debian trixie non-free\n",
        "deb-src http://mirror.example/debian trixie main\n",
        "",
    ],
)
def test_what_is_no_debian_archive_is_not_taken_for_one(text: str) -> None:
    assert find_mirror([("x.list", text)]) is None


@pytest.mark.parametrize("word", ["no", "false"])
def test_a_disabled_stanza_does_not_count(word: str) -> None:
    assert find_mirror([("x.sources", f"Enabled: {word}\n" + DEB822.split("\n\n", maxsplit=1)[0])]) is None


def test_a_stable_suite_has_updates_and_security_and_one_in_development_has_neither() -> None:
    mirror = Mirror("http://m.example/debian", "http://m.example/debian-security")
    assert mirror.lines("trixie") == [
        "deb http://m.example/debian trixie main",
        "deb http://m.example/debian trixie-updates main",
        "deb http://m.example/debian-security trixie-security main",
    ]
    assert mirror.lines("forky") == ["deb http://m.example/debian forky main"]


def test_a_mirror_without_a_security_archive_gives_no_security_line() -> None:
    assert not any("security" in line for line in Mirror("http://m.example/debian").lines("trixie"))


def test_only_the_files_apt_itself_reads_are_read(tmp_path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources.save").write_text(DEB822)
    assert machine_mirror(tmp_path) is None
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822)
    assert machine_mirror(tmp_path) == Mirror("https://mirror.example/debian", "https://mirror.example/debian-security")
