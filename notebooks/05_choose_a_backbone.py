# %% [markdown]
# # Choose a backbone
#
# At the end of this page you will be able to **compare backbones on your own pictures**: accuracy, speed and size
# of VGG16, ResNet50, MobileNetV2 and InceptionV3 side by side. It takes about two minutes on two cores and needs
# no network.

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
# ## What this page can say, and what it cannot
#
# Speed and size do not depend on what the weights are. Accuracy does: the ImageNet weights are what makes a
# backbone worth its seconds, and they are a download. This page works without one, so the four start from
# **random weights**, stay frozen, and only a head learns on what they make of a picture. Such accuracies say that
# the programs run. They say **nothing about which backbone is better** once it has learned from ImageNet.
#
# For an answer about your pictures change the four settings below, as they say, and run the page again.

# %%
# %matplotlib inline
import time

import tlkeras

tlkeras.load_tensorflow(seed=0)
import numpy as np
from IPython.display import clear_output
from matplotlib.figure import Figure

DATA = "digits"  # or your folder
WEIGHTS = "none"  # random; "imagenet" for an answer that counts
IMAGE_SIZE = 75  # the least that InceptionV3 takes; None for each backbone's own
EVERY = 3  # only every third training picture, to be quick; 1 for all of them
BACKBONES = dict.fromkeys(["VGG16", "ResNet50", "MobileNetV2", "InceptionV3"], WEIGHTS)
BACKBONES["MobileNetV2-0.35"] = "bundled"  # a small one that has learned: its weights come with the repository

# %% [markdown]
# ## Accuracy
#
# Each backbone is frozen, and a head learns for ten epochs; a backbone with random weights first gets
# BatchNormalization statistics that fit. The figures are of the validation pictures, which chose the epoch too; the
# test pictures wait for the backbone that is chosen.

# %% tags=["tolerance=0.08"]
accuracy, rows = {}, []
for name, weights in BACKBONES.items():
    data = tlkeras.prepare_data(tlkeras.DataOptions(data=DATA), name, IMAGE_SIZE)
    splits = tlkeras.split_data(data)
    train = tlkeras.SplitData(data.inputs, splits["train"].rows[::EVERY], splits["train"].targets[::EVERY])
    tlkeras.load_tensorflow(seed=0)
    model = tlkeras.build_classifier(name, len(data.classes), weights=weights, image_size=data.image_size)
    if weights == "none":
        tlkeras.calibrate_batch_norm(model, train.spread(128)[0])
    usual = {"flip": "none", "crop": 1, "colour": 0, "views": 1}
    options = tlkeras.TrainingOptions(frozen_epochs=10, finetune_epochs=0, head_learning_rate=1e-2, **usual)
    tlkeras.train_two_phases(model, train, splits["validation"], options)
    pixels, targets = splits["validation"].first(len(splits["validation"]))
    figures = tlkeras.compute_metrics(model.predict(pixels, verbose=0), targets, data.task)
    accuracy[name] = figures["accuracy"]
    about = {"backbone": name, "weights": weights, "pixels a side": data.image_size}
    rows.append(about | {"validation accuracy": accuracy[name], "of pictures": figures["count"]})
    clear_output(wait=True)
tlkeras.Table(rows)

# %% [markdown]
# With random weights the figure tells how much of a picture a stack of random layers leaves: more where there are
# few, as in VGG16. The last row has learned, if only from small photographs that look nothing like digits, and is
# ahead of all of them.
#
# ## Speed and size
#
# Pictures of each backbone's own size, not of the size above, go through the whole model, eight at a time. A speed
# is true of this machine and this moment. A weight takes four bytes.

# %%
speed, rows = {}, []
for name in BACKBONES:
    model = tlkeras.build_classifier(name, len(data.classes), weights="none")
    side, count = tlkeras.get_backbone(model).input_shape[1], model.count_params()
    pictures = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), dtype="uint8")
    model.predict(pictures, verbose=0)  # the first call builds the graph
    start = time.perf_counter()
    for _ in range(2):
        model.predict(pictures, verbose=0)
    speed[name] = 2 * len(pictures) / (time.perf_counter() - start)
    rows.append(
        {
            "backbone": name,
            "pixels a side": side,
            "weights": count,
            "size": f"{4e-6 * count:.1f} MB",
            "speed": f"{speed[name]:.0f} img/s",
        }
    )
    clear_output(wait=True)
tlkeras.Table(rows)

# %%
figure = Figure(figsize=(7, 4), layout="constrained")
panel = figure.subplots()
for row in rows:
    name = row["backbone"]
    label = f"{name}, {BACKBONES[name]}"
    panel.scatter(speed[name], accuracy[name], s=24e-6 * row["weights"], alpha=0.6, label=label)
panel.set(xlabel="img/s", ylabel="validation accuracy", ylim=(0, 1), title="The area is the count of weights")
panel.margins(x=0.2)
key = panel.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), labelspacing=1.2)
for mark in key.legend_handles:
    mark.set_sizes([60])
figure

# %% [markdown]
# ## How to choose
#
# - **MobileNetV2** first: small and fast, and with its ImageNet weights good on most photographs.
# - **ResNet50** or **InceptionV3** if it is not good enough and you have the time; InceptionV3 sees larger
#   pictures.
# - **VGG16** is the slowest of them, though not the largest. It is here because many papers compare with it.
#
# Let validation pictures choose, as above, then train the one that you chose and quote its test figure: the best of
# several figures is too good by itself. The table of all backbones is printed by `python scripts/summary.py`.
