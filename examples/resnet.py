"""Residual networks (He et al. 2015) of 6n + 2 layers, trained on Fashion-MNIST or, where that is
not installed, on handwritten digits.

python examples/resnet.py [DEPTH] [EPOCHS]
"""

import sys

import numpy as np

import nncore as nn


def block(filters: int, strides: int, project: bool) -> nn.Residual:
    """Two 3x3 convolutions and the way around them."""
    body = [
        nn.Conv2D(filters, 3, strides, "same", use_bias=False),
        nn.BatchNormalization(momentum=0.9),
        nn.Activation("relu"),
        nn.Conv2D(filters, 3, padding="same", use_bias=False),
        nn.BatchNormalization(momentum=0.9),
    ]
    way = [nn.Conv2D(filters, 1, strides, use_bias=False), nn.BatchNormalization(momentum=0.9)]
    return nn.Residual(body, shortcut=way if project else None, activation="relu")


def resnet(depth: int, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """ResNet-8, -20, -32, ...: three stages of (depth - 2) / 6 blocks, 16, 32 and 64 filters."""
    layers: list = [
        nn.Input(shape),
        nn.Conv2D(16, 3, padding="same", use_bias=False),
        nn.BatchNormalization(momentum=0.9),
        nn.Activation("relu"),
    ]
    for stage, filters in enumerate((16, 32, 64)):
        for i in range((depth - 2) // 6):
            first = stage > 0 and i == 0
            layers.append(block(filters, 2 if first else 1, project=first))
    return nn.Sequential([*layers, nn.GlobalAvgPool2D(), nn.Dense(classes, "softmax")], seed=0)


def load():
    """Images (rows, height, width, 1) from 0 to 1 and their labels, (train, test); and whether
    one that is mirrored is one of its class still."""
    try:
        parts = nn.datasets.load_fashion_mnist()
        return [(x[..., None].astype(np.float32) / 255, y) for x, y in parts], True
    except FileNotFoundError:
        return [(x.reshape(-1, 8, 8, 1), y) for x, y in nn.datasets.load_digits()], False


def main(depth: int = 8, epochs: int = 3, batch: int = 128) -> None:
    ((x_train, y_train), (x_test, y_test)), flip = load()
    model = resnet(depth, x_train.shape[1:], 10)
    print(f"ResNet-{depth}: {model.count_params():,} parameters, {len(x_train)} images")
    rate = nn.schedules.CosineDecay(3e-3, epochs * -(-len(x_train) // batch))
    model.compile(nn.Adam(rate), "cross_entropy", metrics=["accuracy"])
    batches = nn.datasets.augmented(x_train, y_train, batch_size=batch, shift=2, flip=flip, seed=0)
    history = model.fit(batches, epochs=epochs, validation_data=(x_test, y_test), verbose=True)
    accuracy = model.evaluate(x_test, y_test)["accuracy"]
    seconds = sum(history.history["seconds"])
    print(f"test accuracy {accuracy:.2%} after {seconds:.1f} s of training")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
