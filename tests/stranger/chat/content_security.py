from attachments.services import get_file_origins


def forbid_everything_else(get_response):
    """What a page with an AttachmentInput needs, and nothing more."""
    policy = f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {' '.join(get_file_origins())}"

    def middleware(request):
        response = get_response(request)
        response["Content-Security-Policy"] = policy
        return response

    return middleware
