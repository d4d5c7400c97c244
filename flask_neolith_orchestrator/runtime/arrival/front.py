"""The front of the house: all that a message meets on its way in, wired."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...core.ports import Channel
from ...settings import Settings
from ...store.stores import Stores
from ...store.turns.endings import Ended
from ..broadcast.news import News
from ..broadcast.pauses import Pauses
from ..charters.book import CharterBook
from ..money.rates import Rates
from .explaining import Explaining
from .hearing import Hearing
from .listening import Listening
from .manners import Manners
from .notices import Notices
from .openings import Openings
from .overhearing import Overhearing
from .reception import Reception, Ring
from .waiting import Waiting


class Front:
    """Lifetime: app, in one process; used by many threads."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        charters: CharterBook,
        channel: Channel,
        *,
        ring: Ring,
        ended: Callable[[Sequence[Ended]], None],
    ) -> None:
        self._stores = stores
        self.notices = Notices(stores.database, stores.chat, stores.people)
        self.rates = Rates(settings, stores.database.clock)
        self.manners = Manners(settings, stores, charters, self.notices, self.rates)
        self.hearing = Hearing(settings, stores, stores.chat, charters)
        self.listening = Listening(stores, self.manners)
        self.explaining = Explaining(stores, self.hearing)
        self.waiting = Waiting(stores, channel)
        self.pauses = Pauses()
        self.pauses.add(self.manners.pauses)
        self.reception = Reception(
            stores.inbox,
            self.hearing,
            self.manners,
            channel,
            longest=settings.max_message_length,
            ring=ring,
            ended=ended,
        )
        self.reception.noted = self.waiting.note
        self.overhearing = Overhearing(stores, self.reception)

    def openings(self, news: News) -> Openings:
        """Who tells when working hours begin and end."""
        return Openings(self._stores, self.manners, news)
