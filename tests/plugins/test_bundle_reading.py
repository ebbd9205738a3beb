"""What reads a bundle, each part by itself: names, limits, the archive, wheels, who is believed."""

import gzip
import hashlib
import io
import json
import os
import stat
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import BundleError, InstallError, NetworkError
from cuvis_ai_core.plugins.bundle import size_limits
from cuvis_ai_core.plugins.bundle.local_files import files_below
from cuvis_ai_core.plugins.bundle.member_names import Names, is_below_manifest, is_plain
from cuvis_ai_core.plugins.bundle.size_limits import Limits, Meter
from cuvis_ai_core.plugins.bundle.tar_reader import Header, counted_members, is_bundle, read_archive
from cuvis_ai_core.plugins.bundle.trust import Asked, disagreements, not_accepted, own_lock
from cuvis_ai_core.plugins.bundle.wheel_download import download
from cuvis_ai_core.plugins.bundle.wheel_size import check_wheel
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.installing.compatible_wheels import Wheel
from cuvis_ai_core.plugins.lock.lockfile import Lock, LockedPins

MEGA = 2**20

SHA1, SHA256 = "0123456789" * 4, "01234567" * 8


def meter(packed: int = 10**6, **limits: int) -> Meter:
    """Return a meter with some limits."""
    return Meter("It", packed, Limits(**limits))


@pytest.mark.parametrize(
    ("part", "plain"),
    [
        *(
            (part, True)
            for part in ("a", "a b", ".a", "...a", "é", "a\xa0b", "console", "com", "com10", "lptx", "nul_")
        ),
        *(
            (part, False)
            for part in ("", ".", "..", "a.", "a ", "...", "CON", "con.txt", "Com1", "lpt9.tar.gz", "aux.")
        ),
        *((f"a{sign}b", False) for sign in '<>:"|?*\\\x00\x1f\x7f\x9f\n'),
    ],
)
def test_what_is_a_name_on_every_system(part: str, plain: bool) -> None:  # noqa: FBT001
    """Windows has devices in every folder, and drops signs at the end; control signs steer terminals."""
    assert is_plain(part) is plain


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("mine", True),
        ("a/b", True),
        *((path, False) for path in ("", ".", "..", "../a", "a/..", "/a", "a//b", ".a", "a/.b", "a/con", "a/")),
    ],
)
def test_only_visible_folders_below_the_manifest_are_carried(path: str, below: bool) -> None:  # noqa: FBT001
    """What lies elsewhere, or is hidden, is not."""
    assert is_below_manifest(path) is below


@pytest.mark.parametrize(
    "name",
    [
        "plugins.yaml",
        "plugins.lock",
        "plugins/mine/a",
        "plugins/mine/a/b/c.git",
        "packs/one_1.pack",
        f"large/{SHA256}",
        "wheels/a-1.0+x!2-py3-none-any.whl",
        "wheels/a-1.tar.gz",
        "wheels/a.zip",
    ],
)
def test_names_that_have_a_place(name: str) -> None:
    """Each folder holds one kind of files."""
    Names().add(name)


@pytest.mark.parametrize(
    "name",
    [
        "plugins.yaml/x",
        "bundle.json",
        "plugins",
        "plugins/mine",
        "plugins/mine/.GIT",
        "plugins/.git/a",
        "packs/a-b.pack",
        "packs/.pack",
        "packs/a.pack.x",
        "packs/a/b.pack",
        f"large/{SHA256[1:]}",
        f"large/{SHA256}0",
        f"large/{SHA256[1:]}A",
        f"large/x/{SHA256}",
        "wheels/a.tar",
        "wheels/.a.whl",
        "wheels/a.whl.exe",
        "wheels/é.whl",
        "wheels/a/b.whl",
        "other/mine/a",
    ],
)
def test_names_that_have_none(name: str) -> None:
    """Nothing else may lie in a bundle, whatever it is called."""
    with pytest.raises(BundleError) as caught:
        Names().add(name)
    assert caught.value.message == f"The bundle has a file that has no place in it: {name!r}. Nothing was unpacked."
    assert str(caught.value.hint) == "Make it anew where it was made: cuvis-ai plugins bundle MANIFEST -o FILE"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("plugins/a/b", "plugins/a/b", "has the file 'plugins/a/b' twice"),
        ("plugins/a/b", "plugins/a/b/c", "where it has a folder, or in a file"),
        ("plugins/a/b/c", "plugins/a/b", "where it has a folder, or in a file"),
        ("plugins/a/b", "plugins/a/bc", ""),
        ("plugins/a/b/c", "plugins/a/b/d", ""),
    ],
)
def test_names_fit_each_other(first: str, second: str, said: str) -> None:
    """No file is there twice, and none is a folder."""
    names = Names()
    names.add(first)
    if said:
        with pytest.raises(BundleError, match=said):
            names.add(second)
    else:
        names.add(second)


