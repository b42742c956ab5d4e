"""Scanners of files: clamd, or the class of the host that ``ATTACHMENTS["SCANNER"]`` names."""

from attachments.scanning.scanner import (
    Outcome,
    Scanner,
    Verdict,
    can_ping,
    get_scanner,
    ping_scanner,
)

__all__ = ["Outcome", "Scanner", "Verdict", "can_ping", "get_scanner", "ping_scanner"]
