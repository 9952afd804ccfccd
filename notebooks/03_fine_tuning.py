# %% [markdown]
# # Fine-tuning
#
# [![Open in Colab][badge]][colab]
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/OWNER/tlkeras/blob/main/notebooks/03_fine_tuning.ipynb
#
# At the end of this page you will be able to **decide how much of a backbone to train, and how fast**, and you will
# have seen what BatchNormalization does when it is unfrozen. Each is shown by an experiment. It takes about two
# minutes on two cores and needs no network.

# %% tags=["skip-execution"]
# !pip show -q tlkeras || pip install -q "tlkeras[tfds] @ git+https://github.com/OWNER/tlkeras"

# %% [markdown]
# ## The set-up
#
# Handwritten digits, and a small backbone that was pretrained on photographs, whose weights come with the repository.
# Digits look nothing like photographs, so here fine-tuning has much to do. To make it hard, there are 315 training
# images. The accuracies are of 269 validation images. These chose the epoch too, in all but the last table, so they
# are a little too good, all in the same way; a difference of 0.02 is noise here.

# %%
# %matplotlib inline
from functools import cache

import tlkeras

tlkeras.load_tensorflow(seed=0)  # before Keras, which then is quiet, and gives the same numbers each time
import keras
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import clear_output

BACKBONE = "MobileNetV2-0.35"
OPTIONS = tlkeras.TrainingOptions(  # without augmentation, all stages at the same learning rate
    frozen_epochs=5, finetune_epochs=6, flip="none", min_crop_area=1, color_jitter=0, views=1, layer_decay=1
)
data = tlkeras.prepare_data("digits", BACKBONE, image_size=64)
splits = tlkeras.split_data(data)
validation = splits["validation"]
train = tlkeras.SplitData(data.inputs, splits["train"].rows[::4], splits["train"].targets[::4])


def build():
    """Return the same model each time, with the same initial head."""
    tlkeras.load_tensorflow(seed=0)
    return tlkeras.build_classifier(BACKBONE, data, weights="bundled")


@cache
def fit(unfreeze, finetune_learning_rate):
    """Train both phases; what was trained is cached."""
    model = build()
    options = {"unfreeze": unfreeze, "finetune_learning_rate": finetune_learning_rate}
    return model, tlkeras.train_two_phases(model, train, validation, OPTIONS, **options)


def best(result):
    """Return the best validation accuracy of the last phase."""
    last = result.history[-1]["phase"]
    return max(row["val_accuracy"] for row in result.history if row["phase"] == last)


# %% [markdown]
# ## Both phases, once
#
# Phase 1 trains the head on a frozen backbone: at first a new head is wrong about everything, and its gradients
# would damage the backbone. Phase 2 unfreezes the top of the backbone.

# %%
model, result = fit(unfreeze="block_6", finetune_learning_rate=1e-3)
tlkeras.plot_history(result.history, result.epoch)

# %% [markdown]
# ## How much to unfreeze?
#
# `unfreeze` takes a stage, and that stage and all above it are trained; `python scripts/summary.py MobileNetV2` lists
# the stages. Features near the input are of use for any image, those at the top are about the images of the
# pretraining. The less your images look like those, the further down it pays to go, and the longer each epoch takes.

# %% tags=["tolerance=0.1"]
rows = []
for unfreeze in ("none", "block_13", "block_6", "all"):
    model, result = fit(unfreeze=unfreeze, finetune_learning_rate=1e-3)
    rows.append(
        {
            "unfrozen": unfreeze,
            "trainable parameters": tlkeras.set_trainable(model, unfreeze).trainable,
            "validation accuracy": best(result),
            "phase 2": f"{result.seconds.get('finetune', 0):.1f} s",
        }
    )
clear_output()
tlkeras.Table(rows)

# %% [markdown]
# Down to `block_6` each step is worth far more than noise; the last one hardly is, and it takes the most time.
#
# ## How fast?
#
# The learning rate of phase 2 is the option that matters most. Too low, and the backbone stays what it was; too high,
# and it loses the pretrained features before it has found others. With photographs 1e-4, the default, is a good
# start, as these are near to the images of the pretraining; digits need more.
#
# A test of a few seconds says where to look. The rate rises with every step, for each phase, from far too low to far
# too high; a tenth of the rate at which the loss is lowest is suggested (Smith 2017, arXiv:1506.01186). It sees 150
# steps and not a whole training, so it is a hint.

