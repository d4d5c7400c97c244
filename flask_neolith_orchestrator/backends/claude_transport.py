"""The HTTP transport that puts our `Wire` below the SDK's client. Imported lazily, like the wire."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.request
from collections.abc import Iterable, Iterator

import httpcore2
import httpx2

from .claude_wire import Wire

KEEP_IDLE = 20  # connections kept for the next call
KEEP_SECONDS = 60.0

_CORE_ERRORS = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)


class Transport(httpx2.BaseTransport):
    """A pool of connections made by `wire`, through the proxy that the environment names, if any.

    Lifetime: one process. Healthy connections are kept for the next call; one that was cut, or whose answer
    was not read to its end, is closed.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._lock = threading.Lock()
        self._pools: dict[str | None, httpcore2.ConnectionPool] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.BaseTransport`."""
        with _as_httpx():
            response = self._pool(request.url).handle_request(
                httpcore2.Request(
                    method=request.method,
                    url=_core_url(request.url),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx2.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close every connection. Safe twice."""
        self._wire.close()
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()

    def _pool(self, url: httpx2.URL) -> httpcore2.ConnectionPool:
        proxy = _proxy_for(url)
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = httpcore2.ConnectionPool(
                    proxy=_core_proxy(proxy) if proxy else None,
                    ssl_context=httpcore2.default_ssl_context(),
                    max_connections=None,
                    max_keepalive_connections=KEEP_IDLE,
                    keepalive_expiry=KEEP_SECONDS,
                    network_backend=self._wire,
                    socket_options=list(_socket_options()),
                )
            return self._pools[proxy]


class _Body(httpx2.SyncByteStream):
    """The body of a response, its errors told in the words of httpx2."""

    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """Both libraries use the same names for the same failures."""
    try:
        yield
    except _CORE_ERRORS as error:
        kind: type[httpx2.TransportError] = getattr(httpx2, type(error).__name__, httpx2.TransportError)
        raise kind(str(error)) from error


def _proxy_for(url: httpx2.URL) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name for this address."""
    proxies = urllib.request.getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found or urllib.request.proxy_bypass(url.host):
        return None
    return found if "://" in found else f"http://{found}"


def _core_proxy(url: str) -> httpcore2.Proxy:
    proxy = httpx2.Proxy(url)
    return httpcore2.Proxy(url=_core_url(proxy.url), auth=proxy.raw_auth, headers=proxy.headers.raw)


def _core_url(url: httpx2.URL) -> httpcore2.URL:
    return httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _socket_options() -> Iterable[tuple[int, int, int]]:
    """TCP keep-alive as the SDK sets it, where the system knows the option."""
    yield (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5), ("TCP_KEEPIDLE", 60)):
        if hasattr(socket, name):
            yield (socket.IPPROTO_TCP, getattr(socket, name), value)
