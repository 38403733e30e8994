"""Who may use a server that this project starts: whoever has its token, whatever is configured."""

from __future__ import annotations

import secrets
from typing import Any

from jupyter_server.auth.identity import PasswordIdentityProvider
from traitlets import validate


class AlwaysToken(PasswordIdentityProvider):
    """Jupyter's own provider, but an empty token, which lets everybody in, becomes a fresh one.

    A reader's configuration, or their environment, may have switched the token off for servers of
    their own; on a shared machine anyone could then run code by one of these. With a password there
    is a token beside it.

    >>> bool(AlwaysToken(token="").token), AlwaysToken(token="mine").token
    (True, 'mine')
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if not self.token.strip():  # Jupyter's default, which no validator sees
            self.token = ""

    @validate("token")
    def _never_empty(self, proposal: Any) -> str:
        given = str(proposal["value"])
        self.token_generated = not given.strip()  # only such a one is shown where the server starts
        return secrets.token_hex(24) if self.token_generated else given
