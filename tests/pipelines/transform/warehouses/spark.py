"""Builds the models with dbt-spark in a Spark session of this process, and writes the results as files.

`spark.py LAKE OUT PROJECT [DBT ARGUMENT …]`: the tables are the folders LAKE/schema/table; OUT gets a folder of Parquet for
each mart, or a link to one (marts/NAME), and the physical plan of each model that SPARK_PLANS names (plans/NAME.txt).
Warnings of Spark are on stderr.
"""

import gc
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest
from dbt_common.dataclass_schema import dbtClassMixin
from pyspark.sql import SparkSession

# Other tests validate the project's YAML, which takes a quarter of the time of parsing it.
dbtClassMixin.validate = classmethod(lambda cls, data: None)  # noqa: ARG005
# At the default thresholds, garbage collection takes a tenth of the time.
gc.set_threshold(100_000, 50, 50)

lake, out, project = (Path(argument).resolve() for argument in sys.argv[1:4])
# The benchmark has large tables. Otherwise most statements run once and on few rows: planning and compiling take the time.
large = "SPARK_PARTITIONS" in os.environ
settings = {
    "spark.sql.warehouse.dir": str(out / "warehouse"),
    # The analyzer needs a deep stack for a recursion of many turns.
    "spark.driver.extraJavaOptions": "-Xss16m",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": os.environ.get("SPARK_MEMORY", "2g"),
    "spark.sql.shuffle.partitions": os.environ.get("SPARK_PARTITIONS", "1"),
    "spark.sql.session.timeZone": "America/New_York",  # the models give the same results in any
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
jvm_options = (
    # The second compiler would take longer than its code saves.
    "-XX:TieredStopAtLevel=1",
    "-XX:ReservedCodeCacheSize=256m",
    # A large heap from the start, mostly for new objects: few collections, and hardly any of old objects.
    "-XX:+UseSerialGC",
    "-Xms2g",
    "-Xmn1400m",
    "-XX:MetaspaceSize=512m",
    # The classes of Spark need no verification.
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:-BytecodeVerificationRemote",
)
if not large:
    settings |= {
        "spark.driver.extraJavaOptions": " ".join(("-Xss16m", *jvm_options)),
        # Expressions are interpreted: compiling them would take longer than evaluating them for so few rows.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        # Adaptive execution would merge small partitions into one.
        "spark.sql.adaptive.enabled": "false",
        # Half of the default: fewer packs exceed the limit, and their models are planned in a quarter of the time.
        "spark.sql.analyzer.maxIterations": "50",
        # Constraint propagation is slow on queries as deeply nested as those of the credit models.
        "spark.sql.constraintPropagation.enabled": "false",
        # One task reads a small table, not one per core.
        "spark.sql.files.minPartitionNum": "1",
        "spark.sql.leafNodeDefaultParallelism": "1",
        # Hadoop starts the program `chmod` for each new file. This omits files of checksums and of marks of success.
        "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
        # Aggregations, sorts and broadcasts allocate blocks of this size, by default tens of megabytes and 4 MB.
        "spark.buffer.pageSize": "1m",
        "spark.broadcast.blockSize": "128k",
    }


def started_session() -> SparkSession:
    """A new session with the tables of the lake."""
    session = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    tables = sorted(path for path in lake.glob("*/[!_]*") if any(path.glob("**/*.parquet")))
    for schema in sorted({table.parent.name for table in tables}):
        session.sql(f"create schema if not exists {schema}")
    for table in tables:
        session.sql(f"create table {table.parent.name}.{table.name} using parquet location '{table}'")
    return session


folders = {
    "project-dir": project,
    "profiles-dir": Path(__file__).parent,
    "target-path": out / "target",
    "log-path": out / "logs",
}
options = ["--target", "spark", *(word for name, folder in folders.items() for word in (f"--{name}", str(folder)))]
# A second thread of dbt would wait for the first one, except on large tables.
options += () if large else ("--threads", "1")
flags = ["--no-use-colors", "--no-version-check"]
with ThreadPoolExecutor() as pool:  # dbt parses the project while Spark starts
    starting = pool.submit(started_session)
    parsed = dbtRunner().invoke([*flags, "parse", "--no-write-json", "--log-level-file", "none", *options])
    spark = starting.result()
if not isinstance(parsed.result, Manifest):
    sys.exit(1)
result = dbtRunner(manifest=parsed.result).invoke([*flags, "build", *options, *sys.argv[4:]])
if not result.success:
    sys.exit(1)

(out / "marts").mkdir()
for row in spark.sql("show tables in usage").collect():
    if row.tableName in os.environ.get("SPARK_MARTS", row.tableName).split():
        written = out / "warehouse" / "usage.db" / row.tableName
        if written.exists():  # a table, whose files are Parquet
            (out / "marts" / row.tableName).symlink_to(written)
        else:
            spark.table(f"usage.{row.tableName}").write.parquet(str(out / "marts" / row.tableName))
(out / "plans").mkdir()
for path in (out / "target" / "compiled").rglob("models/*/*.sql"):
    if path.stem in os.environ.get("SPARK_PLANS", "").split():
        (plan,) = spark.sql(f"explain formatted {path.read_text()}").first()
        (out / "plans" / f"{path.stem}.txt").write_text(plan)
spark.stop()