@pytest.mark.parametrize(("platform", "one"), [("linux", False), ("darwin", True), ("win32", True)])
def test_case_counts_on_linux_alone(monkeypatch: pytest.MonkeyPatch, platform: str, one: bool) -> None:  # noqa: FBT001
    """Elsewhere the second would fall onto the first."""
    monkeypatch.setattr(sys, "platform", platform)
    names = Names()
    names.add("plugins/a/B")
    if one:
        with pytest.raises(BundleError, match="twice"):
            names.add("plugins/a/b")
        with pytest.raises(BundleError, match="in a file"):
            names.add("plugins/A/b/c")
    else:
        names.add("plugins/a/b")
        names.add("plugins/A/b/c")


@pytest.mark.parametrize(
    ("limit", "most", "use"),
    [
        ("size", 10, lambda meter, number: [meter.grow(number - 3), meter.grow(3)]),
        ("files", 10, lambda meter, number: [meter.count("a") for _ in range(number)]),
        ("files", 10, lambda meter, number: meter.count("a", files=number)),
        ("depth", 10, lambda meter, number: meter.count("/".join("a" * number))),
        ("name", 10, lambda meter, number: meter.count("a" * number)),
        ("name", 10, lambda meter, number: meter.count("é" * (number // 2) + "a" * (number % 2))),
        ("name", 10, lambda meter, number: meter.count("\udcff" * number)),
    ],
)
def test_a_limit_is_what_is_still_allowed(limit: str, most: int, use: Callable[[Meter, int], object]) -> None:
    """One more is refused, the limit is named, and how it is raised."""
    use(meter(**{limit: most}), most)
    with pytest.raises(BundleError) as caught:
        use(meter(**{limit: most}), most + 1)
    assert caught.value.message.startswith(f"It unpacks to more than {most} ")
    assert caught.value.message.endswith(f", which is the limit '{limit}'. Nothing was put in place.")
    assert str(caught.value.hint).endswith(f"cuvis-ai plugins unbundle ARCHIVE --limit {limit}=NUMBER")


def test_much_out_of_little_is_refused_beyond_what_anything_may_be() -> None:
    """64 MiB are free; beyond, the ratio counts, up to just that many times."""
    free = meter(1, ratio=100)
    free.grow(64 * MEGA)
    with pytest.raises(BundleError, match=r"more than 100 times its 1 bytes, which is the limit 'ratio'"):
        free.grow(1)
    large = meter(MEGA, ratio=100)
    large.grow(100 * MEGA)
    with pytest.raises(BundleError, match="'ratio'"):
        large.grow(1)


def test_what_lies_in_something_counts_for_that_too() -> None:
    """Its bytes and files do; the depth and length of its names are its own."""
    outer = Meter("The bundle", 10**6, Limits(size=10, files=3, depth=3, name=5))
    inner = [Meter(f"The file {number}", 10**6, outer.limits._replace(depth=9, name=99), outer) for number in range(3)]
    for each in inner:
        each.count("a/b/c/d/e/f")
        each.grow(3)
    with pytest.raises(BundleError, match=r"^The bundle unpacks to more than 3 files"):
        inner[0].count("a")
    several = Meter("The bundle", 10**6, Limits(files=3))
    with pytest.raises(BundleError, match=r"^The bundle unpacks to more than 3 files"):
        Meter("The file", 10**6, Limits(), several).count("a", files=4)
    with pytest.raises(BundleError, match=r"^The bundle unpacks to more than 10 bytes"):
        inner[0].grow(2)


def archive(
    place: Path, members: dict[str, bytes], header: object = None, first: str = "bundle.json", *, plain: bool = False
) -> Path:
    """Write an archive that begins with a header, as it is or as bytes."""
    data = Header(interpreter(), {}).to_json() if header is None else header
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    with tarfile.open(place, "w" if plain else "w:gz") as tar:
        for name, content in {first: text, **members}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(member, io.BytesIO(content))
    return place


WHOLE = {"plugins.yaml": b"a", "plugins.lock": b"bc"}


def read(place: Path, into: Path, **limits: int) -> Header:
    """Unpack an archive into a new folder."""
    into.mkdir()
    return read_archive(place, into, Limits(**limits))[0]


def test_an_archive_is_unpacked_as_it_is(tmp_path: Path) -> None:
    """Its header is understood, and its files keep whether they can be run, and nothing else."""
    tags = {"one": SHA1, "two": SHA256}
    place = archive(
        tmp_path / "x.tar.gz",
        {**WHOLE, "plugins/mine/run.sh": b"x" * (MEGA + 1)},
        Header(interpreter(), tags).to_json(),
    )
    assert read(place, tmp_path / "out") == Header(interpreter(), tags)
    files = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.*")}
    assert {name: path.stat().st_size for name, path in files.items()} == {
        "plugins.yaml": 1,
        "plugins.lock": 2,
        "plugins/mine/run.sh": MEGA + 1,
    }
    assert [name for name, path in files.items() if path.stat().st_mode & stat.S_IXUSR] == ["plugins/mine/run.sh"]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b'{"format": 1, "x', "has format 1; this version of cuvis-ai-core reads 2,"),
        (b'{"format": 3}', "has format 3; this"),
        (b'{"format":2}', "that cannot be read"),
        (b'{"format": 22}', "has format 22; this"),
        (b'{"format": "2"}', "has format none; this"),
        (b'{"interpreter": "x", "format": 2}', "has format none; this"),
        (b'{"format": 2', "that cannot be read"),
        ({"format": 2, "interpreter": "x"}, "that cannot be read"),
        ({"format": 2, "tags": {}}, "that cannot be read"),
        ({"format": 2, "interpreter": 3, "tags": {}}, "that cannot be read"),
        ({"format": 2, "interpreter": "x", "tags": []}, "that cannot be read"),
        ({"format": 2, "interpreter": "x", "tags": {"a": 1}}, "that cannot be read"),
        ({"format": 2, "interpreter": "x", "tags": {"a-b": SHA1}}, "that cannot be read"),
        ({"format": 2, "interpreter": "x", "tags": {"a": SHA1 + "0"}}, "that cannot be read"),
        ({"format": 2, "interpreter": "x", "tags": {"a": SHA1.replace("0", "A")}}, "that cannot be read"),
        ({"format": 2, "interpreter": "x", "tags": {"a": SHA256[1:]}}, "that cannot be read"),
        ({"format": 2, "interpreter": "x" * 2**16, "tags": {}}, "that cannot be read"),
    ],
)
def test_a_header_that_says_something_else_is_refused(tmp_path: Path, header: object, said: str) -> None:
    """Another format is named; all else has to be there, and plain."""
    with pytest.raises(BundleError, match=said):
        read(archive(tmp_path / "x.tar.gz", WHOLE, header), tmp_path / "out")


