# %% [markdown]
# # Choose a backbone
#
# [![Open in Colab][badge]][colab]
#
# [badge]: https://colab.research.google.com/assets/colab-badge.svg
# [colab]: https://colab.research.google.com/github/OWNER/tlkeras/blob/main/notebooks/05_choose_a_backbone.ipynb
#
# At the end of this page you will be able to **choose a backbone and an image size on your own images**, and to say how
# sure that choice is. It takes about a minute on two cores. Without a network the candidates are the weights that come
# with the repository, at two sizes; with one, backbones with ImageNet weights.

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
#
# With `SOLAR_CELLS = True` they are the 2,624 photographs of
# [elpv-dataset](https://github.com/zae-bayern/elpv-dataset) instead: cells of solar panels, functional or defective
# (where two experts were in doubt, the likelier of both). They are not free for commercial use (CC BY-NC-SA 4.0).

# %%
# %matplotlib inline
import tlkeras

tlkeras.load_tensorflow(seed=0)  # before Keras, which then is quiet, and gives the same numbers each time
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from sklearn.datasets import load_sample_image

SOLAR_CELLS = False  # True after `pip install elpv-dataset`
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


def save(folder, images):
    """Write images as files of one class."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(Path(folder, f"{number:04}.png"))


if SOLAR_CELLS:
    from elpv_dataset.utils import load_dataset

    cells, defect, _ = load_dataset()
    for name, rows in (("functional", defect < 0.5), ("defective", defect > 0.5)):
        save(Path(DATA, name), cells[rows])
else:
    for name, (photograph, *boxes) in REGIONS.items():
        for split, box, count in zip(("train", "validation", "test"), boxes, (20, 20, 40), strict=True):
            save(Path(DATA, split, name), [patch(photograph, box) for _ in range(count)])

# %% [markdown]
# A candidate is a backbone, perhaps with an image size after `@`. One whose weights cannot be had is named and left
# out: random weights say nothing about a backbone. With a network put `WEIGHTS` to "imagenet" and name backbones of the
# table that `python scripts/summary.py` prints.

# %%
WEIGHTS = "imagenet" if SOLAR_CELLS else "bundled"
CANDIDATES = "MobileNetV2-0.35@32,MobileNetV2-0.35@64"
if SOLAR_CELLS:
    CANDIDATES = "MobileNetV2@96,MobileNetV2@160,MobileNetV2@224,ResNet50@160,EfficientNetV2B0@160"

# %% [markdown]
# ## Features tell, training decides
#
# `tlkeras.choose` sends a few training images through each candidate and fits a logistic regression to the
# features. It goes on with the better half on twice as many images, until three are left (successive halving), and
# trains these in both phases, in three folds where few images are for validation. The test images take no part.
# `python scripts/choose.py --data photos --budget 10` is the same on the command line, within ten minutes. Two
# epochs of phase 2 are enough for these images.

# %%
result = tlkeras.choose(data=DATA, backbones=CANDIDATES, weights=WEIGHTS, finetune_epochs=2)


def rows(found):
    """Return what is worth a column."""
    return [
        {"candidate": row["name"], "images": row["images"], "accuracy": row["accuracy"]}
        | dict(zip(("from", "to (95%)"), row["interval_95"], strict=True))
        for row in found
    ]


# %% [markdown]
# By features, each training image predicted from the others:

# %% tags=["tolerance=0.08"]
tlkeras.Table(rows(result["candidates"]))

# %% [markdown]
# After both phases, on images that were held out:

# %% tags=["tolerance=0.08"]
tlkeras.Table(rows(result["trained"]))

# %% [markdown]
# Where the intervals overlap much, so few images do not tell the candidates apart: then take the smaller or faster one.
# `result["probability_trained"]` says how probably the best one after both phases is really the best of these.

# %%
Image.open(result["plot"])

# %% [markdown]
# ## Train the best one
#
# The options are in a file that `python scripts/train.py --config` takes, too. Only now the test images are looked at,
# once: the best of several accuracies is too good by itself.

# %% tags=["tolerance=0.08"]
print(Path(result["config"]).read_text())
run = tlkeras.train(**yaml.safe_load(Path(result["config"]).read_text()), run_dir="best")

# %% [markdown]
# ## Rules of thumb
#
# - **MobileNetV2** first: small and fast, and with its ImageNet weights good on most photographs.
# - **ResNet50**, **EfficientNetV2** or **ConvNeXt** if it is not good enough and you have the time.
# - A **larger image** often gains more than a larger backbone, most of all where what matters is small: a crack, a
#   lesion.
