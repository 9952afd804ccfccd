# %% [markdown]
# # What the model looks at
#
# [![Open in Colab][badge]][colab]
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/OWNER/tlkeras/blob/main/notebooks/06_explain.ipynb
#
# At the end of this page you will be able to **catch a model that is right for the wrong reason**: draw maps of what it
# looks at, and tell whether such maps can be trusted. It takes about a minute on two cores and needs no network.

# %% tags=["skip-execution"]
# !pip show -q tlkeras || pip install -q "tlkeras[tfds] @ git+https://github.com/OWNER/tlkeras"

# %% [markdown]
# ## Images with a shortcut
#
# Patches of the leaves in a photograph that comes with scikit-learn
# ([flower](https://www.flickr.com/photos/vultilion/6056698931), CC BY 2.0). Let us say that half of the plants were
# treated, and that the treatment does nothing. But somebody put a white sticker beside each plant that was treated, as
# a hospital's own letters stand on X-rays of its patients, or a ruler lies beside the moles that worried a doctor.

# %%
# %matplotlib inline
import tlkeras

tlkeras.load_tensorflow(seed=0)  # before Keras, which then is quiet, and gives the same numbers each time
import keras
import numpy as np
from sklearn.datasets import load_sample_image

SIDE = 96  # pixels of a patch
REGIONS = {"train": (0, 0, 190, 427), "validation": (440, 0, 640, 427)}  # left, top, right, bottom of the leaves
CLASSES = ["treated", "untreated"]
photograph = load_sample_image("flower.jpg")
random = np.random.default_rng(0)


def dataset(region, count, stickers):
    """Return images and labels, `count` of each class; `stickers` says which classes have one."""
    left, top, right, bottom = REGIONS[region]
    labels = np.repeat(CLASSES, count)
    corners = random.integers((left, top), (right - SIDE + 1, bottom - SIDE + 1), (len(labels), 2))
    images = np.stack([photograph[y : y + SIDE, x : x + SIDE] for x, y in corners])
    images[np.isin(labels, stickers), SIDE - 26 : SIDE - 8, SIDE - 26 : SIDE - 8] = 255
    return images, labels


photographed = {region: dataset(region, count, ["treated"]) for region, count in (("train", 80), ("validation", 40))}
tlkeras.image_grid(photographed["train"][0][::20], photographed["train"][1][::20])

# %% [markdown]
# ## It works
#
# On validation images the model makes hardly a mistake. A figure tells no more than that.

# %%
options = {"backbone": "MobileNetV2-0.35", "weights": "bundled", "image_size": SIDE, "epochs": (10, 0)}
run = tlkeras.train(data=photographed, run_dir="saved_models/sticker", overwrite=True, **options)

# %% [markdown]
# ## What does it look at?
#
# Grad-CAM weights the last feature maps of the backbone by how much the output of a class changes with each of them.
# At this size they have 3 × 3 places, so a map is a coarse answer.

# %%
images, labels = photographed["validation"]
chosen = [0, 10, 20, 50, 60, 70]


def maps(run):
    """Draw validation images, and below them what speaks for a treatment in them."""
    found = tlkeras.explain(run, images[chosen], class_name="treated")
    over = [tlkeras.overlay(one.image[None], one.map[None])[0] for one in found]
    titles = [f"{label}: {one.score:.0%}" for label, one in zip(labels[chosen], found, strict=True)]
    return tlkeras.image_grid([*images[chosen], *over], [*labels[chosen], *titles], columns=len(chosen))


maps(run)

# %% [markdown]
# The corner with the sticker is warm. Is it what decides? Take it away, or put it beside the others:

# %% tags=["tolerance=0.2"]
others = {"no stickers": dataset("validation", 40, []), "wrong stickers": dataset("validation", 40, ["untreated"])}
for name, data in others.items():
    print(f"{name}: accuracy {tlkeras.evaluate(run, data)['all']['accuracy']:.2f}")

# %% [markdown]
# It is: without stickers the model guesses, and wrong ones make it wrong.
#
# ## Without the shortcut
#
# Trained on images without stickers, the model finds nothing, as there is nothing to find. That is the honest result.

# %% tags=["tolerance=0.25"]
clean = {region: dataset(region, count, []) for region, count in (("train", 80), ("validation", 40))}
tlkeras.train(data=clean, run_dir="saved_models/no_sticker", overwrite=True, **options)

# %% [markdown]
# ## Can the maps be trusted?
#
# Two tests. With shuffled weights the model knows nothing, so its maps must be others: a rank correlation near 0. And
# when the pixels that a map calls important are taken away, the probability must fall faster than when pixels at random
# places are: a lower area under that curve.

# %% tags=["tolerance=0.3"]
model = keras.models.load_model(run / "model.keras", compile=False)
classes = model.predict(images, verbose=0).argmax(axis=1)
rows = []
for method in ("grad-cam", "grad-cam++", "occlusion"):
    found = tlkeras.class_maps(model, images, classes, method)
    deletion = tlkeras.deletion_scores(model, images, classes, found).mean()
    shuffled = tlkeras.sanity_check(model, images, classes, method)
    rows.append({"method": method, "deletion": deletion, "shuffled weights": f"{shuffled:.2f}"})
noise = random.random((len(images), SIDE, SIDE))
deletion = tlkeras.deletion_scores(model, images, classes, noise).mean()
rows.append({"method": "random pixels", "deletion": deletion, "shuffled weights": ""})
tlkeras.Table(rows)

# %% [markdown]
# A map shows where evidence is, not why it counts, and a plausible map is no proof that a model is right. What it does
# well is what happened above: it shows where to look, so that the next experiment can be made.
#
# The same from a terminal: `python scripts/explain.py RUN PATH...`; methods and tests in `docs/explanations.md`.
