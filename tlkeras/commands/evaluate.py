"""Evaluate a trained run: metrics with their confidence intervals and count, and those of each class."""

import json
from typing import Any

from tlkeras.cli import CliParser


def main() -> None:
    """Run the command."""
    parser = CliParser(description=__doc__)
    parser.add_argument("run", metavar="RUN", help="folder that scripts/train.py wrote")
    data_help = "data as for training, with some of the run's classes (default: the run's test split)"
    parser.add_argument("--data", type=str | None, metavar="TEXT", help=data_help)
    # [part: tfds]
    parser.add_argument(
        "--data-dir", type=str | None, metavar="TEXT",
        help="where TensorFlow Datasets keeps its datasets, if elsewhere now",
    )  # fmt: skip
    # [/part]
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="examples per step (default: 32)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    from tlkeras.run.evaluate import evaluate_run

    result = evaluate_run(options.run, options.data, options.batch_size, options.as_dict().get("data_dir"))
    run, metrics = result[0], {name: split.metrics for name, split in result[2].items()}
    if options.json:
        print(json.dumps(metrics, indent=2, ensure_ascii=False))
    else:
        print_metrics(metrics, run.modality.plural)
        if options.data is None and "validation" in metrics:
            print("Note: validation chose the epoch, so its metrics are slightly optimistic.")
    # [part: report]
    from tlkeras.run.report import report_evaluation

    path = report_evaluation(*result, options.data)
    if path and not options.json:
        print(f"Report: {path}")
    # [/part]


def print_metrics(metrics: dict[str, dict[str, Any]], plural: str) -> None:
    """Print the metrics of each split, and those of its classes; the examples are called so."""
    from tlkeras.evaluation.metrics import class_table, format_metrics, metrics_table
    from tlkeras.evaluation.thresholds import format_accepted

    for split, values in metrics.items():
        print(f"{split.capitalize()}: {format_metrics(values, plural)}")
        if "accepted" in values:
            print(f"Accepted: {format_accepted(values['accepted'], plural)}")
        print(metrics_table(values))
        if "classes" in values:
            print(class_table(values["classes"]))
