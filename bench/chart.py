"""Bar charts as SVG files, for the documentation."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

WIDTH, LABELS, BAR, GAP = 720, 190, 22, 8  # px
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#57606a}.heading{font-weight:600}"
    ".title{font-size:16px;font-weight:600}.first{fill:#2f6fb0}.other{fill:#a7b0ba}"
)


def draw_bars(path: Path, title: str, groups: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> None:
    """Write horizontal bars, each group with a heading and a scale of its own, and the first bar of a group in colour.

    Args:
        groups: a heading and its bars, each a label and a value above 0.
    """
    y = 34
    shapes = []
    for heading, rows in groups:
        shapes.append(f'<text x="0" y="{y + 14}" class="heading">{escape(heading)}</text>')
        y += 24
        largest = max(value for _, value in rows)
        for n, (label, value) in enumerate(rows):
            length = max(1, round((WIDTH - LABELS - 80) * value / largest))
            kind = "first" if n == 0 else "other"
            shapes += [
                f'<text x="{LABELS - 10}" y="{y + BAR - 6}" text-anchor="end">{escape(label)}</text>',
                f'<rect x="{LABELS}" y="{y}" width="{length}" height="{BAR}" class="{kind}"/>',
                f'<text x="{LABELS + length + 8}" y="{y + BAR - 6}">{value:,.3g}</text>',
            ]
            y += BAR + GAP
        y += GAP
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img" aria-label="{escape(title)}">\n'
        f'<style>{STYLE}</style>\n<text x="0" y="18" class="title">{escape(title)}</text>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )
