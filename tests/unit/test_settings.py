"""Settings: where values come from, what is refused, and that every bad one is named."""

from __future__ import annotations

from typing import Any

import pytest

from flask_neolith_orchestrator.core.errors import ConfigurationError
from flask_neolith_orchestrator.settings import KEYS, Settings, load_settings

MILLISECONDS = sorted(
    key
    for key in KEYS
    if key.endswith(("_INTERVAL", "_TIMEOUT", "_DELAY", "_AGE", "_WINDOW", "_TTL", "_TIME"))
    or key in ("DAEMON_LEASE", "DAEMON_DEBOUNCE")
)
COUNTS = sorted(key for key in KEYS if "_MAX_" in key or key.endswith(("_TOKENS", "_LIMIT", "_TURNS")))
FLAGS = sorted(key for key, name in KEYS.items() if Settings.model_fields[name].annotation in (bool, bool | None))


def test_without_anything_the_defaults_hold() -> None:
    """No key, or a key that is None, means the default of the specification."""
    settings = load_settings(dict.fromkeys(KEYS), {})
    assert settings == load_settings({}, {})
    assert (settings.mode, settings.auto_start, settings.auto_restart, settings.verbose) == (False, True, True, False)
    assert (settings.heartbeat_interval, settings.health_check_interval) == (30_000, 60_000)
    assert (settings.max_restart_attempts, settings.max_concurrent_conversations) == (3, 10)


def test_the_apps_config_wins_over_the_environment_over_the_default() -> None:
    """app.config, else the environment, else the default; None in app.config gives way to the environment."""
    environment = {"DAEMON_HEARTBEAT_INTERVAL": "7000", "DAEMON_MAX_QUEUE": "7"}
    settings = load_settings({"DAEMON_HEARTBEAT_INTERVAL": 5000, "DAEMON_MAX_QUEUE": None}, environment)
    assert (settings.heartbeat_interval, settings.max_queue, settings.lease) == (5000, 7, 5000)


@pytest.mark.parametrize("key", [*MILLISECONDS, *COUNTS])
@pytest.mark.parametrize("value", ["30s", "-5", "1e5", "", " ", "ten", "1.5", -5, 1.5, True, [1], "9" * 30])
def test_a_number_that_is_none_is_refused(key: str, value: Any) -> None:
    """Every duration and count takes whole numbers only, and says which key was bad."""
    with pytest.raises(ConfigurationError, match=f"^Bad settings:\n  - {key}="):
        load_settings({key: value}, {})


def test_each_kind_of_key_is_covered() -> None:
    """The lists of this test are not empty by accident."""
    assert len(MILLISECONDS) >= 14
    assert len(COUNTS) >= 9
    assert len(FLAGS) == 7


@pytest.mark.parametrize("key", FLAGS)
def test_what_is_true_and_what_is_false(key: str) -> None:
    """FALSE, 0, no and off are false in any case, and so on; anything else is refused."""
    name = KEYS[key]
    for value in ("FALSE", "false", "False", "0", "no", "NO", "off", "Off", "f", "n", 0, False):
        assert getattr(load_settings({key: value}, {}), name) is False, value
    for value in ("TRUE", "true", "1", "yes", "YES", "on", "On", "t", "y", 1, True):
        assert getattr(load_settings({key: value}, {}), name) is True, value
    for bad in ("maybe", "", "2", 2, "truee", [1]):
        with pytest.raises(ConfigurationError, match=key):
            load_settings({key: bad}, {})


def test_every_bad_key_is_named_in_one_error() -> None:
    """Four kinds of mistakes, from both sources, and one between two settings: one error that lists them all."""
    config = {"DAEMON_HEARTBEAT_INTERVAL": "30s", "DAEMON_VERBOSE": "maybe", "DAEMON_RENEW_INTERVAL": 4_000}
    environment = {
        "DAEMON_HEALTH_CHECK_INTERVAL": "",
        "DAEMON_STOP_ON": "sometimes",
        "NEOLITH_URL_PREFIX": "neolith/",
        "NEOLITH_PUBLIC_URL": "chat.example.org",
        "NEOLITH_DASHBOARD_LINK": "javascript:alert(1)",
        "NEOLITH_ENGINE": "kafka",
        "NEOLITH_BROKER_URL": "amqp://me:secret@there",
    }
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config, environment)
    named = {problem.partition("=")[0] for problem in caught.value.problems}
    assert named == {*config, *environment}
    sentence = str(caught.value)
    assert "secret" not in sentence
    assert "DAEMON_HEARTBEAT_INTERVAL='30s'" in sentence
    assert "integer" in sentence
    assert "'last_logout', 'any_logout' or 'never'" in sentence
    assert "at most half of DAEMON_LEASE (5000)" in sentence


def test_a_key_is_never_shown() -> None:
    """An error that lists bad settings does not print the API key, and neither does the object."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"ANTHROPIC_API_KEY": 12345678, "DAEMON_LEASE": "x"}, {})
    assert "12345678" not in str(caught.value)
    assert "sk-secret" not in repr(load_settings({"ANTHROPIC_API_KEY": "sk-secret"}, {}))


@pytest.mark.parametrize("key", ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "NEOLITH_STATE_DIR"])
@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_line_of_an_env_file_is_no_value(key: str, blank: str) -> None:
    """`ANTHROPIC_API_KEY=` means that there is no key, so the offline model answers."""
    assert getattr(load_settings({}, {key: blank}), KEYS[key]) is None


def test_what_templates_are_told_of_the_mode() -> None:
    """NEXT_PUBLIC_ORCHESTRATOR_MODE, else ORCHESTRATOR_MODE."""
    assert load_settings({"ORCHESTRATOR_MODE": "on"}, {}).shown_mode is True
    assert load_settings({"ORCHESTRATOR_MODE": "on", "NEXT_PUBLIC_ORCHESTRATOR_MODE": "0"}, {}).shown_mode is False


@pytest.mark.parametrize("prefix", ["neolith", "/", "/neolith/", ""])
def test_a_prefix_is_a_path(prefix: str) -> None:
    """A prefix that Flask would choke on later is refused at once."""
    with pytest.raises(ConfigurationError, match="NEOLITH_URL_PREFIX"):
        load_settings({"NEOLITH_URL_PREFIX": prefix}, {})
