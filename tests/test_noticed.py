"""What is added up while images are read, and what is told of it."""

import json
from collections import Counter

from components.file_list_example_gen.noticed import noticed
from components.file_list_example_gen.rows import Row
from components.file_list_example_gen.tally import Tally
from trainer_module.findings import MOST_EXAMPLES, NOTE, REFUSED, WARNING, Finding, table
from trainer_module.tasks.classification import Classification

LISTS = {"train": "/x/train.csv"}


def tally_of(lines, remarks=()):
    tally = Tally()
    for line in lines:
        tally.add(Row("/x/train.csv", line, f"{line}.png", "cat"), remarks, {"1": 2})
    return tally


def test_sums_do_not_depend_on_which_worker_read_what():
    parts = [tally_of(range(start, 100, 3), ["turned"]) for start in (2, 0, 1)]
    whole = Tally()
    for part in parts:
        whole.merge(part)
    assert whole == tally_of(range(100), ["turned"])
    assert [line for line, _ in whole.examples["turned"]] == [*range(MOST_EXAMPLES)]


def test_sums_come_back_from_json_as_they_were():
    tally = tally_of(range(3), ["turned"])
    tally.lost["dog"] += 1
    assert Tally.from_dict(json.loads(json.dumps(tally.to_dict()))) == tally


def test_remarks_of_the_decoder_are_told_with_their_sentence_count_and_first_images():
    tallies = {"train": tally_of(range(5), ["turned"])}
    task, meanings = Classification(2, ("cat", "dog")), {"turned": "turned upright by their EXIF"}
    (found,) = noticed(tallies, [], {}, LISTS, task, meanings)
    assert (found.severity, found.kind, found.count) == (NOTE, "turned", 5)
    assert found.told == "/x/train.csv: 5 images: turned upright by their EXIF"
    assert found.examples[0] == "/x/train.csv:0: /x/0.png"


def test_images_that_do_not_agree_how_many_of_16_bits_they_fill_are_a_warning():
    tallies = {"train": tally_of(range(7), ["bits_12"])}
    tallies["train"].merge(tally_of([8], ["bits_8"]))
    task = Classification(2, ("cat", "dog"))
    (told,) = (
        found.told
        for found in noticed(tallies, [], {}, LISTS, task, {})
        if found.severity == WARNING
    )
    assert told == (
        "Of 16 bits a value 8 are filled in 1 image, 12 in 7 images: if the few are dark "
        "pictures of the same camera, they were made too bright"
    )


def test_a_class_is_lost_only_where_no_spelling_of_its_id_could_be_read():
    tallies = {"train": Tally(images=4, kept=Counter({"0": 2, "1": 2}), lost=Counter({"00": 1}))}
    assert noticed(tallies, [], {}, LISTS, Classification(3), {}) == []
    tallies["train"].lost.update({"2": 1, "02": 2})
    (found,) = noticed(tallies, [], {}, LISTS, Classification(3), {})
    assert (found.severity, found.examples) == (REFUSED, ("'2': 3 rows",))


def test_the_table_has_the_worst_first_with_some_examples_and_the_fix():
    examples = tuple(f"row {n}" for n in range(9))
    told = table([Finding(NOTE, "a", "A."), Finding(WARNING, "b", "B.", 9, examples, "mend it")])
    assert told.splitlines() == [
        "What we noticed about your data:",
        "  warning  B.",
        "             row 0",
        "             row 1",
        "             row 2",
        "             ... and 6 more",
        "             Fix: mend it",
        "  note     A.",
    ]
    assert table([]) == ""
    assert table([Finding(NOTE, "a", "A."), Finding(REFUSED, "b", "B.")]).splitlines()[
        1
    ].split() == [
        "refused",
        "B.",
    ]
