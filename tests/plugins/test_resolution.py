"""Which versions plugins get that are loaded together: one for all wherever that is possible."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from cuvis_ai_core.errors import (
    DependencyConflictError,
    DependencyNotFoundError,
    InstallError,
    MissingExtraError,
)
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cancellable_threads import Crew
from cuvis_ai_core.plugins.installing import resolution
from cuvis_ai_core.plugins.installing.install_request import Choice, Needs
from cuvis_ai_core.plugins.installing.resolution import Resolution, ResolvedTogether
from cuvis_ai_core.plugins.manifest.manifest_schema import LocalPlugin

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.installing.uv_commands import Uv


class FakeUv:
    """What uv would answer, by what it is asked."""

    def __init__(self, answer: Callable[[list[str], list[str]], list[str]]) -> None:
        self.asked: list[tuple[list[str], list[str]]] = []
        self._answer = answer

    def missing(self, requirements: Sequence[str], constraints: Sequence[str]) -> list[str]:
        """Answer, and remember the question."""
        self.asked.append((list(requirements), list(constraints)))
        return self._answer(*self.asked[-1])


def newest(requirements: list[str], constraints: list[str]) -> list[str]:
    """Answer with the pins that are asked for, or with the version 9 of all else."""
    names = {each.partition("==")[0].partition("<")[0].partition(">")[0] for each in requirements}
    if {"old", "new"} <= names:
        raise DependencyConflictError("old and new contradict each other")
    pins = {each.partition("==")[0]: each for each in constraints}
    return [pins.get(name, f"{name}==9") for name in sorted(names)]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a host environment."""
    folder = tmp_path / "site-packages"
    for name, more in (
        ("cuvis_ai_core-1.0", "Requires-Dist: pluggy\nRequires-Dist: pure\n"),
        ("pluggy-1.5", ""),
        ("pure-2.0", ""),
        ("present-3.0", ""),
    ):
        info = folder / f"{name}.dist-info"
        info.mkdir(parents=True)
        distribution, _, version = name.partition("-")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{more}")
        (info / "WHEEL").write_text("Tag: py3-none-any\n")
    monkeypatch.setattr(sys, "path", [str(folder)])
    return folder


FIXED = ["cuvis-ai-core==1.0", "pluggy==1.5", "pure==2.0"]
LIMITS = FIXED[:2]


class Chosen:
    """A resolution of some plugins, with what was asked and said meanwhile."""

    def __init__(
        self,
        plugins: Mapping[str, tuple[str, ...]],
        preferred: Sequence[str] = (),
        answer: Callable[[list[str], list[str]], list[str]] = newest,
    ) -> None:
        self.uv = FakeUv(answer)
        self.own = {name: FakeUv(answer) for name in plugins}
        self.said: list[tuple[str, str]] = []
        needs = {
            name: Needs(f"dist-{name}", requirements, cast("Uv", self.own[name]), self._noting(name))
            for name, requirements in plugins.items()
        }
        self.choices = Resolution(needs, cast("Uv", self.uv), Crew(), preferred).choose()

    def _noting(self, name: str) -> Callable[[str], None]:
        return lambda text: self.said.append((name, text))

    @property
    def pins(self) -> dict[str, tuple[str, ...]]:
        """What each plugin gets."""
        assert not any(choice.error for choice in self.choices.values())
        return {name: choice.pins for name, choice in self.choices.items()}


@pytest.mark.usefixtures("host")
def test_nothing_is_asked_where_the_host_has_all() -> None:
    """Nor of who asks for nothing."""
    found = Chosen({"a": ("present>=3",), "b": ()})
    assert (found.pins, found.said, found.uv.asked) == ({"a": (), "b": ()}, [], [])
    assert not any(each.asked for each in found.own.values())


@pytest.mark.usefixtures("host")
def test_one_plugin_is_resolved_by_itself() -> None:
    """With what the core fixes; what is crossed is not asked about; an address stays what is installed."""
    found = Chosen({"a": ("x", "y @ https://host.org/y.whl", "cuvis-ai-core", "present"), "b": ("present",)})
    assert found.said == [("a", "x, y @ https://host.org/y.whl")]
    assert found.uv.asked == [(["x", "y @ https://host.org/y.whl", "present"], FIXED)]
    alone = Chosen({"a": ("x", "y", "present>3")})
    assert alone.uv.asked == []
    assert alone.own["a"].asked == [(["x", "y", "present>3"], FIXED)]
    assert alone.pins == {"a": ("present==9", "x==9", "y==9")}


@pytest.mark.usefixtures("host")
def test_several_share_one_version_wherever_they_can() -> None:
    """All requirements are asked for together, each once; each plugin then gets what it needs of that."""
    found = Chosen({"a": ("x<9", "y"), "b": ("y", "z")}, answer=lambda _, pins: [*pins[3:], "x==8"])
    assert found.uv.asked == [(["x<9", "y", "z"], FIXED)]
    assert [found.own[name].asked for name in "ab"] == [
        [(["x<9", "y"], [*FIXED, "x==8"])],
        [(["y", "z"], [*FIXED, "x==8"])],
    ]


