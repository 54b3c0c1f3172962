# %% [markdown]
# # From training to a phone-ready file
#
# This tutorial trains the reference model, the Enhanced CNN, on pictures of Fashion-MNIST, writes TFLite files of it,
# measures them and puts one into a folder for an app. On two cores it takes about a minute with the small numbers
# below, about 25 minutes with the full ones. The command line stands beside each step; both do the same work in
# the same run folder.
#
# {download}`Download this page as a script <reference_model.py>`. Editors such as VS Code and Jupytext open it as a
# notebook.
#
# Needs: `edgefm[full]`, see [how to install it](../start.md#install).

# %%
from pathlib import Path

import numpy as np

import edgefm

RUN = Path("first-run")
PICTURES = 4_000  # training pictures; None takes all 48,000
PRESET = "quick"  # 2 epochs; "standard" trains 9 epochs and reaches 93 %
VARIANTS = ["float32", "drq_w8", "int8_w8a8"]  # None takes ten variants
ROUNDS = 6  # None goes on until p50 is known to 1 %, 15 to 45 rounds

# %% [markdown]
# ## Data
#
# `edgefm.data.fashion_mnist()` finds the four files or fetches them, checks them and cuts off a validation split.
# Labels are numbers, pictures are uint8 from 0 to 255.
#
# ```bash
# edgefm data fetch
# edgefm data info
# ```

# %%
fashion = edgefm.data.fashion_mnist()
{split.name: len(split) for split in fashion.splits}

# %% [markdown]
# To be quick, this page learns from the first pictures only. Any data in arrays can be written like this; a [folder of
# pictures](own_pictures.py) works, too.

# %%
train, validation, test = fashion.splits
if PICTURES is None:
    DATA = "fashion-mnist"
else:
    DATA = Path("few-pictures.npz")
    np.savez(
        DATA,
        x_train=train.images[:PICTURES],
        y_train=train.labels[:PICTURES],
        x_val=validation.images[: PICTURES // 8],
        y_val=validation.labels[: PICTURES // 8],
        x_test=test.images[: PICTURES // 4],
        y_test=test.labels[: PICTURES // 4],
        label_names=np.array(fashion.labels),
    )

# %% [markdown]
# ## Train
#
# A run is a folder. Each step is written into it whole, and is not done again where it is there already. A training
# that was stopped goes on with `run.train(resume=True)`.
#
# ```bash
# edgefm train --preset quick --data few-pictures.npz --run first-run
# ```

# %%
run = edgefm.Run(RUN)
trained = run.train(PRESET, data=DATA)
trained

# %% [markdown]
# The verdict says how the model fits. After two epochs on few pictures it is underfitted.

# %%
print(f"validation accuracy {100 * trained.validation_accuracy:.1f} %")
print(trained.verdict["name"] + ":", trained.verdict["reason"])

# %% [markdown]
# ## Quantize
#
# `float32` is the reference. `drq_w8` stores int8 weights and needs no calibration data. `int8_w8a8` has int8 weights
# and activations; the ranges of its activations are set by samples of the training split. Batch normalisation is folded
# first.
#
# ```bash
# edgefm quantize first-run --variant float32 --variant drq_w8 --variant int8_w8a8
# ```
#
# `edgefm quantize first-run` alone takes the recipe `default`: ten variants, with pruning, clustering, channel removal
# and quantisation-aware training. [Compression](../compression.md) explains them.

# %%
files = run.quantize(VARIANTS)
files

# %% [markdown]
# Each file has a contract beside it: what goes in, what comes out, how it was made.

# %%
contract = files["int8_w8a8"].contract
print(contract.input.dtype, contract.input.shape, "->", contract.output.dtype, contract.output.shape)

# %% [markdown]
# ## Benchmark
#
# The files are measured in rounds. In each round every file gets a turn in a fresh process, in an order drawn anew.
# Accuracy is that on the test split, with its 95 % interval.
#
# ```bash
# edgefm benchmark first-run
# ```

# %%
record = run.benchmark(rounds_at_most=ROUNDS)
record

# %% [markdown]
# ## Compare
#
# Is `int8_w8a8` faster, smaller, as accurate? The tests use rounds and samples, so that noise is not taken for a
# difference. With few test pictures a small loss of accuracy can't be seen: "no difference seen" does not mean "no
# loss".
#
# ```bash
# edgefm compare first-run::float32 first-run::int8_w8a8
# ```

# %%
comparison = edgefm.compare(record, "int8_w8a8", "float32")
comparison

# %%
print(comparison.verdict)

# %% [markdown]
# ## Report
#
# One HTML page that needs no network, with Markdown, CSV, JSON and PNG beside it.
#
# ```bash
# edgefm report first-run --open yes
# ```

# %%
page = run.report()
print(page)

# %% [markdown]
# A notebook shows the report of a run inline.

# %%
run

# %% [markdown]
# ## A folder for the app
#
# A module for Android Studio: the model, its contract and labels, the code that feeds it, and golden vectors, by which
# a phone shows that it answers what was measured here. `python`, `web` and `c` write the same for other targets.
#
# ```bash
# edgefm export android first-run --variant int8_w8a8 --out app-model
# edgefm verify app-model
# ```

# %%
bundle = edgefm.export(run.path, "android", out="app-model", variant="int8_w8a8")
bundle

# %%
edgefm.verify(bundle.folder)

# %% [markdown]
# Next: [your own pictures and model](own_pictures.py), or [measure a file on a board](board_and_ci.py).
