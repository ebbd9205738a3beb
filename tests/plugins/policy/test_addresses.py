"""A policy's patterns mean repositories, however somebody writes their addresses, and no others."""

import pytest

from cuvis_ai_core.plugins.policy.addresses import address_of, matches

LAB = "https://github.com/our-lab/*"


def fits(pattern: str, address: str) -> bool:
    """Tell whether a pattern means an address."""
    known, asked = address_of(pattern), address_of(address)
    assert known is not None
    return asked is not None and matches(known, asked)


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/our-lab/x",
        "https://github.com/our-lab/x.git",
        "https://github.com/our-lab/x/",
        "https://github.com//our-lab//x.git",
        "https://GitHub.COM/our-lab/x",
        "https://github.com./our-lab/x",
        "https://github.com:443/our-lab/x",
        "https://token@github.com/our-lab/x",
        "https://user:secret@github.com/our-lab/x",
        "https://github.com/our%2dlab/x",
        "git@github.com:our-lab/x.git",
        "git@github.com:/our-lab/x",
        "ssh://git@github.com/our-lab/x",
        "ssh://git@github.com:22/our-lab/x",
        "ssh://github.com/our-lab/x",
    ],
)
def test_other_spellings_of_one_repository_fit(address: str) -> None:
    """Scheme, credentials, usual port, case of the host, slashes and `.git` make no difference."""
    assert fits(LAB, address)


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/our-lab",
        "https://github.com/our-lab-evil/x",
        "https://github.com/evil/our-lab/x",
        "https://github.com/our-lab/x/y",
        "https://github.com/Our-Lab/x",
        "https://github.com.evil.org/our-lab/x",
        "https://evil.org/github.com/our-lab/x",
        "https://github.com@evil.org/our-lab/x",
        "https://github.com:443@evil.org/our-lab/x",
        "https://evil.org#@github.com/our-lab/x",
        "https://evil.org?@github.com/our-lab/x",
        "https://evil.org\\@github.com/our-lab/x",
        "https://github.com/our-lab/../evil/x",
        "https://github.com/our-lab/..",
        "https://github.com/our-lab/%2e%2e/evil",
        "https://github.com/our-lab/%2E%2E",
        "https://github.com/our-lab/..%2fevil",
        "https://github.com/our-lab/%252e%252e",
        "https://github.com/our-lab%2f..%2fevil/x",
        "https://github.com/./our-lab/.",
        "https://github.com/our-lab/.git",
        "https://github.com/our-lab/x%00",
        "https://github.com/our-lab/x%0a",
        "https://github.com:8443/our-lab/x",
        "http://github.com/our-lab/x",
        "http://github.com:443/our-lab/x",
        "git://github.com/our-lab/x",
        "file://github.com/our-lab/x",
        "ext::sh -c x https://github.com/our-lab/x",
        "mallory@github.com:our-lab/x",
        "ssh://mallory@github.com/our-lab/x",
        "ssh://git@github.com:2222/our-lab/x",
        "git@github.com:our-lab/%2e%2e",
        "git@github.com:our-lab/../evil",
        "git@evil.org:github.com/our-lab/x",
        "git@github.com:evil/x",
        "https://\uff47ithub.com/our-lab/x",
        "https://git\u212aub.com/our-lab/x",
        "https://git\thub.com/our-lab/x",
        "https://github.com/our-\nlab/x",
        "https://github.com/our-lab/x y",
        "https:///github.com/our-lab/x",
        "https:github.com/our-lab/x",
        "https://github.com/our-lab/x/%2e",
        "/srv/our-lab/x",
        "",
    ],
)
def test_what_only_looks_alike_does_not_fit(address: str) -> None:
    """Another host, account, port, owner or depth is another repository, and so is all that cannot be told for sure."""
    assert not fits(LAB, address)


@pytest.mark.parametrize(
    ("pattern", "address", "expected"),
    [
        ("git@github.com:our-lab/*", "https://github.com/our-lab/x.git", True),
        ("github.com/our-lab/*", "https://github.com/our-lab/x", True),
        ("https://gitlab.org/group/**", "https://gitlab.org/group/sub/x", True),
        ("https://gitlab.org/group/**", "https://gitlab.org/group", False),
        ("https://gitlab.org/**/x", "https://gitlab.org/a/b/x.git", True),
        ("https://github.com/our-lab/cuvis-*", "https://github.com/our-lab/cuvis-ai", True),
        ("https://github.com/our-lab/cuvis-*", "https://github.com/our-lab/other", False),
        ("https://*.lab.org/**", "https://git.lab.org/a", True),
        ("https://*.lab.org/**", "https://lab.org/a", False),
        ("https://*.lab.org/**", "https://gitlab.org/a", False),
        ("https://*.lab.org/**", "https://git.evil.lab.org/a", False),
        ("https://git.*/our-lab/*", "https://git.org/our-lab/x", True),
        ("https://git.*/our-lab/*", "https://git.evil.org/our-lab/x", False),
        ("https://*/**", "https://git.lab.org/a", True),
        ("https://h.org/**/b/**", "https://h.org/a/b/c", True),
        ("https://h.org/**/b/**", "https://h.org/b/c", False),
        ("https://h.org/**/**", "https://h.org/a", False),
        ("http://127.0.0.1:8417/*", "http://127.0.0.1:8417/x.git", True),
        ("http://127.0.0.1:8417/*", "http://127.0.0.1:8418/x.git", False),
        ("http://127.0.0.1:*/*", "http://127.0.0.1:8418/x.git", True),
        ("http://host.org/*", "https://host.org/x", True),
        ("ssh://deploy@host.org/*", "deploy@host.org:x", True),
        ("https://[::1]:8080/*", "https://[::1]:8080/x", True),
        ("https://*/**", "git@host.org:a/b/c", True),
        ("https://github.com/our-lab/exact", "https://github.com/our-lab/exact.git", True),
        ("https://github.com/our-lab/exact.git", "https://github.com/our-lab/exact", True),
    ],
)
def test_patterns_go_by_whole_parts(pattern: str, address: str, expected: bool) -> None:  # noqa: FBT001
    """`*` stays within a part of the path, `**` means any number of parts, and a host's `*` a whole part of it."""
    assert fits(pattern, address) is expected


def test_an_address_of_many_parts_is_compared_in_time() -> None:
    """However many `**` a pattern has: who writes an address must not keep this machine busy."""
    assert not fits("https://h.org/" + "**/a/" * 15 + "b", "https://h.org/" + "a/" * 900 + "x")
