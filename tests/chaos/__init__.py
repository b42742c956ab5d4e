"""Everything that nodus stands on fails, while many clients use it."""
