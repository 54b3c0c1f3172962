"""What the graph of a SavedModel may do when it is loaded and converted: compute, and keep variables and tables.

TensorFlow runs parts of a SavedModel while it loads it (`_initialize` of a resource, say), and an operation may write
files. So operations are allowed by a rule, not refused by a list: those without a state, and the ones that hold
variables, random numbers and tables in memory. What saves the model again is let pass where nothing else names it: it
is never run then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edgefm.core.errors import ModelError
from edgefm.core.text import few, visible

# TensorFlow calls these stateless, though they read files, call Python, or are no part of a model.
_OUTSIDE = re.compile(r"Dataset|Iterator|File|Reader|Restore|PyFunc|CustomCall|TPU|Tpu|^_")
_IN_MEMORY = re.compile(
    r"""(Stateful)?PartitionedCall | While | If | Case | Assert | GuaranteeConst | Empty | StubResourceHandleOp
    | VarHandleOp | ReadVariableOp | VarIsInitializedOp | VariableShape | Assign(Add|Sub)?VariableOp | DisableCopyOnRead
    | Variable(V2)? | DestroyResourceOp | Resource(Gather|GatherNd|StridedSliceAssign|Scatter\w+|CountUpTo)
    | (Anonymous)?(Mutable(Dense)?)?HashTable(OfTensors)?(V2)? | LookupTable(Find|Size|Export|Import|Insert|Remove)V2
    | InitializeTableV2 | Stack(Push|Pop|Close)?V2 | TensorArray(\w*)V[23] | CheckNumerics(V2)?
    | Random\w+ | Stateful\w+ | Rng(ReadAndSkip|Skip) | NonDeterministicInts | TruncatedNormal | Multinomial
    | ParameterizedTruncatedNormal | StatelessRandomGetAlg | XlaCallModule | XlaLaunch | DeepCopy""",
    re.VERBOSE,
)
_RESTORING = "RestoreV2"  # reads the variables beside the graph
_SAVING = frozenset({"SaveV2", "MergeV2Checkpoints", "ShardedFilename"})  # all that a saver writes with


def check_operations(folder: Path, content: Any) -> None:
    """Raise a ModelError where the graph of a SavedModel reads or writes files, calls Python or prints.

    Args:
      folder: of the SavedModel, for the message.
      content: its SavedModel protocol buffer.
    """
    found: set[str] = set()
    for graph in content.meta_graphs:
        run, saving = _run(graph)
        found |= {node.op for node in run if not _is_allowed(node.op)}
        found |= {node.op for node in saving if node.op not in _SAVING and not _is_allowed(node.op)}
    if found:
        raise ModelError(
            f"the graph in {folder} uses {visible(few(sorted(found)))}: it reads or writes files, calls Python, or "
            "does other things than to compute",
            hint="Save it without, or trust it.",
        )


def _is_allowed(name: str) -> bool:
    from tensorflow.python.framework import op_def_registry

    if name == _RESTORING or _IN_MEMORY.fullmatch(name):
        return True
    known = op_def_registry.get(name)  # what is unknown, TensorFlow refuses with its own reason
    return known is None or not (known.is_stateful or _OUTSIDE.search(name))


def _run(graph: Any) -> tuple[list[Any], list[Any]]:
    """Return the nodes of a graph and of its functions, and apart from them those that only saving it again needs."""
    functions = {function.signature.name: function.node_def for function in graph.graph_def.library.function}
    nodes = {node.name: node for node in graph.graph_def.node}
    saving = _with_inputs(nodes, [graph.saver_def.save_tensor_name])
    running = _with_inputs(nodes, [*(nodes.keys() - saving), *_ends(graph), *_named_in_collections(graph, saving)])
    concrete = [node for name in graph.object_graph_def.concrete_functions for node in functions.get(name, ())]
    called = _called([*(nodes[name] for name in running), *concrete], functions)
    called |= set(graph.object_graph_def.concrete_functions)
    left_out = _called([nodes[name] for name in saving - running], functions) - called
    bodies = [(node, name in left_out) for name, body in functions.items() for node in body]
    run = [nodes[name] for name in running] + [node for node, saves in bodies if not saves]
    return run, [nodes[name] for name in saving - running] + [node for node, saves in bodies if saves]


def _ends(graph: Any) -> Iterator[str]:
    """Yield the names of nodes that are run whatever else needs them: outputs, restoring, initialising."""
    yield graph.saver_def.restore_op_name
    for signature in graph.signature_def.values():
        yield from (end.name for end in (*signature.inputs.values(), *signature.outputs.values()))


def _named_in_collections(graph: Any, names: Iterable[str]) -> list[str]:
    """Return which nodes the collections of a graph name, e.g. as what initialises a variable.

    A collection may hold any protocol buffer as bytes: a name is looked for in them, whatever they mean.
    """
    content = b"\n".join(collection.SerializeToString() for collection in graph.collection_def.values())
    return [name for name in names if name.encode() in content]


def _with_inputs(nodes: dict[str, Any], names: Iterable[str]) -> set[str]:
    """Return the names of nodes and of all that they need."""
    found: set[str] = set()
    waiting = [_node_name(name) for name in names]
    while waiting:
        current = waiting.pop()
        if current in nodes and current not in found:
            found.add(current)
            waiting += [_node_name(given) for given in nodes[current].input]
    return found


def _node_name(given: str) -> str:
    return given.removeprefix("^").split(":")[0]


def _called(nodes: Iterable[Any], functions: dict[str, Any]) -> set[str]:
    """Return the names of the functions that nodes call, and those that these call."""
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        for attribute in waiting.pop().attr.values():
            for name in (attribute.func.name, *(function.name for function in attribute.list.func)):
                if name in functions and name not in found:
                    found.add(name)
                    waiting += functions[name]
    return found
