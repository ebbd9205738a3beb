"""From the text of an ENVI header to its fields.

The library `spectral` has a parser, but it ends a list only where a line ends in `}` (a remark behind it swallows every
later field), reads UTF-8 alone, and knows no remarks behind values. So the text is taken apart here.
"""

import codecs
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cuvis_ai_core._nearest import nearest
from cuvis_ai_core._untrusted_files import read_file
from cuvis_ai_core.errors import CubeError

Value = str | list[str]
"""A text, or the parts of a list."""

_MOST_BYTES: Final = 16 * 1024**2
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_PADDING: Final = {0: None, 26: None}
"""What fills up a text, or ends it, on old systems; and every second byte of UTF-16 without its mark."""

_FREE_TEXT: Final = frozenset({"description", "coordinate system string", "projection info"})
"""Fields whose braces hold no list: commas and semicolons are theirs."""

_NAMES: Final = frozenset({"band names", "class names", "spectra names"})
"""Lists of texts in which a semicolon may be part of a name; a remark stands behind a comma there."""

_KNOWN_FIELDS: Final = frozenset(
    {
        "acquisition time", "band names", "bands", "bbl", "byte order", "class lookup", "class names", "classes",
        "coordinate system string", "data gain values", "data ignore value", "data offset values", "data type",
        "default bands", "default stretch", "description", "file type", "fwhm", "header offset", "interleave", "lines",
        "map info", "reflectance scale factor", "samples", "sensor type", "wavelength", "wavelength units",
    }
)  # fmt: skip
"""Fields that, at the beginning of a line, tell that a list before them was never closed."""

_MEANT: Final = frozenset(
    {
        "byte order", "data gain values", "data ignore value", "data offset values", "fwhm", "header offset",
        "reflectance scale factor", "wavelength", "wavelength units", "bbl",
    }
)  # fmt: skip
"""Fields that nobody misses, and without which values or wavelengths are others."""

_OTHER_NAMES: Final = {
    **dict.fromkeys(("no data", "nodata", "no data value", "nodata value", "fill value", "missing value"),
                    "data ignore value"),
    **dict.fromkeys(("scale", "scaling factor", "reflectance scale"), "reflectance scale factor"),
    **dict.fromkeys(("gain", "gains"), "data gain values"),
    **dict.fromkeys(("offset", "offsets"), "data offset values"),
    **dict.fromkeys(("bad bands", "bad band list", "good bands", "bands good"), "bbl"),
    **dict.fromkeys(("units", "unit"), "wavelength units"),
    **dict.fromkeys(("bandwidth", "bandwidths", "band width", "band widths"), "fwhm"),
    "endian": "byte order",
}  # fmt: skip
"""What programs and people write for fields that nobody misses."""

_NEARLY: Final = 0.85
"""How alike an unknown field is to a known one that the header does not have, to be worth a remark."""

_MARKS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(slots=True)
class HeaderText:
    """What an ENVI header says.

    Attributes:
        fields: By name in lower case.
        remarks: A sentence for each line that says nothing, or says again what was said.
    """

    fields: dict[str, Value] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def read_text(path: Path) -> HeaderText:
    """Read the fields of an ENVI header.

    Fields may be in any case, order and line ends. A remark begins with `;` and goes to the end of its line: on a line
    of its own, behind a value, a list, or a part of a list. The encoding is UTF-8, UTF-16 with its mark, or cp1252.

    Raises:
        CubeError: The file is no ENVI header, or a list in it has no end.
    """
    try:
        # Not `splitlines`, which also breaks at form feeds and signs of Unicode within a description.
        lines = _LINE_END.split(_decoded(read_file(path, _MOST_BYTES)).translate(_PADDING))
    except (OSError, ValueError) as error:
        raise _no_header(path, str(error)) from error
    first = next((at for at, line in enumerate(lines) if line.strip()), len(lines))
    if not "".join(lines[first : first + 1]).strip().upper().startswith("ENVI"):
        raise _no_header(path, "its first line is not ENVI")
    text = _Parser(path, lines, first + 1).text
    for name in (each for each in text.fields if each not in _KNOWN_FIELDS):
        if near := _meant(name, _MEANT - text.fields.keys()):
            text.remarks.append(f"The header has a field '{name}', which was left out; is it '{near}'?")
    return text


def _meant(name: str, missing: AbstractSet[str]) -> str | None:
    """Return which missing field an unknown one may be: spelt otherwise, in some of its words, or by another name."""
    words = re.split(r"[\W_]+", name.strip("_- "))
    plain = " ".join(words)
    # High: `bands` and `band names` are not to be each other's slip.
    near = nearest(plain, missing, cutoff=_NEARLY)
    within = [each for each in sorted(missing) if len(words) > 1 and set(words) <= set(each.split())]
    joined = [each for each in sorted(missing) if each.replace(" ", "") == "".join(words)]
    other = [each for each in (_OTHER_NAMES.get(plain),) if each in missing]
    return near or next(iter((*joined, *other, *within)), None)


