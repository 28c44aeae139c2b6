"""The commands on loaded data: `reopen`, `rename-account`, `export` and `import`. `cli` adds them to `meterhouse`."""

from pathlib import Path
from typing import Annotated

import typer

from meterhouse.pipelines.export.focus import Dataset, Format, Version
from meterhouse.pipelines.warehouse.cost_type import CostType

DestinationName = Annotated[
    str | None, typer.Option("--destination", metavar="NAME", help="A dlt destination, by name. Default: duckdb.")
]
Schema = Annotated[
    str, typer.Option("--schema", metavar="NAME", help="The schema of the marts: usage, or that of a build with --as-of.")
]
Cost = Annotated[
    CostType | None,
    typer.Option("--cost", help="Which cost to show. Default: effective if anything is prepaid, else billed."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and text on stderr.")]


def reopen(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER")],
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="An account, or a billing account.")],
    month: Annotated[str, typer.Argument(metavar="MONTH", help="For example 2026-03.")],
    destination: DestinationName = None,
    as_json: AsJson = False,
) -> None:
    """Reopen a closed month: the next build closes it again, with the quantities loaded by then."""
    from meterhouse.pipelines.output.check_summary import closed_as_dict
    from meterhouse.pipelines.output.console import command_output
    from meterhouse.pipelines.run.closing import closed_lines
    from meterhouse.pipelines.run.closing import reopen as reopen_month
    from meterhouse.pipelines.warehouse.resolve import resolve_destination

    with command_output("reopen", as_json=as_json) as out:
        opened = reopen_month(resolve_destination(destination), provider, account, month)
        out.print_object({"status": "ok", "reopened": [closed_as_dict(period) for period in opened]})
        for line in closed_lines(opened):
            out.print(f"reopened  {line}")
        out.print("the next `meterhouse run` or `meterhouse models` computes the month from the current quantities")


def rename_account(
    provider: Annotated[str, typer.Argument(metavar="PROVIDER")],
    old: Annotated[str, typer.Argument(metavar="OLD", help="The name in the loaded rows.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="A name that no loaded row has.")],
    destination: DestinationName = None,
    as_json: AsJson = False,
) -> None:
    """Rename an account in everything that is loaded, so that the next run continues under the new name."""
    from meterhouse.pipelines.output.console import command_output
    from meterhouse.pipelines.run.accounts import rename_account as rename
    from meterhouse.pipelines.run.billing import rows_of_renamed_account
    from meterhouse.pipelines.warehouse.resolve import resolve_destination

    with command_output("rename-account", as_json=as_json) as out:
        target = resolve_destination(destination)
        tables = rename(target, provider, old, new)
        rows = rows_of_renamed_account(target, provider, old, new)
        out.print_object(
            {
                "status": "ok",
                "provider": provider,
                "old": old,
                "new": new,
                "tables": tables,
                "billing": [f"{error.table}  {error}" for error in rows],
            }
        )
        out.print(f"renamed  {provider}  {old}  to {new}, in {len(tables)} tables")
        for error in rows:
            out.print(f"change  {error.table}  {error}")
        out.print(f"use {new} in sources.{provider}.accounts and in your billing files, too; then run `meterhouse run`")


export_app = typer.Typer(help="Write marts or closed periods into a file.", no_args_is_help=True)


@export_app.callback()
def formats() -> None:
    """Write marts or closed periods into a file."""


@export_app.command("closed")
def export_closed(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The CSV file to write; an existing one is replaced.")],
    destination: DestinationName = None,
) -> None:
    """Write the closed periods and their quantities as CSV. Neither the vendors nor a build can restore them."""
    from meterhouse.pipelines.export import closed
    from meterhouse.pipelines.output.console import command_output

    with command_output("export") as out:
        rows = closed.export_closed(out.destination_to_read(destination), file)
        out.print(f"{rows:,} rows of closed quantities written to {file}")


@export_app.command()
def focus(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="The file to write; an existing one is replaced. With --partitioned: the folder."
        ),
    ],
    version: Annotated[Version, typer.Option("--version", help="The version of FOCUS.")] = Version.V1_2,
    file_format: Annotated[
        Format | None, typer.Option("--format", help="Default: by the ending of FILE, or Parquet.")
    ] = None,
    dataset: Annotated[Dataset, typer.Option(help="The last two need version 1.4.")] = Dataset.COST_AND_USAGE,
    all_columns: Annotated[
        bool, typer.Option("--all-columns", help="Add the columns for which the vendors have no values, as nulls.")
    ] = False,
    partitioned: Annotated[
        bool, typer.Option("--partitioned", help="Write a file for each billing period, as FILE/billing_period=2026-03/….")
    ] = False,
    destination: DestinationName = None,
    schema: Schema = "usage",
) -> None:
    """Write a dataset of FOCUS, the FinOps Open Cost and Usage Specification, as Parquet or CSV."""
    from meterhouse.pipelines.export.files import export_focus
    from meterhouse.pipelines.output.console import command_output

    with command_output("export") as out:
        target = out.destination_to_read(destination, schema)
        rows = export_focus(
            target, file, version=version, dataset=dataset, file_format=file_format, all_columns=all_columns,
            partitioned=partitioned,
        )  # fmt: skip
        out.print(f"{rows:,} rows of FOCUS {version} ({dataset}) written to {file}")


import_app = typer.Typer(help="Read a file of `meterhouse export closed`.", no_args_is_help=True)


@import_app.callback()
def imports() -> None:
    """Read a file of `meterhouse export closed`."""


@import_app.command("closed")
def import_closed(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of `export closed`.")],
    destination: DestinationName = None,
) -> None:
    """Read closed periods and their quantities into a new database, before its first build. A second import adds nothing."""
    from meterhouse.pipelines.export import closed
    from meterhouse.pipelines.output.console import command_output
    from meterhouse.pipelines.warehouse.resolve import resolve_destination

    with command_output("import") as out:
        rows = closed.import_closed(resolve_destination(destination), file)
        out.print(f"{rows:,} rows imported from {file}; the next `meterhouse run` or `meterhouse models` applies them")
