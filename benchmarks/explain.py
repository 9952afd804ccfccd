"""Whether maps of what a model looked at can be trusted, and what they cost.

    python benchmarks/explain.py RUN DATA

RUN was trained on ants and bees, DATA is the folder with train and val. The first images of each class in val are
explained for their most likely class. Printed for each method are the seconds for all maps (building the graph
included), the deletion score, which should be lower than that of maps of random numbers (of as many cells as
MobileNetV2's feature map has, enlarged in the same way), and the rank correlation with maps of the same model with
shuffled weights, which should be near 0.
"""

import argparse
import time
from pathlib import Path
from typing import get_args

import numpy as np
from arguments import at_least, train_val_folder

from tlkeras.evaluation.explain import Method, class_maps, deletion_scores, random_maps, sanity_check
from tlkeras.run.load_run import load_model, load_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder that scripts/train.py wrote")
    parser.add_argument("data", type=train_val_folder, help="folder with train and val")
    parser.add_argument("--images", type=at_least(2), default=32, help="how many are explained")
    options = parser.parse_args()
    run = load_run(options.run)
    model = load_model(run.path / "model.keras")
    folders = [path for path in sorted((options.data / "val").iterdir()) if path.is_dir()]
    paths = [path for folder in folders for path in sorted(folder.iterdir())[: options.images // len(folders)]]
    images = np.array([run.modality.read(path) for path in paths], "uint8")
    classes = model.predict(images, verbose=0).argmax(axis=1)
    random = random_maps(images)
    print(f"random      deletion {deletion_scores(model, images, classes, random).mean():.3f}", flush=True)
    for method in get_args(Method):
        start = time.perf_counter()
        maps = class_maps(model, images, classes, method)
        seconds = time.perf_counter() - start
        deletion = deletion_scores(model, images, classes, maps).mean()
        print(f"{method:<10}  deletion {deletion:.3f}, {seconds:.1f} s for {len(images)} maps", flush=True)
        print(f"{'':<10}  rank correlation {sanity_check(model, images, classes, method):.2f}", flush=True)


if __name__ == "__main__":
    main()
