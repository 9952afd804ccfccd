# %% [markdown]
# # Fine-tuning
#
# At the end of this page you will be able to **decide how much of a backbone learns, and how fast**, and you will
# have seen what BatchNormalization does where it is left to itself. Each is shown by an experiment. It takes
# two or three minutes on two cores and needs no network.

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
# ## The set-up
#
# Handwritten digits and a small backbone that knows photographs, whose weights come with the repository. To make
# it hard, there are 315 pictures to learn from. The figures are of 269 validation pictures. These chose the epoch
# too, in all but the last table, so they are a little too good, all in the same way; a difference of 0.02 is
# noise here.

# %%
# %matplotlib inline
from functools import cache

import tlkeras

tlkeras.load_tensorflow(seed=0)
import keras
import numpy as np
from IPython.display import clear_output
from matplotlib.figure import Figure

BACKBONE = "MobileNetV2-0.35"
data = tlkeras.prepare_data(tlkeras.DataOptions(data="digits"), BACKBONE, image_size=64)
splits = tlkeras.split_data(data)
validation = splits["validation"]
train = tlkeras.SplitData(data.inputs, splits["train"].rows[::4], splits["train"].targets[::4])


def build():
    """The same model each time, the head too."""
    tlkeras.load_tensorflow(seed=0)
    return tlkeras.build_classifier(BACKBONE, len(data.classes), weights="bundled", image_size=64)


@cache
def learn(unfreeze, finetune_learning_rate):
    """Both phases, without augmentation; what was trained before is not trained again.

    The stages of the backbone all learn at the same rate.
    """
    options = tlkeras.TrainingOptions(
        frozen_epochs=5,
        finetune_epochs=8,
        unfreeze=unfreeze,
        finetune_learning_rate=finetune_learning_rate,
        flip="none",
        min_crop_area=1,
        color_jitter=0,
        views=1,
        layer_decay=1,
    )
    model = build()
    return model, tlkeras.train_two_phases(model, train, validation, options)


def best(result):
    """The best validation accuracy of a training's last phase."""
    last = result.history[-1]["phase"]
    return max(row["val_accuracy"] for row in result.history if row["phase"] == last)


# %% [markdown]
# ## Both phases, once
#
# Phase 1 teaches the head while the backbone is frozen: a new head is wrong about everything, and would drag the
# backbone along. Phase 2 unfreezes the top of the backbone.

# %%
model, result = learn(unfreeze="block_6", finetune_learning_rate=1e-3)
tlkeras.plot_history(result.history, result.epoch)

# %% [markdown]
# ## How much to unfreeze?
#
# `unfreeze` takes a stage, and all above it learn; `python scripts/summary.py MobileNetV2` lists the stages.
# Features near the pixels are of use for any picture, those at the top are about the pictures of the past. The
# less your pictures look like those, the further down it pays to go, and the longer each epoch takes. Digits look
# nothing like photographs.

# %% tags=["tolerance=0.1"]
rows = []
for unfreeze in ("none", "block_13", "block_6", "all"):
    model, result = learn(unfreeze=unfreeze, finetune_learning_rate=1e-3)
    rows.append(
        {
            "unfrozen": unfreeze,
            "weights that learn": tlkeras.set_trainable(model, unfreeze).trainable,
            "validation accuracy": best(result),
            "phase 2": f"{result.seconds.get('finetune', 0):.1f} s",
        }
    )
clear_output()
tlkeras.Table(rows)

# %% [markdown]
# Down to `block_6` each step is worth far more than noise; the last one is not, and it takes the most time.
#
# ## How fast?
#
# The rate of phase 2 is the option that matters most. Too low, and the backbone stays what it was; too high, and
# it forgets what it knew before it has learned anything else. With photographs 1e-4, the default, is a good
# start, as these are near to what the backbone knows; digits want more.

# %% tags=["tolerance=0.1"]
rows = []
for rate in (1e-5, 1e-4, 1e-3, 1e-1):
    model, result = learn(unfreeze="block_6", finetune_learning_rate=rate)
    rows.append({"rate of phase 2": f"{rate:g}", "validation accuracy": best(result)})
clear_output()
tlkeras.Table(rows)

# %% [markdown]
# The figures are of phase 2 alone. A run would not end with the last of them: where phase 2 does not beat phase 1,
# the model of phase 1 is kept.
#
# ## What BatchNormalization does to you
#
# A BatchNormalization layer holds a mean and a variance for each channel. In training it uses those of the batch,
# and moves its own towards them; at prediction time it uses its own. When the backbone is unfrozen in plain
# Keras, these layers are unfrozen too. `base(x, training=False)`, which guides recommend, does not keep them
# still in Keras 3. Both models below call their backbone that way. What comes of six epochs:

# %% tags=["tolerance=0.25"]
pixels, targets = train.first(len(train))
asked, truth = validation.first(len(validation))


def statistics(backbone):
    """All moving means and variances, in one row."""
    norms = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return np.concatenate([value for layer in norms for value in (layer.moving_mean, layer.moving_variance)])


def in_inference_mode(model):
    """The same layers, the backbone called with `training=False`."""
    place = model.layers.index(tlkeras.get_backbone(model))
    x = model.layers[place](model.layers[place - 1].output, training=False)
    for layer in model.layers[place + 1 :]:
        x = layer(x)
    return keras.Model(model.input, x)


rows, lines = [], {}
for what in ("frozen", "left to learn"):
    model = build()
    backbone = tlkeras.get_backbone(model)
    tlkeras.set_trainable(model, "all")  # all but BatchNormalization
    if what == "left to learn":
        backbone.trainable = False
        backbone.trainable = True  # plain Keras: all there is
    model = in_inference_mode(model)
    before = statistics(backbone)
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(pixels, targets, 32, 6, verbose=0, validation_data=(asked, truth)).history
    moved = (statistics(backbone) != before).mean()
    lines[what] = history
    rows.append(
        {
            "BatchNormalization": what,
            "statistics that moved": moved,
            "training accuracy": history["accuracy"][-1],
            "validation accuracy": history["val_accuracy"][-1],
        }
    )
tlkeras.Table(rows)

# %%
figure = Figure(figsize=(6, 3.5), layout="constrained")
panel = figure.subplots()
for colour, (what, history) in zip(("C0", "C1"), lines.items(), strict=True):
    epochs = range(1, len(history["accuracy"]) + 1)
    panel.plot(epochs, history["accuracy"], color=colour, linestyle=":", label=f"{what}: training")
    panel.plot(epochs, history["val_accuracy"], color=colour, label=f"{what}: validation")
panel.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02), title="BatchNormalization of the backbone")
panel.legend(frameon=False, fontsize="small")
figure

# %% [markdown]
# Left to learn, the layers work with the batches, and the model looks well on training pictures. Their moving
# statistics follow slowly: Keras' MobileNetV2 looks back a thousand steps, and these were sixty. So the network
# that predicts is not the one that was trained. That is why `set_trainable` leaves BatchNormalization frozen
# whatever is asked for, and why the program proves after each phase that nothing of it moved.
#
# Next: `04_your_own_images`.
