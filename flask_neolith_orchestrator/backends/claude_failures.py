"""Every way in which a call to Claude fails, told in the words of `core.errors`, in one place.

| what happened                                           | told as                                        |
|---------------------------------------------------------|------------------------------------------------|
| the call was told to end, whatever broke on the way     | Cancelled                                      |
| 408, 409, 425, 429, 499, 5xx (but 501), x-should-retry  | ModelUnavailable, with the provider's wish     |
| 402, 403, 404, spend limits                             | ModelNotServed                                 |
| other statuses, bad credentials, bad URL                | ModelRejected                                  |
| an error event inside the stream                        | by its type, like a status                     |
| no connection, no answer in time, drop, silence         | ModelUnavailable before the answer has begun,  |
|                                                         | ModelInterrupted after                         |

The wording never holds what was sent: of the provider only its own short message is quoted, and messages of
the HTTP layer only where they cannot contain a header. Part of the Claude backend: it imports the SDK and is
itself imported with the first call.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import anthropic
import httpx2

from ..core.cancel import Cancel, Cancelled
from ..core.errors import ModelError, ModelInterrupted, ModelNotServed, ModelRejected, ModelUnavailable
from .claude_answer import Answer

MAX_QUOTE = 300  # characters of the provider's message

_PASSING_STATUSES = frozenset({408, 409, 425, 429, 499})
_PASSING_CODES = frozenset({"request_body_timeout", "ramp_limit_exceeded"})
_LASTING_TYPES = frozenset(
    {
        "invalid_request_error",
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
    }
)
_MODEL_TYPES = frozenset({"billing_error", "permission_error", "not_found_error"})
# Failures below the SDK that trying again does not cure: a bad address, a header that cannot be sent,
# text that cannot be encoded.
_LASTING_CAUSES = (
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
    httpx2.InvalidURL,
    httpx2.TooManyRedirects,
    UnicodeEncodeError,
)
# What else comes out of the SDK: a broken stream raises the HTTP layer's own errors, one that is no event
# stream those of decoding.
_PASSING_ERRORS = (
    anthropic.AnthropicError,
    httpx2.HTTPError,
    httpx2.StreamError,
    OSError,
    json.JSONDecodeError,
    UnicodeDecodeError,
)
# The messages of these hold addresses and system errors, never what was sent.
_QUOTABLE = (httpx2.NetworkError, httpx2.TimeoutException, OSError)


@contextlib.contextmanager
def translated(cancel: Cancel, answer: Answer) -> Iterator[None]:
    """Raise what goes wrong inside the block as Cancelled or as a ModelError; bugs stay what they are."""
    try:
        yield
    except (Cancelled, ModelError):
        raise
    except Exception as error:
        if cancel.is_set():  # first of all: a socket that was cut on purpose breaks in any of these ways
            raise Cancelled from error
        failure = failure_of(error, answer)
        if failure is None:
            raise
        raise failure from error


def failure_of(error: Exception, answer: Answer) -> ModelError | None:
    """The ModelError for what the SDK raised; None for what it does not raise."""
    if isinstance(error, anthropic.APIStatusError):
        return _of_status(error, answer)
    if isinstance(error, anthropic.IdentityTokenFileError):  # a token that is mounted later, says the SDK
        return _passing(error, answer)
    if isinstance(error, anthropic.CredentialsError | anthropic.APIWebhookValidationError):
        return ModelRejected(f"Claude cannot be called: {_quote(str(error))}")
    if isinstance(error, TypeError) and "authentication" in str(error):
        return ModelRejected("There is no key for Claude. Set ANTHROPIC_API_KEY in the environment.")
    if isinstance(_below(error), _LASTING_CAUSES):
        name = type(_below(error)).__name__
        return ModelRejected(f"The request to Claude cannot be sent ({name}). Check the base URL and the key.")
    return _passing(error, answer) if isinstance(error, _PASSING_ERRORS) else None


def _of_status(error: anthropic.APIStatusError, answer: Answer) -> ModelError:
    words = f"{error.type or 'HTTP'} {error.status_code}"
    message = f"Claude answered {words}: {_quote(error.api_message or 'no message')}"
    request_id = error.request_id or answer.request_id
    if _lasts(error):
        kind = ModelNotServed if _is_of_the_model(error) else ModelRejected
        return kind(message, request_id=request_id)
    if answer.began:
        return ModelInterrupted(message, request_id=request_id)
    return ModelUnavailable(message, retry_after=retry_after(error.response.headers), request_id=request_id)


def _lasts(error: anthropic.APIStatusError) -> bool:
    code = error.error_code or ""
    if code.endswith("spend_limit_reached") or code in _PASSING_CODES:
        return code not in _PASSING_CODES
    if error.status_code == 200:  # an error event inside the stream: the class says nothing
        return error.type in _LASTING_TYPES
    if error.response.headers.get("x-should-retry") == "true":
        return False
    return not (error.status_code in _PASSING_STATUSES or (error.status_code >= 500 and error.status_code != 501))


def _is_of_the_model(error: anthropic.APIStatusError) -> bool:
    """Whether the refusal is of this model, so that another one may be served: unknown, not allowed, spent."""
    code = error.error_code or ""
    return error.type in _MODEL_TYPES or error.status_code in (402, 403, 404) or code.endswith("spend_limit_reached")


def _passing(error: Exception, answer: Answer) -> ModelError:
    below = _below(error)
    reason = f": {_quote(str(below))}" if isinstance(below, _QUOTABLE) and str(below) else ""
    if answer.began:
        message = f"The model's answer broke off ({type(below).__name__}{reason})."
        return ModelInterrupted(message, request_id=answer.request_id)
    message = f"The model cannot be reached ({type(below).__name__}{reason})."
    return ModelUnavailable(message, request_id=answer.request_id)


def _below(error: Exception) -> BaseException:
    """What the HTTP layer raised, where the SDK has only wrapped it."""
    if isinstance(error, anthropic.APIConnectionError) and error.__cause__ is not None:
        return error.__cause__
    return error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """When the provider wants to be asked again, in seconds from now, if it said so in a way that makes sense."""
    milliseconds, wish = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds is not None:
            seconds = float(milliseconds) / 1000
        elif wish is not None:
            seconds = _seconds(wish)
        else:
            return None
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds(wish: str) -> float:
    try:
        return float(wish)
    except ValueError:
        at = parsedate_to_datetime(wish)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()


def _quote(message: str) -> str:
    return message if len(message) <= MAX_QUOTE else message[:MAX_QUOTE] + "..."
