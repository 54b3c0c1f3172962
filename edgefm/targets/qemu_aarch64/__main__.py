"""`python -m edgefm.targets.qemu_aarch64 setup`: make the arm64 root."""

from edgefm.targets.qemu_aarch64.setup import main

main()
