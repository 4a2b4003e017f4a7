"""Model files: one .safetensors with the parameters by name and, in its metadata as JSON, the
architecture. A file never names code: only nncore's own classes, and those the caller passes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from inspect import signature
from typing import Any

import numpy as np

from nncore import initializers, layers, losses, metrics, optimizers, schedules
from nncore._names import integer, received
from nncore.graph import Graph
from nncore.interop import safetensors
from nncore.layers.base import Input, Layer

FORMAT = 1  # of the metadata; a newer one is refused
STATE = "training."  # prefix of the tensors that are no parameters: "training.0.weight"...
MOST_MOMENTS = 4  # so many of them an optimizer may keep for each parameter


def save(model: Any, path: Any, training_state: bool) -> None:
    """See `Model.save`."""
    from nncore.sequential import Sequential

    graph = model._ready("save")
    description = {
        "format": FORMAT,
        "class": type(model).__name__,
        "sequential": isinstance(model, Sequential),
        "dtype": str(model.dtype),
        "seed": model.seed,
        "graph": _describe_graph(graph),
    }
    tensors = {**model.params, **model.buffers}
    if model.optimizer is not None:
        description["compile"] = {
            "optimizer": _describe(model.optimizer),
            "loss": [_describe(loss) for loss in model._losses],
            "metrics": [[_describe(metric) for metric in group] for group in model.metrics],
        }
    if training_state:
        state = model._training_state()
        moments = state.pop("moments")
        for i in range(len(moments)):
            for name, part in model._parameters.split(moments[i]).items():
                tensors[f"{STATE}{i}.{name}"] = part
        description["training"] = state
    text = json.dumps(description, default=_as_json)
    safetensors.save(path, tensors, {"nncore": text})


def load(path: Any, custom: Any) -> Any:
    """See `nncore.load`."""
    _check_custom(custom)
    tensors, metadata = safetensors.load(path)
    with _naming(path):
        description = _description(metadata)
        model = _build(description, tensors, custom)
        _fill(model, tensors)
        if "training" in description:
            _restore(model, tensors, description["training"])
    return model


def _build(description: dict[str, Any], tensors: dict[str, Any], custom: dict[str, type]) -> Any:
    """The described model, compiled if that one was, with parameters yet to fill."""
    from nncore.graph import Graph
    from nncore.model import Model
    from nncore.sequential import Sequential

    classes: dict[str, Any] = {**custom, "Model": Model, "Sequential": Sequential}
    cls = classes.get(description["class"])
    if cls is None:  # one of the user's, who did not say which
        cls = Sequential if description.get("sequential") else Model
    model = cls.__new__(cls)
    model._start(description["seed"], description["dtype"])
    inputs, outputs = _build_graph(description["graph"], custom)
    model._build(
        Graph(inputs, outputs, "load"),
        check=lambda specs: _check({n: shape for n, (shape, _) in specs.items()}, tensors),
    )
    if isinstance(model, Sequential):
        graph = model._ready("load")
        model.layers = (*graph.inputs, *(s.layer for _, s in graph.nodes))
    if "compile" in description:
        told = description["compile"]
        model.compile(
            _construct(told["optimizer"], custom),
            [_construct(loss, custom) for loss in told["loss"]],
            [[_construct(m, custom) for m in group] for group in told["metrics"]],
        )
    return model


def _restore(model: Any, tensors: dict[str, np.ndarray], state: dict[str, Any]) -> None:
    """Puts the optimizer's moments and the generators back."""
    step = integer("its optimizer", "step", state["step"], at_least=0)
    moments = model._moments.copy()
    # Before the first step they are zeros; of a network that found its shapes by predicting there
    # are none.
    for i in range(len(moments) if step else 0):
        for name, part in model._parameters.split(moments[i]).items():
            saved = tensors.get(f"{STATE}{i}.{name}")
            if saved is None or saved.shape != part.shape or saved.dtype.kind != "f":
                raise ValueError(f"the optimizer's state of {name!r} does not fit")
            part[...] = saved
    model._restore_training({**state, "moments": moments})


