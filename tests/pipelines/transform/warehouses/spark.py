"""Builds the models with dbt-spark in a Spark session of this process, and writes the results as files.

`spark.py LAKE OUT PROJECT [DBT ARGUMENT …]`: the tables are the folders LAKE/schema/table; OUT gets a folder of Parquet for
each mart (marts/NAME) and the physical plan of each model that SPARK_PLANS names (plans/NAME.txt). Warnings of Spark are on
stderr.
"""

import os
import sys
from pathlib import Path

from dbt.cli.main import dbtRunner
from pyspark.sql import SparkSession

lake, out, project = (Path(argument).resolve() for argument in sys.argv[1:4])
# The benchmark has large tables. Otherwise most statements run once and on few rows, so that compiling them takes the time.
large = "SPARK_PARTITIONS" in os.environ
compiler = "" if large else "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC"
settings = {
    "spark.sql.warehouse.dir": str(out / "warehouse"),
    # The analyzer needs a deep stack for a recursion of many turns.
    "spark.driver.extraJavaOptions": f"-Xss16m {compiler}",
    "spark.sql.codegen.wholeStage": str(large).lower(),
    # Adaptive execution would merge small partitions into one.
    "spark.sql.adaptive.enabled": str(large).lower(),
    # Constraint propagation is slow on queries as deeply nested as those of the credit models.
    "spark.sql.constraintPropagation.enabled": str(large).lower(),
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": os.environ.get("SPARK_MEMORY", "2g"),
    "spark.sql.shuffle.partitions": os.environ.get("SPARK_PARTITIONS", "1"),
    "spark.sql.session.timeZone": "America/New_York",  # the models give the same results in any
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
spark = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
for table in sorted(path for path in lake.glob("*/[!_]*") if any(path.glob("**/*.parquet"))):
    spark.sql(f"create schema if not exists {table.parent.name}")
    spark.sql(f"create table if not exists {table.parent.name}.{table.name} using parquet location '{table}'")

folders = {
    "project-dir": project,
    "profiles-dir": Path(__file__).parent,
    "target-path": out / "target",
    "log-path": out / "logs",
}
options = [word for name, folder in folders.items() for word in (f"--{name}", str(folder))]
result = dbtRunner().invoke(["--no-use-colors", "--no-version-check", "build", "--target", "spark", *options, *sys.argv[4:]])
if not result.success:
    sys.exit(1)

for row in spark.sql("show tables in usage").collect():
    if row.tableName in os.environ.get("SPARK_MARTS", row.tableName).split():
        spark.table(f"usage.{row.tableName}").write.parquet(str(out / "marts" / row.tableName))
(out / "plans").mkdir()
for path in (out / "target" / "compiled").rglob("models/*/*.sql"):
    if path.stem in os.environ.get("SPARK_PLANS", "").split():
        (plan,) = spark.sql(f"explain formatted {path.read_text()}").first()
        (out / "plans" / f"{path.stem}.txt").write_text(plan)
spark.stop()
