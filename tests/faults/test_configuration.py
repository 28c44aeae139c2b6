"""A wrong configuration ends with status 2 before any request, with an error that names the place and no secret."""

import os
from pathlib import Path

import pytest
from dlt.common.runtime.run_context import active

from meterhouse.pipelines.sandbox import Sandbox
from meterhouse.pipelines.warehouse.destination import public_location
from meterhouse.sources._core.config.unknown_settings import read_files
from tests.conftest import Cli
from tests.faults.conftest import configure

LOAD = ("run", "--no-models")
SECRET = "sk-verysecretverysecret"

pytestmark = pytest.mark.usefixtures("own_dlt_folder")


def refused(cli: Cli, *arguments: str) -> str:
    """The only line that a command prints before it ends with status 2."""
    (line,) = [line for line in cli(*arguments, status=2).splitlines() if line.strip()]
    assert line.startswith("meterhouse: ")
    return line


@pytest.mark.parametrize("file", ["config.toml", "secrets.toml"])
@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"[sources.mathpix]\napp_id = 'x'\napp_key = {SECRET}\n", "line 3, column 11"),
        (f'[sources.mathpix]\napp_key = "{SECRET}\n', "line 2, column"),
        (f"[sources.mathpix]\n{SECRET}\n", "line 2, column"),
        (f"[sources.mathpix\napp_key = '{SECRET}'\n", "line 1, column"),
        (f"[sources.mathpix]\napp_key = '{SECRET}'\napp_key = '{SECRET}'\n", "line 3, column"),
        (f"[sources.mathpix]\na = {{'{SECRET}' = 1, '{SECRET}' = 2}}\n", "line 2, column"),
        (f"['{SECRET}']\n['{SECRET}']\n", "line 2, column"),
    ],
)
def test_the_error_for_a_broken_file_names_its_line(cli: Cli, sandbox: Sandbox, file: str, text: str, where: str) -> None:
    """In every command that reads the file, and without its contents."""
    Path(".dlt").mkdir()
    Path(".dlt", file).write_text(text)
    for command in (LOAD, ("check",), ("models",)):
        line = refused(cli, *command)
        assert f".dlt/{file}, {where}" in line
        assert SECRET[:8] not in line
    assert len(sandbox.requests) == 0


def test_the_error_for_another_encoding_names_its_line(cli: Cli) -> None:
    """A file in Latin-1 is refused."""
    Path(".dlt").mkdir()
    Path(".dlt/secrets.toml").write_bytes(b"[sources.mathpix]\n# Schl\xfcssel\n")
    assert ".dlt/secrets.toml, line 2: is not UTF-8" in refused(cli, *LOAD)


@pytest.mark.parametrize("file", ["config.toml", "secrets.toml"])
def test_a_byte_order_mark_is_named(cli: Cli, file: str) -> None:
    """Editors on Windows write it, and nobody sees it in the first line."""
    Path(".dlt").mkdir()
    Path(".dlt", file).write_text("[sources.mathpix]\napp_id = 'x'\n", encoding="utf-8-sig")
    assert f".dlt/{file} begins with a byte order mark. Save it in UTF-8 without one." in refused(cli, *LOAD)


