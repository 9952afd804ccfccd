"""Say whether new data have moved away from validation: predictions and features."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from tlkeras.cli import CliParser
from tlkeras.errors import UserError

MAX_ROWS = 10  # of a table


def main() -> None:
    """Run the command; it exits with 1 where the data have moved."""
    parser = CliParser(description=__doc__)
    parser.add_argument("run", metavar="RUN", help="folder that scripts/train.py wrote")
    parser.add_argument("log", metavar="LOG", help="file that predict.py --log or serve.py --log wrote")
    parser.add_argument(
        "--since", type=str | None, metavar="DATE", help="first day that counts, such as 2026-11-28, in UTC"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    since = parse_date(options.since) if options.since else None
    from tlkeras.run.drift import drift

    result = drift(options.run, Path(options.log).expanduser(), since)
    print(json.dumps(result, indent=2, ensure_ascii=False) if options.json else as_text(result))
    if result["moved"]:
        raise SystemExit(1)


def parse_date(text: str) -> date:
    """Return the date of `--since`."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UserError(f"--since was {text}; it must be a date such as 2026-11-28.") from None


def as_text(result: dict[str, Any]) -> str:
    """Return the comparison in lines of at most 80 columns."""
    unit, days = result["unit"], sorted({result["first_day"], result["last_day"]})
    lines = [
        f"Log:        {result['images']:,} {unit} of {' to '.join(days)}",
        f"Validation: {result['reference_images']:,} {unit}",
        "", *verdict(result), "",
        f"{'predicted':<44}{'validation':>12}{'log':>12}{'PSI':>12}",
    ]  # fmt: skip
    rows = result["outputs"]
    if len(rows) > MAX_ROWS:
        rows = sorted(rows, key=lambda row: -row["psi"])[:MAX_ROWS]
    lines += [row_text(row["label"], row, row["psi"]) for row in rows]
    if more := len(result["outputs"]) - len(rows):
        lines.append(f"… and {more:,} more, with less PSI")
    total, confidence = result["psi"], result["confidence"]
    lines.append(f"{'all':<68}{total['found']:>12.3f}")
    chance = f"By chance alone the PSI would be about {total['by_chance']:.3f}"
    if confidence:
        lines.append(row_text(f"confidence below {confidence['below']:.3f}", confidence))
        lines.append(f"{'confidence at ten levels':<68}{confidence['psi']['found']:>12.3f}")
        chance += f", that of confidence {confidence['psi']['by_chance']:.3f}"
    if result["unsure"]:
        lines.append(row_text("unsure", result["unsure"]))
    return "\n".join([*lines, f"{chance}."])


def row_text(label: str, row: dict[str, Any], psi: float | None = None) -> str:
    """Return a row of the table."""
    name = label if len(label) < 44 else f"{label[:42]}…"
    return f"{name:<44}{row['validation']:>12.3f}{row['log']:>12.3f}" + (f"{psi:>12.3f}" if psi is not None else "")


def verdict(result: dict[str, Any]) -> list[str]:
    """Return whether the data have moved, in what way, and how often that is said by chance."""
    unit, tests = result["unit"], result["tests"]
    if result["moved"] is None:
        return [f"Too few {unit} to tell whether the data have moved: {result['min_images']} are needed."]
    features, outputs = tests["features"], tests["outputs"]
    lines = ["The data have moved." if result["moved"] else "Nothing shows that the data have moved."]
    for name, test, what in (
        ("Features:", features, f"the {unit} look {word(features)} to the model"),
        ("Predictions:", outputs, f"their mix is {word(outputs)}"),
    ):
        lines.append(f"  {name:<12} {what} ({p_text(test['p_value'])}, n = {test['count']:,})")
    if outputs["moved"]:
        top = max(result["outputs"], key=lambda row: row["psi"])
        lines.append(
            f"               above all {top['label'][:25]}: {top['validation']:.3f} before, {top['log']:.3f} now"
        )
    if features["moved"] and outputs["moved"]:
        lines.append(f"  A different mix alone changes the features of all {unit} together, too.")
    rate = f"at most {result['alpha']:.0%} of comparisons say"
    return [*lines, f'Where nothing has moved, {rate} "moved" by chance.']


def word(test: dict[str, Any]) -> str:
    """Return what a test found in a word or two."""
    return "different" if test["moved"] else "as before"


def p_text(p: float) -> str:
    """Return a p-value."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
