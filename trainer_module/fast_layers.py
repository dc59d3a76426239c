"""Two layers that are faster on TensorFlow than Keras' own, and Keras' own everywhere else.

Weights, names and numbers are the same, so a model trained with one loads into the other.

`BatchNormalization`: one fused kernel in place of a chain of elementwise operations. `Conv2D`: on
CPUs that multiply bfloat16, oneDNN takes the gradient of a filter along the rows of the output,
which leaves its vectors half empty where rows are short: 72 to 330 GFLOP/s where the forward pass
reaches 500 (docs/training-speed.md). The patches of the input, gathered into one matrix, make it a
product that runs at nearly full speed. benchmarks/train_step.py measures the step with both. This
is the one place of the training core that calls TensorFlow.

B images, H x W positions in and h x w out, C channels in and D out, a kernel of k x k.
"""

import keras

from trainer_module.devices import gpu_capability

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
        # the kernel divides by count - 1, Keras by count
        biased_variance = variance * (1.0 - 1.0 / count)
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


LONGEST_ROW = 8  # positions of the output; with longer rows the kernel wins


@keras.saving.register_keras_serializable("simclr")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with PyTorch's padding, and with a faster filter gradient for short
    rows in bfloat16 on a CPU under TensorFlow.
    """

    def __init__(self, *args, symmetric: bool = False, **options):
        """Makes a convolution; all but `symmetric` as Keras has it.

        Args:
            *args: Keras' own.
            symmetric: pad alike before and after. With a stride of 2, 'same' leaves out the padding
                before even sides, so that PyTorch's weights would see other pixels. False for
                encoders that were saved before this was there.
            **options: Keras' own.
        """
        super().__init__(*args, **options)
        self.symmetric = symmetric

    def get_config(self):
        """Returns what a saved layer is made from again."""
        return super().get_config() | {"symmetric": self.symmetric}

    def call(self, inputs):
        """Convolves [B, H, W, C] to [B, h, w, D]."""
        if self._only_leaves_out(inputs):
            rows, columns = self.strides
            return keras.ops.conv(inputs[:, ::rows, ::columns], self.kernel, 1, "valid")
        padding = self.explicit_padding
        if self._gathers_patches(inputs):
            import tensorflow as tf

            return convolve(inputs, tf.cast(self.kernel, inputs.dtype), self.strides[0], padding)
        if padding is None:
            return super().call(inputs)
        # TensorFlow's own explicit padding takes three times as long on a CPU, 7x7 at 96 pixels.
        padded = keras.ops.pad(inputs, _explicit(padding))
        return keras.ops.conv(padded, self.kernel, self.strides, "valid")

    def _only_leaves_out(self, inputs) -> bool:
        """Tells whether a stride passes over positions of which nothing is read, as a shortcut's.

        oneDNN in TensorFlow 2.21 writes beyond its memory there, with fewer than 16 channels and an
        odd number of images: `free(): invalid next size`.
        """
        return (
            self.kernel_size == (1, 1)
            and self.strides != (1, 1)
            and not isinstance(inputs, keras.KerasTensor)
            and (self.data_format, self.use_bias, self.groups) == ("channels_last", False, 1)
        )

    @property
    def explicit_padding(self) -> tuple[int, int] | None:
        """How much to pad rows and columns, before and after; None for Keras' own way,
        which is the same at a stride of 1.
        """
        if not self.symmetric or self.strides == (1, 1):
            return None
        return tuple((taps - 1) // 2 for taps in self.kernel_size)

    def _gathers_patches(self, inputs) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and not isinstance(inputs, keras.KerasTensor)
            and self.compute_dtype == "bfloat16"
            and gpu_capability() is None
            and (self.padding, self.use_bias, self.groups, self.dilation_rate)
            == ("same", False, 1, (1, 1))
            and self.strides[0] == self.strides[1] <= min(self.kernel_size)
            and None not in inputs.shape[1:]
            and -(-inputs.shape[2] // self.strides[0]) <= LONGEST_ROW
        )


def _explicit(padding: tuple[int, int]) -> list[list[int]]:
    """Returns the padding of [B, H, W, C], axis by axis."""
    rows, columns = padding
    return [[0, 0], [rows, rows], [columns, columns], [0, 0]]


def convolve(images, kernel, stride: int, padding: tuple[int, int] | None = None):
    """Convolves to ceil(H / stride) rows and ceil(W / stride) columns; TensorFlow only.

    Args:
        images: [B, H, W, C].
        kernel: [k, k, C, D] of the same dtype.
        stride: in both directions.
        padding: rows and columns of zeros before and after; None for TensorFlow's 'SAME'.

    Returns:
        [B, h, w, D]; its gradient by `kernel` is a product of matrices.
    """
    import tensorflow as tf

    how, inside = ("SAME", None) if padding is None else ("VALID", (0, 0))
    if padding is not None:
        # Explicit padding would keep oneDNN from the gradient by the images: 47 ms in place of 3.
        images = tf.pad(images, _explicit(padding))

    @tf.custom_gradient
    def convolution(images, kernel):
        outputs = tf.nn.conv2d(images, kernel, stride, how)

        def gradient(upstream):
            to_images = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(images),
                filter=kernel,
                out_backprop=upstream,
                strides=[1, stride, stride, 1],
                padding=how,
            )
            return to_images, filter_gradient(images, upstream, kernel.shape[:2], stride, inside)

        return outputs, gradient

    return convolution(images, kernel)


def filter_gradient(images, upstream, kernel_size, stride: int, padding=None):
    """Returns the gradient of a convolution by its kernel, [k, k, C, D]; TensorFlow only.

    Args:
        images: [B, H, W, C], what was convolved.
        upstream: [B, h, w, D], gradient by the outputs.
        kernel_size: (k, k).
        stride: in both directions.
        padding: as `convolve` has it.
    """
    import tensorflow as tf

    channels, filters = images.shape[-1], upstream.shape[-1]
    rows, columns = kernel_size
    patches = tf.reshape(
        _patches(images, upstream.shape[1:3], kernel_size, stride, padding),
        [-1, rows * columns * channels],
    )  # [B*h*w, k*k*C]
    # The small matrix is the one to transpose: the product is twice as fast as with the patches
    # transposed.
    transposed = tf.matmul(tf.transpose(tf.reshape(upstream, [-1, filters])), patches)  # [D, k*k*C]
    return tf.reshape(tf.transpose(transposed), [rows, columns, channels, filters])


def _patches(images, size, kernel_size, stride: int, padding):
    """Returns [B, h, w, k*k*C]: below every output position the inputs that it saw, tap by tap."""
    import tensorflow as tf

    before = padding or map(_same, images.shape[1:3], size, kernel_size, (stride, stride))
    around = [
        _around(start, side, out, taps, stride)
        for start, side, out, taps in zip(before, images.shape[1:3], size, kernel_size, strict=True)
    ]
    padded = tf.pad(images, [[0, 0], *around, [0, 0]])
    # Every stride-th row and column, for each start: TensorFlow copies whole blocks fast and
    # strided slices slowly.
    phases = [_phases(rows, 2, stride) for rows in _phases(padded, 1, stride)]
    taps = []
    for row in range(kernel_size[0]):
        for column in range(kernel_size[1]):
            phase, top, left = (
                phases[row % stride][column % stride],
                row // stride,
                column // stride,
            )
            taps.append(phase[:, top : top + size[0], left : left + size[1]])
    return tf.concat(taps, axis=-1)


def _same(side: int, out: int, taps: int, stride: int) -> int:
    """Returns how much 'same' pads before."""
    return max((out - 1) * stride + taps - side, 0) // 2


def _around(before: int, side: int, out: int, taps: int, stride: int) -> tuple[int, int]:
    """Returns how much to pad before, and after so that the phases have equal and sufficient
    lengths.
    """
    length = stride * (out + (taps - 1) // stride)
    return before, length - before - side


def _phases(tensor, axis: int, stride: int) -> list:
    """Returns the `stride` interleaved parts of an axis."""
    import tensorflow as tf

    shape = list(tensor.shape)
    split = [-1, *shape[1:axis], shape[axis] // stride, stride, *shape[axis + 1 :]]
    return tf.unstack(tf.reshape(tensor, split), axis=axis + 1)
