"""Predict the labels of pictures with a trained run."""

import csv
import json
import sys

from tlkeras.options import SentenceParser, program
from tlkeras.run.predict import Prediction, predict


def main() -> None:
    parser = SentenceParser(description=__doc__)
    parser.add_argument("run", help="folder that scripts/train.py wrote")
    parser.add_argument("paths", nargs="+", help="pictures, folders of pictures, or patterns such as 'photos/*.jpg'")
    parser.add_argument("--top-k", type=int, default=3, help="labels for each picture, the likeliest first")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--csv", action="store_true", help="print CSV: path,rank,label,score,error")
    options = parser.parse_args()
    predictions = predict(options.run, options.paths, options.top_k)
    if options.json:
        print(json.dumps([prediction.as_dict() for prediction in predictions], indent=2, ensure_ascii=False))
    elif options.csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows(
            [("path", "rank", "label", "score", "error"), *rows(predictions)]
        )
    else:
        width = max(len(prediction.path) for prediction in predictions)
        for prediction in predictions:
            labels = "  ".join(f"{label} {score:.3f}" for label, score in prediction.scores)
            print(f"{prediction.path:<{width}}  {labels or 'unreadable: ' + prediction.error}")


def rows(predictions: list[Prediction]) -> list[tuple]:
    """A row for each label of each picture; a picture that could not be read has one row with its error."""
    table = []
    for prediction in predictions:
        if prediction.error:
            table.append((prediction.path, "", "", "", prediction.error))
        table += [(prediction.path, rank, *score, "") for rank, score in enumerate(prediction.scores, start=1)]
    return table


if __name__ == "__main__":
    program(main)
