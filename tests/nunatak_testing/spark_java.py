"""What Iceberg's Java API writes and Spark's SQL cannot. Runs in Spark's process; `nunatak_testing.spark` is what tests call.

Values come as in the Iceberg specification's JSON: numbers, booleans and texts, such as "2024-01-31" for a date and "1.50" for a decimal.
"""

import json

TIMES = {
    "date": "LocalDate",
    "timestamp": "LocalDateTime",
    "timestamptz": "OffsetDateTime",
    "timestamp_ns": "LocalDateTime",
    "timestamptz_ns": "OffsetDateTime",
}


class Table:
    """A table of Spark's catalog, as Iceberg's Java API has it."""

    def __init__(self, spark, name):
        self.gateway = spark.sparkContext._gateway
        self.java = spark._jvm
        self.iceberg = spark._jvm.org.apache.iceberg
        self.table = self.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, f"lake.{name}")

    def delete_equal(self, columns, rows, partition):
        """Deletes by a file of equality deletes. It counts in one partition, the one that a row with the values of `partition` lies in."""
        keys = self.table.schema().select(columns)
        ids = self.gateway.new_array(self.java.int, len(columns))
        for index, column in enumerate(columns):
            ids[index] = keys.findField(column).fieldId()
        factory = self.iceberg.data.GenericAppenderFactory(self.table, self.table.schema(), self.table.spec(), None, ids, keys, None)
        writer = factory.newEqDeleteWriter(self._file(), self.iceberg.FileFormat.PARQUET, self._partition(partition))
        written = self._write(writer, keys, [dict(zip(columns, row)) for row in rows])
        self.table.newRowDelta().addDeletes(written.toDeleteFile()).commit()

    def append(self, columns, rows):
        """Adds a data file to a table without partitions."""
        factory = self.iceberg.data.GenericAppenderFactory(self.table, self.table.schema(), self.table.spec(), None, None, None, None)
        writer = factory.newDataWriter(self._file(), self.iceberg.FileFormat.PARQUET, None)
        written = self._write(writer, self.table.schema(), [dict(zip(columns, row)) for row in rows])
        self.table.newAppend().appendFile(written.toDataFile()).commit()

    def add_column(self, name, type, default, required):
        """The default, if there is one, is what old rows have from now on, and what new ones get of whom nobody says a value. `r.x` is a field of the column `r`."""
        type = self.iceberg.types.Types.fromPrimitiveString(type)
        literal = None if default is None else self.iceberg.expressions.Expressions.lit(default).to(type)
        parent, _, name = name.rpartition(".")
        update = self.table.updateSchema()
        add = update.addRequiredColumn if required else update.addColumn
        add(parent or None, name, type, None, literal).commit()

    def _file(self):
        return self.iceberg.io.OutputFileFactory.builderFor(self.table, 1, 1).format(self.iceberg.FileFormat.PARQUET).build().newOutputFile()

    def _partition(self, values):
        if values is None:
            return None
        key = self.iceberg.PartitionKey(self.table.spec(), self.table.schema())
        key.partition(self._record(self.table.schema(), values))
        return key

    def _write(self, writer, schema, rows):
        for row in rows:
            record = self._record(schema, row)
            for name, value in row.items():
                kind = TIMES.get(schema.findType(name).toString())
                if kind and value is not None:
                    record.setField(name, getattr(self.java.java.time, kind).parse(value))
            writer.write(record)
        writer.close()
        return writer

    def _record(self, schema, values):
        """By way of a JSON text, because a number that goes through py4j loses its Java type."""
        by_id = {str(schema.findField(name).fieldId()): value for name, value in values.items()}
        return self.iceberg.SingleValueParser.fromJson(schema.asStruct(), json.dumps(by_id))
