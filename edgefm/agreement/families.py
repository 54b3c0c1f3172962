"""Kernel families: which runtimes should answer alike, how nearly, and what that is known from.

The same .tflite file does not have one right answer. LiteRT's XNNPACK kernels round an int8 convolution otherwise
than its built-in ones do; both are right, and they differ by a few levels. So a cell of the matrix is compared with
the reference of its own family; between families, differences are information.

All limits and their evidence stand in `MEMBERS`. "1,000 images" are test images of Fashion-MNIST through the Enhanced
CNN (7.8 M MACs; the shipped model and a briefly trained one), on x86-64 with AVX-512 VNNI, LiteRT 2.3.0,
tflite-runtime 2.14.0, tflite-micro 0.dev20261023, OpenVINO 2026.4.1, in November 2026; docs/agreement.md has the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgefm.agreement.arithmetic import Arithmetic
from edgefm.agreement.cells import Cell


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
      kernels: kernel set; None means any.
      arithmetic: of the model.
      family: name of the family.
      limit: largest difference that is allowed: quantisation levels; of a float model the share of the largest
        magnitude of the output.
      evidence: what the limit is known from.
      host: the row is for this machine alone.
    """

    runtime: str
    kernels: str | None
    arithmetic: tuple[Arithmetic, ...]
    family: str
    limit: float
    evidence: str
    host: bool = False


FAMILIES = (
    Family(name="xnnpack", title="XNNPACK kernels", references=(("litert", "xnnpack"), ("litert", None))),
    Family(
        name="builtin",
        title="built-in kernels",
        references=(("litert", "builtin"), ("tflite-runtime", None), ("tflm", None)),
    ),
    Family(name="reference", title="LiteRT's reference kernels", references=(("litert", "reference"),)),
    Family(
        name="float",
        title="float32 arithmetic",
        references=(("litert", "xnnpack"), ("litert", None), ("litert", "builtin")),
    ),
)

# float16 arithmetic is off by about 5e-4, bfloat16 by 4e-3 (half their eps): both are found out.
FLOAT_LIMIT = 1e-4
# For a runtime that no row knows: within its nearest family, as bit-exact kernels of another compiler are.
UNKNOWN_LEVELS = 1.0

_INTEGER: tuple[Arithmetic, ...] = ("integer",)
_DYNAMIC: tuple[Arithmetic, ...] = ("dynamic",)
_INT16: tuple[Arithmetic, ...] = ("int16",)

