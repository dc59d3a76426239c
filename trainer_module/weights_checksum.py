"""The digest of a model's weights: equal before and after proves it frozen, and a training begun
with others is another one.
"""

import hashlib


def weights_checksum(model) -> str:
    """Returns the SHA-256 of a Keras model's weights, moving statistics included, in their order.

    Names do not count: those that Keras gives tell how many layers a process has made.
    """
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(f"{weight.dtype} {weight.shape}".encode())
        digest.update(weight.tobytes())
    return digest.hexdigest()
