"""A teacher that answers each sample once, however many epochs and passes ask for it."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from edgefm.training.distillation import Teacher

_MOST_BYTES = 512 << 20


def remembered(teacher: Teacher) -> Teacher:
    """Return a teacher that keeps its answers by the content of the samples.

    A training split that is only mirrored has two forms of each picture, so that after an epoch or two nothing is
    asked any more. At most 512 MB of answers are kept; what is more is asked again.

    >>> asked = []
    >>> def teacher(x): asked.append(len(x)); return x.sum(axis=1, keepdims=True)
    >>> answer = remembered(teacher)
    >>> answer(np.ones((3, 2), np.float32)).tolist(), asked
    ([[2.0], [2.0], [2.0]], [1])
    """
    answers: dict[bytes, NDArray[np.float32]] = {}

    def answer(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        samples = np.ascontiguousarray(inputs)
        keys = [blake2b(sample.tobytes(), digest_size=16).digest() for sample in samples]
        new = {key: index for index, key in enumerate(keys) if key not in answers}
        if new:
            fresh = dict(zip(new, teacher(samples[list(new.values())]), strict=True))
            size = sum(kept.nbytes for kept in fresh.values())
            if (len(answers) + len(fresh)) * size > _MOST_BYTES * len(fresh):
                whole = {key: answers[key] if key in answers else fresh[key] for key in keys}
                answers.clear()
                return np.stack([whole[key] for key in keys])
            answers.update(fresh)
        return np.stack([answers[key] for key in keys])

    return answer
