"""Reads Puffin files, by the spec: https://iceberg.apache.org/puffin-spec/."""

import json
import struct

import pyarrow

MAGIC = b"PFA1"


def blobs(path):
    """The blobs of a file, each with what the footer says of it."""
    with open(path, "rb") as file:
        content = file.read()
    assert content[:4] == MAGIC and content[-4:] == MAGIC
    (length, flags) = struct.unpack("<iI", content[-12:-4])
    assert flags == 0, "the footer is packed"
    start = len(content) - 12 - length
    assert content[start - 4 : start] == MAGIC
    for blob in json.loads(content[start : start + length])["blobs"]:
        packed = content[blob["offset"] : blob["offset"] + blob["length"]]
        yield blob, unpacked(packed, blob.get("compression-codec"))


def unpacked(packed, codec):
    return pyarrow.input_stream(pyarrow.py_buffer(packed), compression=codec).read() if codec else packed


def hashes(sketch, count):
    """The hashes in a compact theta sketch of so few values that it holds them all."""
    return sorted(struct.unpack(f"<{count}Q", sketch[len(sketch) - 8 * count :]))
