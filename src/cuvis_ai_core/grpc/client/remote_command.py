"""`cuvis-ai remote`: what `restore-pipeline` does with a cube, done by a server."""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from cuvis_ai_core.cli.shared.error_messages import Guarded
from cuvis_ai_core.cli.shared.options import (
    HELP_NAMES,
    GivenText,
    WholeNumber,
    path_option,
    plugins_option,
    shared_options,
)
from cuvis_ai_core.cli.shared.output import say, say_line
from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.client.picture_safety import harmless

if TYPE_CHECKING:
    from cuvis_ai_core.grpc.client.client import Client

Beside: TypeAlias = dict[str, tuple[str, bytes]]
"""Further files of the results: what each shows, and its content."""


def _server(_: click.Context, parameter: click.Parameter, text: str) -> str:
    port = text.rpartition(":")[2]
    # gRPC takes such an address for a name to look up, and says only later that there is none.
    if text.startswith(("http://", "https://")) or (port.isdecimal() and int(port) >= 2**16):
        raise click.BadParameter(f"'{text}' is no address, such as localhost:50051 or unix:/path.", param=parameter)
    return text


@click.command(cls=Guarded, context_settings=HELP_NAMES)
@click.option(
    "--server",
    required=True,
    type=GivenText(),
    callback=_server,
    metavar="ADDRESS",
    envvar="CUVIS_SERVER",
    help="host:port, or unix:/path.",
)
@path_option("--pipeline-path", required=True, description="Pipeline file of this machine.")
@path_option("--cube-path", description="Cube of this machine to run the pipeline on.")
@path_option("--cu3s-file-path", description="Session file of a Cubert camera to run it on; needs the extra cu3s.")
@plugins_option
@click.option("--measurement", type=WholeNumber(min=0), metavar="NUMBER", help="Which cube of several, from 0.")
@click.option("--processing-mode", metavar="MODE", help="What to make of a session file: Raw, Reflectance, ...")
@path_option("--output-dir", description="Folder for the results.  [default: <stem of the pipeline>-output]")
@path_option("--weights-path", description="Weights (.pt, .safetensors).  [default: those beside the pipeline file]")
@click.option("--override", multiple=True, metavar="KEY=VALUE", help="Replace a value: nodes.NAME.params.KEY=VALUE.")
@click.option("--output", "outputs", multiple=True, metavar="NODE.PORT", help="Output that is wanted.  [default: all]")
@click.option(
    "--pipeline-vis-ext",
    type=click.Choice(["png", "svg", "md"]),
    metavar="KIND",
    help="Draw the graph, as a file of this kind: png, svg or md.",
)
@click.option("--profile", is_flag=True, help="Write the time of each node on the server to profile.json.")
@path_option("--token-file", description="File with the token of the server.")
@path_option("--tls-ca", description="Authority of the server's certificate (PEM); TLS is used then.")
@shared_options
def remote(**options: Any) -> None:
    """Run a pipeline on a cube on a server, and write the results here.

    The pipeline, its weights and the cube are sent; the manifest's plugins are loaded by the server, where their paths
    are looked up. Arrays go to outputs.npz, maps and masks to PNG files, and what ran to run.json.
    """
    if (options["cube_path"] is None) == (options["cu3s_file_path"] is None):
        raise click.UsageError("Give the cube: by --cube-path or by --cu3s-file-path.")
    options["cube_path"] = options["cube_path"] or options["cu3s_file_path"]
    from cuvis_ai_core.cli.shared.progress import working
    from cuvis_ai_core.data import read_cube
    from cuvis_ai_core.grpc.client.client import Client
    from cuvis_ai_core.grpc.server.tls_and_token import read_authority, read_token
    from cuvis_ai_core.pipeline.file.reader import read_config
    from cuvis_ai_core.registry import NodeRegistry
    from cuvis_ai_core.results.output_metadata import read_class_names
    from cuvis_ai_core.results.run_record import cube_record, input_record

    token = read_token(options["token_file"]).decode() if options["token_file"] is not None else None
    authority = read_authority(options["tls_ca"], "--tls-ca") if options["tls_ca"] is not None else None
    with working(f"Reading {options['cube_path']}"), NodeRegistry() as registry:
        cube = read_cube(
            options["cube_path"],
            registry.cube_readers(),
            index=options["measurement"],
            processing_mode=options["processing_mode"],
        )
    with Client(options["server"], token=token, root_certificates=authority) as client:
        if options["plugins_path"] is not None:
            with working(f"Loading plugins on {options['server']}"):
                client.load_plugins(options["plugins_path"])
        client.load_pipeline(options["pipeline_path"], overrides=options["override"], weights=options["weights_path"])
        metadata = read_config(options["pipeline_path"], options["override"]).metadata
        names = read_class_names(metadata, {address_of(each) for each in client.outputs()})
        beside = _drawn(client, options["pipeline_vis_ext"])
        with (
            working(f"Running on {options['server']}"),
            client.profiled() if options["profile"] else nullcontext() as times,
        ):
            values = client.run(cube, outputs=options["outputs"])
        if times is not None:
            beside["profile.json"] = ("the time of each node", json.dumps({"nodes": times}, indent=2).encode() + b"\n")
        inputs = {
            "server": options["server"],
            "pipeline": input_record(options["pipeline_path"]),
            "overrides": list(options["override"]),
            "plugins": input_record(options["plugins_path"]) if options["plugins_path"] is not None else None,
            "cube": {**cube_record(options["cube_path"], cube), "index": cube.index},
        }
        target = options["output_dir"] or Path(f"{options['pipeline_path'].stem}-output")
        _write(target, values, cube, inputs, names, beside)


