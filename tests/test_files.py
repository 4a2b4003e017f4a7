"""Files: what is saved comes back, training goes on to the bit, and a damaged file is one error."""

import copy
import json
import os
import pickle
import resource
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import cases
import nncore as nn
from case_kinds import several
from nncore.interop import safetensors

CUSTOM = {cls.__name__: cls for cls in (cases.Gate, cases.Power, cases.Cube)}
RNG = np.random.default_rng(5)
X = RNG.normal(size=(50, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 50)

INITIALIZERS = [
    "zeros", "ones", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform",
    "lecun_normal", "orthogonal", nn.initializers.Constant(0.25), nn.initializers.RandomNormal(),
    nn.initializers.RandomUniform(-0.5, 0.25),
]  # fmt: skip

METRICS = [
    "accuracy", nn.metrics.TopK(k=2), nn.metrics.Precision(average="micro"),
    nn.metrics.Recall(average="weighted", name="found"), nn.metrics.F1(), "mse", "mae",
]  # fmt: skip


def classifier(optimizer="adam", dropout=0.3, **options):
    layers = [nn.Input((4,)), nn.Dense(6, "tanh"), nn.Dropout(dropout), nn.Dense(3, "softmax")]
    model = nn.Sequential(layers, seed=1, **options)
    model.compile(optimizer, "cross_entropy", metrics=["accuracy"])
    return model


def same(one, other):
    assert list(one.params) == list(other.params)
    for name, view in one.params.items():
        assert view.dtype == other.params[name].dtype
        assert np.array_equal(view, other.params[name]), name
    return True


def by_file(model, path):
    model.save(path)
    return nn.load(path, custom=CUSTOM)


# ---- everything comes back -----------------------------------------------------------------------


@pytest.mark.parametrize("case", cases.LAYERS, ids=lambda case: repr(case.layer))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_layer(case, dtype, tmp_path):
    inputs = [nn.Input(shape) for shape in several(case.shapes[-1])]
    output = case.layer(inputs if len(inputs) > 1 else inputs[0])
    model = nn.Model(inputs, output, seed=2, dtype=dtype)
    xs = case.draw(np.random.default_rng(0), 5, case.shapes[-1])
    x = xs if len(xs) > 1 else xs[0]
    for copied in (
        by_file(model, tmp_path / "m"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ):
        assert same(model, copied) and copied.dtype == model.dtype
        assert np.array_equal(model(x), copied(x), equal_nan=True)
        assert repr(copied.graph.nodes[0][1].layer) == repr(case.layer)


@pytest.mark.parametrize("initializer", INITIALIZERS, ids=repr)
def test_every_initializer(initializer, tmp_path):
    layer = nn.Dense(3, kernel_initializer=initializer)
    model = nn.Sequential([nn.Input((4,)), layer], seed=0)
    loaded = by_file(model, tmp_path / "m")
    assert same(model, loaded) and repr(loaded.layers[1]) == repr(layer)


@pytest.mark.parametrize("case", cases.LOSSES, ids=lambda case: repr(case.loss))
def test_every_loss(case, tmp_path):
    output = case.outputs[0]
    model = nn.Sequential([nn.Input((4,)), nn.Dense(output[-1])], seed=0)
    model.compile("sgd", case.loss)
    loaded = by_file(model, tmp_path / "m")
    target = case.target(np.random.default_rng(0), 50, output)
    assert model.evaluate(X, target) == loaded.evaluate(X, target)


def test_metrics_with_their_options(tmp_path):
    model = classifier(dropout=0)
    one_hot = np.eye(3)[Y]
    model.compile("sgd", "cross_entropy", metrics=METRICS)
    loaded = by_file(model, tmp_path / "m")
    assert model.evaluate(X, one_hot) == loaded.evaluate(X, one_hot)
    assert loaded.metrics[0][1].k == 2 and loaded.metrics[0][3].name == "found"


def shared_network():
    a, b = nn.Input((4,)), nn.Input((4,))
    tower = nn.Dense(5, "tanh", name="training")  # a name that the file also uses
    h = nn.Concatenate()([tower(a), tower(b)])
    return nn.Model([a, b], [nn.Dense(3)(h), nn.Dense(1, name="value")(h), h], seed=4)


def test_a_graph_with_shared_layers_and_several_outputs(tmp_path):
    model = shared_network()
    losses = ["cross_entropy", nn.losses.Huber(0.5), "mse"]
    model.compile(nn.Adam(0.01), losses, metrics=[["accuracy"], [], ["mae"]])
    ys = [Y, X[:, 0], np.zeros((50, 10))]
    model.fit([X, -X], ys, batch_size=16)
    for other in (by_file(model, tmp_path / "m"), pickle.loads(pickle.dumps(model))):
        assert list(other.params) == list(model.params) and len(other.params) == 6
        assert other.evaluate([X, -X], ys) == model.evaluate([X, -X], ys)
        assert other.train_on_batch([X, X], ys) == copy.deepcopy(model).train_on_batch([X, X], ys)


def test_models_that_are_not_ready_are_copied_too():
    bare = nn.Sequential([nn.Dense(3), nn.Dense(2)], seed=7)
    compiled = nn.Sequential([nn.Dense(3), nn.Dense(3)], seed=7)
    compiled.compile(nn.Adam(0.1), "cross_entropy")
    for model in (bare, compiled, classifier()):
        for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert np.array_equal(copied(X), copy.deepcopy(model)(X))
            assert not np.shares_memory(next(iter(copied.params.values())), model(X))
    first, second = copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))
    first.fit(X, Y), second.fit(X, Y)
    assert same(first, second)
    with pytest.raises(ValueError, match="save needs the network's shapes"):
        nn.Sequential([nn.Dense(3)]).save("never")


