from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core._yaml import MAX_BYTES, MAX_DEPTH, YamlDumper, parse_yaml
from cuvis_ai_core.errors import YamlError

BILLION_LAUGHS = 'a0: &a0 ["ha", "ha"]\n' + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", None),
        ("# only a comment\n", None),
        ("---\n...\n", None),
        ("\ufeffa: b", {"a": "b"}),
        ("a: [1, 2.5, true, null, x]", {"a": [1, 2.5, True, None, "x"]}),
        ("a: 2024-01-31", {"a": "2024-01-31"}),
        ("a: [1e-3, 1E5, +2e3, -1.5e3, .5e-1, 1.e2]", {"a": [1e-3, 1e5, 2e3, -1.5e3, 0.05, 100.0]}),
        ("a: [e3, 1e, 1e-, v1e3, 1e3x, '1e-3', 0x1e3]", {"a": ["e3", "1e", "1e-", "v1e3", "1e3x", "1e-3", 0x1E3]}),
        ("a: =\n", {"a": "="}),
        ("a: <<\n", {"a": "<<"}),
        ('"<<": 1\n', {"<<": 1}),
        ("a: !!str 1.10", {"a": "1.10"}),
        ('a: "1.10"', {"a": "1.10"}),
        ("a:\r\n  b: c\r\n", {"a": {"b": "c"}}),
        ("a: &x [1]\nb: *x\n", {"a": [1], "b": [1]}),
        ("a: &x 1\na2: &x 2\nb: *x\n", {"a": 1, "a2": 2, "b": 2}),
        ("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\n", {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}),
        ("b:\n  <<: [{p: 1}, {p: 2, q: 2}]\n", {"b": {"p": 1, "q": 2}}),
        ("? a\n: b\n", {"a": "b"}),
        ("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), None),
    ],
)
def test_plain_data_has_its_obvious_meaning(text: str, data: object) -> None:
    """Dates stay texts; merge keys, aliases and byte-order marks do what is expected of them."""
    found = parse_yaml(text).data
    assert found == data or (data is None and list(found) == ["a"])


@given(st.from_regex(r"[-+.0-9eE_]{1,8}", fullmatch=True) | st.floats(allow_nan=False))
def test_what_is_written_is_read_again(value: object) -> None:
    """A text that looks like a number is a text again, and a number a number."""
    found = parse_yaml(yaml.dump([value], Dumper=YamlDumper)).data
    assert (found, type(found[0])) == ([value], type(value))