def address_of(output: str) -> tuple[str, str]:
    """Return node and port of what is called `node.port` on the wire."""
    node, _, port = output.partition(".")
    return node, port


def _drawn(client: "Client", kind: str | None) -> Beside:
    """Return the picture of the graph, if one is asked for."""
    if kind is None:
        return {}
    picture = client.draw("mermaid" if kind == "md" else kind)
    # What a server sends is opened in a browser, from the user's own disk.
    if not harmless(picture, kind):
        raise ServiceError(f"What the server sends is no picture of a pipeline as {kind}.", code="INTERNAL")
    content = b"```mermaid\n%s\n```\n" % picture.strip() if kind == "md" else picture
    return {f"pipeline.{kind}": ("the graph of the pipeline", content)}


def _write(
    target: Path,
    values: dict[str, Any],
    cube: Any,
    inputs: dict[str, Any],
    names: Mapping[tuple[str, str], Mapping[int, str]],
    beside: Beside,
) -> None:
    """Write what came out, as `restore-pipeline` does."""
    import numpy as np

    from cuvis_ai_core.results.folder import OutputFolder
    from cuvis_ai_core.results.output_files import ARCHIVE, FORMATS, Outputs
    from cuvis_ai_core.results.output_values import collect
    from cuvis_ai_core.results.pictures.picture_types import Meaning
    from cuvis_ai_core.results.pictures.png_files import write_pictures
    from cuvis_ai_core.results.run_record import RECORD, run_record

    results, left_out = collect({address_of(name): value for name, value in values.items()})
    with OutputFolder(target, (ARCHIVE, RECORD)) as output:
        origin = f"{inputs['server']} · {Path(inputs['cube']['file']).name}"
        outputs = Outputs(output.staging, FORMATS[0], cube)
        for result in results:
            place = outputs.place((result.node, result.port), result.array.shape, result.array.dtype)
            place[...] = np.asarray(result.array)
        files = write_pictures(
            output.staging,
            results,
            cube.data.shape[:2],
            lambda address: Meaning(origin=origin, names=names.get(address, {})),
            outputs.file_of,
        )
        outputs.close({})
        for file, (shows, content) in beside.items():
            (output.staging / file).write_bytes(content)
            files.append({"file": file, "shows": shows})
        record = run_record(inputs, [], files, left_out)
        (output.staging / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        output.publish()
    for result in results:
        say_line(f"{result.name}: {result.array.dtype} {'x'.join(map(str, result.array.shape)) or 'one value'}")
    say(f"\nWritten to {target}: {ARCHIVE} holds all arrays, {RECORD} says what ran.")
