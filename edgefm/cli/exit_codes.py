"""Exit codes of a command, in the form in which each help ends with them."""

from __future__ import annotations

# What 2 means where a command says nothing else.
COULD_NOT_RUN = "it could not run: bad input, a missing file or library"
# EX_SOFTWARE of sysexits.h. Never 1, which says that a limit was broken, and never 2, which says that it is the input.
FAULT = 70
_FAULT_MEANS = "a fault of edgefm itself: it says where to report it"


def exit_codes(held: str, broken: str | None = None, failed: str = COULD_NOT_RUN) -> str:
    r"""Return the epilog of a command: what its exit codes mean.

    >>> exit_codes("every file was read").splitlines()[1:3]
    ['Exit codes:', '  0  every file was read']
    >>> exit_codes("every file was read").splitlines()[-1]
    ' 70  a fault of edgefm itself: it says where to report it'

    Args:
      held: what 0 means.
      broken: what 1 means; None where it does not occur.
      failed: what 2 means.
    """
    meanings = {0: held, 1: broken, 2: failed, FAULT: _FAULT_MEANS}
    lines = [f"{code:>3}  {meaning}" for code, meaning in meanings.items() if meaning is not None]
    return "\n".join(["\b", "Exit codes:", *lines])  # after a backspace click keeps the lines as they are
