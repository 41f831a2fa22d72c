"""Draws the losses of a run."""

import io
from collections.abc import Iterable

MAX_POINTS = 1000
SMOOTHING = 0.9


def draw(records: Iterable[dict[str, float]], title: str) -> bytes:
    """A PNG of every loss over the steps: raw values faint, smoothed ones strong; the generators' losses on top."""
    # Imported here: it takes a third of the memory that an API process may have, and few processes need it.
    from matplotlib.figure import Figure

    rows = thinned(list(records))
    names = sorted({name for row in rows for name in row if name not in ("step", "seconds")})
    groups = by_side(names)
    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(title)
    for axes, group, label in zip(figure.subplots(2, 1), groups, ("generators", "discriminators"), strict=True):
        for name in group:
            steps = [row["step"] for row in rows if name in row]
            values = [row[name] for row in rows if name in row]
            (line,) = axes.plot(steps, smoothed(values), label=name, linewidth=1.5)
            axes.plot(steps, values, color=line.get_color(), alpha=0.2, linewidth=0.7)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if group:
            axes.legend(fontsize="small", ncols=4)
    axes.set_xlabel("step")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def by_side(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The names of the generators' losses and of the discriminators' losses, of a run of either family."""
    sides: tuple[list[str], list[str]] = ([], [])
    for name in names:
        sides[name.startswith(("d_", "D_"))].append(name)
    return sides


def thinned(rows: list[dict[str, float]], at_most: int = MAX_POINTS) -> list[dict[str, float]]:
    """At most ``at_most`` evenly spaced rows, including the last one."""
    if len(rows) <= at_most:
        return rows
    stride = -(-len(rows) // at_most)
    return rows[(len(rows) - 1) % stride :: stride]


def smoothed(values: list[float]) -> list[float]:
    """The exponential moving average of the values."""
    out: list[float] = []
    for value in values:
        out.append(SMOOTHING * out[-1] + (1 - SMOOTHING) * value if out else value)
    return out
