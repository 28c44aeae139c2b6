"""What the configuration says by name: an unreadable file is told with its line, an unknown setting with the nearest.

dlt ignores a setting that nothing asks for, so that a misspelled `lookbak` would silently be the default.
"""

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dlt.common.runtime.run_context import RunContext

from meterhouse.sources._core.errors import ConfigurationError

SECRETS = "secrets.toml"
FILES = ("config.toml", SECRETS)
OF_DLT = frozenset({"schema", "extract", "normalize", "load", "data_writer", "destination"})
"""Tables that dlt itself looks for in a source's section."""


def read_files() -> dict[Path, Mapping[str, Any]]:
    """The files that dlt reads the configuration from, parsed: of the working directory and of the user.

    Raises:
        ConfigurationError: one cannot be read; it names file and line, and shows nothing of what stands there.
    """
    context = RunContext(".")  # not dlt's own, which reads the files when it is first asked for
    folders = dict.fromkeys((Path(context.settings_dir), Path(context.global_dir)))
    return {folder / name: _parsed(folder / name) for folder in folders for name in FILES if (folder / name).is_file()}


def readable_by_others(files: Iterable[Path]) -> list[Path]:
    """The files of secrets among them that the group, or everybody on this machine, may read."""
    secrets = [file for file in files if file.name == SECRETS] if os.name == "posix" else []
    return [file for file in secrets if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)]


def _parsed(file: Path) -> Mapping[str, Any]:
    hint = "Correct that line; a text stands in quotes, and a section's name in brackets."
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as fault:
        raise ConfigurationError(f"{file} cannot be read ({fault.strerror})", hint="Make it readable.") from None
    except UnicodeDecodeError as fault:
        line = fault.object.count(b"\n", 0, fault.start) + 1
        raise ConfigurationError(
            f"{file}, line {line}: is not UTF-8", hint="Save it in UTF-8 without a byte order mark."
        ) from None
    except tomllib.TOMLDecodeError as fault:
        said = str(fault)
        place = re.search(r"\(at line (\d+), column (\d+)\)$", said)
        where = f"line {place[1]}, column {place[2]}" if place else "at its end"
        # Names and characters that the parser quotes may be those of a secret without quotation marks.
        reason = re.sub(r"\(.*\)|'.*'|\".*\"", "…", said.removesuffix(place[0] if place else "")).strip()
        raise ConfigurationError(f"{file}, {where}: {reason}", hint=hint) from None


def require_known(section: str, known: Iterable[str], *, tables: Iterable[str] = ()) -> None:
    """Looks through all that is configured in `section` (`sources.mathpix`), in files and in the environment.

    Raises:
        ConfigurationError: a setting is not in `known`, or a table neither in `tables` nor one of dlt's.
    """
    values, groups = frozenset(known), frozenset(tables) | OF_DLT
    for name, is_table, where in _stated(section):
        if name not in values and not (is_table and name in groups):
            shown = f"[{section}.{name}]" if is_table else f"{section}.{name}"
            raise ConfigurationError(f"{shown}, which {where} sets, is not known", hint=_nearest(name, values | set(tables)))


def require_known_sections(section: str, known: Iterable[str]) -> None:
    """As `require_known`, for the tables in `section` that read like a known one; others may be another program's.

    Raises:
        ConfigurationError: the name of a table is nearly a known one.
    """
    names = frozenset(known)
    for name, is_table, where in _stated(section):
        if is_table and name not in names and difflib.get_close_matches(name, names, 1, 0.8):
            raise ConfigurationError(f"[{section}.{name}], which {where} sets, is not known", hint=_nearest(name, names))


def require_known_fields(section: str, given: Iterable[str], known: Iterable[str]) -> None:
    """The same for what has been given as a value, such as a list of accounts.

    Raises:
        ConfigurationError: a name of `given` is not in `known`.
    """
    names = frozenset(known)
    for name in given:
        if name not in names:
            raise ConfigurationError(f"{section} has {name}, which is not known", hint=_nearest(name, names))


def _stated(section: str) -> Iterator[tuple[str, bool, str]]:
    """Each name in a section, whether it is a table, and where it stands."""
    for file, content in read_files().items():
        table: Any = content
        for part in section.split("."):
            table = table.get(part) if isinstance(table, Mapping) else None
        for name, value in table.items() if isinstance(table, Mapping) else ():
            yield name, isinstance(value, Mapping), str(file)
    prefix = "__".join(section.replace(" ", "_").split(".")).upper() + "__"
    for variable in sorted(os.environ):
        if variable.startswith(prefix):
            name, _, inner = variable.removeprefix(prefix).lower().partition("__")
            yield name, bool(inner), variable


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1, 0.6)
    return f"Did you mean {near[0]}?" if near else f"Known: {', '.join(names)}."
