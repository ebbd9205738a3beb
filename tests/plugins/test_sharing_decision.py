"""Which dependencies of a plugin are shared and which are its own, decided from what is said of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cuvis_ai_core.errors import DependencyConflictError
from cuvis_ai_core.plugins.dependencies.alternative_builds import are_one
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.dependencies.requirements import conflict
from cuvis_ai_core.plugins.dependencies.sharing_decision import Demand, Provider, Sharing


def dist(name: str, *requires: str, version: str = "1", pure: bool = True) -> Distribution:
    """Return a distribution."""
    return Distribution(name, version, requires, (name,), (), pure)


def sharing(
    *needed: Distribution,
    asks: tuple[str, ...] = (),
    live: Mapping[str, str | None] | None = None,
    host: Mapping[str, str] | None = None,
) -> Sharing:
    """Return the question about a plugin that asks for something, where somebody provides something already."""

    def provider(known: Mapping[str, str | None], where: str) -> Callable[[Distribution], Provider | None]:
        return lambda each: Provider(known[each.name], where, "another module") if each.name in known else None

    return Sharing(dist("plugin", *asks), needed, provider(live or {}, "live"), provider(dict(host or {}), "the host"))


def reason(name: str) -> DependencyConflictError:
    """Return why something cannot be shared."""
    return conflict("plugin", name, "0", "live", "plugin")


def test_what_nobody_provides_is_new() -> None:
    """In its order, and without what is private."""
    asked = sharing(dist("a", "b"), dist("b"), dist("c"), asks=("a",), live={"c": "1"})
    assert asked.private({}) == {}
    assert [each.name for each in asked.new({})] == ["a", "b"]
    assert [each.name for each in asked.new({"a": reason("a")})] == ["b"]


def test_what_depends_on_a_private_copy_is_private_too() -> None:
    """However many lie between, with the same reason; what counts for another system or extra only does not."""
    why = reason("a")
    asked = sharing(
        dist("a"), dist("b", "a"), dist("c", "b"), dist("d", "a; python_version<'3'"), dist("e", "a; extra=='x'")
    )
    assert asked.private({"a": why}) == {"a": why, "b": why, "c": why}
    wanted = sharing(dist("a"), dist("e", "a; extra=='x'"), asks=("e[x]",))
    assert set(wanted.private({"a": why})) == {"a", "e"}


def test_what_is_compiled_or_not_there_cannot_be_private() -> None:
    """Then that is the conflict; something compiled that depends on a private one is shared if it can be."""
    with pytest.raises(DependencyConflictError, match="plugin requires a,"):
        sharing(dist("a", pure=False)).private({"a": reason("a")})
    with pytest.raises(DependencyConflictError, match="plugin requires b,"):
        sharing(dist("a")).private({"b": reason("b")})
    asked = sharing(dist("a"), dist("b", "a", pure=False), live={"b": "1"})
    assert set(asked.private({"a": reason("a")})) == {"a"}


@pytest.mark.parametrize(
    ("requirement", "live", "private"),
    [
        ("a", "1", False),
        ("a>=2", "1", True),
        ("a>=2", "2", False),
        ("a>=2; python_version<'3'", "1", False),
        ("a", None, True),
        ("a; python_version<'3'", None, False),
    ],
)
def test_what_the_plugin_refuses_is_its_own(requirement: str, live: str | None, private: bool) -> None:  # noqa: FBT001
    """In the version that everybody has; modules of no known version meet nothing that counts."""
    found = sharing(dist("a", version="9"), asks=(requirement,), live={"a": live}).private({})
    assert set(found) == ({"a"} if private else set())
    if private:
        assert f"package plugin requires {requirement}, but {live or 'another module'} is" in found["a"].message
        assert found["a"].message.endswith("(live).")
        assert found["a"].plugin == "plugin"


def test_what_a_shared_dependency_refuses_is_private() -> None:
    """Of what the directory provides first; where another provides it, its copy asks for nothing."""
    first = sharing(dist("a", "b>1"), dist("b", version="2"), asks=("a", "b"), live={"b": "1"})
    assert set(first.private({})) == {"a", "b"}
    provided = sharing(dist("a", "b>1"), dist("b", version="2"), asks=("a", "b"), live={"a": "1", "b": "1"})
    assert provided.private({}) == {}
    extra = sharing(dist("a", "b>1; extra=='x'"), dist("b", version="2"), asks=("a[x]", "b"), live={"a": "1", "b": "1"})
    assert set(extra.private({})) == {"a", "b"}


def test_whoever_refuses_what_it_would_get_is_private_itself() -> None:
    """A shared dependency sees what everybody has, or what the host has, of that which is the plugin's own."""
    why = reason("b")
    needed = (dist("a", "b>1", pure=True), dist("b", version="2"))
    assert set(sharing(*needed, asks=("a", "b")).private({"b": why})) == {"a", "b"}
    compiled = (dist("a", "b>1", pure=False), dist("b", version="2"))
    assert set(sharing(*compiled, asks=("a", "b"), host={"b": "3"}).private({"b": why})) == {"b"}
    assert set(sharing(*compiled, asks=("a", "b"), live={"b": "3"}, host={"b": "0"}).private({"b": why})) == {"b"}
    for where in ({"host": {"b": "1"}}, {"live": {"b": "1"}}):
        with pytest.raises(DependencyConflictError, match=r"package a requires b>1, but 1 is installed"):
            sharing(*compiled, asks=("a", "b"), **where).private({"b": why})


