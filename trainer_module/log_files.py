"""What the Trainers leave in their log folder (TFX's `model_run`); the report and the summary read
it.

Imports nothing, so that a reader need not import what trains.
"""

HISTORY_FILE = "history.json"  # of the Pretrainer: its curves
# Of the Finetuner: what linear heads, or the same training, score with and without pretraining.
EVALUATION_FILE = "linear_evaluation.json"
# Of the Finetuner: folders of event files, one a training.
LOGS, UNTRAINED_LOGS = "finetuning", "finetuning_untrained"
SCRATCH_LOGS = "finetuning_from_scratch"
