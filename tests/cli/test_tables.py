import pytest

from cuvis_ai_core.cli.shared.tables import print_table


def test_a_program_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Where stdout is no terminal, a long cell is neither folded nor cut, and no line ends in blanks."""
    print_table(("name", "path"), [("a", "p" * 300), ("b", "q")], title="Things")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Things"
    assert lines[-2].split() == ["a", "p" * 300]
    assert all(line == line.rstrip() for line in lines)
    assert lines[-1]


def test_a_table_without_rows_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """There is neither a title nor a line of headings."""
    print_table(("name",), iter(()), title="Things", empty="No things. Make one.")
    assert capsys.readouterr().out == "No things. Make one.\n"


def test_brackets_are_no_mark_up(capsys: pytest.CaptureFixture[str]) -> None:
    """A shape and a pictogram's name are shown as they are."""
    print_table(("type",), [("float32 [bold] [*, 3]",), (":smile:",)])
    out = capsys.readouterr().out
    assert "float32 [bold] [*, 3]" in out
    assert ":smile:" in out


def test_cells_have_lines_of_ours_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Several where a cell is given as such; a break in a text adds no row, and no password is shown."""
    address = "https://me:secret@host/x"
    print_table(("name", "where"), [(("one", "two"), f"a\nb {address}")], title=f"Of {address}")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["Of", "https://***@host/x"]
    assert lines[-2:] == [["one", "a\\nb", "https://***@host/x"], ["two"]]
