"""The target `datasheet:RATE`: estimates latency from a chip's MACs a second, without running anything."""

from edgefm import inspect
from edgefm.core.errors import RecipeError
from edgefm.runtimes.base import Available
from edgefm.targets.base import Figure, TargetError


def target(rest):
    """Return the target behind 'datasheet:', e.g. 'datasheet:2e9'."""
    try:
        return Datasheet(float(rest))
    except ValueError:
        raise RecipeError(f"'{rest}' is no number of MACs a second", hint="Write datasheet:2e9") from None


class Datasheet:
    mode = "estimated"  # not measured, not simulated: every figure says so
    latency = False  # its times come from no clock
    runtimes = ()  # nothing is run there

    def __init__(self, macs_per_second):
        self.name, self.rate = f"datasheet:{macs_per_second:g}", macs_per_second

    def availability(self):
        return Available()

    def open(self, runtime):
        raise TargetError(f"the target '{self.name}' runs nothing: it is a data sheet")

    def figures(self, model):
        macs = inspect(model).macs
        value, reason = (1e9 * macs / self.rate, None) if macs else (None, "the model has no MACs")
        details = {"macs_per_second": self.rate}
        return (Figure(name="latency_ns", value=value, mode=self.mode, reason=reason, details=details),)
