"""The same images for TensorBoard: views in its image tab, features and embeddings in its
projector.

Files alone; TensorBoard itself is needed only to look at them. N images, D dims.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from components.report.contents import Contents
from components.report.pictures import Sheet
from trainer_module.errors import visible

SHEET_FILE, METADATA_FILE, CONFIG_FILE = "images.jpg", "metadata.tsv", "projector_config.pbtxt"


def write_tensorboard(contents: Contents, folder: Path) -> None:
    """Writes an event file and the projector's files, as far as the run has the images for them."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for name, images in (contents.views or {}).get("pixels", {}).items():
            write_images(f"views/{name}", images)
    writer.close()
    if contents.maps:
        vectors = {"features": contents.sample.features, "embeddings": contents.sample.embeddings}
        vectors = {name: values for name, values in vectors.items() if values is not None}
        columns = {
            "image": contents.sample.names,
            contents.maps["coloured_by"]: contents.maps["labels"],
        }
        write_projector(
            folder,
            vectors,
            {name: values for name, values in columns.items() if values},
            contents.maps["sheet"],
        )


def write_images(name: str, images: np.ndarray) -> None:
    """Writes uint8 [N, H, W, 3] to the current event file for the image tab.

    `tf.summary.image` would need TensorBoard installed.
    """
    height, width = images.shape[1:3]
    encoded = [tf.io.encode_png(image).numpy() for image in images]
    metadata = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "images"})
    tf.summary.write(
        name,
        tf.constant([str(width).encode(), str(height).encode(), *encoded]),
        step=0,
        metadata=metadata,
    )


def write_projector(
    folder: Path, vectors: dict[str, np.ndarray], columns: dict[str, list[str]], sheet: Sheet
) -> None:
    """Writes what the projector reads.

    Args:
      folder: a log folder.
      vectors: name -> float [N, D].
      columns: name -> N texts, to search and to colour by.
      sheet: N images in the same order.
    """
    (folder / SHEET_FILE).write_bytes(sheet.jpeg)
    # the projector takes the first row for one only then
    header = [list(columns)] if len(columns) > 1 else []
    table = (*header, *zip(*columns.values(), strict=True))
    rows = ["\t".join(visible(cell, kept="") for cell in row) for row in table]
    (folder / METADATA_FILE).write_text("\n".join(rows) + "\n", encoding="utf-8")
    blocks = []
    for name, values in vectors.items():
        np.savetxt(folder / f"{name}.tsv", values, fmt="%.5g", delimiter="\t")
        side = f"single_image_dim: {sheet.side}"  # once for the width, once for the height
        sprite = f'sprite {{ image_path: "{SHEET_FILE}" {side} {side} }}'
        paths = f'tensor_path: "{name}.tsv" metadata_path: "{METADATA_FILE}"'
        blocks.append(f'embeddings {{ tensor_name: "{name}" {paths} {sprite} }}\n')
    (folder / CONFIG_FILE).write_text("".join(blocks), encoding="utf-8")
