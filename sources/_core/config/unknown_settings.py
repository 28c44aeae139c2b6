"""Errors for unreadable configuration files, with the line, and for unknown settings, with the nearest known one.

dlt ignores settings that no code reads, so a misspelled `lookbak` would silently leave the default in place.
"""

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from meterhouse.sources._core.config.parse import is_json, parse_json, require_unquoted
from meterhouse.sources._core.config.secrets import looks_like_secret
from meterhouse.sources._core.dlt_compat.settings import settings_folders
from meterhouse.sources._core.errors import ConfigurationError

SECRETS = "secrets.toml"
FILES = ("config.toml", SECRETS)
OF_DLT = frozenset({"extract"})
"""Tables that dlt itself reads in a source's section, and that do not change where rows land."""
SECTIONS = ("sources", "destination", "alerts")
OTHERS = frozenset({"resource", "resources"})
"""Names that are similar to `sources`, and belong to other programs."""
INNER = {"billing": "sources.billing", "http": "sources.http"}
"""Sections that are without effect at the top. In the environment, their names may belong to any program."""


def read_files() -> dict[Path, Mapping[str, Any]]:
    """Parses dlt's configuration files: those of the working directory and of the user.

    Raises:
        ConfigurationError: a file cannot be read, or another user has written it; the message names file and line, and shows
            none of its content.
    """
    of_project, *of_user = settings_folders()
    # Whoever owns the working directory decides about it anyway: in a container, it may be a mounted folder of another user.
    _require_own(of_project, trusted=Path.cwd().stat().st_uid)
    for folder in of_user:
        _require_own(folder)
    files = [folder / name for folder in (of_project, *of_user) for name in FILES]
    return {file: _parsed(file) for file in files if file.is_file()}


def _require_own(folder: Path, trusted: int = 0) -> None:
    """Checks that files in the folder belong to the user, to root or to `trusted`, and that nobody else may write them.

    Another user could put a `base_url` into them, which would receive the key. Without a home, dlt's folder is below the
    temporary one.
    """
    if os.name != "posix" or not any((folder / name).exists() for name in FILES):
        return
    for path in (folder, *filter(Path.is_file, (folder / name for name in FILES))):
        status = path.stat()
        if status.st_uid not in {0, os.geteuid(), trusted} or status.st_mode & stat.S_IWOTH:
            raise ConfigurationError(
                f"other users of this machine can write {path}, so meterhouse does not read its settings",
                hint=f"Remove it, or make it yours: chown and chmod o-w {path}; or set the values in the environment.",
            )


def readable_by_others(files: Iterable[Path]) -> list[Path]:
    """The secrets files in `files` that the group, or every user of this machine, may read."""
    secrets = [file for file in files if file.name == SECRETS] if os.name == "posix" else []
    return [file for file in secrets if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)]


def _parsed(file: Path) -> Mapping[str, Any]:
    hint = "Correct that line; texts need quotes, and section names brackets."
    try:
        text = file.read_text(encoding="utf-8")
        if text.startswith("\ufeff"):  # dlt cannot read it either
            raise ConfigurationError(f"{file} begins with a byte order mark", hint="Save it in UTF-8 without one.")
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read ({error.strerror})", hint="Make it readable.") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{file}, line {line}: is not UTF-8", hint="Save it in UTF-8 without a byte order mark."
        ) from None
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        position = re.search(r"\(at line (\d+), column (\d+)\)$", message)
        place = f"line {position[1]}, column {position[2]}" if position else "at its end"
        # What the parser quotes may belong to a secret that lacks its quotation marks.
        reason = re.sub(r"\(.*\)|'.*'|\".*\"", "…", message.removesuffix(position[0] if position else "")).strip()
        raise ConfigurationError(f"{file}, {place}: {reason}", hint=hint) from None


def require_known(section: str, known: Iterable[str], *, tables: Iterable[str] = ()) -> None:
    """Checks all settings of `section` (`sources.mathpix`), in files and in the environment.

    Raises:
        ConfigurationError: a setting is not in `known`, a table is neither in `tables` nor one of dlt's, or a text that
            begins like JSON is none, or a text is in quotation marks.
    """
    values, groups = frozenset(known), frozenset(tables) | OF_DLT
    for name, value, place in _configured(section):
        is_table = isinstance(value, Mapping)
        if name not in values and not (is_table and name in groups):
            if looks_like_secret(name):
                raise ConfigurationError(f"[{section}] has a key where a setting's name belongs", hint=_nearest("", values))
            shown = f"[{section}.{name}]" if is_table else f"{section}.{name}"
            raise _unknown(shown, place, _nearest(name, values | set(tables)))
        if isinstance(value, str):
            require_unquoted(value, setting=f"{section}.{name}, which {place} sets,")
        if isinstance(value, str) and is_json(value):
            parse_json(value, setting=f"{section}.{name}")


