"""The budgets as a picture: what Podwright takes as a part of what the other runtime does, and what it may take."""

from xml.sax.saxutils import escape

from bench.results import Found, Results

WIDTH, LEFT, SCALE, LINE = 1120, 590, 400, 26
"""Pixels: of the picture, of the texts, of the bar of the other runtime, and between two bars."""


def draw(results: Results) -> str:
    """An SVG document."""
    founds = [found for found in results.all() if found.ratio is not None and found.quantity.part is not None]
    height = 64 + LINE * len(founds)
    shapes = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        "<style>text{font-size:13px;fill:#222} .quiet{fill:#777}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        _text(LEFT, 20, "what Podwright takes of what containerd does; the line is the budget", "quiet"),
    ]
    for number, found in enumerate(founds):
        shapes += _bar(found, 36 + LINE * number)
    for part in (0, 0.25, 0.5, 0.75, 1):
        shapes.append(_text(LEFT + part * SCALE, height - 10, f"{part:.0%}", "quiet", "middle"))
    return "\n".join([*shapes, "</svg>\n"])


def _bar(found: Found, top: int) -> list[str]:
    ratio, part = found.ratio or 0, found.quantity.part or 0
    shown = min(ratio, 1.2)
    middle = top + LINE // 2
    colour = "#2b8a57" if found.met else "#c0582b"
    line = LEFT + part * SCALE
    return [
        _text(LEFT - 8, middle + 4, found.whole_title, anchor="end"),
        f'<rect x="{LEFT}" y="{top + 4}" width="{SCALE}" height="{LINE - 8}" fill="#e4e4e4"/>',
        f'<rect x="{LEFT}" y="{top + 4}" width="{shown * SCALE:.0f}" height="{LINE - 8}" fill="{colour}"/>',
        f'<path d="M{line:.0f} {top + 1}V{top + LINE - 1}" stroke="#222" stroke-width="2"/>',
        _text(LEFT + max(shown, 1.0) * SCALE + 8, middle + 4, f"{ratio:.2f}"),
    ]


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
