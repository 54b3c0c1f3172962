# %% [markdown]
# # Measure a file on a board and hold it in CI
#
# This tutorial takes a finished `.tflite` file: it measures it, finds the operator that costs the most, checks that
# runtimes agree, compares two files and states a budget that CI holds. It takes about a minute. No TensorFlow is
# needed.
#
# {download}`Download this page as a script <board_and_ci.py>`. Editors such as VS Code and Jupytext open it as a
# notebook.
#
# Needs: the base install and the extra `report` for pictures, see [how to install it](../start.md#install).

# %%
import shutil
from pathlib import Path

import numpy as np

import edgefm

MODEL = Path("android_demo_assets/int8/model.tflite")  # the file of yours; this one is in the source folder
TARGET = "host"  # "ssh://pi@raspberrypi" is a board, "adb" a phone
PICTURES = 500  # test pictures; None takes all 10,000
ROUNDS = 6  # None goes on until p50 is known to 1 %, 15 to 45 rounds

# %% [markdown]
# ## What can be measured here
#
# ```bash
# edgefm doctor
# ```

# %%
diagnosis = edgefm.doctor()
diagnosis

# %% [markdown]
# ## What is in the file
#
# ```bash
# edgefm inspect android_demo_assets/int8/model.tflite
# ```

# %%
edgefm.inspect(MODEL)

# %% [markdown]
# ## Data
#
# Quality is measured on the test split. The first pictures of Fashion-MNIST are written to a file, which Python and the
# command line read. Without data, leave `data` out (`--latency-only`): then only time, size and memory are measured.

# %%
fashion = edgefm.data.fashion_mnist()
np.savez(
    "few-pictures.npz",
    x_train=fashion.train.images[:1000],
    y_train=fashion.train.labels[:1000],
    x_test=fashion.test.images[:PICTURES],
    y_test=fashion.test.labels[:PICTURES],
    label_names=np.array(fashion.labels),
)
data = edgefm.data.load("few-pictures.npz")

# %% [markdown]
# ## Benchmark
#
# Accuracy, latency, size and memory. Each turn is a fresh process on the target; a turn that other programs disturbed
# is repeated. The contract beside the file says how pixels go in; give `mean` and `std` for a file without one.
#
# ```bash
# edgefm benchmark android_demo_assets/int8/model.tflite --data few-pictures.npz --out measured
# edgefm benchmark android_demo_assets/int8/model.tflite --data few-pictures.npz --target ssh://pi@raspberrypi
# ```
#
# A board needs Python 3.11 or newer with numpy and a runtime, and your ssh key. [Boards and
# phones](../targets-ssh-adb.md) says more.

# %%
record = edgefm.benchmark({"shipped": MODEL}, data=data, target=TARGET, rounds_at_most=ROUNDS, out="measured")
record

# %% [markdown]
# ## Profile
#
# Which operator costs the time, and whether it is limited by arithmetic or by memory. This is about the machine that
# you run it on.
#
# ```bash
# edgefm profile android_demo_assets/int8/model.tflite --out measured
# ```

# %%
profile = edgefm.profile(MODEL, rounds=3, out="measured")
profile

# %% [markdown]
# ## Agree
#
# Does another runtime or board answer what this one answers? The same samples go through all of them.
#
# ```bash
# edgefm agree android_demo_assets/int8/model.tflite --data few-pictures.npz --samples 100 --target ssh://pi@raspberrypi
# ```
#
# Kernels of one family must agree; those of different families may round differently, and the table says by how much.

# %%
boards = () if TARGET == "host" else (TARGET,)
agreement = edgefm.agree(MODEL, data=data, samples=100, runtime=("litert",), target=boards)
agreement

# %% [markdown]
# ## Compare
#
# Two files are measured side by side, in the same rounds. Here the candidate is a copy of the file: a machine on which
# this finds a difference is too busy to measure on.
#
# ```bash
# edgefm compare android_demo_assets/int8/model.tflite candidate/model.tflite --data few-pictures.npz --margin-latency 5
# ```

# %%
candidate = Path("candidate")
candidate.mkdir(exist_ok=True)
for name in ("model.tflite", "contract.json"):
    shutil.copy(MODEL.with_name(name), candidate / name)
both = edgefm.benchmark(
    {"shipped": MODEL, "candidate": candidate / "model.tflite"}, data=data, target=TARGET, rounds_at_most=15, out="both"
)
comparison = edgefm.compare(both, "candidate", "shipped", margin_latency=5)
comparison

# %% [markdown]
# ## A budget
#
# A budget states what a project promises. Sizes and accuracy hold on any machine. Times hold on one machine only, so CI
# holds ratios to a baseline that is measured in the same rounds. [CI](../ci.md) lists all keys.

# %%
budget = """\
baseline = "shipped"    # ratios and drops refer to this model

[models.candidate]
accuracy_drop = 0.005   # at most half a point below the baseline, on the same pictures
p50_ratio = 1.5         # at most 1.5 of the baseline's median latency
size_bytes = 460_000
"""
_ = Path("budget.toml").write_text(budget)

# %% [markdown]
# ## Hold it in CI
#
# The record of the two files, which the benchmark above wrote, is held against the budget. JUnit XML is shown by most
# CI systems. The command exits with 0 where all limits held, 1 where one is broken, 2 where one could not be checked.
# [This workflow](../examples/edgefm-gate.yml) does it on GitHub.
#
# ```bash
# edgefm gate both/record.json --budget budget.toml --junit gate.xml
# ```

# %%
gate = edgefm.gate(both, "budget.toml", junit="gate.xml")
gate

# %%
print("held" if gate.held else "not held", f"exit code {gate.exit_code}")

# %% [markdown]
# Next: [how a benchmark goes](../benchmarking.md), [how two models are compared](../comparing.md), or [the other
# targets](../target-browser.md).
