"""One model on several devices: every replica sees its share of a batch, and together they act as
one device would.

Only TensorFlow's MirroredStrategy has replicas here; everywhere else these functions change
nothing. Three things must be shared for R replicas to compute what one would: the embeddings, which
are each other's negatives (`gathered`), the statistics of batch normalization
(`keras.layers.BatchNormalization(synchronized=True)`), and the mean over the batch
(`share_of_replica`). One thing must differ: the random numbers (`ReplicaSeedGenerator`).

B images, of which a replica sees B / R; P dimensions of the embedding.
"""

import contextlib

import keras
from keras import ops

SEED_STRIDE = 1_000_003  # between replicas, so that their seeds do not meet those of other runs


def replica_count() -> int:
    """Returns R, the replicas that a model built here and now would have."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def all_devices():
    """Returns the scope in which to build a model that trains on all GPUs.

    A scope that is open already is kept.
    """
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    if tf.distribute.has_strategy() or len(tf.config.list_physical_devices("GPU")) < 2:
        return contextlib.nullcontext()
    return tf.distribute.MirroredStrategy().scope()


def gathered(embedding):
    """Joins the embeddings of all replicas.

    The gradient of every replica's loss flows back to where they came from.

    Args:
        embedding: of this replica's images, [B / R, P].

    Returns:
        [B, P] on every replica, the first replica's rows first.
    """
    replica = _this_replica()
    return embedding if replica is None else replica.all_gather(embedding, axis=0)


def share_of_replica(loss):
    """Returns the part of a loss over the whole batch that this replica answers for, since
    gradients are summed over replicas.
    """
    replica = _this_replica()
    return loss if replica is None else loss / replica.num_replicas_in_sync


class ReplicaSeedGenerator(keras.random.SeedGenerator):
    """A seed generator that draws other numbers on every replica.

    On one device it is Keras' own, number for number.
    """

    def next(self, ordered=True):
        """Returns the next seed, [2] integers, and moves on."""
        seed, replica = super().next(ordered), _this_replica()
        if replica is None:
            return seed
        shift = SEED_STRIDE * ops.cast(replica.replica_id_in_sync_group, seed.dtype)
        return seed + ops.stack([shift, ops.zeros_like(shift)])


def _this_replica():
    """Returns TensorFlow's context of the one of several replicas that is running this, or None."""
    if replica_count() == 1:
        return None
    import tensorflow as tf

    return tf.distribute.get_replica_context()