def test_of_a_bundle_for_another_platform_nothing_is_unpacked(tmp_path: Path) -> None:
    """Its header says so, before anything else in it is read."""
    place = archive(tmp_path / "x.tar.gz", {**WHOLE, "../x": b""}, Header("cpython-1", {}).to_json())
    with pytest.raises(BundleError, match=f"for 'cpython-1', but this is {interpreter()}. Nothing was unpacked"):
        read(place, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_header_may_be_as_long_as_it_may_be(tmp_path: Path) -> None:
    """Its blanks count, one byte more is refused."""
    text = Header(interpreter(), {}).to_json()
    read(archive(tmp_path / "x.tar.gz", WHOLE, text.ljust(2**16)), tmp_path / "out")
    with pytest.raises(BundleError, match="cannot be read"):
        read(archive(tmp_path / "x.tar.gz", WHOLE, text.ljust(2**16 + 1)), tmp_path / "more")


@pytest.mark.parametrize("missing", WHOLE)
def test_a_bundle_without_its_manifest_or_its_lock_is_not_whole(tmp_path: Path, missing: str) -> None:
    """Which is missing is said."""
    place = archive(tmp_path / "x.tar.gz", {name: data for name, data in WHOLE.items() if name != missing})
    with pytest.raises(BundleError, match=f"x.tar.gz is not whole: it has no {missing}"):
        read(place, tmp_path / "out")


def test_what_is_no_bundle_is_told_apart(tmp_path: Path) -> None:
    """By the name of the first file, whole or not; a pipe is not waited for."""
    good = archive(tmp_path / "good.tar.gz", WHOLE)
    (tmp_path / "other.tar.gz").write_bytes(gzip.compress(b"bundle.jsonx\0"))
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(b"bundle.json"))
    (tmp_path / "begun.tar.gz").write_bytes(gzip.compress(b"bundle.json\0"))
    (tmp_path / "plain.tar.gz").write_bytes(b"bundle.json\0")
    os.mkfifo(tmp_path / "pipe.tar.gz")
    names = ("good", "other", "cut", "begun", "plain", "pipe", "gone")
    found = [name for name in names if is_bundle(tmp_path / f"{name}.tar.gz")]
    assert found == ["good", "begun"]
    assert not is_bundle(tmp_path)
    for place, said in (
        (tmp_path / "gone.tar.gz", f"There is no bundle {tmp_path / 'gone.tar.gz'}."),
        (tmp_path, f"{tmp_path} is a folder, no bundle."),
    ):
        with pytest.raises(BundleError) as caught:
            read_archive(place, tmp_path / "out", Limits())
        assert (caught.value.message, caught.value.hint) == (said, "Give the path of a .tar.gz file.")
    with pytest.raises(BundleError, match=r"other.tar.gz cannot be read: "):
        read_archive(tmp_path / "other.tar.gz", tmp_path / "out", Limits())
    with pytest.raises(BundleError, match=r"renamed.tar.gz does not begin with bundle.json"):
        read_archive(archive(tmp_path / "renamed.tar.gz", {}, first="a.json"), tmp_path, Limits())
    assert good.is_file()


