"""Writes the report of the run that it is part of.

Imports nothing heavy until there is something to do.
"""

import os
from pathlib import Path

from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types.artifact_utils import get_single_uri

from components.metadata.names import METADATA_VARIABLE, REPORT, REPORT_FILE, TENSORBOARD


class Executor(BaseExecutor):
    """Makes one HTML file, and an event folder for TensorBoard."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:  # noqa: N802 (TFX's name)
        """Writes both into the output artifact.

        The inputs say what must be done before; their places are read from ML Metadata, as `python
        -m pipeline.report` does for any run. Where an orchestrator keeps that to itself, the inputs
        are all there is.
        """
        from components.metadata.snapshot import read
        from components.metadata.store import open_store
        from components.metadata.stored_run import StoredRun
        from components.report.inputs import run_of
        from components.report.page import write_report
        from components.report.tensorboard import write_tensorboard

        folder = Path(get_single_uri(output_dict[REPORT]))
        if metadata := os.environ.get(METADATA_VARIABLE):
            run = StoredRun(read(open_store(metadata)), self._context.pipeline_run_id)
        else:
            run = run_of(input_dict, exec_properties)
        contents = write_report(run, folder / REPORT_FILE)
        write_tensorboard(contents, folder / TENSORBOARD)
