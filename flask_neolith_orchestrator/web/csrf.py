"""Forged requests: what a foreign page makes a visitor's browser send with the visitor's cookie.

A request with the cookie that changes state must say that it comes from a page of this host, and must be JSON,
which no plain form can send. In this order (as Go's net/http.CrossOriginProtection does):

1. `Sec-Fetch-Site`, which no page can set: only `same-origin` passes;
2. else `Origin`: its host and port must be those that were asked;
3. else `Referer`, the same way;
4. none of the three: refused. Browsers always send one of them; programs should use an API key.

This holds with and without Flask-WTF. Where the host has it, the blueprint is exempt from its token.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, Flask, request

from .problem import Problem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_PORTS = {"http": 80, "https": 443}


def check() -> None:
    """Raise a problem (403 or 415) for a state-changing cookie request that may be forged."""
    if request.method in SAFE_METHODS:
        return
    if not is_same_origin():
        raise Problem(403, "This request does not come from a page of this site.", code="cross-origin")
    if not request.is_json and (request.method == "POST" or request.content_length):
        raise Problem(415, "Send JSON, with Content-Type: application/json.")


def is_same_origin() -> bool:
    """Whether the browser says that a page of this very host sends this request."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    source = request.headers.get("Origin") or request.headers.get("Referer") or ""
    asked = _host(f"{request.scheme}://{request.host}")
    return asked is not None and _host(source) == asked


def _host(url: str) -> tuple[str, int | None] | None:
    """Host and port of a web address, None for anything else. The scheme may differ: a proxy may have taken TLS off."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    return parts.hostname, None if port in _PORTS.values() else port


def exempt(app: Flask, blueprint: Blueprint) -> None:
    """Take the blueprint out of Flask-WTF's check, whichever of the two extensions comes first."""

    def apply() -> None:
        guard = app.extensions.get("csrf")
        if guard is not None and hasattr(guard, "exempt"):
            guard.exempt(blueprint)

    apply()
    # an extension that is set up after us has its check behind this one
    app.before_request(apply)