def test_each_file_of_an_archive_counts(tmp_path: Path) -> None:
    """Names and number of files as of the bundle, with what tar puts around them."""
    place = archive(tmp_path / "x.tar.gz", {**WHOLE, "plugins/mine/a": b""})
    unpacked = len(gzip.decompress(place.read_bytes()))
    read(place, tmp_path / "fits", files=3, depth=3, name=14, size=unpacked)
    for limit, less in (("files", 2), ("depth", 2), ("name", 13), ("size", unpacked - 1)):
        with pytest.raises(BundleError, match=f"limit '{limit}'"):
            read(place, tmp_path / limit, **{limit: less})


def test_sources_are_counted_without_being_kept(tmp_path: Path) -> None:
    """Every name comes, in order, and all bytes count."""
    place = archive(tmp_path / "a-1.tar.gz", {"b/c": b"x" * 1000, "d": b""}, b"x")
    size = len(gzip.decompress(place.read_bytes()))
    assert list(counted_members(place, meter(size=size))) == ["bundle.json", "b/c", "d"]
    with pytest.raises(BundleError, match="'size'"):
        list(counted_members(place, meter(size=size - 1)))
    check_wheel(place, meter(files=3, depth=2, name=11))
    for limit, less in (("files", 2), ("depth", 1), ("name", 10)):
        with pytest.raises(BundleError, match=f"^The file a-1.tar.gz in the bundle .*'{limit}'"):
            check_wheel(place, meter(**{limit: less}))
    place.write_bytes(place.read_bytes()[:-20])
    with pytest.raises(BundleError, match=r"has a source that cannot be read: a-1\.tar\.gz"):
        check_wheel(place, meter())


