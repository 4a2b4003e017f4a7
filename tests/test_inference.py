"""Plans that do not train keep packed weights, and take long inputs in stretches.

None of this may be seen from outside: results are those of the plain plan, for the weights as they
are at the time of the call, whoever changed them.
"""

import signal

import numpy as np
import pytest

import nncore as nn
from nncore.plan import Plan
from support import randomize


def idle_plans(model: nn.Model) -> list[Plan]:
    plans = [(size, model._borrow(size)) for size in range(20)]
    for size, plan in plans:
        if plan:
            model._give_back(size, plan)
    return [plan for _, plan in plans if plan]


# ---- whoever changes the weights ------------------------------------------------------------


def network(optimizer=None) -> nn.Model:
    model = nn.Sequential(
        [nn.Input((6, 6, 2)), nn.Conv2D(3, 3), nn.Activation("tanh"), nn.Flatten(), nn.Dense(3)],
        seed=0,
    )
    model.compile(optimizer or nn.SGD(0.1), "cross_entropy")
    return model


X = np.random.default_rng(0).standard_normal((12, 6, 6, 2)).astype(np.float32)
Y = np.arange(12) % 3


def by_train_on_batch(model, _):
    model.train_on_batch(X, Y)


def by_fit(model, _):
    model.fit(X, Y, verbose=0)


def by_hand(model, _):
    model.forward(X)
    model.backward(np.ones((12, 3)))
    model.apply_gradients()


def by_view(model, _):
    model.params["0.weight"][...] *= 2


def by_assignment(model, _):
    model.params["0.weight"] = np.ones((3, 3, 3, 2))


def by_update(model, _):
    model.params.update({"0.weight": np.ones((3, 3, 3, 2))})


def by_file(model, tmp_path):
    other = network()
    other.params["0.weight"][...] = 0.5
    other.save_weights(tmp_path / "w.safetensors")
    model.load_weights(tmp_path / "w.safetensors")


def by_buffer_protocol(model, _):
    memoryview(model.params["0.weight"]).cast("B").cast("f")[0] = 3.0


def by_flat(model, _):
    model.params["0.weight"].reshape(-1)[::2].sort()


CHANGES = [value for name, value in list(globals().items()) if name.startswith("by_")]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_a_change_of_the_weights_is_seen(plain, tmp_path, change):
    model = network()
    before = model(X)
    for _ in range(2):
        change(model, tmp_path)
        np.testing.assert_allclose(model(X), plain(model, X), 1e-5, 1e-5)
    assert abs(model(X) - before).max() > 1e-3


def test_lbfgs_changes_are_seen(plain):
    model = network(nn.LBFGS())
    seen = []

    class Predict(nn.callbacks.Callback):
        def on_epoch_end(self, model, epoch, logs):
            seen.append(abs(model(X) - plain(model, X)).max())

    model(X)
    model.fit(X, Y, epochs=3, batch_size=12, verbose=0, callbacks=[Predict()])
    assert len(seen) == 3
    assert max(seen) < 1e-5
    np.testing.assert_allclose(model(X), plain(model, X), 1e-5, 1e-5)


@pytest.mark.parametrize(
    "take",
    [
        lambda model: model.params["0.weight"],
        lambda model: model.params["0.weight"][1:, 0],
        lambda model: model.params["0.weight"].T[..., ::-1],
        lambda model: memoryview(model.params["0.weight"]),
        lambda model: np.asarray(memoryview(model.params["0.weight"])),
        lambda model: next(iter(model.params.items()))[1],
        lambda model: np.lib.stride_tricks.as_strided(model.params["0.weight"], (4,), (4,)),
        lambda model: model.params["0.weight"].base,
        lambda model: np.asarray(model.params["0.weight"].base).view(np.float32),
        lambda model: memoryview(model.params["0.weight"].base),
    ],
)
def test_a_view_that_is_held_may_write_at_any_time(plain, take):
    model = network()
    view = take(model)
    model(X)
    for value in (0.5, -2.0, 1.0):
        numbers = view if isinstance(view, np.ndarray) else np.frombuffer(view, np.float32)
        numbers[...] = value
        np.testing.assert_allclose(model(X), plain(model, X), 1e-5, 1e-5)
    del view
    np.testing.assert_allclose(model(X), plain(model, X), 1e-5, 1e-5)


def test_params_that_are_held_may_write_at_any_time(plain):
    model = network()
    params = model.params
    for value in (0.5, -2.0):
        model(X)
        params["0.weight"][...] = value
        np.testing.assert_allclose(model(X), plain(model, X), 1e-5, 1e-5)


def test_running_statistics_are_weights_too(plain):
    model = nn.Sequential([nn.Input((6, 6, 2)), nn.Conv2D(3, 3), nn.BatchNormalization()], seed=0)
    model(X)
    model.forward(X, training=True)
    np.testing.assert_allclose(model(X), plain(model, X), 1e-5, 1e-5)
    model.buffers["1.running_mean"][...] = 7
    np.testing.assert_allclose(model(X), plain(model, X), 1e-5, 1e-5)


