"""The logs of `fit` as a TensorBoard event file, without needing TensorBoard (TensorFlow 2.21 no
longer installs it).

Look at them anywhere with `tensorboard --logdir`.
"""

import keras


class EventLog(keras.callbacks.Callback):
    """Writes every quantity of an epoch's logs as a scalar over epochs.

    On the TensorFlow backend only.
    """

    def __init__(self, folder: str):
        """Takes the folder, made where it is missing."""
        super().__init__()
        self.folder = folder
        self._writer = None

    def on_train_begin(self, logs=None):
        """Opens the event file."""
        import tensorflow as tf

        self._writer = tf.summary.create_file_writer(self.folder)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the epoch's logs."""
        import tensorflow as tf

        metadata = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})
        with self._writer.as_default():
            for name, value in {
                "learning_rate": self.model.optimizer.learning_rate,
                **(logs or {}),
            }.items():
                tf.summary.write(
                    name, tf.cast(value, tf.float32), step=epoch + 1, metadata=metadata
                )
        self._writer.flush()

    def on_train_end(self, logs=None):
        """Closes the event file."""
        self._writer.close()
