"""What stands before a task's metric in the names of the numbers that the Finetuner measures: the
summary, the model card and the report know them by these.
"""

UNTRAINED = "untrained_"  # of the same head and training on the encoder before pretraining
PRETRAINED = "pretrained_"  # of the pretrained one, beside it
FROM_SCRATCH = "from_scratch_"  # of the whole network, trained from the labels alone
LINEAR = "linear_"  # of a linear head on frozen, pretrained features
UNTRAINED_LINEAR = UNTRAINED + LINEAR
PIXELS_LINEAR = "pixels_linear_"  # of a linear head on thumbnails
