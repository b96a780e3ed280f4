"""Pictures of trainings, as files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.common.config import need

__all__ = ["figure", "plot_history", "save_figure"]


def figure(*size: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """Return a figure and its axes, drawn to files only."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise need("Matplotlib") from error
    made = Figure(figsize=size or (8, 4), layout="constrained")
    FigureCanvasAgg(made)
    return made, made.subplots(rows, columns)


def save_figure(made: Any, path: Path) -> None:
    """Write a picture; the ending of its name says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made.savefig(path, dpi=120)


def plot_history(history: Sequence[Mapping[str, float]], names: Sequence[str], path: Path, title: str = "") -> None:
    """Draw values of all epochs, each with its validation value, side by side.

    Parameters
    ----------
    history : sequence of dict
        The values of each epoch, ``epoch`` among them.
    names : sequence of str
        Which: ``loss`` is drawn together with ``val_loss``.
    path : path
        Of the picture; its ending says the format.
    """
    made, axes = figure(5 * len(names), 4, columns=len(names))
    epochs = [values["epoch"] for values in history]
    for name, axis in zip(names, [axes] if len(names) == 1 else axes, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if history and key in history[0]:
                axis.plot(epochs, [values[key] for values in history], marker="o", label=label)
        axis.set_xlabel("epoch")
        axis.set_ylabel(name)
        axis.legend()
    made.suptitle(title)
    save_figure(made, path)
