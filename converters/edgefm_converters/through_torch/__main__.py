"""`python -m edgefm_converters.through_torch FOLDER`: convert, see `converting`."""

import sys

from edgefm_converters.through_torch.converting import main

main(sys.argv[1:])
