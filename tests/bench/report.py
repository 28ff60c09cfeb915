"""The results as a table in a Markdown file."""

import re
from collections.abc import Sequence
from pathlib import Path

from bench.results import Found, Results

_MARKED = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)
_EMPTY = "# Benchmarks\n\n<!-- results -->\n<!-- /results -->\n"


def write(results: Results, directory: Path) -> None:
    """Puts the table into benchmarks.md between its markers; what stands around it stays."""
    path = directory / "benchmarks.md"
    text = path.read_text() if path.exists() else _EMPTY
    path.write_text(_MARKED.sub(lambda match: f"{match[1]}{table(results)}\n{match[2]}", text))


def table(results: Results) -> str:
    """Everything, budgets first."""
    founds = results.all()
    with_budget = [found for found in founds if found.quantity.budget]
    others = [found for found in founds if not found.quantity.budget]
    names = list(results.about["runtimes"])
    parts = [_about(results), "### Budgets", _rows(with_budget, names)]
    measures = dict.fromkeys(found.quantity.measure for found in others)
    for measure in measures:
        parts += [f"### {measure}", _rows([found for found in others if found.quantity.measure == measure], names)]
    return "\n\n".join(parts)


def _about(results: Results) -> str:
    about = results.about
    runtimes = " and ".join(f"{name} {version}" for name, version in about["runtimes"].items())
    return (
        f"{about['date']}: {about['cpus']} × {about['cpu']}, {about['memory_gib']} GiB, Linux {about['kernel']}, "
        f"Python {about['python']}, load {about['load']} at the start. {runtimes}; conmon {about['conmon']}; both on "
        f"{about['oci']} {about[about['oci']]}. Medians, and in brackets the 99th percentile, or the slowest where "
        "there are fewer than a hundred samples."
    )


def _rows(founds: Sequence[Found], names: Sequence[str]) -> str:
    lines = [
        f"| what | {' | '.join(names)} | ratio | budget | met |",
        f"| --- | {'---: | ' * len(names)}---: | ---: | --- |",
    ]
    for found in founds:
        met = {True: "yes", False: "**no**", None: ""}[found.met]
        ratio = f"{found.ratio:.2f}" if found.ratio is not None else ""
        cells = " | ".join(_cell(found, name) for name in names)
        what = f"{found.quantity.measure}: {found.quantity.title}" if found.quantity.budget else found.quantity.title
        lines.append(f"| {what} | {cells} | {ratio} | {found.quantity.budget} | {met} |")
    return "\n".join(lines)


def _cell(found: Found, name: str) -> str:
    median, slow = found.median(name), found.p99(name)
    if median is None or slow is None:
        return "–"
    many = len(found.samples[name]) > 1
    return f"{_number(median)} {found.quantity.unit}" + (f" ({_number(slow)})" if many else "")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
