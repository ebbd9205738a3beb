"""What all pages are made of: elements whose texts are escaped, tables, figures, and the frame around them."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Final

from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core._redact import redact

_STYLE: Final = files(__package__).joinpath("style.css").read_text(encoding="utf-8")


class Html(str):
    """A text that is HTML already; any other is escaped where it is put into an element."""

    __slots__ = ()


def text(value: object) -> Html:
    """Return a text as HTML: escaped, without signs that steer anything, without passwords."""
    return value if isinstance(value, Html) else Html(escape(shown_in_line(redact(str(value)))))


def element(name: str, *children: object, **attributes: object) -> Html:
    """Return an element; attributes that are None are left out, an underscore at the end of a name is none."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{''.join(map(text, children))}</{name}>")


def lines(value: str) -> Html:
    """Return a text of several lines, in a block that keeps them."""
    return element("pre", Html("\n".join(text(line) for line in value.splitlines())))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], caption: str | None = None) -> Html:
    """Return a table; cells that are numbers stand to the right."""
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    body = Html("".join(element("tr", *map(_cell, row)) for row in rows))
    title = element("caption", caption) if caption else Html()
    return element("div", element("table", title, element("thead", head), element("tbody", body)), class_="table")


def picture(data: bytes, kind: str, caption: str, style: str = "") -> Html:
    """Return a picture that lies in the page, with its caption, which is also said where it is not seen.

    Args:
        data: Its bytes.
        kind: `png` or `jpeg`.
        caption: What it shows.
        style: How it is shown, where that is another way than that of all pages.
    """
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    look = f' style="{escape(style)}"' if style else ""
    image = Html(f'<img src="{source}" alt="{escape(shown_in_line(redact(caption)))}"{look}>')
    return element("figure", image, element("figcaption", caption))


def section(title: str, *children: object) -> Html:
    """Return a part of a page below a heading."""
    return element("section", element("h2", title), *children)


def page(title: str, about: str, *children: object, script: str = "", refresh: int | None = None) -> str:
    """Return a whole page.

    Args:
        title: Its heading.
        about: A line below it.
        children: What it shows.
        script: What runs in it, of ours alone.
        refresh: After how many seconds a browser reads it again, if at all.
    """
    # Should a stranger's text come through as HTML after all, it can fetch nothing from elsewhere.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    policy += "; script-src 'unsafe-inline'" if script else ""
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    code = Html(f"<script>{script}</script>") if script else Html()
    main = element("main", element("h1", title), element("p", about, class_="about"), *children)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n{again}'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{main}\n{code}\n</body>\n</html>\n"
    )


def _cell(value: object) -> Html:
    # A truth value is an int to Python.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return element("td", f"{value:.6g}" if isinstance(value, float) else value, class_="number" if is_number else None)
