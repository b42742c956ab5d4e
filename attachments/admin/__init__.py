"""For staff: see what is stored, delete it, and purge what nothing needs.

A host shows attachments on its own pages with ``attachments.admin.AttachmentInline``.
"""

from attachments.admin.inlines import AttachmentInline
from attachments.admin.pages import AttachmentAdmin, ObjectDeletionAdmin

__all__ = ["AttachmentAdmin", "AttachmentInline", "ObjectDeletionAdmin"]