def require_known_top_sections(providers: Iterable[str]) -> None:
    """Checks the top sections for misspelled and misplaced names; others may belong to other dlt pipelines.

    Raises:
        ConfigurationError: a section has the name of a provider or inner section, or a name similar to meterhouse's own; a
            section is not a table; or a variable differs from a setting only in case or underscores.
    """
    of_providers = {name: f"sources.{name}" for name in providers}
    for homes, settings in ((of_providers | INNER, _in_files("")), (of_providers, _in_environment(""))):
        for name, value, place in settings:
            if isinstance(value, Mapping) and name in homes:
                raise _unknown(f"[{name}]", place, f"Did you mean {homes[name]}?")
    for name, value, place in _in_files(""):
        if name in SECTIONS and not isinstance(value, Mapping):
            raise ConfigurationError(
                f"{name}, which {place} sets, is not a section", hint=f"Write [{name}.…] above its settings."
            )
    require_known_sections("", (*SECTIONS, *OTHERS))
    require_correct_variable_names((*of_providers.values(), *INNER.values(), "alerts.webhook", "alerts.on"))


def require_known_sections(section: str, known: Iterable[str], *, others: Iterable[str] = ()) -> None:
    """Checks the tables of `section` for misspelled names; tables with other names may belong to other programs.

    Raises:
        ConfigurationError: the name of a table is similar to one in `known`, unless it is in `others`; or a name in `known`
            is not a table.
    """
    names, exempt = frozenset(known), frozenset(others)
    for name, value, place in _configured(section):
        shown = f"{section}.{name}".removeprefix(".")
        is_table = isinstance(value, Mapping)
        if section and name in names and not is_table:
            raise ConfigurationError(
                f"{shown}, which {place} sets, is not a section", hint=f"Write [{shown}] above its settings."
            )
        if is_table and name not in names | exempt and difflib.get_close_matches(name.lower(), names, 1, 0.8):
            raise _unknown(f"[{shown}]", place, _nearest(name, names))


def require_correct_variable_names(sections: Iterable[str]) -> None:
    """Checks the variables for these sections: dlt ignores those in lower case or with a single underscore.

    Raises:
        ConfigurationError: there is such a variable.
    """
    for section in sections:
        name = variable_of(section)
        for variable in os.environ:
            folded, prefix = variable.upper().replace("__", "_") + "_", name.replace("__", "_") + "_"
            if folded.startswith(prefix) and not f"{variable}__".startswith(f"{name}__"):
                raise ConfigurationError(
                    f"the environment variable {variable} has no effect",
                    hint=f"Rename it, or unset it. Use upper case, and two underscores between all parts: {name}…",
                )


def variable_of(setting: str) -> str:
    """The environment variable of a setting or section. Spaces and hyphens, as in account names, become underscores."""
    return "__".join(re.sub(r"\W", "_", step) for step in setting.split(".")).upper()


def tables_in(section: str) -> frozenset[str]:
    """The names of the tables in a section of the configuration."""
    return frozenset(name for name, value, _ in _configured(section) if isinstance(value, Mapping))


def require_unset(section: str, names: Iterable[str], *, reason: str, hint: str = "Remove it.") -> None:
    """Checks that settings which other dlt pipelines may have are not set for meterhouse.

    Raises:
        ConfigurationError: one is set; the message names it, the place and the reason.
    """
    unwanted = frozenset(names)
    for name, _, place in _configured(section):
        if name in unwanted:
            raise ConfigurationError(f"{section}.{name}, which {place} sets, {reason}", hint=hint)


def require_known_fields(section: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Checks the names in a value, such as those of an account in a list.

    Raises:
        ConfigurationError: a name in `given` is not in `known`.
    """
    names = frozenset(known)
    for name in given:
        if name not in names:
            if looks_like_secret(name):
                raise ConfigurationError(f"{section} has a key where a setting's name belongs", hint=_nearest("", names))
            raise ConfigurationError(f"{section} has {name}, which is not known", hint=_nearest(name, names))


def _configured(section: str) -> Iterator[tuple[str, Any, str]]:
    """Each name in a section ("": the top), its value, and the file or variable that sets it."""
    yield from _in_files(section)
    yield from _in_environment(section)


def _in_files(section: str) -> Iterator[tuple[str, Any, str]]:
    for file, content in read_files().items():
        table: Any = content
        for step in _steps(section):
            table = table.get(step) if isinstance(table, Mapping) else None
        for name, value in table.items() if isinstance(table, Mapping) else ():
            yield name, value, str(file)


def _in_environment(section: str) -> Iterator[tuple[str, Any, str]]:
    """As `_configured`; a variable for a setting inside a table yields the table."""
    prefix = f"{variable_of(section)}__" if section else ""
    for variable in sorted(os.environ):
        if variable.startswith(prefix):
            name, _, inner = variable.removeprefix(prefix).lower().partition("__")
            yield name, {inner: os.environ[variable]} if inner else os.environ[variable], variable


def _steps(section: str) -> list[str]:
    return section.split(".") if section else []


def _unknown(shown: str, place: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"{shown}, which {place} sets, is not known", hint=hint)


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, 1, 0.6)
    return f"Did you mean {near[0]}?" if near else f"Known: {', '.join(names)}."