# The first row that fits is taken.
MEMBERS = (
    # 8-bit activations.
    Member(
        runtime="litert",
        kernels="xnnpack",
        arithmetic=_INTEGER,
        family="xnnpack",
        limit=0,
        evidence="the reference of its family",
        host=True,
    ),
    Member(
        runtime="litert",
        kernels="xnnpack",
        arithmetic=_INTEGER,
        family="xnnpack",
        limit=1,
        evidence="aarch64 (Cortex-A53, -A72, -A76 emulated): 1 of 1,000 outputs off by one level",
    ),
    Member(
        runtime="litertjs",
        kernels=None,
        arithmetic=_INTEGER,
        family="xnnpack",
        limit=0,
        evidence="LiteRT.js 2.5.3 in Chromium: equal to LiteRT on x86 bit for bit",
    ),
    Member(
        runtime="openvino",
        kernels=None,
        arithmetic=_INTEGER,
        family="xnnpack",
        limit=3,
        evidence="1,000 images: int8 at most 2 levels, 99.4 to 99.9 % equal; int4 dense layers at most 3, 52 % equal",
    ),
    Member(
        runtime="litert",
        kernels="builtin",
        arithmetic=_INTEGER,
        family="builtin",
        limit=0,
        evidence="the reference of its family",
        host=True,
    ),
    Member(
        runtime="litert",
        kernels="builtin",
        arithmetic=_INTEGER,
        family="builtin",
        limit=1,
        evidence="other instruction sets: as for XNNPACK, one level",
    ),
    Member(
        runtime="tflite-runtime",
        kernels=None,
        arithmetic=_INTEGER,
        family="builtin",
        limit=0,
        evidence="1,000 images on x86: equal bit for bit with each kernel set (2.14 keeps int8 from XNNPACK)",
    ),
    Member(
        runtime="tflm",
        kernels=None,
        arithmetic=_INTEGER,
        family="builtin",
        limit=0,
        evidence="1,000 images: equal bit for bit",
    ),
    Member(
        runtime="litert",
        kernels="reference",
        arithmetic=_INTEGER,
        family="reference",
        limit=0,
        evidence="from the built-in kernels at most 2 levels in 1.2 to 1.6 % of 1,000 images (int4: 3 levels, 20 %)",
        host=True,
    ),
    Member(
        runtime="litert",
        kernels="reference",
        arithmetic=_INTEGER,
        family="reference",
        limit=1,
        evidence="other instruction sets: as for XNNPACK, one level",
    ),
    # 16-bit activations: XNNPACK has no kernels for them, so that all sets of LiteRT are the same ones.
    Member(
        runtime="litert",
        kernels=None,
        arithmetic=_INT16,
        family="builtin",
        limit=0,
        evidence="1,000 images: the three kernel sets are equal bit for bit",
        host=True,
    ),
    Member(
        runtime="litert",
        kernels=None,
        arithmetic=_INT16,
        family="builtin",
        limit=1,
        evidence="other instruction sets: as for 8 bits, one level",
    ),
    Member(
        runtime="litertjs",
        kernels=None,
        arithmetic=_INT16,
        family="builtin",
        limit=0,
        evidence="the same kernels as LiteRT's; not measured",
    ),
    *(
        Member(
            runtime=runtime,
            kernels=None,
            arithmetic=_INT16,
            family="builtin",
            limit=4,
            evidence="1,000 images: at most 4 levels of 1/32768, 59 % equal: LiteRT's newer kernels round otherwise",
        )
        for runtime in ("tflite-runtime", "tflm")
    ),
    # Integer weights, float activations that are rounded on the fly. A level is 1/255 of the outputs' spread.
    Member(
        runtime="litert",
        kernels="xnnpack",
        arithmetic=_DYNAMIC,
        family="xnnpack",
        limit=1,
        evidence="the reference of its family; other instruction sets as for integers, one level",
    ),
    Member(
        runtime="litertjs",
        kernels=None,
        arithmetic=_DYNAMIC,
        family="xnnpack",
        limit=1,
        evidence="the same kernels as LiteRT's; not measured",
    ),
    Member(
        runtime="openvino",
        kernels=None,
        arithmetic=_DYNAMIC,
        family="xnnpack",
        limit=4,
        evidence="1,000 images: at most 2.9 levels; OpenVINO keeps the activations in float",
    ),
    Member(
        runtime="litert",
        kernels=None,
        arithmetic=_DYNAMIC,
        family="builtin",
        limit=1,
        evidence="1,000 images: the reference kernels lie within 0.7 levels of the built-in ones, XNNPACK's 2.3 off",
    ),
    *(
        Member(
            runtime=runtime,
            kernels=None,
            arithmetic=_DYNAMIC,
            family="builtin",
            limit=1,
            evidence="the same kernels as LiteRT's were; 2.14 has been seen to answer nonsense (docs/agreement.md)",
        )
        for runtime in ("tflite-runtime", "tflm")
    ),
)


@dataclass(frozen=True, kw_only=True)
class Membership:
    """Where a cell belongs; `family` None means that no row knows its runtime: the nearest family is taken."""

    family: str | None
    limit: float
    evidence: str


def membership(cell: Cell, arithmetic: Arithmetic) -> Membership:
    """Return the family of a cell and its limit.

    >>> membership(Cell(runtime="tflm", target="host"), "integer").family
    'builtin'
    """
    if arithmetic == "float":
        return Membership(
            family="float",
            limit=FLOAT_LIMIT,
            evidence="1,000 images: at most 7.3e-7 between seven kernel sets, 1.4e-6 with random weights; deeper "
            "networks add up more, float16 arithmetic would be off by 5e-4",
        )
    for row in MEMBERS:
        if (
            row.runtime == cell.name_of_runtime
            and row.kernels in (None, cell.kernels)
            and arithmetic in row.arithmetic
            and (cell.on_host or not row.host)
        ):
            return Membership(family=row.family, limit=row.limit, evidence=row.evidence)
    return Membership(
        family=None,
        limit=UNKNOWN_LEVELS,
        evidence=f"no row knows this runtime: {UNKNOWN_LEVELS:g} level from the nearest family",
    )


def family(name: str) -> Family:
    """Return a family by name."""
    return next(one for one in FAMILIES if one.name == name)


def reference_of(family: Family, members: Sequence[Cell]) -> Cell:
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
