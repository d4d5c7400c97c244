"""One streamed turn of 200 deltas, beside the bare SDK on the same server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anthropic

from .app import World, db, neolith, world
from .claude import KEY, MODEL, fake_claude, report
from .live import Crowd, crowd, log_in, serving
from .rows import Faults, Row, median, milliseconds
from .witness import inspect, listen_for_skipped_jobs, watch

DELTAS = 200
PIECE = 6
"""Characters that the fake Claude says at once."""

GAP = 0.001


@dataclass(frozen=True, slots=True)
class Stream:
    """One answer: seconds until its first text was there, and until all of it was."""

    first: float
    whole: float


def measure(*, quick: bool = False) -> Sequence[Row]:
    """In turn: a mention, committed, until a browser has the finished answer; the same request by the bare SDK."""
    rounds = 3 if quick else 25
    settings: dict[str, Any] = {"ANTHROPIC_API_KEY": KEY, "NEOLITH_MODEL": MODEL}
    with (
        fake_claude(GAP) as api,
        watch() as witness,
        world(sockets=True, ANTHROPIC_BASE_URL=api, **settings) as made,
        serving(made.app) as url,
        made.app.app_context(),
        crowd(url, log_in(url, made.person), ("message:delta", "message:done"), channel=made.channel) as browser,
    ):
        neolith.manager.start_daemon(made.orchestrators[0])
        listen_for_skipped_jobs()
        _turn(made, browser)
        client = anthropic.Anthropic(api_key=KEY, base_url=api, max_retries=0)
        request = _request(api)
        deltas = sum(_texts(client, request))
        pairs = [(_turn(made, browser), _call(client, request)) for _ in range(rounds)]
        client.close()
        faults = _judged(api, 2 + 2 * rounds, deltas) + inspect(made) + witness.faults
    return _rows(pairs, faults)


def _rows(pairs: Sequence[tuple[Stream, Stream]], faults: Faults) -> Sequence[Row]:
    whole, bare = median(ours.whole for ours, _ in pairs), median(theirs.whole for _, theirs in pairs)
    ratio = median(ours.whole / theirs.whole for ours, theirs in pairs)
    first, bare_first = median(ours.first for ours, _ in pairs), median(theirs.first for _, theirs in pairs)
    what = f"one streamed turn, {DELTAS} deltas, provider gap 1 ms"
    return [
        Row(
            f"{what}: from the commit of the question until a browser has the finished answer",
            milliseconds(whole),
            "<= 1.03 of the bare SDK",
            ratio <= 1.03,
            f"{milliseconds(bare)}: the bare SDK on the same server",
            f"{ratio:.3f}",
            faults,
            (f"{len(pairs)} pairs",),
        ),
        Row(
            f"{what}: first text at the browser",
            milliseconds(first),
            "<= 5 ms later",
            first - bare_first <= 0.005,
            f"{milliseconds(bare_first)}: the bare SDK's first text",
            f"{(first - bare_first) * 1000:+.2f} ms",
            faults,
        ),
    ]


def _turn(made: World, browser: Crowd) -> Stream:
    question = "@agent0 ".ljust(DELTAS * PIECE - len("You said: [Maya]: "), "x")
    neolith.chat.post(made.person, made.channel, question)
    began = time.monotonic()
    db.session.commit()
    first = browser.heard("message:delta") - began
    whole = browser.heard("message:done") - began
    neolith.run_until_idle()
    return Stream(first, whole)


def _call(client: anthropic.Anthropic, request: Mapping[str, Any]) -> Stream:
    began = time.monotonic()
    texts = _texts(client, request)
    next(texts)
    first = time.monotonic() - began
    for _ in texts:
        pass
    return Stream(first, time.monotonic() - began)


def _texts(client: anthropic.Anthropic, request: Mapping[str, Any]) -> Iterator[int]:
    with client.messages.stream(**request) as stream:
        for _ in stream.text_stream:
            yield 1


def _request(api: str) -> Mapping[str, Any]:
    """What the product asked, to be asked again word for word."""
    body = dict(report(api)["requests"][0]["body"])
    del body["stream"]
    return body


def _judged(api: str, expected: int, deltas: int) -> Faults:
    seen = report(api)
    problems = []
    if deltas != DELTAS:
        problems.append(f"the answer has {deltas} deltas")
    if len(seen["requests"]) != expected or seen["cutStreams"]:
        problems.append(f"{len(seen['requests'])} of {expected} requests, {seen['cutStreams']} cut")
    return Faults(violations=len(problems), details=tuple(problems))
