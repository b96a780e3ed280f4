"""The names of classes that records say beside their numbers."""

from shardwright.tfrecord.columns import STANDARD, TEXT
from shardwright.tfrecord.example import Example

__all__ = ["ClassTexts"]

_MOST = 100_000  # classes


class ClassTexts:
    """Collects ``image/class/text`` by ``image/class/label``, record by record."""

    def __init__(self) -> None:
        self._texts: dict[int, bytes] = {}
        self._holds = True

    def add(self, example: Example) -> None:
        """Look at one record; one with another name for the same number, or without one, spoils all."""
        numbers, texts = example.get(STANDARD["label"], []), example.get(TEXT, [])
        if not self._holds or len(numbers) != 1 or isinstance(numbers, list):
            self._holds = False
            return
        number = int(numbers[0])
        text = bytes(texts[0]) if isinstance(texts, list) and len(texts) == 1 else None
        if number == -1 and text is None:
            return
        self._holds = text is not None and self._texts.setdefault(number, text) == text and len(self._texts) <= _MOST

    def names(self, offset: int) -> tuple[str, ...] | None:
        """Return the names of all numbers, counted from `offset`; ``None`` if one has none, or two have the same."""
        numbers = range(offset, offset + len(self._texts))
        if not self._holds or not self._texts or self._texts.keys() != set(numbers):
            return None
        try:
            names = tuple(self._texts[number].decode() for number in numbers)
        except UnicodeDecodeError:
            return None
        return names if len(set(names)) == len(names) else None
