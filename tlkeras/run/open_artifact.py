"""What an exported model gives, for whatever takes a run."""

from tlkeras.errors import UserError
from tlkeras.export.artifact import Session, load_artifact, open_session
from tlkeras.run.load_run import Run


def open_artifact(run: Run) -> tuple[int, int, Session]:
    """Return how many outputs and features it has, and what computes them; refuse one that is not of its labels."""
    info = load_artifact(run.path)
    size = next(iter(info.outputs.values()))
    if size != (len(run.classes) or 1):
        raise UserError(
            f"{run.path} has {size} outputs and labels.json beside it names {len(run.classes)} of them. They are not "
            "of one export; export it again."
        )
    return size, info.num_features, open_session(run.path)
