"""Make large images smaller before they are stored, to trade size against detail."""

from dataclasses import dataclass

from shardwright.base.errors import ConfigError
from shardwright.base.images.decode import EncodedImage, ImageLike, to_array, to_pil
from shardwright.base.images.masks import to_ids
from shardwright.base.images.probe import probe
from shardwright.base.images.resize import resize

__all__ = ["Shrink"]


@dataclass(frozen=True, slots=True)
class Shrink:
    """Bring the longer or the shorter side of images to at most so many pixels.

    The aspect ratio is kept. An image that is small enough is returned as it
    is, its own bytes untouched.

    Parameters
    ----------
    longer_side, shorter_side : int, optional
        Pixels; at most one of the two.

    Raises
    ------
    ConfigError
        If both are given, or one is not a positive whole number.
    """

    longer_side: int | None = None
    shorter_side: int | None = None

    def __post_init__(self) -> None:
        if self.longer_side is not None and self.shorter_side is not None:
            raise ConfigError("give longer_side= or shorter_side=, not both")
        for name in ("longer_side", "shorter_side"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(f"{name}={value!r} must be a whole number of at least 1")

    def __bool__(self) -> bool:
        return self.longer_side is not None or self.shorter_side is not None

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the new height and width; those given, if they are small enough."""
        side, limit = max(height, width), self.longer_side
        if self.shorter_side is not None:
            side, limit = min(height, width), self.shorter_side
        if limit is None or side <= limit:
            return height, width
        return max(1, round(height * limit / side)), max(1, round(width * limit / side))

    def __call__(self, image: ImageLike, nearest: bool = False) -> ImageLike:
        """Return the image, or a smaller one as an array; `nearest` is for masks."""
        info = probe(image.data) if isinstance(image, EncodedImage) else to_pil(image)
        size = self.size(info.height, info.width)
        if size == (info.height, info.width):
            return image
        pixels = to_ids(image) if nearest else to_array(image, _continuous(image, info.mode))
        return resize(pixels, size, nearest=nearest)


def _continuous(image: ImageLike, mode: str) -> str | None:
    """Return the mode in which neighbouring pixels may be averaged; None: its own."""
    if mode in ("P", "PA"):
        return "RGBA" if to_pil(image).has_transparency_data else "RGB"
    return "L" if mode == "1" else None
