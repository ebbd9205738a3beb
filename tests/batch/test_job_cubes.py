"""Which cubes a job has, what their folders are called, and by what a changed one is noticed."""

import os
from pathlib import Path

import pytest

from cuvis_ai_core.batch.job_cubes import Unit, find_units, is_pattern, unit_id
from cuvis_ai_core.errors import CubeError, OutputError

SUFFIXES = [".npy", ".hdr", ".zarr"]
FILES = ("top.npy", "days/mon/1.npy", "days/mon/2.npy", "days/tue/1.npy", "days/store.zarr/zarr.json", "odd[1].npy")


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, with cubes."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("places", "names"),
    [
        ("top.npy", {"top.npy": "top"}),
        ("*.npy", {"top.npy": "top", "odd[1].npy": "odd_1_-7172c072"}),
        ("odd[1].npy", {"odd[1].npy": "odd_1_-7172c072"}),
        ("days/mon", {"days/mon/1.npy": "1", "days/mon/2.npy": "2"}),
        ("days/*/1.npy", {"days/mon/1.npy": "mon/1", "days/tue/1.npy": "tue/1"}),
        ("days/store.zarr", {"days/store.zarr": "store.zarr"}),
        (["days/mon/1.npy", "days/mon/2.npy"], {"days/mon/1.npy": "1", "days/mon/2.npy": "2"}),
        (["days/tue/1.npy", "days/mon/2.npy"], {"days/mon/2.npy": "mon/2", "days/tue/1.npy": "tue/1"}),
        (["days/mon/1.npy", "top.npy"], {"days/mon/1.npy": "days/mon/1", "top.npy": "top"}),
        (
            ["days/mon", "days/tu*/*.npy", "top.npy"],
            {"days/mon/1.npy": "1", "days/mon/2.npy": "2", "days/tue/1.npy": "tue/1", "top.npy": "top"},
        ),
        (["top.npy", "*.npy"], {"top.npy": "top", "odd[1].npy": "odd_1_-7172c072"}),
        (["top.npy", "gone.npy"], {"top.npy": "top", "gone.npy": "gone"}),
        ("https://host/a/scene.npy", {"https://host/a/scene.npy": "scene"}),
        (["https://host/a/1.npy", "days/mon/2.npy"], {"https://host/a/1.npy": "1", "days/mon/2.npy": "2"}),
    ],
)
@pytest.mark.usefixtures("scenes")
def test_a_folder_of_results_goes_by_where_its_cube_was_found(places: str | list[str], names: dict[str, str]) -> None:
    """Below the place that was named, or what files that were named one by one have in common; each cube once."""
    found = find_units(places, SUFFIXES)
    assert {each.cube if "://" in each.cube else os.path.relpath(each.cube): each.name for each in found} == names


@pytest.mark.usefixtures("scenes")
@pytest.mark.parametrize(
    ("places", "message"), [([], "No cubes are named"), ("gone.npy", "no file"), (["top.npy", "gone*.npy"], "nothing")]
)
def test_what_no_cube_can_be_is_said_before_any_work(places: str | list[str], message: str) -> None:
    """Of several that are named one by one, a missing one has its turn."""
    with pytest.raises(CubeError, match=message):
        find_units(places, SUFFIXES)


@pytest.mark.usefixtures("scenes")
def test_no_pattern_tells_arrays_of_one_file_apart() -> None:
    """Each needs a run of its own."""
    with pytest.raises(OutputError) as caught:
        find_units(["top.npy::a", "top.npy::b"], SUFFIXES)
    assert caught.value.hint == "Rename one of them, or give each a run and a folder of its own."


@pytest.mark.usefixtures("scenes")
def test_what_is_there_is_no_pattern() -> None:
    """Though its name has the signs of one."""
    assert [is_pattern(each) for each in ("odd[1].npy", "odd[2].npy", "top.npy", "to?.npy")] == [
        False,
        True,
        False,
        True,
    ]


def test_every_file_of_a_cube_tells_that_it_changed(scenes: Path) -> None:
    """Of a store, of an image that is named by its data; an array in a file is that file, an address says nothing."""
    (scenes / "deep.zarr/c").mkdir(parents=True)
    for name in ("image.img", "image.hdr", "deep.zarr/zarr.json", "deep.zarr/c/0"):
        (scenes / name).write_bytes(b"xyz")
    for cube, files in {
        "top.npy::radiance": ["top.npy"],
        "image.img": ["image.img", "image.hdr"],
        "deep.zarr": ["deep.zarr/zarr.json", "deep.zarr/c/0"],
    }.items():
        states = [Unit(str(scenes / cube), "a").state()]
        for number, file in enumerate(files):
            os.utime(scenes / file, (number, number))
            states.append(Unit(str(scenes / cube), "a").state())
        assert {size for size, _ in states} == {sum((scenes / file).stat().st_size for file in files)}
        assert len({times for _, times in states}) == len(files) + 1
    assert Unit("https://host/a.npy", "a").state() == [0, 0]


def test_what_was_noted_of_a_cube_holds_for_later_versions(scenes: Path) -> None:
    """Else they would do all cubes again."""
    os.utime(scenes / "top.npy", ns=(0, 1_700_000_000_123_456_789))
    assert Unit(str(scenes / "top.npy"), "a").state() == [1, 34387963102388]
    assert unit_id(Unit("", "days/mon/1")) == "84d52ab1de4b56dd3b4dab4691db10b3"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("cubes.csv", "_cubes.csv"),
        ("a b", "a_b"),
        ("a_b", "a_b"),
        ("nul", "_nul"),
        ("a+b", "a_b-300273da"),
        ("x" * 201, f"{'x' * 80}-84a0678c"),
        ("x" * 100, "x" * 100),
    ],
)
def test_a_folder_is_called_as_its_cube_where_that_can_be(scenes: Path, name: str, folder: str) -> None:
    """Else it has a number that goes by the name alone."""
    (scenes / f"{name}.npy").write_bytes(b"x")
    assert find_units(str(scenes / f"{name}.npy"), SUFFIXES)[0].name == folder
