"""Public data sets of Cubert on Hugging Face: what there is, and the published command `dataset` that fetches it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import click

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import CuvisError, MissingExtraError

__all__ = ["DatasetSpec", "PublicDatasets", "download_data_cli"]

MARKER: Final = ".cuvis-dataset.json"
"""Written into the folder of a data set once it is there as a whole."""


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """One public data set.

    Attributes:
        name: By which it is asked for.
        display_name: For people.
        repo_id: Owner and name of its repository.
        camera: What recorded it.
        tags: What it is for.
        license: Its licence; its page has the text.
        size_bytes: How large it is, 0 where that is only known online.
        file_count: How many files it has, 0 where that is only known online.
    """

    name: str
    display_name: str
    repo_id: str
    camera: str
    tags: tuple[str, ...]
    license: str = "see its page"
    size_bytes: int = 0
    file_count: int = 0

    @property
    def folder(self) -> str:
        """The folder that it is fetched into, below that of all data."""
        return self.repo_id.partition("/")[2]


def _cubert(name: str, repository: str, *tags: str, camera: str = "XMR") -> DatasetSpec:
    return DatasetSpec(name, repository.replace("_", " "), f"cubert-gmbh/{repository}", camera, tags)


class PublicDatasets:
    """The public data sets by name."""

    _specs: ClassVar[tuple[DatasetSpec, ...]] = (
        _cubert("Blood_Perfusion", "XMR_Demo_Blood_Perfusion", "medical"),
        _cubert("Demo_Industrial_FOD_Lentils", "XMR_Demo_Industrial_Foreign_Object_Detection_Lentils", "anomaly"),
        _cubert("Demo_Object_Tracking", "XMR_Demo_Object_Tracking", "tracking"),
        _cubert("Lentils", "XMR_Lentils", "anomaly"),
        _cubert("Industrial_FOD_Lentils", "XMR_Industrial_Foreign_Object_Detection_Lentils", "anomaly"),
        _cubert(
            "Industrial_FOD_Bedding",
            "X4_SWIR_Industrial_Foreign_Object_Detection_Bedding",
            "anomaly",
            camera="X4 SWIR",
        ),
        _cubert("Industrial_FOD_Walnuts", "XMR_Industrial_Foreign_Object_Detection_Walnuts", "anomaly", "segmentation"),
    )

    @classmethod
    def list_specs(cls) -> list[DatasetSpec]:
        """Return all of them."""
        return list(cls._specs)

    @classmethod
    def get(cls, name: str) -> DatasetSpec:
        """Return one by its name, in upper or lower case.

        Raises:
            KeyError: There is none.
        """
        for spec in cls._specs:
            if spec.name.casefold() == name.casefold():
                return spec
        names = [spec.name for spec in cls._specs]
        raise KeyError(
            f"There is no public data set '{name}'.{did_you_mean(name, names)} There are {', '.join(names)}."
        )

    @classmethod
    def is_there(cls, spec: DatasetSpec, data_dir: Path) -> bool:
        """Tell whether a data set was fetched as a whole."""
        return (data_dir / spec.folder / MARKER).is_file()

    @classmethod
    def download(cls, name: str, data_dir: str | Path = "data") -> Path:
        """Fetch a data set, going on with what is there, and return its folder.

        Raises:
            KeyError: There is none of that name.
            MissingExtraError: `huggingface_hub` is not installed.
            CuvisError: It cannot be fetched, as without a connection.
        """
        spec = cls.get(name)
        folder = Path(data_dir) / spec.folder
        hub = _hub(spec)
        try:
            hub.snapshot_download(spec.repo_id, repo_type="dataset", local_dir=str(folder))
        except Exception as error:
            raise CuvisError(
                f"The data set '{spec.name}' ({spec.repo_id}) cannot be fetched: {type(error).__name__}: "
                f"{str(error).partition(chr(10))[0]}",
                hint="Look at the connection, and run the same command again: it goes on with what is there.",
            ) from error
        (folder / MARKER).write_text(json.dumps({"name": spec.name, "repo_id": spec.repo_id}) + "\n", encoding="utf-8")
        return folder


def _hub(spec: DatasetSpec) -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Fetching the data set '{spec.name}' needs the package 'huggingface_hub', which is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[hub]'",
            extra="hub",
        ) from error
    return huggingface_hub


_DATA_DIR = click.option(
    "--data-dir", type=click.Path(path_type=Path), default=Path("data"), show_default=True, help="Folder of all data."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def _dataset() -> None:
    """Public data sets: what there is, and fetching it."""


@_dataset.command("list")
def _list() -> None:
    """List them."""
    for spec in PublicDatasets.list_specs():
        click.echo(f"{spec.name:30} {spec.camera:8} {', '.join(spec.tags):24} {spec.repo_id}")


@_dataset.command("status")
@_DATA_DIR
def _status(data_dir: Path) -> None:
    """Tell which of them are there."""
    for spec in PublicDatasets.list_specs():
        there = PublicDatasets.is_there(spec, data_dir)
        click.echo(f"{spec.name:30} {data_dir / spec.folder if there else 'not fetched'}")


@_dataset.command("download")
@click.argument("name")
@_DATA_DIR
def _download(name: str, data_dir: Path) -> None:
    """Fetch one of them."""
    try:
        click.echo(f"Fetched to {PublicDatasets.download(name, data_dir)}")
    except KeyError as error:
        raise click.UsageError(str(error.args[0])) from error
    except (CuvisError, OSError) as error:
        raise click.ClickException(str(error)) from error


def download_data_cli() -> None:
    """Run the command `dataset`."""
    _dataset(prog_name="dataset")
