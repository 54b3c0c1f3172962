"""Kernel families: which runtimes should answer alike, how nearly, and what that is known from.

The same .tflite file does not have one right answer. LiteRT's XNNPACK kernels round an int8 layer otherwise than its
built-in ones do on x86; both are right, and they differ by a few levels. So a cell of the matrix is compared with the
reference of its own family; between families, differences are information.

All limits stand in `MEMBERS` with their evidence. "Images" there are test images of Fashion-MNIST through the
Enhanced CNN (7.8 M MACs), shares are of images with ten outputs each, on x86-64 with AVX-512 VNNI, LiteRT 2.3.0,
tflite-runtime 2.14.0, tflite-micro 0.dev20261023, OpenVINO 2026.4.1, ONNX Runtime 1.32.0, in November 2026;
docs/agreement.md says more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from edgefm.agreement.arithmetic import Arithmetic
from edgefm.agreement.cells import AgreementCell


@dataclass(frozen=True, kw_only=True)
class Family:
    """Kernels that should answer alike.

    Attributes:
      name: in records.
      title: for a person.
      references: what its members are compared with: (runtime, kernel set) on this machine, the first that ran.
    """

    name: str
    title: str
    references: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, kw_only=True)
class Member:
    """Who belongs to a family, and how far its answers may lie from the reference's.

    Attributes:
      runtime: name.
      arithmetic: of the model.
      family: name of the family.
      limit: largest difference that is allowed in a model as deep as the Enhanced CNN: quantisation levels of the
        output; it grows with `edgefm.agreement.rounding.Rounding.factor`.
      share: largest share of the output values that may differ at all; 1 is no limit.
      evidence: what the two are known from.
      kernels: kernel sets; () means any.
      architectures: instruction sets that the kernels are built for; () means any.
      host: True for this machine alone, False for other targets alone, None for both.
    """

    runtime: str
    arithmetic: Arithmetic
    family: str
    limit: float
    share: float
    evidence: str
    kernels: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    host: bool | None = None


FAMILIES = (
    Family(name="xnnpack", title="XNNPACK kernels", references=(("litert", "xnnpack"),)),
    Family(
        name="builtin",
        title="built-in kernels",
        references=(("litert", "builtin"), ("tflite-runtime", None), ("tflm", None), ("litert", None)),
    ),
    Family(name="reference", title="LiteRT's reference kernels", references=(("litert", "reference"),)),
    Family(name="float", title="float32 arithmetic", references=(("litert", "xnnpack"), ("litert", "builtin"))),
)

# Takes the cells that no row of `MEMBERS` knows where no family has a reference.
UNKNOWN = Family(name="unknown", title="runtimes of no known kernel family", references=())

_SAME = "the reference of its family"
# Another rounding moves a few values in a hundred by a level (0.02 to 0.3 % of the 10,000 of the shipped model, 1.5 to
# 3.2 % of the 4,000 of three random dense layers); a fault moves most of them.
ROUNDING_SHARE = 0.25

# Rows of one arithmetic and family.
_integer_xnnpack = partial(Member, arithmetic="integer", family="xnnpack")
_integer_builtin = partial(Member, arithmetic="integer", family="builtin")
_integer_reference = partial(Member, arithmetic="integer", family="reference")
_int16_builtin = partial(Member, arithmetic="int16", family="builtin")
_dynamic_xnnpack = partial(Member, arithmetic="dynamic", family="xnnpack")
_dynamic_builtin = partial(Member, arithmetic="dynamic", family="builtin")

# The first row that fits is taken.
MEMBERS = (
    # Activations of 8 bits.
    _integer_xnnpack(runtime="litert", kernels=("xnnpack",), host=True, limit=0, share=0, evidence=_SAME),
    _integer_xnnpack(
        runtime="litert",
        kernels=("xnnpack",),
        limit=1,
        share=ROUNDING_SHARE,
        evidence="aarch64 (Cortex-A72, emulated), 1,000 images: at most 1 level, 2.3 % differ",
    ),
    _integer_xnnpack(
        runtime="litertjs", limit=0, share=0, evidence="LiteRT.js 2.5.3 in Chromium, 1,000 images: equal bit for bit"
    ),
    _integer_xnnpack(
        runtime="litert",
        kernels=("builtin",),
        architectures=("aarch64",),
        limit=2,
        share=ROUNDING_SHARE,
        evidence="aarch64 (Cortex-A72, emulated), the first 1,000 images: at most 2 levels from XNNPACK on x86, 75 of "
        "10,000 outputs and 4.9 % differ; 1,000 others: 1 level, 3.9 %; 6 levels from the built-in kernels on x86",
    ),
    _integer_xnnpack(
        runtime="openvino",
        limit=4,
        share=0.5,
        evidence="10,000 images: at most 4 levels, 0.5 % differ; int4 dense layers, 1,000 images: at most 3, 48 %",
    ),
    _integer_xnnpack(
        runtime="onnxruntime",
        limit=2,
        share=ROUNDING_SHARE,
        evidence="converted by tf2onnx, 10,000 images: at most 2 levels, 0.2 % differ",
    ),
    _integer_builtin(
        runtime="litert", kernels=("builtin",), architectures=("x86_64",), limit=0, share=0, evidence=_SAME
    ),
    _integer_builtin(
        runtime="tflite-runtime",
        kernels=("xnnpack", "builtin"),
        architectures=("x86_64",),
        limit=0,
        share=0,
        evidence="10,000 images: equal bit for bit (2.14 does not give int8 to XNNPACK by default)",
    ),
    _integer_builtin(
        runtime="tflite-runtime",
        limit=1,
        share=ROUNDING_SHARE,
        evidence="its reference kernels, 10,000 images on x86: at most 1 level, 0.2 % differ",
    ),
    _integer_builtin(
        runtime="tflm", limit=1, share=ROUNDING_SHARE, evidence="10,000 images: at most 1 level, 0.2 % differ"
    ),
    _integer_builtin(
        runtime="cortex-m-firmware",
        limit=1,
        share=ROUNDING_SHARE,
        evidence="edgefm's C kernels on an emulated M4, 300 images: equal bit for bit",
    ),
    _integer_reference(
        runtime="litert",
        kernels=("reference",),
        host=True,
        limit=0,
        share=0,
        evidence="10,000 images: 2 levels from the built-in kernels in 1.9 % (int4 dense layers: 3 levels, 20 %): "
        "a family of its own",
    ),
    _integer_reference(
        runtime="litert",
        kernels=("reference",),
        limit=1,
        share=ROUNDING_SHARE,
        evidence="aarch64 (Cortex-A72, emulated), 1,000 images: equal bit for bit",
    ),
    # Activations of 16 bits: XNNPACK has no kernels for them, so that all sets of LiteRT are the same ones.
    _int16_builtin(
        runtime="litert",
        host=True,
        limit=0,
        share=0,
        evidence="1,000 images: the three kernel sets are equal bit for bit",
    ),
    _int16_builtin(
        runtime="litert",
        limit=1,
        share=ROUNDING_SHARE,
        evidence="other instruction sets: taken from 8 bits, not measured",
    ),
    _int16_builtin(
        runtime="litertjs", limit=1, share=ROUNDING_SHARE, evidence="the same kernels as LiteRT's; not measured"
    ),
    *(
        _int16_builtin(
            runtime=runtime,
            limit=4,
            share=1,
            evidence="1,000 images: at most 4 levels of 1/32768, 41 % differ: LiteRT's newer kernels round otherwise",
        )
        for runtime in ("tflite-runtime", "tflm")
    ),
    # Integer weights, float activations that are rounded on the fly. A level is 1/255 of the outputs' spread.
    _dynamic_xnnpack(
        runtime="litert",
        kernels=("xnnpack",),
        limit=1,
        share=1,
        evidence=f"{_SAME}; other instruction sets: taken from 8 bits, not measured",
    ),
    _dynamic_xnnpack(runtime="litertjs", limit=1, share=1, evidence="the same kernels as LiteRT's; not measured"),
    *(
        _dynamic_xnnpack(
            runtime=runtime,
            limit=4,
            share=1,
            evidence="OpenVINO, 1,000 images: at most 2.9 levels; it keeps the activations in float",
        )
        for runtime in ("openvino", "onnxruntime")
    ),
    _dynamic_builtin(
        runtime="litert",
        limit=1,
        share=1,
        evidence="1,000 images: the reference kernels lie within 0.7 levels of the built-in ones, XNNPACK's 2.3 off",
    ),
    *(
        _dynamic_builtin(
            runtime=runtime,
            limit=1,
            share=1,
            evidence="one scale a tensor: equal bit for bit; but 2.14 takes the first of several scales for all of a "
            "dense layer, and its outputs are wrong: an alarm is right",
        )
        for runtime in ("tflite-runtime", "tflm")
    ),
)


def family(name: str) -> Family:
    """Return a family by name."""
    return next(known for known in (*FAMILIES, UNKNOWN) if known.name == name)


def reference_of(family: Family, members: Sequence[AgreementCell]) -> AgreementCell:
    """Return the cell that the members of a family are compared with: of those that ran, the most trusted.

    Args:
      family: the family.
      members: its cells that ran, at least one.
    """
    for runtime, kernels in family.references:
        for cell in members:
            if cell.on_host and cell.name_of_runtime == runtime and kernels in (None, cell.kernels):
                return cell
    return members[0]
