"""What is known of a project's code without running it."""

from pathlib import Path

import pytest

from cuvis_ai_core.cli.plugins.check.source_code import Code


@pytest.mark.parametrize(
    ("lines", "line", "rooted"),
    [
        ("class A: ...", "A", False),
        ("class A(object): ...", "A", False),
        ("import enum\nclass A(enum.Enum): ...", "A", False),
        ("class A(dict[str, int]): ...", "A", False),
        ("import other\nclass A(other.Base): ...", "A", None),
        ("class A(make()): ...", "A", None),
        ("import enum, other\nclass A(other.Base, enum.Enum): ...", "A", None),
        ("from cuvis_ai_core.node import Node\nclass A(Node): ...", "A", True),
        (
            "from cuvis_ai_core.node import Node as N\nimport other\nclass B(N): ...\nclass A(B, x.X): ...",
            "AB",
            True,
        ),
        ("from .inner import C\nclass B(C): ...\nclass A(B, C): ...", "ABC", None),
        ("class A(A): ...", "A", False),
    ],
)
def test_whether_a_class_is_a_node_is_seen_by_its_bases(
    tmp_path: Path, lines: str, line: str, *, rooted: bool | None
) -> None:
    """Those of the project are gone through; of those of other packages nothing is known."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/__init__.py").write_text(lines, encoding="utf-8")
    (tmp_path / "mine/inner.py").write_text("from somewhere import Base\nclass C(Base): ...", encoding="utf-8")
    code = Code(tmp_path, frozenset({"mine"}))
    found = code.find("mine.A")
    assert found is not None
    classes, known = code.lineage(found)
    assert ([each.name for each in classes], known) == (list(line), rooted)
