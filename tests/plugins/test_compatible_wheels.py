"""Which of several wheels is carried for a Python that is not this one."""

import sys

import pytest
from packaging.tags import platform_tags

from cuvis_ai_core.plugins.installing.compatible_wheels import Wheel, Wheels

HERE = next(iter(platform_tags()))


def wheel(tag: str) -> Wheel:
    """Return a wheel with a tag."""
    return Wheel(f"https://host/thing-1.0-{tag}.whl", "sha256:0", 0)


@pytest.mark.parametrize(
    ("python", "tag"),
    [
        (None, f"cp{sys.version_info[0]}{sys.version_info[1]}-cp{sys.version_info[0]}{sys.version_info[1]}-{HERE}"),
        ("3.10", f"cp310-cp310-{HERE}"),
        ("3.9", f"cp39-abi3-{HERE}"),
        ("3.7", "py3-none-any"),
    ],
)
def test_the_best_wheel_for_a_python_is_chosen(python: str | None, tag: str) -> None:
    """Compiled for it, else for it and later ones, else for any; never one for another platform."""
    tags = [f"cp3{minor}-cp3{minor}-{HERE}" for minor in (10, 11, 12, 13, 14)]
    tags += [f"cp39-abi3-{HERE}", "py3-none-any", "cp39-cp39-somewhere_else"]
    chosen = Wheels("thing", "1.0", tuple(map(wheel, tags))).chosen(python)
    assert chosen == wheel(tag)


def test_there_may_be_none() -> None:
    """That is said by whoever needs it."""
    assert Wheels("thing", "1.0", (wheel("cp39-cp39-somewhere_else"),)).chosen("3.9") is None


def test_of_several_tags_of_a_wheel_the_best_one_counts() -> None:
    """As of one for both kinds of Python; it comes before one that is for any system."""
    both, compiled = wheel("py2.py3-none-any"), wheel(f"cp39.cp310-abi3-{HERE}")
    assert Wheels("thing", "1.0", (both, compiled)).chosen("3.10") == compiled
    assert Wheels("thing", "1.0", (both,)).chosen("3.10") == both


FILE = {"url": "https://host/a/thing-1%2B2.whl?x=1#y", "hashes": {"sha512": "1", "sha256": "0"}, "size": 7}
SOURCE = {"path": "/here/thing-1.tar.gz", "hashes": {"sha256": "2"}}
VCS = {"type": "git", "url": "https://host/x", "commit-id": "01"}


@pytest.mark.parametrize(
    ("package", "pin", "hashes", "name"),
    [
        ({"version": "1", "wheels": [FILE]}, "thing==1", ("sha256:0",), None),
        ({"version": "1", "wheels": [FILE], "sdist": SOURCE}, "thing==1", ("sha256:0",), None),
        ({"version": "1", "sdist": SOURCE}, "thing==1", ("sha256:2",), "thing-1.tar.gz"),
        ({"archive": FILE}, f"thing @ {FILE['url']}", ("sha256:0",), None),
        ({"vcs": VCS}, "thing @ git+https://host/x@01", (), None),
        ({"vcs": {**VCS, "subdirectory": "s"}}, "thing @ git+https://host/x@01#subdirectory=s", (), None),
        ({"version": "1"}, "thing==1", (), None),
    ],
)
def test_an_answer_of_uv_says_what_is_pinned(
    package: dict[str, object], pin: str, hashes: tuple[str, ...], name: str | None
) -> None:
    """A file of the index, one at an address, or a commit; a source is built where there is no wheel."""
    found = Wheels.from_pylock({"name": "thing", **package})
    assert (found.pin, found.hashes) == (pin, hashes)
    assert (found.source.name if found.source else None) == name
    if "archive" in package:
        assert found.chosen() == Wheel(str(FILE["url"]), "sha256:0", 7)
        assert found.files[0].name == "thing-1+2.whl"
    if "vcs" in package:
        assert found.chosen() is None
    if name is not None:
        assert found.source == Wheel(str(SOURCE["path"]), "sha256:2", 0)
