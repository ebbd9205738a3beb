"""What the directory of a wheel in a bundle may say."""

import zipfile
from pathlib import Path

import pytest

from cuvis_ai_core.errors import BundleError
from cuvis_ai_core.plugins.bundle.size_limits import Limits, Meter
from cuvis_ai_core.plugins.bundle.wheel_size import check_wheel


@pytest.mark.parametrize(("old", "new"), [("ü".encode(), b"\xdc\xdb"), (b"PK\5\6", b"PK\5\6")])
def test_a_directory_that_no_zip_has_is_one_error(tmp_path: Path, old: bytes, new: bytes) -> None:
    """Names that are no text, places before the file: found by changing wheels at random."""
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("ü.py", "a = 1\n")
    content = wheel.read_bytes().replace(old, new)
    end = content.rindex(b"PK\5\6")
    if old == new:  # the directory begins later than the file allows
        content = content[: end + 16] + (2**31).to_bytes(4, "little") + content[end + 20 :]
    wheel.write_bytes(content)

    with pytest.raises(BundleError, match=r"wheel that cannot be read: x-1-py3-none-any\.whl"):
        check_wheel(wheel, Meter("The bundle", len(content), Limits()))


def test_the_files_of_all_wheels_count_together(tmp_path: Path) -> None:
    """A bundle of many wheels has the limit of one: the number of files that all of them unpack to."""
    wheels = [tmp_path / f"{name}-1-py3-none-any.whl" for name in "ab"]
    for wheel in wheels:
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("one.py", "a = 1\n")
            archive.writestr("two.py", "a = 2\n")
    enough = Meter("The bundle", 10**9, Limits(files=4))
    for wheel in wheels:
        check_wheel(wheel, enough)
    bundle = Meter("The bundle", 10**9, Limits(files=3))
    check_wheel(wheels[0], bundle)
    with pytest.raises(BundleError, match=r"The bundle unpacks to more than 3 files, which is the limit 'files'"):
        check_wheel(wheels[1], bundle)
