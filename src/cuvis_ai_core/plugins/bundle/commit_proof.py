"""Checkouts that prove themselves: the Git objects of a commit, and what git checks out of them.

Whoever has the objects and the name of the commit needs to believe nobody: git computes the name of each object from
its content, and the commit names all others. A bundle carries the objects of the commit, of its tag, and of the commits
of its submodules; large files (LFS) are named by their hashes in what is checked out.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cuvis_ai_core._subprocess import Finished
from cuvis_ai_core.errors import BundleError
from cuvis_ai_core.plugins.bundle.member_names import refused
from cuvis_ai_core.plugins.bundle.size_limits import Meter
from cuvis_ai_core.plugins.disk.altered_files import sha256_of
from cuvis_ai_core.plugins.git import lfs
from cuvis_ai_core.plugins.git.commit_size import files_of
from cuvis_ai_core.plugins.git.fetch_commit import show_commit
from cuvis_ai_core.plugins.git.git_command import git, hash_function
from cuvis_ai_core.plugins.git.git_errors import words
from cuvis_ai_core.plugins.git.repository_tags import refuse_links
from cuvis_ai_core.plugins.git.submodules import add_submodules

_PACKING: Final = ("pack.threads=1", "pack.window=0", "repack.writeBitmaps=false", "pack.writeReverseIndex=false")
"""The same pack each time, made without a search for what is alike."""

_MEMORY: Final = 2**28
"""Bytes that git may have to look at a pack. Packs of ours have whole objects, and need a tenth of it; of others, a
thousand bytes may say what is to be put together to gigabytes."""

_SUBMODULE: Final = re.compile(r"160000 commit ([0-9a-f]{40,64})\t.*")


def pack_checkout(name: str, checkout: Path, tag: str, work: Path) -> tuple[Path, str]:
    """Write the Git objects of a checkout into a pack, and return it, with the object that its tag is.

    Args:
        name: Name of the plugin.
        checkout: Its checkout, in the plugin cache.
        tag: The tag.
        work: Folder to make, to work in.

    Raises:
        BundleError: Objects are missing.
    """
    commit = (checkout / ".git/HEAD").read_text(encoding="utf-8").strip()
    # An annotated tag is an object of its own, which holds the signature; a plain one is the commit.
    found = git(checkout, "rev-parse", "--verify", "--quiet", "--end-of-options", f"refs/tags/{tag}")
    tagged = found.stdout.strip() if found.returncode == 0 else commit
    commits = [commit, *_submodules(checkout, commit)]
    # Objects are read where they lie; a copy of a large repository would be made only to be packed.
    _borrow(work, checkout, commit, name)
    # Each commit is the end of history here: without this git misses their parents and refuses to pack.
    (work / ".git/shallow").write_text("".join(f"{each}\n" for each in sorted(commits)), encoding="utf-8")
    _must(git(work, "update-ref", "refs/tags/carried", tagged), name)
    for number, each in enumerate(commits):
        _must(git(work, "update-ref", f"refs/heads/carried-{number}", each), name)
    _must(git(work, "repack", "-a", "-d", "-F", "-n", "-q", "--depth=0", "--window=0", settings=_PACKING), name)
    return next((work / ".git/objects/pack").glob("pack-*.pack")), tagged


def _submodules(checkout: Path, commit: str) -> Iterator[str]:
    """Return the commits of the submodules of a commit, as far as their objects are there."""
    for line in git(checkout, "ls-tree", "-r", "--full-tree", commit).stdout.splitlines():
        found = _SUBMODULE.fullmatch(line)
        if found and not git(checkout, "cat-file", "-e", f"{found[1]}^{{commit}}").returncode:
            yield found[1]
            yield from _submodules(checkout, found[1])


def large_files(checkout: Path, proved: Path) -> dict[str, Path]:
    """Return the large files that a checkout has where another one, of the same commit, has pointers; by their hashes.

    Args:
        checkout: A checkout with its large files.
        proved: One without.
    """
    return {lfs.hash_in(pointer): checkout / pointer.relative_to(proved) for pointer in lfs.pointers(proved)}


def check_out(name: str, pack: Path, commit: str, folder: Path, url: str, meter: Meter, large: Path | None) -> None:
    """Have git check a commit out of a pack, with its submodules and large files.

    Args:
        name: Name of the plugin.
        pack: The pack.
        commit: The commit.
        folder: Folder to make.
        url: Address of the repository, from which those of submodules may be seen.
        meter: Counts what comes out of it.
        large: Folder with large files by their hashes; without one, pointers stay.

    Raises:
        BundleError: The pack does not hold the commit, or is more than the limits allow.
        SourceError: The files of the commit must not be used, or cannot be written here.
        ToolNotFoundError: git is not installed.
    """
    _init(folder, commit, name)
    own = folder / ".git/objects/pack" / f"pack-{commit}.pack"
    own.parent.mkdir(exist_ok=True)
    # A copy: index-pack writes beside it, and what was unpacked stays as it came.
    shutil.copyfile(pack, own)
    # Computes the name of every object from its content, and refuses those by which git has been attacked (paths,
    # links).
    # Larger objects are streamed: git would hold each whole, 512 MB of it by default.
    streamed = ("core.bigFileThreshold=16m", "pack.threads=1")
    _must(git(folder, "index-pack", "--fsck-objects", str(own), settings=streamed, memory=_MEMORY), name)
    (folder / ".git/shallow").write_text(f"{commit}\n", encoding="utf-8")

    def show(place: Path, wanted: str, task: str) -> None:
        # A tree may hold another one many times: a few hundred bytes can stand for more files than any disk has.
        for path, size in files_of(place, wanted, url):
            meter.count(path)
            meter.grow(size)
        _replace_pointers(name, place, show_commit(place, wanted, task, url), wanted, large, meter)

    def submodule(_: str, other: str, place: Path, task: str) -> None:
        _borrow(place, folder, other, name)
        show(place, other, task)

    show(folder, commit, f"check out commit {commit} of")
    add_submodules(url, folder, get=submodule)
    refuse_links(folder, url)


def keep_tag(name: str, folder: Path, commit: str, tag: str, tagged: str) -> None:
    """Have the tag in a checkout, message and signature included.

    Raises:
        BundleError: The object is not there, or is no tag of that commit.
    """
    found = git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{tagged}^{{commit}}")
    # A tag object names its commit itself; one that names another proves another tag.
    if found.returncode or found.stdout.strip() != commit:
        raise refused(f"has no tag {tag} of plugin '{name}' at commit {commit}")
    _must(git(folder, "update-ref", f"refs/tags/{tag}", tagged), name)


def _replace_pointers(name: str, folder: Path, found: str, commit: str, large: Path | None, meter: Meter) -> None:
    if found != commit:
        raise refused(f"has no commit {commit} of plugin '{name}'")
    if large is None:
        return
    for pointer in lfs.pointers(folder):
        digest = lfs.hash_in(pointer)
        kept = large / digest
        # The pointer is in the commit, so its hash is proved; the file beside it is not.
        if not kept.is_file() or sha256_of(kept) != digest:
            raise refused(f"lacks the large file {pointer.relative_to(folder)} of plugin '{name}'")
        meter.grow(kept.stat().st_size)
        mode = pointer.stat().st_mode
        pointer.unlink()
        shutil.copyfile(kept, pointer)
        pointer.chmod(mode)


def _init(folder: Path, commit: str, name: str) -> None:
    folder.mkdir(parents=True)
    _must(git(folder, "init", "--quiet", "--template=", hashes=hash_function(commit)), name)


def _borrow(folder: Path, other: Path, commit: str, name: str) -> None:
    """Make a repository that has the objects of another one without a copy of them."""
    _init(folder, commit, name)
    (folder / ".git/objects/info").mkdir(exist_ok=True)
    (folder / ".git/objects/info/alternates").write_bytes(os.fsencode(other.resolve() / ".git/objects") + b"\n")


def _must(finished: Finished, name: str) -> None:
    if finished.returncode:
        raise BundleError(
            f"The Git objects of plugin '{name}' do not prove its code:\n{words(finished)}",
            hint="Make the bundle anew where it was made. If it is being made here, fetch the plugin anew first: "
            f'NodeRegistry.clear_plugin_cache("{name}").',
            plugin=name,
        )
