"""`headway import`: a file or folder of another program as a model folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.output import note, print_json


def import_(
    source: Annotated[Path, Parameter(help="The file or folder to read; nothing in it is executed.")],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The new model folder.")],
    base: Annotated[
        str | None, Parameter(help="The model an adapter was trained on, where that is not the one it names.")
    ] = None,
    overwrite: Annotated[bool, Parameter(help="Replace a model that stands there.")] = False,
    json: Annotated[bool, Parameter(help="Print one JSON object.")] = False,
) -> None:
    """Make a model folder from another program's files, and say the largest logit difference found between the two.

    Read are folders of Hugging Face, OpenAI's TensorFlow checkpoints of GPT-2, nanoGPT's ckpt.pt, GGUF files of GPT-2
    and LoRA adapters of the peft library, which are added to their base model's weights; which it is, is found from the
    files.

    Example: headway import gpt2-from-elsewhere -o my-gpt2
    """
    from headway.formats.convert import import_model

    conversion = import_model(source, output, base=base, overwrite=overwrite)
    if json:
        print_json(asdict(conversion))
        return
    print(output)
    if conversion.base is not None:
        note(f"The adapter was added to the weights of {conversion.base}.")
    note(f"Checked with {conversion.checked_with}: the logits differ by at most {conversion.largest_difference:.1e}.")
