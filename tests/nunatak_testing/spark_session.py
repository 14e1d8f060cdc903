"""The other side of `nunatak_testing.spark`: runs in Spark's own environment, a JSON text with a statement in, one with its rows out."""

import json
import sys

from pyspark.sql import SparkSession


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
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def main():
    answers = sys.stdout
    # Whatever Spark prints must not come between.
    sys.stdout = sys.stderr
    spark = session(*sys.argv[1:])
    for line in sys.stdin:
        try:
            # With a catalog of its own each time: Java's JdbcCatalog leaves a read of a SQLite file open when it finds its tables there, and never sees what others
            # commit after that.
            answer = {"rows": [list(row) for row in spark.newSession().sql(json.loads(line)).collect()]}
        except Exception as error:
            answer = {"error": str(error)}
        print(json.dumps(answer, default=str), file=answers, flush=True)
    spark.stop()


main()