def test_names_of_inputs_are_kept(tmp_path):
    a, b = nn.Input((2,), name="left"), nn.Input((2,))
    model = nn.Model([a, b], nn.Add()([a, b]), seed=0)
    for other in (by_file(model, tmp_path / "m"), copy.deepcopy(model)):
        assert [symbol.name for symbol in other.graph.inputs] == ["left", None]
    assert repr(a) == "Input((2,), 'left')"


def test_copies_do_not_share_memory():
    model = classifier()
    copied = copy.deepcopy(model)
    before = copied.params["0.weight"].copy()
    model.fit(X, Y)
    assert np.array_equal(copied.params["0.weight"], before)


def test_custom_classes_are_asked_for(tmp_path):
    model = nn.Sequential([nn.Input((4,)), cases.Power(2), nn.Dense(3)], seed=0)
    model.compile("sgd", cases.Cube())
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"custom=\{'Power': Power\}"):
        nn.load(tmp_path / "m")
    loaded = nn.load(tmp_path / "m", custom=CUSTOM)
    assert loaded.layers[1].exponent == 2 and np.array_equal(loaded(X), model(X))


def test_a_network_of_a_class_of_the_users_own(tmp_path):
    """Loads as that class if it is given, as what it is a kind of if not."""

    class Tower(nn.Sequential):
        pass

    Tower([nn.Input((4,)), nn.Dense(3)], seed=0).save(tmp_path / "m")
    assert type(nn.load(tmp_path / "m", custom={"Tower": Tower})) is Tower
    plain = nn.load(tmp_path / "m")
    assert type(plain) is nn.Sequential and len(plain.layers) == 2