def headers(*members: tuple[bytes, int], comment: int = 0) -> bytes:
    """Return a tar file of members of some types and sizes, of which only what tells of them is there."""
    if comment:
        plain = tarfile.TarInfo("a")
        plain.pax_headers = {"comment": "x" * (comment - len(f"{comment} comment=\n"))}
        return plain.tobuf(tarfile.PAX_FORMAT) + bytes(1024)
    data = b""
    for kind, size in members:
        member = tarfile.TarInfo("a")
        member.type, member.size = kind, size
        data += member.tobuf(tarfile.GNU_FORMAT)
    return data + bytes(1024)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (headers(comment=2**16), None),
        (headers(comment=2**16 + 1), 2**16 + 1),
        (headers((tarfile.GNUTYPE_LONGNAME, 10**9)), 10**9),
        (headers((tarfile.XHDTYPE, 2**16 + 1)), 2**16 + 1),
        (headers((tarfile.REGTYPE, -512)), -512),
        (headers((tarfile.AREGTYPE, -1)), -1),
        (headers((tarfile.SYMTYPE, 2**17)), 2**17),
    ],
)
def test_headers_of_an_archive_are_short(tmp_path: Path, data: bytes, said: int | None) -> None:
    """Those of names are read whole, whatever size they say; a size below nothing is none."""
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(data))
    if said is None:
        assert list(counted_members(tmp_path / "a.tar.gz", meter())) == ["a"]
    else:
        with pytest.raises(BundleError, match=f"has a header of {said} bytes"):
            list(counted_members(tmp_path / "a.tar.gz", meter()))


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("plugins/mine/a", tarfile.SYMTYPE, "has something that is no plain file: 'plugins/mine/a'"),
        ("plugins/mine/a", tarfile.LNKTYPE, "has something that is no plain file"),
        ("plugins/mine/a", tarfile.DIRTYPE, "has something that is no plain file"),
        ("plugins/mine/a", tarfile.GNUTYPE_SPARSE, "no plain file|cannot be read"),
        ("plugins/a", tarfile.REGTYPE, "has a file that has no place in it"),
        ("plugins.yaml", tarfile.REGTYPE, "has the file 'plugins.yaml' twice"),
        ("../a", tarfile.REGTYPE, "a name that is not allowed"),
        ("plugins/mine/a", tarfile.AREGTYPE, ""),
    ],
)
def test_members_are_plain_files_under_names_that_have_a_place(
    tmp_path: Path, name: str, kind: bytes, said: str
) -> None:
    """Whatever else is in an archive ends the reading of it, before that is written."""
    place = archive(tmp_path / "x.tar", WHOLE, plain=True)
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "plugins.yaml" if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else ""
    with tarfile.open(place, "a") as tar:
        tar.addfile(member)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(place.read_bytes()))
    if said:
        with pytest.raises(BundleError, match=said):
            read(tmp_path / "x.tar.gz", tmp_path / "out")
        assert {path.name for path in (tmp_path / "out").rglob("*")} == set(WHOLE)
        assert not (tmp_path / "a").exists()
    else:
        read(tmp_path / "x.tar.gz", tmp_path / "out")


