"""Exit codes of a command, in the form in which each help ends with them."""

from __future__ import annotations

# What 2 means where a command says nothing else.
COULD_NOT_RUN = "it could not run: bad input, a missing file or library"


def exit_codes(held: str, broken: str | None = None, failed: str = COULD_NOT_RUN) -> str:
    r"""Return the epilog of a command: what its exit codes mean.

    >>> exit_codes("every file was read").splitlines()[1:3]
    ['Exit codes:', '  0  every file was read']

    Args:
      held: what 0 means.
      broken: what 1 means; None where it does not occur.
      failed: what 2 means.
    """
    meanings = {0: held, 1: broken, 2: failed}
    lines = [f"  {code}  {meaning}" for code, meaning in meanings.items() if meaning is not None]
    return "\n".join(["\b", "Exit codes:", *lines])  # after a backspace click keeps the lines as they are
