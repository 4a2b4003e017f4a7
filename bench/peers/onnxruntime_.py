"""ONNX Runtime, for inference: a plain run or bound buffers, whichever is the faster here. Images
are NCHW and sequences (steps, rows, features), as ONNX has them; BatchNorm is left to its
optimizer, which folds it.
"""

from functools import partial

import numpy as np
import onnx
import onnxruntime

from bench import workloads
from bench.peers import Runner, Unsupported, channels_first, faster

name = "ONNX Runtime"
version = onnxruntime.__version__
cells = ("predict", "one")
OPSET, IR_VERSION = 17, 8
ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh"}


class Graph:
    """Nodes and their weights, added one after the other."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def node(self, kind, inputs, arrays=(), **attributes):
        """Adds a node of these inputs and arrays; the name of its output."""
        names = [f"weight{len(self.initializers) + i}" for i in range(len(arrays))]
        arrays = map(np.ascontiguousarray, arrays)
        self.initializers += map(onnx.numpy_helper.from_array, arrays, names)
        output = f"y{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, [*inputs, *names], [output], **attributes))
        return output

    def layer(self, d, values, x, shape):
        match d:
            case workloads.Dense():
                return self.node("Gemm", [x], values, transB=1)
            case workloads.Conv2D():
                pads = [before_or_after[i] for i in (0, 1) for before_or_after in d.pads(shape)]
                return self.node(
                    "Conv", [x], [np.moveaxis(values[0], -1, 1), *values[1:]],
                    kernel_shape=d.window, strides=[d.stride] * 2, pads=pads, group=d.groups,
                )  # fmt: skip
            case workloads.BatchNorm():
                epsilon = workloads.BATCH_EPSILON
                return self.node("BatchNormalization", [x], values, epsilon=epsilon)
            case workloads.MaxPool():
                sizes = [d.size] * 2
                return self.node("MaxPool", [x], kernel_shape=sizes, strides=sizes)
            case workloads.GlobalAvgPool():
                return self.node("Flatten", [self.node("GlobalAveragePool", [x])])
            case workloads.Flatten():
                return self.node("Flatten", [x])
            case workloads.Recurrent():
                return self.recurrent(d, values, x)
            case workloads.Residual():
                ways = zip((d.body, d.shortcut), values, strict=True)
                return self.node("Add", [self.chain(way, its, x, shape) for way, its in ways])
            case _:
                raise Unsupported(f"{name}: {d}")

    def recurrent(self, d, values, x):
        """ONNX has the gates in the order i o f c, and z r h."""
        order = {"rnn": [0], "lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}[d.cell]
        directions = 1 + d.bidirectional

        def ordered(which):
            stacked = np.stack([values[i] for i in which])
            parts = np.split(stacked, d.gates, 1)
            return np.concatenate([parts[g] for g in order], 1)

        w, r, b, b_r = (ordered(range(i, 4 * directions, 4)) for i in range(4))
        kind = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}[d.cell]
        options = {"linear_before_reset": 1} if d.cell == "gru" else {}
        direction = "bidirectional" if d.bidirectional else "forward"
        y = self.node(
            kind, [x], [w, r, np.concatenate([b, b_r], 1)],
            hidden_size=d.units, direction=direction, **options,
        )  # fmt: skip
        last = f"last{len(self.nodes)}"  # (directions, rows, units); y has the steps in front
        self.nodes[-1].output.append(last)
        if d.sequences:
            x, steps = self.node("Transpose", [y], perm=[0, 2, 1, 3]), [0, 0, -1]
        else:
            x, steps = self.node("Transpose", [last], perm=[1, 0, 2]), [0, -1]
        return self.node("Reshape", [x], [np.array(steps, np.int64)])

    def chain(self, descriptions, values, x, shape):
        for d, group in zip(descriptions, values, strict=True):
            x = self.layer(d, group, x, shape)
            activation = getattr(d, "activation", None)
            if activation:
                x = self.node(ACTIVATIONS[activation], [x])
            shape = d.output(shape)
        return x


def model(workload, shape):
    """The network for x of this shape, serialized."""
    graph = Graph()
    last = graph.chain(workload.layers, channels_first(workload), "x", workload.input)
    shapes = {"x": shape, last: (shape[0], *workload.output)}
    x, y = (
        onnx.helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, shape)
        for key, shape in shapes.items()
    )
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, workload.name, [x], [y], graph.initializers),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    return proto.SerializeToString()


def prepare(workload, cell, x, y, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if x.ndim == 4:
        x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    elif x.ndim == 3:
        x = np.ascontiguousarray(np.moveaxis(x, 1, 0))
    session = onnxruntime.InferenceSession(
        model(workload, x.shape), options, providers=["CPUExecutionProvider"]
    )
    bound = session.io_binding()
    bound.bind_cpu_input("x", x)
    bound.bind_output(session.get_outputs()[0].name)
    return faster(
        Runner(partial(session.run, None, {"x": x}), lambda result: np.asarray(result[0])),
        Runner(
            partial(session.run_with_iobinding, bound),
            lambda _: bound.copy_outputs_to_cpu()[0],
        ),
    )
