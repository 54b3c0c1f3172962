"""A principal component analysis as a dense layer: its weights come from the training pictures and are not trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgefm.zoo.documented.system import CLASSES, sequential

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Keep 95 % of the variance of Fashion-MNIST's pixels.
COMPONENTS = 187
LAYER = "pca"
_PIXELS = 28 * 28


def principal_components(images: NDArray[np.uint8], count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kernel and bias of the dense layer that gives the first principal components of scaled pixels.

    The components are eigenvectors of the covariance, which for more pictures than pixels takes less time than a
    singular value decomposition of the pictures, and gives the same. The sign of each is that its largest entry is
    positive, so that equal pictures give equal layers.

    Args:
      images: uint8 [n, height, width, channels], n of at least 2.
      count: number of components, at most the number of pixels.
    Returns:
      float32 [pixels, count] and float32 [count]: pixels / 255 @ kernel + bias are centred components.
    Source: Pearson 1901, Philosophical Magazine 2:559-572.
    """
    import numpy as np

    pixels = images.reshape(len(images), -1).astype(np.float64) / 255
    mean = pixels.mean(axis=0)
    pixels -= mean
    _, vectors = np.linalg.eigh(pixels.T @ pixels)
    kernel = vectors[:, ::-1][:, :count]
    largest = kernel[np.abs(kernel).argmax(axis=0), np.arange(count)]
    kernel = kernel * np.where(largest < 0, -1.0, 1.0)
    return kernel.astype(np.float32), (-mean @ kernel).astype(np.float32)


def learn_components(model: Any, images: NDArray[np.uint8]) -> None:
    """Set the weights of a model's layer 'pca' to the principal components of training pictures."""
    layer = model.get_layer(LAYER)
    layer.set_weights(principal_components(images, int(layer.units)))


def dense_network(name: str, units: tuple[int, ...]) -> Any:
    """Return a keras.Model: pixels, 187 components, hidden dense layers of these units, ten classes."""
    from keras import layers

    network: list[Any] = [
        layers.Flatten(name="flatten"),
        layers.Dense(COMPONENTS, name=LAYER, trainable=False, kernel_initializer="orthogonal"),
    ]
    network += [layers.Dense(count, activation="relu", name=f"dense{n}") for n, count in enumerate(units, start=1)]
    network.append(layers.Dense(CLASSES, activation="softmax", name="probabilities"))
    return sequential(name, network)


# Parameters of the fixed layer.
FIXED = _PIXELS * COMPONENTS + COMPONENTS

ASSUMED = (
    "Pixels are divided by 255 and not standardised: then 95 % of the variance takes 187 components, as S2 states.",
    "The components come from the training images alone.",
)