class _Parser:
    """Goes through the lines once; what stands behind the end of a list is a line again."""

    def __init__(self, path: Path, lines: list[str], at: int) -> None:
        self._path = path
        self._lines = lines
        self._at = at
        self._seen: dict[str, int] = {}
        self.text = HeaderText()
        while self._at < len(lines):
            self._field(self._next())

    def _next(self) -> str:
        self._at += 1
        return self._lines[self._at - 1].strip()

    def _field(self, line: str) -> None:
        if not line or line.startswith(";"):
            return
        key, equals, rest = line.partition("=")
        name, rest = " ".join(key.lower().split()), rest.strip()
        if not equals or not name:
            self.text.remarks.append(f"Line {self._at} of the header is no field and was left out: '{line[:40]}'.")
            return
        begin = self._at
        if rest[:1] in {"", ";"} and self._opens_below():
            rest = self._next()
        value: Value = self._braces(name, rest[1:], begin) if rest.startswith("{") else _without_remark(name, rest)
        if name in self._seen and self.text.fields[name] != value:
            self.text.remarks.append(
                f"The header has '{name}' twice, in lines {self._seen[name]} and {begin}; the last one counts."
            )
        self._seen[name], self.text.fields[name] = begin, value

    def _opens_below(self) -> bool:
        """Go to the next line that says something, if it opens a list."""
        ahead = self._at
        while ahead < len(self._lines) and self._lines[ahead].strip()[:1] in {"", ";"}:
            ahead += 1
        opens = ahead < len(self._lines) and self._lines[ahead].lstrip().startswith("{")
        self._at = ahead if opens else self._at
        return opens

    def _braces(self, name: str, line: str, begin: int) -> Value:
        parts: list[str] = []
        while (end := _end(name, line)) is None:
            parts.append(_without_remark(name, line))
            line = self._line_inside(name, begin)
        parts.append(_without_remark(name, line[:end]))
        behind = line[end + 1 :].lstrip().removeprefix(",").strip()
        if behind and not behind.startswith(";"):
            self._at -= 1
            self._lines[self._at] = behind
        if name in _FREE_TEXT:
            return "\n".join(parts).strip()
        return _listed("\n".join(parts))

    def _line_inside(self, name: str, begin: int) -> str:
        while self._at < len(self._lines):
            line = self._next()
            if line.startswith(";"):
                continue
            opens_list = line.partition("=")[2].lstrip().startswith("{")
            # A description may quote other fields; a list that opens in it was meant as one.
            if _is_known(line) and (name != "description" or opens_list):
                break
            return line
        raise CubeError(
            f"The ENVI header '{self._path}': the list of '{name}' that begins in line {begin} has no end.",
            hint="Add the missing } behind its last value.",
            path=self._path,
        )


def _decoded(content: bytes) -> str:
    # By the mark first: bytes of UTF-16 are mostly valid UTF-8, with zeros between the letters.
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding)
    try:
        return content.decode()
    except UnicodeDecodeError:  # programs on Windows write in the code page of the country, mostly this one
        # Five bytes have no letter in cp1252; a description may hold them.
        return content.decode("cp1252", errors="replace")


def _end(name: str, line: str) -> int | None:
    """Return where a list ends in a line: at its first `}`, but for braces in lists of lists, texts and remarks."""
    remark = line.find(";")
    at = line.find("}")
    if at < 0:
        return None
    if nested := re.match(r"[^{};]*(?:\{[^{};]*\}[^{};]*)+(?=\})", line):
        return nested.end()
    if name not in _FREE_TEXT and 0 <= remark < at and "{" in line[remark:at]:
        return None  # an older list in a remark
    while line[at + 1 :].lstrip()[:1] not in {"", ";", ","} and (other := line.find("}", at + 1)) > 0:
        if _is_known(line[at + 1 :]):
            break
        at = other
    return at


def _is_known(line: str) -> bool:
    """Tell whether a line begins with a field of ENVI."""
    name, equals, _ = line.partition("=")
    return bool(equals) and " ".join(name.lower().split()) in _KNOWN_FIELDS


def _without_remark(name: str, text: str) -> str:
    """Return a part of a field up to the remark behind it."""
    if name in _FREE_TEXT:
        return text
    return re.split(r"(?:^|(?<=,))\s*;" if name in _NAMES else ";", text, maxsplit=1)[0].strip()


def _listed(text: str) -> list[str]:
    parts = [" ".join(part.split()) for part in text.split(",")]
    # A comma behind the last value is common; one within is an empty value and counts.
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _no_header(path: Path, why: str) -> CubeError:
    return CubeError(
        f"'{path}' is no ENVI header that can be read: {' '.join(why.split())}.",
        hint="A header is a text file; its first line is ENVI, then come lines 'name = value'.",
        path=path,
    )


def as_text(fields: Mapping[str, Value], name: str) -> str:
    """Return a field as one text, empty where the header has none."""
    value = fields.get(name, "")
    return value if isinstance(value, str) else ", ".join(value)
