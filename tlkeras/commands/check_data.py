"""Check images before anything is trained on them: damaged files, copies, wrong labels, odd images.

The exit code is 0 where nothing serious is found, 1 where something is, 2 for a mistake in the options. Serious are
files that cannot be read, the same image in two splits or two classes, a group in two splits, and classes with fewer
than 10 images.
"""

import json
import logging
import sys
import textwrap
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.cli import CliParser, output_folder
from tlkeras.errors import UserError

if TYPE_CHECKING:
    from tlkeras.run.check_data import Checked


def main() -> None:
    """Run the command."""
    parser = CliParser(description=__doc__)
    parser.add_argument("data", metavar="DATA", help="data as for scripts/train.py: a folder, a CSV file, …")
    parser.add_argument("--output", type=str | None, metavar="DIR", help="write findings.json, findings.csv and images")
    parser.add_argument("--csv", type=str | None, metavar="FILE", help="write a line for each file that was found")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-labels", action="store_true", help="do not look for wrong labels, which takes longest")
    parser.add_argument(
        "--backbone", default="MobileNetV2", metavar="TEXT", help="for wrong labels (default: MobileNetV2)"
    )
    parser.add_argument("--weights", default="imagenet", metavar="TEXT", help="its weights (default: imagenet)")
    parser.add_argument(
        "--fix", action="store_true",
        help="move unreadable files, and all but one of equal files with one label, into the hidden folder .quarantine",
    )  # fmt: skip
    parser.add_argument("--undo", action="store_true", help="bring back what --fix moved, and stop")
    options = parser.parse_args()
    root = Path(options.data).expanduser()
    if options.fix and options.undo:
        raise UserError("Both --fix and --undo were given; give one of them.")
    if (options.fix or options.undo) and not root.is_dir():
        raise UserError(f"--fix and --undo move files of a folder, and {root} is none. Delete lines of a CSV file.")
    if options.undo:
        from tlkeras.data.quarantine import bring_back

        print(f"Brought back {bring_back(root):,} files.")
        return
    check_outputs(root, options.output, options.csv)
    from tlkeras.run.check_data import check_data, write_csv, write_findings

    if options.json:
        logging.getLogger("tlkeras").setLevel(logging.WARNING)
    start = time.perf_counter()
    checked = check_data(options.data, not options.no_labels, options.backbone, options.weights)
    if options.csv:
        write_csv(checked, Path(options.csv))
    if options.output:
        write_findings(checked, Path(options.output))
    if options.json:
        print(json.dumps([asdict(finding) for finding in checked.findings], indent=2, ensure_ascii=False))
        if checked.skipped:
            print(f"Wrong labels were not looked for. {checked.skipped}", file=sys.stderr)
    else:
        print(findings_table(checked, time.perf_counter() - start))
    if options.fix:
        fix(checked, root, options.json)
    if any(finding.severity == "serious" for finding in checked.findings):
        raise SystemExit(1)


def check_outputs(root: Path, output: str | None, csv: str | None) -> None:
    """Refuse paths that cannot be written to, before the images are read."""
    if output and output_folder(output).resolve().is_relative_to(root.resolve()) and root.is_dir():
        raise UserError(f"--output {output} is inside the data, where it would become a class; give another folder.")
    if csv and not Path(csv).resolve().parent.is_dir():
        raise UserError(f"--csv {csv} is in a folder that does not exist; make it first, or give another file.")
    if csv and Path(csv).is_dir():
        raise UserError(f"--csv {csv} is a folder; give a file.")


def fix(checked: "Checked", root: Path, quiet: bool) -> None:
    """Move files that can go into the quarantine."""
    from tlkeras.data.quarantine import FOLDER, move_away

    names = [example.path.relative_to(root).as_posix() for example in checked.surplus if example.path]
    count = move_away(root, names) if names else 0
    if not quiet and names:
        print(f"Moved {count:,} files into {root / FOLDER}; --undo brings them back.")
    elif not quiet:
        print("There is nothing to move.")


def findings_table(checked: "Checked", seconds: float) -> str:
    """Return findings as lines of 80 columns, the serious ones first."""
    listing = checked.listing
    count = listing.modality.count_noun(len(listing.examples))
    lines = [f"{count}, {len(listing.classes)} classes, {seconds:.1f} s"]
    for note in listing.notes:
        lines += textwrap.wrap(f"Note: {note}", 80, break_on_hyphens=False)
    for finding in checked.findings:
        lines.append(f"{finding.severity:<8} {finding.kind.replace('_', ' '):<28} {len(finding.paths) or '':>7}")
        lines += textwrap.wrap(finding.text, 80, initial_indent=" " * 9, subsequent_indent=" " * 9)
    if checked.skipped:
        lines += textwrap.wrap(f"Wrong labels were not looked for. {checked.skipped}", 80)
    return "\n".join(lines if checked.findings else [*lines, "Nothing was found."])
