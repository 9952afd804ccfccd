# %% [markdown]
# # Choose a backbone
#
# At the end of this page you will be able to **compare backbones on your own pictures**: accuracy, speed and size
# of VGG16, ResNet50, MobileNetV2 and InceptionV3 side by side. It takes about two minutes on two cores and needs
# no network.

# %%
# Where everything is installed, this cell does nothing. On Colab, put the address of your repository first.
import importlib.util
import subprocess
import sys
from pathlib import Path

REPOSITORY = ""  # what `git clone` takes
needed = ("tlkeras", "tensorflow", "keras", "sklearn", "matplotlib")
if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
    place = f"git+{REPOSITORY}" if REPOSITORY else ".." if Path("../pyproject.toml").exists() else ""
    done = place and subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", place]).returncode == 0
    print("Installed." if done else f"Missing: {', '.join(missing)}. Fill in REPOSITORY and run this cell again.")

# %% [markdown]
# ## What this page can say, and what it cannot
#
# Speed and size do not depend on what the weights are. Accuracy does: the ImageNet weights are what makes a
# backbone worth its seconds, and they are a download. This page works without one, so the four start from
# **random weights**, stay frozen, and only a head learns on what they make of a picture. Such accuracies say that
# the programs run. They say **nothing about which backbone is better** once it has learned from ImageNet.
#
# For an answer about your pictures write `"imagenet"` and the name of your folder below, and run the page again.

# %%
# %matplotlib inline
import time

import tlkeras

tlkeras.load_tensorflow(seed=0)
import numpy as np
from IPython.display import clear_output
from matplotlib.figure import Figure

from tlkeras.display import Table

DATA = "digits"
WEIGHTS = "none"  # "imagenet" for an answer that counts
BACKBONES = dict.fromkeys(["VGG16", "ResNet50", "MobileNetV2", "InceptionV3"], WEIGHTS)
BACKBONES["MobileNetV2-0.35"] = "bundled"  # a small one that has learned: its weights come with the repository
IMAGE_SIZE = 75  # the least that InceptionV3 takes; with your own pictures None, for each one's own
tlkeras.prepare_data(tlkeras.DataOptions(data=DATA), "MobileNetV2", IMAGE_SIZE).inputs.shape

# %% [markdown]
# ## Accuracy
#
# Each backbone is frozen, and a head learns for ten epochs. The test pictures are judged once.

# %% tags=["tolerance=0.15"]
figures = {}
for name, weights in BACKBONES.items():
    config = tlkeras.TrainConfig(
        data=DATA, backbone=name, weights=weights, image_size=IMAGE_SIZE, frozen_epochs=10, finetune_epochs=0,
        flip="none", crop=1, colour=0, views=1, run_dir=f"saved_models/choose-{name}", overwrite=True,
    )  # fmt: skip
    run = tlkeras.train(config)
    figures[name] = {"MB": (run / "model.keras").stat().st_size / 1e6} | tlkeras.evaluate(run)["test"]
    clear_output(wait=True)
Table([{"backbone": name, "weights": weights, "test accuracy": figures[name]["accuracy"], "of pictures":
        figures[name]["count"]} for name, weights in BACKBONES.items()])  # fmt: skip

# %% [markdown]
# ## Speed and size
#
# Pictures of each backbone's own size go through the whole model, eight at a time. A speed is true of this
# machine and this moment; their order is what lasts.

# %%
rows = []
for name in BACKBONES:
    model = tlkeras.build_classifier(name, 10, weights="none")
    side = tlkeras.backbone_of(model).input_shape[1]
    pictures = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), dtype="uint8")
    model.predict(pictures, verbose=0)  # the first call builds the graph
    start = time.perf_counter()
    for _ in range(2):
        model.predict(pictures, verbose=0)
    figures[name]["speed"] = 16 / (time.perf_counter() - start)
    rows.append(
        {
            "backbone": name,
            "pixels a side": side,
            "parameters": model.count_params(),
            "file": f"{figures[name]['MB']:.1f} MB",
            "speed": f"{figures[name]['speed']:.0f} img/s",
        }
    )
clear_output()
Table(rows)

# %%
figure = Figure(figsize=(6, 3.5), layout="constrained")
panel = figure.subplots()
for name, weights in BACKBONES.items():
    panel.scatter(figures[name]["speed"], figures[name]["accuracy"], s=6 * figures[name]["MB"], alpha=0.5)
    panel.annotate(f"{name}, {weights}", (figures[name]["speed"], figures[name]["accuracy"]), fontsize="small")
panel.set(xscale="log", xlabel="img/s", ylabel="test accuracy", title="The area is the size of the file")
figure

# %% [markdown]
# ## How to choose
#
# - **MobileNetV2** first: small and fast, and with its ImageNet weights good on most photographs.
# - **ResNet50** or **InceptionV3** if it is not good enough and you have the time; InceptionV3 sees larger
#   pictures.
# - **VGG16** is the slowest and largest by far. It is here because many papers compare with it.
#
# Let validation pictures choose, and look at the test pictures once, when you have chosen: the best of several
# test figures is too good by itself. The table of all backbones is printed by `python scripts/summary.py`.
