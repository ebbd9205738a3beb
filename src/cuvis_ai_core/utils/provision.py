"""The published functions by which notebooks install the plugins of a pipeline: what the command `provision` does."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from cuvis_ai_core.cli.provision import install, install_specs, refuse_under_a_policy, write_requirements
from cuvis_ai_core.errors import InstallError

__all__ = ["format_install_command", "provision_environment", "resolve_install_specs"]

# A comment, as published: what these functions return is pasted into a cell or a terminal.
NOTHING = "# all plugins already provisioned; nothing to install"


def resolve_install_specs(
    pipeline_path: str | Path,
    plugins_dirs: Sequence[str | Path],
    data_module: str | None = None,
    *,
    pin: bool = False,
    include_satisfied: bool = False,
) -> list[str]:
    """Return the plugins that a pipeline and a data module need, as pip and uv take them.

    Args:
        pipeline_path: The pipeline file, which names its plugins.
        plugins_dirs: Folders with a manifest for each plugin.
        data_module: Name of a data module, whose plugin is needed with its extras.
        pin: By the commits of tags, which are asked for.
        include_satisfied: Those that are installed, too.

    Returns:
        One for each plugin; nothing is fetched or installed.

    Raises:
        ManifestError: The file does not name its plugins, or there is no manifest of one.
        PipelineError: The file cannot be read.
    """
    return install_specs(
        Path(pipeline_path),
        [Path(each) for each in plugins_dirs],
        data_module,
        pin=pin,
        include_satisfied=include_satisfied,
    )


def format_install_command(specs: Sequence[str], *, magic: bool = False) -> str:
    """Return the line that installs them: of a terminal, or of a notebook's cell."""
    return f"{'%pip' if magic else 'uv pip'} install {shlex.join(specs)}" if specs else NOTHING


def provision_environment(
    specs: Sequence[str],
    *,
    apply: bool = False,
    env_file: str | Path | None = None,
    sync: bool = False,
    notebook: bool = False,
    pipeline_name: str = "pipeline",
) -> str | None:
    """Print how plugins are installed, install them, or write them to a file.

    Args:
        specs: What is to be installed, of `resolve_install_specs`.
        apply: Install them into this environment.
        env_file: Write them there: as a project into a `.toml`, one a line into any other file.
        sync: Install what was written, too.
        notebook: By `%pip`, into the kernel of the notebook that calls this.
        pipeline_name: What the project in a `.toml` is called after.

    Returns:
        The line that was printed, where nothing else was asked for.

    Raises:
        NotAllowedError: They are to be installed where a policy says what may be loaded.
        InstallError: They could not be installed, or this is no notebook.
    """
    if env_file is not None:
        write_requirements(Path(env_file), specs, pipeline_name)
    installs = sync if env_file is not None else apply
    if installs and specs:
        (_install_in_kernel if notebook else install)(specs)
    if env_file is not None or installs:
        return None
    line = format_install_command(specs, magic=notebook)
    print(line)  # noqa: T201 - to a notebook or script that asked for it
    if notebook and specs:
        print("# Run this line, then restart the kernel.")  # noqa: T201 - likewise
    return line


def _install_in_kernel(specs: Sequence[str]) -> None:
    """Have the notebook that calls this install into its own kernel.

    Raises:
        InstallError: There is none.
    """
    refuse_under_a_policy()
    try:
        from IPython import get_ipython
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    if shell is None:
        raise InstallError(
            "notebook=True installs into the kernel of a notebook, and this is none.",
            hint="To install into this environment: apply=True alone.",
        )
    shell.run_line_magic("pip", f"install {shlex.join(specs)}")
    print("Installed: restart the kernel before you import them.")  # noqa: T201 - likewise
