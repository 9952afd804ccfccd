"""Labels and description inside a LiteRT file, where Android Studio and the Task libraries look for them.

The description is a flatbuffer of its own in the model's buffer "TFLITE_METADATA"; files that belong to the model are a
zip archive behind the model. Nothing but `flatbuffers` is needed, which TensorFlow brings along; its field numbers are
those of https://github.com/google-ai-edge/LiteRT (tflite/schema and metadata_schema.fbs).
"""

import io
import zipfile

import flatbuffers

from tlkeras.export.artifact import FILE, ArtifactInfo

LABELS = "labels.txt"
BUFFER = "TFLITE_METADATA"
AXIS_LABELS = b"\2"  # AssociatedFileType.TENSOR_AXIS_LABELS: a line for each index of the last axis
IMAGE, RGB = b"\2", b"\1"  # ContentProperties.ImageProperties, ColorSpaceType.RGB

Field = str | bytes | int | list[int]  # text, a byte, the offset of a table, those of several


def with_metadata(content: bytes, info: ArtifactInfo) -> bytes:
    """Return a model with its description and, as files behind it, `labels.txt` and `artifact.json`."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    names = [tensor.name.decode() for tensor in model.signatureDefs[0].outputs]
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer, buffer.data = BUFFER, len(model.buffers), list(describe(info, names))
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content) + 1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr(zipfile.ZipInfo(FILE), info.as_json())
        if info.labels:
            files.writestr(zipfile.ZipInfo(LABELS), "\n".join(info.labels) + "\n")
    return bytes(builder.Output()) + archive.getvalue()


def describe(info: ArtifactInfo, outputs: list[str]) -> bytes:
    """Return the description of a model whose outputs have these names, in this order."""
    builder = flatbuffers.Builder(1024)
    taken: dict[int, Field] = {0: info.input["name"], 1: info.input.get("resize", "")}
    if info.input["name"] == "images":
        taken[3] = table(builder, {0: IMAGE, 1: table(builder, {0: RGB})})
    given = [describe_output(builder, name, info) for name in outputs]
    graph = table(builder, {2: [table(builder, taken)], 3: given})
    weights = "; ".join(info.weights.values())
    text = f"{info.backbone}, {info.variant}, weights {weights}; tlkeras {info.tlkeras}"
    builder.Finish(table(builder, {0: info.backbone, 1: text, 3: [graph], 7: "1.0.0"}), b"M001")
    return bytes(builder.Output())


def describe_output(builder: flatbuffers.Builder, name: str, info: ArtifactInfo) -> int:
    """Return the description of an output; that of probabilities names the file of labels."""
    fields: dict[int, Field] = {0: name}
    if info.labels and name == next(iter(info.outputs)):
        fields[6] = [table(builder, {0: LABELS, 2: AXIS_LABELS})]
    return table(builder, fields)


def table(builder: flatbuffers.Builder, fields: dict[int, Field]) -> int:
    """Write a table of fields by number; return its offset, by which another table has it as a field."""
    offsets = {}
    for number, value in fields.items():
        if isinstance(value, str):
            value = builder.CreateString(value)
        elif isinstance(value, list):
            builder.StartVector(4, len(value), 4)
            for one in reversed(value):
                builder.PrependUOffsetTRelative(one)
            value = builder.EndVector()
        offsets[number] = value
    builder.StartObject(max(fields) + 1)
    for number, value in offsets.items():
        if isinstance(value, bytes):
            builder.PrependInt8Slot(number, value[0], 0)
        else:
            builder.PrependUOffsetTRelativeSlot(number, value, 0)
    return builder.EndObject()
