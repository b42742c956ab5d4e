"""PDF, by pypdf: how many pages there are."""

from typing import IO

from pypdf import PdfReader


def count_pages(file: IO[bytes]) -> int:
    """The pages that are there. Raises ``ValueError`` if the file says another number."""
    reader = PdfReader(file, strict=False)
    if reader.is_encrypted:
        reader.decrypt("")  # such as opens without a password
    found = len(reader.pages)
    said = reader.root_object["/Pages"]["/Count"]  # type: ignore[index]
    if found != said:
        raise ValueError(f"{found} pages, but {said} by its own count")
    return found