@pytest.mark.parametrize("quoted", [f'"{SECRET}"', f"'{SECRET}'"])
@pytest.mark.parametrize(
    ("variable", "setting"),
    [
        ("SOURCES__MATHPIX__APP_KEY", "sources.mathpix.app_key"),
        ("SOURCES__MATHPIX__REQUESTS_PER_MINUTE", "sources.mathpix.requests_per_minute"),
        ("SOURCES__REDUCTO__ORG_IDS", "sources.reducto.org_ids"),
        ("ALERTS__WEBHOOK", "alerts.webhook"),
        ("DESTINATION__DUCKDB__CREDENTIALS", "destination.duckdb.credentials"),
    ],
)
def test_a_value_in_quotation_marks_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, variable: str, setting: str, quoted: str
) -> None:
    """`docker --env-file` makes them part of the value; no key with them is sent."""
    monkeypatch.setenv(variable, quoted)
    line = refused(cli, *LOAD)
    assert f"{setting}, which {variable} sets, has quotation marks around its value. Remove them." in line
    assert SECRET[:8] not in line
    assert not sandbox.requests


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[sources.mathpix]\nlookbak = '2 days'", "sources.mathpix.lookbak, which .dlt/config.toml sets, is not known. Did you mean lookback?"),  # noqa: E501
        ("[sources.mathpix]\nap_key = 'secret'", "sources.mathpix.ap_key, which .dlt/config.toml sets, is not known. Did you mean app_key?"),  # noqa: E501
        ("[sources.reducto]\norg_id = 'x'", "Did you mean org_ids?"),
        ("[sources.onepin]\ntime_zone = 'UTC'", "Did you mean timezone?"),
        ("[sources.scopix]\nzzz = 1", "sources.scopix.zzz, which .dlt/config.toml sets, is not known. Known: accounts, "),
        ("[sources.billing]\nprice = 'p.csv'", "Did you mean prices?"),
        ("[sources.http]\nattemps = 2", "Did you mean attempts?"),
        ("[sources.mathpics]\napp_id = 'x'", "[sources.mathpics], which .dlt/config.toml sets, is not known. Did you mean mathpix?"),  # noqa: E501
        ("[sources.mathpix.account.europe]\napp_id = 'x'", "[sources.mathpix.account]"),
        ("[sources.mathpix.accounts.europe]\napp_id = 'x'\napp_key = 'k'\nbase_ulr = 'x'", "Did you mean base_url?"),
        ("[sources]\napi_key = 'secret'", "sources.api_key, which .dlt/config.toml sets, applies to no provider. Set it for a provider, as in [sources.reducto]"),  # noqa: E501
        ("[source.mathpix]\nbase_url = 'https://eu.example'", "[source], which .dlt/config.toml sets, is not known. Did you mean sources?"),  # noqa: E501
        ("[alert]\nwebhook = 'x'", "[alert], which .dlt/config.toml sets, is not known. Did you mean alerts?"),
        ("[destinations.duckdb]\ncredentials = 'x'", "[destinations], which .dlt/config.toml sets, is not known. Did you mean destination?"),  # noqa: E501
        ("[mathpix]\napp_id = 'x'", "[mathpix], which .dlt/config.toml sets, is not known. Did you mean sources.mathpix?"),
        ("[SOURCES.mathpix]\napp_id = 'x'", "[SOURCES], which .dlt/config.toml sets, is not known. Did you mean sources?"),
        ("[sources.MATHPIX]\napp_id = 'x'", "[sources.MATHPIX], which .dlt/config.toml sets, is not known. Did you mean mathpix?"),  # noqa: E501
        ("sources = 'x'", "sources, which .dlt/config.toml sets, is not a section."),
        ("[[sources.mathpix]]\napp_id = 'x'", "sources.mathpix, which .dlt/config.toml sets, is not a section."),
        ("[sources.mathpix.mathpix_source]\nlookbak = '2 days'", "sources.mathpix.mathpix_source.lookbak, which .dlt/config.toml sets, is not known. Did you mean lookback?"),  # noqa: E501
        ("[billing]\nprices = 'p.csv'", "Did you mean sources.billing?"),
        ("[http]\nattempts = 2", "Did you mean sources.http?"),
        ("[alerts.budgets]\ntotal = '1 USD'", "alerts.budgets, which .dlt/config.toml sets, is no longer a setting: budgets are billing data. Write them into a file such as billing/budgets.csv"),  # noqa: E501
        ("[ALERTS]\nwebhook = 'x'", "[ALERTS], which .dlt/config.toml sets, is not known. Did you mean alerts?"),
        ("[destination]\ncredentials = 'x'", "destination.credentials, which .dlt/config.toml sets, is not in the section of a destination. Set it as destination.duckdb.credentials"),  # noqa: E501
        ("[destination]\nduckdb = 'x'", "destination.duckdb, which .dlt/config.toml sets, is not a section."),
        ("[destination.duckbd]\ncredentials = 'x'", "[destination.duckbd], which .dlt/config.toml sets, is not known. Did you mean duckdb?"),  # noqa: E501
        ("[destination.DuckDB]\ncredentials = 'x'", "[destination.DuckDB], which .dlt/config.toml sets, is not known. Did you mean duckdb?"),  # noqa: E501
        ("[[sources.mathpix.accounts]]\nname = 'a'\napp_id = 'x'\napp_kye = 'k'", "Did you mean app_key?"),
    ],
)  # fmt: skip
def test_the_error_for_an_unknown_setting_suggests_the_nearest(cli: Cli, sandbox: Sandbox, text: str, error: str) -> None:
    """For providers, accounts, billing and limits: a misspelled setting would otherwise silently keep its default."""
    configure(text)
    for command in (LOAD, ("check",)):
        line = refused(cli, *command)
        assert error in line
        assert "secret'" not in line
    assert len(sandbox.requests) == 0
    assert not cli.database.exists()


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("SOURCES__MATHPIX__LOOKBAK", "lookback"),
        ("SOURCES__ONEPIN__APIKEY", "api_key"),
        ("SOURCES__HTTP__ATTEMPT", "attempts"),
        ("SOURCES__MATHPIX__ACCOUNTS__EUROPE__BASEURL", "base_url"),
        ("SOURCE__MATHPIX__BASE_URL", "sources"),
        ("ALERT__WEBHOOK", "alerts"),
        ("MATHPIX__APP_KEY", "sources.mathpix"),
        ("DESTINATION__DUCKDB__CREDENTIAL", "credentials"),
        ("DESTINATION__DUKDB__CREDENTIALS", "duckdb"),
        ("DESTINATION__DUCKDB__CREDENTIALS__DATABSE", "database"),
    ],
)
def test_the_error_for_an_unknown_variable_suggests_the_nearest(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, variable: str, near: str
) -> None:
    """Environment variables are checked like files."""
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS", "europe")
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS__EUROPE__APP_ID", "x")
    monkeypatch.setenv("SOURCES__MATHPIX__ACCOUNTS__EUROPE__APP_KEY", "k")
    monkeypatch.setenv(variable, "1")
    line = refused(cli, *LOAD)
    assert variable in line
    assert f"Did you mean {near}?" in line


