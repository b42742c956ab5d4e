import os

from django.core.wsgi import get_wsgi_application

from nodus.databases import PatientConnection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nodus.settings")

application = get_wsgi_application()

# Longer than any page takes at a million rows, and no longer than browsers and proxies wait.
PatientConnection.patience = 30
