"""Settings come from a mapping alone, all faults at once, and no value ever leaves in a message."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from config.settings import (
    KEYS_FOLDER,
    Settings,
    SettingsError,
    load_settings,
    read_config,
    render_documentation,
)

SECRETS = {one.name for one in fields(Settings) if one.metadata["secret"]}
VALUE = "q6tVN0v3rSh0wn"


def read_no_file(path: str) -> str:
    """Stand for a disk without any file."""
    raise FileNotFoundError(path)


def refuse(environment: dict[str, str]) -> tuple[str, ...]:
    """Give the faults of an environment that must be refused."""
    with pytest.raises(SettingsError) as caught:
        load_settings(environment, read_no_file)
    assert str(caught.value) == "\n".join(caught.value.faults)
    return caught.value.faults


def test_empty_environment_gives_the_defaults() -> None:
    assert load_settings({}, read_no_file) == Settings()


def test_names_of_others_are_passed_over() -> None:
    assert (
        load_settings({"PATH": "x", "bcl_port": "1", "ABCL_PORT": "1"}, read_no_file).port == 8080
    )


def test_every_setting_can_be_given_by_its_name() -> None:
    given: dict[str, Any] = {
        "env": "production",
        "database_url": "postgresql+psycopg://ledger@db/ledger",
        "public_url": "https://ledger.example",
        "host": "0.0.0.0",  # noqa: S104 - only read, never bound
        "port": 443,
        "workers": 3,
        "body_max_bytes": 1000,
        "sequence_interval_seconds": 0.5,
        "witness_policy": "witnesses.toml",
        "witness_timeout_seconds": 2.5,
        "development_keys": False,
    } | dict.fromkeys(SECRETS, VALUE)
    environment = {f"BCL_{name.upper()}": str(value) for name, value in given.items()}
    environment["BCL_DEVELOPMENT_KEYS"] = "false"
    assert load_settings(environment, read_no_file) == Settings(**given)
    assert set(given) == {one.name for one in fields(Settings)}


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_secret_may_come_from_a_file_without_its_last_newline(name: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{VALUE}\n", "utf-8")
    loaded = load_settings(
        {f"BCL_{name.upper()}_FILE": str(file)}, lambda path: Path(path).read_text("utf-8")
    )
    assert getattr(loaded, name) == VALUE


def test_secret_given_plainly_and_as_a_file_is_refused() -> None:
    faults = refuse({"BCL_LOG_KEY": VALUE, "BCL_LOG_KEY_FILE": VALUE})
    assert faults == ("BCL_LOG_KEY_FILE and its plain form are both set.",)


def test_file_that_holds_no_text_is_refused_without_telling_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\xff\xfe" + VALUE.encode())
    with pytest.raises(SettingsError) as caught:
        load_settings({"BCL_TAG_KEY_FILE": str(file)}, lambda path: Path(path).read_text("utf-8"))
    assert caught.value.faults == ("BCL_TAG_KEY_FILE names a file that can't be read.",)


def test_file_that_cannot_be_read_is_named_by_its_setting_alone() -> None:
    assert refuse({"BCL_TAG_KEY_FILE": VALUE}) == (
        "BCL_TAG_KEY_FILE names a file that can't be read.",
    )


@pytest.mark.parametrize("name", ["BCL_", "BCL_PROT", "BCL__FILE", "BCL_PORT_FILE", "BCL_FILE"])
def test_unknown_name_is_a_fault(name: str) -> None:
    assert refuse({name: VALUE}) == (f"{name} is no setting.",)


@pytest.mark.parametrize(
    "name", ["BCL_PORT", "BCL_WORKERS", "BCL_BODY_MAX_BYTES", "BCL_SEQUENCE_INTERVAL_SECONDS"]
)
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (VALUE, "must be a number."),
        ("", "must be a number."),
        ("0x10", "must be a number."),
        ("0", "must be a positive number."),
        ("-1", "must be a positive number."),
    ],
)
def test_number_that_is_none_or_not_positive_is_a_fault(
    name: str, text: str, sentence: str
) -> None:
    assert refuse({name: text}) == (f"{name} {sentence}",)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
def test_interval_that_no_clock_can_wait_is_a_fault(text: str) -> None:
    (fault,) = refuse({"BCL_SEQUENCE_INTERVAL_SECONDS": text})
    assert fault.startswith("BCL_SEQUENCE_INTERVAL_SECONDS must be")


def test_port_beyond_the_last_one_is_a_fault() -> None:
    assert load_settings({"BCL_PORT": "65535"}, read_no_file).port == 65_535
    assert refuse({"BCL_PORT": "65536"}) == ("BCL_PORT must be at most 65535.",)


@pytest.mark.parametrize("text", ["yes", "True", "1", ""])
def test_truth_has_two_words(text: str) -> None:
    assert refuse({"BCL_DEVELOPMENT_KEYS": text}) == (
        "BCL_DEVELOPMENT_KEYS must be true or false.",
    )


@pytest.mark.parametrize("url", ["postgresql://db/x", "mysql://db/x", "sqlite://", VALUE])
def test_database_that_the_ledger_cannot_use_is_a_fault(url: str) -> None:
    (fault,) = refuse({"BCL_DATABASE_URL": url})
    assert fault.startswith("BCL_DATABASE_URL must start with")


def test_development_keys_are_refused_in_production() -> None:
    environment = {"BCL_ENV": "production", "BCL_DEVELOPMENT_KEYS": "true"}
    assert refuse(environment) == ("Development keys are refused in production.",)


def test_all_faults_are_told_at_once() -> None:
    faults = refuse(
        {
            "BCL_ENV": "staging",
            "BCL_DATABASE_URL": "mysql://db/ledger",
            "BCL_PUBLIC_URL": "ledger.example",
            "BCL_PORT": "eighty",
            "BCL_WORKERS": "0",
            "BCL_DEVELOPMENT_KEYS": "perhaps",
            "BCL_LOG_KEY": VALUE,
            "BCL_LOG_KEY_FILE": "log.key",
            "BCL_TAG_KEY_FILE": "tag.key",
            "BCL_COLOUR": "red",
        }
    )
    assert len(faults) == 9
    told = {word for fault in faults for word in fault.split() if word.startswith("BCL_")}
    assert {"BCL_ENV", "BCL_PORT", "BCL_WORKERS", "BCL_COLOUR", "BCL_TAG_KEY_FILE"} <= told


def test_secrets_stay_out_of_every_representation() -> None:
    environment = {f"BCL_{name.upper()}": f"{VALUE}-{name}" for name in SECRETS}
    loaded = load_settings(environment, read_no_file)
    assert VALUE not in repr(loaded)
    assert VALUE not in str(loaded)
    assert loaded.require_keys() == {name: f"{VALUE}-{name}" for name in SECRETS}


def test_no_message_tells_a_value() -> None:
    names = [f"BCL_{one.name.upper()}" for one in fields(Settings)]
    names += [f"BCL_{name.upper()}_FILE" for name in SECRETS] + ["BCL_COLOUR"]
    assert not [fault for fault in refuse(dict.fromkeys(names, VALUE)) if VALUE in fault]


def test_missing_secrets_are_all_named() -> None:
    given = SECRETS - {"log_key", "tag_key"}
    loaded = load_settings({f"BCL_{name.upper()}": VALUE for name in given}, read_no_file)
    with pytest.raises(SettingsError) as caught:
        loaded.require_keys()
    assert caught.value.faults == (
        "BCL_LOG_KEY (or its _FILE) is missing.",
        "BCL_TAG_KEY (or its _FILE) is missing.",
    )


def run_settings(code: str, environment: dict[str, str]) -> str:
    """Run a line of code on the settings in a process with exactly this environment."""
    command = [sys.executable, "-c", f"from config.settings import *\n{code}"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


SHOW = "one = load_environment(Path({0!r}))\nprint(one.log_key, one.development_keys, one.port)"


def test_sandbox_folder_completes_an_environment_without_secrets(tmp_path: Path) -> None:
    keys = tmp_path / KEYS_FOLDER
    keys.mkdir()
    for name in SECRETS:
        (keys / name).write_text(f"{VALUE}-{name}\n", "utf-8")
    code = SHOW.format(str(tmp_path))
    assert run_settings(code, {"BCL_PORT": "81"}) == f"{VALUE}-log_key True 81"
    assert run_settings(code, {"BCL_LOG_KEY": "mine"}) == "mine False 8080"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "sqlite:///{}/ledger.sqlite"),
        ({"BCL_DATABASE_URL": "sqlite:///mine"}, "sqlite:///mine"),
    ],
)
def test_what_is_given_stands_before_what_the_sandbox_completes(
    given: dict[str, str], url: str, tmp_path: Path
) -> None:
    (tmp_path / KEYS_FOLDER).mkdir()
    code = f"print(read_environment(Path({str(tmp_path)!r}))['BCL_DATABASE_URL'])"
    assert run_settings(code, given) == url.format(tmp_path)


def test_folder_without_a_sandbox_changes_nothing(tmp_path: Path) -> None:
    assert run_settings(SHOW.format(str(tmp_path)), {"BCL_LOG_KEY": "mine"}) == "mine False 8080"


def test_settings_page_is_what_the_module_prints() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    command = [sys.executable, "-m", "config.settings"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONUTF8": "1"}, capture_output=True, check=True
    )
    assert done.stdout.decode("utf-8") == page == render_documentation()


def test_shipped_files_are_read_from_beside_the_module() -> None:
    assert read_config("policy.toml") == (ROOT / "config" / "policy.toml").read_text("utf-8")
