# %% [markdown]
# # Your own images
#
# At the end of this page you will be able to **bring pictures of your own**: know what is wrong with a folder
# before you learn from it, deal with rare classes, and read CSV files, several labels for each picture and
# TensorFlow Datasets. It takes one or two minutes on two cores and needs no network: the pictures are drawn here.

# %%
# Where everything is installed, this cell does nothing. On Colab, put the https address of your repository first.
import importlib.util
import subprocess
import sys
from pathlib import Path

REPOSITORY = ""  # such as "https://…/my_project.git"
needed = ("tlkeras", "tensorflow", "keras", "sklearn", "matplotlib", "tensorflow_datasets")
specs = {name: importlib.util.find_spec(name) for name in needed}
if missing := [name for name, spec in specs.items() if not spec or not spec.origin]:  # a mere folder has no origin
    here = ["--editable", "..[tfds]"] if Path("../pyproject.toml").exists() else []
    place = here or ([f"tlkeras[tfds] @ git+{REPOSITORY}"] if REPOSITORY else [])
    if not place:
        print(f"Missing: {', '.join(missing)}. Fill in REPOSITORY and run this cell again.")
    elif subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *place]).returncode:
        print(f"Missing: {', '.join(missing)}. pip could not install them and says why above.")
    else:
        print("Installed. Restart the kernel, and run the page from its top.")

# %% [markdown]
# ## Some pictures
#
# Shapes of any colour on any ground. In place of this cell there will be your photographs.

# %%
# %matplotlib inline
import shutil

import tlkeras

tlkeras.load_tensorflow(seed=0)
import numpy as np
from PIL import Image, ImageDraw

SHAPES = {"circle": 40, "square": 4, "triangle": 3}  # sides, as far as a pencil is concerned
random = np.random.default_rng(0)


