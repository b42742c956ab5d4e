"""Direct-to-S3 attachments for Django: presign, confirm, serve, clean up."""
