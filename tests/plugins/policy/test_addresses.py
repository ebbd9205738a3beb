"""A policy's patterns mean repositories, however somebody writes their addresses, and no others."""

import pytest

from cuvis_ai_core.plugins.policy.addresses import address_of
from cuvis_ai_core.plugins.policy.patterns import matches

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
        "https://github.com/our-lab.git/x",
        "https://github.com:99999/our-lab/x",
        "https://[github.com/our-lab/x",
        "https://github.com/our-lab/x;#",
        "https://github.com/our-lab/x?",
        "github.com",
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
        ("http://host.org/*", "http://host.org:80/x", True),
        ("http://host.org/*", "https://host.org:80/x", False),
        ("http://host.org:*/*", "http://host.org/x", True),
        ("https://host.org:443/*", "ssh://git@host.org/x", True),
        ("https://host.org/*", "git://host.org:443/x", False),
        ("ssh://deploy@host.org/*", "ssh://dep%6coy@host.org/x", True),
        ("ssh://deploy@host.org/*", "git@host.org:x", True),
        ("ssh://deploy@host.org/*", "other@host.org:x", False),
        ("ssh://host.org:2222/*", "ssh://git@host.org:2222/x", True),
        ("ssh://[::1]/a/*", "git@[::1]:a/b", True),
        ("*/**", "https://[::1]/a", True),
        ("https://*/a", "https://git.lab.org/a", True),
        ("https://*.org/a", "https://git.lab.org/a", False),
        ("https://h.org/a.git/*", "https://h.org/a/x", False),
        ("https://h.org/a.git/*", "https://h.org/a.git/x", True),
        ("https://h.org/**", "https://h.org/", False),
        ("https://h.org/**/**", "https://h.org/a/b", True),
        ("https://h.org/a/**/d", "https://h.org/a/d", False),
        ("https://h.org/a/**/d", "https://h.org/a/b/c/d", True),
        ("https://h.org/*/**", "https://h.org/a", False),
        ("https://h.org/[ab]c", "https://h.org/bc", True),
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


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:secret@Lab.org:443//a/b.git/", "lab.org/a/b"),
        ("git@lab.org:a/b.git", "lab.org/a/b"),
        ("ssh://deploy@lab.org:22/a", "deploy@lab.org/a"),
        ("ssh://deploy@lab.org:2222/a", "deploy@lab.org:2222/a"),
        ("http://lab.org:8080/a", "http://lab.org:8080/a"),
        ("http://lab.org:80/a", "http://lab.org/a"),
    ],
)
def test_an_address_is_shown_as_it_is_compared(address: str, shown: str) -> None:
    """Only what makes a difference is shown: another account, another port, a connection that is not secure."""
    assert str(address_of(address)) == shown
