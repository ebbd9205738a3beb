"""`cuvis-ai remote`: what `restore-pipeline` does with a cube, done by a server."""

import json
from pathlib import Path
from typing import Any

import click

from cuvis_ai_core.cli.errors import Guarded
from cuvis_ai_core.cli.options import HELP_NAMES, path_option, plugins_option, shared_options
from cuvis_ai_core.cli.output import say


@click.command(cls=Guarded, context_settings=HELP_NAMES)
@click.option("--server", required=True, metavar="ADDRESS", envvar="CUVIS_SERVER", help="host:port, or unix:/path.")
@path_option("--pipeline-path", required=True, description="Pipeline file of this machine.")
@path_option("--cube-path", required=True, description="Cube of this machine to run the pipeline on.")
@plugins_option
@click.option("--measurement", type=click.IntRange(min=0), metavar="NUMBER", help="Which cube of several, from 0.")
@click.option("--processing-mode", metavar="MODE", help="What to make of a session file: Raw, Reflectance, ...")
@path_option("--output-dir", description="Folder for the results.  [default: <stem of the pipeline>-output]")
@path_option("--weights-path", description="Weights (.pt, .safetensors).  [default: those beside the pipeline file]")
@click.option("--override", multiple=True, metavar="KEY=VALUE", help="Replace a value: nodes.NAME.params.KEY=VALUE.")
@click.option("--output", "outputs", multiple=True, metavar="NODE.PORT", help="Output that is wanted.  [default: all]")
@path_option("--token-file", description="File with the token of the server.")
@path_option("--tls-ca", description="Authority of the server's certificate (PEM); TLS is used then.")
@shared_options
def remote(**options: Any) -> None:
    """Run a pipeline on a cube on a server, and write the results here.

    The pipeline, its weights and the cube are sent; the manifest's plugins are loaded by the server, where their paths
    are looked up. Arrays go to outputs.npz, maps and masks to PNG files, and what ran to run.json.
    """
    from cuvis_ai_core.cli.progress import working
    from cuvis_ai_core.data import read_cube
    from cuvis_ai_core.grpc.client import Client
    from cuvis_ai_core.registry import NodeRegistry
    from cuvis_ai_core.results.record import cube_record, input_record

    with working(f"Reading {options['cube_path']}"), NodeRegistry() as registry:
        cube = read_cube(
            options["cube_path"],
            registry.cube_readers(),
            index=options["measurement"],
            processing_mode=options["processing_mode"],
        )
    token, authority = options["token_file"], options["tls_ca"]
    with Client(
        options["server"],
        token=token.read_text(encoding="utf-8").strip() if token is not None else None,
        root_certificates=authority.read_bytes() if authority is not None else None,
    ) as client:
        if options["plugins_path"] is not None:
            with working(f"Loading plugins on {options['server']}"):
                client.load_plugins(options["plugins_path"])
        client.load_pipeline(options["pipeline_path"], overrides=options["override"], weights=options["weights_path"])
        with working(f"Running on {options['server']}"):
            values = client.run(cube, outputs=options["outputs"])
        inputs = {
            "server": options["server"],
            "pipeline": input_record(options["pipeline_path"]),
            "overrides": list(options["override"]),
            "plugins": input_record(options["plugins_path"]) if options["plugins_path"] is not None else None,
            "cube": {**cube_record(options["cube_path"], cube), "index": cube.index},
        }
        target = options["output_dir"] or Path(f"{options['pipeline_path'].stem}-output")
        _write(target, values, cube, inputs)


def _write(target: Path, values: dict[str, Any], cube: Any, inputs: dict[str, Any]) -> None:
    """Write what came out, as `restore-pipeline` does."""
    import numpy as np

    from cuvis_ai_core.results.folder import OutputFolder
    from cuvis_ai_core.results.outputs import ARCHIVE, FORMATS, Outputs
    from cuvis_ai_core.results.pictures.drawn import Meaning
    from cuvis_ai_core.results.record import RECORD, run_record
    from cuvis_ai_core.results.values import collect, write_pictures

    addressed = {(name.partition(".")[0], name.partition(".")[2]): value for name, value in values.items()}
    results, left_out = collect(addressed)
    with OutputFolder(target, (ARCHIVE, RECORD)) as output:
        origin = f"{inputs['server']} · {Path(inputs['cube']['file']).name}"
        outputs = Outputs(output.staging, FORMATS[0], cube)
        for result in results:
            place = outputs.place((result.node, result.port), result.array.shape, result.array.dtype)
            place[...] = np.asarray(result.array)
        files = write_pictures(
            output.staging, results, cube.data.shape[:2], lambda _: Meaning(origin=origin), outputs.file_of
        )
        outputs.close({})
        record = run_record(inputs, [], files, left_out)
        (output.staging / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        output.publish()
    for result in results:
        say(f"{result.name}: {result.array.dtype} {'x'.join(map(str, result.array.shape)) or 'one value'}")
    say(f"\nWritten to {target}: {ARCHIVE} holds all arrays, {RECORD} says what ran.")
