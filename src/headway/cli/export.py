"""`headway export`: a model folder as other programs read it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from headway.cli.output import note, print_json


def export(
    model: Annotated[str, Parameter(help="A model folder, or the name of a bundled model.")],
    /,
    *,
    to: Annotated[
        Literal["huggingface", "tensorflow", "nanogpt", "gguf"], Parameter(help="The kind of folder or file to write.")
    ],
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The new folder; with --to gguf the new file.")],
    dtype: Annotated[str | None, Parameter(help="float32, bfloat16 or float16; default: as stored.")] = None,
    type: Annotated[
        Literal["f32", "f16", "q8_0", "q4_0"] | None,
        Parameter(help="How --to gguf writes the matrices; default: f32."),
    ] = None,
    overwrite: Annotated[bool, Parameter(help="Replace a model that stands there.")] = False,
    json: Annotated[bool, Parameter(help="Print one JSON object.")] = False,
) -> None:
    """Write a model for other programs, and say the largest logit difference found between the two.

    Example: headway export my-model --to huggingface -o for-transformers
    """
    from headway.formats.convert import export_model

    conversion = export_model(model, to, output, dtype=dtype, tensor_type=type, overwrite=overwrite)
    if json:
        print_json(asdict(conversion))
        return
    print(output)
    note(f"Checked with {conversion.checked_with}: the logits differ by at most {conversion.largest_difference:.1e}.")
