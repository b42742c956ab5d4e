"""Taking over the rows and objects of the guide's FastAPI back end."""

from attachments.adoption.adopt import BATCH_SIZE, JOBS, adopt_attachments
from attachments.adoption.ids import Targets, read_mapping
from attachments.adoption.report import AdoptionReport, Reason
from attachments.adoption.source import Source

__all__ = [
    "BATCH_SIZE",
    "JOBS",
    "AdoptionReport",
    "Reason",
    "Source",
    "Targets",
    "adopt_attachments",
    "read_mapping",
]
