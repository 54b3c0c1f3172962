"""Where a board is: the address behind 'ssh:'."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from edgefm.core.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the board is; what is None comes from the user's ssh configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def arguments(self) -> list[str]:
        """The arguments of ssh that name it, the last before the command."""
        user = [] if self.user is None else ["-l", self.user]
        port = [] if self.port is None else ["-p", str(self.port)]
        return [*user, *port, "--", self.host]


def parse(rest: str) -> Address:
    """Return the address behind 'ssh:'.

    >>> parse("//pi@board:2222")
    Address(host='board', user='pi', port=2222)

    Raises:
      RecipeError: it is none.
    """
    hint = (
        "Write ssh://user@board or ssh://user@board:port, for instance ssh://pi@board; "
        "a host name from your ssh configuration works, too."
    )
    try:
        parts = urlsplit(f"ssh:{rest}")
        port = parts.port
    except ValueError as error:
        raise RecipeError(f"the target 'ssh:{rest}' is not understood: {error}", hint=hint) from None
    user, _, host = parts.netloc.rpartition("@")
    if port is not None:
        host = host[: host.rindex(":")]
    host = host.rstrip(":").strip("[]")  # an IPv6 address stands in brackets
    beside = parts.path.strip("/") or parts.query or parts.fragment or ":" in user
    # A name that starts with '-' would be an option of ssh.
    if not rest.startswith("//") or not host or beside or host.startswith("-") or user.startswith("-"):
        board = rest.strip("/")
        guess = f"; did you mean 'ssh://{board}'?" if board and "/" not in board and not rest.startswith("//") else ""
        raise RecipeError(f"the target 'ssh:{rest}' is not understood{guess}", hint=hint)
    return Address(host=host, user=user or None, port=port)
