"""The results as tables in a Markdown file."""

import re
from collections.abc import Sequence
from pathlib import Path

from bench import plot
from bench.results import OURS, Found, Results

_MARKED = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)
_EMPTY = "# Benchmarks\n\n<!-- results -->\n<!-- /results -->\n"


def write(results: Results, directory: Path) -> None:
    """Puts the tables into benchmarks.md between its markers, what stands around them stays; and draws the plot."""
    path = directory / "benchmarks.md"
    text = path.read_text() if path.exists() else _EMPTY
    path.write_text(_MARKED.sub(lambda match: f"{match[1]}\n{tables(results)}\n\n{match[2]}", text))
    (directory / "benchmarks.svg").write_text(plot.draw(results))


def tables(results: Results) -> str:
    """Everything, budgets first."""
    founds, names = results.all(), list(results.about["runtimes"])
    with_budget = [found for found in founds if found.quantity.budget]
    parts = [_about(results), "### Budgets", _rows(with_budget, names, whole_titles=True)]
    for measure in dict.fromkeys(found.quantity.measure for found in founds):
        of_measure = [found for found in founds if found.quantity.measure == measure]
        parts.append(f"### {measure[0].upper()}{measure[1:]}")
        parts.append(_by_size(of_measure, names) if of_measure[0].quantity.size else _rows(of_measure, names))
    return "\n\n".join(parts)


def _about(results: Results) -> str:
    about = results.about
    runtimes = " and ".join(f"{name} {version}" for name, version in about["runtimes"].items())
    quick = "A quick run: few samples. " if about["quick"] else ""
    return (
        f"{quick}{about['date']}: {about['cpus']} × {about['cpu']}, {about['memory_gib']} GiB, Linux "
        f"{about['kernel']}, Python {about['python']}, load {about['load']} at the start. {runtimes}; conmon "
        f"{about['conmon']}; both on {about['oci']} {about[about['oci']]}. Medians; in brackets the 99th percentile, "
        "or the largest where there are fewer than a hundred samples."
    )


def _rows(founds: Sequence[Found], names: Sequence[str], *, whole_titles: bool = False) -> str:
    lines = [
        f"| what | {' | '.join(names)} | ratio | budget | met |",
        f"| --- | {'---: | ' * len(names)}---: | ---: | --- |",
    ]
    for found in founds:
        met = {True: "yes", False: "**no**", None: ""}[found.met]
        cells = " | ".join(_cell(found, name) for name in names)
        what = found.whole_title if whole_titles else found.quantity.title
        lines.append(f"| {what} | {cells} | {_ratio(found)} | {found.quantity.budget} | {met} |")
    return "\n".join(lines)


def _by_size(founds: Sequence[Found], names: Sequence[str]) -> str:
    """A line for each quantity and runtime, a column for each size."""
    sizes = sorted({found.quantity.size for found in founds})
    by_key = {(found.quantity.title, found.quantity.size): found for found in founds}
    lines = [f"| what | | {' | '.join(f'{size:,}' for size in sizes)} |", f"| --- | --- |{' ---: |' * len(sizes)}"]
    for title in dict.fromkeys(found.quantity.title for found in founds):
        of_title = [by_key.get((title, size)) for size in sizes]
        for name in names:
            cells = [_cell(found, name) if found else "" for found in of_title]
            lines.append(f"| {title if name == OURS else ''} | {name} | {' | '.join(cells)} |")
        lines.append(f"| | ratio | {' | '.join(_ratio(found) if found else '' for found in of_title)} |")
    return "\n".join(lines)


def _ratio(found: Found) -> str:
    return f"{found.ratio:.2f}" if found.ratio is not None else ""


def _cell(found: Found, name: str) -> str:
    median, slow = found.median(name), found.p99(name)
    if median is None or slow is None:
        return "–"
    many = len(found.samples[name]) > 1
    return f"{number(median)} {found.quantity.unit}" + (f" ({number(slow)})" if many else "")


def number(value: float) -> str:
    """With as many digits as mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
