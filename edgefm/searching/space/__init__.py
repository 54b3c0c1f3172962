"""What a search may choose: the space of a model, its points, and how long each is trained."""

from edgefm.searching.space.epochs import Epochs
from edgefm.searching.space.of_model import space_of
from edgefm.searching.space.space import QAT, SPARSITY, Point, Space

__all__ = ["QAT", "SPARSITY", "Epochs", "Point", "Space", "space_of"]
