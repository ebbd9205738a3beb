"""Which drawings of a server do nothing but show."""

import pytest

from cuvis_ai_core.grpc.client.picture_safety import harmless

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="8pt"><g><title>a</title><path d="M0" fill="none"/>{}</g></svg>'


@pytest.mark.parametrize("inside", ["", "<text x='1'>word</text>", "<!-- a comment -->", "<polygon/>"])
def test_a_drawing_of_a_graph_is_harmless(inside: str) -> None:
    """Shapes and words."""
    assert harmless(SVG.format(inside).encode(), "svg")


@pytest.mark.parametrize(
    "inside",
    [
        "<script>x()</script>",
        "<image href='x'/>",
        "<a href='https://x'><text/></a>",
        "<text xlink:href='x' xmlns:xlink='http://www.w3.org/1999/xlink'/>",
        "<g onload='x()'/>",
        "<g ONCLICK='x()'/>",
        "<rect fill='URL(https://x)'/>",
        "<foreignObject/>",
        "<g>",
        "<?php x?><?xml-stylesheet href='x'?>",
    ],
)
def test_a_drawing_that_runs_or_fetches_something_is_not(inside: str) -> None:
    """Nor what is none."""
    assert not harmless(SVG.format(inside).encode(), "svg")


@pytest.mark.parametrize(
    "content",
    [
        b'<!DOCTYPE svg [<!ENTITY a "b">]><svg/>',
        b"<svg>\0</svg>",
        "<svg/>".encode("utf-16"),
        b"",
        b"\xff\xfe",
        b"<html/>",
    ],
)
def test_what_stands_for_more_than_it_is_is_refused_unread(content: bytes) -> None:
    """Entities, and letters that others read otherwise."""
    assert not harmless(content, "svg")


@pytest.mark.parametrize(
    ("content", "kind", "is_harmless"),
    [
        (b"\x89PNG\r\n\x1a\nrest", "png", True),
        (b"GIF8", "png", False),
        (b"<svg/>", "png", False),
        (b"flowchart LR\n  a --> b\n", "md", True),
        (b'  a["click here"] --> b\n', "md", True),
        (b"a\n```\nmore", "md", False),
        (b"a\n  ~~~~\n", "md", False),
        (b"a --> b\n  Click a call()\n", "md", False),
        (b"%%{init: {}}%%\n", "md", False),
        (b'a["JavaScript:x"]\n', "md", False),
    ],
)
def test_pictures_and_words_are_told_by_how_they_begin(content: bytes, kind: str, *, is_harmless: bool) -> None:
    """Words end no block that they stand in, and call nothing."""
    assert harmless(content, kind) is is_harmless