def wheel(place: Path, files: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> Path:
    """Write a wheel."""
    with zipfile.ZipFile(place, "w", packing) as made:
        for name, data in files.items():
            made.writestr(name, data)
        made.comment = comment
    return place


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("comment", [b"", b"x" * (2**16 - 1)])
def test_a_wheel_counts_with_all_that_is_in_it(tmp_path: Path, packing: int, comment: bytes) -> None:
    """Files, bytes, names: of its directory, which is looked at before it is read, and of its content."""
    place = wheel(tmp_path / "a.whl", {"a/b": bytes(3 * MEGA), "c": b"12345", "empty": b""}, packing, comment)
    size = 3 * MEGA + 5
    with zipfile.ZipFile(place) as made:
        assert len(made.infolist()) == 3
    check_wheel(place, meter(files=5, size=size, depth=2, name=5))
    for limit, less in (("files", 2), ("size", size - 1), ("depth", 1), ("name", 4)):
        with pytest.raises(BundleError, match=f"^The file a.whl in the bundle unpacks to .*'{limit}'"):
            check_wheel(place, meter(**{limit: less}))
    outer = meter(size=size - 1)
    with pytest.raises(BundleError, match=r"^The file a.whl"):
        check_wheel(place, outer)


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("more", [-1, 1])
def test_a_wheel_that_lies_about_a_size_is_refused(tmp_path: Path, packing: int, more: int) -> None:
    """In either direction: what is said was counted, what is there would be written."""
    place = wheel(tmp_path / "a.whl", {"a": b"x" * 5000}, packing)
    check_wheel(place, meter())
    data = bytearray(place.read_bytes())
    entry = data.find(b"PK\1\2")
    data[entry + 24 : entry + 28] = struct.pack("<I", 5000 + more)
    place.write_bytes(data)
    with pytest.raises(BundleError, match="has a wheel that does not unpack to what it says: 'a'"):
        check_wheel(place, meter())


def test_a_wheel_that_cannot_be_looked_into_is_refused(tmp_path: Path) -> None:
    """An unusual packing, no archive at all, one cut short, and one whose content ends too early."""
    with pytest.raises(BundleError, match="has a wheel that is packed in an unusual way: 'a'"):
        check_wheel(wheel(tmp_path / "a.whl", {"a": b"x"}, zipfile.ZIP_BZIP2), meter())
    good = wheel(tmp_path / "b.whl", {"a": os.urandom(5000)}).read_bytes()
    far = bytearray(good)
    entry = far.find(b"PK\1\2")
    far[entry + 20 : entry + 24] = struct.pack("<I", 10**6)
    for data in (b"", b"no archive", good[:-30], bytes(far)):
        (tmp_path / "c.whl").write_bytes(data)
        with pytest.raises(BundleError, match=r"has a wheel that (cannot be read: c.whl|does not unpack)"):
            check_wheel(tmp_path / "c.whl", meter())


def test_files_of_a_local_plugin_are_those_below_it(tmp_path: Path) -> None:
    """In order, without what nobody needs, and with what links within it lead to, which may not go round."""
    top = tmp_path / "mine"
    for name in ("b/c", "b/a", "a", ".git/x", "b/__pycache__/x", "x.egg-info/x", ".hidden", "b/.venv/x", "build/x"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    (top / "link").symlink_to("a")
    (top / "round").symlink_to(top)
    (top / "again").symlink_to("b")
    assert list(files_below(top)) == [".hidden", "a", "again/a", "again/c", "b/a", "b/c", "link"]
    assert list(files_below(top, ("b", "round", "again", "[.x]*", "build"))) == ["a", "link"]
    assert list(files_below(tmp_path / "gone")) == []


def test_links_out_of_a_local_plugin_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    """It is said where they lead."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "other").mkdir()
    link = tmp_path / "mine" / "link"
    for target in ("../other", "nowhere"):
        link.symlink_to(target)
        with pytest.raises(BundleError) as caught:
            list(files_below(tmp_path / "mine"))
        assert caught.value.message == (
            f"{link} is a link that leads to {target}, which is not in the plugin's folder {tmp_path / 'mine'}."
        )
        link.unlink()
    os.mkfifo(link)
    with pytest.raises(BundleError, match="link is a pipe, a socket or a device, no file"):
        list(files_below(tmp_path / "mine"))


def test_a_wheel_is_downloaded_and_compared(tmp_path: Path) -> None:
    """From a path or an address; a wrong hash and what is not there are told, without a password."""
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    source = tmp_path / "from" / "a-1.whl"
    source.write_bytes(b"wheel")
    digest = hashlib.sha256(b"wheel").hexdigest()
    for address in (str(source), source.as_uri()):
        place = download(Wheel(address, f"sha256:{digest}", 5), tmp_path / "to")
        assert (place, place.read_bytes()) == (tmp_path / "to" / "a-1.whl", b"wheel")
    with pytest.raises(InstallError) as caught:
        download(Wheel(str(source), "sha256:00", 5), tmp_path / "to")
    assert caught.value.message == (
        f"The wheel {source} has the hash sha256:{digest}, but the package index says sha256:00."
    )
    with pytest.raises(NetworkError) as gone:
        download(Wheel(str(tmp_path / "gone.whl"), "sha256:00", 5), tmp_path / "to")
    assert gone.value.message.startswith(f"The wheel {tmp_path / 'gone.whl'} cannot be fetched: ")
    assert gone.value.location == str(tmp_path / "gone.whl")


PINS = LockedPins({"a": ("x==1",), "none": ()}, {"x==1": ("h1", "h2")}, (), {"a": ("b==1",)})


def locked(**changes: Any) -> Lock:
    """Return a lock file of one plugin, for this platform, with something changed."""
    return Lock(Path("own.lock"), {"a": {"path": "a"}}, {interpreter(): PINS._replace(**changes)})


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (locked(), []),
        (locked(hashes={"x==1": ("h2", "h1", "h3"), "y==1": ("h",)}), []),
        (locked(dependencies={"a": ("x==1",), "none": ("z==1",)}), []),
        (locked(hashes={}), []),
        (locked(hashes={"x==1": ("h1",)}), ["x==1 has other hashes"]),
        (locked(dependencies={"a": ("x==2",)}), ["dependencies of plugin 'a' are not those"]),
        (locked(dependencies={}), ["dependencies of plugin 'a' are not those"]),
        (locked(builds={}), ["the build of plugin 'a' are not those"]),
        (locked()._replace(plugins={}), ["plugin 'a' is not locked"]),
        (locked()._replace(plugins={"a": {"path": "b"}}), ["plugin 'a' is otherwise locked"]),
        (locked()._replace(environments={}), [f"it says nothing about {interpreter()}"]),
        (
            Lock(Path(), {}, {"other": PINS}),
            ["plugin 'a' is not locked", f"it says nothing about {interpreter()}"],
        ),
    ],
)
def test_in_what_a_lock_file_of_ones_own_says_less_or_other(own: Lock, said: list[str]) -> None:
    """More plugins, more hashes and what needs no pin are no difference."""
    assert list(disagreements(locked(), own)) == said


def test_a_lock_file_of_ones_own_lies_where_it_is_said(tmp_path: Path) -> None:
    """Or where the bundle is to go; one that is given has to be there."""
    assert own_lock(None, tmp_path) is None
    with pytest.raises(BundleError, match=f"There is no lock file {tmp_path / 'a.lock'}"):
        own_lock(tmp_path / "a.lock", tmp_path)
    for place in (tmp_path / "a.lock", tmp_path / "plugins.lock"):
        place.write_text("version = 1\n[plugins]\n[environments]\n")
    given, beside = own_lock(tmp_path / "a.lock", tmp_path), own_lock(None, tmp_path)
    assert given is not None
    assert beside is not None
    assert (given.path, beside.path) == (tmp_path / "a.lock", tmp_path / "plugins.lock")
    with pytest.raises(BundleError, match=f"{tmp_path / 'a.lock'} is a file, no folder"):
        own_lock(None, tmp_path / "a.lock")


def test_what_was_not_accepted_is_said_with_the_reason() -> None:
    """Nobody said so, or a lock file of one's own says otherwise: in what."""
    nobody = not_accepted(Path("x.tar.gz"), None, [])
    agreed = not_accepted(Path("x.tar.gz"), locked(), [])
    other = not_accepted(Path("x.tar.gz"), locked(), ["a", "b"])
    assert nobody.message == "The bundle x.tar.gz was not unpacked: nobody said that it is to be believed."
    assert agreed.message == nobody.message
    assert other.message == (
        "The bundle x.tar.gz was not unpacked: your lock file own.lock does not say the same: a; b."
    )
    assert "cuvis-ai plugins unbundle x.tar.gz --accept." in str(nobody.hint)
    told = ("nobody but the bundle: it is offline", "nobody but the bundle", "the repository", "nobody: its files")
    assert [Asked("a", "b", "", "", each).is_told_by_bundle_alone for each in told] == [True, True, False, False]


def test_sixty_four_mebibytes_are_free() -> None:
    """What anything may unpack to is the same figure wherever it is told."""
    assert size_limits._FREE == 64 * MEGA
    assert Limits() == (20 * 10**9, 100, 200_000, 40, 500)
