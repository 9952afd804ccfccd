# %% [markdown]
# # Quickstart
#
# At the end of this page you will be able to **train a picture classifier, judge it, and let it name pictures**,
# all in four calls. It takes about a minute on two cores and needs no network.

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
# ## Pictures in
#
# A data set is a folder with one folder of pictures for each class. Here it is scikit-learn's handwritten digits,
# 8 × 8 pixels each.

# %%
# %matplotlib inline
import tlkeras

tlkeras.load_tensorflow(seed=0)  # before Keras, which then is quiet, and gives the same figures each time
import keras
import numpy as np

folder = tlkeras.digits_folder()
examples = [next(iter(sorted(path.iterdir()))) for path in sorted(folder.iterdir())]
names = [path.parent.name for path in examples]
tlkeras.image_grid([np.array(keras.utils.load_img(path)) for path in examples], names, columns=10)

# %% [markdown]
# ## Classifier out
#
# `train` finds, checks and splits the pictures, and learns in two phases: first a new head on a frozen backbone,
# then the backbone too. The backbone is the small one whose weights come with the repository. `DIGITS_DEFAULTS`
# are the options that suit the digits. For photographs of your own the others do:
# `TrainConfig(data="photos")`, which downloads MobileNetV2's ImageNet weights once.

# %%
run_dir = "saved_models/quickstart"
config = tlkeras.TrainConfig(**tlkeras.DIGITS_DEFAULTS, run_dir=run_dir, overwrite=True)
run = tlkeras.train(config)

# %% [markdown]
# Training and validation pictures had their say in the model, by its weights or by the choice of its best epoch.
# The test pictures had none: theirs is the figure to quote, with its 95 % interval.
#
# The run's folder holds the model, the options, the split and the figures.

# %%
sorted(path.name for path in run.iterdir())

# %% [markdown]
# ## How good is it, class by class?
#
# Recall is the share of a class's pictures that were found, precision the share of right ones among those that
# were given its name.

# %% tags=["tolerance=0.12"]
figures = tlkeras.evaluate(run)["test"]
tlkeras.Table([{"digit": name} | row for name, row in figures["classes"].items()])

# %% [markdown]
# ## Predictions
#
# `predict` takes files, folders and patterns. Any picture will do: these are the examples from above, which the
# model may have learned from.

# %%
predictions = tlkeras.predict(run, examples)
likeliest = [prediction.scores[0] for prediction in predictions]
titles = [f"{label} ({score:.0%})" for label, score in likeliest]
tlkeras.image_grid([np.array(keras.utils.load_img(path)) for path in examples], titles, columns=10)

# %% tags=["tolerance=0.3"]
rows = zip(names, likeliest, strict=True)
tlkeras.Table([{"is a": name, "called": label, "score": score} for name, (label, score) in rows])

# %% [markdown]
# The saved model is plain Keras and does not need this package. It takes raw pixels, 0–255, of any size:

# %%
model = keras.models.load_model(run / "model.keras")
pixels = keras.utils.img_to_array(keras.utils.load_img(examples[3]))
probabilities = model.predict(pixels[None], verbose=0)[0]
print(f"Pixels {pixels.shape}, {len(probabilities)} probabilities; the likeliest class is {probabilities.argmax()}.")

# %% [markdown]
# Next: what the two phases do, in `02_feature_extraction` and `03_fine_tuning`, or your own pictures, in
# `04_your_own_images`.
