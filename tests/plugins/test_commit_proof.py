"""Objects of a commit prove what is checked out of them; what is not in them, or must not be used, is refused."""

import hashlib
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.errors import BundleError, SourceError
from cuvis_ai_core.plugins.bundle.commit_proof import check_out, keep_tag, large_files, pack_checkout
from cuvis_ai_core.plugins.bundle.size_limits import Limits, Meter

URL = "https://a.org/x"

Checkout = Callable[..., Path]


def git(folder: Path, *words: str) -> str:
    """Run git in a folder."""
    who = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "tag.gpgSign=false", "-c", "commit.gpgSign=false")
    done = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Return a function that makes a checkout of a commit with some files, and links, as the cache has it."""

    def make(links: dict[str, str] | None = None, algorithm: str = "sha1", **files: str) -> Path:
        folder = tmp_path / "checkout"
        folder.mkdir()
        git(folder, "init", "-q", f"--object-format={algorithm}")
        for name, text in {"a.txt": "first", **files}.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        for name, target in (links or {}).items():
            (folder / name).symlink_to(target)
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "one")
        git(folder, "tag", "plain")
        git(folder, "tag", "-am", "words", "annotated")
        git(folder, "checkout", "-q", "--detach")
        return folder

    return make


def meter(**limits: int) -> Meter:
    """Return a meter with some limits."""
    return Meter("The bundle", 10**6, Limits(**limits))


@pytest.mark.parametrize(
    ("tag", "algorithm"), [("plain", "sha1"), ("annotated", "sha1"), ("gone", "sha1"), ("annotated", "sha256")]
)
def test_a_commit_comes_out_as_it_went_in(checkout: Checkout, tmp_path: Path, tag: str, algorithm: str) -> None:
    """With its tag, message included; where there is none, the commit stands for it."""
    source = checkout(algorithm=algorithm, **{"below/b.txt": "second"})
    commit = git(source, "rev-parse", "HEAD")
    pack, tagged = pack_checkout("echo", source, tag, tmp_path / "work")
    assert tagged == (git(source, "rev-parse", tag) if tag == "annotated" else commit)
    out = tmp_path / "out" / "checkout"
    check_out("echo", pack, commit, out, URL, meter(), None)
    assert git(out, "rev-parse", "HEAD") == commit
    assert git(out, "status", "--porcelain") == ""
    assert {path.name: path.read_text() for path in out.rglob("*.txt")} == {"a.txt": "first", "b.txt": "second"}
    keep_tag("echo", out, commit, tag, tagged)
    assert git(out, "rev-parse", f"{tag}^{{commit}}") == commit
    assert git(out, "cat-file", "-t", tag) == ("tag" if tag == "annotated" else "commit")


def test_a_tag_of_another_commit_is_refused(checkout: Checkout, tmp_path: Path) -> None:
    """As is one that is not there."""
    source = checkout()
    first = git(source, "rev-parse", "HEAD")
    (source / "a.txt").write_text("changed")
    git(source, "commit", "-qam", "two")
    git(source, "tag", "-am", "words", "later")
    git(source, "checkout", "-q", "--detach")
    for tagged in (git(source, "rev-parse", "later"), "0" * 40, first[:-1] + ("0" if first[-1] != "0" else "1")):
        with pytest.raises(BundleError, match=f"has no tag v1 of plugin 'echo' at commit {first}"):
            keep_tag("echo", source, first, "v1", tagged)
    keep_tag("echo", source, first, "v1", first)


@pytest.mark.parametrize(
    ("links", "refused"),
    [
        ({"link": "a.txt"}, False),
        ({"link": "../.."}, True),
        ({"link": "/etc"}, True),
        ({"link": "gone"}, False),
    ],
)
def test_links_that_lead_out_are_refused(
    checkout: Checkout,
    tmp_path: Path,
    links: dict[str, str],
    refused: bool,  # noqa: FBT001
) -> None:
    """Whoever builds the plugin would follow them."""
    source = checkout(links)
    commit = git(source, "rev-parse", "HEAD")
    pack, _ = pack_checkout("echo", source, "plain", tmp_path / "work")
    if refused:
        with pytest.raises(SourceError, match="link is a link that leads out of the checkout"):
            check_out("echo", pack, commit, tmp_path / "out", URL, meter(), None)
    else:
        check_out("echo", pack, commit, tmp_path / "out", URL, meter(), None)


def test_a_pack_without_the_commit_or_too_large_is_refused(checkout: Checkout, tmp_path: Path) -> None:
    """Before git writes a file of it: too many files, too large, too deep, or with too long a path."""
    source = checkout(**{"folder/long-name": "second"})
    commit = git(source, "rev-parse", "HEAD")
    pack, _ = pack_checkout("echo", source, "plain", tmp_path / "work")
    with pytest.raises((BundleError, SourceError)):
        check_out("echo", pack, "0" * 40, tmp_path / "other", URL, meter(), None)
    assert not (tmp_path / "other/a.txt").exists()
    most = {"files": 2, "size": len("firstsecond"), "name": len("folder/long-name"), "depth": 2}
    check_out("echo", pack, commit, tmp_path / "fits", URL, meter(**most), None)
    for limit, number in most.items():
        with pytest.raises(BundleError, match=f"limit '{limit}'"):
            check_out("echo", pack, commit, tmp_path / limit, URL, meter(**{limit: number - 1}), None)
        assert [each.name for each in (tmp_path / limit).iterdir()] == [".git"]
    data = bytearray(pack.read_bytes())
    data[-1] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    with pytest.raises(BundleError, match="The Git objects of plugin 'echo' do not prove its code") as caught:
        check_out("echo", pack, commit, tmp_path / "broken", URL, meter(), None)
    assert caught.value.plugin == "echo"
    assert 'NodeRegistry.clear_plugin_cache("echo")' in str(caught.value.hint)


def test_large_files_take_the_place_of_their_pointers(checkout: Checkout, tmp_path: Path) -> None:
    """By their hashes, which the commit names; they count, keep their rights, and another file of that name is none."""
    import hashlib

    content = b"large" * 100
    digest = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
    source = checkout(**{".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "data.bin": pointer})
    (source / "data.bin").chmod(0o755)
    commit = git(source, "rev-parse", "HEAD")
    pack, _ = pack_checkout("echo", source, "plain", tmp_path / "work")
    (source / "data.bin").write_bytes(content)
    large = tmp_path / "large"
    large.mkdir()
    for wrong in (None, b"other"):
        if wrong is not None:
            (large / digest).write_bytes(wrong)
        with pytest.raises(BundleError, match=r"lacks the large file data.bin of plugin 'echo'"):
            check_out("echo", pack, commit, tmp_path / f"wrong {wrong is None}", URL, meter(), large)
    (large / digest).write_bytes(content)
    with pytest.raises(BundleError, match="limit 'size'"):
        check_out("echo", pack, commit, tmp_path / "small", URL, meter(size=len(content)), large)
    check_out("echo", pack, commit, tmp_path / "bare", URL, meter(), None)
    assert (tmp_path / "bare/data.bin").read_text() == pointer
    assert large_files(source, tmp_path / "bare") == {digest: source / "data.bin"}
    check_out("echo", pack, commit, tmp_path / "out", URL, meter(), large)
    assert (tmp_path / "out/data.bin").read_bytes() == content


def test_commits_of_submodules_come_along_as_far_as_they_are_there(checkout: Checkout, tmp_path: Path) -> None:
    """Those of submodules in submodules too; the history of none."""
    source = checkout()
    first = git(source, "rev-parse", "HEAD")

    def committed(name: str, target: str) -> str:
        git(source, "update-index", "--add", "--cacheinfo", f"160000,{target},{name}")
        return git(source, "commit-tree", git(source, "write-tree"), "-m", name)

    (source / "inner.txt").write_text("inner")
    git(source, "add", "inner.txt")
    inner = git(source, "commit-tree", git(source, "write-tree"), "-p", first, "-m", "inner")
    middle = committed("deep", inner)
    git(source, "read-tree", "--empty")
    git(source, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},gone")
    git(source, "reset", "-q", "--soft", committed("sub", middle))
    outer = git(source, "rev-parse", "HEAD")
    pack, tagged = pack_checkout("echo", source, "none", tmp_path / "work")
    assert tagged == outer
    listed = git(source, "verify-pack", "-v", str(pack.with_suffix(".idx")))
    commits = {line.split()[0] for line in listed.splitlines() if " commit " in line}
    assert commits == {outer, middle, inner}


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of programs is limited on Linux alone")
def test_a_pack_may_not_have_git_put_together_more_than_it_needs(tmp_path: Path) -> None:
    """A delta of some bytes stands for any size, and git holds what comes of it in memory; packs of ours have none."""
    block = bytes(2**20)
    name = hashlib.sha1(b"blob %d\0" % len(block) + block).digest()
    # By the format of packs: size of the base, size of the result, and 300 times "copy the first 2**20 bytes".
    delta = b"\x80\x80\x40" + b"\x80\x80\x80\x96\x01" + b"\xc0\x10" * 300
    blob = b"\xb0\x80\x80\x04" + zlib.compress(block)
    made = bytes([0xF0 | len(delta) & 15, len(delta) >> 4]) + name + zlib.compress(delta)
    pack = b"PACK\0\0\0\2\0\0\0\2" + blob + made
    (tmp_path / "x.pack").write_bytes(pack + hashlib.sha1(pack).digest())
    with pytest.raises(BundleError, match=r"Out of memory"):
        check_out("echo", tmp_path / "x.pack", "0" * 40, tmp_path / "out", URL, meter(), None)
