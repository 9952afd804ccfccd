# %% [markdown]
# # Your own images
#
# [![Open in Colab][badge]][colab]
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/OWNER/tlkeras/blob/main/notebooks/04_your_own_images.ipynb
#
# At the end of this page you will be able to **use images of your own**: know what is wrong with a folder before you
# train on it, deal with rare classes, and read CSV files, several labels per image and TensorFlow Datasets. It takes
# about a minute on two cores and needs no network.

# %% tags=["skip-execution"]
# !pip show -q tlkeras || pip install -q "tlkeras[tfds] @ git+https://github.com/OWNER/tlkeras"

# %% [markdown]
# ## Some images
#
# Patches of two photographs that come with scikit-learn, as in `02_feature_extraction`
# ([pagoda](https://www.flickr.com/photos/danielbuechele/6061409035),
# [flower](https://www.flickr.com/photos/vultilion/6056698931), both CC BY 2.0). Training, validation and test patches
# come from different regions. Your own photographs will replace this cell.

# %%
# %matplotlib inline
import tlkeras

tlkeras.load_tensorflow(seed=0)  # before Keras, which then is quiet, and gives the same numbers each time
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

REGIONS = {  # photograph; left, top, right, bottom in pixels for training, validation and test
    "flower": ("flower.jpg", (190, 130, 300, 320), (305, 110, 425, 215), (305, 225, 425, 335)),
    "leaves": ("flower.jpg", (0, 0, 165, 427), (450, 0, 640, 200), (450, 215, 640, 380)),
    "pagoda": ("china.jpg", (100, 110, 205, 335), (215, 105, 315, 225), (215, 230, 335, 335)),
    "sky": ("china.jpg", (330, 0, 565, 190), (0, 65, 90, 140), (0, 0, 185, 60)),
    "tree": ("china.jpg", (0, 345, 190, 427), (360, 345, 480, 427), (500, 310, 640, 427)),
    "water": ("china.jpg", (330, 235, 420, 300), (425, 245, 480, 300), (485, 240, 545, 290)),
}
random = np.random.default_rng(0)


def patch(photograph, box):
    """Return a patch of 28 to 48 pixels from somewhere in a box of a photograph."""
    side = random.integers(28, 49)
    left, top = random.integers(box[:2], np.array(box[2:]) - side + 1)
    return load_sample_image(photograph)[top : top + side, left : left + side]


def write_images(folder, counts):
    """Write class folders of training, validation and test images; `counts` are by class and split."""
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run of this page
    for name, (photograph, *boxes) in REGIONS.items():
        for split, box, count in zip(("train", "validation", "test"), boxes, counts[name], strict=True):
            place = Path(folder, split, name)
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(patch(photograph, box)).save(place / f"{number:03}.png")


write_images("photos", dict.fromkeys(REGIONS, (60, 30, 30)) | {"tree": (4, 30, 30)})
examples = sorted(Path("photos/train").glob("*/00[0-2].png"))
titles = [path.parent.name for path in examples]
tlkeras.image_grid([np.array(Image.open(path)) for path in examples], titles, columns=9)

# %% [markdown]
# This folder has its splits already, in its folders `train`, `validation` and `test`. A folder of class folders alone
# is split by the program: 70% for training, 15% to choose the epoch, 15% for the test at the end, with the same
# fraction of each class.
#
# ## What is wrong with them?
#
# Let us spoil some: a file that was cut in half, a text file with the name of an image, notes that somebody left
# there, and a test image that is among the training images too.

