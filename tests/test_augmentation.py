"""Augmented images: what stays, what changes, what a seed repeats."""

import numpy as np
import pytest

import nncore as nn
from nncore.datasets import augmented

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(1, 256, (50, 6, 7, 3), dtype=np.uint8)  # no zeros: those are filled in
LABELS = np.arange(50)


def epoch(batches):
    """All of one epoch as two arrays."""
    xs, ys = zip(*batches, strict=True)
    return np.concatenate(xs), np.concatenate(ys)


def moved(image, down, right, mirrored):
    """By the definition, pixel by pixel: the pixel at (h,w) goes to (h + down, w + right)."""
    image = image[:, ::-1] if mirrored else image
    result = np.zeros_like(image)
    for h in range(image.shape[0]):
        for w in range(image.shape[1]):
            if 0 <= h + down < image.shape[0] and 0 <= w + right < image.shape[1]:
                result[h + down, w + right] = image[h, w]
    return result


def changes(image, original, shift):
    """All (down, right, mirrored) that make the image of the original."""
    reach = range(-shift, shift + 1)
    return [
        (down, right, mirrored)
        for down in reach
        for right in reach
        for mirrored in (False, True)
        if np.array_equal(image, moved(original, down, right, mirrored))
    ]


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize(
    "images", [IMAGES, IMAGES[..., :1] / 256, IMAGES[..., 0]], ids="u1 f8 3d".split()
)
def test_each_image_is_a_moved_one_with_its_own_label(images, shift, flip):
    x, y = epoch(augmented(images, LABELS, batch_size=16, shift=shift, flip=flip, seed=1))
    assert x.dtype == images.dtype and x.shape == images.shape and sorted(y) == list(LABELS)
    found = [changes(image, images[label], shift) for image, label in zip(x, y, strict=True)]
    assert all(len(one) == 1 for one in found)
    drawn = [one[0] for one in found]
    assert {mirrored for *_, mirrored in drawn} == ({False, True} if flip else {False})
    assert {down for down, *_ in drawn} == {r for _, r, _ in drawn} == {*range(-shift, shift + 1)}


def test_shapes_and_the_smaller_last_batch():
    batches = augmented(IMAGES, LABELS, batch_size=16)
    assert [x.shape for x, _ in batches] == [(16, 6, 7, 3)] * 3 + [(2, 6, 7, 3)]
    assert len(batches) == 4


def test_a_seed_repeats_a_sequence_of_epochs_that_differ():
    one, other, third = (augmented(IMAGES, LABELS, seed=seed) for seed in (5, 5, 6))
    first, second = epoch(one), epoch(one)
    assert not np.array_equal(first[0], second[0]) and not np.array_equal(first[1], second[1])
    for expected in (first, second):
        found = epoch(other)
        assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])
    assert not np.array_equal(epoch(third)[0], first[0])


def test_two_at_a_time_do_not_disturb_each_other():
    one, other = augmented(IMAGES, LABELS), augmented(IMAGES, LABELS)
    expected = [epoch(one)[1], epoch(one)[1]]
    both = list(zip(iter(other), iter(other), strict=True))
    for i in range(2):
        assert np.array_equal(np.concatenate([pair[i][1] for pair in both]), expected[i])


def test_without_shuffling_the_order_stays():
    assert np.array_equal(epoch(augmented(IMAGES, LABELS, shuffle=False))[1], LABELS)


def test_nothing_is_written_to_what_was_passed():
    x, y = IMAGES.copy(), LABELS.copy()
    for images, labels in augmented(x, y):
        images[...], labels[...] = 0, 0
    assert np.array_equal(x, IMAGES) and np.array_equal(y, LABELS)


def test_a_network_trains_on_it_and_the_seed_repeats_the_training():
    images = np.zeros((200, 8, 8, 1), np.float32)
    labels = np.arange(200) % 2
    images[labels == 0, 2:6, 3:5] = 1  # a tall bar, a wide one
    images[labels == 1, 3:5, 2:6] = 1
    losses = []
    for _ in range(2):
        layers = [nn.Input((8, 8, 1)), nn.MaxPool2D(2, 1), nn.Flatten(), nn.Dense(16, "relu")]
        model = nn.Sequential([*layers, nn.Dense(2, "softmax")], seed=0)
        model.compile(nn.Adam(0.01), "cross_entropy", metrics=["accuracy"])
        batches = augmented(images, labels, batch_size=20, shift=2, seed=3)
        losses.append(model.fit(batches, epochs=15, verbose=False).history["loss"])
        assert model.evaluate(images, labels)["accuracy"] == 1
    assert losses[0] == losses[1] and losses[0][-1] < losses[0][0] / 3


@pytest.mark.parametrize("call, error, words", [
    (lambda: augmented(IMAGES[0, 0], LABELS), ValueError, ["(7, 3)", "height"]),
    (lambda: augmented(IMAGES, LABELS[:9]), ValueError, ["50 images", "(9,)"]),
    (lambda: augmented(IMAGES, 3), ValueError, ["50 images", "()"]),
    (lambda: augmented(IMAGES, LABELS, shift=6), ValueError, ["shift 6", "(6, 7)"]),
    (lambda: augmented(IMAGES, LABELS, shift=-1), ValueError, ["shift", ">= 0", "-1"]),
    (lambda: augmented(IMAGES, LABELS, batch_size=0), ValueError, ["batch_size", "0"]),
    (lambda: augmented(IMAGES, LABELS, flip=1), TypeError, ["flip", "1 (int)"]),
    (lambda: augmented(IMAGES, LABELS, seed=None), TypeError, ["seed", "None"]),
    (lambda: augmented(IMAGES.astype(object), LABELS), TypeError, ["x", "object"]),
])  # fmt: skip
def test_wrong_arguments_are_refused(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value
