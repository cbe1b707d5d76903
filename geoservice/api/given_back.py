"""What GET gives, edited, is what PUT takes: what the answer adds to the body may stay in it, and is not read."""

from __future__ import annotations

from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct

Body = TypeVar("Body", bound=Struct)

_ADDED: Final = Annotated[
    Any, Meta(description="Of the answer; whatever it says here is not read.", extra_json_schema={"readOnly": True})
]


class GivenBack(Generic[Body]):
    """Decodes a body that may have come from one of these answers."""

    def __init__(self, body: type[Body], *answers: type[Struct]) -> None:
        self._body = body
        self._own = [field.name for field in msgspec.structs.fields(body)]
        added = {field.name for answer in answers for field in msgspec.structs.fields(answer)}
        self.type = msgspec.defstruct(
            body.__name__,
            [(name, _ADDED, UNSET) for name in sorted(added.difference(self._own))],
            bases=(body,),
            namespace={"__doc__": body.__doc__},
            kw_only=True,
            forbid_unknown_fields=True,
        )
        """What is on the wire."""
        self._decoder = msgspec.json.Decoder(self.type)

    def decode(self, raw: bytes) -> Body:
        """Read JSON; raises as a decoder of the body's own type does."""
        given = self._decoder.decode(raw)
        return self._body(**{name: getattr(given, name) for name in self._own})
