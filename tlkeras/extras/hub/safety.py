"""Inspect a SavedModel before TensorFlow runs anything of it: its graph may be untrusted."""

import re
from collections.abc import Iterator
from pathlib import Path

from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry

from tlkeras.errors import UserError
from tlkeras.extras.hub.handles import tensorflow_1_error

# TensorFlow calls an operation stateful where it does more than compute. Of these, networks need the following.
STATEFUL = re.compile(
    r"VarHandleOp|(Read|Assign|AssignAdd|AssignSub)Variable(Op)?|VarIsInitializedOp|DisableCopyOnRead|ResourceGather(Nd)?|"
    r"StatefulPartitionedCall|If|While|Case|Assert|DestroyResourceOp|TensorArray\w+V3|"
    r"(Anonymous)?(Mutable)?HashTable(V2)?|LookupTable(Find|Import|Size|Export)V2|InitializeTableV2|Sentencepiece\w+|"
    r"Random(Uniform(Int)?|StandardNormal|Shuffle)|TruncatedNormal|Multinomial|RngReadAndSkip|StatefulUniform\w*"
)
SIGNATURES = ("feature_vector", "default", "serving_default")  # that give features, the most likely first
VOCABULARY = "InitializeTableFromTextFileV2"
# Operations that TensorFlow calls stateless, though they read files, run Python or stop the program.
NOT_PURE = re.compile(r"\w*PyFunc\w*|ReadFile|MatchingFiles|\w*Dataset\w*|Debug\w+|GenerateVocabRemapping|Abort")


def check_graph(file: Path) -> None:
    """Refuse a `saved_model.pb` that is damaged, of TensorFlow 1, or could access files or run Python."""
    saved = SavedModel()
    try:
        saved.ParseFromString(file.read_bytes())
    except Exception as error:  # protobuf's own kind of error
        raise UserError(f"{file} is damaged: it is not a SavedModel. Get it again.") from error
    if len(saved.meta_graphs) != 1 or not saved.meta_graphs[0].HasField("object_graph_def"):
        graph = next(iter(saved.meta_graphs), MetaGraphDef())
        key = next((key for key in SIGNATURES if key in graph.signature_def), next(iter(graph.signature_def), "KEY"))
        raise tensorflow_1_error(file.parent, "a SavedModel of TensorFlow 1", graph.meta_info_def.tags, key)
    graph = saved.meta_graphs[0]
    if bad := sorted(set(suspicious(graph))):
        raise UserError(
            f"{file} is not opened: it holds operations that networks do not need, or that are unknown here "
            f"({', '.join(bad)}), and could access files or run Python. If you trust its author, save it again without "
            "them."
        )


def suspicious(graph: MetaGraphDef) -> Iterator[str]:
    """Yield names of operations and files that are not allowed, of all that loading or running the module may reach.

    The saver, which writes weights, is not reached: it is never called here.
    """
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    gradients = {entry.function_name: entry.gradient_func for entry in graph.graph_def.library.gradient}
    waiting, seen = list(graph.object_graph_def.concrete_functions), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        waiting.append(gradients.get(name, ""))
        for node in functions[name].node_def:
            waiting.append(node.op)
            for value in node.attr.values():  # which may be functions that the operation calls
                waiting += [value.func.name, *(function.name for function in value.list.func)]
            if node.op not in functions and not is_safe_op(node, functions[name]):
                yield node.op
    yield from (asset.filename for asset in graph.asset_file_def if Path(asset.filename).name != asset.filename)


def is_safe_op(node: NodeDef, function: FunctionDef) -> bool:
    """Return whether an operation of a function does nothing but compute with tensors, variables and tables."""
    if node.op == VOCABULARY:  # of a file that is part of the module, which TensorFlow passes to the function
        return node.input[1] in {argument.name for argument in function.signature.input_arg}
    definition = op_def_registry.get(node.op)
    if definition is None or NOT_PURE.fullmatch(node.op):
        return False
    return not definition.is_stateful or STATEFUL.fullmatch(node.op) is not None
