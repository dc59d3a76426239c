"""Names of the tasks that an orchestrator runs beside the nodes, and of what lies between them."""

BEGIN, END = "begin", "end"
# Environment variable of containers: the folder where checkpoints outlive them.
CHECKPOINTS_VARIABLE = "SIMCLR_CHECKPOINTS"
GRAPH = "graph.pb"  # in the pipeline root: the compiled pipeline of the run that goes on
