"""`python -m cuvis_ai_core.testing FOLDER`: serve Git repositories on this machine, without an account anywhere."""

from pathlib import Path

import click

from cuvis_ai_core.testing.git_host import PORT, GitHost


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--port", default=PORT, show_default=True, help="Port to listen on; 0 lets the system choose.")
def main(folder: Path, port: int) -> None:
    """Serve the bare Git repositories (*.git) in FOLDER over HTTP on 127.0.0.1, until Ctrl-C."""
    host = GitHost(folder, port=port)
    try:
        host.__enter__()
    except OSError as error:
        raise click.ClickException(
            f"Port {port} cannot be used: {error.strerror or error}. Take another: --port 0"
        ) from error
    try:
        for repository in sorted(folder.rglob("*.git")):
            if (repository / "HEAD").is_file():
                click.echo(host.url(repository.relative_to(folder).as_posix().removesuffix(".git")))
        click.echo("Ctrl-C ends it.", err=True)
        host.wait()
    except KeyboardInterrupt:
        click.echo(err=True)
    finally:
        host.__exit__(None, None, None)


if __name__ == "__main__":
    main(prog_name="python -m cuvis_ai_core.testing")