@pytest.mark.usefixtures("host")
def test_who_cannot_live_with_those_before_is_resolved_alone() -> None:
    """In the order of the manifest; the others still share."""
    found = Chosen({"a": ("old", "x"), "b": ("new",), "c": ("x", "z")})
    assert found.pins == {"a": ("old==9", "x==9"), "b": ("new==9",), "c": ("x==9", "z==9")}
    assert [(" ".join(asked), len(pins)) for asked, pins in found.uv.asked] == [
        ("old x new z", len(FIXED)),
        ("old x new z", len(LIMITS)),
        ("old x", len(FIXED)),
        ("old x new", len(FIXED)),
        ("old x new", len(LIMITS)),
        ("old x z", len(FIXED)),
    ]
    assert [pins for _, pins in found.own["a"].asked] == [FIXED, [*FIXED, "old==9", "x==9", "z==9"]]
    assert [pins for _, pins in found.own["b"].asked] == [FIXED]


@pytest.mark.usefixtures("host")
def test_pins_are_kept_where_that_is_possible() -> None:
    """They are a wish: where they contradict, versions are chosen as if there were none."""
    kept = Chosen({"a": ("x",), "b": ("z",)}, ["x==1"])
    assert kept.pins == {"a": ("x==1",), "b": ("z==9",)}

    def refusing(requirements: list[str], constraints: list[str]) -> list[str]:
        if "x==1" in constraints:
            raise InstallError("x==1 is not there any more")
        return newest(requirements, constraints)

    assert Chosen({"a": ("x",), "b": ("z",)}, ["x==1"], refusing).pins == {"a": ("x==9",), "b": ("z==9",)}
    assert Chosen({"a": ("x",)}, ["x==1"]).pins == {"a": ("x==1",)}


@pytest.mark.usefixtures("host")
def test_what_is_pure_may_be_had_in_another_version_than_the_core_has() -> None:
    """Of a plugin's own; where not even the limits can be kept, that is the error, of this plugin only."""

    def wanting(requirements: list[str], constraints: list[str]) -> list[str]:
        if "pure==2.0" in constraints and "pure>2" in requirements:
            raise DependencyConflictError("pure")
        if "gone" in requirements:
            raise DependencyNotFoundError("gone is nowhere")
        return newest(requirements, constraints)

    found = Chosen({"a": ("pure>2",)}, answer=wanting)
    assert found.pins == {"a": ("pure==9",)}
    assert [pins for _, pins in found.own["a"].asked] == [FIXED, LIMITS]
    mixed = Chosen({"a": ("gone",), "b": ("x",)}, answer=wanting)
    assert str(mixed.choices["a"].error) == "gone is nowhere"
    assert mixed.choices["b"] == Choice(("x==9",))


def test_where_all_is_fixed_nothing_is_tried_twice(host: Path) -> None:
    """The error is that of the first time."""
    (host / "pure-2.0.dist-info/WHEEL").unlink()

    def refusing(*_: Any) -> list[str]:
        raise InstallError("no")

    found = Chosen({"a": ("x",)}, answer=refusing)
    assert (str(found.choices["a"].error), len(found.own["a"].asked)) == ("no", 1)


@pytest.mark.usefixtures("host")
def test_what_only_the_host_may_have_is_refused_for_one_plugin() -> None:
    """By name of its distribution, whether it asks for that itself or something that it needs does."""
    found = Chosen(
        {"a": ("torch",), "b": ("needs-numpy",), "c": ("x",)},
        answer=lambda asked, _: ["numpy==2"] if "needs-numpy" in asked else ["x==9"],
    )
    error = found.choices["a"].error
    assert isinstance(error, MissingExtraError)
    assert error.message.startswith("Plugin package dist-a needs torch")
    assert "package dist-b requires numpy, which only the host may have" in str(found.choices["b"].error)
    assert found.choices["c"] == Choice(("x==9",))


@pytest.mark.usefixtures("host")
def test_without_a_lock_file_the_manifest_and_the_repository_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is taken, once a tag is settled; pins to keep are those that it was given."""
    versions = ResolvedTogether(["x==1"])
    settled: list[tuple[str, Source]] = []
    monkeypatch.setattr(resolution, "settle", lambda *words: settled.append(words))
    source = Source(tmp_path)
    versions.check("a", source)
    assert settled == [("a", source)]
    declared = LocalPlugin(path=Path(), provides=("m.N",), isolation="auto")
    assert versions.isolation("a", declared) == "auto"
    uv = cast("Uv", FakeUv(newest))
    needs = {"a": Needs("dist-a", ("x", "y"), uv, lambda _: None)}
    assert versions.choose(needs, uv, Crew()) == {"a": Choice(("x==1", "y==9"))}


def test_keys_tell_what_is_resolved_together(host: Path, tmp_path: Path) -> None:
    """One plugin by itself is the same under every name; of several, all and what the host has count."""
    versions = ResolvedTogether()
    places = {"a": tmp_path / "one", "b": tmp_path / "two"}
    both = versions.keys(places)
    alone = versions.keys({"a": tmp_path / "one"})
    assert both["a"] == both["b"]
    assert both["a"].startswith(f"{alone['a']}:")
    assert versions.keys({"other": tmp_path / "three"}) == {"other": alone["a"]}
    assert versions.keys({"a": tmp_path / "one", "b": tmp_path / "three"})["a"] != both["a"]
    (host / "more-1.dist-info").mkdir()
    assert versions.keys({"a": tmp_path / "one"}) != alone
    assert (versions.locked, versions.carried("a"), versions.environment("a")) == (False, None, None)
