"""Which wheels carried along are of a pin, and which of them serve somebody."""

import hashlib
from pathlib import Path

import pytest

from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.wheelhouse import is_of, put_wheel, wheelhouse
from cuvis_ai_core.plugins.disk.altered_files import sha256_of


@pytest.mark.parametrize(
    ("pin", "name", "fits"),
    [
        ("my-dep==1.0", "my_dep-1.0-py3-none-any.whl", True),
        ("my-dep==1.0", "My.Dep-1.0.0-py3-none-any.whl", True),
        ("my-dep==1.0+cu121", "my_dep-1.0+cu121-cp311-cp311-x.whl", True),
        ("my-dep==1.0+cu.121", "my_dep-1.0+cu_121-cp311-cp311-x.whl", True),
        ("my-dep==1.0", "my-dep-1.0.tar.gz", True),
        ("my-dep==1.0", "my_dep-1.0.zip", True),
        ("my-dep @ https://a.org/x", "my_dep-3-py3-none-any.whl", True),
        ("my-dep==1.0", "my_dep-1.1-py3-none-any.whl", False),
        ("my-dep==1.0", "my-1.0-py3-none-any.whl", False),
        ("my==1.0", "my-dep-1.0.tar.gz", False),
        ("my-dep==1.0", "my_dep.whl", False),
        ("my-dep==1.0", "my_dep-none-py3-none-any.whl", False),
        ("other @ https://a.org/x", "my_dep-3-py3-none-any.whl", False),
    ],
)
def test_a_file_is_of_a_pin_by_name_and_version(pin: str, name: str, fits: bool) -> None:  # noqa: FBT001
    """Names are one however they are written, and versions by their value."""
    assert is_of(pin, name) is fits


def test_a_house_of_wheels_has_those_of_the_pins_alone(tmp_path: Path) -> None:
    """By name and hash, read again: what was changed since, or is another's, or a link, is left where it is."""
    store = Store(tmp_path / "store")
    hashes = {}
    for name in ("a-1-py3-none-any.whl", "b-1-py3-none-any.whl", "c-1.tar.gz", "d-1-py3-none-any.whl", "e-1.zip"):
        (tmp_path / name).write_text(name)
        hashes[name[0]] = sha256_of(tmp_path / name)
        assert hashes[name[0]] == hashlib.sha256(name.encode()).hexdigest()
        put_wheel(store, tmp_path / name)
        assert not (tmp_path / name).exists()
    (tmp_path / "a-1-py3-none-any.whl").write_text("another of that name")
    other = sha256_of(tmp_path / "a-1-py3-none-any.whl")
    put_wheel(store, tmp_path / "a-1-py3-none-any.whl")
    (store.carried / hashes["d"] / "d-1-py3-none-any.whl").write_text("changed")
    linked = store.carried / hashes["e"] / "e-1.zip"
    linked.rename(tmp_path / "real.zip")
    linked.symlink_to(tmp_path / "real.zip")

    def pinned(*names: str) -> dict[str, list[str]]:
        return {f"{name}==1": [f"sha256:{hashes[name]}", f"sha512:{hashes[name]}", "sha256:00"] for name in names}

    made = wheelhouse(store, pinned("a", "d", "e") | {"b==2": [f"sha256:{hashes['b']}"]}, pinned("c"), tmp_path / "new")
    assert made == (tmp_path / "new/dependencies", tmp_path / "new/builds")
    assert [file.name for file in made.dependencies.iterdir()] == ["a-1-py3-none-any.whl"]
    assert (made.dependencies / "a-1-py3-none-any.whl").read_text() == "a-1-py3-none-any.whl"
    assert [file.name for file in made.builds.iterdir()] == ["c-1.tar.gz"]
    both = {"a==1": [f"sha256:{hashes['a']}", f"sha256:{other}"]}
    assert len(list(wheelhouse(store, both, {}, tmp_path / "both").dependencies.iterdir())) == 1
    store.release()


def test_a_wheel_that_is_there_stays(tmp_path: Path) -> None:
    """The same content is not moved over it."""
    store = Store(tmp_path / "store")
    for _ in range(2):
        (tmp_path / "a-1.zip").write_text("x")
        put_wheel(store, tmp_path / "a-1.zip")
    assert (tmp_path / "a-1.zip").exists()
    assert [file.name for file in (store.carried / hashlib.sha256(b"x").hexdigest()).iterdir()] == ["a-1.zip"]
    store.release()
