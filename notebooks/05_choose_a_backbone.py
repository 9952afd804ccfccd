# %% [markdown]
# # Choose a backbone
#
# [![Open in Colab][badge]][colab]
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/OWNER/tlkeras/blob/main/notebooks/05_choose_a_backbone.ipynb
#
# At the end of this page you will be able to **rank backbones on your own images**: by accuracy with pretrained
# weights at one image size, by speed, and by size. It takes about a minute on two cores. Without a network it ranks the
# weights that come with the repository and those in Keras' cache.

# %% tags=["skip-execution"]
# !pip show -q tlkeras || pip install -q "tlkeras[tfds] @ git+https://github.com/OWNER/tlkeras"

# %% [markdown]
# ## The images, and the candidates
#
# In place of the next cell there may be a folder of your own (`DATA`). The images are patches of two photographs that
# come with scikit-learn, as in `02_feature_extraction`
# ([pagoda](https://www.flickr.com/photos/danielbuechele/6061409035),
# [flower](https://www.flickr.com/photos/vultilion/6056698931), both CC BY 2.0). Training, validation and test patches
# come from different regions.

# %%
# %matplotlib inline
import tlkeras

tlkeras.load_tensorflow(seed=0)  # before Keras, which then is quiet, and gives the same numbers each time
import time
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import clear_output
from PIL import Image
from sklearn.datasets import load_sample_image

DATA = "photos"
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


for name, (photograph, *boxes) in REGIONS.items():
    for split, box, count in zip(("train", "validation", "test"), boxes, (10, 40, 40), strict=True):
        place = Path("photos", split, name)
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(patch(photograph, box)).save(place / f"{number:03}.png")

# %% [markdown]
# All candidates see the images at one size, 96 pixels, which all of them take (InceptionV3 needs 75). For a last
# word on large photographs put `IMAGE_SIZE` up to 224.
#
# The weights of MobileNetV2-0.35 come with the repository: they were trained on Tiny ImageNet, at 64 pixels. ImageNet
# weights are used where they are in Keras' cache or can be downloaded (9 MB for MobileNetV2, 59 to 94 MB for each of
# the others). A candidate whose weights cannot be had is left out: **random weights say nothing about a backbone**. One
# network with random weights is in the ranking as a lower bound, and raw pixels are another.

# %%
IMAGE_SIZE = 96
CANDIDATES = {"MobileNetV2-0.35": "bundled", "MobileNetV2": "imagenet", "InceptionV3": "imagenet",
              "ResNet50": "imagenet", "VGG16": "imagenet"}  # fmt: skip

data = tlkeras.prepare_data(DATA, "MobileNetV2-0.35", IMAGE_SIZE)
splits = tlkeras.split_data(data)
images, targets = splits["train"].first(len(splits["train"]))
val_images, val_targets = splits["validation"].first(len(splits["validation"]))


def build(name, weights):
    """Return a frozen classifier, the same each time."""
    tlkeras.load_tensorflow(seed=0)
    return tlkeras.build_classifier(name, data, weights=weights)


models = {}
for name, weights in CANDIDATES.items():
    try:
        models[f"{name}, {weights}"] = build(name, weights)
    except tlkeras.UserError as error:  # the message goes on with the address of the file
        print(f"{str(error).partition(' (')[0]}: left out.")
models["MobileNetV2-0.35, random"] = build("MobileNetV2-0.35", "none")
tlkeras.calibrate_batch_norm(models["MobileNetV2-0.35, random"], images)
print("In the ranking:", "; ".join(models))

# %% [markdown]
# ## Accuracy
#
# A **linear probe** ranks frozen backbones without training them: a linear classifier on their features, the same for
# all. It takes one pass over the images. The accuracies are of the validation images, with their 95% confidence
# intervals: backbones whose intervals overlap much are not told apart by so few images.

# %% tags=["tolerance=0.08"]
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC


def probe(features, val_features):
    """Return the validation metrics of a linear classifier."""
    classifier = make_pipeline(StandardScaler(), SVC(kernel="linear")).fit(features, targets.argmax(axis=1))
    outputs = np.eye(len(data.classes))[classifier.predict(val_features)]
    return tlkeras.compute_metrics(outputs, val_targets, data.task)


metrics = {"raw pixels": probe(images.reshape(len(images), -1), val_images.reshape(len(val_images), -1))}
for name, model in models.items():
    extractor = keras.Model(model.input, model.get_layer("pool").output)
    metrics[name] = probe(extractor.predict(images, verbose=0), extractor.predict(val_images, verbose=0))
ranking = sorted(metrics, key=lambda name: -metrics[name]["accuracy"])
tlkeras.Table(
    [
        {"features": name, "validation accuracy": metrics[name]["accuracy"], "of images": metrics[name]["count"]}
        | dict(zip(("from", "to (95%)"), metrics[name]["intervals_95"]["accuracy"], strict=True))
        for name in ranking
    ]
)

# %%
figure, panel = plt.subplots(figsize=(7, 0.7 + 0.5 * len(ranking)), layout="constrained")
panel.margins(y=0.2)
for row, name in enumerate(reversed(ranking)):
    panel.plot(metrics[name]["intervals_95"]["accuracy"], [row, row], color="C0")
    panel.plot(metrics[name]["accuracy"], row, "o", color="C0")
panel.axvline(1 / len(data.classes), color="gray", linestyle=":", label="chance")
panel.set(xlabel="validation accuracy, 95% interval", xlim=(0, 1.02), yticks=range(len(ranking)))
panel.set(yticklabels=list(reversed(ranking)), ylabel="features")
panel.legend(loc="lower right")
plt.show()

# %% [markdown]
# ## Speed and size
#
# They do not depend on the values of the weights, so all candidates can be compared here, at the size above, eight
# images at a time. A speed is true of this machine and this moment. A parameter takes four bytes.

# %%
speed, rows = {}, []
for name in CANDIDATES:
    model = build(name, "none")
    model.predict(val_images[:8], batch_size=8, verbose=0)  # the first call builds the graph
    start = time.perf_counter()
    model.predict(val_images[:64], batch_size=8, verbose=0)
    speed[name] = 64 / (time.perf_counter() - start)
    count = model.count_params()
    about = {"backbone": name, "parameters": count, "size": f"{4e-6 * count:.1f} MB"}
    rows.append(about | {"speed": f"{speed[name]:.0f} img/s"})
    clear_output(wait=True)
tlkeras.Table(rows)

# %%
figure, panel = plt.subplots(figsize=(6, 3), layout="constrained")
for row in rows:
    panel.plot(row["parameters"] / 1e6, speed[row["backbone"]], "o", label=row["backbone"])
panel.set(xlabel="million parameters", ylabel="img/s", xlim=(0, None), ylim=(0, None))
panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## How to choose
#
# - **MobileNetV2** first: small and fast, and with its ImageNet weights good on most photographs.
# - **ResNet50** or **InceptionV3** if it is not good enough and you have the time.
# - **VGG16** is here because many papers compare with it; it is the slowest.
#
# A linear probe ranks features as they are. Fine-tuning changes them, so train the best two or three before you decide.
# Let validation images choose, as above, then quote the test accuracy of the one that you chose: the best of several
# accuracies is too good by itself. `python scripts/summary.py` prints the table of all backbones.