def draw(shape, color_jitter=None):
    """A shape of some size, place and angle, 64 x 64 pixels."""
    ground, ink = random.integers(0, 256, (2, 3))
    if colour:
        ink = np.array({"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}[colour])
    noise = random.integers(-30, 30, (64, 64, 3))
    picture = Image.fromarray((ground + noise).clip(0, 255).astype("uint8"))
    circle = (*random.integers(24, 40, 2).tolist(), int(random.integers(12, 22)))
    angle = int(random.integers(0, 360))
    ImageDraw.Draw(picture).regular_polygon(circle, SHAPES[shape], angle, fill=tuple(ink.tolist()))
    return picture


def fill(folder, counts):
    """A class folder for each shape."""
    for shape, count in counts.items():
        place = Path(folder, shape)
        place.mkdir(parents=True)
        for number in range(count):
            draw(shape).save(place / f"{number:03}.png")


shutil.rmtree("shapes", ignore_errors=True)  # of an earlier run of this page
fill("shapes/train", {"circle": 300, "square": 300, "triangle": 20})
fill("shapes/validation", {"circle": 40, "square": 40, "triangle": 40})
fill("shapes/test", {"circle": 50, "square": 50, "triangle": 50})
examples = sorted(Path("shapes/train").glob("*/00[0-2].png"))
shapes = [path.parent.name for path in examples]
tlkeras.image_grid([np.array(Image.open(path)) for path in examples], shapes, columns=9)

# %% [markdown]
# This folder is split already, by its folders `train`, `validation` and `test`. A folder of class folders alone
# is split by the program: 70 % to learn from, 15 % to choose the epoch, 15 % to be judged once, the same share of
# each class.
#
# ## What is wrong with them?
#
# Let us spoil some: a file that was cut in two, a text that calls itself a picture, notes that somebody left
# there, and a test picture that lies among the training pictures too.

# %%
whole = Path("shapes/train/circle/000.png").read_bytes()
Path("shapes/train/circle/cut.png").write_bytes(whole[: len(whole) // 2])
Path("shapes/train/square/text.png").write_text("I am no picture.")
Path("shapes/train/square/notes.txt").write_text("Drawn on a Tuesday.")
shutil.copy("shapes/test/square/000.png", "shapes/train/square/again.png")

options = tlkeras.DataOptions(data="shapes")
data = tlkeras.prepare_data(options, "MobileNetV2-0.35", image_size=64)

# %% [markdown]
# Files that cannot be read are named and set aside; above a share of them (`max_unreadable`, 10 %) the run stops,
# as then something else is wrong. How many pictures are left of each class?

# %%
splits = tlkeras.split_data(data)
tlkeras.Table([{"split": name} | dict(zip(data.classes, split.targets.sum(0).astype(int), strict=True))
       for name, split in splits.items()])  # fmt: skip

# %% [markdown]
# The program does not look for the same picture twice. It takes a few lines to do so, and should be done: a test
# picture that was learned from makes the test figure too good. They find copies that are the same to the last
# pixel, no others.

# %%
places = {row: name for name, rows in data.splits.items() for row in rows}
seen = {}
for row, picture in enumerate(data.inputs):
    if (first := seen.setdefault(picture.tobytes(), row)) < row:
        print(f"{data.examples[row].name} ({places[row]}) is {data.examples[first].name} ({places[first]}).")

# %%
Path("shapes/train/square/again.png").unlink()
data = tlkeras.prepare_data(options, "MobileNetV2-0.35", image_size=64)
splits = tlkeras.split_data(data)

# %% [markdown]
# ## Rare classes
#
# There are 20 triangles to learn from, among 600 others. With `class_weights="balanced"` each of them counts for
# as much as 15 others. Both models see the same pictures in the same order; the validation pictures, 40 of each
# class, tell what the rare class gains and what the others pay. The test pictures wait until the choice is made. One
# run is no proof: repeat it with other seeds before you rely on it.

# %% tags=["tolerance=0.25"]
pixels, targets = splits["validation"].first(120)
rows = []
for weights in ("none", "balanced"):
    tlkeras.load_tensorflow(seed=0)
    model = tlkeras.build_classifier("MobileNetV2-0.35", 3, weights="bundled", image_size=64)
    training = tlkeras.TrainingOptions(
        frozen_epochs=5, finetune_epochs=10, unfreeze="block_6", finetune_learning_rate=1e-3, class_weights=weights, views=1
    )
    tlkeras.train_two_phases(model, splits["train"], splits["validation"], training)
    found = tlkeras.per_class_metrics(model.predict(pixels, verbose=0), targets, "single_label", data.classes)
    rows.append({"class_weights": weights} | {f"recall of {name}": row["recall"] for name, row in found.items()})
tlkeras.Table(rows)

# %% [markdown]
# ## A CSV file, and several labels for each picture
#
# A CSV file has the columns `path`, from its own folder on, and `label`; a column `split` is possible. Labels
# that are joined by `|` are several labels: here the shape and the colour. Numbers with a point would be a
# regression.

# %%
lines = ["path,label"]
Path("several").mkdir(exist_ok=True)
for number in range(720):
    shape, colour = random.choice([*SHAPES]), random.choice(["red", "green", "blue"])
    draw(shape, colour).save(f"several/{number:03}.png")
    lines.append(f"{number:03}.png,{colour}|{shape}")
Path("several/labels.csv").write_text("\n".join(lines) + "\n")
print("\n".join(lines[:4]))

# %% [markdown]
# The task is read off the file, and the head becomes a sigmoid for each label. Colours matter here, so the
# augmentation must leave them alone (`color_jitter=0`): augment by what does not change the answer.

# %% tags=["tolerance=0.1"]
config = tlkeras.TrainConfig(
    data="several/labels.csv",
    backbone="MobileNetV2-0.35",
    weights="bundled",
    image_size=64,
    color_jitter=0,
    min_crop_area=1,
    views=1,
    frozen_epochs=5,
    finetune_epochs=10,
    unfreeze="block_6",
    finetune_learning_rate=1e-3,
    run_dir="saved_models/several",
    overwrite=True,
)
run = tlkeras.train(config)

# %% tags=["tolerance=0.2"]
figures = tlkeras.evaluate(run)["test"]
tlkeras.Table([{"label": name} | row for name, row in figures["classes"].items()])

# %% [markdown]
# For such a model `predict` gives all labels of 0.5 or more, or the `top_k` likeliest if those are more. Expect wrong
# ones among them: the share of pictures "with all labels right" is above.

# %%
new = []
for number, (colour, shape) in enumerate([("red", "circle"), ("green", "square"), ("blue", "triangle")] * 2):
    new.append(Path("several", f"new-{number}.png"))
    draw(shape, colour).save(new[-1])
predictions = tlkeras.predict(run, new, top_k=1)
titles = ["\n".join(label for label, score in prediction.scores) for prediction in predictions]
tlkeras.image_grid([np.array(Image.open(path)) for path in new], titles)

# %% [markdown]
# ## TensorFlow Datasets
#
# `data="tfds:beans"` names a data set of TensorFlow Datasets, which is downloaded if it is not there. `tfds:` and
# a folder names one that you made, which needs no network:

# %%
import contextlib
import io

import tensorflow_datasets as tfds
from absl import logging


tfds.disable_progress_bar()
logging.set_verbosity(logging.ERROR)
features = {"image": tfds.features.Image(shape=(64, 64, 3)), "label": tfds.features.ClassLabel(names=[*SHAPES])}
shapes = [(number, {"image": np.array(draw(shape)), "label": shape}) for number, shape in enumerate([*SHAPES] * 30)]
shutil.rmtree("data_sets", ignore_errors=True)
with contextlib.redirect_stdout(io.StringIO()):  # it says a lot
    tfds.dataset_builders.store_as_tfds_dataset(
        "shapes", "1.0.0", tfds.features.FeaturesDict(features), {"train": shapes}, data_dir="data_sets"
    )
options = tlkeras.DataOptions(data="tfds:data_sets/shapes/1.0.0:train[:80%]")
data = tlkeras.prepare_data(options, "MobileNetV2-0.35", image_size=64)

# %% [markdown]
# Next: `05_choose_a_backbone`, for what your pictures deserve.
