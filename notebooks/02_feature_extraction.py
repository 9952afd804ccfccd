# %% [markdown]
# # Feature extraction
#
# [![Open in Colab][badge]][colab]
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/OWNER/tlkeras/blob/main/notebooks/02_feature_extraction.ipynb
#
# At the end of this page you will be able to **use a frozen backbone as a source of features**: say what its
# features are, draw a map of them, compare them with raw pixels, train a head on them, and have them computed once
# instead of once in every epoch. It takes about a minute on two cores and needs no network.

# %% tags=["skip-execution"]
# !pip show -q tlkeras || pip install -q "tlkeras[tfds] @ git+https://github.com/OWNER/tlkeras"

# %% [markdown]
# ## Photographs
#
# Two photographs come with scikit-learn ([pagoda](https://www.flickr.com/photos/danielbuechele/6061409035),
# [flower](https://www.flickr.com/photos/vultilion/6056698931), both CC BY 2.0). Small patches of them, each of a
# random size at a random position, make a dataset of six classes. Training, validation and test patches come from
# different regions, which are given below, so no pixel is in two of the splits.
#
# With `SOLAR_CELLS = True` the images are 600 of the 2,624 solar cells of
# [elpv-dataset](https://github.com/zae-bayern/elpv-dataset) instead, intact or defective, and the page runs as it
# is. They are not free for commercial use (CC BY-NC-SA 4.0).

# %%
# %matplotlib inline
import tlkeras

tlkeras.load_tensorflow(seed=0)  # before Keras, which then is quiet, and gives the same numbers each time
import os
import shutil
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

SOLAR_CELLS = False  # True after `pip install elpv-dataset`
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


def write_photographs(folder, counts=(60, 30, 40)):
    """Write training, validation and test images into class folders; `counts` are for each class."""
    classes = {}
    if SOLAR_CELLS:
        from elpv_dataset.utils import load_dataset

        cells, defect, _ = load_dataset()
        counts = (150, 50, 100)
        for name, probability in (("intact", 0), ("defective", 1)):
            chosen = random.permutation(np.flatnonzero(defect == probability))[: sum(counts)]
            classes[name] = [cells[part] for part in np.split(chosen, np.cumsum(counts)[:2])]
    else:
        for name, (photograph, *boxes) in REGIONS.items():
            pairs = zip(boxes, counts, strict=True)
            classes[name] = [[patch(photograph, box) for _ in range(count)] for box, count in pairs]
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run of this page
    for name, parts in classes.items():
        for split, images in zip(("train", "validation", "test"), parts, strict=True):
            place = Path(folder, split, name)
            place.mkdir(parents=True)
            for number, image in enumerate(images):
                Image.fromarray(image).save(place / f"{number:03}.png")


write_photographs("photos")
examples = [path for split in ("train", "test") for path in sorted(Path("photos", split).glob("*/00[01].png"))]
titles = [f"{path.parent.name}\n{path.parts[1]}" for path in examples]
tlkeras.image_grid([np.array(Image.open(path)) for path in examples], titles, columns=12)

# %% [markdown]
# ## A backbone, frozen, and a head
#
# `build_classifier` puts a new head on a pretrained backbone: here on a small MobileNetV2 whose weights come with
# the repository. They were trained on Tiny ImageNet, 64 × 64 pixels. Nothing in the backbone is trainable.

# %%
data = tlkeras.prepare_data("photos", "MobileNetV2-0.35", image_size=64)
splits = tlkeras.split_data(data)


def build():
    """Return the same model each time, with the same initial head."""
    tlkeras.load_tensorflow(seed=0)
    return tlkeras.build_classifier("MobileNetV2-0.35", data, weights="bundled")


model = build()
print(f"{tlkeras.set_trainable(model, 'none')}.")
tlkeras.Table([{"layer": layer.name, "output": str(layer.output.shape), "parameters": layer.count_params()}
       for layer in model.layers])  # fmt: skip

# %% [markdown]
# Raw pixels go in, and the model scales them. The backbone's output is a feature map of 2 × 2 positions with 1,280
# channels. `pool` averages over the positions: what is left is a vector of 1,280 numbers for an image, its
# **features**.
#
# ## What do they look like?
#
# Layers near the input see edges and colors, later ones what these make up. Here is an image, and the eight
# channels of three layers that vary most on it. The last layer is left with 2 × 2 positions: what it knows lies in
# which channels are active.

