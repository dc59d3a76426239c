"""The step of a large batch in the memory of a small one: the embeddings, then the loss of all of
them, then the gradients, micro-batch after micro-batch (Gao et al. 2021, arXiv:2101.06983).

A contrastive loss needs the embeddings of the whole batch at once, but of its images only so many
as fit. So every micro-batch is embedded twice: first without keeping anything else, and, once the
loss has said how each embedding should move, again, to learn from that. The loss and its gradient
are those of the whole batch.

Both times a micro-batch has the same views, those of the whole batch, because a row of a batch has
random numbers of its own (trainer_module/chance.py), and the same statistics of batch
normalization, its own. Moving statistics follow it once, the second time.

B images, M micro-batches of m = B / M, two views of each, P dimensions of the embedding.
Micro-batch k is of every M-th image, beginning with the k-th: so it is made of the same images
however many replicas share a batch. On one of R replicas, B and m are its share.
"""

from functools import partial

import keras
from keras import ops

from trainer_module.chance import PartOfBatch, both_views
from trainer_module.replicas import replica_count, rows_of_replica


def train_step(learner, *arguments):
    """Takes the step of a SimCLR whose `micro_batches` are more than one.

    Args:
        learner: the model.
        *arguments: of Keras' own `train_step`: the batch, and on JAX the model's state before it.

    Returns:
        What Keras' own returns: the logs, and on JAX the model's state behind it.
    """
    steps = {"tensorflow": _tensorflow_step, "jax": _jax_step}
    return steps[keras.backend.backend()](learner, *arguments)


class _Cut:
    """A batch in micro-batches, and how one of them is embedded."""

    def __init__(self, learner, images, moving):
        """Cuts images, [B, H, W, 3], for a learner that has these values of what is not trained."""
        self.learner, self.count = learner, learner.micro_batches
        self.images = ops.shape(images)[0]  # B
        cut = ops.reshape(images, (-1, self.count, *images.shape[1:]))  # [m, M, H, W, 3]
        self.parts = ops.transpose(cut, (1, 0, 2, 3, 4))  # [M, m, H, W, 3]
        with keras.StatelessScope(self._with_values(moving)):
            self.start = learner.chance.state.value * 1

    def embed(self, number, moving, trainable=()):
        """Returns the embedding of micro-batch `number`, [2m, P], and what of `moving` it leaves.

        Args:
            number: k, integer.
            moving: values of the variables that are not trained; the variables stay as they are.
            trainable: values of those that are, or none for the variables' own.
        """
        learner = self.learner
        rows, count = rows_of_replica(self.images)
        rows = ops.take(ops.reshape(rows, (-1, self.count)), number, axis=1)  # [m]
        part = PartOfBatch(self.start, *both_views(rows, count))
        with keras.StatelessScope(self._with_values(moving, trainable)) as scope:
            embedding = learner.embed(self.parts[number], part, training=True)
            learner.chance.move_behind(part)
        left = [scope.get_current_value(one) for one in learner.non_trainable_variables]
        return embedding, left

    def whole(self, embeddings):
        """Returns [2B, P] in the order of the images, as the loss takes it, of all micro-batches'
        [M, 2m, P].
        """
        size = embeddings.shape[-1]
        views = ops.reshape(embeddings, (self.count, 2, -1, size))
        return ops.reshape(ops.transpose(views, (1, 2, 0, 3)), (-1, size))

    def _with_values(self, moving, trainable=()):
        return [
            *zip(self.learner.non_trainable_variables, moving, strict=True),
            *zip(self.learner.trainable_variables if trainable else (), trainable, strict=True),
        ]


