"""Names of the numbers that the Trainers and EpochEvaluation measure, by which the summary, the
model card and the report know them, and the counts that these names and their texts tell.
"""

# Before a task's metric, of what the Finetuner measures.
UNTRAINED = "untrained_"  # of the same head and training on the network with random weights
FROM_SCRATCH = "from_scratch_"  # of the whole network, trained from the labels alone
LINEAR = "linear_"  # of a linear head on frozen, pretrained features
UNTRAINED_LINEAR = UNTRAINED + LINEAR
PIXELS_LINEAR = "pixels_linear_"  # of a linear head on thumbnails

NEIGHBOURS = 10  # that vote on a class
KNN, UNTRAINED_KNN = "knn_accuracy", UNTRAINED + "knn_accuracy"  # of the majority among them
PROBE = "probe_accuracy"  # of a quick linear probe, while pretraining goes on
EPOCHS = "pretraining_epochs"  # as many as fitted into the minutes

# Of linear heads on the encoder of an epoch: as the original program trains it, and converged.
HEAD_EPOCHS = 10
LINEAR_OF_FEW_EPOCHS, LINEAR_CONVERGED = f"linear_accuracy_{HEAD_EPOCHS}_epochs", "linear_accuracy"