def test_weights_are_packed_once():
    """As long as nobody can have changed them."""
    model = network()
    model(X)
    (plan,) = idle_plans(model)
    first = plan.prepared
    assert first
    model(X)
    assert plan.prepared == first
    held = model.params["0.bias"]
    model(X)
    assert plan.prepared == 0  # for this run only
    del held
    model(X)
    assert plan.prepared > first


def test_an_interrupt_before_the_run_leaves_nothing_stale(plain, monkeypatch):
    """Holding BLAS is the one thing between the decision to pack and packing that may raise."""
    blas = pytest.importorskip("nncore._kernels.blas")
    model = nn.Sequential(
        [nn.Input((6, 6, 2)), nn.Conv2D(3, 3), nn.Flatten(), nn.Dense(1500), nn.Dense(1500)],
        seed=0,
        dtype="float64",
    )
    x = np.random.default_rng(0).standard_normal((200, 6, 6, 2))
    model(x)
    model.params["0.weight"][...] = 0

    def interrupt():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(blas, "hold", interrupt)
        if not any(plan.uses_blas for plan in idle_plans(model)):
            pytest.skip("no products by BLAS here")
        with pytest.raises(KeyboardInterrupt):
            model(x)
    np.testing.assert_allclose(model(x), plain(model, x), 1e-9, 1e-9)


def test_packed_weights_have_a_bound(plain, monkeypatch):
    """However many plans there are, for sizes of batches and threads."""
    monkeypatch.setattr("nncore.building.KEPT_BYTES", 20000)
    model = nn.Sequential([nn.Input((64,)), nn.Dense(64), nn.Dense(3)], seed=0)
    for rows in (16, 32, 64, 128):
        x = np.random.default_rng(rows).standard_normal((rows, 64)).astype(np.float32)
        np.testing.assert_allclose(model(x), plain(model, x), 1e-4, 1e-4)
    kept = [sum(t.size for op in plan.ops for t in op.kept) for plan in idle_plans(model)]
    assert sorted(kept) == [0, 0, 0, 64 * 64]


# ---- stretches ------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [1, 2, 3])
def test_long_inputs_go_through_in_stretches(team, members):
    """Each row comes out as from a short input, in its place."""
    team(members)
    model = randomize(nn.Sequential([nn.Input((40, 40, 3)), nn.Conv2D(16, 3, padding="same")]))
    stretch = model.stretch * members
    rows = 2 * stretch + 3
    x = np.random.default_rng(0).standard_normal((rows, 40, 40, 3)).astype(np.float32)
    y = model(x)
    assert y.shape == (rows, 40, 40, 16)
    for first in range(0, rows, stretch):
        np.testing.assert_allclose(y[first:], model(x[first:]), 1e-5, 1e-5)
    np.testing.assert_allclose(y[-1:], model(x[-1:]), 1e-5, 1e-5)
    assert max(plan.capacity for plan in idle_plans(model)) < 2 * stretch


def test_a_stretch_fits_a_cache_and_repays_reading_the_weights():
    images = nn.Sequential([nn.Input((32, 32, 3)), nn.Conv2D(16, 3), nn.Conv2D(16, 3)])
    rows = nn.Sequential([nn.Input((500,)), nn.Dense(500)])
    assert 4 <= images.stretch <= 16
    assert rows.stretch >= 128
    assert nn.Sequential([nn.Input((1000, 1000, 3)), nn.Conv2D(8, 3)]).stretch == 1


def test_a_long_prediction_hears_ctrl_c():
    """Again and again: signals that wait until it has ended come as one."""
    model = nn.Sequential([nn.Input((64, 64, 8)), nn.Conv2D(64, 7, padding="same")], seed=0)
    x = np.zeros((200 * model.stretch * nn.get_num_threads(), 64, 64, 8), np.float32)
    heard = []

    def handler(*_):
        heard.append(None)
        if len(heard) == 2:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        with pytest.raises(KeyboardInterrupt):
            model(x)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert model(x[:1]).shape == (1, 64, 64, 64)


def test_several_inputs_and_outputs_in_stretches():
    a, b = nn.Input((30, 30, 4)), nn.Input((30, 30, 4))
    model = nn.Model([a, b], [nn.Add()([a, b]), nn.Conv2D(8, 3)(a)], seed=0)
    rows = 3 * model.stretch * nn.get_num_threads() + 1
    x = np.random.default_rng(0).standard_normal((2, rows, 30, 30, 4)).astype(np.float32)
    total, maps = model(list(x))
    np.testing.assert_array_equal(total, x[0] + x[1])
    np.testing.assert_allclose(maps[-1], model([x[0, -1:], x[1, -1:]])[1][0], 1e-5, 1e-5)
