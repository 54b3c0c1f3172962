"""The 64-bit Arm cores that can be emulated, and what an arm64 Linux says of them in /proc/cpuinfo.

XNNPACK and ruy choose their kernels by core: they read the identification number (MIDR) from /proc/cpuinfo and the
features from the kernel. With the file of another machine LiteRT crashes, with that of another core it takes the
wrong kernels; so each core has a file of its own, which says what the emulated core says.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgefm.core.errors import RecipeError, unknown_name

_ARMV8_0 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_ARMV8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """A core.

    Attributes:
      name: as qemu calls it.
      part: its number in MIDR_EL1; the implementer is Arm, 0x41.
      variant: major revision (the r of r4p1).
      revision: minor revision (the p of r4p1).
      features: as /proc/cpuinfo spells them.

    Source: the MIDR values of qemu's target/arm, and Arm's technical reference manuals.
    """

    name: str
    part: int
    variant: int
    revision: int
    features: str

    def cpuinfo(self) -> str:
        """Return the text of /proc/cpuinfo on a machine with one such core."""
        return (
            "processor\t: 0\n"
            "BogoMIPS\t: 50.00\n"
            f"Features\t: {self.features}\n"
            "CPU implementer\t: 0x41\n"
            "CPU architecture: 8\n"
            f"CPU variant\t: {self.variant:#x}\n"
            f"CPU part\t: {self.part:#x}\n"
            f"CPU revision\t: {self.revision}\n"
            "\n"
            f"Model\t\t: {self.name}, emulated by qemu\n"
        )


CPUS = {
    cpu.name: cpu
    for cpu in (
        Cpu(name="cortex-a53", part=0xD03, variant=0, revision=4, features=_ARMV8_0),
        Cpu(name="cortex-a72", part=0xD08, variant=0, revision=3, features=_ARMV8_0),
        Cpu(name="cortex-a76", part=0xD0B, variant=4, revision=1, features=_ARMV8_2),
    )
}
DEFAULT = "cortex-a72"


def cpu(name: str) -> Cpu:
    """Return a core by name.

    Raises:
      RecipeError: no such core, or one that cannot be trusted.
    """
    if name == "max":
        raise RecipeError(
            "the cpu 'max' is not allowed: it is not a real core, and int8 models silently give wrong outputs on it "
            "(qemu 7.2: up to 167 of 255 levels off)",
            hint=f"Use one of: {', '.join(CPUS)}.",
        )
    if name not in CPUS:
        raise unknown_name("cpu of the target qemu-aarch64", name, CPUS)
    return CPUS[name]
