"""Reads every image and label map of checked lists as ingest does, by the same code, where no run
does: `pipeline.check` and `--recheck`.
"""

import time
from collections.abc import Callable, Mapping

from pipeline.data_check import Checked
from trainer_module.findings import counted

SHOWN_EVERY = 0.5  # seconds
Show = Callable[[str], None]


def read_images(checked: Checked, show: Show = lambda text: None):
    """Reads all images; returns tallies by split of the lists, the bad rows, and records of the
    index by split of the examples. `show` is told how far it is.
    """
    total, told = sum(map(len, checked.rows.values())), time.monotonic()
    show(f"Reading {counted(total, 'image')} ...")
    from components.file_list_example_gen.held_out import is_held_out, is_split
    from components.file_list_example_gen.reading import example_of, index_record, read_counted
    from components.file_list_example_gen.tally import Tally

    task, problems = checked.task, []
    tallies = {split: Tally() for split in checked.rows}
    records: Mapping[str, list[bytes]] = {split: [] for split in checked.parts}
    parted = is_split(checked.rows, task.has_target)
    for split, rows in checked.rows.items():
        for made in read_counted(rows, task, split != "pretrain", tallies[split], problems):
            part = "eval" if parted and is_held_out(made.fields["image_id"]) else split
            records[part].append(index_record(example_of(made.fields)))
            if time.monotonic() - told > SHOWN_EVERY:
                told, done = time.monotonic(), sum(tally.images for tally in tallies.values())
                show(f"Reading {counted(total, 'image')}, {done:,} done")
    return tallies, problems, records
