"""The other side of `nunatak_testing.spark`: runs in Spark's own environment, a JSON object with a statement and settings in, one with its
rows out.

Instead of a statement it can have a method of `spark_java.Table` and its arguments.
"""

import json
import sys

from pyspark.sql import SparkSession

from nunatak_testing.spark_java import Table


def session(data_dir, jars):
    builder = SparkSession.builder.master("local[2]").config("spark.jars", jars)
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "2g",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "jdbc",
        "spark.sql.catalog.lake.uri": f"jdbc:sqlite:{data_dir}/catalog.sqlite",
        "spark.sql.catalog.lake.warehouse": f"file://{data_dir}/warehouse",
        "spark.sql.catalog.lake.jdbc.schema-version": "V1",
        "spark.sql.defaultCatalog": "lake",
        # It keeps keys of equality deletes in the order of the columns of the query that came first, and then misses those of two columns (iceberg 1.10.0).
        "spark.sql.iceberg.executor-cache.enabled": "false",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def answer(spark, request):
    if "sql" in request:
        for name, value in request["settings"].items():
            spark.conf.set(name, value)
        return [list(row) for row in spark.sql(request["sql"]).collect()]
    getattr(Table(spark, request["table"]), request["method"])(**request["arguments"])
    return []


def main():
    answers = sys.stdout
    # Whatever Spark prints must not come between.
    sys.stdout = sys.stderr
    spark = session(*sys.argv[1:])
    for line in sys.stdin:
        try:
            # With a catalog of its own each time: Java's JdbcCatalog leaves a read of a SQLite file open when it finds its tables there, and never sees what others
            # commit after that.
            said = {"rows": answer(spark.newSession(), json.loads(line))}
        except Exception as error:
            said = {"error": str(error)}
        print(json.dumps(said, default=str), file=answers, flush=True)
    spark.stop()


main()
