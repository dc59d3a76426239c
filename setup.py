"""Package description of simclr-tfx.

The exact versions that work together are in requirements/*.lock.

What stands here is what the code imports. It resolves from Python 3.11 with glibc 2.39 on, but
brings a package without wheels (pyfarmhash 0.3.2), so a compiler is needed; with a lock installed
first, `pip install --no-deps .` needs neither.
"""

from setuptools import find_packages, setup

setup(
    name="simclr-tfx",
    version="0.1.0",
    description="SimCLR as a TFX pipeline: two list files in; a gated, served, traceable model out",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["pipeline*", "components*", "trainer_module*"]),
    package_data={
        "components.report": ["page.html", "page.css", "page.js"],
        "pipeline.engines": ["worker_start/sitecustomize.py"],
    },
    py_modules=["local_runner"],
    entry_points={"console_scripts": ["simclr = pipeline.command:main"]},
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<4",
        "tfx>=1.21,<1.22",
        "apache-beam>=2.77,<3",
        "google-cloud-storage",
        "tensorflow-transform>=1.21,<1.22",
        "tensorflow-model-analysis>=0.52,<0.53",
        "tensorflow-data-validation>=1.16,<1.22",
        "ml-metadata>=1.17,<1.22",
        "tensorflow-metadata",
        "protobuf",
        "absl-py",
        "numpy>=2",
        "scipy",
        "scikit-learn>=1.5",
        "pyarrow",
        "threadpoolctl",
        "pillow>=11.3",
        "jinja2>=3.1",
        "msgspec",
        "pyyaml",
        "markupsafe",
        "plotly>=6",
        "safetensors",
        "ml-dtypes",
        "setuptools<81",
        "dill",
    ],
    extras_require={
        "aws": ["apache-beam[aws]"],
        "elpv": ["elpv-dataset"],
        "heic": ["pillow-heif"],
        "kubeflow": ["kfp>=2.6,<2.17", "kfp-pipeline-spec<2.17", "kfp-server-api<2.17"],
        "onnx": ["onnx", "onnxruntime"],
        "tensorboard": ["tensorboard"],
        "torch": ["torch"],
        "dev": ["pytest", "pytest-xdist", "ruff", "selenium"],
    },
)
