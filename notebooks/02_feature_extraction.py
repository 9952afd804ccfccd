# %% [markdown]
# # Feature extraction
#
# At the end of this page you will be able to **use a frozen backbone as a source of features**: say what its
# features are, draw a map of them, train a head on them, and have them computed once instead of once in every
# epoch. It takes about a minute on two cores and needs no network.

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
# ## A backbone, frozen, and a head
#
# `build_classifier` puts a new head on a backbone that has learned from other pictures: here on a small one whose
# weights come with the repository, and which has seen nothing but photographs. Nothing in the backbone learns.

# %%
# %matplotlib inline
import os
import shutil

import tlkeras

tlkeras.load_tensorflow(seed=0)
import keras
import numpy as np

data = tlkeras.prepare_data(tlkeras.DataOptions(data="digits"), "MobileNetV2-0.35", image_size=64)
splits = tlkeras.split_data(data)
model = tlkeras.build_classifier("MobileNetV2-0.35", len(data.classes), weights="bundled", image_size=64)
print(tlkeras.set_trainable(model, "none"))
tlkeras.Table([{"layer": layer.name, "gives": str(layer.output.shape), "parameters": layer.count_params()}
       for layer in model.layers])  # fmt: skip

# %% [markdown]
# Pixels go in as they are, and the model scales them. The backbone gives a map of 2 × 2 places with 1,280 numbers
# each, and `pool` averages over the places: what is left is one vector of 1,280 numbers for a picture, its
# **features**.
#
# ## What do they look like?
#
# Layers near the pixels see edges, those further up see what the edges make up. Here is a digit, and what eight
# channels of three layers make of it. The last one is left with 2 × 2 places: what it knows lies in which channels
# are busy.

# %%
backbone = tlkeras.get_backbone(model)
pictures, targets = splits["train"].spread(400)
labels = targets.argmax(axis=1)
names = ["Conv1_relu", "block_2_add", "out_relu"]
inner = keras.Model(backbone.input, [backbone.get_layer(name).output for name in names])
digit = pictures[labels == 0][:1]
shown, titles = [], []
for maps in inner.predict(digit / 127.5 - 1, verbose=0):
    busiest = np.argsort(-maps[0].std(axis=(0, 1)))[:8]
    shown += [
        digit[0],
        *(np.interp(one, (one.min(), one.max()), (0, 255)) for one in np.moveaxis(maps[0], -1, 0)[busiest]),
    ]
    titles += ["picture"] + [f"{maps.shape[1]} × {maps.shape[2]}"] * 8
tlkeras.image_grid(shown, titles, columns=9)

# %% [markdown]
# ## A map of them
#
# t-SNE puts vectors that are alike side by side. Some classes are lumps already, though nobody has told the
# backbone what a digit is; others lie scattered.

# %%
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

extractor = keras.Model(model.input, model.get_layer("pool").output)
features = extractor.predict(pictures, verbose=0)
places = TSNE(random_state=0).fit_transform(features)
figure = Figure(figsize=(6, 5), layout="constrained")
panel = figure.subplots()
points = panel.scatter(*places.T, c=labels, cmap="tab10", s=12)
panel.legend(*points.legend_elements(), title="digit", loc="center left", bbox_to_anchor=(1, 0.5))
panel.set(title=f"{features.shape[0]} pictures by their {features.shape[1]:,} features", xticks=[], yticks=[])
figure

# %% [markdown]
# How good is the map? A picture is given the class of its five nearest neighbours, by features or by plain
# pixels. On digits pixels win: they are small, centred and gray, which photographs never are, and the backbone
# knows photographs alone. Features that do not fit are the reason for phase 2, in `03_fine_tuning`.

# %% tags=["tolerance=0.05"]
from sklearn.neighbors import KNeighborsClassifier

others, truth = splits["validation"].first(300)
rows = []
for what, known, asked in (
    ("features", features, extractor.predict(others, verbose=0)),
    ("pixels", pictures.reshape(len(pictures), -1), others.reshape(len(others), -1)),
):
    neighbours = KNeighborsClassifier(5).fit(known, labels)
    rows.append({"by": what, "numbers": known.shape[1], "accuracy": neighbours.score(asked, truth.argmax(axis=1))})
tlkeras.Table(rows)

# %% [markdown]
# ## Computed once
#
# A frozen layer gives the same for the same picture, so one pass is enough for all epochs. `views=0` does
# without, and the whole network runs in each epoch. The third run finds what the second has kept on disk, here
# in a cache that is new. The head learns the same in all of them.

# %% tags=["tolerance=0.05"]
shutil.rmtree("new_cache", ignore_errors=True)
os.environ["TLKERAS_CACHE"] = "new_cache"
rows = []
for what, views in (("computed in each epoch", 0), ("computed once", 1), ("read from the cache", 1)):
    tlkeras.load_tensorflow(seed=0)
    model = tlkeras.build_classifier("MobileNetV2-0.35", len(data.classes), weights="bundled", image_size=64)
    as_they_are = {"flip": "none", "crop": 1, "colour": 0}
    options = tlkeras.TrainingOptions(frozen_epochs=5, finetune_epochs=0, views=views, **as_they_are)
    result = tlkeras.train_two_phases(model, splits["train"], splits["validation"], options)
    rows.append(
        {
            "features": what,
            "pass": f"{result.seconds['features']:.1f} s",
            "5 epochs": f"{result.seconds['frozen']:.1f} s",
            "validation accuracy": max(row["val_accuracy"] for row in result.history),
        }
    )
tlkeras.Table(rows)

# %% [markdown]
# With augmentation the pictures differ from epoch to epoch. Then `views` of each, four by default, go through the
# frozen part, and the epochs take turns.
#
# ## Nothing has moved
#
# After each phase `train_two_phases` compares all frozen weights and moving statistics bit by bit with what they
# were, and stops if one moved. So the backbone still is what it was before the first picture:

# %%
fresh = tlkeras.build_classifier("MobileNetV2-0.35", len(data.classes), weights="bundled", image_size=64)
before, now = (tlkeras.get_backbone(each).get_weights() for each in (fresh, model))
print("The backbone is the same, bit by bit:", all(map(np.array_equal, before, now)))

# %% [markdown]
# Next: `03_fine_tuning`, where the backbone learns too.