# %%
backbone = tlkeras.get_backbone(model)
images, targets = splits["train"].first(len(splits["train"]))
labels = targets.argmax(axis=1)
layers = ["Conv1_relu", "block_2_add", "out_relu"]
inner = keras.Model(backbone.input, [backbone.get_layer(name).output for name in layers])
image = images[len(images) * 5 // 12 :][:1]
shown, titles = [], []
for name, maps in zip(layers, inner.predict(image / 127.5 - 1, verbose=0), strict=True):
    channels = np.moveaxis(maps[0], -1, 0)
    channels = channels[np.argsort(-channels.std(axis=(1, 2)))[:8]]
    shown += [image[0], *(np.interp(one, (one.min(), one.max()), (0, 255)) for one in channels)]
    titles += [name] + [f"{maps.shape[1]} × {maps.shape[2]}"] * 8
tlkeras.image_grid(shown, titles, columns=9)

# %% [markdown]
# ## A map of them
#
# t-SNE puts vectors that are alike side by side. The classes are clusters already, though this backbone was trained
# on other images and other classes. Circles are training images, crosses are test images.

# %%
from sklearn.manifold import TSNE

extractor = keras.Model(model.input, model.get_layer("pool").output)
test_images, test_targets = splits["test"].first(len(splits["test"]))
test_labels = test_targets.argmax(axis=1)
features, test_features = (extractor.predict(part, verbose=0) for part in (images, test_images))
points = TSNE(random_state=0).fit_transform(np.concatenate([features, test_features]))
figure, panel = plt.subplots(figsize=(7, 4.5), layout="constrained")
for number, name in enumerate(data.classes):
    train_points, test_points = points[: len(labels)][labels == number], points[len(labels) :][test_labels == number]
    panel.scatter(*train_points.T, s=14, color=f"C{number}", label=name)
    panel.scatter(*test_points.T, s=18, color=f"C{number}", marker="x", linewidths=1)
panel.set(xlabel="t-SNE 1", ylabel="t-SNE 2", title=f"{len(points)} images by their {features.shape[1]:,} features")
panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## Features against raw pixels
#
# A test image gets the class of its nearest neighbors among the training images (5-NN), or that of a support vector
# machine (SVM), once by features and once by raw pixels. Pixels tell the colors at each position, which is enough for
# the sky; features tell what is there wherever it is in the image.

# %% tags=["tolerance=0.06"]
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

inputs = {
    "features": (features, test_features),
    "raw pixels": (images.reshape(len(images), -1) / 255, test_images.reshape(len(test_images), -1) / 255),
}
classifiers = {"5-NN": KNeighborsClassifier(5), "SVM": SVC()}
accuracy = {
    (what, name): classifier.fit(known, labels).score(asked, test_labels)
    for what, (known, asked) in inputs.items()
    for name, classifier in classifiers.items()
}
tlkeras.Table(
    [
        {"input": what, "numbers per image": known.shape[1]}
        | {f"test accuracy, {name}": accuracy[what, name] for name in classifiers}
        for what, (known, _) in inputs.items()
    ]
)

# %%
figure, panel = plt.subplots(figsize=(6, 3), layout="constrained")
for number, what in enumerate(inputs):
    heights = [accuracy[what, name] for name in classifiers]
    panel.bar(np.arange(len(heights)) + 0.35 * number, heights, width=0.3, label=what)
panel.axhline(1 / len(data.classes), color="gray", linestyle=":", label="chance")
panel.set(ylabel="test accuracy", xlabel="classifier", ylim=(0, 1), xticks=[0.175, 1.175], xticklabels=[*classifiers])
panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# This holds for images that are like those of the pretraining. Features of photographs are worth less on images that
# are nothing like photographs, such as drawings or digits: then phase 2 has to change them, see `03_fine_tuning`.
#
# ## Computed once
#
# A frozen layer has the same output for the same image, so one pass is enough for all epochs. With `views=0` nothing
# is cached, and the whole network runs in each epoch. The third run finds what the second has cached on disk, here
# in a cache that is new. The head is trained on the same numbers in all of them.

# %% tags=["tolerance=0.06"]
shutil.rmtree("new_cache", ignore_errors=True)
os.environ["TLKERAS_CACHE"] = "new_cache"
rows = []
for what, views in (("computed in each epoch", 0), ("computed once", 1), ("read from the cache", 1)):
    model = build()
    options = tlkeras.TrainingOptions(
        frozen_epochs=8, finetune_epochs=0, head_learning_rate=1e-2, views=views, flip="none", min_crop_area=1,
        color_jitter=0,
    )  # fmt: skip
    result = tlkeras.train_two_phases(model, splits["train"], splits["validation"], options)
    test_metrics = tlkeras.compute_metrics(model.predict(test_images, verbose=0), test_targets, data.task)
    rows.append(
        {
            "features": what,
            "feature pass": f"{result.seconds['features']:.1f} s",
            "8 epochs": f"{result.seconds['frozen']:.1f} s",
            "test accuracy": test_metrics["accuracy"],
        }
    )
tlkeras.Table(rows)

# %% [markdown]
# With augmentation the images differ from epoch to epoch. Then `views` of each, four by default, go through the
# frozen part, and the epochs take turns.
#
# ## Nothing has moved
#
# After each phase `train_two_phases` compares all frozen weights and moving statistics bit by bit with what they
# were, and stops if one has changed. So the backbone still is what it was before the first image:

# %%
before, now = (tlkeras.get_backbone(each).get_weights() for each in (build(), model))
print("The backbone is the same, bit by bit:", all(map(np.array_equal, before, now)))

# %% [markdown]
# Next: `03_fine_tuning`, where the backbone is trained too.
