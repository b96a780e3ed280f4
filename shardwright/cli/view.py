"""``shardwright view``: some samples with their labels on one sheet."""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shardwright.base.errors import ConfigError
from shardwright.cli.console import say
from shardwright.cli.words import counted

__all__ = ["EXAMPLES", "configure", "contact_sheet", "run"]

EXAMPLES = """\
  shardwright view out
  shardwright view out --split validation --count 100 --seed 7 --output sheet.png
"""

OUTPUT_HELP = ".png or .jpg file to write (default: sheet.png)"
TILE, CAPTION, GAP = 160, 18, 6  # pixels


def configure(parser: argparse.ArgumentParser, _arguments: list[str]) -> None:
    """Add the arguments."""
    parser.add_argument("dataset_path", metavar="PATH", type=Path, help="the OUTPUT of a conversion")
    parser.add_argument("--split", metavar="NAME", default="train", help="default: train")
    parser.add_argument(
        "--data-path", type=Path, metavar="PATH", help="folder of the shard files, if they lie elsewhere"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", default=Path("sheet.png"), help=OUTPUT_HELP)
    parser.add_argument("--count", type=int, default=25, metavar="N", help="samples (default: 25)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another number, other samples (default: 0)")


def run(options: argparse.Namespace) -> None:
    """Draw the sheet and write it."""
    from shardwright.base.reader import open_reader

    if not 1 <= options.count <= 10_000:
        raise ConfigError(f"--count {options.count} must be from 1 to 10000")
    if not options.output.absolute().parent.is_dir():
        raise ConfigError(f"--output {options.output}: its folder does not exist; make it first")
    reader = open_reader(options.dataset_path, split=options.split, mode="RGB", data_path=options.data_path)
    indices = random.Random(options.seed).sample(range(len(reader)), min(options.count, len(reader)))  # noqa: S311
    kind = "JPEG" if options.output.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    contact_sheet(reader, sorted(indices)).save(options.output, format=kind)
    say(f"{options.output}: {counted(len(indices), 'sample')} of split {options.split}")


def contact_sheet(reader: Any, indices: Sequence[int]) -> Any:
    """Draw samples side by side, or raise `ConfigError`."""
    from PIL import Image, ImageDraw, ImageFont

    field = next((f for f in reader.fields if f.is_image), None)
    if field is None:
        names = ", ".join(f.name for f in reader.fields)
        raise ConfigError(f"split {reader.split!r} has no image field, only {names}; there is nothing to draw")
    columns = min(len(indices), max(1, round(len(indices) ** 0.5)))
    rows = -(-len(indices) // columns)
    width, height = TILE + GAP, TILE + CAPTION + GAP
    sheet = Image.new("RGB", (GAP + columns * width, GAP + rows * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for place, index in enumerate(indices):
        left, top = GAP + place % columns * width, GAP + place // columns * height
        tile = _thumbnail(reader, field, index)
        sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
        draw.text((left, top + TILE + 2), _fitting(_caption(reader, index), draw, font), "black", font)
    return sheet


def _thumbnail(reader: Any, field: Any, index: int) -> Any:
    from PIL import Image

    image = reader.read_values([index], [field.name])[field.name][0].convert("RGB")
    scale = min(TILE / image.width, TILE / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR if scale < 1 else Image.Resampling.NEAREST)


def _caption(reader: Any, index: int) -> str:
    label = reader.stored.label
    if label is None or not (label.is_scalar or label.kind == "text"):
        return f"#{index}"
    value = reader.read_values([index], [label.name])[label.name][0]
    known = label.is_scalar and 0 <= value < len(reader.classes)
    return f"#{index} {reader.classes[value] if known else value}"


def _fitting(text: str, draw: Any, font: Any) -> str:
    """Return as much of a text as a tile is wide, on one line."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    if draw.textlength(text, font) <= TILE:
        return text
    while text and draw.textlength(f"{text}...", font) > TILE:
        text = text[:-1]
    return f"{text}..."
