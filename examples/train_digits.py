"""Trains a network on scikit-learn's handwritten digits, keeps it, and draws the curve.

python examples/train_digits.py
"""

from pathlib import Path

import numpy as np

import nncore as nn

FOLDER = Path("models")


def main() -> None:
    (x_train, y_train), (x_test, y_test) = nn.datasets.load_digits()
    print(f"{len(x_train)} digits to learn from, {len(x_test)} to test on, 8 x 8 pixels each")

    model = nn.Sequential(
        [
            nn.Input((64,)),
            nn.Dense(256, "relu"),
            nn.Dropout(0.3),
            nn.Dense(128, "relu"),
            nn.Dropout(0.3),
            nn.Dense(10, "softmax"),
        ],
        seed=0,
    )
    model.summary()

    model.compile(nn.Adam(1e-3), "cross_entropy", metrics=["accuracy"])
    history = model.fit(
        x_train,
        y_train,
        batch_size=32,
        epochs=30,
        validation_data=(x_test, y_test),
        verbose=True,
    )
    scores = model.evaluate(x_test, y_test)
    seconds = sum(history.history["seconds"])
    print(f"test accuracy {scores['accuracy']:.1%} after {seconds:.1f} s of training")

    FOLDER.mkdir(exist_ok=True)
    model.save(FOLDER / "digits.safetensors")
    again = nn.load(FOLDER / "digits.safetensors")
    assert np.array_equal(again.predict(x_test), model.predict(x_test))
    print(f"saved to {FOLDER / 'digits.safetensors'}; read back, it predicts the same")

    history.plot(FOLDER / "digits.png")
    print(f"the curve of training is in {FOLDER / 'digits.png'}")


if __name__ == "__main__":
    main()
