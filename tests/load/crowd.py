"""Clients at once: a thread and a user for each."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from threading import Event, Thread

from django.contrib.auth import get_user_model
from django.db import connection
from rest_framework_simplejwt.tokens import AccessToken

from tests.described import make_schema
from tests.load.caller import Caller
from tests.load.flow import Flow
from tests.load.tally import Tally
from tests.load.uploads import Journal

JOIN_SECONDS = 300
"""A client ends its file first, however long it waits for a server."""


@dataclass(kw_only=True)
class Crowd:
    ports: Sequence[int]
    """Of the servers; clients take turns in them."""
    clients: int
    sizes: tuple[int, ...]
    keeps: float = 0
    """The share of files that are not deleted."""
    loses: float = 0
    """The share of answers of the API that clients lose."""
    rests: float = 0
    """The longest rest between two files, in seconds."""
    seed: int = 0
    tally: Tally = field(default_factory=Tally)
    journal: Journal = field(default_factory=Journal)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Let all of them play as long as the block runs, and end what they began."""
        is_over = Event()
        make_schema()  # threads would make it at once, when the first of them meets an error
        flows = [self.make_flow(number) for number in range(self.clients)]
        connection.close()  # rather than hold it idle, through whatever comes
        threads = [Thread(target=self._play, args=(flow, is_over), daemon=True) for flow in flows]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            is_over.set()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                self.tally.blame("a client waits for ever")

    def make_flow(self, number: int) -> Flow:
        """That of one client, who always does the same."""
        caller = Caller(
            port=self.ports[number % len(self.ports)],
            token=_make_token(number),
            tally=self.tally,
            random=Random(f"{self.seed} {number} answers"),
            loses=self.loses,
        )
        return Flow(
            caller=caller,
            journal=self.journal,
            tally=self.tally,
            random=Random(f"{self.seed} {number}"),
            sizes=self.sizes,
            keeps=self.keeps,
        )

    def _play(self, flow: Flow, is_over: Event) -> None:
        rests = Random(self.seed)
        try:
            while not is_over.wait(rests.random() * self.rests):
                flow.play()
        except Exception as error:  # noqa: BLE001 (it is told)
            self.tally.blame(f"a client failed: {error!r}")
        finally:
            flow.close()


def _make_token(number: int) -> str:
    user, _ = get_user_model().objects.get_or_create(username=f"client-{number}")
    token = AccessToken.for_user(user)
    token.set_exp(lifetime=timedelta(days=7))  # longer than any run
    return str(token)