@pytest.mark.parametrize(
    ("text", "line", "fragment"),
    [
        ("a: 1\n\nb: 2\na: 3\n", 4, "key 'a' stands here and on line 1"),
        ("a:\n  x: 1\n  <<: {}\n  <<: {}\n", 4, "key '<<' stands here and on line 3"),
        ("x" * 100 + ": 1\n" + "x" * 100 + ": 2\n", 2, "key of 100 characters stands here"),
        ("a: 1\n---\nb: 2\n", 2, "a second document begins here"),
        ("---\n---\n", 2, "a second document"),
        ("a:\n\tb: 1\n", 2, "a tab indents this line"),
        ("  \ta: 1\n", 1, "a tab indents this line"),
        ("a: 1\n<<<<<<< HEAD\nb: 2\n=======\nb: 3\n>>>>>>> theirs\n", 2, "git left '<<<<<<<' there"),
        ("a: 1\nb: 2\nb: 3\n>>>>>>> theirs\n", 4, "git left '>>>>>>>' there"),
        ("a: 1\nb: c: d\n", 2, "put text that holds ': ' in quotes"),
        ("a: 1\nb\n", 2, "a key without ':'"),
        ("a: 1\nb: 'x\nc: 3\n", 2, "a quotation mark that is never closed"),
        ("a: 1\nb: @x\n", 2, "put the text in quotes"),
        ("a: [1, 2\nb: 3\n", 2, "check indentation, quotes and brackets"),
        ("a: }\n", 1, "check indentation, quotes and brackets"),
        ("a: [", 1, "check indentation"),
        ("a: 1\nb: *x\n", 2, "alias *x without an anchor &x above it"),
        ("a: &x [1, *x]\n", 1, "alias *x stands inside of what it means"),
        ("a: &x {b: {c: *x}}\n", 1, "a value cannot hold itself"),
        (BILLION_LAUGHS, 7, "aliases stand for more than 2 MiB"),
        ("a: &x '" + "y" * 9000 + "'\nb: [" + "*x," * 9000 + "]\n", 2, "aliases stand for more than 2 MiB"),
        ("a: &x {k: " + "y" * 9000 + "}\nb: {<<: [" + "*x," * 9000 + "]}\n", 2, "aliases stand for more"),
        # Whatever is merged is gone through, also where each key is there already.
        (
            "a: &x {k: 1}\nl: &l [" + "*x," * 100_000 + "]\nm:\n" + "- {<<: *l, k: 2}\n" * 12,
            4,
            "aliases stand for more",
        ),
        ("[" * 100_000, 1, f"nested more than {MAX_DEPTH} levels deep"),
        ("- " * 100_000, 1, "nested more than"),
        ("{a: " * 100_000, 1, "nested more than"),
        ("".join(f"a{n}: &a{n} [{f'*a{n - 1}' if n else ''}]\n" for n in range(60)), 51, "nested more than"),
        ("a: 1\nyes: 2\n", 2, "YAML reads 'yes' as none; put it in quotes"),
        ("1.5: a\n", 1, "'1.5'"),
        ("? [a, b]\n: 1\n", 1, "keys are texts"),
        ("? \n: 1\n", 1, "keys are texts"),
        ("<<: 5\n", 1, "'<<' takes a mapping"),
        ("<<: [{}, 5]\n", 1, "'<<' takes a mapping"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, "tag '!!python/object/apply:os.system' has no meaning"),
        ("a: 1\nb: !thing {}\n", 2, "tag '!thing' has no meaning here"),
        ("a: !!binary aGFsbG8=\n", 1, "write plain values, without tags"),
        ("a: !!set {x}\n", 1, "tag '!!set'"),
        ("a: !!map [x]\n", 1, "tag '!!map'"),
        ("a: !!int x\n", 1, "'x' cannot be read as a value of type int; put it in quotes"),
        ("a: 0b_\n", 1, "cannot be read as a value of type int"),
        ("a: !!bool x\n", 1, "type bool"),
        ("a: " + "1" * 5000, 1, "type int"),
        ("a: 1" + ":0" * 100_000, 1, "type int"),
        ("a: 1\nb: \x07\n", 2, "character U+0007 cannot stand in YAML"),
        ("a: \x00", 1, "character U+0000"),
        ("a: \ud800", 1, "character U+D800"),
        ("a: " + "x" * MAX_BYTES, None, "larger than 1 MiB, the limit"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_every_trap_is_one_error_with_its_line(text: str, line: int | None, fragment: str) -> None:
    """The error says what is wrong and where."""
    with pytest.raises(YamlError) as caught:
        parse_yaml(text, Path("some.yaml"))
    assert fragment in caught.value.message
    assert caught.value.line == line
    assert caught.value.path == Path("some.yaml")


def test_an_error_reads_with_file_and_line() -> None:
    """Editors and terminals make file:line a link."""
    with pytest.raises(YamlError) as caught:
        parse_yaml("a: 1\na: 2\n", Path("some.yaml"))
    assert str(caught.value) == "some.yaml:2: key 'a' stands here and on line 1; keep one of them"


def test_lines_and_spellings_are_found_by_path() -> None:
    """A mapping's value has the line of its key, a list's the line on which it stands."""
    document = parse_yaml("a:\n  - x\n  - b: 1.10\n    c:\n      012\n")
    assert [document.line_of(*keys) for keys in [(), ("a",), ("a", 0), ("a", 1), ("a", 1, "c")]] == [1, 1, 2, 3, 4]
    assert [document.text_of("a", 1, key) for key in "bc"] == ["1.10", "012"]
    assert document.text_of("a") is None
    assert document.line_of("a", 2) is None
    assert parse_yaml("# nothing\n").line_of() == parse_yaml("").nearest_line("a") == 1
    assert document.line_of("a", 0, "x") is None


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_texts_are_replaced_where_they_stand(mark: str) -> None:
    """With the quotes that were there, or those that the new text needs; all else stays as it is written."""
    text = f"{mark}# first\na: {{b: v1.0,  c: 'x'}} # why\r\nd:\n  - \"q\"\n  - two\nlast: é z"
    document = parse_yaml(text)
    values = {("a", "b"): "v2", ("a", "c"): "1.10", ("last",): "2.10", ("gone",): "no", ("a",): "no"}
    changed = f'{mark}# first\na: {{b: v2,  c: \'1.10\'}} # why\r\nd:\n  - "q"\n  - two\nlast: "2.10"'
    assert document.replaced(text, values) == changed
    assert document.replaced(text, {("last",): "-x"}) == text.replace("é z", '"-x"')
    assert document.replaced(text, {}) == text


def test_a_merged_key_has_the_line_where_it_is_written() -> None:
    """What a mapping takes over from another one is corrected there."""
    document = parse_yaml("a: &x\n  p: 1\nb:\n  <<: *x\n  q: *x\n")
    assert document.line_of("b", "p") == 2
    assert document.line_of("b", "q") == 5
    assert document.line_of("a") == 1


def test_a_file_is_read_as_utf8_with_or_without_a_mark(tmp_path: Path) -> None:
    """Editors on Windows begin files with a byte-order mark."""
    file = tmp_path / "x.yaml"
    file.write_bytes("a: ä".encode("utf-8-sig"))
    assert load_yaml(file).data == {"a": "ä"}


@pytest.mark.parametrize(
    ("content", "line", "fragment"),
    [
        (b"a: 1\nb: \xe9\n", 2, "not UTF-8"),
        ("a: 1".encode("utf-16"), 1, "save the file as UTF-8"),
        (b"a: 1\n" * (MAX_BYTES * 10 // 5), None, "larger than 1 MiB"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes, line: int | None, fragment: str) -> None:
    """Bytes that are no UTF-8, and 10 MB of anything, are one clear error."""
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    with pytest.raises(YamlError) as caught:
        load_yaml(file)
    assert fragment in caught.value.message
    assert (caught.value.line, caught.value.path) == (line, file)


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("plugin.yaml", "did you mean 'plugins.yaml'?"),
        ("q", "there is no such file; check the path"),
        ("no/folder/x.yaml", "no such folder"),
        (".", "this is a folder"),
        ("x\0y", "cannot be read"),
        ("x" * 5000, "cannot be read"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_file_that_is_not_there_is_an_error_that_helps(tmp_path: Path, name: str, fragment: str) -> None:
    """A folder, a misspelt name and an impossible one are told apart."""
    (tmp_path / "plugins.yaml").touch()
    with pytest.raises(YamlError) as caught:
        load_yaml(tmp_path / name)
    assert fragment in caught.value.message


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is played."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(YamlError, match="change its permissions"):
        load_yaml(tmp_path / "plugins.yaml")


@given(st.text() | st.text(alphabet=st.sampled_from("ab1:-&*!<>{}[],?'\"#%|~ \n\t")))
def test_any_text_is_data_or_one_error(text: str) -> None:
    """Nothing but `YamlError` leaves the reader, and data is plain."""
    data: object = None
    with suppress(YamlError):
        data = parse_yaml(text).data
    assert data is None or type(data) in {str, int, float, bool, list, dict}
