"""Write a comparison as LaTeX tables, with booktabs rules."""

from collections.abc import Sequence
from pathlib import Path

from spg_lightning.comparison.captions import MINUS, difference_rows, significance_note, table_notes
from spg_lightning.comparison.compare import Comparison
from spg_lightning.comparison.summary import METRICS, Row

SPECIAL = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}  # other signs in LaTeX's default font encoding
    | {"±": r"$\pm$", MINUS: "$-$", "\n": " "}
)


def write_latex(path: Path, comparison: Comparison) -> None:
    """Write the table and the differences, for a paper to include. The columns are those that any row has a number for."""
    metrics = comparison.metrics
    header = [*map(escape, ("variant", "score map", "n")), *(escape(METRICS[m]) for m in metrics)]
    lines = [_line([*_name(row), *(_cell(row, m) for m in metrics)]) for row in comparison.rows]
    floors = [index for index, row in enumerate(comparison.rows) if row.kind == "floor"]
    if floors:
        lines.insert(floors[0], r"\midrule")
    text = ["% needs \\usepackage{booktabs}", *_table("llr", header, lines, " ".join(table_notes(comparison)))]
    if comparison.differences:
        header = ["variant", "n", *(escape(METRICS[m]) for m in metrics)]
        lines = []
        for label, n, pairs in difference_rows(comparison, metrics):
            lines.append(_line([escape(label), str(n), *(escape(pair[0]) if pair else "-" for pair in pairs)]))
            if any(pair and pair[1] for pair in pairs):
                lines.append(_line(["", "", *(escape(pair[1]) if pair else "" for pair in pairs)]))
        text += ["", *_table("lr", header, lines, significance_note(comparison))]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")


def escape(text: str) -> str:
    """Return text as LaTeX that prints it."""
    return text.translate(SPECIAL)


def _name(row: Row) -> list[str]:
    settings = f" \\texttt{{{escape(' '.join(row.settings))}}}" if row.settings else ""
    return [escape(row.title) + settings, escape(row.origin), str(row.n)]


def _cell(row: Row, metric: str) -> str:
    text = escape(row.text(metric))
    return f"\\textbf{{{text}}}" if metric in row.best else text


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _table(left: str, header: Sequence[str], lines: Sequence[str], caption: str) -> list[str]:
    columns = left + "r" * (len(header) - len(left))
    body = [r"\toprule", _line(header), r"\midrule", *lines, r"\bottomrule"]
    tabular = [f"\\begin{{tabular}}{{{columns}}}", *(f"  {line}" for line in body), r"\end{tabular}"]
    inside = [r"\centering", f"\\caption{{{escape(caption)}}}", *tabular]
    return [r"\begin{table}", *(f"  {line}" for line in inside), r"\end{table}"]
