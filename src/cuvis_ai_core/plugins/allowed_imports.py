"""Which modules a file may have imported by naming a class in them: those of installed distributions, and our own.

A pipeline file is data that somebody may have sent. What lies in the working directory, or anywhere else on the search
path, is not code that the user installed to be used; and modules of the standard library do things when they are
imported. A folder that `PYTHONPATH` names was put there by the user (an empty entry, which is the working directory,
mostly by accident), and a module that the program has imported itself runs nothing any more.
"""

import json
import os
import site
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from urllib.parse import unquote, urlsplit

_CORE = "cuvis_ai_core"


def is_importable(module: str) -> bool:
    """Tell whether a file may have a module imported by its name."""
    # To import it is to run the program.
    if "__main__" in module.split("."):
        return False
    top = module.partition(".")[0]
    return module in sys.modules or top == _CORE or _is_installed(top)


def place_of_package(module: str) -> str | None:
    """Return where the top package of a module lies, or None where there is none."""
    return next(_places(module.partition(".")[0]), None)


def _is_installed(top: str) -> bool:
    places = list(_places(top))
    return bool(places) and all(map(_is_of_a_distribution, places))


def _places(top: str) -> Iterator[str]:
    """Yield the file or the folders of a top package, which is not imported for this."""
    try:
        spec = find_spec(top)
    # As `find_spec` says of modules that are loaded and have no spec.
    except (ImportError, ValueError, AttributeError):
        return
    if spec is not None:
        yield from spec.submodule_search_locations or filter(None, [spec.origin])


def _is_of_a_distribution(place: str) -> bool:
    # By where it really is: environments link lib64 to lib, and more.
    real = os.path.realpath(place)
    if os.path.dirname(real) in {*_site_folders(), *_folders_of_user()}:
        return True
    return any(real.startswith(os.path.join(folder, "")) for folder in _editable_folders())


@cache
def _site_folders() -> frozenset[str]:
    """Return the folders into which distributions are installed."""
    named = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        named.append(site.getusersitepackages())
    return frozenset(map(os.path.realpath, named))


def _folders_of_user() -> Iterator[str]:
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return map(os.path.realpath, filter(None, entries))


def _editable_folders() -> Iterator[str]:
    """Yield the folders of projects that are installed as they lie there."""
    for folder in _site_folders():
        yield from map(os.path.realpath, filter(None, map(project_of, distributions(path=[folder]))))


def project_of(installed: Distribution) -> str | None:
    """Return the folder of a project that is installed as it lies there; None where it was copied."""
    with suppress(ValueError, KeyError, AttributeError):
        # What `pip install -e` leaves (PEP 610).
        origin = json.loads(installed.read_text("direct_url.json") or "{}")
        if origin.get("dir_info", {}).get("editable"):
            return unquote(urlsplit(origin["url"]).path)
    return None