# %%
tests = tlkeras.find_learning_rates(build(), train, validation, OPTIONS, unfreeze="block_6")
clear_output()
tlkeras.plot_learning_rates(tests)

# %% [markdown]
# Whole trainings, at three rates of phase 2:

# %% tags=["tolerance=0.1"]
rows = []
for rate in (1e-4, 1e-3, 1e-1):
    model, result = fit(unfreeze="block_6", finetune_learning_rate=rate)
    rows.append({"learning rate of phase 2": f"{rate:g}", "validation accuracy": best(result)})
clear_output()
tlkeras.Table(rows)

# %%
rates = [float(row["learning rate of phase 2"]) for row in rows]
plt.figure(figsize=(5, 3), layout="constrained")
plt.semilogx(rates, [row["validation accuracy"] for row in rows], "o-")
plt.axhline(
    best(fit(unfreeze="none", finetune_learning_rate=1e-3)[1]), color="gray", linestyle=":", label="phase 1 alone"
)
plt.xlabel("learning rate of phase 2")
plt.ylabel("validation accuracy")
plt.legend()
plt.show()

# %% [markdown]
# The accuracies are of phase 2 alone. A run would not end with the last of them: where phase 2 does not beat phase 1,
# the model of phase 1 is kept.
#
# ## What BatchNormalization does to you
#
# A BatchNormalization layer holds a mean and a variance for each channel. In training it uses those of the batch,
# and moves its own towards them; in prediction it uses its own. When the backbone is unfrozen in plain
# Keras, these layers are unfrozen too. `base(x, training=False)`, which guides recommend, does not keep them
# unchanged in Keras 3. Both models below call their backbone that way, and are trained for five epochs:

# %% tags=["tolerance=0.25"]
images, targets = train.first(len(train))
val_images, val_targets = validation.first(len(validation))


def statistics(backbone):
    """Return all moving means and variances in one vector."""
    norms = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return np.concatenate([value for layer in norms for value in (layer.moving_mean, layer.moving_variance)])


def in_inference_mode(model):
    """Return a model of the same layers in which the backbone is called with `training=False`."""
    index = model.layers.index(tlkeras.get_backbone(model))
    x = model.layers[index](model.layers[index - 1].output, training=False)
    for layer in model.layers[index + 1 :]:
        x = layer(x)
    return keras.Model(model.input, x)


rows, histories = [], {}
for what in ("frozen", "unfrozen"):
    model = build()
    backbone = tlkeras.get_backbone(model)
    tlkeras.set_trainable(model, "all")  # all but BatchNormalization
    if what == "unfrozen":
        backbone.trainable = False
        backbone.trainable = True  # plain Keras: all there is
    model = in_inference_mode(model)
    before = statistics(backbone)
    model.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(images, targets, 32, 5, verbose=0, validation_data=(val_images, val_targets)).history
    moved = (statistics(backbone) != before).mean()
    histories[what] = history
    rows.append(
        {
            "BatchNormalization": what,
            "fraction of statistics that moved": moved,
            "training accuracy": history["accuracy"][-1],
            "validation accuracy": history["val_accuracy"][-1],
        }
    )
tlkeras.Table(rows)

# %%
figure, panel = plt.subplots(figsize=(6, 3.5), layout="constrained")
for color, (what, history) in zip(("C0", "C1"), histories.items(), strict=True):
    epochs = range(1, len(history["accuracy"]) + 1)
    panel.plot(epochs, history["accuracy"], "o:", color=color, label=f"{what}: training")
    panel.plot(epochs, history["val_accuracy"], "o-", color=color, label=f"{what}: validation")
panel.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1.02), xticks=epochs, title="BatchNormalization of the backbone")
panel.legend(frameon=False, fontsize="small")
plt.show()

# %% [markdown]
# Unfrozen, the layers normalize by the batches, and the model looks good on training images. Their moving statistics
# follow slowly: Keras' MobileNetV2 averages over about a thousand steps, and these were fifty. So the network that
# predicts is not the one that was trained. That is why `set_trainable` keeps BatchNormalization frozen whatever is
# asked for, and why the program proves after each phase that nothing of it moved.
#
# Next: `04_your_own_images`.
