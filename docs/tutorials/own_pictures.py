# %% [markdown]
# # Your own pictures and model
#
# This tutorial takes a folder of pictures and a Keras model of your own, says which compression passes apply to it,
# applies three, writes TFLite files and classifies a picture. It takes about a minute with the small numbers below.
#
# {download}`Download this page as a script <own_pictures.py>`. Editors such as VS Code and Jupytext open it as a
# notebook.
#
# Needs: `edgefm[full]`, see [how to install it](../start.md#install).

# %%
from pathlib import Path

import keras
from keras import layers
from PIL import Image

import edgefm

PICTURES = Path("pictures")  # a folder a class; yours, if you have one
A_CLASS = 150  # pictures of each class to write; 6,000 are there
EPOCHS = 6  # of your training; about 15 for a good model
FINE_TUNING = 1  # epochs after each pass; 4 to 8 for a good model

# %% [markdown]
# ## Pictures
#
# A data set is a folder with a folder for each class. The names of the folders are the class names. Here four classes
# of Fashion-MNIST are written as PNG files, to have some. Leave this cell out if you have pictures.

# %%
CLASSES = ("Trouser", "Bag", "Sneaker", "Dress")
fashion = edgefm.data.fashion_mnist()
for name in CLASSES if not PICTURES.exists() else ():
    (PICTURES / name).mkdir(parents=True)
    of_class = fashion.train.images[fashion.train.labels == fashion.labels.index(name)]
    for number, picture in enumerate(of_class[:A_CLASS]):
        Image.fromarray(picture[:, :, 0]).save(PICTURES / name / f"{number:05d}.png")

# %% [markdown]
# `load` reads them at the size that the model takes, and cuts off a validation and a test split, a tenth of each class.
# Pictures of other sizes are resized. Damaged pictures and classes with too few pictures are errors that name the file.

# %%
data = edgefm.data.load(PICTURES, input_shape=(28, 28, 1))
print(data.labels, {split.name: len(split) for split in data.splits})

# %% [markdown]
# ## A model
#
# Any Functional or Sequential Keras 3 model, trained as you like. It begins with `Rescaling`, so it takes raw pixels
# from 0 to 255. Give `value_range=(0, 1)` to the functions below for a model that expects scaled pixels.

# %%
keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((28, 28, 1), name="picture"),
        layers.Rescaling(1 / 255),
        layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv1"),
        layers.BatchNormalization(momentum=0.9, name="norm1"),
        layers.ReLU(),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(64, activation="relu", name="dense"),
        layers.Dense(len(data.labels), activation="softmax", name="classes"),
    ],
    name="my_model",
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(
    data.train.images,
    data.train.labels,
    validation_data=(data.validation.images, data.validation.labels),
    epochs=EPOCHS,
    batch_size=32,
    verbose=0,
)
model.save("my_model.keras")  # for the command line
print(f"validation accuracy {100 * history.history['val_accuracy'][-1]:.1f} % (n = {len(data.validation)})")

# %% [markdown]
# ## Which passes apply
#
# Nothing is trained for this. `fold`: batch normalisation disappears exactly. `slim`: channels can be removed. `prune`,
# `cluster`: the kernel can be pruned or clustered. `qat`: it can be trained with int8 in mind.
#
# ```bash
# edgefm inspect my_model.keras
# ```

# %%
passes = edgefm.inspect(model)
passes

# %% [markdown]
# ## Compress
#
# Remove half of the channels, set 60 % of the weights that are left to zero, then train with int8 in mind. Passes run
# in this order, and each is followed by fine-tuning. The given model is not changed.

# %%
tuning = edgefm.FineTuning(epochs=FINE_TUNING, learning_rate=1e-3)
small = edgefm.compress(
    model,
    [
        edgefm.Slim(keep=0.5, fine_tuning=tuning),
        edgefm.Prune(sparsity=0.6, fine_tuning=tuning),
        edgefm.Qat(preserve_sparsity=True, fine_tuning=tuning),
    ],
    data=data,
)
small

# %%
print(f"{model.count_params():,} weights before, {small.model.count_params():,} after")
print("the int8 file:", small.save("small.tflite"), f"{len(small.int8):,} bytes")

# %% [markdown]
# ## Quantize
#
# `quantize` does the same and more in one call: it makes each variant, checks it against the Keras model and writes a
# contract beside it. `slim50_qat_int8` is a name for a chain of passes with the usual settings; here the settings are
# given.
#
# ```bash
# edgefm quantize my_model.keras --data pictures --variant float32 --variant int8_w8a8
# edgefm benchmark runs/my_model
# ```

# %%
slim = edgefm.Variant(
    name="slim50_qat_int8",
    passes=(edgefm.Slim(keep=0.5, fine_tuning=tuning), edgefm.Qat(fine_tuning=tuning)),  # qat is int8 by itself
)
files = edgefm.quantize(model, ["float32", "int8_w8a8", slim], data=data)
files

# %% [markdown]
# They lie in a temporary folder until they are saved.

# %%
folder = files.save("my-model-files")
print(sorted(path.name for path in folder.iterdir()))

# %% [markdown]
# ## Predict
#
# The contract says how a picture goes in, so that a file and its contract are enough.
#
# ```bash
# edgefm predict --model my-model-files/int8_w8a8 pictures/Bag/00000.png
# ```

# %%
pictures = [PICTURES / name / "00000.png" for name in ("Bag", "Sneaker")]
predictions = edgefm.predict(pictures, model=folder / "int8_w8a8", top=2)
predictions

# %% [markdown]
# Next: [measure the files on a board and hold them in CI](board_and_ci.py). [Your own model](../own-model.md) says what
# else can be given, and [compression](../compression.md) how to choose passes.
