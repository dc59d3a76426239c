"""What things are called in ML Metadata, in a pipeline root and inside artifacts: each name stands
here alone.

Names that a Trainer gives stand in trainer_module/log_files.py. Imports nothing.
"""

# Ids of nodes. They are part of what is cached and of every store there is: to rename one is to
# make everything anew. TFX takes most of them from the class of the component.
EXAMPLE_GEN = "FileListExampleGen"
STATISTICS_GEN = "StatisticsGen"
SCHEMA_GEN = "SchemaGen"
EXAMPLE_VALIDATOR = "ExampleValidator"
ANOMALY_GATE = "AnomalyGate"
TRANSFORM = "Transform"
PRETRAINER = "Pretrainer"
ENCODER = "Encoder"  # imported, where an earlier run pretrained it
EPOCH_EVALUATION = "EpochEvaluation"
FINETUNER = "Finetuner"
BASELINE = "Baseline"
EVALUATOR = "Evaluator"
MODEL_CHECK = "ModelCheck"
PUSHER = "Pusher"
RUN_REPORT = "RunReport"

TRAINERS = (PRETRAINER, FINETUNER)
GATES = (EVALUATOR, MODEL_CHECK)  # each puts out a `blessing`

# The input of an older model that a new one is held against: no part of the new one.
BASELINE_INPUT = "baseline_model"

# In a pipeline root: the folder of artifacts, and the record of the latest run.
ARTIFACTS, RUN_FILE = "artifacts", "run.json"
# Folders of pushed models in a pipeline root, and of the SavedModel in a Model artifact (TFX's).
SERVING, SAVED_MODEL = "serving", "Format-Serving"
# TFX's names of what holds images, and of the property that tells what was read into it.
EXAMPLES, INPUT_FINGERPRINT = "Examples", "input_fingerprint"
# TFX's name of what Pusher makes, and of the property with the folder it was pushed to.
PUSHED_MODEL, PUSHED_DESTINATION = "PushedModel", "pushed_destination"

# Files and folders inside artifacts.
EPOCHS_FILE, EPOCHS_TABLE = "accuracy_by_epoch.json", "accuracy_by_epoch.md"
PROBE_FILE = "report.json"  # of ModelCheck
PARAMETERS_FILE = "parameters.json"  # of the node that made an artifact, where no store tells them
REPORT = "report"  # key of the output of RunReport
REPORT_FILE, TENSORBOARD = "report.html", "tensorboard"  # in its folder

# Environment variable with the place of ML Metadata. No parameter: where the store is changes no
# page, and its URL may hold a password.
METADATA_VARIABLE = "SIMCLR_METADATA"