def test_what_cannot_be_written_is_told_and_nothing_is_written(tmp_path):
    layer = nn.Dense(3, kernel_initializer=lambda shape, rng: np.ones(shape))
    model = nn.Sequential([nn.Input((4,)), layer], seed=0)
    with pytest.raises(TypeError, match="cannot be written to a file"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []
    model.save_weights(tmp_path / "m")
    assert os.path.exists(tmp_path / "m")


def test_a_file_is_read_in_a_fresh_process(tmp_path):
    model = classifier()
    model.fit(X, Y)
    model.save(tmp_path / "m.safetensors")
    np.save(tmp_path / "x.npy", X)
    code = """
        import sys, numpy as np, nncore as nn
        model = nn.load(sys.argv[1] + "/m.safetensors")
        np.save(sys.argv[1] + "/y.npy", model(np.load(sys.argv[1] + "/x.npy")))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=True)
    assert np.array_equal(np.load(tmp_path / "y.npy"), model(X))


# ---- training goes on ----------------------------------------------------------------------------

RESUMED = [case.optimizer for case in cases.OPTIMIZERS if case.optimizer.rule]


def test_a_network_that_found_its_shapes_by_predicting(tmp_path):
    model = nn.Sequential([nn.Dense(3)], seed=0)
    model.compile("adam", "cross_entropy")
    model(X)
    loaded = by_file(model, tmp_path / "m")
    for one in (model, loaded):
        one.fit(X, Y, epochs=2, verbose=False)
    assert same(model, loaded)


@pytest.mark.parametrize("optimizer", RESUMED, ids=repr)
def test_resumed_training_is_the_uninterrupted_one_to_the_bit(optimizer, tmp_path):
    whole = classifier(copy.deepcopy(optimizer))
    whole.fit(X, Y, epochs=2, batch_size=16)
    copies = [by_file(whole, tmp_path / "m"), pickle.loads(pickle.dumps(whole)),
              copy.deepcopy(whole)]  # fmt: skip
    whole.fit(X, Y, epochs=3, batch_size=16)
    whole.train_on_batch(X, Y)
    for resumed in copies:
        resumed.fit(X, Y, epochs=3, batch_size=16)
        resumed.train_on_batch(X, Y)
        assert same(whole, resumed)
        assert repr(resumed.optimizer) == repr(whole.optimizer)


@pytest.mark.parametrize(
    "make",
    [
        lambda d: [d, nn.Residual([d])],
        lambda d: [nn.Residual([d]), d],
        lambda d: [nn.Residual([d, nn.Residual([d], shortcut=d)])],
        lambda d: [nn.Residual(d), nn.Residual(d)],
        lambda d: [nn.Dense(4), nn.Residual([d, nn.Dense(4)]), d],
    ],
)
def test_a_layer_shared_by_residual_blocks_comes_back_shared(make, tmp_path):
    model = nn.Sequential([nn.Input((4,)), *make(nn.Dense(4))], seed=0)
    model.save(tmp_path / "model.safetensors")
    loaded = nn.load(tmp_path / "model.safetensors")
    assert same(model, loaded)
    assert loaded(X).tobytes() == model(X).tobytes()
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (
        tmp_path / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("optimizer", [nn.SGD, nn.RMSprop, nn.Adam])
def test_a_schedule_goes_on_where_it_was(optimizer, tmp_path):
    model = classifier(optimizer(nn.schedules.CosineDecay(0.5, 20)))
    for _ in range(10):
        model.train_on_batch(X, Y)
    model.save(tmp_path / "model.safetensors")
    others = [nn.load(tmp_path / "model.safetensors"), copy.deepcopy(model),
              pickle.loads(pickle.dumps(model))]  # fmt: skip
    for _ in range(3):
        for each in (model, *others):
            each.train_on_batch(X, Y)
    assert all(same(model, other) for other in others)


@pytest.mark.parametrize(
    "optimizer, moments",
    [(nn.SGD(0.1), 0), (nn.SGD(0.1, 0.5), 1), (nn.RMSprop(), 1), (nn.RMSprop(momentum=0.5), 2)],
    ids=repr,
)
def test_an_optimizer_saves_the_moments_that_it_uses(optimizer, moments, tmp_path):
    model = classifier(optimizer)
    model.train_on_batch(X, Y)
    model.save(tmp_path / "model.safetensors")
    tensors, _ = safetensors.load(tmp_path / "model.safetensors")
    assert len(tensors) == len(model.params) * (1 + moments)


def test_without_training_state_the_optimizer_starts_anew(tmp_path):
    model = classifier(nn.Adam(0.1))
    model.fit(X, Y)
    model.save(tmp_path / "with")
    model.save(tmp_path / "without", training_state=False)
    assert os.path.getsize(tmp_path / "without") < os.path.getsize(tmp_path / "with")
    loaded = nn.load(tmp_path / "without")
    assert same(model, loaded) and loaded._training_state()["step"] == 0
    loaded.fit(X, Y)


# ---- weights alone -------------------------------------------------------------------------------


def test_weights_go_from_file_to_model_and_dtype_to_dtype(tmp_path):
    model = classifier()
    model.save_weights(tmp_path / "w")
    double = classifier(dtype="float64")
    double.params["0.weight"][...] = 0
    double.load_weights(tmp_path / "w")
    np.testing.assert_allclose(double(X), model(X), rtol=1e-5)
    model.save(tmp_path / "all")
    double.load_weights(tmp_path / "all")


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([nn.Dense(7), nn.Flatten(), nn.Dense(3)], r"'0.weight' has shape \(6, 4\).*is \(7, 4\)"),
        ([nn.Dense(6)], r"not known here \['2.bias', '2.weight'\]"),
        ([nn.Dense(6), nn.Dense(3), nn.Dense(3)], r"missing \['1.bias', '1.weight'\]"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(layers, words, tmp_path):
    classifier().save_weights(tmp_path / "w")
    model = nn.Sequential([nn.Input((4,)), *layers], seed=9)
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match=words):
        model.load_weights(tmp_path / "w")
    assert same(model, before)


def test_weights_that_are_set_to_read_only_are_not_half_loaded(tmp_path):
    classifier().save_weights(tmp_path / "w")
    model = classifier()
    for view in model.params.values():
        view += 1
    before = copy.deepcopy(model)
    *_, last = model.params.values()
    last.flags.writeable = False
    with pytest.raises(ValueError, match=r"w: '.*' cannot take it: .* read-only"):
        model.load_weights(tmp_path / "w")
    assert same(model, before)


def test_a_file_of_weights_is_no_model(tmp_path):
    classifier().save_weights(tmp_path / "w")
    with pytest.raises(ValueError, match="no nncore model.*load_weights"):
        nn.load(tmp_path / "w")


# ---- disks ---------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "m"
    old = classifier()
    old.save(path)
    bytes_before = path.read_bytes()
    large = nn.Sequential([nn.Input((100,)), nn.Dense(100)], seed=0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        for call in (large.save, large.save_weights):
            with pytest.raises(OSError) as caught:
                call(path)
            assert caught.value.filename == str(path)  # not the temporary file's
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == bytes_before and list(tmp_path.iterdir()) == [path]
    assert same(nn.load(path), old)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        classifier().save(tmp_path / "nowhere" / "m")
    assert caught.value.filename == str(tmp_path / "nowhere" / "m")
    with pytest.raises(FileNotFoundError, match="nothing"):
        nn.load(tmp_path / "nothing")
    with pytest.raises(OSError, match="m"):
        nn.load(tmp_path)


def test_a_file_on_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b"something longer than the model" * 1000)
    model = classifier()
    model.save(path)
    assert same(nn.load(path), model)
    assert safetensors.load(path)[1].keys() == {"nncore"}
    assert json.loads(safetensors.load(path)[1]["nncore"])["format"] == 1


def test_numbers_too_large_for_the_model_are_refused_before_anything_changes(tmp_path):
    layers = [nn.Input((3,)), nn.Dense(2), nn.Dense(2)]
    wide, narrow = nn.Sequential(layers, dtype="float64"), nn.Sequential(layers, seed=1)
    wide.params["1.weight"][0, 0] = 1e39
    wide.save_weights(tmp_path / "wide.safetensors")
    before = copy.deepcopy(narrow)
    with pytest.raises(ValueError, match=r"wide.safetensors: '1.weight' has numbers too large"):
        narrow.load_weights(tmp_path / "wide.safetensors")
    for name, value in before.params.items():
        assert np.array_equal(narrow.params[name], value)
    wide.params["1.weight"][0, 0] = np.inf  # is one in both
    wide.save_weights(tmp_path / "wide.safetensors")
    narrow.load_weights(tmp_path / "wide.safetensors")
    assert narrow.params["1.weight"][0, 0] == np.inf


class Quantile(nn.losses.Loss):
    def __init__(self, q=0.5):
        self.q = q

    def forward(self, y_true, y_pred):
        d = y_true - y_pred
        return np.maximum(self.q * d, (self.q - 1) * d).mean(axis=1)

    def backward(self, y_true, y_pred):
        return np.where(y_true > y_pred, -self.q, 1 - self.q) / y_pred.shape[1]


class Scale(nn.Layer):
    def __init__(self, k=1.0, name=None):
        super().__init__(name=name)
        self.k = k

    def forward(self, x):
        return x * self.k

    def backward(self, dy, y, x):
        return dy * self.k


class Within(nn.metrics.Metric):
    def __init__(self, tolerance=0.1, **options):
        self.tolerance = tolerance
        super().__init__(**options)

    def reset(self):
        self.hits = self.rows = 0

    def update(self, y_true, y_pred, sample_weight=None):
        self.hits += (abs(y_true.reshape(y_pred.shape) - y_pred) < self.tolerance).sum()
        self.rows += len(y_pred)

    def result(self):
        return float(self.hits / self.rows)


def test_what_constructors_of_your_own_take_is_kept(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 4))
    model = nn.Sequential([nn.Input((4,)), nn.Dense(1), Scale(3.0, name="scale")], seed=0)
    model.compile("sgd", Quantile(0.9), metrics=[Within(2.0, name="near")])
    model.save(tmp_path / "own.safetensors")
    custom = {"Quantile": Quantile, "Scale": Scale, "Within": Within}
    other = nn.load(tmp_path / "own.safetensors", custom=custom)
    assert np.array_equal(model(x), other(x))
    scores = model.evaluate(x, x.sum(1))
    assert scores == other.evaluate(x, x.sum(1)) and 0 < scores["near"] < 1
    assert other.loss[0].q == 0.9


def test_what_could_not_be_made_again_is_not_saved(tmp_path):
    class Forgetful(Scale):
        def __init__(self, factor):
            super().__init__(2 * factor)

    model = nn.Sequential([nn.Input((4,)), nn.Dense(1), Forgetful(2.0)], seed=0)
    with pytest.raises(ValueError, match="Forgetful.*'factor'.*self.factor = factor"):
        model.save(tmp_path / "own.safetensors")
    assert not list(tmp_path.iterdir())
