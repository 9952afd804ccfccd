"""List what stopped runs left, or remove it: a finished run is never touched."""

import re
import shutil
from pathlib import Path

from tlkeras.cli import CliParser
from tlkeras.errors import UserError
from tlkeras.io.locks import is_locked
from tlkeras.run.folder import RUNS, checkpoints, hidden

LEFT = re.compile(r"\.(.+)\.(partial|lock|replaced-\d+)")


def main() -> None:
    """Run the command."""
    parser = CliParser(description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", help=f"where runs were written (default: {RUNS})")
    parser.add_argument("--remove", action="store_true", help="remove what is listed")
    options = parser.parse_args()
    for folder in map(Path, options.folders or [RUNS]):
        if options.folders and not folder.is_dir():
            raise UserError(f"There is no folder {folder}. Give one that runs were written to.")
        found = left_in(folder)
        print("\n".join(f"{path}: {what}" for path, what in found) or f"Stopped runs left nothing in {folder}.")
        for path, _ in found if options.remove else []:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if found:
            print(f"Removed {len(found)}." if options.remove else "Give --remove to remove them.")


def left_in(folder: Path) -> list[tuple[Path, str]]:
    """Return what stopped runs left in a folder, each with what it is; nothing of runs that are being written."""
    found = []
    for path in sorted(folder.glob(".*")):
        match = LEFT.fullmatch(path.name)
        run = folder / match[1] if match else folder
        if not match or is_locked(hidden(run, "lock")):
            continue
        if path.is_file() and match[2] == "lock" and not path.stat().st_size:
            found.append((path, "lock of a run that was killed"))
        elif match[2] == "partial" and (path / "log.txt").is_file():
            epochs = max((int(file.name.partition("-")[0]) for file in checkpoints(path)), default=0)
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
            can = f"saved {epochs} times, --run-dir {run} --resume resumes it" if epochs else "not resumable"
            found.append((path, f"unfinished run, {size:,.1f} MB, {can}"))
        elif match[2].startswith("replaced") and (path / "config.yaml").is_file() and run.exists():
            found.append((path, f"the run that {run} replaced"))
    return found
