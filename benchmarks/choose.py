"""How good the choice of `choose.py` is: test accuracy of what it chose, beside that of each candidate.

    python benchmarks/choose.py RESULTS DATA... --candidates MobileNetV2@128,ResNet50@128
    python benchmarks/choose.py RESULTS

DATA and the draws are those of defaults.py: of each class as many images as `--sizes` says, and up to 1,500 others as a
test, which the choice does not see. All images are given at `--image-size` pixels. `choose.py --budget 10` chooses;
then each candidate is trained as `train.py` does it. Flips are off for digits.

Each draw is added to RESULTS (JSON lines) when it is there, and what is there is not measured again. Without DATA the
table is printed: median test accuracies over the draws, and in how many the chosen one was within a point of the best.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from arguments import at_least
from defaults import draw_images, read
from PIL import Image

POINT = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="JSON lines")
    parser.add_argument("data", nargs="*", help="digits, or folders of images; none prints the table")
    parser.add_argument(
        "--candidates", default="MobileNetV2@128,MobileNetV2@64,MobileNetV2-0.35@128,MobileNetV2-0.35@96"
    )
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--sizes", type=at_least(2), nargs="+", default=[60], help="images of a class")
    parser.add_argument("--draws", type=at_least(1), default=2)
    parser.add_argument("--image-size", type=at_least(32), default=128)
    options = parser.parse_args()
    if not all(re.fullmatch(r"[\w.-]+@\d+", one) for one in options.candidates.split(",")):
        parser.error("--candidates must be like MobileNetV2@128,ResNet50@128: each with its image size, no blanks")
    for draw in range(options.draws):
        for data in options.data:
            for size in options.sizes:
                name = Path(data).resolve().name
                done = {tuple(one[key] for key in ("set", "size", "draw")) for one in same(options)}
                if (name, size, draw) not in done:
                    result = {"set": name, "size": size, "draw": draw, **settings(options)}
                    result |= measure(options, data, size, draw)
                    with options.results.open("a") as file:
                        file.write(json.dumps(result) + "\n")
                    print(result, flush=True)
    print_table(same(options))


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return what all results of a table have in common."""
    return {"candidates": options.candidates, "weights": options.weights, "image_size": options.image_size}


def same(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the results so far with these settings."""
    wanted = settings(options)
    return [one for one in read(options.results) if {key: one.get(key) for key in wanted} == wanted]


def measure(options: argparse.Namespace, data: str, size: int, draw: int) -> dict[str, Any]:
    """Return what was chosen on one draw, and the test accuracy of each candidate."""
    import tlkeras

    tlkeras.load_tensorflow(seed=0)
    images = draw_images(data, size, draw, options.image_size)
    given: dict[str, Any] = {"weights": options.weights, "flip": "none" if data == "digits" else "horizontal"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split in ("train", "test"):
            write(images[f"{split}_images"], images[f"{split}_labels"], folder / "images" / split)
        given["data"] = str(folder / "images")
        choice = tlkeras.choose(backbones=options.candidates, budget=10.0, output=str(folder / "choice"), **given)
        accuracies = {}
        for candidate in options.candidates.split(","):
            backbone, pixels = candidate.split("@")
            run = tlkeras.train(
                backbone=backbone, image_size=int(pixels), run_dir=folder / candidate, cache_gb=0.0, **given
            )
            accuracies[candidate] = json.loads((run / "metrics.json").read_text())["test"]["accuracy"]
    sure = {key: choice[key] for key in ("probability", "probability_trained", "minutes")}
    return {"chosen": choice["best"], "accuracies": accuracies, "test": len(images["test_labels"])} | sure


def write(images: Any, labels: Any, folder: Path) -> None:
    """Write images `(n, S, S, 3)` as PNG files, a folder for each class."""
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def print_table(results: list[dict[str, Any]]) -> None:
    """Print a row for each set and size, a column for each candidate."""
    candidates = list(dict.fromkeys(name for one in results for name in one["accuracies"]))
    print(f"| set | a class | draws | test | {' | '.join(candidates)} | chosen | below the best |")
    print(f"|{'---|' * (6 + len(candidates))}")
    good = 0
    for row in sorted({(one["set"], one["size"]) for one in results}):
        found = [one for one in results if (one["set"], one["size"]) == row]
        below = [max(one["accuracies"].values()) - one["accuracies"][one["chosen"]] for one in found]
        good += sum(difference < POINT for difference in below)
        cells = [f"{median(one['accuracies'][name] for one in found):.3f}" for name in candidates]
        chosen = ", ".join(one["chosen"] for one in found)
        lost = ", ".join(f"{difference:.3f}" for difference in below)
        counts = f"{row[1]} | {len(found)} | {found[0]['test']:,}"
        print(f"| {row[0]} | {counts} | {' | '.join(cells)} | {chosen} | {lost} |")
    if results:
        print(f"\nWithin a point of the best: {good} of {len(results)} draws.")


if __name__ == "__main__":
    main()
