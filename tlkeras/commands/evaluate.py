"""Evaluate a trained run: metrics with their confidence intervals and count, and those of each class."""

import json

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
    from tlkeras.run.evaluate import evaluate
    from tlkeras.run.load_run import load_run

    metrics = evaluate(options.run, options.data, options.batch_size, options.as_dict().get("data_dir"))
    if options.json:
        print(json.dumps(metrics, indent=2, ensure_ascii=False))
        return
    from tlkeras.evaluation.metrics import class_table, format_metrics, metrics_table
    from tlkeras.evaluation.thresholds import format_accepted

    plural = load_run(options.run).modality.plural
    for split, values in metrics.items():
        print(f"{split.capitalize()}: {format_metrics(values, plural)}")
        if "accepted" in values:
            print(f"Accepted, not unsure: {format_accepted(values['accepted'], plural)}")
        print(metrics_table(values))
        if "classes" in values:
            print(class_table(values["classes"]))
