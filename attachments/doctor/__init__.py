"""The doctor of the store: does what clients do, and what they must not, and says what it saw."""

from attachments.doctor.checkup import check_storage, list_probes
from attachments.doctor.findings import Finding

__all__ = ["Finding", "check_storage", "list_probes"]
