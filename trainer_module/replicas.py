"""Several devices, of one machine or of several that train together: every replica of the model
sees its share of a batch, and together they act as one device would.

Only TensorFlow has replicas here, those of MirroredStrategy on one machine and, once `join_others`
was called, those of MultiWorkerMirroredStrategy on several; everywhere else these functions change
nothing. Three things must be shared for R replicas to compute what one would: the embeddings, which
are each other's negatives (`gathered`), the statistics of batch normalization
(`keras.layers.BatchNormalization(synchronized=True)`), and the mean over the batch
(`share_of_replica`). One thing must differ, the random numbers: each takes those that one device
would draw for its images (`rows_of_replica`, trainer_module/chance.py).

B images, of which a replica sees B / R; P dimensions of the embedding.
"""

import contextlib

import keras
from keras import ops

# What TensorFlow's collectives do not take is sent as what holds it.
SENT_AS = {"bfloat16": "float32", "uint8": "int32", "bool": "int32"}
_with_others: list = []  # the strategy of a process that has joined others, and its rank


def replica_count() -> int:
    """Returns R, the replicas that a model built here and now would have."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def join_others(rank: int) -> None:
    """Joins the other processes that TF_CONFIG names; returns when all have reached each other.

    TensorFlow allows it only before it has computed anything.

    Args:
        rank: of this process, 0 for the one that writes checkpoints and logs.
    """
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    count = lambda: tf.distribute.get_replica_context().all_reduce("SUM", tf.ones([]))  # noqa: E731
    strategy.run(tf.function(count))
    _with_others[:] = [strategy, rank]


def machine_count() -> int:
    """Returns how many processes train together, each on a machine of its own."""
    if not _with_others:
        return 1
    tasks = _with_others[0].cluster_resolver.cluster_spec().as_dict().values()
    return sum(len(addresses) for addresses in tasks)


def leads() -> bool:
    """Tells whether this process writes checkpoints and logs: one of several does."""
    return not _with_others or _with_others[1] == 0


def all_machines():
    """Returns the scope in which to build a model that trains on all machines that train together;
    one machine's model has one device.
    """
    return all_devices() if machine_count() > 1 else contextlib.nullcontext()


def all_devices():
    """Returns the scope in which to build a model that trains on all GPUs, of all machines that
    train together.

    A scope that is open already is kept.
    """
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    if _with_others:
        return _with_others[0].scope()
    if tf.distribute.has_strategy() or len(tf.config.list_physical_devices("GPU")) < 2:
        return contextlib.nullcontext()
    return tf.distribute.MirroredStrategy().scope()


def gathered(rows):
    """Joins what all replicas have, such as embeddings.

    The gradient of every replica's loss flows back to where they came from.

    Args:
        rows: of this replica's images, [B / R, ...]; replicas may have different numbers of them.

    Returns:
        [B, ...] on every replica, the first replica's rows first.
    """
    replica = _this_replica()
    if replica is None:
        return rows
    dtype = keras.backend.standardize_dtype(rows.dtype)
    whole = replica.all_gather(ops.cast(rows, SENT_AS.get(dtype, dtype)), axis=0)
    whole.set_shape((None, *rows.shape[1:]))
    return ops.cast(whole, dtype)


def share_of_replica(loss):
    """Returns the part of a loss over the whole batch that this replica answers for, since
    gradients are summed over replicas.
    """
    replica = _this_replica()
    return loss if replica is None else loss / replica.num_replicas_in_sync


def rows_of_replica(share, even: bool = True):
    """Returns where this replica's images stand in the batch, and how many the batch has.

    Args:
        share: B / R, images that this replica sees.
        even: whether all replicas see as many; else they tell each other.

    Returns:
        Integers [B / R], and B.
    """
    replica = _this_replica()
    if replica is None:
        return ops.arange(share), share
    number = replica.replica_id_in_sync_group
    if even:
        return share * number + ops.arange(share), share * replica.num_replicas_in_sync
    shares = replica.all_gather(ops.reshape(share, (1,)), axis=0)  # [R]
    return ops.sum(shares[:number]) + ops.arange(share), ops.sum(shares)


def _this_replica():
    """Returns TensorFlow's context of the one of several replicas that is running this, or None."""
    if replica_count() == 1:
        return None
    import tensorflow as tf

    return tf.distribute.get_replica_context()
