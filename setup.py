"""Package description of simclr-tfx. The exact versions that work together are in requirements/*.lock."""

from setuptools import find_packages, setup

setup(
    name="simclr-tfx",
    version="0.1.0",
    description="SimCLR as a TFX pipeline: two list files in; a gated, served, traceable model out",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["pipeline*", "components*", "trainer_module*"]),
    package_data={"components.report": ["page.html", "page.css", "page.js"]},
    py_modules=["local_runner"],
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<4",
        "tfx>=1.21,<1.22",
        "apache-beam>=2.77,<3",
        "tensorflow-transform>=1.21,<1.22",
        "tensorflow-model-analysis>=0.52,<0.53",
        "ml-metadata>=1.17",
        "scikit-learn>=1.5",
        "pillow>=10",
        "jinja2>=3.1",
        "plotly>=6",
        "setuptools<81",
        "dill",
    ],
    extras_require={"elpv": ["elpv-dataset"], "dev": ["pytest", "ruff", "selenium"]},
)
