"""What a token can allow."""

from typing import Literal, get_args

Scope = Literal["notes:read", "notes:write", "audit:read"]

SCOPES: tuple[Scope, ...] = get_args(Scope)