@pytest.mark.parametrize("address", [f"postgresql://u:{SECRET}@h/db", f"md:costs?motherduck_token={SECRET}"])
def test_an_address_in_place_of_a_destinations_name_is_not_shown(cli: Cli, address: str) -> None:
    """It may hold a password."""
    line = refused(cli, "status", "--destination", address)
    assert "--destination takes the name of a destination" in line
    assert SECRET not in line


def test_the_error_for_an_unreachable_bucket_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a command that only reads."""
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", f"ftp://u:{SECRET}@127.0.0.1:1/costs")
    (line,) = cli("check", "--destination", "filesystem", status=1).splitlines()
    assert line == "meterhouse: ftp://127.0.0.1:1 cannot be used: [Errno 111] Connection refused"


@pytest.mark.parametrize(
    ("variable", "prefix"),
    [
        ("SOURCES__MATHPIX_BASE_URL", "SOURCES__MATHPIX"),
        ("SOURCES_MATHPIX_BASE_URL", "SOURCES__MATHPIX"),
        ("SOURCES__MATHPIX_SOURCE__BASE_URL", "SOURCES__MATHPIX"),
        ("sources__mathpix__base_url", "SOURCES__MATHPIX"),
        ("SOURCES__BILLING_PRICES", "SOURCES__BILLING"),
        ("DESTINATION__DUCKDB_CREDENTIALS", "DESTINATION__DUCKDB"),
        ("ALERTS_WEBHOOK", "ALERTS__WEBHOOK"),
    ],
)
def test_a_variable_in_lower_case_or_with_a_single_underscore_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, variable: str, prefix: str
) -> None:
    """dlt would not find it, so that a key could go to the default host."""
    monkeypatch.setenv(variable, "1")
    line = refused(cli, *LOAD)
    assert f"the environment variable {variable} has no effect" in line
    assert f"between all parts: {prefix}…" in line


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"[destination.duckdb]\ncredential = '{SECRET}'", "destination.duckdb.credential, which {} sets, is not known. Did you mean credentials?"),  # noqa: E501
        ("[destination.duckdb.credentials]\ndatabse = 'x'", "destination.duckdb.credentials.databse, which {} sets, is not known. Did you mean database?"),  # noqa: E501
        ("[destination.duckdb]\ndataset_name = 'x'", "destination.duckdb.dataset_name, which {} sets, is not known"),
    ],
)  # fmt: skip
def test_the_error_for_an_unknown_setting_of_the_destination_names_it(
    cli: Cli, sandbox: Sandbox, text: str, error: str
) -> None:
    """In every command that opens it: the rows would land in the default database."""
    configure("")
    file = Path(".dlt/secrets.toml")
    file.touch(0o600)
    file.write_text(text)
    active().reload()
    for command in (LOAD, ("check",), ("models",), ("status",)):
        line = refused(cli, *command)
        assert error.format(file) in line
        assert SECRET[:8] not in line
    assert len(sandbox.requests) == 0
    assert not cli.database.exists()


def test_settings_of_other_programs_are_ignored(cli: Cli) -> None:
    """So are dlt's own sections, other destinations, and the settings of a provider that this run does not load."""
    configure(
        "[sources.github]\ntokn = 'x'\n[sources.mathpix.extract]\nworkers = 2\n[sources.scopix]\nzzz = 1\n[mine]\na = 1\n"
        "[schema]\nnaming = 'direct'\n[load]\nworkers = 1\n[resources]\ncpu = 1\n[destination.bigquery]\nlocation = 'EU'\n"
        "[destination.theirs]\ndestination_type = 'duckdb'\ncredential = 'x'\n[github.sources]\na = 1\n"
    )
    cli("run", "mathpix.ocr_usage_by_app_id", "--no-models", "--since", "2026-03-01", "--until", "2026-03-02")


