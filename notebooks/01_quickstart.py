# %% [markdown]
# # Quickstart
#
# [![Open in Colab][badge]][colab]
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/OWNER/tlkeras/blob/main/notebooks/01_quickstart.ipynb
#
# At the end of this page you will be able to **train an image classifier, evaluate it, look at its mistakes, and
# predict labels**, each in one call. It takes about a minute on two cores and needs no network.

# %% tags=["skip-execution"]
# !pip show -q tlkeras || pip install -q "tlkeras[tfds] @ git+https://github.com/OWNER/tlkeras"

# %% [markdown]
# ## The images
#
# A dataset is a folder with one subfolder of images per class. Here it is scikit-learn's handwritten digits,
# 8 × 8 pixels each.

# %%
# %matplotlib inline
import tlkeras

tlkeras.load_tensorflow(seed=0)  # before Keras, which then is quiet, and gives the same numbers each time
import csv

import keras
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageOps

folder = tlkeras.digits_folder()
examples = [next(iter(sorted(path.iterdir()))) for path in sorted(folder.iterdir())]
images, labels = [plt.imread(path) * 255 for path in examples], [path.parent.name for path in examples]
tlkeras.image_grid(images, labels, columns=10)

# %% [markdown]
# ## Train
#
# `train` finds, checks and splits the images, and trains in two phases: first a new head on a frozen backbone,
# then the backbone too. The backbone is a small MobileNetV2 whose weights come with the repository.
#
# Digits look nothing like the photographs that these weights were trained on, so most options below differ from
# the defaults: the backbone learns fast (`finetune_learning_rate`), and no image is mirrored (`flip`). The same
# options are in `configs/digits.yaml`. For photographs of your own the defaults are a good start:
# `tlkeras.train(data="photos")`, which downloads MobileNetV2's ImageNet weights once.

# %%
run = tlkeras.train(
    data="digits",
    backbone="MobileNetV2-0.35",
    weights="bundled",
    image_size=64,
    flip="none",
    frozen_epochs=3,
    finetune_epochs=12,
    finetune_learning_rate=1e-3,
    run_dir="saved_models/quickstart",
    overwrite=True,
)

# %% [markdown]
# Training images set the weights, and validation images chose the epoch. Test images did neither: theirs is the
# accuracy to quote, with its 95% confidence interval.
#
# The run's folder holds the model, the options, the split and the metrics:

# %%
sorted(path.name for path in run.iterdir())

# %% [markdown]
# ## Curves
#
# `history.csv` has a row for each epoch. Each phase starts with a learning rate that rises from zero.

# %%
with (run / "history.csv").open(newline="") as file:
    history = list(csv.DictReader(file))
epochs = [int(row["epoch"]) for row in history]
phase_2 = min(int(row["epoch"]) for row in history if row["phase"] == "finetune")
figure, panels = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for panel, metric in zip(panels, ("loss", "accuracy"), strict=True):
    panel.plot(epochs, [float(row[metric]) for row in history], "o-", markersize=4, label="training")
    panel.plot(epochs, [float(row[f"val_{metric}"]) for row in history], "o-", markersize=4, label="validation")
    panel.axvline(phase_2 - 0.5, color="gray", linestyle=":", label="phase 2 starts")
    panel.set(xlabel="epoch", ylabel=metric)
    panel.legend(frameon=False)
plt.show()

# %% [markdown]
# Training images are augmented and pass through dropout, validation images are not: hence the better validation
# curve in the first epochs.
#
# ## How good is it, class by class?
#
# Precision is the fraction of correct ones among the images that were predicted to be of a class, recall the
# fraction of a class's images that were found.

# %% tags=["tolerance=0.12"]
metrics = tlkeras.evaluate(run)["test"]
tlkeras.Table([{"digit": name} | row for name, row in metrics["classes"].items()])

# %% [markdown]
# ## Predictions for test images
#
# `predict` takes files, folders, patterns and arrays. `split.csv` tells which images are test images.

# %%
with (run / "split.csv").open(newline="") as file:
    test = [folder / row["path"] for row in csv.DictReader(file) if row["split"] == "test"]
predictions = tlkeras.predict(run, test)


def show(indices):
    """Draw test images with the predicted label and its probability, and the true label."""
    labels = [(*predictions[index].scores[0], test[index].parent.name) for index in indices]
    titles = [f"{label} ({score:.0%})\nis a {truth}" for label, score, truth in labels]
    return tlkeras.image_grid([plt.imread(test[index]) * 255 for index in indices], titles)


show(range(0, len(test), len(test) // 15))

# %% [markdown]
# ## Mistakes
#
# The mistakes tell most about a model, so look at them. Where there are few of them, the least certain predictions
# follow.

# %%
wrong = [predictions[index].scores[0][0] != path.parent.name for index, path in enumerate(test)]
print(f"Wrong are {sum(wrong)} of {len(test)} images.")
order = sorted(range(len(test)), key=lambda index: (not wrong[index], predictions[index].scores[0][1]))
show(order[: max(8, sum(wrong))])

# %% [markdown]
# ## The model without this package
#
# The saved model is plain Keras and does not need this package. It takes raw pixels, 0–255, of any size.
# `exif_transpose` turns photos of phones upright, as training did:

# %%
model = keras.models.load_model(run / "model.keras")
pixels = keras.utils.img_to_array(ImageOps.exif_transpose(Image.open(test[0])).convert("RGB"))
probabilities = model.predict(pixels[None], verbose=0)[0]
print(f"Pixels {pixels.shape}; {len(probabilities)} probabilities, the highest for class {np.argmax(probabilities)}.")

# %% [markdown]
# Next: what the two phases do, in `02_feature_extraction` and `03_fine_tuning`, or your own images, in
# `04_your_own_images`.
