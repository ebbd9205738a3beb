"""The published command `provision`: the plugins that a pipeline needs, as what uv installs into this environment.

Nothing here needs it: plugins are loaded each in its own place. Notebooks and scripts that import a plugin's package by
its name do, and published ones begin with it.
"""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.cli.shared.error_messages import Guarded
from cuvis_ai_core.cli.shared.options import HELP_NAMES, shared_options
from cuvis_ai_core.cli.shared.output import say, tell
from cuvis_ai_core.errors import InstallError, ManifestError, NotAllowedError, PipelineError, YamlError


@click.command(cls=Guarded, context_settings=HELP_NAMES)
@click.option(
    "--pipeline-path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Pipeline whose plugins are needed.",
)
@click.option(
    "--plugins-dir",
    "plugins_dirs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Folder with a manifest for each plugin; repeatable.  [default: configs/plugins above the file]",
)
@click.option("--data-module", help="Name of a data module, whose plugin is needed too.")
@click.option("--apply", is_flag=True, help="Install them into this environment.")
@click.option("--requirements", type=click.Path(dir_okay=False, path_type=Path), help="Write them to a .txt or .toml.")
@click.option("--pin", is_flag=True, help="By the commits of their tags.")
@click.option("--include-satisfied", is_flag=True, help="Those that are installed too.")
@shared_options
def main(
    pipeline_path: Path,
    plugins_dirs: Sequence[Path],
    data_module: str | None,
    requirements: Path | None,
    *,
    apply: bool,
    pin: bool,
    include_satisfied: bool,
) -> None:
    """Print how the plugins of a pipeline are installed, or install them into this environment.

    restore-pipeline does not need it: it loads each plugin in its own place.
    """
    from cuvis_ai_core.plugins.manifest_folders import folders_above

    folders = list(plugins_dirs) or folders_above(pipeline_path)
    specs = install_specs(pipeline_path, folders, data_module, pin=pin, include_satisfied=include_satisfied)
    if not specs:
        tell("Nothing is to be installed: this environment has all that the pipeline names.")
    if requirements is not None:
        write_requirements(requirements, specs, pipeline_path.stem)
    if apply and specs:
        install(specs)
    elif requirements is None and specs:
        say(f"uv pip install {shlex.join(specs)}")


def install_specs(
    pipeline_path: Path,
    folders: Sequence[Path],
    data_module: str | None = None,
    *,
    pin: bool = False,
    include_satisfied: bool = False,
) -> list[str]:
    """Return the plugins that a pipeline and a data module need, as pip and uv take them.

    Args:
        pipeline_path: The pipeline file, which names its plugins.
        folders: Those with a manifest for each plugin.
        data_module: Name of a data module.
        pin: By the commits of tags, which are asked for.
        include_satisfied: Those that are installed, too.

    Raises:
        ManifestError: The file does not name its plugins, or there is no manifest of one.
        PipelineError: The file cannot be read.
    """
    return [
        _requirement(name, manifest, pin=pin)
        for name, manifest in _wanted(pipeline_path, folders, data_module).items()
        if include_satisfied or not _is_satisfied(manifest)
    ]


def write_requirements(file: Path, specs: Iterable[str], pipeline: str) -> None:
    """Write what is to be installed: as a project into a `.toml`, one a line into any other file."""
    file.write_text(_file(file.suffix, f"{pipeline}-env", specs), encoding="utf-8")
    tell(f"Wrote {file}.")


