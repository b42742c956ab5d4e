"""The REST API: HTTP in, one service call, HTTP out."""
