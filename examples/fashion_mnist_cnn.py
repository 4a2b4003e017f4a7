"""Trains a small convolutional network on Fashion-MNIST.

python examples/fashion_mnist_cnn.py [EPOCHS]
"""

import sys

import numpy as np

import nncore as nn

BATCH = 64


def images(pixels: np.ndarray) -> np.ndarray:
    """Grey levels 0 to 1, (rows, height, width, 1): one channel."""
    return pixels[..., None].astype(np.float32) / 255


def main(epochs: int = 10) -> None:
    try:
        (x_train, y_train), (x_test, y_test) = nn.datasets.load_fashion_mnist()
    except FileNotFoundError as error:
        sys.exit(str(error))
    x_train, x_test = images(x_train), images(x_test)
    model = nn.Sequential(
        [
            nn.Input((28, 28, 1)),
            nn.Conv2D(32, 3, padding="same", activation="relu"),
            nn.MaxPool2D(2),
            nn.Conv2D(64, 3, padding="same", activation="relu"),
            nn.MaxPool2D(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Dense(128, "relu"),
            nn.Dropout(0.3),
            nn.Dense(10, "softmax"),
        ],
        seed=0,
    )
    model.summary()
    steps = epochs * -(-len(x_train) // BATCH)
    rate = nn.schedules.CosineDecay(2e-3, steps)
    model.compile(nn.Adam(rate), "cross_entropy", metrics=["accuracy"])
    history = model.fit(
        x_train,
        y_train,
        batch_size=BATCH,
        epochs=epochs,
        validation_data=(x_test, y_test),
        verbose=True,
    )
    accuracy = model.evaluate(x_test, y_test)["accuracy"]
    seconds = sum(history.history["seconds"])
    print(f"test accuracy {accuracy:.2%} after {seconds:.1f} s of training")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
