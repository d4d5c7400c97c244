"""The rounds of one attempt: the model is asked until it has answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..chat.metering import Meter
from ..chat.reading import Answer
from ..chat.responder import Responder
from ..core.cancel import Cancel
from ..core.model import ModelRequest


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One attempt's talk with a model. Lifetime: the attempt, on its thread."""

    responder: Callable[[Meter | None], Responder]
    meter: Meter | None
    cancel: Cancel
    on_text: Callable[[str], None]

    def run(self, request: ModelRequest) -> Answer:
        """Ask, and give the text on as it comes. Raises what `Responder.respond` does."""
        return self.responder(self.meter).respond(request, self.cancel, self.on_text)
