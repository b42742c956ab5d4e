from nodus.formats import *  # noqa: F403
