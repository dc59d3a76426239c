"""Batch normalization with TensorFlow's fused kernel where it applies, and Keras' own everywhere
else.

One fused kernel takes the place of Keras' chain of elementwise operations (benchmarks/train_step.py
measures the step with both). This is the one place of the training core that calls TensorFlow; the
weights, their names and the numbers are those of `keras.layers.BatchNormalization`, so a model
trained with one loads into the other.

B images, H x W positions, C channels.
"""

import keras

FUSED_EPSILON = 1.001e-5  # the GPU kernel accepts no smaller one


@keras.saving.register_keras_serializable("simclr")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that normalizes [B, H, W, C] in one kernel on TensorFlow.

    Statistics synchronised over replicas, masks, renormalisation and other backends take Keras' own
    path.
    """

    def call(self, inputs, training=None, mask=None):
        """Normalizes by the batch's statistics in training, by the moving ones otherwise.

        Args:
            inputs: [B, H, W, C] for the fused kernel; any shape for Keras' own.
            training: whether to use and to track the statistics of this batch.
            mask: positions to leave out, or None.

        Returns:
            The shape and dtype of `inputs`.
        """
        if mask is not None or not self._fits_the_kernel(inputs):
            return super().call(inputs, training=training, mask=mask)
        if training and self.trainable:
            return self._normalize_by_batch(inputs)
        return self._normalize_by_moving_statistics(inputs)

    def _fits_the_kernel(self, inputs):
        return (
            keras.backend.backend() == "tensorflow"
            and not isinstance(inputs, keras.KerasTensor)
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and not (self.synchronized or self.renorm)
            and self.scale
            and self.center
            and self.epsilon >= FUSED_EPSILON
        )

    def _normalize_by_batch(self, inputs):
        import tensorflow as tf

        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.size(inputs) / inputs.shape[-1], variance.dtype)
        biased_variance = variance * (
            1.0 - 1.0 / count
        )  # the kernel divides by count - 1, Keras by count
        self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1.0 - self.momentum))
        self.moving_variance.assign(
            self.moving_variance * self.momentum + biased_variance * (1.0 - self.momentum)
        )
        return outputs

    def _normalize_by_moving_statistics(self, inputs):
        import tensorflow as tf

        outputs, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=self.moving_mean,
            variance=self.moving_variance,
            epsilon=self.epsilon,
            is_training=False,
        )
        return outputs
