"""ONNX Runtime, for inference: a plain run or bound buffers, whichever is the faster here."""

from functools import partial

import numpy as np
import onnx
import onnxruntime

from bench import workloads
from bench.peers import Runner, Unsupported, faster

name = "ONNX Runtime"
version = onnxruntime.__version__
cells = ("predict", "one")
OPSET, IR_VERSION = 17, 8
ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh"}


def graph(workload, rows):
    nodes, initializers, last = [], [], "x"
    layers = zip(workload.layers, workload.weights(), strict=True)
    for i, (description, values) in enumerate(layers):
        if not isinstance(description, workloads.Dense):
            raise Unsupported(f"{name}: {description}")
        names = [f"weight{i}", f"bias{i}"]
        initializers += map(onnx.numpy_helper.from_array, values, names)
        nodes.append(onnx.helper.make_node("Gemm", [last, *names], [f"h{i}"], transB=1))
        last = f"h{i}"
        if description.activation:
            kind = ACTIVATIONS[description.activation]
            nodes.append(onnx.helper.make_node(kind, [last], [f"a{i}"]))
            last = f"a{i}"
    shapes = {"x": (rows, *workload.input), last: (rows, *workload.output)}
    x, y = (
        onnx.helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, shape)
        for key, shape in shapes.items()
    )
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, workload.name, [x], [y], initializers),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    return model.SerializeToString()


def prepare(workload, cell, x, y, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        graph(workload, len(x)), options, providers=["CPUExecutionProvider"]
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