def test_what_is_asked_of_others_than_the_directory_counts_too() -> None:
    """Of a dependency that is not in it, the live version."""
    with pytest.raises(DependencyConflictError, match="package a requires z>2"):
        sharing(dist("a", "z>2"), asks=("a",), live={"z": "1"}).private({})
    assert sharing(dist("a", "z>2"), asks=("a",), live={"z": "3"}).private({}) == {}


def test_demands_are_those_on_what_is_shared() -> None:
    """With who states them and the extras that are wanted of it; what sees a private copy asks nothing of others'."""
    asked = sharing(
        dist("a", "b>1", "c; extra=='x'", "d"), dist("b"), dist("c", "b"), asks=("a[x]", "b", "a[y]"), live={"c": "1"}
    )
    xy = frozenset({"x", "y"})
    assert list(asked.demands({})) == [
        Demand("plugin", "a[x]"),
        Demand("plugin", "b"),
        Demand("plugin", "a[y]"),
        Demand("a", "b>1", xy),
        Demand("a", "c; extra=='x'", xy),
        Demand("a", "d", xy),
    ]
    private = {"b": reason("b"), "a": reason("a")}
    assert [demand.requirement for demand in asked.demands(private)] == ["c; extra=='x'", "d"]


def test_the_first_that_asks_is_named() -> None:
    """The plugin before its dependencies; nobody, where conditions do not hold: then the version itself is named."""
    asked = sharing(
        dist("a", "b>1"), dist("b", version="4"), dist("c", "d; extra=='x'"), dist("d"), asks=("b; python_version<'3'",)
    )
    assert asked.asking_for("b") == ("a", "b>1")
    assert asked.asking_for("d") == ("plugin", "d==1")
    assert sharing(dist("a", "b>1"), dist("b"), asks=("b",)).asking_for("b") == ("plugin", "b")


def record(folder: Path, lines: str, info: str = "My_Dep-1.dist-info") -> Path:
    """Write a record of what was installed, and return the folder."""
    (folder / info).mkdir(parents=True)
    (folder / info / "RECORD").write_text(lines)
    return folder


def test_two_copies_are_one_where_their_files_are(tmp_path: Path) -> None:
    """By their hashes; metadata and bytecode say how it was installed. What cannot be told is taken for one."""
    one = record(tmp_path / "one", "a.py,h1,1\nMy_Dep-1.dist-info/RECORD,,\n__pycache__/a.pyc,,\n")
    same = record(tmp_path / "same", "My_Dep-1.dist-info/INSTALLER,x,1\na.py,h1,1\n")
    other = record(tmp_path / "other", "a.py,h2,1\n")
    more = record(tmp_path / "more", "a.py,h1,1\nb.py,h1,1\n")
    named = record(tmp_path / "named", "a.py,h3,1\n", "other-1.dist-info")
    found = [are_one("my-dep", one, each) for each in (one, same, other, more, named, tmp_path / "gone")]
    assert found == [True, True, False, False, True, True]
