"""Where a cell of the matrix belongs, and how far its answers may lie from its family's reference on a model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edgefm.agreement.arithmetic import Arithmetic
from edgefm.agreement.cells import AgreementCell
from edgefm.agreement.families import MEMBERS, ROUNDING_SHARE
from edgefm.agreement.rounding import MEASURED, Rounding

# Of float models: a share of the output's largest magnitude. float16 arithmetic is off by about 5e-4, bfloat16 by
# 4e-3 (half their eps): both are found out.
FLOAT_LIMIT = 1e-4
_FLOAT_EVIDENCE = (
    "1,000 images: at most 7.3e-7 between seven kernel sets, 1.4e-6 with random weights; deeper networks add up more, "
    "float16 arithmetic would be off by 5e-4"
)
# Of a level: the scales of two files of one model differ in their last digits.
_NOTHING = 0.01
# For a cell that no row knows: so near to one of the families.
UNKNOWN_LEVELS, UNKNOWN_SHARE = 1, ROUNDING_SHARE
_UNKNOWN_EVIDENCE = "unknown runtime: held to the nearest family, as another build of its kernels would be"


@dataclass(frozen=True, kw_only=True)
class Membership:
    """Where a cell belongs; `family` None means that no row knows it: the nearest family is taken."""

    family: str | None
    limit: float
    share: float
    evidence: str


def membership(cell: AgreementCell, arithmetic: Arithmetic, rounding: Rounding = MEASURED) -> Membership:
    """Return the family of a cell and its tolerance.

    Args:
      cell: the cell.
      arithmetic: of the model.
      rounding: of the model; by default that of the model that the limits were measured on.

    >>> tflm = AgreementCell(runtime="tflm", target="host")
    >>> membership(tflm, "integer").family, membership(tflm, "integer").limit
    ('builtin', 1)
    >>> membership(tflm, "integer", Rounding(depth=36)).limit  # four times as deep: sqrt(4) times as far
    2
    """
    if arithmetic == "float":
        return Membership(family="float", limit=FLOAT_LIMIT, share=1, evidence=_FLOAT_EVIDENCE)
    for row in MEMBERS:
        if (
            row.runtime == cell.name_of_runtime
            and row.arithmetic == arithmetic
            and (not row.kernels or cell.kernels in row.kernels)
            and (not row.architectures or cell.architecture in row.architectures)
            and row.host in (None, cell.on_host)
        ):
            return _grown(
                Membership(family=row.family, limit=row.limit, share=row.share, evidence=row.evidence), rounding
            )
    unknown = Membership(family=None, limit=UNKNOWN_LEVELS, share=UNKNOWN_SHARE, evidence=_UNKNOWN_EVIDENCE)
    return _grown(unknown, rounding)


def _grown(measured: Membership, rounding: Rounding) -> Membership:
    """Return a tolerance for a model that piles up more rounding; kernels that are equal bit for bit stay so."""
    limit = math.ceil(measured.limit * rounding.factor - _NOTHING)
    if limit == measured.limit:
        return measured
    return replace(
        measured, limit=limit, evidence=f"{measured.evidence}; {measured.limit:g} levels there, here {rounding.reason}"
    )