# %%
whole = Path("photos/train/flower/000.png").read_bytes()
Path("photos/train/flower/cut.png").write_bytes(whole[: len(whole) // 2])
Path("photos/train/pagoda/text.png").write_text("I am not an image.")
Path("photos/train/pagoda/notes.txt").write_text("Taken on a Tuesday.")
shutil.copy("photos/test/pagoda/000.png", "photos/train/pagoda/again.png")

data = tlkeras.prepare_data("photos", "MobileNetV2-0.35", image_size=64)

# %% [markdown]
# Unreadable files are named and skipped; above a fraction of them (`max_unreadable`, 10%) the run stops, as then
# something else is wrong. How many images are left of each class?

# %%
splits = tlkeras.split_data(data)
tlkeras.Table([{"split": name} | dict(zip(data.classes, split.targets.sum(0).astype(int), strict=True))
       for name, split in splits.items()])  # fmt: skip

# %% [markdown]
# The program does not look for duplicates. It takes a few lines to do so, and should be done: a test image that was
# trained on makes the test accuracy too good. These lines find copies that are the same to the last pixel, no others.

# %%
split_of = {index: name for name, indices in data.splits.items() for index in indices}
seen = {}
for index, image in enumerate(data.inputs):
    if (first := seen.setdefault(image.tobytes(), index)) < index:
        print(f"{data.examples[index].name} ({split_of[index]}) is {data.examples[first].name} ({split_of[first]}).")

# %%
Path("photos/train/pagoda/again.png").unlink()
data = tlkeras.prepare_data("photos", "MobileNetV2-0.35", image_size=64)
splits = tlkeras.split_data(data)

# %% [markdown]
# ## Rare classes
#
# There are 4 training images of trees, and 60 of each other class. With `class_weights="balanced"` each tree counts
# for as much as 15 others. Both models see the same images in the same order; the validation images, 30 of each
# class, tell what the rare class gains and what the others pay. The test images wait until the choice is made. One
# run is no proof: repeat it with other seeds before you rely on it.

# %% tags=["tolerance=0.35"]
images, targets = splits["validation"].first(len(splits["validation"]))
rows = []
for weights in ("none", "balanced"):
    tlkeras.load_tensorflow(seed=0)
    model = tlkeras.build_classifier("MobileNetV2-0.35", data, weights="bundled")
    training = tlkeras.TrainingOptions(frozen_epochs=4, finetune_epochs=0, class_weights=weights, views=1)
    tlkeras.train_two_phases(model, splits["train"], splits["validation"], training)
    found = tlkeras.per_class_metrics(model.predict(images, verbose=0), targets, data.task, data.classes)
    rows.append({"class_weights": weights} | {f"recall of {name}": row["recall"] for name, row in found.items()})
tlkeras.Table(rows)

# %% [markdown]
# ## A CSV file, and several labels per image
#
# A CSV file has the columns `path`, relative to its own folder, and `label`; a column `split` is possible. Labels
# that are joined by `|` are several labels: here what the image shows, and whether the print is in color, gray or
# sepia. Numbers with a decimal point would be a regression.

# %%
PRINTS = {
    "color": lambda image: image,
    "gray": lambda image: image.convert("L"),
    "sepia": lambda image: ImageOps.colorize(image.convert("L"), black=(40, 20, 0), white=(255, 225, 170)),
}
lines = ["path,label,split"]
shutil.rmtree("prints", ignore_errors=True)
write_images("originals", dict.fromkeys(REGIONS, (60, 30, 30)))
for path in sorted(Path("originals").glob("*/*/*.png")):
    look = random.choice([*PRINTS])
    split, subject = path.parts[1:3]
    target = Path("prints", f"{split}-{subject}-{path.name}")
    target.parent.mkdir(exist_ok=True)
    PRINTS[look](Image.open(path)).save(target)
    lines.append(f"{target.name},{look}|{subject},{split}")
Path("prints/labels.csv").write_text("\n".join(lines) + "\n")
print("\n".join(lines[:4]))

# %% [markdown]
# The program reads the task off the file, and the head becomes a sigmoid for each label. Colors matter here, so the
# augmentation must leave them alone (`color_jitter=0`): augment by what does not change the answer.

# %% tags=["tolerance=0.1"]
run = tlkeras.train(
    data="prints/labels.csv",
    backbone="MobileNetV2-0.35",
    weights="bundled",
    image_size=64,
    color_jitter=0,
    views=1,
    head_learning_rate=1e-2,
    frozen_epochs=10,
    finetune_epochs=5,
    run_dir="saved_models/prints",
    overwrite=True,
)

# %% tags=["tolerance=0.25"]
metrics = tlkeras.evaluate(run)["test"]
tlkeras.Table([{"label": name} | row for name, row in metrics["classes"].items()])

# %% [markdown]
# For such a model `predict` gives all labels of 0.5 or more, or the `top_k` most likely if those are more. Here are
# test images, with the labels that were predicted. Expect wrong ones among them: the fraction of images "with all
# labels correct" is above.

# %%
shown = sorted(Path("prints").glob("test-*-01[0-2].png"))
predictions = tlkeras.predict(run, shown, top_k=1)
titles = ["\n".join(label for label, score in prediction.scores) for prediction in predictions]
tlkeras.image_grid([np.array(Image.open(path)) for path in shown], titles, columns=9)

# %% [markdown]
# ## TensorFlow Datasets
#
# `data="tfds:beans"` names a dataset of TensorFlow Datasets, which is downloaded if it is not there. `tfds:` and
# a folder names one that you made, which needs no network:

# %%
import contextlib
import io

import tensorflow_datasets as tfds
from absl import logging

tfds.disable_progress_bar()
logging.set_verbosity(logging.ERROR)
features = {"image": tfds.features.Image(shape=(None, None, 3)), "label": tfds.features.ClassLabel(names=[*REGIONS])}
paths = sorted(Path("originals/test").glob("*/*.png"))
images = [(number, {"image": str(path), "label": path.parent.name}) for number, path in enumerate(paths)]
shutil.rmtree("datasets", ignore_errors=True)
with contextlib.redirect_stdout(io.StringIO()):  # it logs a lot
    tfds.dataset_builders.store_as_tfds_dataset(
        "photos", "1.0.0", tfds.features.FeaturesDict(features), {"train": images}, data_dir="datasets"
    )
data = tlkeras.prepare_data("tfds:datasets/photos/1.0.0:train[:80%]", "MobileNetV2-0.35", image_size=64)

# %% [markdown]
# Next: `05_choose_a_backbone`, which compares backbones on your images.
