"""How long a .tflite file will take on this machine, from measured operators: nothing is timed when it is asked."""

from edgefm.profiling.cost_model.build import build
from edgefm.profiling.cost_model.model import CostModel, HeldOut, LatencyForecast

__all__ = ["CostModel", "HeldOut", "LatencyForecast", "build"]
