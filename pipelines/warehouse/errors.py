"""What can go wrong with a destination; each message is one line and holds no secret."""

import re
from pathlib import PurePath


class LoadError(Exception):
    """The destination cannot be read or written, or a provider's rows could not be loaded into it."""


class NotBuilt(LoadError):
    """The database or one of its tables does not exist yet. `schema` is that of the marts; the hint names it."""

    def __init__(self, problem: str, schema: str = "usage") -> None:
        command = "run, or meterhouse models" if schema == "usage" else f"models --as-of TIME --schema {schema}"
        super().__init__(f"{problem}. Build the models first: meterhouse {command}")


class RunInProgress(LoadError):
    """Another run is using the destination."""


def is_locked(error: BaseException) -> bool:
    """Whether DuckDB refuses a file because another process has it open."""
    message = str(error)
    return "Could not set lock" in message or "being used by another process" in message


def describe_error(error: BaseException, location: str) -> str:
    """A destination's error in one line."""
    if isinstance(error, LoadError):
        return str(error)
    message = " ".join(str(error).split()) or type(error).__name__
    if is_locked(error):
        holder = re.search(r"held in (\S+) \(PID (\d+)\)", message)
        who = f" ({PurePath(holder[1]).name}, pid {holder[2]})" if holder else ""
        return (
            f"another process has {location} open{who}. Close it, then run again; BI tools can read a copy instead:"
            " meterhouse publish FILE"
        )
    if "replaying WAL file" in message:
        return (
            f"{location}.wal belongs to another database file, or to another version of {location}, so DuckDB cannot open"
            f" it. If you have restored {location}, move {location}.wal away; otherwise restore both from one backup"
        )
    if missing := re.search(r"[Ff]ailed to download extension \"(\w+)\"", message):
        return (
            f"{location}: DuckDB cannot download its extension {missing[1]}. Allow the download, or install it while this"
            f" machine is online: python -c \"import duckdb; duckdb.sql('install {missing[1]}')\""
        )
    return f"{location} cannot be used: {message[:300]}"