def _tensorflow_step(learner, data):
    import tensorflow as tf

    moving = [tf.identity(variable.value) for variable in learner.non_trainable_variables]
    weights = [variable.value for variable in learner.trainable_variables]
    cut = _Cut(learner, keras.utils.unpack_x_y_sample_weight(data)[0], moving)
    embed = lambda number: cut.embed(number, moving)[0]  # noqa: E731
    embeddings = _stacked(embed, cut.count, learner.head.outputs[0].dtype)  # [M, 2m, P]
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = learner.compute_loss(y_pred=cut.whole(embeddings))
        scaled = learner.optimizer.scale_loss(loss)
    wanted = tape.gradient(scaled, embeddings)  # [M, 2m, P]

    def learn(number, sums, moving):
        with tf.GradientTape() as tape:
            embedding, moving = cut.embed(number, moving)
        gradients = tape.gradient(embedding, weights, wanted[number], "zero")
        return [one + more for one, more in zip(sums, gradients, strict=True)], moving

    nothing = [tf.zeros_like(weight) for weight in weights]
    gradients, moving = _repeated(learn, (nothing, moving), cut.count)
    learner.optimizer.apply_gradients(zip(gradients, learner.trainable_variables, strict=True))
    for variable, value in zip(learner.non_trainable_variables, moving, strict=True):
        variable.assign(value)
    _note_loss(learner, loss * replica_count(), cut.images)
    return learner.get_metrics_result()


def _stacked(function, count: int, dtype: str):
    """Returns [count, ...], what a function returns for 0 to `count` - 1, one after another."""
    import tensorflow as tf

    if replica_count() > 1:
        results = []
        for number in range(count):
            with tf.control_dependencies(results[-1:]):
                results.append(function(number))
        return tf.stack(results)
    results = tf.TensorArray(dtype, count)

    def write(number, results):
        return number + 1, results.write(number, function(number))

    loop = partial(tf.while_loop, lambda number, _: number < count, write, parallel_iterations=1)
    return loop((0, results), maximum_iterations=count)[1].stack()


def _repeated(function, values, count: int):
    """Returns what is left of values after a function of number and values, for 0 to `count` - 1.

    Replicas cannot meet within TensorFlow's loop; there the graph has each round.
    """
    import tensorflow as tf

    if replica_count() > 1:
        for number in range(count):
            with tf.control_dependencies(tf.nest.flatten(values)):
                values = function(number, *values)
        return values
    return tf.while_loop(
        lambda number, *_: number < count,
        lambda number, *values: (number + 1, *function(number, *values)),
        (0, *values),
        parallel_iterations=1,
        maximum_iterations=count,
    )[1:]


def _jax_step(learner, state, data):
    import jax

    trainable, moving, optimizer, metrics = state
    cut = _Cut(learner, keras.utils.unpack_x_y_sample_weight(data)[0], moving)
    numbers = jax.numpy.arange(cut.count)
    forget = lambda _, number: (None, cut.embed(number, moving, trainable)[0])  # noqa: E731
    _, embeddings = jax.lax.scan(forget, None, numbers)  # [M, 2m, P]

    def loss_of(embeddings):
        loss = learner.compute_loss(y_pred=cut.whole(embeddings))
        with keras.StatelessScope(zip(learner.optimizer.variables, optimizer, strict=True)):
            return learner.optimizer.scale_loss(loss), loss

    wanted, loss = jax.grad(loss_of, has_aux=True)(embeddings)

    def learn(sums_and_moving, number):
        sums, moving = sums_and_moving
        embed = lambda trainable: cut.embed(number, moving, trainable)  # noqa: E731
        _, gradients_of, moving = jax.vjp(embed, trainable, has_aux=True)
        (gradients,) = gradients_of(wanted[number])
        return (jax.tree.map(jax.numpy.add, sums, gradients), moving), None

    nothing = jax.tree.map(jax.numpy.zeros_like, trainable)
    (gradients, moving), _ = jax.lax.scan(learn, (nothing, moving), numbers)
    trainable, optimizer = learner.optimizer.stateless_apply(optimizer, gradients, trainable)
    with keras.StatelessScope(zip(learner.metrics_variables, metrics, strict=True)) as scope:
        _note_loss(learner, loss, cut.images)
        logs = learner.get_metrics_result()
    metrics = [scope.get_current_value(variable) for variable in learner.metrics_variables]
    return logs, (trainable, moving, optimizer, metrics)


def _note_loss(learner, loss, images):
    """Takes the loss of a batch into the mean over the epoch, as Keras' own step does."""
    next(one for one in learner.metrics if one.name == "loss").update_state(loss, images)