def _wanted(file: Path, folders: Sequence[Path], data_module: str | None) -> dict[str, dict[str, Any]]:
    """Return the manifests of the plugins that a pipeline names, and that of a data module with its extras."""
    from cuvis_ai_core.plugins.manifest_folders import BUILTIN, module_plugins, resolve_pipeline_plugins

    try:
        content = load_yaml(file).data
    except YamlError as error:
        raise PipelineError(f"{file}: it cannot be read: {error.message}.", path=file) from error
    if not isinstance(content, Mapping) or not isinstance(content.get("plugins"), list):
        raise ManifestError(
            f"{file}: it does not name its plugins.",
            hint=f"To see which they are: suggest-plugins-fix --pipeline-path {shlex.quote(str(file))}",
            path=file,
        )
    found: dict[str, dict[str, Any]] = resolve_pipeline_plugins(content, folders, data_module)
    # Whoever has the manifests of a catalogue has the catalogue.
    found.pop(BUILTIN, None)
    if data_module is not None:
        known = module_plugins(folders)[data_module]
        found[known.plugin] = {**known.manifest, "extras": known.entry.get("extras")}
    return found


def _is_satisfied(manifest: Mapping[str, Any]) -> bool:
    """Tell whether a plugin is installed; of extras nobody knows."""
    from cuvis_ai_core.plugins.manifest_folders import is_installed

    return not manifest.get("extras") and is_installed(manifest)


def _requirement(name: str, manifest: Mapping[str, Any], *, pin: bool) -> str:
    """Return a plugin as pip and uv take it."""
    from packaging.utils import canonicalize_name, is_normalized_name

    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, parse_plugin

    entry = {key: value for key, value in manifest.items() if key != "name"}
    declared = parse_plugin(name, {"provides": [], **entry}, base=Path.cwd())
    extras = f"[{','.join(declared.extras)}]" if declared.extras else ""
    if isinstance(declared, GitPlugin):
        from cuvis_ai_core.plugins.git.repository_tags import remote_commit

        place = f"{_address(declared.repo)}@{remote_commit(declared.repo, declared.tag) if pin else declared.tag}"
    else:
        place = declared.path.as_uri()
    distribution = str(manifest.get("package_name") or name)
    if not is_normalized_name(canonicalize_name(distribution)):
        raise ManifestError(f"Plugin '{name}': package_name '{distribution}' is no name of a package.", plugin=name)
    part = f"#subdirectory={declared.subdirectory}" if declared.subdirectory else ""
    return f"{distribution}{extras} @ {place}{part}"


def _address(repo: str) -> str:
    """Return where a repository is, as pip and uv take it."""
    if "://" in repo:
        return f"git+{repo}"
    host, separator, path = repo.partition(":")
    return f"git+ssh://{host}/{path}" if separator else f"git+{Path(repo).absolute().as_uri()}"


def _file(suffix: str, project: str, specs: Iterable[str]) -> str:
    """Return the content of a file of requirements: of a project, or one a line."""
    if suffix != ".toml":
        return "".join(f"{each}\n" for each in specs)
    import tomli_w

    minor = sys.version_info.minor
    content = {
        "name": project,
        "version": "0.0.0",
        "requires-python": f">=3.{minor},<3.{minor + 1}",
        "dependencies": list(specs),
    }
    return tomli_w.dumps({"project": content})


def install(specs: Sequence[str]) -> None:
    """Have uv install plugins into the environment of this interpreter.

    Raises:
        NotAllowedError: A policy says what may be loaded here: what is in the environment is not asked about again.
        InstallError: uv could not.
    """
    from cuvis_ai_core._subprocess import run

    refuse_under_a_policy()
    from uv import find_uv_bin

    done = run([find_uv_bin(), "pip", "install", "--python", sys.executable, "--", *specs])
    if done.returncode:
        raise InstallError(
            f"The plugins could not be installed: {done.stderr.strip()}", hint="Their manifests say where they are."
        )
    tell(done.stderr.strip() or "They are installed.")


def refuse_under_a_policy() -> None:
    """Refuse to put plugins into the environment where a policy says what may be loaded.

    Raises:
        NotAllowedError: There is one.
    """
    from cuvis_ai_core.plugins.policy import policy

    found = policy()
    if found is not None:
        raise NotAllowedError(
            f"This machine has a policy ({found.path}), and what lies in the environment is not held to it.",
            hint="restore-pipeline --plugins-dir loads plugins as it says, each in its own place.",
        )


if __name__ == "__main__":
    main(prog_name="provision")
