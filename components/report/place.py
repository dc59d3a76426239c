"""Where the report is found, and where it finds ML Metadata; imports nothing."""

REPORT = "report"  # key of the component's output
FILE, TENSORBOARD = "report.html", "tensorboard"  # in its folder
# Environment variable with the place of ML Metadata. No parameter: where the store is changes no
# page, and its URL may hold a password.
METADATA = "SIMCLR_METADATA"
