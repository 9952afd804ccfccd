"""Judge a trained run: accuracy with its interval and count, and the figures of each class."""

import json

from tlkeras.options import SentenceParser, program
from tlkeras.run.evaluate import evaluate


def main() -> None:
    parser = SentenceParser(description=__doc__)
    parser.add_argument("run", help="folder that scripts/train.py wrote")
    parser.add_argument(
        "--data", type=str | None, help="folder, CSV, tfds:NAME or digits (default: the run's own test split)"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="pictures in a step")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    figures = evaluate(options.run, options.data, options.batch_size)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    from tlkeras.evaluation.metrics import summary

    for split, values in figures.items():
        print(f"{split}: {summary(values)}", values.get("table", ""), sep="\n")


if __name__ == "__main__":
    program(main)
