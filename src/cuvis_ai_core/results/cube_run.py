"""One run of a pipeline on a cube, from the file to the folder of results: for a command, a script or a worker."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core.data import read_cube
from cuvis_ai_core.errors import PortError
from cuvis_ai_core.pipeline.profiler import Profiler
from cuvis_ai_core.results.cube_inputs import published_inputs
from cuvis_ai_core.results.folder import OutputFolder, safe_name
from cuvis_ai_core.results.output_bands import Bands, bands_of
from cuvis_ai_core.results.output_files import ARCHIVE, FORMATS, Outputs
from cuvis_ai_core.results.output_metadata import class_names, meanings
from cuvis_ai_core.results.output_values import Result, collect
from cuvis_ai_core.results.pictures.png_files import write_pictures
from cuvis_ai_core.results.run_page import PAGE, run_page
from cuvis_ai_core.results.run_record import RECORD, cube_record, for_results, input_record, node_records, run_record

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.pipeline.tiling.tiled_run import Progress
    from cuvis_ai_core.registry import NodeRegistry

PICTURE: Final = "pipeline"
"""Stem of the picture of the graph."""

PROFILE: Final = "profile.json"

Phase = Callable[[str], AbstractContextManager[object]]
"""Told what is under way, in words that begin with `Reading`, `Running` or `Writing`; entered while it is."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a run has written.

    Attributes:
        folder: The folder of the results.
        files: A record of each output in each file.
        profiler: The time of each node, if it was taken.
    """

    folder: Path
    files: list[dict[str, Any]]
    profiler: Profiler | None


@dataclass(frozen=True, slots=True)
class Run:
    """What is run on what.

    Attributes:
        registry: Where the classes of the pipeline's nodes come from, and the cube readers.
        pipeline: The pipeline.
        manifest: The manifest whose plugins are loaded, if any.
        cube_path: The cube.
        measurement: Which cube it is in a file of several.
        annotations: The COCO file whose masks nodes get that take one.
        processing_mode: What to make of a session file.
        picture: Suffix of the picture of the graph, if one is asked for: `png`, `svg` or `md`.
        profiled: Whether the time of each node is taken.
        keep: The outputs to write, each `node.port`; none means those of the last nodes.
        memory: Bytes that tiles may take; None means a quarter of what is free.
        format: In which format images are written, one of `FORMATS`.
        about: Asked in the end what else the record is to say, by key.
        page: Whether a page for people is written.
        command: What runs it again, for that page.
        nodes: What the record says of the nodes, where it is known: of local plugins, git has to be asked.
    """

    registry: "NodeRegistry"
    pipeline: "Pipeline"
    manifest: Path | None
    cube_path: Path
    measurement: int | None = None
    annotations: Path | None = None
    processing_mode: str | None = None
    picture: str | None = None
    profiled: bool = False
    keep: tuple[str, ...] = ()
    memory: int | None = None
    format: str = FORMATS[0]
    about: Callable[[], Mapping[str, Any]] = dict
    page: bool = True
    command: str = ""
    nodes: list[dict[str, Any]] | None = None

    @property
    def default_folder(self) -> Path:
        """A folder in the working directory, named after the pipeline."""
        return Path(f"{safe_name(self.pipeline.name)}-output")

    def write_to(
        self, folder: Path | None = None, phase: Phase = lambda _: nullcontext(), progress: "Progress | None" = None
    ) -> Written:
        """Run the pipeline and write the results.

        Args:
            folder: Folder of the results; by default `default_folder`.
            phase: Entered around each part of the work.
            progress: Told after each tile how many are done.

        Raises:
            PipelineError: The names of classes in the pipeline's metadata do not fit its outputs.
            CubeError: The cube cannot be read.
            PortError: The cube does not fit the pipeline.
            NodeRunError: A node failed.
            MissingExtraError: The picture needs what is not installed.
            OutputError: The folder cannot be written.
            OSError: The disk is full.
        """
        class_names(self.pipeline)  # better refused before the work than after it
        seconds: dict[str, float] = {}
        with phase(f"Reading {self.cube_path}"), _timed(seconds, "reading"):
            cube = self._read()
            batch = published_inputs(cube, self.annotations)
        target = folder or self.default_folder
        profiler = Profiler() if self.profiled else None
        # Of the other formats nobody knows yet whether an output is no image and needs the archive.
        certain = (ARCHIVE, RECORD) if self.format == FORMATS[0] else (RECORD,)
        with OutputFolder(target, certain) as output:
            beside = self._draw(output.staging)
            if profiler is not None:
                self.registry.register_hooks(profiler)
            outputs = Outputs(output.staging, self.format, cube)
            running = f"Running {len(self.pipeline.nodes)} nodes on {self.cube_path}"
            with phase(running), _timed(seconds, "running"):
                values = self._forward(batch, cube.remarks, outputs, progress)
            results, left_out = collect(values)
            with phase(f"Writing {target}"):
                meaning = meanings(self.registry, self.pipeline, values, cube, self.cube_path.name)
                files = write_pictures(output.staging, results, cube.data.shape[:2], meaning, outputs.file_of)
                outputs.close({(each.node, each.port): self._bands(each, values, cube) for each in results})
                if profiler is not None:
                    beside.append(_write_profile(output.staging, profiler))
                nodes = self.nodes or node_records(self.registry, self.pipeline)
                record = run_record(self._inputs(cube), nodes, [*files, *beside], left_out)
                if self.page:
                    text = run_page(record, self._edges(), output.staging, seconds, for_results(self.command))
                    (output.staging / PAGE).write_text(text, encoding="utf-8")
                (output.staging / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
                output.publish()
        return Written(target, files, profiler)

    def _read(self) -> "Cube":
        readers = self.registry.cube_readers()
        return read_cube(self.cube_path, readers, index=self.measurement, processing_mode=self.processing_mode)

    def _draw(self, folder: Path) -> list[dict[str, Any]]:
        """Draw the graph where that is asked for, before the work: it may need what is not installed."""
        if self.picture is None:
            return []
        name = f"{PICTURE}.{self.picture}"
        self.pipeline.draw(folder / name)
        return [{"file": name, "shows": "the graph of the pipeline"}]

    def _forward(
        self, batch: dict[Any, Any], remarks: tuple[str, ...], outputs: Outputs, progress: "Progress | None"
    ) -> dict[tuple[str, str], Any]:
        kept = self.keep or None
        try:
            return self.pipeline.forward_tiled(
                batch, keep_ports=kept, memory=self.memory, into=outputs.place, progress=progress
            )
        except PortError as error:
            if error.missing:
                error.hint = _how_to_hand_in({address[1] for address in error.missing}, remarks)
            raise

    def _bands(self, result: Result, values: dict[tuple[str, str], Any], cube: "Cube") -> Bands:
        address = (result.node, result.port)
        description = self.pipeline.outputs[result.node][result.port].port.description.partition("[")[0].strip()
        known = Bands(result.name, description, classes=class_names(self.pipeline).get(address, {}))
        return bands_of(address, result.array.shape, values, cube, known)

    def _edges(self) -> list[tuple[str, str, str]]:
        return [
            (each.source, each.target, f"{each.source}.{each.source_port} to {each.target}.{each.target_port}")
            for each in self.pipeline.edges
        ]

    def _inputs(self, cube: "Cube") -> dict[str, Any]:
        files = self.pipeline.files
        return {
            "pipeline": {"name": self.pipeline.name, **(input_record(files.file) if files else {})},
            "weights": input_record(files.weights) if files and files.weights else None,
            "overrides": list(files.overrides) if files else [],
            "device": self.pipeline.device,
            "plugins": input_record(self.manifest) if self.manifest else None,
            "cube": {**cube_record(self.cube_path, cube), "index": cube.index, "processing_mode": self.processing_mode},
            **self.about(),
        }


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    seconds[part] = time.monotonic() - begun


def _write_profile(folder: Path, profiler: Profiler) -> dict[str, Any]:
    (folder / PROFILE).write_text(json.dumps(profiler.to_dict(), indent=2) + "\n", encoding="utf-8")
    return {"file": PROFILE, "shows": "the time of each node"}


def _how_to_hand_in(missing: set[str], remarks: tuple[str, ...]) -> str:
    if missing == {"wavelengths"}:
        why = "".join(f"{remark} " for remark in remarks if "wavelength" in remark.lower())
        return (
            f"{why}The cube has no wavelengths. Save it with them, as numpy.savez(path, cube=..., wavelengths=...) in "
            "nm or as ENVI with 'wavelength' in the header."
        )
    return "A cube gives 'cube' and 'wavelengths'. Connect the other inputs by edges, or run the pipeline from Python."
