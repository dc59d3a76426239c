"""`--recheck`: looks at the content of every image and label map, where a run trusts size and time
of change.

Examples that hold other contents than the files do now are marked as deleted in ML Metadata, so
that no run takes them from the cache; they stay where they are, and lineage still names them.
"""

import os
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.file_list_example_gen import image_index
from components.file_list_example_gen.list_fingerprint import of_lists
from components.metadata.names import EXAMPLE_GEN, EXAMPLES, INPUT_FINGERPRINT
from components.metadata.snapshot import read
from components.metadata.store import artifacts_that_count, mark
from pipeline.compiled import set_environment
from pipeline.data_check import checked_rows
from pipeline.plan import Plan
from pipeline.read_images import read_images
from pipeline.root import Root
from pipeline.terminal import libraries_to_log, line_on_terminal
from trainer_module.findings import counted


def forget_changed(plan: Plan, root: Root) -> int:
    """Marks the examples of a root that are no longer what the lists name.

    Args:
      plan: of the run to come.
      root: the pipeline root.

    Returns:
      How many sets of examples were marked.
    """
    sets = _examples(root) if root.has_metadata else []
    if not sets:
        return 0
    set_environment()  # before TensorFlow is imported, as for a run
    with line_on_terminal() as show, libraries_to_log(os.devnull):
        _, _, records = read_images(checked_rows(plan.choices, plan.lists), show)
    now = {split: b"".join(sorted(found)) for split, found in records.items()}
    seen = _fingerprints(plan)
    store, stale = root.open_store(), []
    for artifact in artifacts_that_count(store, EXAMPLES):
        if artifact.id not in sets:
            continue
        held = {split: index.records for split, index in image_index.read(artifact.uri).items()}
        taken = {*artifact.custom_properties[INPUT_FINGERPRINT].string_value.split(";")} == seen
        if taken and held and held != now:
            stale.append(artifact.id)
    mark(store, stale, mlmd.Artifact.DELETED)
    kept = "the examples of earlier runs still hold them" if not stale else "read again"
    images = counted(sum(map(len, records.values())), "image")
    print(f"Looked at the content of {images}: {kept}")
    return len(stale)


def _fingerprints(plan: Plan) -> set[str]:
    """Returns what the driver of ingest will say of each list."""
    files, skip = plan.task.target_is_file, plan.choices.on_bad_row == "skip"
    said = of_lists(plan.lists.given(), files, skip)
    return {f"{split}:{fingerprint}" for split, fingerprint in said.items()}


def _examples(root: Root) -> list[int]:
    """Returns the ids of all sets of examples that were read from lists and are on disk."""
    snapshot = read(root.open_store())
    return [
        artifact.id
        for execution in snapshot.executions.values()
        if execution.node == EXAMPLE_GEN
        for artifact in snapshot.made_by(execution)
        if Path(artifact.uri).is_dir()
    ]
