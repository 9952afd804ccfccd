"""Judge a trained run: accuracy with its interval and count, and the figures of each class."""

import json

from tlkeras.cli import run_main
from tlkeras.cli import CliParser
from tlkeras.run.evaluate import evaluate
from tlkeras.run.load_run import load_run


def main() -> None:
    parser = CliParser(description=__doc__)
    parser.add_argument("run", metavar="RUN", help="folder that scripts/train.py wrote")
    parser.add_argument(
        "--data",
        type=str | None,
        metavar="TEXT",
        help="folder, CSV, tfds:NAME or digits with some of the run's classes (default: what it kept for its test)",
    )
    parser.add_argument(
        "--data-dir",
        type=str | None,
        metavar="TEXT",
        help="where TensorFlow Datasets keeps its data sets, if elsewhere now",
    )
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="examples in a step")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    figures = evaluate(options.run, options.data, options.batch_size, options.data_dir)
    if options.json:
        print(json.dumps(figures, indent=2, ensure_ascii=False))
        return
    from tlkeras.evaluation.metrics import class_table, format_metrics

    form = load_run(options.run).form.name
    for split, values in figures.items():
        print(f"{split.capitalize()}: {format_metrics(values, form)}")
        if "classes" in values:
            print(class_table(values["classes"]))


if __name__ == "__main__":
    run_main(main)
