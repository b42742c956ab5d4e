"""What decodes files: only the process that ``media.sandbox`` starts runs it, and nothing else.

It imports neither Django nor the rest of the app, so that it starts quickly and knows no secret.
"""
