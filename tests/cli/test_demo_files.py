"""The files that the demonstration writes into its folder."""

from pathlib import Path

from cuvis_ai_core.cli.demo.written_files import Written


def test_a_file_that_was_edited_is_left_as_it_is(tmp_path: Path) -> None:
    """What an earlier run wrote and nobody changed is replaced; what somebody changed, or laid there, is kept."""
    ours, edited, foreign = (tmp_path / name for name in ("ours.yaml", "edited.yaml", "foreign.yaml"))
    first = Written(tmp_path)
    assert not first
    for file in (ours, edited):
        first.write(file, b"first")
    edited.write_bytes(b"mine")
    foreign.write_bytes(b"mine")
    second = Written(tmp_path)
    assert second
    for file in (ours, edited, foreign):
        second.write(file, b"second")
    assert [file.read_bytes() for file in (ours, edited, foreign)] == [b"second", b"mine", b"mine"]
    assert (first.kept, second.kept) == ([], [edited, foreign])
