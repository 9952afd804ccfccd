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
# Patches of two photographs that come with scikit-learn
# ([pagoda](https://www.flickr.com/photos/danielbuechele/6061409035),
# [flower](https://www.flickr.com/photos/vultilion/6056698931), both CC BY 2.0). Somebody put a white sticker on all
# that show the pagoda's roofs, as a hospital's own letters stand on X-rays of its sick patients, or a ruler lies beside
# the moles that worried a doctor.

# %%
# %matplotlib inline
import tlkeras

tlkeras.load_tensorflow(seed=0)  # before Keras, which then is quiet, and gives the same numbers each time
import keras
import numpy as np
from sklearn.datasets import load_sample_image

SIDE = 96  # pixels of a patch
REGIONS = {  # photograph; left, top, right, bottom in pixels
    "leaves": ("flower.jpg", (0, 0, 190, 427), (440, 0, 640, 427)),
    "roofs": ("china.jpg", (80, 90, 340, 220), (80, 200, 340, 345)),
}
random = np.random.default_rng(0)


def patches(name, region, count, sticker):
    """Return patches of a photograph, from one of its two regions, with or without a white sticker."""
    photograph, *boxes = REGIONS[name]
    left, top, right, bottom = boxes[region]
    corners = random.integers((left, top), (right - SIDE + 1, bottom - SIDE + 1), (count, 2))
    found = np.stack([load_sample_image(photograph)[y : y + SIDE, x : x + SIDE] for x, y in corners])
    if sticker:
        found[:, SIDE - 26 : SIDE - 8, SIDE - 26 : SIDE - 8] = 255
    return found


def dataset(region, count, stickers):
    """Return images and labels; `stickers` says which classes have one."""
    parts = [(patches(name, region, count, name in stickers), [name] * count) for name in REGIONS]
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


photographed = {"train": dataset(0, 80, {"roofs"}), "validation": dataset(1, 40, {"roofs"})}
tlkeras.image_grid(photographed["train"][0][::20], photographed["train"][1][::20])

# %% [markdown]
# ## It works
#
# On validation images the model makes hardly a mistake, and that is all that a figure can tell.

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
    """Draw validation images, and below them what speaks for roofs in them."""
    found = tlkeras.explain(run, images[chosen], class_name="roofs")
    over = [tlkeras.overlay(one.image[None], one.map[None])[0] for one in found]
    titles = [f"{label}: {one.score:.0%}" for label, one in zip(labels[chosen], found, strict=True)]
    return tlkeras.image_grid([*images[chosen], *over], [*labels[chosen], *titles], columns=len(chosen))


maps(run)

# %% [markdown]
# The corner with the sticker is warm. Is it what decides? Take it away, and put it on the leaves:

# %% tags=["tolerance=0.2"]
swapped = {"no stickers": dataset(1, 40, set()), "stickers on the leaves": dataset(1, 40, {"leaves"})}
for name, data in swapped.items():
    print(f"{name}: accuracy {tlkeras.evaluate(run, data)['all']['accuracy']:.2f}")

# %% [markdown]
# ## Without the shortcut

# %%
clean = {"train": dataset(0, 80, set()), "validation": dataset(1, 40, set())}
better = tlkeras.train(data=clean, run_dir="saved_models/no_sticker", overwrite=True, **options)
maps(better)

# %% tags=["tolerance=0.2"]
for name, data in swapped.items():
    print(f"{name}: accuracy {tlkeras.evaluate(better, data)['all']['accuracy']:.2f}")

# %% [markdown]
# ## Can the maps be trusted?
#
# Two tests. With shuffled weights the model knows nothing, so its maps must be others: a rank correlation near 0. And
# when the pixels that a map calls important are taken away, the probability must fall faster than when pixels at random
# places are: a lower area under that curve.

# %% tags=["tolerance=0.3"]
model = keras.models.load_model(better / "model.keras", compile=False)
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