@pytest.mark.parametrize(
    ("destination", "credentials", "error"),
    [
        ("duckdb", '{"database": "x.duckdb",}', "destination.duckdb.credentials is not valid JSON"),
        ("duckdb", f"md:usage?motherduck_token={SECRET}", "Use --destination motherduck"),
        ("duckdb", f"postgresql://user:{SECRET}@host/usage", "is not the path of a file"),
        ("duckdb", SECRET, "looks like a key"),
        ("postgres", f"user:{SECRET}@host/usage", "destination.postgres.credentials cannot be parsed"),
        ("postgres", f"postgresql://user:x@{SECRET}@host/usage", "Write the one in the password as %40"),
        ("postgres", f"https://user:{SECRET}@host/usage", "Start it with postgres://"),
        ("postgres", f"postgresql://user:x@host/usage\n{SECRET}", "has line breaks"),
    ],
)
def test_the_error_for_wrong_credentials_shows_none_of_them(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, destination: str, credentials: str, error: str
) -> None:
    """dlt would take them for the path of a file, or its driver would repeat them."""
    monkeypatch.setenv(f"DESTINATION__{destination.upper()}__CREDENTIALS", credentials)
    line = refused(cli, *LOAD, "--destination", destination)
    assert error in line
    assert SECRET[3:] not in line


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://user:password@host/path?token=x#y", "https://host/path"),
        ("s3://key:p@ssword@bucket/x", "s3://bucket/x"),
        ("abfss://container@account.dfs.core.windows.net/x", "abfss://container@account.dfs.core.windows.net/x"),
        ("localhost:5432/usage", "localhost:5432/usage"),
        ("file:///home/me@work/x", "file:///home/me@work/x"),
    ],
)
def test_a_location_has_no_user_and_no_query(location: str, shown: str) -> None:
    """Every command prints the destination's location."""
    assert public_location(location) == shown


@pytest.mark.parametrize("written_by", ["another user", "all users"])
@pytest.mark.parametrize("is_home", [True, False])
def test_refuses_settings_that_another_user_can_write(
    cli: Cli, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written_by: str, *, is_home: bool
) -> None:
    """A `base_url` in such a file would send the key to that user. An own file is read."""
    settings = (tmp_path if is_home else Path()) / ".dlt" / "config.toml"
    settings.parent.mkdir()
    settings.write_text('[sources.mathpix]\nbase_url = "https://elsewhere.example"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    user = os.getuid() or 12345
    monkeypatch.setattr(os, "geteuid", lambda: user)  # for root, dlt has another folder
    read_files()
    if written_by == "all users":
        settings.parent.chmod(0o777)
    elif os.getuid() == 0:
        os.chown(settings, 54321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: user + 1)
        monkeypatch.setattr(Path, "cwd", lambda: Path("/"))
    output = cli(*LOAD, status=2)
    assert f"other users of this machine can write {settings if written_by == 'another user' else settings.parent}" in output
    if os.getuid() == 0 and written_by == "another user" and not is_home:
        os.chown(cli.folder, 54321, -1)  # as with a folder that is mounted into a container
        assert read_files()
        os.chown(cli.folder, 0, -1)
    assert len(sandbox.requests) == 0
