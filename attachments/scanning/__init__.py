"""Scanners of files: clamd, or the class of the host that ``ATTACHMENTS["SCANNER"]`` names."""

from attachments.scanning.scanner import Outcome, Scanner, Verdict, get_scanner

__all__ = ["Outcome", "Scanner", "Verdict", "get_scanner"]
