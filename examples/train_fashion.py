"""Trains a network on Fashion-MNIST (70000 photographs of clothes), keeps it, draws the curve.

python examples/train_fashion.py
"""

import sys
from pathlib import Path

import numpy as np

import nncore as nn

FOLDER = Path("models")
BATCH, EPOCHS = 128, 10


def pixels(images: np.ndarray) -> np.ndarray:
    """Grey levels 0 to 1, one row of 784 for each image."""
    return images.reshape(len(images), -1).astype(np.float32) / 255


def main() -> None:
    try:
        (x_train, y_train), (x_test, y_test) = nn.datasets.load_fashion_mnist()
    except FileNotFoundError as error:
        sys.exit(str(error))
    x_train, x_test = pixels(x_train), pixels(x_test)
    print(f"{len(x_train)} images to learn from, {len(x_test)} to test on, 28 x 28 pixels each")

    model = nn.Sequential(
        [
            nn.Input((784,)),
            nn.Dense(256, "relu"),
            nn.Dropout(0.2),
            nn.Dense(128, "relu"),
            nn.Dropout(0.2),
            nn.Dense(10, "softmax"),
        ],
        seed=0,
    )
    model.summary()

    steps = EPOCHS * -(-len(x_train) // BATCH)
    rate = nn.schedules.CosineDecay(2e-3, steps)  # from 2e-3 down to 0 over the whole training
    model.compile(nn.Adam(rate), "cross_entropy", metrics=["accuracy"])
    history = model.fit(
        x_train,
        y_train,
        batch_size=BATCH,
        epochs=EPOCHS,
        validation_data=(x_test, y_test),
        verbose=True,
    )
    scores = model.evaluate(x_test, y_test)
    seconds = sum(history.history["seconds"])
    print(f"test accuracy {scores['accuracy']:.1%} after {seconds:.1f} s of training")

    FOLDER.mkdir(exist_ok=True)
    model.save(FOLDER / "fashion.safetensors")
    again = nn.load(FOLDER / "fashion.safetensors")
    assert np.array_equal(again.predict(x_test), model.predict(x_test))
    print(f"saved to {FOLDER / 'fashion.safetensors'}; read back, it predicts the same")

    history.plot(FOLDER / "fashion.png")
    print(f"the curve of training is in {FOLDER / 'fashion.png'}")


if __name__ == "__main__":
    main()
