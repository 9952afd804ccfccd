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
AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS: a line for each index of the last axis
IMAGE, RGB = 2, 1  # ContentProperties.ImageProperties, ColorSpaceType.RGB


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
    image = info.input["name"] == "images"
    content = table(builder, {0: ("byte", IMAGE), 1: ("table", table(builder, {0: ("byte", RGB)}))}) if image else None
    taken = table(builder, {0: ("text", info.input["name"]), 1: ("text", info.input.get("resize", ""))}
                  | ({3: ("table", content)} if content else {}))  # fmt: skip
    given = [describe_output(builder, name, info) for name in outputs]
    graph = table(builder, {2: ("tables", [taken]), 3: ("tables", given)})
    text = f"{info.backbone}, {info.variant}, weights {'; '.join(info.weights.values())}; tlkeras {info.tlkeras}"
    root = table(builder, {0: ("text", info.backbone), 1: ("text", text), 3: ("tables", [graph]), 7: ("text", "1.0.0")})
    builder.Finish(root, b"M001")
    return bytes(builder.Output())


def describe_output(builder: flatbuffers.Builder, name: str, info: ArtifactInfo) -> int:
    """Return the description of an output; that of probabilities names the file of labels."""
    fields: dict[int, tuple] = {0: ("text", name)}
    if info.labels and name == next(iter(info.outputs)):
        file = table(builder, {0: ("text", LABELS), 2: ("byte", AXIS_LABELS)})
        fields[6] = ("tables", [file])
    return table(builder, fields)


def table(builder: flatbuffers.Builder, fields: dict[int, tuple]) -> int:
    """Write a table of fields by number, each of a kind: "text", "byte", "table" or "tables"; return its offset."""
    offsets: dict[int, tuple] = {}
    for number, (kind, value) in fields.items():
        if kind == "text":
            value = builder.CreateString(value)
        if kind == "tables":
            builder.StartVector(4, len(value), 4)
            for one in reversed(value):
                builder.PrependUOffsetTRelative(one)
            value = builder.EndVector()
        offsets[number] = (kind, value)
    builder.StartObject(max(fields) + 1)
    for number, (kind, value) in offsets.items():
        if kind == "byte":
            builder.PrependInt8Slot(number, value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(number, value, 0)
    return builder.EndObject()
