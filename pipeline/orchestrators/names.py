"""Names of the tasks that an orchestrator runs beside the nodes, and of the file between them."""

BEGIN, END = "begin", "end"
GRAPH = "graph.pb"  # in the pipeline root: the compiled pipeline of the run that goes on
