"""Compare runs: metrics on the same examples with paired intervals, size and latency."""

import json
from typing import Any

from tlkeras.cli import CliParser, output_folder
from tlkeras.errors import UserError


def main() -> None:
    """Run the command."""
    parser = CliParser(description=__doc__)
    parser.add_argument("runs", metavar="RUN", nargs="*", help="two or more folders that scripts/train.py wrote")
    split_help = "test or validation (default: the test split where a run has one)"
    parser.add_argument("--split", type=str | None, metavar="TEXT", help=split_help)
    parser.add_argument("--output", type=str | None, metavar="DIR", help="folder for compare.png (default: no plot)")
    parser.add_argument("--no-latency", action="store_true", help="do not time the models; needs no TensorFlow")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.split not in (None, "test", "validation"):
        raise UserError(f"--split was {options.split}; it must be test or validation.")
    if len(options.runs) < 2:
        raise UserError("Nothing to compare: give two runs or more. See compare.py --help.")
    folder = output_folder(options.output) if options.output else None
    from tlkeras.run.compare import compare

    if not options.no_latency:
        from tlkeras.runtime import load_tensorflow

        load_tensorflow()
    result = compare(options.runs, options.split, not options.no_latency)
    if folder:
        from tlkeras.evaluation.compare import plot_comparison

        folder.mkdir(parents=True, exist_ok=True)
        plot_comparison(result["runs"], folder / "compare.png")
    print(json.dumps(result, indent=2, ensure_ascii=False) if options.json else as_text(result))
    if folder and not options.json:
        print(f"Plot: {folder / 'compare.png'}")


def as_text(result: dict[str, Any]) -> str:
    """Return the comparison as tables of at most 80 columns; names of runs are cut at their start."""
    first = "mae" if result["task"] == "regression" else "accuracy"
    names = [first, *(["macro_f1"] if first == "accuracy" else []), "loss"]
    lines = [f"{number}  {shorten(row['run'], 40)}: {shorten(row['data'], 15)}, {shorten(row['backbone'], 16)}"
             for number, row in enumerate(result["runs"], start=1)]  # fmt: skip
    by = "" if result["joined_by"] == "digest" else ", matched by name as sizes differ"
    used = " and ".join(sorted(set(result["splits"])))
    lines += ["", f"{result['count']:,} {used} {result['unit']} that every run held out{by}:", ""]
    lines.append(f"   {first:>8}  {'95% CI':<13}" + "".join(f"{name:>9}" for name in names[1:])
                 + f"{'params':>10}{'MB':>8}{'ms':>8}")  # fmt: skip
    for number, row in enumerate(result["runs"], start=1):
        interval = row["intervals_95"][first]
        between = f"{interval[0]:.4g}–{interval[1]:.4g}" if interval else "–"
        speed = "–" if row["milliseconds"] is None else f"{row['milliseconds']:.1f}"
        lines.append(f"{number:<2} {row[first]:>8.4g}  {between:<13}"
                     + "".join(f"{row[name]:>9.4g}" for name in names[1:])
                     + f"{row['parameters'] / 1e6:>9.2f}M{row['megabytes']:>8.1f}{speed:>8}")  # fmt: skip
    best = next(number for number, row in enumerate(result["runs"], start=1) if row["difference"] is None)
    lines += ["", f"Difference from run {best}, the best by {first}, with its 95% CI:", ""]
    for number, row in enumerate(result["runs"], start=1):
        for name in names if row["difference"] else []:
            p, interval = row["difference"].get("mcnemar_p"), row["difference"]["intervals_95"][name]
            test = "" if p is None or name != "accuracy" else f"  McNemar p = {p:.3g}"
            low, high = interval or (0, 0)
            between = f"  ({low:+.4f} to {high:+.4f})" if interval else ""
            clear = "" if low <= 0 <= high else "  (0 is outside)"
            lines.append(f"{number:<2} {name:<9}{row['difference'][name]:>+9.4f}{between}{test}{clear}")
    return "\n".join(lines)


def shorten(text: str, width: int) -> str:
    """Return the end of a text that is too wide."""
    return text if len(text) <= width else f"…{text[1 - width :]}"
