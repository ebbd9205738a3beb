"""`cuvis-ai git-host`: serve the repositories in a folder on this machine, without an account anywhere."""

import subprocess
from pathlib import Path

import click

from cuvis_ai_core.cli.shared.options import GivenPath, WholeNumber, shared_options
from cuvis_ai_core.cli.shared.output import say, tell
from cuvis_ai_core.errors import OutputError


@click.command("git-host")
@click.argument("folder", type=GivenPath(exists=True, file_okay=False))
@click.option(
    "--port",
    type=WholeNumber(0, 65535),
    default=8417,
    show_default=True,
    metavar="NUMBER",
    help="Port to listen on; 0: any.",
)
@shared_options
def git_host(folder: Path, port: int) -> None:
    """Serve the Git repositories in FOLDER over HTTP on 127.0.0.1, until Ctrl-C, as a host in the network would.

    Bare repositories (NAME.git) and working ones (NAME, or FOLDER itself) both have the address
    http://127.0.0.1:8417/NAME.git, also what is committed and tagged later. Nobody else than this machine is answered.
    """
    import tempfile

    from cuvis_ai_core._subprocess import run
    from cuvis_ai_core.testing.git_host import GitHost

    # Its absence is said here: whoever clones from a host without it is told of a server's error only.
    run(["git", "--version"])
    # A folder of links: a working repository is to have an address NAME.git as well, and no folder of that name is
    # there.
    with tempfile.TemporaryDirectory(prefix="cuvis-git-") as served:
        names = _gather(folder.resolve(), Path(served))
        if not names:
            raise OutputError(
                f"There is no Git repository in '{folder}'.", hint="Make one: git init; git commit; git tag"
            )
        host = GitHost(Path(served), port=port)
        try:
            # Not `with`: only an error of listening is one about the port.
            host.__enter__()
        except OSError as error:
            raise OutputError(
                f"Port {port} cannot be used: {error.strerror or error}.", hint="Take another one: --port 0"
            ) from error
        try:
            for name in names:
                say(host.url(name))
            tell("Ctrl-C ends it.")
            host.wait()
        except KeyboardInterrupt:
            tell("")
        finally:
            host.__exit__(None, None, None)


def _gather(folder: Path, served: Path) -> list[str]:
    """Link all repositories of a folder into another one, by the names that they are served under."""
    found: dict[str, Path] = {}
    for each in sorted(folder.rglob("*.git")):
        if (each / "HEAD").is_file() and each.name != ".git":
            found.setdefault(each.relative_to(folder).as_posix().removesuffix(".git"), each)
    for each in (folder, *sorted(folder.iterdir())):
        if (each / ".git").exists():
            # In worktrees and submodules `.git` is a file: git knows where the repository is (gitrepository-layout(5)).
            told = subprocess.run(
                ["git", "-C", str(each), "rev-parse", "--absolute-git-dir"],
                capture_output=True,
                text=True,
                check=False,
            )
            if told.returncode == 0:
                found.setdefault(each.name, Path(told.stdout.strip()))
    for name, repository in found.items():
        link = served / f"{name}.git"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(repository, target_is_directory=True)
    return sorted(found)