# What a description that is not ours may lead to on the way; ValueErrors say it better themselves.
_DAMAGE = (KeyError, TypeError, AttributeError, IndexError, OverflowError,
           RecursionError)  # fmt: skip


@contextlib.contextmanager
def _naming(path: Any) -> Iterator[None]:
    """Whatever is wrong inside is a ValueError that names the file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
    except _DAMAGE as error:
        raise ValueError(f"{os.fspath(path)}: its description is damaged ({error!r})") from error


def _check_custom(custom: Any) -> None:
    if not isinstance(custom, dict):
        raise TypeError(f"load: custom must be a dict of name to class, received {custom!r}")
    for name, value in custom.items():
        if not isinstance(name, str) or not isinstance(value, type):
            raise TypeError(
                f"load: custom has {name!r}: {received(value)}; expected a name and its class"
            )


def load_weights(model: Any, path: Any) -> None:
    """See `Model.load_weights`."""
    model._ready("load_weights")
    tensors, _ = safetensors.load(path)
    with _naming(path):
        _fill(model, tensors)


def _description(metadata: dict[str, str]) -> dict[str, Any]:
    """The model's description in a file's metadata."""
    if "nncore" not in metadata:
        raise ValueError(
            "has tensors but no nncore model; for weights alone build the model and call "
            "load_weights"
        )
    try:
        description: dict[str, Any] = json.loads(metadata["nncore"])
        version = integer("its description", "format", description["format"], at_least=1)
    except (*_DAMAGE, ValueError) as error:
        raise ValueError(f"its description is damaged ({error!r})") from None
    if version > FORMAT:
        raise ValueError(
            f"written by a newer nncore (format {version}; this one reads up to {FORMAT}): "
            "upgrade nncore"
        )
    return description


def _fill(model: Any, tensors: dict[str, np.ndarray]) -> None:
    """Copies tensors into the parameters and buffers, after all of them were checked."""
    own = {**model.params, **model.buffers}
    _check({name: view.shape for name, view in own.items()}, tensors)
    with np.errstate(over="ignore"):
        cast = {name: tensors[name].astype(model.dtype, copy=False) for name in own}
    for name, values in cast.items():
        if values is not tensors[name] and (np.isinf(values) & ~np.isinf(tensors[name])).any():
            raise ValueError(f"{name!r} has numbers too large for this model's {model.dtype}")
    for name, view in own.items():
        if not view.flags.writeable:
            raise ValueError(f"{name!r} cannot take it: this model's is set to read-only")
    for name, view in own.items():
        view[...] = cast[name]


def _check(shapes: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Refuses tensors that are not those of a model whose parameters have these shapes."""
    known = {f"{STATE}{i}.{name}" for name in shapes for i in range(MOST_MOMENTS)}
    missing = sorted(set(shapes) - set(tensors))
    extra = sorted(set(tensors) - set(shapes) - known)
    if missing or extra:
        raise ValueError(
            f"does not fit this model: missing {missing[:5]}, not known here {extra[:5]}"
        )
    for name, shape in shapes.items():
        if tensors[name].shape != tuple(shape):
            raise ValueError(
                f"{name!r} has shape {tensors[name].shape}; this model's is {tuple(shape)}"
            )
        if tensors[name].dtype.kind != "f":
            raise ValueError(f"{name!r} has dtype {tensors[name].dtype}; expected floats")


# ---- objects as JSON: {"class": name, field: value, ...} -----------------------------------------

NUMBER = "#"  # the key of a layer's number; no argument has such a name

_MODULES = {
    layers: Layer,
    initializers: initializers.Initializer,
    losses: losses.Loss,
    metrics: metrics.Metric,
    optimizers: optimizers.Optimizer,
    schedules: schedules.Schedule,
}


