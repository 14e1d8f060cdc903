"""Manifests, data files and what their Avro and Parquet says of itself, as other readers find it: by field ids."""

import json

import fastavro
import pyarrow
import pyarrow.parquet

# What a manifest of version 2 may have besides: fields of version 3.
LATER_FIELDS = {142, 144, 145}


class Avro:
    """A file: its `metadata`, whose values are JSON or text, its `fields` and its `records`."""

    def __init__(self, location):
        with open(path(location), "rb") as file:
            reader = fastavro.reader(file)
            self.metadata = {key: as_json(value) for key, value in reader.metadata.items() if not key.startswith("avro.")}
            self.fields = dict(fields(reader.writer_schema))
            self.records = list(reader)


def path(location):
    return location.removeprefix("file://").removeprefix("file:")


def as_json(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def fields(type, name=""):
    """The fields of an Avro schema with all that are below them: names, and ids with the types they have."""
    if isinstance(type, list):
        # Optional: the null comes first, so that it is the default.
        assert type[0] == "null" and len(type) == 2, (name, type)
        for inner, (ids, kind) in fields(type[1], name):
            yield inner, (ids, f"optional {kind}" if inner == name else kind)
        return
    if not isinstance(type, dict):
        yield name, ((), type)
        return
    ids = tuple(type[key] for key in ("element-id", "key-id", "value-id") if key in type)
    yield name, (ids, " ".join(str(type[key]) for key in ("type", "logicalType", "size", "precision", "scale", "adjust-to-utc") if key in type))
    if type["type"] == "array":
        yield from fields(type["items"], f"{name}[]")
    for field in type.get("fields", []):
        inner_name = f"{name}.{field['name']}"
        for inner, (ids, kind) in fields(field["type"], inner_name):
            yield inner, ((field.get("field-id"), *ids) if inner == inner_name else ids, kind)


def missing_fields(ours, theirs):
    """The fields that their file has and ours has not, or otherwise; and those that ours has and no reader asks for."""
    wrong = {name: (ours.get(name), field) for name, field in theirs.items() if ours.get(name) != field}
    more = {name: field for name, field in ours.items() if name not in theirs and not (field[0][0] in LATER_FIELDS and field[1].startswith("optional "))}
    return wrong | more


def by_id(pairs):
    """A map of an Avro file, whose keys are no texts."""
    return {pair["key"]: pair["value"] for pair in pairs or []}


def parquet_columns(location):
    """Of each column of a data file: its path, its physical and logical type, and whether the file has a number of NULLs for it in each row group."""
    metadata = pyarrow.parquet.read_metadata(path(location))
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    for number in range(metadata.num_columns):
        column = metadata.schema.column(number)
        counted = all(group.column(number).statistics.has_null_count for group in groups)
        yield column.path, column.physical_type, str(column.logical_type), counted


def field_ids(location):
    """The ids of the fields of a data file, by their paths."""
    found = {}

    def visit(field, name):
        found[name] = int((field.metadata or {}).get(b"PARQUET:field_id", -1))
        type = field.type
        for inner in range(type.num_fields):
            visit(type.field(inner), f"{name}.{type.field(inner).name}")

    for field in pyarrow.parquet.read_schema(path(location)):
        visit(field, field.name)
    return found