def _describe(value: Any, known: dict[Layer, dict[str, Any]] | None = None) -> Any:
    """A dataclass or a metric as a dict; numbers, strings and lists as they are. A layer that is
    met again is {NUMBER: its number}: one object, one set of weights."""
    known = {} if known is None else known
    if isinstance(value, (list, tuple)):
        return [_describe(v, known) for v in value]
    if isinstance(value, Layer) and value in known:
        first = known[value]
        return {NUMBER: first.setdefault(NUMBER, list(known).index(value))}
    if isinstance(value, metrics.Metric) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    ):
        found = {"class": _class_name(value)}
        if isinstance(value, Layer):
            known[value] = found
        found |= {name: _describe(getattr(value, name), known) for name in _arguments(value)}
        return found
    return value


def _arguments(value: Any) -> list[str]:
    """What the constructor takes: attributes of the same names, from which it is made again."""
    parameters = signature(type(value)).parameters.values()
    names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if any(p.kind is p.VAR_KEYWORD for p in parameters) and getattr(value, "name", None):
        names.append("name")
    for name in names:
        if not hasattr(value, name):
            raise ValueError(
                f"save: {type(value).__name__}(...) takes {name!r}, and the object has no "
                f"attribute {name!r} to write to the file; keep it: self.{name} = {name}"
            )
    return names


def _class_name(value: Any) -> str:
    """The short name: "layers.Dense" for nncore's own, "MyLayer" for the caller's."""
    cls = type(value)
    for module in _MODULES:
        if getattr(module, cls.__name__, None) is cls:
            return f"{module.__name__.rpartition('.')[2]}.{cls.__name__}"
    return cls.__name__


def _construct(
    value: Any, custom: dict[str, type], numbered: dict[int, Layer] | None = None
) -> Any:
    """What `_describe` described."""
    numbered = {} if numbered is None else numbered
    if isinstance(value, list):
        return tuple(_construct(v, custom, numbered) for v in value)
    if not isinstance(value, dict):
        return value
    if "class" not in value:
        return numbered[value[NUMBER]] if NUMBER in value else value
    fields = {
        k: _construct(v, custom, numbered) for k, v in value.items() if k not in ("class", NUMBER)
    }
    found = _class(value["class"], custom)(**fields)
    if NUMBER in value:
        numbered[value[NUMBER]] = found
    return found


def _class(name: str, custom: dict[str, type]) -> type:
    family, _, own = name.rpartition(".")
    for module, base in _MODULES.items():
        if family and module.__name__.rpartition(".")[2] == family:
            cls = getattr(module, own)
            if not (isinstance(cls, type) and issubclass(cls, base)):
                raise ValueError(f"its description is damaged: {name!r} is no {base.__name__}")
            return cls
    if name not in custom:
        raise ValueError(f"the model uses {name!r}: pass custom={{{name!r}: {name}}} to nn.load")
    return custom[name]


def _describe_graph(graph: Any) -> dict[str, Any]:
    """Inputs by shape, layers once each, calls as (layer, inputs), outputs."""
    inputs, layers, calls, outputs = graph.flat()
    return {
        "inputs": [list(symbol.shape) for symbol in inputs],
        "input_names": [symbol.name for symbol in inputs],
        "layers": _describe(layers),
        "calls": calls,
        "outputs": outputs,
    }


def _build_graph(description: dict[str, Any], custom: dict[str, type]):
    shapes = description["inputs"]
    names = description.get("input_names", [None] * len(shapes))  # older files have none
    inputs = [Input(tuple(shape), name=name) for shape, name in zip(shapes, names, strict=True)]
    layers = _construct(description["layers"], custom)
    graph = Graph.from_flat(inputs, layers, description["calls"], description["outputs"], "load")
    return graph.inputs, graph.outputs


def _as_json(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"save: {value!r} cannot be written to a file; use a name or an object of nncore in its "
        "place (of a learning rate that is a function, a schedule of nn.schedules); save_weights "
        "does without"
    )
